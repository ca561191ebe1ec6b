package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netns"
)

// dialInside connects from the network namespace of a process. Only the thread
// that makes the socket enters it; one that cannot come back is thrown away.
func dialInside(ctx context.Context, pid int64, at netip.AddrPort) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer home.Close()
		there, err := netns.GetFromPid(int(pid))
		if err != nil {
			done <- result{nil, fmt.Errorf("network namespace of the engine: %w", err)}
			return
		}
		defer there.Close()
		if err := netns.Set(there); err != nil {
			done <- result{nil, fmt.Errorf("network namespace of the engine: %w", err)}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", at.String())
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
