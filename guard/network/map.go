package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/policy"
)

// A Map is the networks of a host as a policy sees them: what there is, what
// may cross, and what is open although nobody said so.
type Map struct {
	At        time.Time     `json:"at"`
	Policy    string        `json:"policy"` // its name
	Version   int           `json:"version"`
	Tiers     []MapTier     `json:"tiers"` // from the lowest impact to the highest
	Networks  []MapNetwork  `json:"networks"`
	Workloads []MapWorkload `json:"workloads"` // by tier, then name
	Crossings []Crossing    `json:"crossings"` // in the policy's order
	Exposure  []Exposure    `json:"exposure"`
	// Flowed says that flows were given, so that a crossing without any is one
	// that was not used.
	Flowed bool `json:"flowed"`
	// Undeclared is what was seen and no line of the policy lets pass.
	Undeclared []Observed `json:"undeclared,omitempty"`
	// LeftOut is how many flows have no ends that a policy can name.
	LeftOut int `json:"left_out,omitempty"`
}

// A MapTier is a tier with who is in it.
type MapTier struct {
	ID        string   `json:"id"`
	Es        string   `json:"es,omitempty"`
	Impact    float64  `json:"impact"`
	Inside    string   `json:"inside"`
	Workloads []string `json:"workloads"`
	ByDefault []string `json:"by_default,omitempty"` // of them, those that nothing placed
}

// Name is what a tier is called.
func (t MapTier) Name() lang.Text { return lang.Text{En: t.ID, Es: cmp.Or(t.Es, t.ID)} }

// A MapNetwork is a network of the engine with the tiers that meet on it.
type MapNetwork struct {
	Name      string         `json:"name"`
	Driver    string         `json:"driver"` // "" if it was not read
	Internal  bool           `json:"internal,omitempty"`
	Subnets   []netip.Prefix `json:"subnets,omitempty"`
	Tier      string         `json:"tier,omitempty"` // that the policy gives it
	Tiers     []string       `json:"tiers"`          // of its workloads, from the lowest impact
	Workloads []string       `json:"workloads"`
}

// Mixed reports whether workloads of different tiers meet on it.
func (n MapNetwork) Mixed() bool { return len(n.Tiers) > 1 }

// A MapWorkload is a container on the map.
type MapWorkload struct {
	Name      string     `json:"name"`
	Tier      string     `json:"tier"` // "": the policy has none for it
	App       string     `json:"app"`
	ByDefault bool       `json:"by_default,omitempty"`
	By        policy.Pos `json:"by,omitzero"` // the line that places it; zero is a label
	Networks  []string   `json:"networks,omitempty"`
	Shares    []string   `json:"shares,omitempty"` // others in the same network namespace
	OnHost    bool       `json:"on_host,omitempty"`
}

// Ungoverned reports whether no rule is about it.
func (w MapWorkload) Ungoverned() bool { return w.OnHost || w.Tier == "" }

// A Crossing is a flow of the policy.
type Crossing struct {
	ID       string      `json:"id"`
	From     string      `json:"from"`
	To       string      `json:"to"`
	FromTier string      `json:"from_tier,omitempty"` // "": outside, or the host
	ToTier   string      `json:"to_tier,omitempty"`
	Port     Port        `json:"port"`
	Why      string      `json:"why,omitempty"`
	Owner    string      `json:"owner,omitempty"`
	Review   policy.Date `json:"review,omitzero"`
	Overdue  bool        `json:"overdue,omitempty"`
	Inner    bool        `json:"inner,omitempty"` // within one tier: nobody has to answer for it
	At       policy.Pos  `json:"at,omitzero"`
	// Sources and Targets are the workloads that its ends name now.
	Sources []string `json:"sources,omitempty"`
	Targets []string `json:"targets,omitempty"`

	Connections uint64    `json:"connections,omitempty"`
	Bytes       uint64    `json:"bytes,omitempty"`
	First       time.Time `json:"first,omitzero"`
	Last        time.Time `json:"last,omitzero"`
}

// Idle reports whether one of its ends names a workload and none runs.
func (c Crossing) Idle() bool {
	return c.FromTier != "" && len(c.Sources) == 0 || c.ToTier != "" && len(c.Targets) == 0
}

// An Exposure is a port of a container that can be reached past its networks,
// and who can: without rules, and with them.
type Exposure struct {
	Workload string     `json:"workload"`
	Tier     string     `json:"tier"`
	Way      Way        `json:"way"`           // PublishedPort, OnTheLAN
	Host     netip.Addr `json:"host,omitzero"` // of a published port
	HostPort uint16     `json:"host_port,omitempty"`
	Port     Port       `json:"port"` // in the container; zero: all
	Today    Reached    `json:"today"`
	Enforced Reached    `json:"enforced"`
}

// At is where the host listens: "0.0.0.0:8080".
func (e Exposure) At() string {
	if !e.Host.IsValid() {
		return string(e.Way)
	}
	return where(e.Host, e.HostPort)
}

// Reached is who can reach something.
type Reached struct {
	Outside    bool     `json:"outside"`
	Host       bool     `json:"host"`
	Containers []string `json:"containers,omitempty"` // names of namespaces
}

// HostOnly reports whether nobody but the host does.
func (r Reached) HostOnly() bool { return r.Host && !r.Outside && len(r.Containers) == 0 }

// Nobody reports whether nobody does.
func (r Reached) Nobody() bool { return !r.Host && !r.Outside && len(r.Containers) == 0 }

// MapOf makes the map of w at a moment, by which reviews are overdue. Flows may
// be nil: then nothing is said of what was used.
func MapOf(w World, p *policy.Policy, at time.Time, flows []Flow) (Map, error) {
	t, err := newTopology(w, p)
	if err != nil {
		return Map{}, err
	}
	m := Map{At: at.UTC(), Policy: p.Metadata.Name, Version: p.Metadata.Version, Flowed: flows != nil}
	t.tiers(&m)
	t.networks(&m)
	t.crossings(&m, at)
	t.exposure(&m)
	seen, left := Observe(flows, w, t.judge)
	m.LeftOut = len(left)
	for _, o := range seen {
		if len(o.Paths) == 0 {
			m.Undeclared = append(m.Undeclared, o)
		}
		for i := range m.Crossings {
			if slices.Contains(o.Paths, t.judge.flows[i].path) {
				c := &m.Crossings[i]
				c.Connections, c.Bytes = c.Connections+o.Connections, c.Bytes+o.Bytes
				c.First, c.Last = earlier(c.First, o.First), later(c.Last, o.Last)
			}
		}
	}
	return m, nil
}

// byImpact orders tiers from the lowest; one that the policy does not know is
// before all.
func (t *topology) byImpact(a, b string) int {
	p := t.judge.policy
	return cmp.Or(cmp.Compare(impactOf(p, a), impactOf(p, b)), cmp.Compare(a, b))
}

// tiers places the workloads.
func (t *topology) tiers(m *Map) {
	p := t.judge.policy
	for _, tier := range p.Tiers {
		inside, _ := t.judge.inside(tier.ID)
		x := MapTier{ID: tier.ID, Impact: tier.Impact, Inside: inside, Workloads: []string{}}
		x.Es = tier.Es
		m.Tiers = append(m.Tiers, x)
	}
	slices.SortStableFunc(m.Tiers, func(a, b MapTier) int { return t.byImpact(a.ID, b.ID) })
	for _, n := range t.w.Namespaces {
		for _, w := range n.Members {
			place := t.judge.Place(w.Workload)
			x := MapWorkload{
				Name: w.Workload.Name, Tier: place.Tier, App: place.App, ByDefault: place.Default, OnHost: w.OnHost,
				Networks: slices.Sorted(slices.Values(networksOf(n))),
			}
			if place.By != "" {
				x.By = p.Where(place.By)
			}
			for _, o := range n.Members {
				if o.Workload.Name != x.Name && !w.OnHost {
					x.Shares = append(x.Shares, o.Workload.Name)
				}
			}
			m.Workloads = append(m.Workloads, x)
		}
	}
	slices.SortStableFunc(m.Workloads, func(a, b MapWorkload) int {
		return cmp.Or(t.byImpact(a.Tier, b.Tier), cmp.Compare(a.Name, b.Name))
	})
	for _, x := range m.Workloads {
		if i := slices.IndexFunc(m.Tiers, func(t MapTier) bool { return t.ID == x.Tier }); i >= 0 {
			m.Tiers[i].Workloads = append(m.Tiers[i].Workloads, x.Name)
			if x.ByDefault {
				m.Tiers[i].ByDefault = append(m.Tiers[i].ByDefault, x.Name)
			}
		}
	}
}

func networksOf(n Namespace) []string {
	var out []string
	for _, e := range n.Endpoints {
		if e.Network != "" && !slices.Contains(out, e.Network) {
			out = append(out, e.Network)
		}
	}
	return out
}

// networks says who meets where.
func (t *topology) networks(m *Map) {
	for _, s := range t.w.Segments {
		m.Networks = append(m.Networks, MapNetwork{Name: s.Name, Driver: s.Driver, Internal: s.Internal, Subnets: s.Subnets})
	}
	for _, x := range m.Workloads {
		for _, name := range x.Networks {
			i := slices.IndexFunc(m.Networks, func(n MapNetwork) bool { return n.Name == name })
			if i < 0 {
				i = len(m.Networks)
				m.Networks = append(m.Networks, MapNetwork{Name: name})
			}
			n := &m.Networks[i]
			n.Workloads = append(n.Workloads, x.Name)
			if !slices.Contains(n.Tiers, x.Tier) {
				n.Tiers = append(n.Tiers, x.Tier) // workloads come by tier
			}
		}
	}
	for i := range m.Networks {
		n := &m.Networks[i]
		if tier, _ := t.judge.policy.TierOfNetwork(n.Name); tier != nil {
			n.Tier = tier.ID
			if len(n.Workloads) > 0 && !slices.Contains(n.Tiers, tier.ID) {
				n.Tiers = append(n.Tiers, tier.ID)
				slices.SortFunc(n.Tiers, t.byImpact)
			}
		}
	}
	slices.SortStableFunc(m.Networks, func(a, b MapNetwork) int { return cmp.Compare(a.Name, b.Name) })
}

// crossings are the flows of the policy, with whom they name.
func (t *topology) crossings(m *Map, at time.Time) {
	for i, f := range t.judge.policy.Flows {
		from, to, crossing := f.Ends()
		c := Crossing{
			ID: f.ID, From: f.From, To: f.To, FromTier: from, ToTier: to, Port: t.judge.flows[i].port, Why: f.Why, Owner: f.Owner, Review: f.Review,
			Overdue: crossing && !f.Review.IsZero() && at.After(f.Review.End()), Inner: !crossing, At: t.judge.policy.Where(t.judge.flows[i].path),
		}
		for _, n := range t.nodes {
			if n.ns == nil {
				continue
			}
			for k, w := range n.ns.Members {
				if slices.Contains(n.ns.members[k].from, i) {
					c.Sources = with(c.Sources, w.Workload.Name)
				}
				if slices.Contains(n.ns.members[k].to, i) {
					c.Targets = with(c.Targets, w.Workload.Name)
				}
			}
		}
		m.Crossings = append(m.Crossings, c)
	}
}

// exposure says of each published port, and of each container on the host's own
// network, who reaches it.
func (t *topology) exposure(m *Map) {
	for _, b := range t.nodes {
		if b.ns == nil || len(b.ns.Members) == 0 {
			continue
		}
		for i, w := range b.ns.Members {
			for _, p := range w.Published {
				e := Exposure{
					Workload: w.Workload.Name, Tier: b.ns.members[i].Tier, Way: PublishedPort, Host: p.Host, HostPort: p.HostPort, Port: p.Port,
					Today: Reached{Host: true, Outside: !p.Host.IsLoopback()}, Enforced: t.reached(b.ns, p.Port),
				}
				e.Enforced.Outside = e.Enforced.Outside && !p.Host.IsLoopback()
				for _, a := range t.nodes {
					if a.ns == nil || a == b {
						continue
					}
					if t.reaches(a.ns, b.ns, p, false) {
						e.Today.Containers = append(e.Today.Containers, a.name)
					}
					if t.reaches(a.ns, b.ns, p, true) {
						e.Enforced.Containers = append(e.Enforced.Containers, a.name)
					}
				}
				m.Exposure = append(m.Exposure, e)
			}
		}
		for _, h := range t.fromOutside(b.ns, false) {
			if h.Way == OnTheLAN {
				e := Exposure{Workload: b.name, Tier: b.ns.members[0].Tier, Way: OnTheLAN, Today: Reached{Outside: true}, Enforced: t.reached(b.ns, Port{})}
				e.Enforced.Host = false
				m.Exposure = append(m.Exposure, e)
			}
		}
	}
	slices.SortStableFunc(m.Exposure, func(a, b Exposure) int {
		return cmp.Or(strings.Compare(a.Workload, b.Workload), a.Host.Compare(b.Host), cmp.Compare(a.HostPort, b.HostPort), a.Port.compare(b.Port))
	})
}

// reached is whether the rules let outside and the host in to a port; to any,
// of the zero Port.
func (t *topology) reached(n *placedNS, port Port) Reached {
	in := t.rules.Inside[n.ID]
	if port == (Port{}) {
		return Reached{Outside: len(in.Open) > 0, Host: len(in.Open)+len(in.FromHost) > 0}
	}
	return Reached{Outside: slices.Contains(in.Open, port), Host: in.TakesHost(port)}
}

// reaches reports whether a gets by the host to what b publishes.
func (t *topology) reaches(a, b *placedNS, p Published, enforced bool) bool {
	return !p.Host.IsLoopback() && slices.ContainsFunc(t.doors(a), func(d door) bool {
		_, ok := t.round(a, b, p, d, enforced)
		return ok
	})
}
