package sockdiag

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// In runs f on a thread that is in the network namespace of descriptor
// ns, and waits for it. A socket made there stays there, whatever thread uses
// it. It takes CAP_SYS_ADMIN, setns(2). A thread that cannot come back ends
// with its goroutine.
func In(ns int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("own network namespace: %w", err)
			return
		}
		defer home.Close()
		if err := netns.Set(netns.NsHandle(ns)); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}
