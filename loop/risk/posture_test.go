package risk

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// results are so many of each verdict, of different objects.
func results(n map[audit.Verdict]int) []audit.Finding {
	var fs []audit.Finding
	for _, v := range []audit.Verdict{audit.Pass, audit.Fail, audit.Unknown, audit.NotApplicable, audit.Manual} {
		for i := range n[v] {
			fs = append(fs, said(v, ctr(fmt.Sprintf("%v-%d", v, i))))
		}
	}
	return fs
}

// TestPosture: of a hundred results 60 pass, 30 fail, of which 10 are accepted,
// and 10 could not be told. Other tools make of such a host 30, 75, 8, 57 or 100.
func TestPosture(t *testing.T) {
	fs := results(map[audit.Verdict]int{audit.Pass: 60, audit.Fail: 30, audit.Unknown: 10, audit.NotApplicable: 7})
	x := Exceptions{whole: map[string]string{}}
	for i := range 10 {
		x.whole[said(audit.Fail, ctr(fmt.Sprintf("fail-%d", i))).Fingerprint()] = "EX"
	}
	p := PostureOf(fs, x)
	if p.Low() != 0.6 || p.High() != 0.7 || p.Coverage() != 0.9 || p.AcceptedShare() != 0.1 || p.N() != 100 {
		t.Errorf("between %v and %v, coverage %v, accepted %v, of %d", p.Low(), p.High(), p.Coverage(), p.AcceptedShare(), p.N())
	}
	for i := range 30 {
		x.whole[said(audit.Fail, ctr(fmt.Sprintf("fail-%d", i))).Fingerprint()] = "EX"
	}
	if all := PostureOf(fs, x); all.Conformance != p.Conformance || all.AcceptedShare() != 0.3 {
		t.Errorf("all accepted: %+v", all)
	}
	fs[60].Other = inventory.Ref{Kind: inventory.Daemon, Name: "/run/other.sock"}
	if others := PostureOf(fs, x); others.Fail != 29 || others.Accepted != 29 {
		t.Errorf("one of them about another engine: %+v", others)
	}
	if (Posture{}).AcceptedShare() != 0 {
		t.Error("nothing asked, and something accepted")
	}
}

// TestUnreadableWidens: what can no longer be told widens the interval and
// never raises its low end, and coverage falls.
func TestUnreadableWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(what string) int { return rapid.IntRange(0, 30).Draw(t, what) }
		fs := results(map[audit.Verdict]int{audit.Pass: n("pass"), audit.Fail: n("fail"), audit.Unknown: n("unknown"), audit.Manual: n("manual"), audit.NotApplicable: n("n/a")})
		before := PostureOf(fs, Exceptions{})
		if before.Pass+before.Fail == 0 {
			t.Skip("nothing to make unreadable")
		}
		i := rapid.IntRange(0, before.Pass+before.Fail-1).Draw(t, "which")
		fs[i].Verdict = audit.Unknown
		after := PostureOf(fs, Exceptions{})
		if after.Low() > before.Low() || after.High() < before.High() || after.Coverage() >= before.Coverage() {
			t.Fatalf("from [%v, %v] coverage %v to [%v, %v] coverage %v", before.Low(), before.High(), before.Coverage(), after.Low(), after.High(), after.Coverage())
		}
		if after.High()-after.Low() <= before.High()-before.Low() {
			t.Fatal("the interval is not wider")
		}
	})
}
