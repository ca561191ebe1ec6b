package outside

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/realdocker"
)

// A Finding is one of "casco audit --format json".
type Finding struct {
	Check, Ref, Verdict, Severity, Reason string
	Controls                              []struct{ Framework, Number string }
	Evidence                              []struct {
		Field string
		Value any
		Err   string
	}
}

// Findings audits e; flags may follow.
func Findings(t testing.TB, e *realdocker.Engine, flags ...string) []Finding {
	t.Helper()
	stdout, stderr, code := Casco(t, e, append([]string{"audit", "--format", "json"}, flags...)...)
	if code != 0 && code != 3 {
		t.Fatalf("casco audit: exit code %d\n%s", code, stderr)
	}
	var report struct {
		Schema   string
		Findings []Finding
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("casco audit --format json: %v", err)
	}
	if !strings.HasPrefix(report.Schema, "casco/") || len(report.Findings) == 0 {
		t.Fatalf("casco audit: schema %q, %d findings", report.Schema, len(report.Findings))
	}
	return report.Findings
}

// Verdict returns what fs say of one check and one object, "" for nothing.
func Verdict(fs []Finding, check, ref string) string {
	i := slices.IndexFunc(fs, func(f Finding) bool { return f.Check == check && f.Ref == ref })
	if i < 0 {
		return ""
	}
	return fs[i].Verdict
}

// PlanApplyVerify plans with planArgs ("--check", ID, "--ref", REF …), approves
// and applies, and returns the ID of the change. The test ends here if there is
// nothing to plan, or if the change does not hold.
func PlanApplyVerify(t testing.TB, e *realdocker.Engine, planArgs ...string) (changeID string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plan.json")
	stdout, stderr, code := Casco(t, e, append([]string{"plan", "-o", file}, planArgs...)...)
	if code != 5 {
		t.Fatalf("casco plan %s: exit code %d, want 5\n%s%s", strings.Join(planArgs, " "), code, stdout, stderr)
	}
	if stdout, stderr, code := Casco(t, e, "approve", file, "--yes"); code != 0 {
		t.Fatalf("casco approve: exit code %d\n%s%s", code, stdout, stderr)
	}
	applied, stderr, code := Casco(t, e, "apply", file, "--yes", "--format", "json")
	if code != 0 {
		t.Fatalf("casco apply (%s): exit code %d\n%s%s\nthe plan:\n%s", strings.Join(planArgs, " "), code, applied, stderr, stdout)
	}
	var change struct{ ID, State string }
	if err := json.Unmarshal([]byte(applied), &change); err != nil {
		t.Fatalf("casco apply --format json: %v\n%s", err, applied)
	}
	if change.ID == "" || change.State != "verified" {
		t.Fatalf("casco apply: %s", applied)
	}
	return change.ID
}

// Rollback takes a change back.
func Rollback(t testing.TB, e *realdocker.Engine, id string) {
	t.Helper()
	if stdout, stderr, code := Casco(t, e, "rollback", id, "--yes"); code != 0 {
		t.Fatalf("casco rollback %s: exit code %d\n%s%s", id, code, stdout, stderr)
	}
}

// A Recorded change is one of "casco changes --format json".
type Recorded struct{ ID, State, Why string }

// LastChange is the newest change of e.
func LastChange(t testing.TB, e *realdocker.Engine) Recorded {
	t.Helper()
	stdout, stderr, code := Casco(t, e, "changes", "--format", "json")
	var doc struct{ Changes []Recorded }
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != 0 || len(doc.Changes) == 0 {
		t.Fatalf("casco changes: exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return doc.Changes[len(doc.Changes)-1]
}
