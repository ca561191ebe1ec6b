// Package nsenter runs a function in the network namespace of others, as
// nsenter(1) runs a program.
package nsenter

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// Net runs f on a thread that is in network namespace ns, waits for it, and
// returns its error. A socket or a process made there stays there, whatever
// thread uses it. It takes CAP_SYS_ADMIN, setns(2); f is not run where the
// namespace cannot be entered. A thread that cannot come back ends with its
// goroutine.
func Net(ns netns.NsHandle, f func() error) error {
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
		if err := netns.Set(ns); err != nil {
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
