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

var (
	wayIn  = lang.Text{En: "an open door and the host behind it", Es: "una puerta abierta y el anfitrión detrás"}
	wayOut = lang.Text{En: "nothing left between it and the host", Es: "nada queda entre él y el anfitrión"}

	combinations = []combination{
		{containerPrivileged, openToAll, wayIn},
		{containerEngineSocket, openToAll, wayIn},
		{containerDangerousCapabilities, openToAll, wayIn},
		{containerSensitiveMount, openToAll, wayIn},
		{containerPrivileged, hostNamespaceCheck("pid"), wayOut},
		{containerPrivileged, hostNamespaceCheck("net"), wayOut},
		{containerSeccomp, containerDangerousCapabilities, wayOut},
		{containerDangerousCapabilities, hostNamespaceCheck("pid"), wayOut},
		{containerDangerousCapabilities, hostNamespaceCheck("net"), wayOut},
		{containerEngineSocket, hostNamespaceCheck("net"), wayIn},
	}
)

func hostNamespaceCheck(name string) *audit.Check {
	i := slices.IndexFunc(namespaceChecks, func(c *audit.Check) bool { return c.ID == "container-host-"+name })
	return namespaceChecks[i]
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
	said := make([]audit.Finding, 0, len(combinations)) // by each check once
	judge := func(c *audit.Check) audit.Answer {
		i := slices.IndexFunc(said, func(f audit.Finding) bool { return f.Check == c })
		if i < 0 {
			i, said = len(said), append(said, audit.Finding{Check: c, Ref: o.Ref, Answer: c.Eval(s, o)})
		}
		return said[i].Answer
	}
	var paths, open []inventory.Fact
	facts := make([]inventory.Fact, 0, 2*len(combinations))
	var en, es []string
	var wants []audit.Want
	curable := true
	for _, c := range combinations {
		in, by := judge(c.inside), judge(c.beside)
		switch {
		case in.Verdict == audit.Fail && by.Verdict == audit.Fail:
			paths = withNew(paths, in.Evidence, by.Evidence)
			en = append(en, c.inside.ID+" + "+c.beside.ID+": "+c.means.En)
			es = append(es, c.inside.ID+" + "+c.beside.ID+": "+c.means.Es)
			cure := certain(in.Wants, by.Wants)
			wants, curable = append(wants, cure...), curable && cure != nil
		case possible(in) && possible(by):
			open = withNew(open, in.Evidence, by.Evidence)
		default:
			facts = withNew(facts, in.Evidence, by.Evidence)
		}
	}
	switch {
	case paths != nil:
		a := audit.Bad(paths...).Because(lang.Text{En: listed(en), Es: listed(es)})
		if curable {
			a = a.Wanting(wants...)
		}
		return a
	case open != nil:
		return audit.Untold(open...)
	}
	return audit.Good(facts...)
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
