package risk

import (
	"slices"
	"strings"
	"testing"

	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
)

// TestEveryCheckHasANature: a check that is added says here what an attacker
// does with its failure. Its class follows from its severity, unless the table
// says otherwise, and why.
func TestEveryCheckHasANature(t *testing.T) {
	used := map[string]bool{}
	for _, c := range checks.All() {
		if c.Kind == inventory.Exception {
			continue // a decision is no weakness
		}
		n := NatureOf(c.ID, c.Severity)
		if n.Threat == Other {
			t.Errorf("%s is of no threat: name it in the table of nature.go", c.ID)
		}
		if bases[n.Class] == 0 {
			t.Errorf("%s has class %q", c.ID, n.Class)
		}
		used[c.ID] = true
		for end := range c.ID {
			if c.ID[end] == '-' {
				used[c.ID[:end+1]] = true
			}
		}
		if o, ok := classes[c.ID]; ok && (o.is == classOf[c.Severity] || o.why == "") {
			t.Errorf("%s: the table repeats the rule, or does not say why it differs", c.ID)
		}
	}
	for id := range threatOf {
		if !used[id] {
			t.Errorf("threats: %s is no check", id)
		}
	}
	for id := range classes {
		if checks.Find(id) == nil {
			t.Errorf("classes: %s is no check", id)
		}
	}
	for id := range remote {
		if checks.Find(id) == nil {
			t.Errorf("remote: %s is no check", id)
		}
	}
	for _, w := range toHost {
		if checks.Find(w.check) == nil {
			t.Errorf("toHost: %s is no check", w.check)
		}
	}
	for _, id := range brought {
		if checks.Find(id) == nil {
			t.Errorf("brought: %s is no check", id)
		}
	}
}

// TestDefences holds the table of what counts against what to checks that
// exist, to shares that take something and leave something, and to defences
// that are not what they defend.
func TestDefences(t *testing.T) {
	for _, d := range defences {
		if checks.Find(d.check) == nil {
			t.Errorf("%s is no check", d.check)
		}
		if d.e <= 0 || d.e >= 1 || d.why.Empty() {
			t.Errorf("%s takes %v, because %q", d.check, d.e, d.why.En)
		}
		for id := range strings.FieldsSeq(d.against) {
			if checks.Find(id) == nil || id == d.check {
				t.Errorf("%s against %s", d.check, id)
			}
		}
	}
}

func TestNatureOf(t *testing.T) {
	for _, c := range []struct {
		id       string
		severity audit.Severity
		want     Nature
		host     bool
	}{
		{"container-privileged", audit.Critical, Nature{Takeover, Escape, false}, true},
		{"container-sensitive-mount", audit.High, Nature{Takeover, Escape, false}, true},
		{"container-host-pid", audit.High, Nature{Escalation, Escape, false}, true},
		{"container-host-net", audit.High, Nature{Escalation, Spread, false}, false}, // the longest entry, not container-host-
		{"container-root-user", audit.Medium, Nature{Layer, Escape, false}, false},
		{"daemon-tls", audit.Critical, Nature{Takeover, Command, true}, true},
		{"file-registry-key-mode", audit.High, Nature{Escalation, Supply, false}, false},
		{"watch-runc", audit.Low, Nature{Hygiene, Blindness, false}, false},
		{"kernel-cgroup", audit.Low, Nature{Hygiene, Exhaustion, false}, false},
		{"org-own-rule", audit.High, Nature{Escalation, Other, false}, false},
		{"org-own-rule", 0, Nature{Takeover, Other, false}, false},
	} {
		if got := NatureOf(c.id, c.severity); got != c.want || got.YieldsHost() != c.host {
			t.Errorf("%s: %+v, yields the host %v", c.id, got, got.YieldsHost())
		}
	}
	for _, th := range Threats {
		if scenarios[th].Empty() || !strings.Contains(scenarios[th].En, "%s") {
			t.Errorf("%s has no scenario", th)
		}
	}
	for th := range threats {
		if !slices.Contains(Threats, th) {
			t.Errorf("%s is not in the list", th)
		}
	}
}
