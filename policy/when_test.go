package policy

import (
	"testing"
	"time"
	_ "time/tzdata" // the test means the same on a machine without the database
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWindowContains(t *testing.T) {
	for _, tc := range []struct {
		window, at string
		open       bool
	}{
		{"", "2026-11-24T03:00:00Z", true},
		{"02:00-04:00", "2026-11-24T02:00:00Z", true},
		{"02:00-04:00", "2026-11-24T01:59:59Z", false},
		{"02:00-04:00", "2026-11-24T03:59:59Z", true},
		{"02:00-04:00", "2026-11-24T04:00:00Z", false},
		{"00:00-24:00", "2026-11-24T23:59:59Z", true},
		// 2026-11-24 is a Tuesday. La Paz is four hours behind.
		{"Tue,Thu 02:00-04:00 America/La_Paz", "2026-11-24T06:00:00Z", true},
		{"Tue,Thu 02:00-04:00 America/La_Paz", "2026-11-24T02:30:00Z", false},
		{"Tue,Thu 02:00-04:00 America/La_Paz", "2026-11-25T06:00:00Z", false},
		{"Tue 22:00-23:00 America/La_Paz", "2026-11-25T02:30:00Z", true}, // Wednesday in UTC
		// Past midnight it still is the day on which it began.
		{"Fri 22:00-06:00", "2026-11-27T23:00:00Z", true},
		{"Fri 22:00-06:00", "2026-11-28T05:59:00Z", true},
		{"Fri 22:00-06:00", "2026-11-28T06:00:00Z", false},
		{"Fri 22:00-06:00", "2026-11-27T05:00:00Z", false},
		{"Fri 22:00-06:00", "2026-11-28T22:30:00Z", false},
		// Madrid's clocks go from 02:00 to 03:00 on 2026-03-29, and back on 2026-10-25.
		{"Sun 02:00-03:00 Europe/Madrid", "2026-03-29T01:30:00Z", false},
		{"Sun 02:00-03:00 Europe/Madrid", "2026-10-25T00:30:00Z", true},
		{"Sun 02:00-03:00 Europe/Madrid", "2026-10-25T01:30:00Z", true},
	} {
		var w Window
		if err := w.UnmarshalText([]byte(tc.window)); err != nil {
			t.Fatal(err)
		}
		if got := w.Contains(at(t, tc.at)); got != tc.open {
			t.Errorf("%q at %s: %v", tc.window, tc.at, got)
		}
	}
	if (Window{From: 0, To: minutesOfDay, Zone: "Mars/Olympus"}).Contains(time.Now()) {
		t.Error("a window of a zone that nobody knows is open")
	}
}

func TestWindowNext(t *testing.T) {
	for _, tc := range []struct{ window, at, next string }{
		{"Tue,Thu 02:00-04:00 America/La_Paz", "2026-11-24T09:00:00Z", "2026-11-26T06:00:00Z"},
		{"Tue,Thu 02:00-04:00 America/La_Paz", "2026-11-24T06:30:00Z", "2026-11-24T06:30:00Z"},
		{"Tue 22:00-06:00", "2026-11-25T06:00:00Z", "2026-12-01T22:00:00Z"},
		{"Sun 02:00-02:30 Europe/Madrid", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z"}, // the 29th has no such hour
	} {
		w, err := ParseWindow(tc.window)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := w.Next(at(t, tc.at)); !ok || !got.Equal(at(t, tc.next)) {
			t.Errorf("%q after %s: %v, want %s", tc.window, tc.at, got, tc.next)
		}
	}
}

func TestFrozen(t *testing.T) {
	c := Changes{Freeze: []Freeze{{From: mustDate(t, "2026-12-20"), To: mustDate(t, "2027-01-05"), Except: []string{"emergency"}}}}
	for _, tc := range []struct {
		at     string
		what   string
		frozen bool
	}{
		{"2026-12-19T23:59:59Z", "normal", false},
		{"2026-12-20T00:00:00Z", "normal", true},
		{"2027-01-05T23:59:59Z", "normal", true}, // its last day is whole
		{"2027-01-06T00:00:00Z", "normal", false},
		{"2026-12-25T12:00:00Z", "emergency", false},
	} {
		if got := c.Frozen(at(t, tc.at), tc.what) != nil; got != tc.frozen {
			t.Errorf("%s change at %s: frozen %v", tc.what, tc.at, got)
		}
	}
}
