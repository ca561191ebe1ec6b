package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func always() bool { return true }

func newCache(most int) *cache {
	return &cache{most: most, longer: time.Hour, entries: map[key]*entry{}}
}

// TestCacheCoalesces: who asks the same meanwhile waits for the same answer,
// and it stays for the others when the first goes away.
func TestCacheCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10)
		defer c.close()
		asked := 0
		fetch := func(context.Context) (answer, error) {
			asked++
			time.Sleep(time.Second)
			return answer{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, ttl: time.Minute}, nil
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := c.get(impatient, keyA, always, fetch); err == nil {
				t.Error("an answer after the end")
			}
		})
		for range 10 {
			all.Go(func() {
				a, left, err := c.get(t.Context(), keyA, always, fetch)
				if len(a.addrs) != 1 || left != time.Minute || err != nil {
					t.Error(a, left, err)
				}
			})
		}
		all.Wait()
		time.Sleep(59 * time.Second)
		if _, left, _ := c.get(t.Context(), keyA, always, fetch); left != time.Second || asked != 1 {
			t.Errorf("%v left, asked %d times", left, asked)
		}
		time.Sleep(time.Second)
		if _, left, _ := c.get(t.Context(), keyA, always, fetch); left != time.Minute || asked != 2 {
			t.Errorf("%v left, asked %d times", left, asked)
		}
	})
}

// TestCacheKeeps: how long what is kept, and what is not.
func TestCacheKeeps(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    answer
		err  error
		want time.Duration
	}{
		{"an answer", answer{ttl: 2 * time.Second}, nil, 2 * time.Second},
		{"for long", answer{ttl: 48 * time.Hour}, nil, time.Hour},
		{"not", answer{}, nil, 0},
		{"a failure", answer{}, errTest, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(10)
				defer c.close()
				asked := 0
				get := func() {
					_, _, err := c.get(t.Context(), keyA, always, func(context.Context) (answer, error) { asked++; return tt.a, tt.err })
					if err != tt.err {
						t.Error(err)
					}
				}
				get()
				if tt.want > 0 {
					time.Sleep(tt.want - time.Millisecond)
					if get(); asked != 1 {
						t.Error("not kept")
					}
					time.Sleep(time.Millisecond)
				}
				if get(); asked != 2 {
					t.Error("kept")
				}
			})
		})
	}
}

// TestCacheBound: it does not grow; what is on its way stays.
func TestCacheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(100)
		slow := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			a, _, err := c.get(t.Context(), keyA, always, func(context.Context) (answer, error) { <-slow; return answer{none: true, ttl: 1}, nil })
			if !a.none || err != nil {
				t.Error(a, err)
			}
		})
		synctest.Wait()
		for i := range 1000 {
			_, _, err := c.get(t.Context(), key{fmt.Sprint(i), 1}, always, func(context.Context) (answer, error) { return answer{ttl: time.Minute}, nil })
			if err != nil || len(c.entries) > c.most {
				t.Fatal(err, len(c.entries))
			}
		}
		if c.entries[keyA] == nil {
			t.Error("a question on its way was forgotten")
		}
		close(slow)
		all.Wait()
		c.close()
		if _, _, err := c.get(t.Context(), keyA, always, nil); err != errClosed && err != nil {
			t.Error(err)
		}
	})
}

// TestCacheFlood: a question that may not be asked is not, but an answer that
// is there is given.
func TestCacheFlood(t *testing.T) {
	c := newCache(10)
	defer c.close()
	never := func() bool { return false }
	fetch := func(context.Context) (answer, error) { return answer{ttl: time.Minute}, nil }
	if _, _, err := c.get(t.Context(), keyA, never, fetch); err != errFlood {
		t.Error(err)
	}
	if _, _, err := c.get(t.Context(), keyA, always, fetch); err != nil {
		t.Error(err)
	}
	if _, _, err := c.get(t.Context(), keyA, never, fetch); err != nil {
		t.Error(err)
	}
}

func TestBucket(t *testing.T) {
	b := bucket{burst: 5, rate: 2}
	now := time.Now()
	count := func() (n int) {
		for b.take(now) {
			n++
		}
		return n
	}
	if n := count(); n != 5 {
		t.Errorf("at once %d, want 5", n)
	}
	now = now.Add(time.Second)
	if n := count(); n != 2 {
		t.Errorf("after a second %d, want 2", n)
	}
	now = now.Add(time.Hour)
	if n := count(); n != 5 {
		t.Errorf("after an hour %d, want 5", n)
	}
}

func TestHeld(t *testing.T) {
	h := held{names: 2, addrs: 3, by: map[string]map[netip.Addr]time.Time{}}
	now := time.Now()
	admit := func(name string, from, to int, hold time.Duration) int {
		var addrs []netip.Addr
		for i := from; i < to; i++ {
			addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		return len(h.admit(name, addrs, now, now.Add(hold)))
	}
	for _, tt := range []struct {
		name           string
		from, to, want int
	}{
		{"a.example", 0, 2, 2},
		{"a.example", 1, 5, 2}, // one is there, one is new, no room for two
		{"b.example", 2, 3, 1},
		{"c.example", 0, 1, 0}, // no third name
		{"a.example", 0, 3, 3}, // again
	} {
		if got := admit(tt.name, tt.from, tt.to, time.Minute); got != tt.want {
			t.Errorf("%v: %d", tt, got)
		}
	}
	gone := h.keep(zoneOf(t, "b.example"), now)
	if got := fmt.Sprint(texts(gone)); got != "[192.0.2.0 192.0.2.1]" { // 192.0.2.2 is b's too
		t.Errorf("gone %s", got)
	}
	now = now.Add(time.Minute)
	if admit("c.example", 0, 3, time.Minute) != 3 || admit("d.example", 0, 1, time.Minute) != 1 {
		t.Error("what is over still has its room")
	}
}
