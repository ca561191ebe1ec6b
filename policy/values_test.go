package policy

import (
	"encoding"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestValues reads each kind of value from its text and prints it again, and
// refuses what is almost one.
func TestValues(t *testing.T) {
	type text interface {
		encoding.TextMarshaler
		encoding.TextUnmarshaler
	}
	for _, tc := range []struct {
		make      func() text
		good, bad []string
	}{
		{
			func() text { return new(Duration) },
			[]string{"30s", "10m", "25h", "90d", "106751d"},
			[]string{"", "d", "10", "1.5h", "+1d", "-1d", "1d12h", "10 m", "106752d", "99999999999999999999s", "1w", "1D"},
		},
		{
			func() text { return new(Bytes) },
			[]string{"0", "1000", "512m", "2g", "3t", "8k"},
			[]string{"", "m", "1.5g", "-1", "+1", "2gb", "2G", "9223372036854775808", "8388608t"},
		},
		{
			func() text { return new(Date) },
			[]string{"2026-12-31", "2026-12-31T18:00:00Z", "2028-02-29"},
			[]string{"31/12/2026", "2026-13-01", "2026-02-29", "2026-12-31 18:00", "2026-12-31T18:00:00"},
		},
		{
			func() text { return new(Window) },
			[]string{"02:00-04:00", "Tue,Thu 02:00-04:00 America/La_Paz", "Fri 22:30-06:00", "00:00-24:00 UTC", "Sat,Sun 00:00-24:00"},
			[]string{
				"always", "2:00-4:00", "02:00", "02:00-04:00-05:00", "24:00-01:00", "02:00-24:01", "02:60-03:00", "02:00-02:00", "Tue,Tue 02:00-04:00",
				"tue 02:00-04:00", "Tue, Thu 02:00-04:00", "02:00-04:00 Local", "02:00-04:00 Mars/Olympus", "02:00-04:00 UTC x", "02:00-04:00  UTC", "+2:00-04:00",
			},
		},
	} {
		for _, s := range tc.good {
			v := tc.make()
			if err := v.UnmarshalText([]byte(s)); err != nil {
				t.Errorf("%T: %v", v, err)
				continue
			}
			if b, err := v.MarshalText(); string(b) != s || err != nil {
				t.Errorf("%T: %q became %q", v, s, b)
			}
		}
		for _, s := range tc.bad {
			v := tc.make()
			if s == "" {
				continue // of a date or window the empty text is the zero value, which the file cannot have
			}
			if err := v.UnmarshalText([]byte(s)); err == nil {
				t.Errorf("%T: %q was read as %v", v, s, v)
			} else if !strings.Contains(err.Error(), "such as") {
				t.Errorf("%T: %q: %v does not say what to write", v, s, err)
			}
		}
	}
	if d := mustDate(t, "2026-12-31T14:00:00-04:00"); d.String() != "2026-12-31T18:00:00Z" {
		t.Errorf("a moment is told in UTC: %v", d)
	}
}

// TestJSON keeps whole days whole and leaves out what nobody said.
func TestJSON(t *testing.T) {
	w, err := ParseWindow("Tue 02:00-04:00 America/La_Paz")
	if err != nil {
		t.Fatal(err)
	}
	in := Changes{Standard: Standard{Expires: mustDate(t, "2027-03-31"), Window: w}, ConfirmWithin: Duration(10 * time.Minute)}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"standard":{"expires":"2027-03-31","window":"Tue 02:00-04:00 America/La_Paz"},"confirm_within":"10m"}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var out Changes
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

func mustDate(t *testing.T, s string) Date {
	t.Helper()
	d, err := ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
