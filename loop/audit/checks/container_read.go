package checks

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Readers that several checks of containers share. Each is pure and gives the
// facts that it rests on, so that a check can show them.

// settled tells a container that the engine has made from a request to make
// one: only the first has an ID. What the engine leaves out of the first is
// not set; what a request leaves out may still come from the image.
func settled(o *inventory.Object) bool {
	_, _, ok := inventory.ContainerID.Of(o)
	return ok
}

// declared marks an answer that rests on what was asked for, because what is
// in effect could not be read.
func declared(o *inventory.Object, a audit.Answer) audit.Answer {
	if !a.Reason.Empty() || a.Verdict != audit.Pass && a.Verdict != audit.Fail {
		return a
	}
	if on, _, ok := inventory.Running.Of(o); ok && on {
		return a.Because(lang.Text{En: "as declared; what is in effect was not read", Es: "según lo declarado; no se leyó lo que rige"})
	}
	if !settled(o) {
		return a.Because(lang.Text{En: "as it was asked for", Es: "según lo que se pidió"})
	}
	return a.Because(lang.Text{En: "as declared; it does not run", Es: "según lo declarado; no está en marcha"})
}

// contradicted says that what was declared is not what the kernel does.
func contradicted(asked, is any) lang.Text {
	return lang.Text{En: "declared %v, in effect %v", Es: "declarado %v, en efecto %v"}.F(show(asked), show(is))
}

func show(v any) any {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return v
}

// known returns the facts that have a value.
func known(facts ...inventory.Fact) []inventory.Fact {
	return slices.DeleteFunc(facts, func(f inventory.Fact) bool { return f.Err != "" })
}

// remapped tells whether root inside a container is an ordinary user of the
// host: the engine runs rootless or with userns-remap (GET /info
// SecurityOptions, "name=userns", "name=rootless").
func remapped(s *inventory.Snapshot, o *inventory.Object) (yes bool, fact inventory.Fact, ok bool) {
	if root, fact, ok := inventory.EffectiveRootUID.Of(o); ok {
		return root != 0, fact, true
	}
	opts, fact, ok := inventory.DaemonSecurityOptions.Of(inventory.EngineOf(s))
	if !ok {
		return false, fact, false
	}
	mode, _, _ := inventory.UsernsMode.Of(o)
	yes = slices.Contains(opts, "name=rootless") || slices.Contains(opts, "name=userns") && mode != "host"
	return yes, fact, true
}

// A secOpt is one element of HostConfig.SecurityOpt.
type secOpt struct{ Raw, Value string }

// secOpts returns the elements of list with that key, as dockerd's
// parseSecurityOpt reads them: "key=value", or "key:value" from before 1.11.
// An element that is the bare key has the value "".
func secOpts(list []string, key string) []secOpt {
	var out []secOpt
	for _, raw := range list {
		k, v, ok := strings.Cut(raw, "=")
		if !ok {
			k, v, _ = strings.Cut(raw, ":")
		} else if head, tail, colon := strings.Cut(k, ":"); colon { // "label:type=x"
			k, v = head, tail+"="+v
		}
		if k == key {
			out = append(out, secOpt{raw, v})
		}
	}
	return out
}

// without wants each element of HostConfig.SecurityOpt that bad selects gone.
func without(o *inventory.Object, opts []secOpt, bad func(string) bool, breaks lang.Text) []audit.Want {
	var ws []audit.Want
	for _, opt := range opts {
		if bad(opt.Value) {
			ws = append(ws, audit.Want{Ref: o.Ref, Field: inventory.SecurityOpt.Path, Op: audit.Remove, Value: opt.Raw, Breaks: breaks})
		}
	}
	return ws
}

// unprivileged wants o not privileged, where it is.
func unprivileged(o *inventory.Object) []audit.Want {
	if p, _, _ := inventory.Privileged.Of(o); !p {
		return nil
	}
	return []audit.Want{{Ref: o.Ref, Field: inventory.Privileged.Path, Value: false, Breaks: losesPrivileges}}
}

var losesPrivileges = lang.Text{
	En: "It loses devices and capabilities that it may use; the health gate puts the old one back if it does not come up.",
	Es: "Pierde dispositivos y capacidades que quizá use; el control de salud repone el anterior si no arranca.",
}

// ask wants a value of field that only a person can give.
func ask(o *inventory.Object, field string, question lang.Text) audit.Want {
	return audit.Want{Ref: o.Ref, Field: field, Ask: question}
}

// Helpers to read decoded JSON that has no type of its own.

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asString(v any) string { s, _ := v.(string); return s }

func asList(v any) []any { l, _ := v.([]any); return l }

func asInt(v any) (int64, bool) {
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	return n, err == nil
}

// quoted joins untrusted strings for a text that people read.
func quoted(list []string) string {
	const most = 8
	q := make([]string, 0, most+1)
	for i, s := range list {
		if i == most {
			q = append(q, fmt.Sprintf("… (%d)", len(list)))
			break
		}
		q = append(q, strconv.Quote(s))
	}
	return strings.Join(q, ", ")
}

// within reports whether path p is dir or lies below it. Both are clean.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// canonical cleans a path of the host and follows the links that every
// distribution with systemd has: /var/run and /var/lock.
func canonical(p string) string {
	p = path.Clean(p)
	for _, link := range []string{"run", "lock"} {
		if within(p, "/var/"+link) {
			return path.Clean("/run/" + strings.TrimPrefix(link, "run") + strings.TrimPrefix(p, "/var/"+link))
		}
	}
	return p
}

// sortedKeys makes walks over a map repeatable.
func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// plain is a text that names things and needs no translation.
func plain(s string) lang.Text { return lang.Text{En: s, Es: s} }

// withNew returns facts with those of more whose field is not among them yet.
func withNew(facts []inventory.Fact, more ...[]inventory.Fact) []inventory.Fact {
	for _, list := range more {
		for _, f := range list {
			if !slices.ContainsFunc(facts, func(have inventory.Fact) bool { return have.Field == f.Field && have.Ref == f.Ref }) {
				facts = append(facts, f)
			}
		}
	}
	return facts
}

func listed(lines []string) string { return strings.Join(lines, "; ") }
