package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"casco/store"
)

// TestTally: who is refused again and again fills no disk: what is beyond a bound
// is counted and told; what changed something is written down always, and one
// caller takes nothing of another's.
func TestTally(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	var y tally
	call := func(uid int64, what string, status int, rule string) store.Decision {
		c := &store.Call{Endpoint: "POST /containers/create", Status: status, Caller: store.Caller{UID: uid}}
		if rule != "" {
			c.Refusals = []store.Refusal{{Rule: rule}}
		}
		return store.Decision{What: what, Call: c}
	}
	written := 0
	for i := range 10_000 {
		if y.takes(call(1000, store.Refused, 0, "exec-root"), now) {
			written++
		}
		if !y.takes(call(1000, store.Allowed, 201, ""), now) {
			t.Fatal("a container that was made is not written down")
		}
		y.takes(call(1001, store.Allowed, 404, fmt.Sprint("of many sorts ", i)), now)
	}
	if written != fullEach || !y.takes(call(1002, store.Refused, 0, "exec-root"), now) {
		t.Errorf("%d refusals of one caller are written down", written)
	}
	for uid := range int64(100) {
		for range fullEach {
			if y.takes(call(2000+uid, store.Refused, 0, "exec-root"), now) {
				written++
			}
		}
	}
	if written > fullAll {
		t.Errorf("%d of all", written)
	}
	if early := y.due(now.Add(tallyTime/2), false, "guard/e"); early != nil {
		t.Errorf("told too early: %+v", early)
	}
	told := y.due(now.Add(tallyTime), false, "guard/e")
	if len(told) == 0 || len(told) > maxSorts+1 {
		t.Fatalf("%d are told", len(told))
	}
	counted, found := uint64(0), false
	for _, e := range told {
		a := e.(store.Alert)
		counted += a.Count
		found = found || a.What == store.Again && a.Count == 10_000-fullEach && strings.Contains(a.Text, "refused POST /containers/create by uid 1000: exec-root")
	}
	if !found || counted != 10_000*2+1+100*fullEach-fullAll {
		t.Errorf("%d are counted: %.300v", counted, told)
	}
	if !y.takes(call(1000, store.Refused, 0, "exec-root"), now.Add(tallyTime)) || y.due(now, true, "") != nil {
		t.Error("a new time does not begin")
	}
}
