package risk

import (
	"slices"

	"casco/lang"
	"casco/loop/inventory"
)

// A Blast is how far the harm goes: the containers that an attacker has, or can
// turn to next, once he has made use of a finding.
type Blast struct {
	// Host: he has the host, and with it every container on it, whether it runs
	// or not.
	Host bool `json:"host"`
	// Tiers are those of the containers within the radius, worst first.
	Tiers   []Tier        `json:"tiers"`
	Worst   inventory.Ref `json:"worst,omitzero"` // a container of the worst tier
	Because lang.Text     `json:"because"`
}

// An Impact is the worst tier within the blast radius.
type Impact struct {
	Value float64       `json:"value"` // in (0, 1]
	Tier  string        `json:"tier"`
	Of    inventory.Ref `json:"of,omitzero"` // a container of that tier
}

// Blast says what is within reach of who makes use of a weakness of nature n on
// ref. Missing names what was taken as the worst because it is not known.
//
// Who gets the host gets the worst tier on it. Who gets a container gets its
// tier and those it reaches in one step: over a network that both are on, over
// a door that another publishes (a published port is reached from every network
// of the host, whatever the engine's own rules separate), through the same
// network namespace, or through a volume. What starves or blinds an object does
// no harm beyond it. An object that is no part of a container has no tier of
// its own and counts as the host.
func (t *Terrain) Blast(ref inventory.Ref, n Nature) (Blast, Impact, []string) {
	whole := n.YieldsHost() || !ofContainers(ref.Kind)
	if whole {
		ref = inventory.Ref{}
	}
	k := radius{ref, n.YieldsHost(), n.travels()}
	r, ok := t.blasts[k]
	if !ok {
		r.blast, r.impact, r.missing = t.around(ref, n, whole)
		t.blasts[k] = r
	}
	return r.blast, r.impact, r.missing
}

// A radius is what a blast depends on: many findings of one object share it.
type radius struct {
	ref           inventory.Ref // zero for the whole host
	host, travels bool
}

type reckoned struct {
	blast   Blast
	impact  Impact
	missing []string
}

func (t *Terrain) around(ref inventory.Ref, n Nature, whole bool) (b Blast, im Impact, missing []string) {
	var within []*place
	switch {
	case whole:
		b.Host, within = n.YieldsHost(), t.places
		b.Because = lang.Text{En: "the host, and every container on it", Es: "el anfitrión y todos sus contenedores"}
		if !b.Host {
			b.Because = lang.Text{En: "every container of the host", Es: "todos los contenedores del anfitrión"}
		}
	case ref.Kind == inventory.Container:
		if pl := t.of[ref]; pl != nil {
			within = t.within(n, pl)
		}
		b.Because = reachesOnly(n)
	default:
		for _, pl := range t.users(ref) {
			within = append(within, t.within(n, pl)...)
		}
		b.Because = reachesOnly(n)
	}
	return t.measure(b, within)
}

// ofContainers reports whether objects of that kind belong to containers.
func ofContainers(k inventory.Kind) bool {
	return k == inventory.Container || k == inventory.Image || k == inventory.Network || k == inventory.Volume
}

func reachesOnly(n Nature) lang.Text {
	if n.travels() {
		return lang.Text{En: "it, and what it reaches in one step", Es: "él y lo que alcanza en un paso"}
	}
	return lang.Text{En: "it alone", Es: "solo él"}
}

// within is pl with what an attacker in it reaches next.
func (t *Terrain) within(n Nature, pl *place) []*place {
	if !n.travels() {
		return []*place{pl}
	}
	return append([]*place{pl}, t.reached(pl)...)
}

// reached returns the running containers that pl reaches in one step. Those of
// a large network differ only by tier here, so of each network the worst stand
// for all of their tier.
func (t *Terrain) reached(pl *place) []*place {
	if pl.reach != nil {
		return pl.reach
	}
	seen := map[*place]bool{pl: true}
	out := []*place{}
	add := func(o *place) {
		if !seen[o] {
			seen[o] = true
			out = append(out, o)
		}
	}
	if pl.space == "host" { // it routes to every network of the host
		for _, o := range t.places {
			if o.running && o.space != "" {
				add(o)
			}
		}
	}
	for _, name := range pl.networks {
		n := t.net(name)
		tiers := map[string]bool{}
		for {
			o := n.neighbour(pl, func(o *place) bool { return !tiers[o.tier.Name] })
			if o == nil {
				break
			}
			tiers[o.tier.Name] = true
			add(o)
		}
	}
	if pl.space != "" {
		for _, o := range t.doors() {
			add(o)
		}
	}
	for v, writes := range pl.volumes {
		for _, o := range t.mounts()[v] {
			if writes || o.volumes[v] { // it changes what the other reads, or reads what the other keeps
				add(o)
			}
		}
	}
	pl.reach = out
	return out
}

// doors are the running containers with a door that is open to more than the
// host itself, one for each tier.
func (t *Terrain) doors() []*place {
	if t.open == nil {
		t.open = []*place{}
		tiers := map[string]bool{}
		for _, pl := range t.places {
			if pl.running && pl.published() && !tiers[pl.tier.Name] {
				tiers[pl.tier.Name] = true
				t.open = append(t.open, pl)
			}
		}
	}
	return t.open
}

// mounts are the containers by the volumes and paths that they mount.
func (t *Terrain) mounts() map[string][]*place {
	if t.sharing == nil {
		t.sharing = map[string][]*place{}
		for _, pl := range t.places {
			for v := range pl.volumes {
				t.sharing[v] = append(t.sharing[v], pl)
			}
		}
	}
	return t.sharing
}

// measure sums up who is within the radius. With nobody there the policy's
// default tier stands for what may come.
func (t *Terrain) measure(b Blast, within []*place) (Blast, Impact, []string) {
	if len(within) == 0 {
		tier := defaultTier(t.p)
		b.Tiers = []Tier{tier}
		if !tier.Known {
			return b, Impact{Value: tier.Impact}, []string{"tier"}
		}
		return b, Impact{Value: tier.Impact, Tier: tier.Name}, nil
	}
	within = slices.SortedFunc(slices.Values(within), byTier)
	for _, pl := range within {
		if !slices.Contains(b.Tiers, pl.tier) {
			b.Tiers = append(b.Tiers, pl.tier)
		}
	}
	top := within[0]
	b.Worst = top.o.Ref
	im := Impact{Value: top.tier.Impact, Tier: top.tier.Name, Of: b.Worst}
	if !top.tier.Known {
		return b, im, []string{"tier of " + b.Worst.String()}
	}
	return b, im, nil
}
