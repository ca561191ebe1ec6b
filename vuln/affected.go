package vuln

import (
	"cmp"
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
			switch {
			case err != nil:
				open = err
			case in:
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
			o, err := parse(ecosystem, other)
			if err != nil {
				return false
			}
			c, err := v.compare(o)
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
	l, err := along(r, ecosystem)
	if err != nil {
		return false, "", err
	}
	return l.holds(v)
}

// A line is a range with its events read, and in their order.
type line struct {
	points []point
	limits []point
}

// A point is an event with its place; the first event of all and the limit that
// is none have no version.
type point struct {
	Event
	version version
}

// first reports whether p is before all versions.
func (p point) first() bool { return p.Introduced == "0" }

// along reads the events of r.
func along(r Range, ecosystem string) (l line, err error) {
	for _, e := range r.Events {
		p := point{Event: e}
		if !p.first() && e.Limit != infinity {
			if p.version, err = parse(ecosystem, e.text()); err != nil {
				return line{}, err
			}
		}
		if e.Limit != "" {
			l.limits = append(l.limits, p)
		} else {
			l.points = append(l.points, p)
		}
	}
	slices.SortStableFunc(l.points, func(a, b point) int {
		switch {
		case a.first() && b.first():
			return 0
		case a.first():
			return -1
		case b.first():
			return 1
		}
		c, bad := a.version.compare(b.version)
		err = cmp.Or(err, bad)
		return c
	})
	return l, err
}

// holds reports whether v lies within l, and the first fix behind it.
func (l line) holds(v version) (in bool, fixed string, err error) {
	below := len(l.limits) == 0
	for _, p := range l.limits {
		if p.Limit == infinity {
			below = true
		} else if at, err := v.compare(p.version); err != nil {
			return false, "", err
		} else if at < 0 {
			below = true
		}
	}
	if !below {
		return false, "", nil
	}
	for _, p := range l.points {
		at := 1 // positive: v is behind p
		if !p.first() {
			if at, err = v.compare(p.version); err != nil {
				return false, "", err
			}
		}
		switch {
		case p.Introduced != "" && at >= 0:
			in = true
		case p.Fixed != "" && at >= 0, p.LastAffected != "" && at > 0:
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
	v, err1 := parse(ecosystem, a)
	w, err2 := parse(ecosystem, b)
	if err := cmp.Or(err1, err2); err != nil {
		return 0, err
	}
	return v.compare(w)
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
	var lines []line
	for _, r := range a.Ranges {
		if l, err := along(r, ecosystem); r.Type != "GIT" && err == nil {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 || len(a.Versions) == 0 {
		return a
	}
	var rest []string
	for _, text := range a.Versions {
		v, err := parse(ecosystem, text)
		if err != nil || !slices.ContainsFunc(lines, func(l line) bool { in, _, _ := l.holds(v); return in }) {
			rest = append(rest, text)
		}
	}
	return Affected{a.Ranges, rest}
}

// isCVE reports whether id is a CVE's.
func isCVE(id string) bool { return strings.HasPrefix(id, "CVE-") }
