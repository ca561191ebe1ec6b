package nsenter

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

// TestNet: f sees the other namespace alone, and its caller never leaves home.
func TestNet(t *testing.T) {
	handtest.NeedRoot(t)
	there := anew(t)
	home := self(t)
	failed := errors.New("of f")
	var inside string
	var devices []net.Interface
	err := Net(there, func() (err error) {
		inside = self(t)
		if devices, err = net.Interfaces(); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error %v, want that of f", err)
	}
	if inside == home || len(devices) != 1 || devices[0].Name != "lo" {
		t.Errorf("in %s, from %s, with %v", inside, home, devices)
	}
	if now := self(t); now != home {
		t.Errorf("came back to %s, from %s", now, home)
	}
}

// TestNetNoNamespace does not run f where it would be at home.
func TestNetNoNamespace(t *testing.T) {
	handtest.NeedRoot(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	err = Net(netns.NsHandle(null.Fd()), func() error {
		t.Error("f was run")
		return nil
	})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("error %v, want EINVAL", err)
	}
}

// self is the network namespace of the calling thread.
func self(t *testing.T) string {
	name, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return name
}

// anew returns a network namespace that nobody is in.
func anew(t *testing.T) netns.NsHandle {
	t.Helper()
	made := make(chan netns.NsHandle)
	var err error
	go func() { // its thread stays locked, and ends with it
		runtime.LockOSThread()
		var ns netns.NsHandle
		ns, err = netns.New()
		made <- ns
	}()
	ns := <-made
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
