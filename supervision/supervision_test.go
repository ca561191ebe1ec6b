package supervision

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"casco/store"
)

var day0 = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func at(hours float64) time.Time { return day0.Add(time.Duration(hours * float64(time.Hour))) }

// said is a verdict that was recorded at that hour.
func said(hour float64, fp, verdict string) store.Recorded[store.Verdict] {
	return store.Recorded[store.Verdict]{At: at(hour), Event: store.Verdict{
		Fingerprint: fp, Check: "c", Ref: "container/" + fp, Severity: "high", Verdict: verdict, Run: fmt.Sprint("r", hour),
	}}
}

// ran is a run that looked at that hour.
func ran(hour float64) store.Recorded[store.Run] {
	return store.Recorded[store.Run]{At: at(hour), Event: store.Run{ID: fmt.Sprint("r", hour), Of: "audit", Begun: at(hour), Ended: at(hour), Outcome: "ok"}}
}

func TestSpells(t *testing.T) {
	got := Spells([]store.Recorded[store.Verdict]{
		said(0, "a", "fail"), said(0, "b", "pass"), said(0, "c", "fail"),
		said(1, "a", "unknown"), // ends nothing
		said(2, "a", "fail"),
		said(3, "a", "pass"),
		said(4, "c", store.Gone),
		said(5, "a", "fail"),
	}, at(10))
	type spell struct {
		Fingerprint string
		From, To    float64
		End         string
		First       float64
		Nth         int
	}
	var short []spell
	for _, s := range got {
		short = append(short, spell{s.Fingerprint, s.From.Sub(day0).Hours(), s.To.Sub(day0).Hours(), s.End, s.FirstFailed.Sub(day0).Hours(), s.Nth})
	}
	want := []spell{{"a", 0, 3, "pass", 0, 1}, {"c", 0, 4, "gone", 0, 1}, {"a", 5, 10, "", 0, 2}}
	if diff := cmp.Diff(want, short); diff != "" {
		t.Error(diff)
	}
}

// TestSurvive reckons by hand: five findings, closed after 1, 2 and 4 hours, one
// open for 3, one gone after 2.
//
//	after 1 h: 5 at risk, 1 closed: 4/5 open
//	after 2 h: 4 at risk, 1 closed (and one gone): 4/5 · 3/4 = 0.6
//	after 4 h: 1 at risk, 1 closed: 0
func TestSurvive(t *testing.T) {
	spell := func(hours float64, end string) Spell { return Spell{From: day0, To: at(hours), End: end} }
	got := Survive([]Spell{spell(4, "pass"), spell(1, "pass"), spell(2, "gone"), spell(3, ""), spell(2, "pass")})
	four := 4 * time.Hour
	want := Survival{N: 5, Closed: 3, Points: []Down{
		{time.Hour, 5, 1, 0.8}, {2 * time.Hour, 4, 1, 0.6}, {four, 1, 1, 0},
	}, Median: &four, P90: &four}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
	open := Survive([]Spell{spell(9, ""), spell(1, "pass"), spell(9, "")})
	if open.Median != nil {
		t.Errorf("a third is closed, and the median is %v", *open.Median)
	}
	if got := Survive(nil); got.N != 0 || got.Median != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestEffectiveness: a control that was off for twenty minutes between two of
// its readings, in a day with a hole of four hours in which nobody looked.
func TestEffectiveness(t *testing.T) {
	runs := []store.Recorded[store.Run]{ran(-1), ran(1), ran(2), ran(3), ran(8), ran(9)}
	vs := []store.Recorded[store.Verdict]{said(-1, "a", "pass"), said(2, "a", "fail"), said(3, "a", "pass"), said(9, "later", "pass")}
	got := Effectiveness(vs, runs, store.Period{From: at(0), Until: at(10)}, 2*time.Hour)
	if len(got) != 2 || got[0].Ref != "container/a" {
		t.Fatalf("%+v", got)
	}
	want := []Stretch{
		{From: at(0), To: at(2), Verdict: "pass", Run: "r-1"},
		{From: at(2), To: at(3), Verdict: "fail", Run: "r2", Doubt: time.Hour},
		{From: at(3), To: at(5), Verdict: "pass", Run: "r3", Doubt: time.Hour},
		{From: at(5), To: at(8), Verdict: "unmeasured"},
		{From: at(8), To: at(10), Verdict: "pass", Run: "r3", Doubt: time.Hour},
	}
	if diff := cmp.Diff(want, got[0].Stretches); diff != "" {
		t.Error(diff)
	}
	if a := got[0]; a.Pass != 0.6 || a.Fail != 0.1 || math.Abs(a.Unmeasured-0.3) > 1e-9 {
		t.Errorf("%+v", a)
	}
	// What was never measured before its first reading did not hold until then.
	if l := got[1]; l.Pass != 0.1 || math.Abs(l.Unmeasured-0.9) > 1e-9 {
		t.Errorf("%+v", l)
	}
}

// TestPartlyLooked: a run that did not read the engine measured no container, and
// a run that was missed measured nothing. What did not apply is no hole.
func TestPartlyLooked(t *testing.T) {
	not := func(hour float64, outcome string) store.Recorded[store.Run] {
		r := ran(hour)
		r.Event.Outcome = outcome
		return r
	}
	got := Effectiveness([]store.Recorded[store.Verdict]{said(0, "a", "pass"), said(0, "b", "not-applicable"), said(9, "a", "fail")},
		[]store.Recorded[store.Run]{ran(0), not(2, "partial"), not(4, "partial"), not(6, "missed"), not(8, "missed"), ran(9)},
		store.Period{From: at(0), Until: at(10)}, 2*time.Hour)
	want := []Held{
		{Check: "c", Ref: "container/a", Pass: 0.2, Unmeasured: 0.7, Fail: 0.1, Stretches: []Stretch{
			{From: at(0), To: at(2), Verdict: "pass", Run: "r0"},
			{From: at(2), To: at(9), Verdict: "unmeasured"},
			{From: at(9), To: at(10), Verdict: "fail", Run: "r9", Doubt: 9 * time.Hour},
		}},
		{Check: "c", Ref: "container/b", Stretches: []Stretch{{From: at(0), To: at(10), Verdict: "not-applicable", Run: "r0"}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Error(diff)
	}
}

// TestNobodyLooked: without a run nothing held, whatever was the last verdict.
func TestNobodyLooked(t *testing.T) {
	got := Effectiveness([]store.Recorded[store.Verdict]{said(-100, "a", "pass")}, []store.Recorded[store.Run]{ran(-100)},
		store.Period{From: at(0), Until: at(10)}, 2*time.Hour)
	if len(got) != 1 || got[0].Unmeasured != 1 || got[0].Pass != 0 {
		t.Errorf("%+v", got)
	}
}

// TestSample draws the same from the same, a larger sample holds the smaller,
// and another seed draws others. The numbers are those that sha256sum gives.
func TestSample(t *testing.T) {
	var population []string
	for i := range 100 {
		population = append(population, fmt.Sprintf("entry-%d", i))
	}
	self := func(s string) string { return s }
	small, large := Sample(population, self, "2026-11", 5), Sample(population, self, "2026-11", 25)
	if diff := cmp.Diff([]string{"entry-15", "entry-26", "entry-43", "entry-45", "entry-86"}, small); diff != "" {
		t.Error(diff)
	}
	for _, s := range small {
		found := false
		for _, l := range large {
			found = found || s == l
		}
		if !found {
			t.Errorf("the sample of 25 lacks %s of the sample of 5", s)
		}
	}
	if diff := cmp.Diff(small, Sample(population, self, "2026-12", 5)); diff == "" {
		t.Error("another seed draws the same")
	}
	if got := Sample(population[:3], self, "x", 25); len(got) != 3 {
		t.Errorf("%d of 3", len(got))
	}
	if got := Sample(population, self, "x", -1); len(got) != 0 {
		t.Errorf("%d of -1", len(got))
	}
}
