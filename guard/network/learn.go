package network

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/policy"
)

// A Proposal is a crossing that was seen and that no line of the policy
// declares. It is a question to a person, never a rule: what was seen includes
// what an intruder did.
type Proposal struct {
	ID string `json:"id"`
	Observed
	Crossing bool        `json:"crossing"` // leaves a tier: somebody must answer for it
	Dangers  []lang.Text `json:"dangers,omitempty"`
}

// Learned is what flows teach.
type Learned struct {
	Proposals []Proposal `json:"proposals"`
	Known     []Observed `json:"known"` // the policy lets it pass
	LeftOut   []LeftOut  `json:"left_out"`
}

var whyDrifted = lang.Text{
	En: "%s does not run as its image says: what it does is no example", Es: "%s no corre como dice su imagen: lo que hace no es ejemplo",
}

// Learn makes proposals of flows. Of a workload in drifted, by the name of its
// container, nothing is learned, neither what it does nor what is done to it.
func Learn(flows []Flow, w World, j *Judge, drifted []string) Learned {
	o := newObserver(w, j)
	var out Learned
	for _, f := range flows {
		if name := o.drifted(f, drifted); name != "" {
			out.LeftOut = append(out.LeftOut, LeftOut{f, whyDrifted.F(name)})
			continue
		}
		o.flow(f)
	}
	out.LeftOut = append(out.LeftOut, o.left...)
	slices.SortStableFunc(out.LeftOut, func(a, b LeftOut) int { return a.Flow.Compare(b.Flow) })
	taken := map[string]bool{}
	for _, f := range j.policy.Flows {
		taken[f.ID] = true
	}
	for _, x := range o.observed() {
		if len(x.Paths) > 0 {
			out.Known = append(out.Known, x)
			continue
		}
		_, _, crossing := policy.Flow{From: x.From, To: x.To}.Ends()
		out.Proposals = append(out.Proposals, Proposal{flowID(x, taken), x, crossing, dangers(x, j.policy)})
	}
	return out
}

// drifted is the name of a workload of either end of f that is in the list.
func (o *observer) drifted(f Flow, list []string) string {
	ends := []*placedNS{o.by[f.Namespace], o.owner[f.Peer]}
	if o.host[f.Peer] && f.Out {
		to, _ := o.publishes(f.Peer, f.Port)
		ends = append(ends, to)
	}
	for _, n := range ends {
		if n == nil {
			continue
		}
		for _, m := range n.Members {
			if slices.Contains(list, m.Workload.Name) {
				return m.Workload.Name
			}
		}
	}
	if slices.Contains(list, f.Workload) {
		return f.Workload
	}
	return ""
}

// flowID makes a name of a flow that no other has.
func flowID(x Observed, taken map[string]bool) string {
	short := func(end string) string {
		end = strings.TrimPrefix(end, "egress:")
		if _, name, ok := strings.Cut(end, "/"); ok {
			end = name
		}
		return strings.Map(func(r rune) rune {
			if r < 128 && policyWord.MatchString(string(r)) || r == '-' || r == '.' {
				return r
			}
			return '-'
		}, end)
	}
	base := strings.Trim(fmt.Sprintf("%s-%s-%d", short(x.From), short(x.To), x.Port.Number), "-.")
	id := base
	for n := 2; taken[id]; n++ {
		id = fmt.Sprintf("%s-%d", base, n)
	}
	taken[id] = true
	return id
}

// muchHigher is how far apart the impacts of two tiers are, of at most 1, that
// a way up is worth a second look: nearly half of the scale.
const muchHigher = 0.4

// engineAPI are ports of the engine's API: IANA, docker and docker-s.
var engineAPI = []uint16{2375, 2376}

// dangers says why a proposal wants a second look.
func dangers(x Observed, p *policy.Policy) []lang.Text {
	var out []lang.Text
	say := func(t lang.Text, args ...any) { out = append(out, t.F(args...)) }
	from, to := impactOf(p, x.FromTier), impactOf(p, x.ToTier)
	var most float64
	for _, t := range p.Tiers {
		most = max(most, t.Impact)
	}
	if a, err := netip.ParseAddr(strings.TrimPrefix(x.To, "egress:")); err == nil && slices.Contains(Metadata, a) {
		say(lang.Text{En: "metadata of a cloud: credentials of the machine are there", Es: "metadatos de una nube: ahí están las credenciales de la máquina"})
	}
	if x.FromTier != "" && x.ToTier != "" && to-from >= muchHigher {
		say(lang.Text{
			En: "from impact %.2g up to %.2g: whoever breaks into the lower reaches the higher",
			Es: "de impacto %.2g a %.2g: quien entra en el bajo alcanza el alto",
		}, from, to)
	}
	if x.From == "any-internet" && to == most && len(p.Tiers) > 1 {
		say(lang.Text{En: "from outside straight into the tier of the highest impact", Es: "desde fuera directo al nivel de mayor impacto"})
	}
	if strings.HasPrefix(x.To, "egress:") && from == most && len(p.Tiers) > 1 {
		say(lang.Text{En: "out of the tier of the highest impact: data can leave", Es: "sale del nivel de mayor impacto: pueden salir datos"})
	}
	if slices.Contains(engineAPI, x.Port.Number) && x.Port.Proto == TCP {
		say(lang.Text{En: "the port of an engine's API: who reaches it owns the host", Es: "el puerto de la API de un motor: quien la alcanza es dueño del anfitrión"})
	} else if x.To == "host" {
		say(lang.Text{En: "a service of the host itself", Es: "un servicio del propio anfitrión"})
	}
	if x.Hairpin {
		say(lang.Text{
			En: "it went round by a published port, where its source is lost; use a network that both are on",
			Es: "fue por un puerto publicado, donde se pierde su origen; use una red en la que estén ambos",
		})
	}
	if x.SourceLost {
		say(lang.Text{
			En: "it came from an address of the host: the host itself, or the engine's proxy for anybody",
			Es: "vino de una dirección del anfitrión: él mismo, o el proxy del motor por cualquiera",
		})
	}
	if x.Replied == 0 {
		say(lang.Text{En: "never answered: an attempt", Es: "nunca hubo respuesta: un intento"})
	}
	return out
}

// mark begins a line of a policy that nobody has decided about, as in what
// "casco policy init" writes.
const mark = "#? "

// Lines are the proposals as lines of a policy file, under "flows:", for a
// person to take the marks away. A crossing is not in order before somebody has
// written why, who answers for it and when it is looked at again. Head writes
// "flows:" too, for a policy that has none.
func (l Learned) Lines(in lang.Lang, head bool) []byte {
	var b strings.Builder
	if head && len(l.Proposals) > 0 {
		b.WriteString(mark + "flows:\n")
	}
	for _, p := range l.Proposals {
		fmt.Fprintf(&b, "  # %s\n", Printable(p.seen(in)))
		for _, d := range p.Dangers {
			fmt.Fprintf(&b, "  # ! %s\n", Printable(d.In(in)))
		}
		for _, line := range flowLines(p.ID, p.From, p.To, p.Port, p.Crossing, in) {
			b.WriteString(mark + line + "\n")
		}
	}
	return []byte(b.String())
}

// seen says how much there was of it.
func (p Proposal) seen(in lang.Lang) string {
	said := lang.Text{En: "%d connections, %d answered, %s, %s to %s", Es: "%d conexiones, %d respondidas, %s, %s a %s"}.
		F(p.Connections, p.Replied, Size(p.Bytes), day(p.First), day(p.Last)).In(in)
	if len(p.Workloads)+len(p.Peers) > 0 {
		said += ": " + few(p.Workloads, p.From) + " → " + few(p.Peers, p.To)
	}
	return said
}

func few(names []string, other string) string {
	switch {
	case len(names) == 0:
		return other
	case len(names) > 3:
		return fmt.Sprintf("%s … (%d)", strings.Join(names[:3], ", "), len(names))
	}
	return strings.Join(names, ", ")
}

// flowLines is one flow of a policy. What a person has to say is empty, which a
// policy refuses.
func flowLines(id, from, to string, port Port, crossing bool, in lang.Lang) []string {
	lines := []string{
		"  - id: " + yamlText(id),
		"    from: " + yamlText(from),
		"    to: " + yamlText(to),
		"    port: " + port.String(),
	}
	if !crossing {
		return lines
	}
	for _, c := range []struct {
		key  string
		want lang.Text
	}{
		{"why", lang.Text{En: "TODO: what it is for", Es: "TODO: para qué es"}},
		{"owner", lang.Text{En: "TODO: the person who answers for it", Es: "TODO: la persona que responde por él"}},
		{"review", lang.Text{En: "TODO: the day on which it is looked at again, 2027-01-31", Es: "TODO: el día en que se revisa de nuevo, 2027-01-31"}},
	} {
		lines = append(lines, fmt.Sprintf("    %-10s # %s", c.key+`: ""`, c.want.In(in)))
	}
	return lines
}

// yamlText is s as a text of YAML. An end of a flow has nothing in it that YAML
// reads otherwise but a colon, a star or a digit in front.
func yamlText(s string) string {
	if policyEnd.MatchString(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// policyEnd is what YAML reads as the text it is. Words that it reads otherwise
// ("host" is none of them) have no slash and do not come from here.
var policyEnd = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)

// Size is a number of bytes as people read it.
func Size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

func day(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format(time.DateOnly)
}

// Printable is s on one line, without what a terminal, YAML or a page obeys.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0x85 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
