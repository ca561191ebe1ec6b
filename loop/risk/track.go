package risk

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Life is what has become of one finding since it first failed. A finding
// keeps it for ever: cured and broken again, it is the same finding, and its
// age counts from the first day.
type Life struct {
	Fingerprint string        `json:"fingerprint"`
	Check       string        `json:"check"`
	Ref         inventory.Ref `json:"ref"`
	Status      Status        `json:"status"`
	FirstFailed time.Time     `json:"first_failed,omitzero"`
	LastFailed  time.Time     `json:"last_failed,omitzero"`
	// Closed is when it was measured to pass; zero while it is not closed.
	Closed   time.Time `json:"closed,omitzero"`
	Reopened int       `json:"reopened"` // how often it failed again after it was closed
	// UnknownSince is when it could no longer be told; zero if it can. A life
	// that has never failed may consist of this alone.
	UnknownSince time.Time `json:"unknown_since,omitzero"`
}

// A Status is where a life stands.
type Status string

const (
	LifeUntold Status = "untold" // never seen to fail, and not told since UnknownSince
	LifeOpen   Status = "open"
	LifeClosed Status = "closed" // measured to pass
	LifeGone   Status = "gone"   // what it was about is no longer there; not cured
)

// A Transition is what changed for one finding between two readings.
type Transition struct {
	Fingerprint string        `json:"fingerprint"`
	Check       string        `json:"check"`
	Ref         inventory.Ref `json:"ref"`
	From        Status        `json:"from,omitempty"` // empty: it had no life
	To          Status        `json:"to,omitempty"`   // empty: it was told after all, and passed
	At          time.Time     `json:"at"`
	Why         string        `json:"why"` // "failed", "failed again", "measured pass", "not told", "told", "object gone", "not applicable", "object back"
}

// Track carries the lives on by one reading of the host and says what changed,
// in order of checks and objects. History is not changed. Findings are those of
// s, and at is when it was read.
//
// What cannot be told freezes a life as it is (and ages); only a measured pass
// closes one. An object that is no longer there leaves its findings gone, not
// cured, and only if that part of the host could be read.
func Track(history map[string]Life, s *inventory.Snapshot, findings []audit.Finding, at time.Time) (map[string]Life, []Transition) {
	t := tracker{lives: maps.Clone(history), at: at.UTC()}
	if t.lives == nil {
		t.lives = map[string]Life{}
	}
	seen := make(map[string]bool, len(findings))
	for _, f := range findings {
		if f.Ref.Kind == inventory.Exception {
			continue // no part of the host, and so no life of its own
		}
		fp := f.Fingerprint()
		seen[fp] = true
		t.one(fp, f)
	}
	for fp, l := range t.lives {
		if seen[fp] || l.Status == LifeGone {
			continue
		}
		switch {
		case s.Find(l.Ref) != nil || blind(s, l.Ref):
			t.unknown(l, "not told") // the check was not put, or could not be
		case l.Status == LifeUntold:
			t.drop(l, "object gone")
		default:
			t.to(l, LifeGone, "object gone")
		}
	}
	slices.SortFunc(t.changes, func(a, b Transition) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
	return t.lives, t.changes
}

type tracker struct {
	lives   map[string]Life
	changes []Transition
	at      time.Time
}

func (t *tracker) one(fp string, f audit.Finding) {
	l, had := t.lives[fp]
	if !had {
		l = Life{Fingerprint: fp, Check: f.Check.ID, Ref: f.Ref}
	}
	switch f.Verdict {
	case audit.Fail:
		t.fail(l)
	case audit.Unknown, audit.Manual:
		t.unknown(l, "not told")
	case audit.Pass:
		t.pass(l, had)
	case audit.NotApplicable:
		switch {
		case !had || l.Status == LifeGone:
		case l.Status == LifeUntold:
			t.drop(l, "not applicable")
		case l.Status == LifeClosed:
			l.UnknownSince = time.Time{}
			t.lives[fp] = l
		default:
			t.to(l, LifeGone, "not applicable")
		}
	}
}

func (t *tracker) fail(l Life) {
	from, why := l.Status, "failed"
	switch from {
	case LifeClosed:
		l.Reopened++
		why = "failed again"
	case LifeGone:
		why = "object back"
	}
	if l.FirstFailed.IsZero() {
		l.FirstFailed = t.at
	}
	l.LastFailed, l.Closed, l.UnknownSince, l.Status = t.at, time.Time{}, time.Time{}, LifeOpen
	t.keep(l, from, why)
}

func (t *tracker) pass(l Life, had bool) {
	switch {
	case !had:
	case l.Status == LifeUntold:
		t.drop(l, "told")
	case l.Status == LifeOpen, l.Status == LifeGone:
		l.Closed, l.UnknownSince = t.at, time.Time{}
		t.to(l, LifeClosed, "measured pass")
	default:
		l.UnknownSince = time.Time{}
		t.lives[l.Fingerprint] = l
	}
}

// unknown freezes l: its status stays, and it ages.
func (t *tracker) unknown(l Life, why string) {
	from := l.Status
	if from == "" {
		l.Status = LifeUntold
	}
	if l.UnknownSince.IsZero() {
		l.UnknownSince = t.at
	}
	t.keep(l, from, why)
}

func (t *tracker) to(l Life, s Status, why string) {
	from := l.Status
	l.Status = s
	t.keep(l, from, why)
}

func (t *tracker) keep(l Life, from Status, why string) {
	t.lives[l.Fingerprint] = l
	if from != l.Status {
		t.changes = append(t.changes, Transition{l.Fingerprint, l.Check, l.Ref, from, l.Status, t.at, why})
	}
}

func (t *tracker) drop(l Life, why string) {
	delete(t.lives, l.Fingerprint)
	t.changes = append(t.changes, Transition{Fingerprint: l.Fingerprint, Check: l.Check, Ref: l.Ref, From: l.Status, At: t.at, Why: why})
}

// sources says of which kinds a source of that name, or one that begins so,
// tells; a gap of it makes casco blind for these alone.
var sources = map[string][]inventory.Kind{
	"file": {inventory.File}, "audit rules": {inventory.Watch}, "sysctl": {inventory.Sysctl}, "kernel": {inventory.Kernel},
	"accounts": {inventory.Account}, "packages": {inventory.Package}, "units": {inventory.Unit},
	"registries": {inventory.Registry, inventory.Credential}, "proc listeners": {inventory.Listener},
	"proc containers": {}, "compose": {}, "parked containers": {},
}

// blind reports whether s may lack ref only because it could not be read: a gap
// is about it, about its kind, or about no kind that is known.
func blind(s *inventory.Snapshot, ref inventory.Ref) bool {
	for _, g := range s.Gaps {
		if g.Ref != (inventory.Ref{}) {
			if g.Ref.Kind == ref.Kind {
				return true
			}
			continue
		}
		kinds, known := []inventory.Kind(nil), false
		for name, ks := range sources {
			if g.Source == name || strings.HasPrefix(g.Source, name+" ") {
				kinds, known = ks, true
			}
		}
		if !known || slices.Contains(kinds, ref.Kind) {
			return true
		}
	}
	return false
}

// recurring is how often a finding comes back before it is a problem: cured
// again and again, it has a cause that nobody has cured.
const recurring = 3

// A Problem is a finding that keeps coming back (COBIT DSS03). What the cause
// is, a person must say.
type Problem struct {
	Fingerprint string        `json:"fingerprint"`
	Check       string        `json:"check"`
	Ref         inventory.Ref `json:"ref"`
	Reopened    int           `json:"reopened"`
	FirstFailed time.Time     `json:"first_failed"`
	State       ProblemState  `json:"state"`
	Cause       string        `json:"cause,omitempty"` // empty: not found yet
}

// A ProblemState is how much of a problem is understood.
type ProblemState string

const (
	OpenProblem ProblemState = "open"        // its cause is not known
	KnownError  ProblemState = "known-error" // it is, and not removed
	Solved      ProblemState = "solved"      // a person says it is, and it has not come back since
)

// Problems returns the findings that came back too often, in order of checks
// and objects. Noted holds what persons said of them: their cause, and whether
// they hold it for solved; a solved one that failed again is a known error.
func Problems(lives map[string]Life, noted []Problem) []Problem {
	var out []Problem
	for _, l := range lives {
		if l.Reopened < recurring {
			continue
		}
		p := Problem{l.Fingerprint, l.Check, l.Ref, l.Reopened, l.FirstFailed, OpenProblem, ""}
		for _, n := range noted {
			if n.Fingerprint != l.Fingerprint || n.Cause == "" {
				continue
			}
			p.Cause, p.State = n.Cause, KnownError
			if n.State == Solved && n.Reopened == l.Reopened && l.Status == LifeClosed {
				p.State = Solved
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Check, b.Check), cmp.Compare(a.Ref.String(), b.Ref.String()))
	})
	return out
}
