package supervision

import (
	"testing"
	"time"

	"casco/store"
)

// number finds a metric, or a part of it.
func number(t *testing.T, ms []Metric, id, part string) (float64, int) {
	t.Helper()
	for _, m := range ms {
		if m.ID != id {
			continue
		}
		if part == "" {
			if m.Value == nil {
				t.Fatalf("%s cannot be told", id)
			}
			return *m.Value, m.N
		}
		for _, p := range m.Parts {
			if p.Key == part && p.Value != nil {
				return *p.Value, p.N
			}
		}
	}
	t.Fatalf("there is no %s %s", id, part)
	return 0, 0
}

func changed(hour float64, id, class, state string) store.Recorded[store.Change] {
	c := store.Change{ID: id, Class: class, State: state, Steps: 3}
	if state == "applying" {
		c.Asked = at(hour - 24)
	}
	return store.Recorded[store.Change]{At: at(hour), Event: c}
}

// TestMeasure reckons a month by hand.
func TestMeasure(t *testing.T) {
	const d = 24
	counted := ran(29 * d)
	counted.Event.Counts = store.Counts{Pass: 60, Fail: 30, Unknown: 10}
	missed := store.Recorded[store.Run]{At: at(29 * d), Event: store.Run{Of: "audit", Outcome: "missed", Due: at(5 * d)}}
	before := store.Recorded[store.Run]{At: at(0), Event: store.Run{Of: "audit", Outcome: "missed", Due: at(-1)}}
	in := Input{
		Period:  store.Period{From: at(0), Until: at(30 * d)},
		Longest: 40 * d * time.Hour,
		Verdicts: []store.Recorded[store.Verdict]{
			said(0, "quick", "fail"), said(0, "slow", "fail"), said(0, "stays", "fail"), said(0, "fine", "pass"),
			said(1*d, "quick", "pass"), said(2*d, "quick", "fail"), said(3*d, "quick", "pass"), said(4*d, "quick", "fail"), said(5*d, "quick", "pass"),
			said(20*d, "slow", "pass"),
			said(31*d, "stays", "pass"), // after the period: not of it
		},
		Runs: []store.Recorded[store.Run]{before, ran(0), missed, counted},
		Changes: []store.Recorded[store.Change]{
			changed(-1, "0-x", "normal", "applying"), changed(1, "0-x", "normal", "verified"), // begun before the period
			changed(2, "1-x", "normal", "applying"), changed(3, "1-x", "normal", "verified"),
			changed(4, "2-x", "normal", "applying"), changed(5, "2-x", "normal", "verified"), changed(6, "2-x", "normal", "rolled-back"),
			changed(7, "3-x", "emergency", "applying"), changed(8, "3-x", "emergency", "verified"), changed(9, "3-x", "emergency", "unratified"),
			changed(10, "4-x", "normal", "applying"), changed(11, "4-x", "normal", "undone"),
		},
		Drifts: []store.Recorded[store.Drift]{{At: at(12)}, {At: at(13)}, {At: at(14)}},
		Exceptions: []store.Recorded[store.Exception]{
			{At: at(1), Event: store.Exception{ID: "e1", State: "active", Expires: at(40 * d)}},
			{At: at(1), Event: store.Exception{ID: "e2", State: "active", Check: "c", Asset: "container/stays"}},
			{At: at(9 * d), Event: store.Exception{ID: "e2", State: "expired", Check: "c", Asset: "container/stays"}},
			{At: at(9 * d), Event: store.Exception{ID: "e3", State: "active", Renews: "e1", Expires: at(300 * d)}},
		},
		Due: func(_ string, from time.Time) time.Time { return from.Add(14 * dayLength) },
	}
	ms := Measure(in)
	for _, c := range []struct {
		id, part string
		value    float64
		n        int
	}{
		// Spells of 1, 1, 1, 20 and (open) 30 days: half are closed after one.
		{"time-to-remediate", "", 1, 5},
		{"open-age", "", 30, 1},
		// Three of quick in time, slow late, stays open and overdue.
		{"sla", "", 3.0 / 5, 5},
		{"coverage", "", 0.9, 100},
		// Four changes of three steps were proved; three differences have no record.
		{"drift", "", 3.0 / 15, 15},
		{"exceptions", "", 2, 3},
		{"exceptions", "ending", 1, 1},
		{"exceptions", "outlived", 1, 1},
		{"exceptions", "renewals", 1, 1},
		{"change-success", "", 2.0 / 4, 4},
		{"change-success", "taken-back", 1.0 / 4, 1},
		{"change-success", "undone", 1.0 / 4, 1},
		{"emergencies", "", 1.0 / 4, 4},
		{"emergencies", "unratified", 1, 1},
		{"lead-time", "", 1, 4},
		// quick holds 27 of 30 days, slow 10, stays none, fine all.
		{"control-uptime", "", (27.0 + 10 + 0 + 30) / 30 / 4, 4},
		{"recurrence", "", 1, 3},
		{"runs", "", 2.0 / 3, 3},
	} {
		got, n := number(t, ms, c.id, c.part)
		if d := got - c.value; d > 1e-9 || d < -1e-9 || n != c.n {
			t.Errorf("%s %s is %v of %d, want %v of %d", c.id, c.part, got, n, c.value, c.n)
		}
	}
}

// TestCameBack: what was cured and failed again keeps the date by which it was
// due, and comes back; what was made again under the same name does not.
func TestCameBack(t *testing.T) {
	in := Input{
		Period: store.Period{From: at(0), Until: at(240)}, Longest: 240 * time.Hour,
		Verdicts: []store.Recorded[store.Verdict]{
			said(1, "cured", "fail"), said(2, "cured", "pass"), said(20, "cured", "fail"), said(21, "cured", "pass"), said(40, "cured", "fail"), said(41, "cured", "pass"),
			said(1, "made again", "fail"), said(2, "made again", "gone"), said(20, "made again", "fail"), said(21, "made again", "gone"), said(40, "made again", "fail"), said(41, "made again", "pass"),
		},
		Due: func(_ string, firstFailed time.Time) time.Time { return firstFailed.Add(24 * time.Hour) },
	}
	ms := Measure(in)
	if got, _ := number(t, ms, "recurrence", ""); got != 1 {
		t.Errorf("%v keep coming back", got)
	}
	// Of four cures the first two of "cured" came within a day of its first failure.
	if got, n := number(t, ms, "sla", ""); got != 2.0/4 || n != 4 {
		t.Errorf("%v of %d in time", got, n)
	}
}

// TestCoverageOfWhole: a run that did not read the engine had few questions, and
// answers to most.
func TestCoverageOfWhole(t *testing.T) {
	good, partial := ran(1), ran(2)
	good.Event.Counts = store.Counts{Pass: 1, Fail: 1, Unknown: 2}
	partial.Event.Counts, partial.Event.Outcome = store.Counts{Pass: 1}, "partial"
	in := Input{Period: store.Period{From: at(0), Until: at(3)}, Runs: []store.Recorded[store.Run]{good, partial}, Longest: time.Hour}
	if got, n := number(t, Measure(in), "coverage", ""); got != 0.5 || n != 4 {
		t.Errorf("%v of %d", got, n)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []time.Duration
		want time.Duration
	}{
		{[]time.Duration{3}, 3},
		{[]time.Duration{5, 1}, 3},
		{[]time.Duration{9, 1, 2}, 2},
		{[]time.Duration{8, 1, 2, 4}, 3},
	} {
		if got := median(c.of); got == nil || *got != c.want {
			t.Errorf("median of %v is %v, want %v", c.of, got, c.want)
		}
	}
	if median(nil) != nil {
		t.Error("of none there is one")
	}
}

// TestMeasureNothing: of a period in which nothing happened no share is told.
func TestMeasureNothing(t *testing.T) {
	for _, m := range Measure(Input{Period: store.Period{From: at(0), Until: at(24)}, Longest: time.Hour}) {
		if m.Unit != "count" && m.Value != nil {
			t.Errorf("%s of nothing is %v", m.ID, *m.Value)
		}
		if m.Title.Empty() || m.Definition.Empty() {
			t.Errorf("%s is not explained in both languages", m.ID)
		}
		for _, p := range m.Parts {
			if p.Title.Empty() {
				t.Errorf("%s %s has no title", m.ID, p.Key)
			}
		}
	}
}
