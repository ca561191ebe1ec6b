package vuln

import (
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"casco/internal/handtest"
)

// byDpkg is what dpkg itself says of two versions; ok is false if it does not
// take both for versions.
func byDpkg(t testing.TB, a, b string) (order int, ok bool) {
	for _, q := range []struct {
		op    string
		order int
	}{{"lt", -1}, {"eq", 0}, {"gt", 1}} {
		out, err := exec.Command("dpkg", "--compare-versions", "--", a, q.op, b).CombinedOutput()
		if len(out) > 0 {
			return 0, false
		}
		if err == nil {
			return q.order, true
		}
	}
	t.Fatalf("dpkg: %q is neither less than, equal to nor greater than %q", a, b)
	return 0, false
}

func needDpkg(t testing.TB) {
	_, err := exec.LookPath("dpkg")
	handtest.Need(t, err == nil, "dpkg")
}

// TestDpkg compares versions that are nearly the same, where rules differ, with
// dpkg as the judge.
func TestDpkg(t *testing.T) {
	needDpkg(t)
	random := rand.New(rand.NewPCG(12, 2026))
	parts := []string{"0", "1", "01", "9", "10", "a", "b", "rc", "~", "~rc1", "+", "+b1", "+deb12u1", "+deb12u10", ".", ".1", "-1", "-0", "git2023", "Z", "+dfsg", "~bpo12+1", "-1.1"}
	make := func() string {
		s := []string{"", "", "", "0:", "1:"}[random.IntN(5)] + "1"
		for range random.IntN(5) {
			s += parts[random.IntN(len(parts))]
		}
		return s
	}
	judged := 0
	for range 150 {
		a, b := make(), make()
		want, ok := byDpkg(t, a, b)
		if !ok {
			continue
		}
		judged++
		if got, err := order("Debian:12", a, b); err != nil || got != want {
			t.Errorf("%s, %s: got %d, %v; dpkg says %d", a, b, got, err, want)
		}
	}
	if judged < 100 {
		t.Errorf("dpkg judged %d pairs", judged)
	}
}

// FuzzDpkg looks for two versions of which dpkg says something else.
func FuzzDpkg(f *testing.F) {
	needDpkg(f)
	for _, s := range [][2]string{{"1.0-1", "1.0-1+deb12u1"}, {"1:0", "2"}, {"1.0~rc1", "1.0"}, {"1.0+really0.9", "1.1"}, {"1-1-1", "1-1"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			if len(s) == 0 || len(s) > 100 || strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+~-:") != "" || s[0] < '0' || s[0] > '9' {
				return
			}
		}
		want, ok := byDpkg(t, a, b)
		if !ok {
			return
		}
		if got, err := order("Debian:12", a, b); err != nil || got != want {
			t.Errorf("%q, %q: got %d, %v; dpkg says %d", a, b, got, err, want)
		}
	})
}

// FuzzOrder holds any two texts to what an order is, in every ecosystem.
func FuzzOrder(f *testing.F) {
	for _, s := range [][2]string{{"1.0", "1.0-1"}, {"1!1.0a1.post2.dev3+l.1", "1"}, {"go1.21rc2", "v1.21.0+incompatible"}, {"1-alpha.sp-SNAPSHOT", "1..a"}, {"1.0_p1-r1", "1a_rc"}} {
		f.Add(s[0], s[1])
	}
	all := []string{"Debian:12", "Alpine:v3.18", "Red Hat:9", "Go", "npm", "PyPI", "Maven", "RubyGems", "NuGet", "Packagist", "crates.io", "CRAN", "Hackage", "Pub", "VSCode"}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, e := range all {
			there, err1 := order(e, a, b)
			back, err2 := order(e, b, a)
			if (err1 == nil) != (err2 == nil) || err1 == nil && there != -back {
				t.Errorf("%s: %q, %q: %d, %v; back %d, %v", e, a, b, there, err1, back, err2)
			}
			if same, err := order(e, a, a); err == nil && same != 0 {
				t.Errorf("%s: %q is not itself: %d", e, a, same)
			}
		}
	})
}
