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
