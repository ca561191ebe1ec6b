package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// invariants are the rules that casco is built on, by their numbers. Each is
// held by at least one test that says so.
var invariants = map[int]string{
	1:  "nothing runs on a host unless an applied policy or an approved change names it, and the host itself verifies the signatures",
	2:  "the approver is not the author; k distinct persons with the role",
	3:  "the approved bytes are the applied bytes",
	4:  "a plan goes stale only when a fact of its read-set changed",
	5:  "every apply ends in verify; applied is never reported as fixed",
	6:  "every step has its undo recorded before it runs",
	7:  "a rollback is itself a change and a run",
	8:  "a rollback never overwrites what somebody else changed after us",
	9:  "only a measured pass closes a finding",
	10: "unknown is counted, shown and ages",
	11: "an exception never changes a result, a score or history",
	12: "expiry is judged at the moment of use, in UTC",
	13: "an exception that matches nothing is itself a finding",
	14: "no policy downgrade, no unsigned policy once one was signed",
	15: "the ledger is append-only; one that does not fit a checkpoint of a witness is an incident",
	16: "no secret value in any evidence, log or report",
	17: "times are UTC, with a sequence number",
	18: "everything works with the hub down; enforcement never fails open without an event",
	19: "same facts, policy and version give the same results, byte for byte",
	20: "deleting needs retention and no legal hold, and is recorded",
	21: "a network or daemon change undoes itself unless confirmed in time",
}

// TestInvariants finds, for each invariant, a test that names it: in the comment
// or a case of a Go test, or in a script.
func TestInvariants(t *testing.T) {
	named := regexp.MustCompile(`\b(?:Test)?I(\d{1,2})(?:\b|[A-Z])`)
	span := regexp.MustCompile(`\bI(\d{1,2}) to I(\d{1,2})\b`)
	held := map[int][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "build", "bin", "node_modules"}, d.Name()) {
			return filepath.SkipDir
		}
		if d.Name() == "invariants_test.go" || !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range named.FindAllStringSubmatch(string(b), -1) {
			n, _ := strconv.Atoi(m[1])
			held[n] = append(held[n], path)
		}
		for _, m := range span.FindAllStringSubmatch(string(b), -1) {
			from, _ := strconv.Atoi(m[1])
			to, _ := strconv.Atoi(m[2])
			for n := from; n <= to; n++ {
				held[n] = append(held[n], path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, rule := range invariants {
		if len(held[n]) == 0 {
			t.Errorf("I%d is held by no test that says so: %s", n, rule)
		}
	}
	for n := range held {
		if invariants[n] == "" {
			t.Errorf("%v speak of I%d, which is none", held[n], n)
		}
	}
}
