package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/store"
)

// A tally keeps callers from filling the ledger with what changes nothing: refusals,
// and calls that the engine does not follow. So many are written down in full, of
// one caller and of all; of more it is counted how many there were of each sort,
// and that is written down when the time is over. What changed something is always
// written down.
type tally struct {
	mu    sync.Mutex // guards what follows
	since time.Time  // when the first of this time came; zero if none did
	full  map[string]int
	all   int
	more  map[sort]uint64
}

// A sort is what of calls is told together.
type sort struct {
	by, what, endpoint string
	why                string // the rule, or what the engine answered
}

const (
	tallyTime = 5 * time.Minute
	// fullEach of a caller, and fullAll of all, are written down in full in that time,
	// at some 1 KB each: at most 15 and 150 MB a day.
	fullEach = 50
	fullAll  = 500
	// maxSorts are told apart.
	maxSorts = 200
)

// takes reports whether e is to be written down; it is counted if not.
func (t *tally) takes(e store.Decision, now time.Time) bool {
	c := e.Call
	if e.What == store.Allowed && (c.Status/100 == 2 || c.Status/100 == 1) {
		return true
	}
	by := tallied(c.Caller)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		t.since, t.all, t.full, t.more = now, 0, map[string]int{}, map[sort]uint64{}
	}
	if t.full[by] < fullEach && t.all < fullAll {
		t.full[by]++
		t.all++
		return true
	}
	s := sort{by: by, what: e.What, endpoint: c.Endpoint}
	if len(c.Refusals) > 0 {
		s.why = c.Refusals[0].Rule
	} else if c.Status > 0 {
		s.why = fmt.Sprint(c.Status)
	}
	if _, has := t.more[s]; !has && len(t.more) >= maxSorts {
		s = sort{}
	}
	t.more[s]++
	return false
}

// tallied says whose calls are counted together: a container's, a user's, those of
// who has a certificate.
func tallied(c store.Caller) string {
	switch {
	case c.ContainerID != "":
		return "container " + c.ContainerID
	case c.Container != "":
		return "container " + c.Container
	case c.Certificate != "":
		return "certificate " + c.Certificate
	case c.UID < 0:
		return c.Via
	case c.Userns != "":
		return "userns of " + c.Userns
	}
	return fmt.Sprintf("uid %d", c.UID)
}

// due are the counts of a time that is over; of one that is not, if it is the end.
func (t *tally) due(now time.Time, end bool, engine string) (out []store.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || !end && now.Sub(t.since) < tallyTime {
		return nil
	}
	for s, n := range t.more {
		text := "calls of more sorts"
		if s != (sort{}) {
			text = strings.TrimSpace(fmt.Sprintf("%s %s by %s: %s", s.what, s.endpoint, s.by, s.why))
		}
		out = append(out, store.Alert{
			Ref: engine, What: store.Again, Count: n,
			Text: fmt.Sprintf("%d more since %s: %s", n, t.since.UTC().Format(time.RFC3339), text),
		})
	}
	slices.SortFunc(out, func(a, b store.Event) int { return cmp.Compare(a.(store.Alert).Text, b.(store.Alert).Text) })
	t.since = time.Time{}
	return out
}
