// Package supervision says how well the process works over a stretch of time:
// how long findings stay open, whether each control held all the while, how
// changes fared, and a sample that an auditor draws the same anywhere.
//
// It reckons with what the ledger recorded, and says of every number what it is
// of: its definition, its population and how many that were. What was not
// measured is a gap that is shown; it never counts as held. The package is pure:
// events in, values out, time as an argument.
package supervision

import (
	"slices"
	"strings"
	"time"

	"casco/store"
)

// A Spell is one time during which a finding was open: from the run that first
// saw it fail to the one that measured a pass.
type Spell struct {
	Fingerprint string    `json:"fingerprint"`
	Check       string    `json:"check"`
	Ref         string    `json:"ref"`
	Severity    string    `json:"severity"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"` // when it ended; while it is open, the end of what was looked at
	// How it ended: pass (cured, as measured), gone (the object is no more,
	// which cures nothing), or empty: it is open.
	End string `json:"end,omitempty"`
	// FirstFailed is when the finding failed for the first time, in this spell
	// or an earlier one; Nth counts its spells from 1. Cured says that the spell
	// before ended in a measured pass: the finding came back.
	FirstFailed time.Time `json:"first_failed"`
	Nth         int       `json:"nth"`
	Cured       bool      `json:"cured,omitempty"`
}

// Length is how long s lasted, or has lasted so far.
func (s Spell) Length() time.Duration { return s.To.Sub(s.From) }

// Spells reads the spells from verdicts, which are in the order of the ledger,
// as they were at now. An unknown verdict ends nothing. They come in the order
// in which they began.
func Spells(vs []store.Recorded[store.Verdict], now time.Time) []Spell {
	var out []Spell
	last := map[string]int{} // fingerprint -> index in out
	for _, r := range vs {
		v := r.Event
		i, known := last[v.Fingerprint]
		open := known && out[i].End == ""
		switch {
		case v.Verdict == "fail" && !open:
			s := Spell{
				Fingerprint: v.Fingerprint, Check: v.Check, Ref: v.Ref, Severity: v.Severity, From: r.At, To: now, FirstFailed: r.At, Nth: 1,
			}
			if known {
				s.FirstFailed, s.Nth, s.Cured = out[i].FirstFailed, out[i].Nth+1, out[i].End == "pass"
			}
			last[v.Fingerprint] = len(out)
			out = append(out, s)
		case (v.Verdict == "pass" || v.Verdict == store.Gone) && open:
			out[i].To, out[i].End = r.At, v.Verdict
		}
	}
	return out
}

// A Held is how one control stood over a period.
type Held struct {
	Check string `json:"check"`
	Ref   string `json:"ref"`
	// Stretches of the period in order, without holes between them.
	Stretches []Stretch `json:"stretches"`
	// Shares of the time in which the question arose. They add up to one, or
	// are all zero if it never did.
	Pass       float64 `json:"pass"`
	Fail       float64 `json:"fail"`
	Unknown    float64 `json:"unknown"`
	Unmeasured float64 `json:"unmeasured"`
}

// A Stretch is a part of a period in which a control had one answer.
type Stretch struct {
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Verdict string    `json:"verdict"` // as measured; "unmeasured" where no run looked
	// Run is the one that measured it at From. The truth changed between the
	// run before and this one: Doubt is how long that is.
	Run   string        `json:"run,omitempty"`
	Doubt time.Duration `json:"doubt,omitempty"`
}

// Effectiveness says how each control stood over p: not a screenshot at its end
// but all of it. Of the runs those count that looked at the whole host; two that
// lie more than longest apart leave the time from longest after the first
// unmeasured, and so does a period that begins before the first run. Where the
// question did not arise when it was last looked at, a silence measures nothing
// and hides nothing. Verdicts are all of the ledger, also those before p.
func Effectiveness(vs []store.Recorded[store.Verdict], runs []store.Recorded[store.Run], p store.Period, longest time.Duration) []Held {
	runs = whole(runs)
	silent := silences(runs, p, longest)
	byControl := map[[2]string][]store.Recorded[store.Verdict]{}
	for _, v := range vs {
		key := [2]string{v.Event.Check, v.Event.Ref}
		byControl[key] = append(byControl[key], v)
	}
	var out []Held
	for key, mine := range byControl {
		h := Held{Check: key[0], Ref: key[1], Stretches: stretches(mine, runs, p, silent)}
		if len(h.Stretches) == 0 {
			continue
		}
		h.weigh()
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b Held) int {
		if c := strings.Compare(a.Check, b.Check); c != 0 {
			return c
		}
		return strings.Compare(a.Ref, b.Ref)
	})
	return out
}

// whole are the runs that looked at the whole host. One that was partial did not
// see what it could not reach: a control there was not measured to hold.
func whole(runs []store.Recorded[store.Run]) []store.Recorded[store.Run] {
	var out []store.Recorded[store.Run]
	for _, r := range runs {
		if r.Event.Outcome == "ok" {
			out = append(out, r)
		}
	}
	return out
}

// silences are the parts of p in which no run had looked for too long.
func silences(runs []store.Recorded[store.Run], p store.Period, longest time.Duration) []Stretch {
	var out []Stretch
	last := p.From
	measured := false // is there a reading that still counts at last?
	for _, r := range runs {
		at := r.Event.Ended
		switch {
		case at.Before(p.From):
			measured, last = true, at
			continue
		case !at.Before(p.Until):
			continue
		}
		out = append(out, silence(last, at, measured, p, longest)...)
		measured, last = true, at
	}
	return append(out, silence(last, p.Until, measured, p, longest)...)
}

func silence(last, next time.Time, measured bool, p store.Period, longest time.Duration) []Stretch {
	from := last
	if measured {
		from = last.Add(longest)
	}
	if from.Before(p.From) {
		from = p.From
	}
	if !from.Before(next) {
		return nil
	}
	return []Stretch{{From: from, To: next, Verdict: "unmeasured"}}
}

// stretches lays what was measured of one control over p, and the silences over
// that.
func stretches(mine []store.Recorded[store.Verdict], runs []store.Recorded[store.Run], p store.Period, silent []Stretch) []Stretch {
	var out []Stretch
	at, now := p.From, Stretch{Verdict: "unmeasured"}
	known := false
	for _, v := range mine {
		if !v.At.Before(p.Until) {
			break
		}
		if v.At.After(at) {
			if now.Verdict != "gone" {
				out = cut(out, Stretch{From: at, To: v.At, Verdict: now.Verdict, Run: now.Run, Doubt: now.Doubt}, silent)
			}
			at = v.At
		}
		now = Stretch{Verdict: v.Event.Verdict, Run: v.Event.Run, Doubt: doubt(runs, v.Event.Run)}
		known = true
	}
	if !known {
		return nil
	}
	if now.Verdict != "gone" && at.Before(p.Until) {
		out = cut(out, Stretch{From: at, To: p.Until, Verdict: now.Verdict, Run: now.Run, Doubt: now.Doubt}, silent)
	}
	return out
}

// doubt is the time between the run that saw a change and the one before it.
func doubt(runs []store.Recorded[store.Run], id string) time.Duration {
	for i, r := range runs {
		if r.Event.ID == id && i > 0 {
			return r.Event.Begun.Sub(runs[i-1].Event.Ended)
		}
	}
	return 0
}

// cut appends s to out with the silences cut out of it and put in their place.
func cut(out []Stretch, s Stretch, silent []Stretch) []Stretch {
	add := func(x Stretch) {
		if !x.From.Before(x.To) {
			return
		}
		if n := len(out); n > 0 && out[n-1].Verdict == x.Verdict && out[n-1].To.Equal(x.From) {
			out[n-1].To = x.To
			return
		}
		out = append(out, x)
	}
	if s.Verdict == "not-applicable" {
		silent = nil
	}
	for _, q := range silent {
		from, to := later(q.From, s.From), earlier(q.To, s.To)
		if !from.Before(to) {
			continue
		}
		head := s
		head.To = from
		add(head)
		add(Stretch{From: from, To: to, Verdict: "unmeasured"})
		s.From = to
	}
	add(s)
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (h *Held) weigh() {
	var sum, pass, fail, unknown time.Duration
	for _, s := range h.Stretches {
		d := s.To.Sub(s.From)
		switch s.Verdict {
		case "not-applicable":
			continue
		case "pass":
			pass += d
		case "fail":
			fail += d
		case "unknown", "manual":
			unknown += d
		}
		sum += d
	}
	if sum == 0 {
		return
	}
	share := func(d time.Duration) float64 { return float64(d) / float64(sum) }
	h.Pass, h.Fail, h.Unknown = share(pass), share(fail), share(unknown)
	h.Unmeasured = share(sum - pass - fail - unknown)
}
