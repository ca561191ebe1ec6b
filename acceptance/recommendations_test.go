package acceptance

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// applicable are the recommendations of CIS Docker Benchmark 1.8.0 that a
// machine can apply, by what the cure does to what runs.
var applicable = map[string]string{
	"live": "1.1.3 1.1.4 1.1.5 1.1.6 1.1.7 1.1.8 1.1.9 1.1.10 1.1.11 1.1.12 1.1.13 1.1.14 1.1.15 1.1.16 1.1.17 1.1.18 " +
		"3.1 3.2 3.3 3.4 3.5 3.6 3.7 3.8 3.9 3.10 3.11 3.12 3.13 3.14 3.15 3.16 3.17 3.18 3.19 3.20 3.21 3.22 3.23 3.24 " +
		"5.11 5.12 5.15 5.29 6.1 6.2 7.5 7.7 7.8",
	"reload":  "2.5 2.13 2.16",
	"restart": "2.2 2.3 2.4 2.8 2.9 2.11 2.12 2.14 2.15 2.17 2.18 2.19",
	"recreate": "5.2 5.3 5.4 5.5 5.6 5.8 5.9 5.10 5.13 5.14 5.16 5.17 5.18 5.19 5.20 5.21 5.22 5.25 5.26 5.27 5.28 5.30 " +
		"5.31 5.32",
}

// TestEveryRecommendation wants each of the 88 to be applied by a test, or the
// reason why it is not. It does not look at what ran, but at the tables from
// which the tests run.
func TestEveryRecommendation(t *testing.T) {
	all := strings.Fields(strings.Join(slices.Collect(maps.Values(applicable)), " "))
	if len(all) != 88 {
		t.Fatalf("%d recommendations, want 88", len(all))
	}
	tested := map[string]bool{"5.15": true, "5.28": true} // TestRestart, TestStaleImage
	for _, f := range guarded {
		tested[f.owner], tested[f.mode] = true, true
	}
	for _, w := range watched {
		tested[w.cis] = true
	}
	for _, rs := range [][]remedy{limits, recreations, stopped, daemonSettings, swarmSettings} {
		for _, r := range rs {
			tested[r.cis] = true
		}
	}
	for _, number := range all {
		reason, excused := notHere[number]
		switch {
		case tested[number] && excused:
			t.Errorf("%s is tested, and also excused: %s", number, reason)
		case !tested[number] && reason == "":
			t.Errorf("%s: no test applies its remedy, and nothing says why", number)
		}
		delete(tested, number)
	}
	for number := range tested {
		t.Errorf("%s is not among the 88", number)
	}
}

// notHere says why a recommendation is not applied here.
var notHere = map[string]string{
	"2.12": "only the devicemapper driver has a base size; engine 20.10 has the driver, but without a device mapper in the kernel, as here, it ends with \"driver not supported\"; 25 dropped it",
	"5.2":  "needs a kernel with AppArmor: TestAppArmor applies it, in a guest of make lsm",
	"5.3":  "needs a kernel with SELinux: TestSELinux applies it, in a guest of make lsm",
	"6.1":  "docker save and load bring an image back without its digests and parent: casco does not plan it, and gives the command",
	"6.2":  "a removed container cannot be brought back, its ID, layer and log are gone: casco does not plan it, and gives the command",
	"7.8":  "a rotated CA cannot be turned back: casco does not plan it, and gives the command",
}
