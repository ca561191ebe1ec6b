package policy

import (
	"slices"
	"time"

	"casco/lang"
)

// Always reports whether w is the zero Window, which never closes.
func (w Window) Always() bool { return len(w.Days) == 0 && w.From == 0 && w.To == 0 && w.Zone == "" }

// location is where the hours of w are told. The zone of the machine
// ("Local") is none: a policy means the same on every host.
func (w Window) location() (*time.Location, error) {
	if w.Zone == "Local" {
		return nil, lang.Errorf(lang.Text{En: "no zone of the database", Es: "no es una zona de la base de datos"})
	}
	return time.LoadLocation(w.Zone)
}

func (w Window) on(day time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, day) }

// Contains reports whether w is open at t. Its hours are those that a clock on
// the wall shows in its zone, so a night on which clocks change may have one
// hour more or less. A window whose zone is not known is closed.
func (w Window) Contains(t time.Time) bool {
	if w.Always() {
		return true
	}
	zone, err := w.location()
	if err != nil {
		return false
	}
	t = t.In(zone)
	now, day := t.Hour()*60+t.Minute(), t.Weekday()
	if w.From < w.To {
		return w.on(day) && w.From <= now && now < w.To
	}
	return w.on(day) && w.From <= now || w.on((day+6)%7) && now < w.To
}

// Next returns when w opens next after t, in UTC: t itself if it is open. ok is
// false if it never does.
func (w Window) Next(t time.Time) (next time.Time, ok bool) {
	if w.Contains(t) {
		return t.UTC(), true
	}
	zone, err := w.location()
	if err != nil {
		return time.Time{}, false
	}
	y, m, d := t.In(zone).Date()
	for i := range 9 { // a week, and a day on which clocks skip the hour
		open := time.Date(y, m, d+i, w.From/60, w.From%60, 0, 0, zone)
		if open.After(t) && w.Contains(open) {
			return open.UTC(), true
		}
	}
	return time.Time{}, false
}

// Contains reports whether t is in the time of f. Its days are in UTC.
func (f Freeze) Contains(t time.Time) bool {
	return !t.Before(f.From.Time) && !t.After(f.To.End())
}

// Frozen returns the freeze at t that does not except what, or nil. What are
// the words by which a change is known: its class ("emergency"), its kinds.
func (c Changes) Frozen(t time.Time, what ...string) *Freeze {
	for i, f := range c.Freeze {
		if f.Contains(t) && !slices.ContainsFunc(what, func(w string) bool { return slices.Contains(f.Except, w) }) {
			return &c.Freeze[i]
		}
	}
	return nil
}
