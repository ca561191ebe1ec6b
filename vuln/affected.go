package vuln

import (
	"errors"
	"slices"
	"strings"
)

// infinity in an event of the kind limit.
const infinity = "*"

// Affects reports whether version, of that ecosystem, is affected by what as
// says, and from which version on it no longer is; "" if none is named. The
// algorithm is that of the OSV schema, 1.7, "Evaluation". An error is one of
// the reasons of an Unjudged: nothing said that version is affected, and
// something could not be judged.
func Affects(as []Affected, ecosystem, version string) (affected bool, fixed string, err error) {
	text := spelling(ecosystem, version)
	v, unread := parse(ecosystem, version)
	var open error // what could not be judged
	for _, a := range as {
		ranges := 0
		for _, r := range a.Ranges {
			if r.Type == "GIT" {
				continue
			}
			ranges++
			if len(r.Events) == 1 && r.Events[0].Introduced == "0" { // whatever the version
				affected = true
				continue
			}
			if unread != nil {
				open = unread
				continue
			}
			in, to, err := within(r, ecosystem, v)
			if err != nil {
				open = err
				continue
			}
			if in {
				affected, fixed = true, later(ecosystem, fixed, to)
			}
		}
		switch {
		case slices.Contains(a.Versions, text) || slices.Contains(a.Versions, version):
			affected = true
		case ranges > 0:
		case len(a.Versions) == 0 && len(a.Ranges) > 0:
			open = errors.New(OnlyGit)
		case unread == nil && slices.ContainsFunc(a.Versions, func(other string) bool {
			c, err := v.compare(ecosystem, other)
			return err == nil && c == 0
		}):
			affected = true
		}
	}
	if affected {
		return true, fixed, nil
	}
	return false, "", open
}

// within reports whether v lies within r, and the first fix behind it.
func within(r Range, ecosystem string, v version) (in bool, fixed string, err error) {
	type point struct {
		Event
		at int // where v stands to the event: positive if behind it
	}
	var points []point
	limits, below := 0, false
	for _, e := range r.Events {
		p := point{Event: e, at: 1}
		if text := e.text(); !(e.Introduced == "0" || e.Limit == infinity) {
			if p.at, err = v.compare(ecosystem, text); err != nil {
				return false, "", err
			}
		}
		if e.Limit != "" {
			limits++
			below = below || e.Limit == infinity || p.at < 0
			continue
		}
		points = append(points, p)
	}
	if limits > 0 && !below {
		return false, "", nil
	}
	var bad error
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.Introduced == "0" && b.Introduced == "0":
			return 0
		case a.Introduced == "0":
			return -1
		case b.Introduced == "0":
			return 1
		}
		c, err := order(ecosystem, a.text(), b.text())
		if err != nil {
			bad = err
		}
		return c
	})
	if bad != nil {
		return false, "", bad
	}
	for _, p := range points {
		switch {
		case p.Introduced != "" && p.at >= 0:
			in = true
		case p.Fixed != "" && p.at >= 0, p.LastAffected != "" && p.at > 0:
			in = false
		case p.Fixed != "" && in && fixed == "":
			fixed = p.Fixed
		}
	}
	if !in {
		fixed = ""
	}
	return in, fixed, nil
}

// text is the version that e names.
func (e Event) text() string {
	return e.Introduced + e.Fixed + e.LastAffected + e.Limit
}

// order compares two versions of an ecosystem.
func order(ecosystem, a, b string) (int, error) {
	v, err := parse(ecosystem, a)
	if err != nil {
		return 0, err
	}
	return v.compare(ecosystem, b)
}

// later is the later of two versions that can be read; "" is none.
func later(ecosystem, a, b string) string {
	if c, _ := order(ecosystem, a, b); a == "" || c < 0 {
		return b
	}
	return a
}

// Compact is a without the versions that its ranges hold already: most records
// of OSV list them too, and they are many.
func (a Affected) Compact(ecosystem string) Affected {
	ordered := slices.DeleteFunc(slices.Clone(a.Ranges), func(r Range) bool { return r.Type == "GIT" })
	if len(ordered) == 0 || len(a.Versions) == 0 {
		return a
	}
	var rest []string
	for _, text := range a.Versions {
		if in, _, err := Affects([]Affected{{Ranges: ordered}}, ecosystem, text); err != nil || !in {
			rest = append(rest, text)
		}
	}
	return Affected{a.Ranges, rest}
}

// isCVE reports whether id is a CVE's.
func isCVE(id string) bool { return strings.HasPrefix(id, "CVE-") }
