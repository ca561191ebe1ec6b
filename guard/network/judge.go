package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/policy"
)

// AppLabel names the application of a container that no Compose project and no
// stack gives it.
const AppLabel = "casco.app"

// Labels that Compose and Swarm give their containers.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	stackNamespace = "com.docker.stack.namespace"
	swarmService   = "com.docker.swarm.service.name"
)

// AppOf is the application that w belongs to: its own label, its Compose
// project, its stack, its Swarm service; else it is alone and its name is its application. The
// labels are those of whoever makes the container, so an application bounds
// mistakes and curiosity within one tier; a tier bounds an attacker.
func AppOf(w policy.Workload) string {
	for _, label := range []string{AppLabel, composeProject, stackNamespace, swarmService} {
		if app := w.Labels[label]; app != "" {
			return label + "=" + app
		}
	}
	return "name=" + w.Name
}

// A Place is where a policy puts a workload.
type Place struct {
	Tier string
	App  string
	By   string // path of the policy that says so; "" is a label
	// Default says that nothing placed it: it has the tier that is left.
	Default bool
}

// A Reason is one thing that a policy lets pass, and where it says so.
type Reason struct {
	Port Port   // zero: all
	Path string // "flows.2", "tiers.0.inside"
}

// A Judge answers from one policy.
type Judge struct {
	policy *policy.Policy
	flows  []flow
	within map[string]within // by tier
}

// within says who of a tier may talk within it, and where a policy says so.
type within struct {
	mode, path string
	reason     []Reason // that path alone
}

// An end of a flow: a place, or one of the kinds beside it.
type end struct {
	kind endKind
	tier string
	name string // pattern: "*", "db", "db*"
	net  netip.Prefix
}

type endKind uint8

const (
	aPlace    endKind = iota
	internet          // "any-internet": whatever is no container and not this host
	host              // this host
	aNetwork          // "egress:CIDR"
	aHostName         // "egress:NAME"
)

type flow struct {
	from, to end
	port     Port
	path     string
}

// NewJudge takes a policy that was parsed and linted. A flow that it does not
// understand is an error: a rule that is left out is not what was agreed.
func NewJudge(p *policy.Policy) (*Judge, error) {
	j := &Judge{policy: p, within: map[string]within{}}
	for i, t := range p.Tiers {
		path := "tiers." + strconv.Itoa(i) + ".inside"
		j.within[t.ID] = within{cmp.Or(t.Inside, "app"), path, []Reason{{Path: path}}}
	}
	for i, f := range p.Flows {
		port, err := ParsePort(f.Port)
		if err != nil {
			return nil, err
		}
		j.flows = append(j.flows, flow{parseEnd(f.From), parseEnd(f.To), port, "flows." + strconv.Itoa(i)})
	}
	return j, nil
}

// Policy is the one that j answers from.
func (j *Judge) Policy() *policy.Policy { return j.policy }

func parseEnd(s string) end {
	switch s {
	case "any-internet":
		return end{kind: internet}
	case "host":
		return end{kind: host}
	}
	if dest, ok := strings.CutPrefix(s, "egress:"); ok {
		if a, err := netip.ParseAddr(dest); err == nil {
			return end{kind: aNetwork, net: netip.PrefixFrom(a, a.BitLen())}
		}
		if p, err := netip.ParsePrefix(dest); err == nil {
			return end{kind: aNetwork, net: p.Masked()}
		}
		return end{kind: aHostName, name: strings.ToLower(dest)}
	}
	tier, name, _ := strings.Cut(s, "/")
	return end{kind: aPlace, tier: tier, name: name}
}

// of reports whether a workload in that place is what e names: by the name of
// the container, or of its service.
func (e end) of(p Place, w policy.Workload) bool {
	if e.kind != aPlace || e.tier != p.Tier {
		return false
	}
	for _, name := range []string{w.Name, w.Labels[composeService], w.Labels[swarmService]} {
		head, star := strings.CutSuffix(e.name, "*")
		if name != "" && (name == e.name || star && strings.HasPrefix(name, head)) {
			return true
		}
	}
	return false
}

// Place says where w belongs.
func (j *Judge) Place(w policy.Workload) Place {
	tier, path, byDefault := j.policy.TierOf(w)
	p := Place{App: AppOf(w), By: path, Default: byDefault}
	if tier != nil {
		p.Tier = tier.ID
	}
	return p
}

// inside says who of a tier may talk within it.
func (j *Judge) inside(tier string) (mode, path string) {
	w := j.within[tier]
	return cmp.Or(w.mode, "app"), w.path
}

// placed is a member of a namespace with what the policy says of it. Which
// flows begin and end at it is worked out once, for it is asked of each pair.
type placed struct {
	Place
	from, to []int // indices of flows
}

func (j *Judge) placed(w policy.Workload) placed {
	p := placed{Place: j.Place(w)}
	for i, f := range j.flows {
		if f.from.of(p.Place, w) {
			p.from = append(p.from, i)
		}
		if f.to.of(p.Place, w) {
			p.to = append(p.to, i)
		}
	}
	return p
}

// between is what may pass from one workload to another.
func (j *Judge) between(from, to placed) []Reason {
	if from.Tier == to.Tier && from.Tier != "" {
		switch w := j.within[from.Tier]; {
		case w.mode == "open", w.mode == "app" && from.App == to.App:
			return w.reason
		}
	}
	var out []Reason
	for _, i := range from.from {
		if slices.Contains(to.to, i) {
			out = append(out, Reason{j.flows[i].port, j.flows[i].path})
		}
	}
	return out
}

// both is what two lists of reasons have in common: what is let pass for one
// and for the other.
func both(a, b []Reason) []Reason {
	all := func(rs []Reason) bool {
		return slices.ContainsFunc(rs, func(r Reason) bool { return r.Port == Port{} })
	}
	switch {
	case all(a):
		return b
	case all(b):
		return a
	}
	var out []Reason
	for _, r := range a {
		if slices.ContainsFunc(b, func(o Reason) bool { return o.Port == r.Port }) {
			out = append(out, r)
		}
	}
	return out
}

// Between is what may pass from a workload to another, by the policy alone:
// whether a packet finds a way is for Paths.
func (j *Judge) Between(from, to policy.Workload) []Reason {
	return slices.Clone(j.between(j.placed(from), j.placed(to)))
}
