// Package netmap shows the networks of a host to a person: as text, as JSON,
// and as a drawing, SVG or PNG.
//
// The drawing has a column for each tier, from the lowest impact to the
// highest, in it the networks, in these the workloads. An arrow is a crossing
// of the policy, or what was seen and nobody declared. Both kinds of file are
// written from one layout, and the same map gives the same bytes.
//
// Names come from containers and are not trusted: what a terminal or a page
// would obey is taken out before anything is written.
package netmap

import (
	"encoding/json"
	"io"

	"casco/guard/network"
	"casco/lang"
)

// WriteJSON writes m as it is.
func WriteJSON(w io.Writer, m network.Map) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(m)
}

// most is how many workloads a drawing shows one by one; above it a network
// shows how many it has.
const most = 50

// problems says what of m wants a second look, the worst first.
func problems(m network.Map) []lang.Text {
	var out []lang.Text
	say := func(t lang.Text, args ...any) { out = append(out, t.F(args...)) }
	for _, o := range m.Undeclared {
		say(lang.Text{
			En: "seen and not declared: %s → %s %s, %d connections", Es: "visto y no declarado: %s → %s %s, %d conexiones",
		}, o.From, o.To, o.Port, o.Connections)
	}
	for _, n := range m.Networks {
		if n.Mixed() {
			say(lang.Text{En: "network %s is shared by tiers %s", Es: "la red %s es compartida por los niveles %s"}, n.Name, list(n.Tiers, 6))
		}
	}
	for _, e := range m.Exposure {
		if unwanted(e) {
			who := more(e)
			say(lang.Text{
				En: "%s (%s): %s is open to more than the policy says: ", Es: "%s (%s): %s está abierto a más de lo que dice la política: ",
			}, e.Workload, e.Tier, doorOf(e))
			out[len(out)-1].En, out[len(out)-1].Es = out[len(out)-1].En+who.En, out[len(out)-1].Es+who.Es
		}
	}
	for _, c := range m.Crossings {
		if c.Overdue {
			say(lang.Text{En: "crossing %s: its review was due on %s", Es: "cruce %s: su revisión vencía el %s"}, c.ID, c.Review)
		}
	}
	for _, x := range m.Workloads {
		switch {
		case x.OnHost:
			say(lang.Text{En: "%s is on the host's network: no rule is about it", Es: "%s está en la red del anfitrión: ninguna regla trata de él"}, x.Name)
		case x.Tier == "":
			say(lang.Text{En: "%s is in no tier: no rule is about it", Es: "%s no está en ningún nivel: ninguna regla trata de él"}, x.Name)
		}
	}
	for _, t := range m.Tiers {
		if len(t.ByDefault) > 0 {
			say(lang.Text{
				En: "in tier %s only because nothing places them: %s", Es: "en el nivel %s sólo porque nada los coloca: %s",
			}, t.ID, list(t.ByDefault, 6))
		}
	}
	for i := range out {
		out[i] = lang.Text{En: network.Printable(out[i].En), Es: network.Printable(out[i].Es)}
	}
	return out
}

// unwanted reports whether somebody reaches e today who would not with the
// rules in force.
func unwanted(e network.Exposure) bool {
	return e.Today.Outside && !e.Enforced.Outside || len(e.Today.Containers) > len(e.Enforced.Containers)
}

// doorOf is where e is reached, and what is behind it.
func doorOf(e network.Exposure) string {
	if e.Way == network.OnTheLAN {
		return string(e.Way)
	}
	return e.At() + "→" + e.Port.String()
}

// more is who reaches e today and would not with the rules.
func more(e network.Exposure) lang.Text {
	var t lang.Text
	add := func(x lang.Text) {
		if t != (lang.Text{}) {
			x = lang.Text{En: t.En + ", " + x.En, Es: t.Es + ", " + x.Es}
		}
		t = x
	}
	if e.Today.Outside && !e.Enforced.Outside {
		add(outsideWord)
	}
	var names []string
	allowed := map[string]bool{}
	for _, n := range e.Enforced.Containers {
		allowed[n] = true
	}
	for _, n := range e.Today.Containers {
		if !allowed[n] {
			names = append(names, n)
		}
	}
	if len(names) > 0 {
		s := list(names, 4)
		add(lang.Text{En: s, Es: s})
	}
	return t
}

var (
	outsideWord = lang.Text{En: "outside", Es: "fuera"}
	hostWord    = lang.Text{En: "host", Es: "anfitrión"}
	nobodyWord  = lang.Text{En: "nobody", Es: "nadie"}
	noTierWord  = lang.Text{En: "no tier", Es: "sin nivel"}
)
