package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"casco/lang"
)

// Found is what a host runs, as far as a first policy speaks of it. All lists
// may be empty.
type Found struct {
	Host       string
	Networks   []FoundNetwork
	Published  []FoundPort // of containers
	Accounts   []string    // that reach the engine, without root
	Listeners  []FoundPort // of the host
	Registries []string    // that images come from
	Packages   []string    // that a check fails or asks about
	Services   []string
}

// FoundNetwork is a network with the containers on it.
type FoundNetwork struct {
	Name       string
	Containers []string
}

// FoundPort is a port with who holds it.
type FoundPort struct {
	Port string // "443/tcp"
	By   string // container or program
}

// Undecided begins the lines of what Init found and nobody has decided about:
// without it they are in force. "#? " stands where the indent would.
const undecided = "#? "

// Init writes a first policy for a host, with comments in language l. It is in
// order as it stands, and changes no verdict: what was found is written in lines
// that a person makes count by taking the mark away. It is in order with all
// marks taken away, too.
func Init(f Found, l lang.Lang) []byte {
	w := &initWriter{l: l}
	b := Builtin()
	w.note(lang.Text{
		En: "Policy of the organisation for its Docker hosts. What is not written here is as casco has it built in.\n" +
			"Lines with %s are what runs on %s today: take the mark away from what has its place, and delete the rest.\n" +
			"Check it with: casco policy lint. Put it in force with: casco policy load.",
		Es: "Política de la organización para sus anfitriones Docker. Lo que no está aquí es como casco lo trae.\n" +
			"Las líneas con %s son lo que hoy corre en %s: quite la marca a lo que tenga su lugar y borre el resto.\n" +
			"Revísela con: casco policy lint. Póngala en vigor con: casco policy load.",
	}.F(strings.TrimSpace(undecided), shown(f.Host)))
	w.line("apiVersion: " + APIVersion)
	w.line("kind: Policy")
	w.line("metadata:")
	w.line("  name: " + quote(orText(f.Host, "host")))
	w.remark("  version: 1", lang.Text{En: "raise it with every change: a host takes no lower one", Es: "súbala con cada cambio: un anfitrión no toma una menor"})
	w.line("  language: " + string(l))
	w.gap()
	w.note(lang.Text{
		En: "Who decides. Without persons there is one operator, who may agree to their own changes. With them each signs with\n" +
			"their own SSH key, and the policy itself is signed by a steward (casco policy sign).",
		Es: "Quién decide. Sin personas hay un solo operador, que puede aprobar sus propios cambios. Con ellas cada cual firma con\n" +
			"su propia clave SSH, y la política misma la firma un steward (casco policy sign).",
	})
	w.line("# people:")
	w.line(`#   - {id: op1, roles: [operator], keys: ["ssh-ed25519 AAAA… op1"]}`)
	w.line(`#   - {id: ro1, roles: [approver, risk-owner, steward], keys: ["ssh-ed25519 AAAA… ro1"]}`)
	w.gap()
	w.tiers(f.Networks)
	w.host(f)
	w.published(f.Published)
	w.registries(f.Registries)
	w.gap()
	w.note(lang.Text{En: "How soon a risk of each priority is treated.", Es: "En cuánto tiempo se trata un riesgo de cada prioridad."})
	w.line("sla: {immediate: %s, out-of-cycle: %s, scheduled: %s, defer: %s}", b.SLA.Immediate, b.SLA.OutOfCycle, b.SLA.Scheduled, b.SLA.Defer)
	w.gap()
	w.note(lang.Text{
		En: "How changes are agreed to. A network or engine change undoes itself unless it is confirmed in time.",
		Es: "Cómo se acuerdan los cambios. Un cambio de red o de motor se deshace solo si no se confirma a tiempo.",
	})
	w.line("changes:")
	w.line("  normal: {approvals: %d, plan_valid_for: %s}", b.Changes.Normal.Approvals, b.Changes.Normal.PlanValidFor)
	w.line("  emergency: {approvals: %d, ratify_within: %s}", b.Changes.Emergency.Approvals, b.Changes.Emergency.RatifyWithin)
	w.line("  confirm_within: %s", b.Changes.ConfirmWithin)
	w.gap()
	w.note(lang.Text{
		En: "What may be excepted, and for how long. These checks never: who reaches the engine owns the host.",
		Es: "Qué se puede exceptuar y por cuánto tiempo. Estas comprobaciones nunca: quien llega al motor es dueño del anfitrión.",
	})
	w.line("exceptions:")
	w.line("  max_duration: %s", b.Exceptions.MaxDuration)
	w.line("  may_never_except: [%s]", strings.Join(b.Exceptions.MayNeverExcept, ", "))
	w.line("evidence: {keep: %s, fresh_for: %s}", b.Evidence.Keep, b.Evidence.FreshFor)
	return []byte(w.b.String())
}

type initWriter struct {
	b strings.Builder
	l lang.Lang
}

func (w *initWriter) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }
func (w *initWriter) gap()                            { w.b.WriteByte('\n') }

// note writes comment lines.
func (w *initWriter) note(t lang.Text) {
	for line := range strings.SplitSeq(t.In(w.l), "\n") {
		w.line("# %s", line)
	}
}

// remark writes a line with a comment behind it.
func (w *initWriter) remark(text string, t lang.Text) {
	w.line("%-28s # %s", text, t.In(w.l))
}

// found writes a line that nobody has decided about.
func (w *initWriter) found(text, by string) {
	if by != "" {
		text = fmt.Sprintf("%-40s # %s", text, shown(by))
	}
	w.line("%s%s", undecided, text)
}

// tiers writes the networks of the host as one tier, to be told apart.
func (w *initWriter) tiers(networks []FoundNetwork) {
	w.note(lang.Text{
		En: "Levels of sensitivity; impact is what is lost when it falls, 1 the worst. With one level there is nothing to keep apart:\n" +
			"make more of it (public, internal, restricted), give each its own networks, and say in assign which workload is where.",
		Es: "Niveles de sensibilidad; impact es lo que se pierde si cae, 1 lo peor. Con un nivel no hay nada que separar:\n" +
			"haga varios (público, interno, restringido), dé a cada uno sus redes, y diga en assign qué carga va dónde.",
	})
	w.line("tiers:")
	w.line("  - id: default")
	w.line("    impact: 1")
	if names := fitting(networks, func(n FoundNetwork) string { return n.Name }, anID); len(names) > 0 {
		w.found("    networks:", "")
		for _, n := range names {
			w.found("      - "+quoteIfNeeded(n.Name), strings.Join(n.Containers, ", "))
		}
	}
	w.line("assign:")
	w.line("  - default: default")
	w.gap()
}

// host writes what the host has beside the engine.
func (w *initWriter) host(f Found) {
	type list struct {
		key   string
		what  lang.Text
		names []FoundPort
	}
	lists := []list{
		{"packages", lang.Text{En: "software that a container host rarely needs", Es: "software que un anfitrión de contenedores rara vez necesita"}, plainList(f.Packages, aGlob)},
		{"services", lang.Text{En: "services that start at boot", Es: "servicios que arrancan con el sistema"}, plainList(f.Services, aGlob)},
		{"accounts", lang.Text{En: "accounts that reach the engine, and so are root's equal", Es: "cuentas que llegan al motor y por tanto equivalen a root"}, plainList(f.Accounts, aGlob)},
		{"ports", lang.Text{En: "ports that the host itself listens on", Es: "puertos en los que escucha el anfitrión mismo"}, fitting(f.Listeners, func(p FoundPort) string { return p.Port }, aPort)},
	}
	w.note(lang.Text{
		En: "What has its place on the host beside the engine (allow), and what must not be there (forbid).",
		Es: "Qué tiene su lugar en el anfitrión además del motor (allow), y qué no debe estar (forbid).",
	})
	if !slices.ContainsFunc(lists, func(l list) bool { return len(l.names) > 0 }) {
		w.line("# host: {packages: {allow: [], forbid: []}, services: {…}, accounts: {…}, ports: {…}}")
		w.gap()
		return
	}
	w.found("host:", "")
	for _, l := range lists {
		if len(l.names) == 0 {
			continue
		}
		w.note(l.what)
		w.found("  "+l.key+":", "")
		w.found("    allow:", "")
		for _, n := range l.names {
			w.found("      - "+quoteIfNeeded(n.Port), n.By)
		}
	}
	w.gap()
}

// published writes the ports of containers.
func (w *initWriter) published(ports []FoundPort) {
	w.note(lang.Text{
		En: "Published ports: privileged_publish, random_publish and publish_on_all_interfaces are allow, warn or deny.",
		Es: "Puertos publicados: privileged_publish, random_publish y publish_on_all_interfaces son allow, warn o deny.",
	})
	list := fitting(ports, func(p FoundPort) string { return p.Port }, aPort)
	if len(list) == 0 {
		w.line("# ports: {privileged_publish: deny, random_publish: deny, publish_on_all_interfaces: warn, allow: []}")
		return
	}
	w.found("ports:", "")
	w.found("  allow:", "")
	for _, p := range list {
		entry := p.Port
		if anID.matches(p.By) {
			entry = p.By + ":" + p.Port
		}
		w.found("    - "+quoteIfNeeded(entry), "")
	}
}

func (w *initWriter) registries(names []string) {
	w.gap()
	w.note(lang.Text{En: "Registries that images may come from.", Es: "Registros de los que pueden venir las imágenes."})
	list := plainList(names, rules["Registries.allow"])
	if len(list) == 0 {
		w.line("# registries: {allow: [registry.example]}")
		return
	}
	w.found("registries:", "")
	w.found("  allow:", "")
	for _, n := range list {
		w.found("    - "+quoteIfNeeded(n.Port), "")
	}
}

// fitting keeps of a list what a policy may name, each once, sorted.
func fitting[T any](list []T, name func(T) string, r rule) []T {
	var out []T
	for _, v := range list {
		if n := name(v); r.matches(n) && shown(n) == n && !slices.ContainsFunc(out, func(o T) bool { return name(o) == name(v) }) {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	return out
}

func plainList(names []string, r rule) []FoundPort {
	var list []FoundPort
	for _, n := range names {
		if n != "*" { // a name that means all of them is none
			list = append(list, FoundPort{Port: n})
		}
	}
	return fitting(list, func(p FoundPort) string { return p.Port }, r)
}

func orText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// quote is s as YAML and JSON write a text.
func quote(s string) string {
	b, err := json.Marshal(strings.Map(func(c rune) rune {
		if c < ' ' || hidden(c) {
			return -1
		}
		return c
	}, s))
	if err != nil {
		return `"host"`
	}
	return string(b)
}

var bare = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]*$|^[0-9]+/[a-z]+$`)

// quoteIfNeeded is s as a person would write it in a list.
func quoteIfNeeded(s string) string {
	if bare.MatchString(s) && !oldBool.MatchString(s) && s != "true" && s != "false" && s != "null" {
		return s
	}
	return quote(s)
}

// shown is s in a comment: one line, and nothing that does not show.
func shown(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || hidden(c) {
			return -1
		}
		return c
	}, s)
}
