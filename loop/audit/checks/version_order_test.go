package checks

import (
	"strings"
	"testing"
	"time"
)

func TestCompareVersions(t *testing.T) {
	// Each is older than the next.
	inOrder := []string{"1.0.0-rc9", "1.0.0-rc10", "1.0.0~rc93+ds1", "1.0.0-rc95", "1.0.0", "1.0.3", "1.1.5+ds1", "1.1.12", "1.2.0-rc.1", "1.2.0", "18.09.1-ce", "18.09.4", "20.10.24+dfsg1", "29.0.0-beta.2", "29.0.0-rc.1", "29.0.0", "29.10.0"}
	for i := range inOrder[1:] {
		a, b := inOrder[i], inOrder[i+1]
		if compareVersions(a, b) >= 0 || compareVersions(b, a) <= 0 {
			t.Errorf("%s is not older than %s", a, b)
		}
	}
	for _, same := range [][2]string{{"1.6.20~ds1", "1.6.20"}, {"24.0.7-0ubuntu4", "24.0.7"}, {"1.2", "1.2.0"}} {
		if compareVersions(same[0], same[1]) != 0 {
			t.Errorf("%s is not %s", same[0], same[1])
		}
	}
}

func TestRepackaged(t *testing.T) {
	for version, want := range map[string]bool{
		"20.10.24+dfsg1": true, "1.6.20~ds1": true, "24.0.7-0ubuntu4": true, "1.1.5+ds1": true,
		"29.7.2": false, "1.4.0-rc.2": false, "18.09.1-ce": false,
	} {
		if got := (component{"engine", version}).repackaged(); got != want {
			t.Errorf("%s: got %v", version, got)
		}
	}
}

// TestTables holds the embedded tables to their form: a range that ends before
// it begins, or a date that does not parse, would pass in silence.
func TestTables(t *testing.T) {
	for _, h := range rowsOf(engineHolesTable) {
		if len(h) != 5 || !strings.HasPrefix(h[1], "CVE-") || h[4] == "" {
			t.Errorf("%q is not component, CVE, from, fixed, source", h)
			continue
		}
		if h[0] != "engine" && h[0] != "containerd" && h[0] != "runc" {
			t.Errorf("%q is no component", h[0])
		}
		if h[3] != "?" && h[2] != "0" && compareVersions(h[2], h[3]) >= 0 {
			t.Errorf("%s %s: %s is not before %s", h[0], h[1], h[2], h[3])
		}
	}
	for _, table := range []string{engineSupportTable, hostSupportTable} {
		for _, l := range rowsOf(table) {
			if len(l) != 3 {
				t.Errorf("%q is not three columns", l)
				continue
			}
			if _, err := time.Parse(time.DateOnly, l[2]); err != nil && l[2] != "-" {
				t.Errorf("%s %s: %v", l[0], l[1], err)
			}
		}
	}
}

// FuzzCompareVersions: what an engine calls its version comes from outside.
func FuzzCompareVersions(f *testing.F) {
	f.Add("20.10.24+dfsg1", "1.0.0~rc93+ds1")
	f.Add("", "..")
	f.Add("library-import", "99999999999999999999.1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if x, y := compareVersions(a, b), compareVersions(b, a); x != -y {
			t.Errorf("%q, %q: %d one way, %d the other", a, b, x, y)
		}
		for _, h := range engineHoles() {
			h.in(a)
		}
	})
}
