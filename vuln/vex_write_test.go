package vuln

import (
	"bytes"
	"testing"
	"time"
)

// TestWriteVEX: what is written is read again, and says of each match what was
// stated of it.
func TestWriteVEX(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	stated := &VEX{Status: "not_affected", Justification: "vulnerable_code_not_present", Statement: "built without it", At: at.Add(-time.Hour)}
	all := func() []Match {
		return []Match{
			{ID: "CVE-2026-1", Package: Package{Name: "a", PURL: "pkg:deb/debian/a@1"}},
			{ID: "CVE-2026-2", Aliases: []string{"GHSA-x"}, Package: Package{Name: "b", PURL: "pkg:deb/debian/b@1"}, VEX: stated},
			{ID: "CVE-2026-3", Package: Package{Name: "c"}, VEX: &VEX{Status: "affected", Statement: "upgrade"}},
		}
	}
	text, err := WriteVEX("app:1", "me", all(), at)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := WriteVEX("app:1", "me", all(), at); !bytes.Equal(text, again) {
		t.Error("the same matches give other bytes")
	}
	doc, err := ParseVEX(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	ms := all()
	for i := range ms {
		ms[i].VEX = nil
	}
	Apply(ms, doc, "app:1")
	for i, want := range []string{"under_investigation", "not_affected", "affected"} {
		if ms[i].VEX == nil || ms[i].VEX.Status != want {
			t.Errorf("%s: %+v, want %s", ms[i].ID, ms[i].VEX, want)
		}
	}
	if ms[1].VEX.Justification != stated.Justification || ms[1].VEX.Statement != stated.Statement || !ms[1].VEX.At.Equal(stated.At) {
		t.Errorf("%+v", ms[1].VEX)
	}
}
