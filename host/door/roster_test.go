package door

import (
	"fmt"
	"net"
	"testing"

	"casco/internal/apicall"
)

// TestRoster: the last quarter of the house is root's, who always gets in; others
// cannot take more than their places, and containers are nobody's root.
func TestRoster(t *testing.T) {
	r := newRoster(100, 50)
	enter := func(uid uint32, container string, waits bool) bool {
		c := &conn{Conn: noConn{}, who: apicall.Caller{UID: uid, Container: container}}
		if waits {
			c.idleSince.Store(1)
		}
		return r.admit(c)
	}
	enterMany := func(uid uint32, container string, n int) (in int) {
		for range n {
			if enter(uid, container, false) {
				in++
			}
		}
		return in
	}
	if in := enterMany(1000, "", 60); in != 50 {
		t.Errorf("one user has %d of 50", in)
	}
	for i := range 50 { // many who are few each
		enterMany(uint32(2000+i), "", 10)
	}
	if r.total != 75 {
		t.Errorf("others than root have %d of 75", r.total)
	}
	if enter(3000, "", false) || enter(0, "somewhere", false) {
		t.Error("there is room beside root's quarter")
	}
	if in := enterMany(0, "", 30); in != 25 {
		t.Errorf("root has %d of the last 25", in)
	}
	// Where somebody waits, they make room, those of whom there are most first.
	for c := range r.callers[callerKey(apicall.Caller{UID: 1000})] {
		c.idleSince.Store(1)
	}
	for i := range 20 {
		if !enter(0, "", false) {
			t.Fatalf("root does not get in after %d", i)
		}
	}
	if got := fmt.Sprint(r.total, len(r.callers["user 1000"]), len(r.callers["user 0"])); got != "100 30 45" {
		t.Errorf("%s", got)
	}
}

// noConn is a connection that can be closed, and no more.
type noConn struct{ net.Conn }

func (noConn) Close() error { return nil }
