package supervision

import (
	"cmp"
	"slices"
	"time"
)

// A Survival is an estimate of how long findings stay open, by Kaplan and
// Meier: those still open count too, as open for at least so long. (A mean of
// the closed ones alone is too low, the more so the worse the work goes.)
// E. L. Kaplan, P. Meier, J. Am. Stat. Assoc. 53 (1958) 457.
type Survival struct {
	N      int    `json:"n"`      // spells
	Closed int    `json:"closed"` // of them, ended by a measured pass
	Points []Down `json:"points,omitempty"`
	// Median and P90 are the times by which half, and nine tenths, are closed;
	// nil where too few were closed to tell.
	Median *time.Duration `json:"median,omitempty"`
	P90    *time.Duration `json:"p90,omitempty"`
}

// A Down is a time at which findings were closed.
type Down struct {
	After  time.Duration `json:"after"`
	AtRisk int           `json:"at_risk"` // open for at least so long
	Closed int           `json:"closed"`
	Open   float64       `json:"open"` // estimated share that is still open after it
}

// Survive estimates from spells. One that ended because its object is gone was
// not cured: it counts as open until then.
func Survive(spells []Spell) Survival {
	s := Survival{N: len(spells)}
	byLength := slices.Clone(spells)
	slices.SortStableFunc(byLength, func(a, b Spell) int { return cmp.Compare(a.Length(), b.Length()) })
	open := 1.0
	for i := 0; i < len(byLength); {
		length, closed, same := byLength[i].Length(), 0, 0
		for ; i+same < len(byLength) && byLength[i+same].Length() == length; same++ {
			if byLength[i+same].End == "pass" {
				closed++
			}
		}
		if closed > 0 {
			atRisk := len(byLength) - i
			open *= 1 - float64(closed)/float64(atRisk)
			s.Closed += closed
			s.Points = append(s.Points, Down{length, atRisk, closed, open})
		}
		i += same
	}
	s.Median, s.P90 = s.quantile(0.5), s.quantile(0.9)
	return s
}

// quantile is the time by which the share q is closed. A hair's breadth lets
// 1 - 9/10 count as a tenth in binary arithmetic.
func (s Survival) quantile(q float64) *time.Duration {
	for _, p := range s.Points {
		if p.Open <= 1-q+1e-9 {
			return &p.After
		}
	}
	return nil
}
