package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Workload is what a container, or one that somebody asks for, is assigned
// by.
type Workload struct {
	Name     string // without the slash
	Image    string // as it was named
	Networks []string
	Labels   map[string]string
	// NetworkLabels are the labels of its networks.
	NetworkLabels []map[string]string
}

// TierLabel names the tier of a container or of a network where the policy
// would only give the default. It may raise a tier and never lower it: whoever
// makes a container writes its labels.
const TierLabel = "casco.tier"

// Labels that Compose and stacks give what they make.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	stackNamespace = "com.docker.stack.namespace"
)

// Of reports whether w is all that m names. The zero Match is true of nothing.
func (m Match) Of(w Workload) bool {
	if m.zero() {
		return false
	}
	for _, c := range []struct{ pattern, is string }{
		{m.Name, w.Name},
		{m.Image, w.Image},
		{m.ComposeProject, w.Labels[composeProject]},
		{m.ComposeService, w.Labels[composeService]},
	} {
		if c.pattern != "" && !oneOf(c.pattern, c.is) {
			return false
		}
	}
	for k, pattern := range m.Label {
		if is, has := w.Labels[k]; !has || !oneOf(pattern, is) {
			return false
		}
	}
	return m.Network == "" || slices.ContainsFunc(w.Networks, func(n string) bool { return oneOf(m.Network, n) })
}

// oneOf reports whether s is one of the alternatives of pattern.
func oneOf(pattern, s string) bool {
	for p := range strings.SplitSeq(pattern, "|") {
		head, star := strings.CutSuffix(p, "*")
		if s == p || star && strings.HasPrefix(s, head) {
			return s != ""
		}
	}
	return false
}

// Tier returns the tier with that ID, or nil.
func (p *Policy) Tier(id string) *Tier {
	i := slices.IndexFunc(p.Tiers, func(t Tier) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return &p.Tiers[i]
}

// TierOf returns the tier of w: of the first entry of assign that matches, else
// the worst of the networks that it is on, else the one that its label or its
// networks' label raises it to, else the default, which is what nobody placed
// gets. Path is what says so ("assign.1"); "" is a label. The tier is nil if
// the policy assigns none.
func (p *Policy) TierOf(w Workload) (tier *Tier, path string, byDefault bool) {
	def := -1
	for i, a := range p.Assign {
		if a.Default != "" {
			if def < 0 {
				def = i
			}
			continue
		}
		if a.Match.Of(w) {
			return p.Tier(a.Tier), "assign." + strconv.Itoa(i), false
		}
	}
	for _, n := range w.Networks {
		if t, at := p.TierOfNetwork(n); t != nil && (tier == nil || t.Impact > tier.Impact) {
			tier, path = t, at
		}
	}
	if tier != nil {
		return tier, path, false
	}
	if def >= 0 {
		tier, path, byDefault = p.Tier(p.Assign[def].Default), "assign."+strconv.Itoa(def), true
	}
	for _, labels := range append([]map[string]string{w.Labels}, w.NetworkLabels...) {
		if t := p.Tier(labels[TierLabel]); t != nil && (tier == nil || t.Impact > tier.Impact) {
			tier, path, byDefault = t, "", false
		}
	}
	return tier, path, byDefault
}

// TierOfNetwork returns the tier that a network carries and the path that says
// so, or nil.
func (p *Policy) TierOfNetwork(name string) (tier *Tier, path string) {
	for i, t := range p.Tiers {
		if j := slices.Index(t.Networks, name); j >= 0 {
			return &p.Tiers[i], fmt.Sprintf("tiers.%d.networks.%d", i, j)
		}
	}
	return nil, ""
}

// Where says where path stands, or the nearest thing around it that does. The
// zero Pos is the built-in policy.
func (p *Policy) Where(path string) Pos {
	for {
		if at, ok := p.Lines[path]; ok {
			return at
		}
		if path == "" {
			return Pos{}
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
}

// RuntimeOf returns how a workload of that tier is wanted to run: what the tier
// says, and where it says nothing the default. Paths say for each key where it
// stands: {"pids": "runtime.default.pids"}.
func (p *Policy) RuntimeOf(tier string) (rules RuntimeRules, paths map[string]string) {
	paths = map[string]string{}
	out := reflect.ValueOf(&rules).Elem()
	for _, from := range []struct {
		path  string
		rules RuntimeRules
	}{{"runtime.default", p.Runtime.Default}, {"runtime.tiers." + tier, p.Runtime.Tiers[tier]}} {
		v := reflect.ValueOf(from.rules)
		for _, f := range fields(v.Type()) {
			if !v.Field(f.index).IsZero() {
				out.Field(f.index).Set(v.Field(f.index))
				paths[f.key] = from.path + "." + f.key
			}
		}
	}
	return rules, paths
}
