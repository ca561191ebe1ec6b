package risk

import (
	"slices"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Seen is an answer that a run had for a finding, as it was written down.
type Seen struct {
	Fingerprint string
	Check       string
	Ref         inventory.Ref
	Verdict     audit.Verdict
	Gone        bool // the object was no more; Verdict says nothing then
	At          time.Time
}

// Replay tells lives from what was written down, in order: only what changed
// was, and a finding of which nothing is said between two runs stayed as it
// was. Runs are the times of those that looked, in order.
func Replay(seen []Seen, runs []time.Time) map[string]Life {
	t := tracker{lives: map[string]Life{}}
	for _, s := range seen {
		t.at = s.At.UTC()
		t.failedUntil(s.Fingerprint, runBefore(runs, s.At))
		if !s.Gone {
			f := audit.Finding{Check: &audit.Check{ID: s.Check}, Ref: s.Ref}
			f.Verdict = s.Verdict
			t.one(s.Fingerprint, f)
			continue
		}
		switch l, had := t.lives[s.Fingerprint]; {
		case !had || l.Status == LifeGone:
		case l.Status == LifeUntold:
			t.drop(l, "object gone")
		default:
			t.to(l, LifeGone, "object gone")
		}
	}
	if len(runs) > 0 {
		for fp := range t.lives {
			t.failedUntil(fp, runs[len(runs)-1])
		}
	}
	return t.lives
}

// failedUntil notes that an open finding still failed in the run at that time.
func (t *tracker) failedUntil(fp string, run time.Time) {
	l, had := t.lives[fp]
	if had && l.Status == LifeOpen && l.UnknownSince.IsZero() && l.LastFailed.Before(run) {
		l.LastFailed = run.UTC()
		t.lives[fp] = l
	}
}

// runBefore returns the last of the runs that began before t; zero if none did.
func runBefore(runs []time.Time, t time.Time) time.Time {
	i, _ := slices.BinarySearchFunc(runs, t, time.Time.Compare)
	if i == 0 {
		return time.Time{}
	}
	return runs[i-1]
}

// Blind reports whether s may lack ref only because it could not be read, so
// that it must not be taken for gone.
func Blind(s *inventory.Snapshot, ref inventory.Ref) bool { return blind(s, ref) }
