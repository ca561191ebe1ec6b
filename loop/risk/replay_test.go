package risk

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// TestReplay tells the same lives from what was written down of each change as
// Track does from the readings themselves.
func TestReplay(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	check := &audit.Check{ID: "c"}
	refs := []inventory.Ref{{Kind: inventory.Container, Name: "a"}, {Kind: inventory.Container, Name: "b"}, {Kind: inventory.Container, Name: "c"}}
	// What each container's finding was, day by day; "-": it is not there.
	days := []string{"FPF", "FPF", "PFU", "UFU", "FP-", "FP-", "F-F", "FPF"}
	verdicts := map[byte]audit.Verdict{'F': audit.Fail, 'P': audit.Pass, 'U': audit.Unknown}

	lives := map[string]Life{}
	var runs []time.Time
	var seen []Seen
	last := map[inventory.Ref]byte{}
	for d, answers := range days {
		s := &inventory.Snapshot{Host: "h", Taken: day(d + 1)}
		var fs []audit.Finding
		for i, ref := range refs {
			was, known := last[ref]
			now := answers[i]
			last[ref] = now
			if now != '-' {
				s.Add(&inventory.Object{Ref: ref})
				f := audit.Finding{Check: check, Ref: ref}
				f.Verdict = verdicts[now]
				fs = append(fs, f)
			}
			if !known || was != now {
				f := audit.Finding{Check: check, Ref: ref}
				seen = append(seen, Seen{f.Fingerprint(), "c", ref, verdicts[now], now == '-', day(d + 1)})
			}
		}
		runs = append(runs, day(d+1))
		lives, _ = Track(lives, s, fs, day(d+1))
		if diff := cmp.Diff(lives, Replay(seen, runs)); diff != "" {
			t.Fatalf("after day %d: %s", d+1, diff)
		}
	}
}
