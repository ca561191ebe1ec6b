package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A combination is two defects that together are a path: alone each is a
// finding among many, together they are the way in, or out.
type combination struct {
	inside, beside *audit.Check // curing either breaks the path; inside is tried first
	means          lang.Text
}

func combinations() []combination {
	entry := lang.Text{En: "an open door and the host behind it", Es: "una puerta abierta y el anfitrión detrás"}
	out := lang.Text{En: "nothing left between it and the host", Es: "nada queda entre él y el anfitrión"}
	hostNet, hostPID := namespaceCheck("net"), namespaceCheck("pid")
	return []combination{
		{containerPrivileged, openToAll, entry},
		{containerEngineSocket, openToAll, entry},
		{containerDangerousCapabilities, openToAll, entry},
		{containerSensitiveMount, openToAll, entry},
		{containerPrivileged, hostPID, out},
		{containerPrivileged, hostNet, out},
		{containerSeccomp, containerDangerousCapabilities, out},
		{containerDangerousCapabilities, hostPID, out},
		{containerDangerousCapabilities, hostNet, out},
		{containerEngineSocket, hostNet, entry},
	}
}

func namespaceCheck(name string) *audit.Check {
	for _, c := range namespaceChecks() {
		if c.ID == "container-host-"+name {
			return c
		}
	}
	return nil
}

var containerCombination = &audit.Check{
	ID:    "container-combination",
	Title: lang.Text{En: "Container combines defects into a path to the host", Es: "El contenedor combina defectos en un camino al anfitrión"},
	Why: lang.Text{
		En: "Each of the two is bad; together they turn one defect of the application into root on the host.",
		Es: "Cada uno es malo; juntos convierten un fallo de la aplicación en root del anfitrión.",
	},
	Remedy: lang.Text{
		En: "Cure either of the two first, before any other finding of this container.",
		Es: "Remedie uno de los dos primero, antes que cualquier otro hallazgo de este contenedor.",
	},
	Severity: audit.Critical,
	Domains:  []audit.Domain{audit.Security, audit.Risk},
	Controls: rowConfinement,
	Kind:     inventory.Container,
	Eval:     evalCombination,
}

func evalCombination(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	said := map[string]audit.Answer{}
	judge := func(c *audit.Check) audit.Answer {
		if _, ok := said[c.ID]; !ok {
			said[c.ID] = c.Eval(s, o)
		}
		return said[c.ID]
	}
	var paths, facts, open []inventory.Fact
	var en, es []string
	var wants []audit.Want
	curable := true
	for _, c := range combinations() {
		in, by := judge(c.inside), judge(c.beside)
		switch {
		case in.Verdict == audit.Fail && by.Verdict == audit.Fail:
			paths = append(append(paths, in.Evidence...), by.Evidence...)
			en = append(en, c.inside.ID+" + "+c.beside.ID+": "+c.means.En)
			es = append(es, c.inside.ID+" + "+c.beside.ID+": "+c.means.Es)
			cure := certain(in.Wants, by.Wants)
			wants, curable = append(wants, cure...), curable && cure != nil
		case possible(in) && possible(by):
			open = append(append(open, in.Evidence...), by.Evidence...)
		default:
			facts = append(append(facts, in.Evidence...), by.Evidence...)
		}
	}
	switch {
	case paths != nil:
		a := audit.Bad(distinct(paths)...).Because(lang.Text{En: listed(en), Es: listed(es)})
		if curable {
			a = a.Wanting(wants...)
		}
		return a
	case open != nil:
		return audit.Untold(distinct(open)...)
	}
	return audit.Good(distinct(facts)...)
}

func possible(a audit.Answer) bool { return a.Verdict == audit.Fail || a.Verdict == audit.Unknown }

// certain returns the first wants that need no answer of a person.
func certain(choices ...[]audit.Want) []audit.Want {
	for _, ws := range choices {
		if len(ws) > 0 && !slices.ContainsFunc(ws, func(w audit.Want) bool { return !w.Ask.Empty() }) {
			return ws
		}
	}
	return nil
}
