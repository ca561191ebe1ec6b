package nft

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"casco/guard/network"
)

// TestWithoutGone: a container that ends while the rules of the host are made
// costs its own chain, and whatever else is refused is an error.
func TestWithoutGone(t *testing.T) {
	spaces := []*network.Inside{{Endpoints: []network.Endpoint{{Peer: "veth1"}, {Peer: "veth2"}}}}
	pins := outside(network.Outside{}, spaces)[1]
	n := len(pins.chains)
	for _, err := range []error{
		&refusedError{"chain pin_veth1", unix.EPERM}, &refusedError{"chain reachable4", unix.ENOENT}, &refusedError{"chain pin_veth1: rule 0", unix.ENOENT}, unix.ENOENT,
	} {
		if withoutGone(pins, err) || len(pins.chains) != n {
			t.Errorf("%v: a chain was left out", err)
		}
	}
	if !withoutGone(pins, fmt.Errorf("x: %w", &refusedError{"chain pin_veth1", unix.ENOENT})) || len(pins.chains) != n-1 {
		t.Error("the chain of an interface that is gone was kept")
	}
}

// TestOldKernel: a kernel without the hook for what leaves by an interface still
// takes the rest.
func TestOldKernel(t *testing.T) {
	for release, want := range map[string]bool{"5.15.0-91-generic": false, "5.16": true, "6.1.0-18-amd64": true, "4.19": false, "10.0.1": true, "x": false} {
		if atLeast(release, 5, 16) != want {
			t.Errorf("%s: want %v", release, want)
		}
	}
	was := hooksEgress
	defer func() { hooksEgress = was }()
	hooksEgress = func() bool { return false }
	in := &network.Inside{Endpoints: []network.Endpoint{{Iface: "eth0"}}}
	for _, t2 := range inside(in, Options{Enforce: true}) {
		for _, c := range t2.chains {
			if c.hook != nil && c.hook.device != "" {
				t.Errorf("chain %s is hooked to %s", c.name, c.hook.device)
			}
		}
	}
}
