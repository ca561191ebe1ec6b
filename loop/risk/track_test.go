package risk

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"casco/loop/audit"
	"casco/loop/inventory"
)

var oneCheck = &audit.Check{ID: "some-check", Severity: audit.High, Kind: inventory.Container}

func said(v audit.Verdict, ref inventory.Ref) audit.Finding {
	return audit.Finding{Check: oneCheck, Ref: ref, Answer: audit.Answer{Verdict: v, Evidence: []inventory.Fact{{Ref: ref, Field: "x", Value: v.String()}}}}
}

// TestTrack follows one finding through readings a day apart. A letter a day:
// f fails, p passes, u unknown, n not applicable, - the object is gone, ? it is
// gone and the engine could not be read, . the check was not put.
func TestTrack(t *testing.T) {
	d := func(n int) time.Time {
		if n < 0 {
			return time.Time{}
		}
		return now.Add(time.Duration(n) * day)
	}
	for _, c := range []struct {
		days     string
		status   Status // "" no life
		first    int    // day of FirstFailed; -1 none
		closed   int
		unknown  int // day of UnknownSince; -1 none
		reopened int
		changes  string
	}{
		{"p", "", -1, -1, -1, 0, ""},
		{"f", LifeOpen, 0, -1, -1, 0, "→open"},
		{"fff", LifeOpen, 0, -1, -1, 0, "→open"},
		{"fp", LifeClosed, 0, 1, -1, 0, "→open open→closed"},
		{"fpf", LifeOpen, 0, -1, -1, 1, "→open open→closed closed→open"},
		{"fpfpfpf", LifeOpen, 0, -1, -1, 3, "→open open→closed closed→open open→closed closed→open open→closed closed→open"},
		{"fu", LifeOpen, 0, -1, 1, 0, "→open"},
		{"fuuu", LifeOpen, 0, -1, 1, 0, "→open"},
		{"fup", LifeClosed, 0, 2, -1, 0, "→open open→closed"},
		{"fuf", LifeOpen, 0, -1, -1, 0, "→open"},
		{"fpu", LifeClosed, 0, 1, 2, 0, "→open open→closed"},
		{"fpuf", LifeOpen, 0, -1, -1, 1, "→open open→closed closed→open"},
		{"u", LifeUntold, -1, -1, 0, 0, "→untold"},
		{"uuf", LifeOpen, 2, -1, -1, 0, "→untold untold→open"},
		{"up", "", -1, -1, -1, 0, "→untold untold→"},
		{"u-", "", -1, -1, -1, 0, "→untold untold→"},
		{"f-", LifeGone, 0, -1, -1, 0, "→open open→gone"},
		{"f-f", LifeOpen, 0, -1, -1, 0, "→open open→gone gone→open"}, // it came back; nobody had cured it
		{"f-p", LifeClosed, 0, 2, -1, 0, "→open open→gone gone→closed"},
		{"f?", LifeOpen, 0, -1, 1, 0, "→open"},
		{"f.", LifeOpen, 0, -1, 1, 0, "→open"},
		{"fn", LifeGone, 0, -1, -1, 0, "→open open→gone"},
		{"fpn", LifeClosed, 0, 1, -1, 0, "→open open→closed"},
		{"fp-", LifeGone, 0, 1, -1, 0, "→open open→closed closed→gone"},
		{"n", "", -1, -1, -1, 0, ""},
	} {
		var lives map[string]Life
		changes := ""
		for i, what := range c.days {
			var step []Transition
			lives, step = oneDay(lives, what, d(i))
			for _, tr := range step {
				if changes != "" {
					changes += " "
				}
				changes += fmt.Sprintf("%s→%s", tr.From, tr.To)
			}
		}
		var want map[string]Life
		if c.status != "" {
			fp := said(audit.Fail, ctr("a")).Fingerprint()
			l := Life{Fingerprint: fp, Check: "some-check", Ref: ctr("a"), Status: c.status, FirstFailed: d(c.first), Closed: d(c.closed), UnknownSince: d(c.unknown), Reopened: c.reopened}
			l.LastFailed = lives[fp].LastFailed
			want = map[string]Life{fp: l}
		} else {
			want = map[string]Life{}
		}
		if diff := cmp.Diff(want, lives); diff != "" {
			t.Errorf("%s: %s", c.days, diff)
		}
		if changes != c.changes {
			t.Errorf("%s: changes %q, want %q", c.days, changes, c.changes)
		}
	}
}

func oneDay(lives map[string]Life, what rune, at time.Time) (map[string]Life, []Transition) {
	s := hostOf(box("a"))
	var fs []audit.Finding
	switch what {
	case 'f':
		fs = append(fs, said(audit.Fail, ctr("a")))
	case 'p':
		fs = append(fs, said(audit.Pass, ctr("a")))
	case 'u':
		fs = append(fs, said(audit.Unknown, ctr("a")))
	case 'n':
		fs = append(fs, said(audit.NotApplicable, ctr("a")))
	case '-':
		s = hostOf()
	case '?':
		s = hostOf()
		s.Gaps = []inventory.Gap{{Source: "docker unix:///x", Reason: "refused"}}
	}
	return Track(lives, s, fs, at)
}

// TestI9OnlyAMeasuredPassCloses, whatever happens before and after; and what
// first failed on a day first failed on that day.
func TestI9OnlyAMeasuredPassCloses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lives map[string]Life
		fp := said(audit.Fail, ctr("a")).Fingerprint()
		for i, what := range rapid.SliceOfN(rapid.SampledFrom([]rune("fpun-?.")), 1, 40).Draw(t, "days") {
			was := lives[fp]
			lives, _ = oneDay(lives, what, now.Add(time.Duration(i)*hour))
			is := lives[fp]
			if is.Status == LifeClosed && was.Status != LifeClosed && what != 'p' {
				t.Fatalf("%c closed it", what)
			}
			if was.Status == LifeOpen && is.Status != LifeOpen && what != 'p' && what != '-' && what != 'n' {
				t.Fatalf("%c took it from open to %s", what, is.Status)
			}
			if !was.FirstFailed.IsZero() && !is.FirstFailed.Equal(was.FirstFailed) {
				t.Fatalf("%c moved the day it first failed", what)
			}
			if is.Reopened < was.Reopened {
				t.Fatalf("%c took back a return", what)
			}
		}
	})
}

// TestI10UnknownAges: it has a beginning that stays while nothing is told.
func TestI10UnknownAges(t *testing.T) {
	for _, begin := range []string{"u", "fu", "fpu", "f?", "f."} {
		var lives map[string]Life
		for i, what := range begin {
			lives, _ = oneDay(lives, what, now.Add(time.Duration(i)*day))
		}
		since := now.Add(time.Duration(len(begin)-1) * day)
		for i := range 5 {
			lives, _ = oneDay(lives, 'u', since.Add(time.Duration(i+1)*day))
		}
		for _, l := range lives {
			if !l.UnknownSince.Equal(since) {
				t.Errorf("%s: unknown since %v, want %v", begin, l.UnknownSince, since)
			}
		}
		if len(lives) != 1 {
			t.Errorf("%s: %d lives", begin, len(lives))
		}
	}
}

// TestBlind: a part of the host that could not be read hides its own objects
// and no others; one that nobody knows hides all.
func TestBlind(t *testing.T) {
	kernel := inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}
	for _, c := range []struct {
		gap  inventory.Gap
		ref  inventory.Ref
		want bool
	}{
		{inventory.Gap{Source: "docker unix:///run/docker.sock"}, ctr("a"), true},
		{inventory.Gap{Source: "GET /v1.41/images/json"}, kernel, true},
		{inventory.Gap{Source: "packages"}, ctr("a"), false},
		{inventory.Gap{Source: "packages"}, inventory.Ref{Kind: inventory.Package, Name: "telnetd"}, true},
		{inventory.Gap{Source: "proc containers"}, ctr("a"), false},
		{inventory.Gap{Source: "GET …", Ref: ctr("b")}, ctr("a"), true},
		{inventory.Gap{Source: "GET …", Ref: kernel}, ctr("a"), false},
		{inventory.Gap{Source: "something new"}, ctr("a"), true},
	} {
		if got := blind(&inventory.Snapshot{Gaps: []inventory.Gap{c.gap}}, c.ref); got != c.want {
			t.Errorf("%+v hides %s: %v", c.gap, c.ref, got)
		}
	}
}

func TestProblems(t *testing.T) {
	lives := map[string]Life{}
	for i, l := range []Life{{Reopened: 2}, {Reopened: 3, Status: LifeOpen}, {Reopened: 3, Status: LifeClosed}, {Reopened: 4, Status: LifeOpen}} {
		l.Fingerprint, l.Check, l.Ref = fmt.Sprint(i), fmt.Sprint(i), ctr("a")
		lives[l.Fingerprint] = l
	}
	noted := []Problem{{Fingerprint: "2", Cause: "the image's default", State: Solved, Reopened: 3}, {Fingerprint: "3", Cause: "a script", State: Solved, Reopened: 3}}
	var got []string
	for _, p := range Problems(lives, noted) {
		got = append(got, fmt.Sprintf("%s %s %q", p.Check, p.State, p.Cause))
	}
	want := []string{`1 open ""`, `2 solved "the image's default"`, `3 known-error "a script"`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestDigest: facts are the same whenever and through whatever process they
// were read.
func TestDigest(t *testing.T) {
	fact := func(field string, v any) inventory.Fact {
		return inventory.Fact{Ref: ctr("a"), Field: field, Value: v, Source: "/proc/7", Read: now}
	}
	base := said(audit.Fail, ctr("a"))
	base.Evidence = []inventory.Fact{fact("A", 1), fact("Listeners", []any{map[string]any{"Port": 80, "Pid": 7}})}
	base.Loci = []string{"x", "y"}
	change := func(do func(f *audit.Finding)) audit.Finding {
		f := base
		f.Evidence = append([]inventory.Fact(nil), base.Evidence...)
		do(&f)
		return f
	}
	for _, c := range []struct {
		what string
		f    audit.Finding
		same bool
	}{
		{"read later, from another process", change(func(f *audit.Finding) { f.Evidence[0].Read, f.Evidence[0].Source = now.Add(hour), "/proc/8" }), true},
		{"another process listens", change(func(f *audit.Finding) {
			f.Evidence[1] = fact("Listeners", []any{map[string]any{"Port": 80, "Pid": 9}})
		}), true},
		{"another order", change(func(f *audit.Finding) { f.Evidence[0], f.Evidence[1] = f.Evidence[1], f.Evidence[0] }), true},
		{"said twice", change(func(f *audit.Finding) { f.Evidence = append(f.Evidence, f.Evidence[0]) }), true},
		{"another port", change(func(f *audit.Finding) {
			f.Evidence[1] = fact("Listeners", []any{map[string]any{"Port": 81, "Pid": 7}})
		}), false},
		{"another value", change(func(f *audit.Finding) { f.Evidence[0].Value = 2 }), false},
		{"no value any more", change(func(f *audit.Finding) { f.Evidence[0].Value, f.Evidence[0].Err = nil, "denied" }), false},
		{"another part", change(func(f *audit.Finding) { f.Loci = []string{"x"} }), false},
		{"another verdict", change(func(f *audit.Finding) { f.Verdict = audit.Unknown }), false},
	} {
		if got := Digest(c.f) == Digest(base); got != c.same {
			t.Errorf("%s: same %v", c.what, got)
		}
	}
}
