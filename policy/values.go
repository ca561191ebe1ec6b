package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
)

// The values below have one text form, the one in the file; JSON has it too.

// units of a Duration, the longest first.
var units = []struct {
	suffix string
	of     time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

// ParseDuration reads a whole number and one unit: 30s, 10m, 24h, 90d.
func ParseDuration(s string) (Duration, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || number[0] == '+' || n > uint64(math.MaxInt64/u.of) {
			break
		}
		return Duration(time.Duration(n) * u.of), nil
	}
	return 0, says(lang.Text{
		En: "%q is no length of time, such as 30s, 10m, 24h or 90d", Es: "%q no es una duración, como 30s, 10m, 24h o 90d",
	}, s)
}

func (d Duration) String() string {
	for _, u := range units {
		if time.Duration(d)%u.of == 0 && d != 0 {
			return strconv.FormatInt(int64(time.Duration(d)/u.of), 10) + u.suffix
		}
	}
	return time.Duration(d).String()
}

// MarshalText gives the form of the file.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// ParseBytes reads a number of bytes, or one with k, m, g or t behind it,
// which stand for powers of 1024 as in docker run --memory.
func ParseBytes(s string) (Bytes, error) {
	number, shift := s, 0
	if i := strings.IndexAny(s, "kmgt"); i >= 0 && i == len(s)-1 {
		number, shift = s[:i], 10*(1+strings.IndexByte("kmgt", s[i]))
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || number[0] == '+' || n > uint64(math.MaxInt64)>>shift {
		return 0, says(lang.Text{En: "%q is no size, such as 512m, 2g or 1048576", Es: "%q no es un tamaño, como 512m, 2g o 1048576"}, s)
	}
	return Bytes(n << shift), nil
}

func (b Bytes) String() string {
	for i := len("kmgt"); i > 0 && b != 0; i-- {
		if b%(1<<(10*i)) == 0 {
			return strconv.FormatInt(int64(b>>(10*i)), 10) + "kmgt"[i-1:i]
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText gives the form of the file.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads it.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytes(string(text))
	return err
}

// ParseDate reads a day, 2026-12-31, or a moment with its zone (RFC 3339).
func ParseDate(s string) (Date, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return Date{t, true}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return Date{}, says(lang.Text{
			En: "%q is no date, such as 2026-12-31 or 2026-12-31T18:00:00Z", Es: "%q no es una fecha, como 2026-12-31 o 2026-12-31T18:00:00Z",
		}, s)
	}
	return Date{t.UTC(), false}, nil
}

func (d Date) String() string {
	switch {
	case d.IsZero():
		return ""
	case d.Whole:
		return d.Format(time.DateOnly)
	}
	return d.Format(time.RFC3339)
}

// MarshalText gives the form of the file.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalJSON stands before that of time.Time, which does not know of whole days.
func (d Date) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalText reads what MarshalText wrote.
func (d *Date) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*d = Date{}
		return nil
	}
	*d, err = ParseDate(string(b))
	return err
}

// UnmarshalJSON stands before that of time.Time.
func (d *Date) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	return d.UnmarshalText([]byte(s))
}

// dayNames are the days of the week as they stand in a Window, from Sunday.
var dayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

const minutesOfDay = 24 * 60

var errNoTime = says(lang.Text{En: "no time of day", Es: "no es una hora del día"})

var hours = lang.Text{En: "hours are 02:00-04:00", Es: "las horas son 02:00-04:00"}

// ParseWindow reads days, hours and a zone: "Tue,Thu 02:00-04:00
// America/La_Paz". Days and zone may be left out: every day, UTC. The program
// must have the time zone database in it (time/tzdata), or zones depend on the
// host.
func ParseWindow(s string) (Window, error) {
	fail := func(why lang.Text) (Window, error) {
		return Window{}, says(lang.Text{
			En: `%q is no window, such as "Tue,Thu 02:00-04:00 America/La_Paz": %s`,
			Es: `%q no es una ventana, como "Tue,Thu 02:00-04:00 America/La_Paz": %s`,
		}, s, why)
	}
	words := strings.Split(s, " ")
	var w Window
	if len(words) > 1 && !strings.Contains(words[0], ":") {
		for _, name := range strings.Split(words[0], ",") {
			day := time.Weekday(slices.Index(dayNames, name))
			if day < 0 {
				return fail(lang.Text{En: "days are %s", Es: "los días son %s"}.F(strings.Join(dayNames, ",")))
			}
			if slices.Contains(w.Days, day) {
				return fail(lang.Text{En: "%s stands there twice", Es: "%s está dos veces"}.F(name))
			}
			w.Days = append(w.Days, day)
		}
		words = words[1:]
	}
	from, to, ok := strings.Cut(words[0], "-")
	var err error
	if w.From, err = minutes(from); err != nil || !ok || w.From == minutesOfDay {
		return fail(hours)
	}
	if w.To, err = minutes(to); err != nil {
		return fail(hours)
	}
	if w.From == w.To {
		return fail(lang.Text{En: "it ends when it begins; all day is 00:00-24:00", Es: "acaba cuando empieza; todo el día es 00:00-24:00"})
	}
	switch {
	case len(words) > 2:
		return fail(lang.Text{En: "there is too much in it", Es: "sobra algo"})
	case len(words) == 2:
		w.Zone = words[1]
		if _, err := w.location(); err != nil {
			return fail(lang.Text{En: "there is no time zone of that name", Es: "no hay zona horaria con ese nombre"})
		}
	}
	return w, nil
}

// minutes reads "02:30", up to "24:00".
func minutes(s string) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	if !ok || len(h) != 2 || len(m) != 2 {
		return 0, errNoTime
	}
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	n := int(60*hour + minute)
	if err1 != nil || err2 != nil || minute > 59 || n > minutesOfDay {
		return 0, errNoTime
	}
	return n, nil
}

func (w Window) String() string {
	if w.Always() {
		return ""
	}
	var days []string
	for _, d := range w.Days {
		days = append(days, dayNames[d])
	}
	from := fmt.Sprintf("%02d:%02d-%02d:%02d", w.From/60, w.From%60, w.To/60, w.To%60)
	return strings.TrimSpace(strings.Join(days, ",") + " " + from + " " + w.Zone)
}

// MarshalText gives the form of the file.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Window) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*w = Window{}
		return nil
	}
	*w, err = ParseWindow(string(b))
	return err
}
