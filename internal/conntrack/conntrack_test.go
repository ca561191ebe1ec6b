package conntrack

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

// TestNone: a new namespace has no entry, and has one once a rule that asks for
// the state of connections saw a packet.
func TestNone(t *testing.T) {
	handtest.NeedRoot(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the namespace ends with the thread
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		if _, err := os.Stat("/proc/thread-self/ns/net"); err != nil {
			t.Error(err)
			return
		}
		if !NoneHere() {
			t.Error("a new namespace has an entry")
		}
		for _, args := range [][]string{
			{"ip", "link", "set", "lo", "up"},
			{"nft", "add table inet x; add chain inet x y { type filter hook output priority 0; }; add rule inet x y ct state new accept"},
		} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", args, err, out)
				return
			}
		}
		c, err := net.Dial("udp4", "127.0.0.1:9")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if NoneHere() {
			t.Error("its connection is not an entry")
		}
	}()
	<-done
}
