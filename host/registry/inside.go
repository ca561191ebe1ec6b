package registry

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netns"

	"casco/internal/nsenter"
)

// dialInside connects from the network namespace of a process.
func dialInside(ctx context.Context, pid int64, at netip.AddrPort) (net.Conn, error) {
	there, err := netns.GetFromPid(int(pid))
	if err != nil {
		return nil, fmt.Errorf("network namespace of the engine: %w", err)
	}
	defer there.Close()
	var conn net.Conn
	err = nsenter.Net(there, func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "tcp", at.String())
		return err
	})
	return conn, err
}
