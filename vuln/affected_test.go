package vuln

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// events reads "introduced 0 fixed 1.2": one range.
func events(text string) Range {
	r := Range{Type: "ECOSYSTEM"}
	f := strings.Fields(text)
	for i := 0; i+1 < len(f); i += 2 {
		var e Event
		switch f[i] {
		case "introduced":
			e.Introduced = f[i+1]
		case "fixed":
			e.Fixed = f[i+1]
		case "last_affected":
			e.LastAffected = f[i+1]
		case "limit":
			e.Limit = f[i+1]
		}
		r.Events = append(r.Events, e)
	}
	return r
}

func TestAffects(t *testing.T) {
	for _, c := range []struct {
		ranges, version string
		fixed           string // "-": not affected
	}{
		// OSV schema, examples
		{"introduced 0", "0.1", ""},
		{"introduced 0 fixed 1.0.2", "1.0.1", "1.0.2"},
		{"introduced 0 fixed 1.0.2", "1.0.2", "-"},
		{"introduced 1.0.0 fixed 1.0.2 introduced 3.0.0 fixed 3.2.5", "0.9", "-"},
		{"introduced 1.0.0 fixed 1.0.2 introduced 3.0.0 fixed 3.2.5", "1.0.0", "1.0.2"},
		{"introduced 1.0.0 fixed 1.0.2 introduced 3.0.0 fixed 3.2.5", "2.0", "-"},
		{"introduced 1.0.0 fixed 1.0.2 introduced 3.0.0 fixed 3.2.5", "3.2.4", "3.2.5"},
		{"introduced 1.0.0 fixed 1.0.2 introduced 3.0.0 fixed 3.2.5", "3.2.5", "-"},
		{"introduced 0 last_affected 2.1.214", "2.1.214", ""},
		{"introduced 0 last_affected 2.1.214", "2.1.215", "-"},
		// events in no order
		{"fixed 3.2.5 introduced 3.0.0 fixed 1.0.2 introduced 0", "1.0", "1.0.2"},
		{"fixed 3.2.5 introduced 3.0.0 fixed 1.0.2 introduced 0", "2.0", "-"},
		// one version alone
		{"introduced 1.2 last_affected 1.2", "1.2", ""},
		{"introduced 1.2 last_affected 1.2", "1.2.1", "-"},
		// never affected, as distributions say that they are not
		{"introduced 0 fixed 0", "5.0", "-"},
		{"introduced 0 fixed 0", "0.1", "-"},
		// limits
		{"introduced 1.0 limit 2.0", "1.9", ""},
		{"introduced 1.0 limit 2.0", "2.0", "-"},
		{"introduced 1.0 limit 2.0 limit 4.0", "3.0", ""},
		{"introduced 1.0 limit *", "9.0", ""},
		// a Debian backport: the fix of the release is before that of upstream
		{"introduced 0 fixed 1.2.3-4+deb12u1", "1.2.3-4", "1.2.3-4+deb12u1"},
		{"introduced 0 fixed 1.2.3-4+deb12u1", "1.2.3-4+deb12u1", "-"},
		{"introduced 0 fixed 1.2.3-4+deb12u1", "1.2.3-4+deb12u1+b2", "-"},
		{"introduced 0 fixed 1:1.2.3-4", "2.0-1", "1:1.2.3-4"},
		// several ranges: one that holds it is enough, the last fix counts
		{"introduced 0 fixed 1.0 | introduced 2.0 fixed 2.5", "1.5", "-"},
		{"introduced 0 fixed 3.0 | introduced 2.0 fixed 2.5", "2.1", "3.0"},
		{"introduced 2.0 fixed 2.5 | introduced 0 fixed 3.0", "2.1", "3.0"},
	} {
		var a Affected
		for r := range strings.SplitSeq(c.ranges, " | ") {
			a.Ranges = append(a.Ranges, events(r))
		}
		got, fixed, err := Affects([]Affected{a}, "Debian:12", c.version)
		if !got {
			fixed = "-"
		}
		if err != nil || fixed != c.fixed {
			t.Errorf("%s in %s: got %q, %v, want %q", c.version, c.ranges, fixed, err, c.fixed)
		}
	}
}

// TestAffectsOtherwise: listed versions, and what cannot be judged.
func TestAffectsOtherwise(t *testing.T) {
	git := Range{Type: "GIT"}
	fixed := events("introduced 0 fixed 2.0")
	for _, c := range []struct {
		name, ecosystem, version string
		a                        Affected
		want                     bool
		reason                   string
	}{
		{"listed", "npm", "1.2.3", Affected{Versions: []string{"1.2.2", "1.2.3"}}, true, ""},
		{"not listed", "npm", "1.2.4", Affected{Versions: []string{"1.2.2", "1.2.3"}}, false, ""},
		{"listed outside of the range", "npm", "3.0.0", Affected{Ranges: []Range{fixed}, Versions: []string{"3.0.0"}}, true, ""},
		{"listed, spelt otherwise", "PyPI", "1.0", Affected{Versions: []string{"1.0.0"}}, true, ""},
		{"listed, where versions have no order", "VSCode", "1.0", Affected{Versions: []string{"1.0"}}, true, ""},
		{"ranges without an order", "VSCode", "1.0", Affected{Ranges: []Range{fixed}}, false, NoOrder},
		{"a version that is none", "Go", "(devel)", Affected{Ranges: []Range{fixed}}, false, BadVersion},
		{"whatever the version", "Go", "(devel)", Affected{Ranges: []Range{events("introduced 0")}}, true, ""},
		{"a record that names none", "npm", "1.0.0", Affected{Ranges: []Range{events("introduced 0 fixed next")}}, false, BadVersion},
		{"commits alone", "npm", "1.0.0", Affected{Ranges: []Range{git}}, false, OnlyGit},
		{"commits and versions", "npm", "1.0.0", Affected{Ranges: []Range{git}, Versions: []string{"0.9.0"}}, false, ""},
		{"nothing", "npm", "1.0.0", Affected{}, false, ""},
	} {
		got, _, err := Affects([]Affected{c.a}, c.ecosystem, c.version)
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		if got != c.want || reason != c.reason {
			t.Errorf("%s: got %v %q", c.name, got, reason)
		}
	}
}

// TestCompact: what a range holds need not be listed, and nothing else is lost.
func TestCompact(t *testing.T) {
	a := Affected{Ranges: []Range{events("introduced 1.0 fixed 2.0"), {Type: "GIT"}}, Versions: []string{"1.0", "1.5", "2.0", "0.9", "x"}}
	want := Affected{a.Ranges, []string{"2.0", "0.9", "x"}}
	if diff := cmp.Diff(want, a.Compact("PyPI")); diff != "" {
		t.Error(diff)
	}
	for _, a := range []Affected{{Versions: []string{"1.0"}}, {Ranges: []Range{{Type: "GIT"}}, Versions: []string{"1.0"}}} {
		if diff := cmp.Diff(a, a.Compact("PyPI")); diff != "" {
			t.Error(diff)
		}
	}
}
