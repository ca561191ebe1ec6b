package vuln

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Matches holds packages against db. What a document of VEX says is put on it
// by Apply. An error is db's.
func Matches(ps []Package, db Advisories) (Result, error) {
	out := Result{Matches: []Match{}, Unjudged: []Unjudged{}}
	for _, p := range ps {
		ms, un, err := matches(p, db)
		if err != nil {
			return Result{}, err
		}
		out.Matches, out.Unjudged = append(out.Matches, ms...), append(out.Unjudged, un...)
	}
	slices.SortStableFunc(out.Matches, func(a, b Match) int {
		return cmp.Or(a.Package.compare(b.Package), strings.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(out.Unjudged, func(a, b Unjudged) int {
		return cmp.Or(a.Package.compare(b.Package), strings.Compare(a.Reason, b.Reason))
	})
	return out, nil
}

func (p Package) compare(o Package) int {
	return cmp.Or(strings.Compare(p.Ecosystem, o.Ecosystem), strings.Compare(p.Name, o.Name), strings.Compare(p.Version, o.Version),
		strings.Compare(p.Arch, o.Arch), strings.Compare(p.Layer, o.Layer), slices.Compare(p.Paths, o.Paths))
}

// A called is a name under which a package may be known, with the version that
// goes with it.
type called struct{ name, version string }

// names of p in advisories.
func (p Package) names() []called {
	own := called{NameIn(p.Ecosystem, p.Name), p.Version}
	if p.Source == "" && p.SourceVersion == "" {
		return []called{own}
	}
	source := called{NameIn(p.Ecosystem, cmp.Or(p.Source, p.Name)), cmp.Or(p.SourceVersion, p.Version)}
	if bySource[base(p.Ecosystem)] || own == source {
		return []called{source}
	}
	return []called{own, source}
}

// A hit is an advisory that says that a package is affected.
type hit struct {
	Advisory
	fixed string
}

func matches(p Package, db Advisories) (ms []Match, un []Unjudged, err error) {
	if covered, err := db.Covers(p.Ecosystem); err != nil {
		return nil, nil, err
	} else if !covered {
		return nil, []Unjudged{{Package: p, Reason: NoData}}, nil
	}
	var hits []hit
	open := map[string][]string{} // reason: records
	for _, n := range p.names() {
		as, err := db.For(p.Ecosystem, n.name)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range as {
			if !a.Withdrawn.IsZero() {
				continue
			}
			affected, fixed, err := Affects(a.Affected, p.Ecosystem, n.version)
			switch {
			case err != nil:
				open[err.Error()] = append(open[err.Error()], a.ID)
			case affected:
				hits = append(hits, hit{a, fixed})
			}
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(open)) {
		un = append(un, Unjudged{p, slices.Compact(slices.Sorted(slices.Values(open[reason]))), reason})
	}
	for _, g := range merge(hits) {
		m, err := g.match(p, db)
		if err != nil {
			return nil, nil, err
		}
		ms = append(ms, m)
	}
	return ms, un, nil
}

// A group is what is said of one vulnerability.
type group struct {
	names map[string]bool
	hits  []hit
}

// merge makes one group of all hits that share a name. An erratum that is about
// several vulnerabilities is a hit for each, and one name of it does not make
// them one.
func merge(hits []hit) []*group {
	var groups []*group
	put := func(h hit, names []string) {
		into := &group{names: map[string]bool{}}
		rest := groups[:0]
		for _, g := range groups {
			if slices.ContainsFunc(names, func(n string) bool { return g.names[n] }) {
				maps.Copy(into.names, g.names)
				into.hits = append(into.hits, g.hits...)
			} else {
				rest = append(rest, g)
			}
		}
		for _, n := range names {
			into.names[n] = true
		}
		into.hits = append(into.hits, h)
		groups = append(rest, into)
	}
	for _, h := range hits {
		about := h.about()
		if len(about) == 0 {
			put(h, append([]string{h.ID}, h.Aliases...))
		}
		for _, id := range about {
			names := []string{id}
			if len(about) == 1 { // then it is itself a name of it
				names = append(append(names, h.ID), h.Aliases...)
			}
			put(h, names)
		}
	}
	return groups
}

// about are the vulnerabilities that a record is derived from: the CVEs among
// Upstream, where there is one, else all of it.
func (a Advisory) about() []string {
	var cves []string
	for _, id := range a.Upstream {
		if isCVE(id) {
			cves = append(cves, id)
		}
	}
	if len(cves) == 0 {
		cves = a.Upstream
	}
	return slices.Compact(slices.Sorted(slices.Values(cves)))
}

// match makes a Match of g, whose records may differ: the worse word counts.
func (g *group) match(p Package, db Advisories) (Match, error) {
	m := Match{Package: p}
	names := slices.SortedFunc(maps.Keys(g.names), func(a, b string) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a, b))
	})
	m.ID, m.Aliases = names[0], slices.Sorted(slices.Values(names[1:]))
	for _, h := range g.hits {
		m.Records, m.Sources = append(m.Records, h.ID), append(m.Sources, h.Source)
		m.Summary = cmp.Or(m.Summary, h.Summary)
		m.Urgency = cmp.Or(m.Urgency, h.Urgency)
		m.Fixed = later(p.Ecosystem, m.Fixed, h.fixed)
		for _, v := range h.CVSS {
			if c, err := ParseCVSS(v); err == nil && (c.Score > m.CVSS.Score || m.CVSS.Vector == "") {
				m.CVSS = c
			}
		}
		if h.Modified.After(m.Modified) {
			m.Modified = h.Modified
		}
	}
	m.Records, m.Sources = slices.Compact(slices.Sorted(slices.Values(m.Records))), slices.Compact(slices.Sorted(slices.Values(m.Sources)))
	for _, name := range names {
		if !isCVE(name) {
			continue
		}
		kev, epss, err := db.Threat(name)
		if err != nil {
			return Match{}, err
		}
		if kev != nil && m.KEV == nil {
			m.KEV = kev
		}
		if epss != nil && (m.EPSS == nil || epss.Probability > m.EPSS.Probability) {
			m.EPSS = epss
		}
	}
	return m, nil
}

// rank puts the name of a vulnerability that most people know it by first.
func rank(id string) int {
	i := slices.IndexFunc([]string{"CVE-", "GHSA-"}, func(p string) bool { return strings.HasPrefix(id, p) })
	if i < 0 {
		return 2
	}
	return i
}
