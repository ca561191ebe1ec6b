package flows

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/vishvananda/netns"

	"casco/guard/network"
)

// Read says which connections there are now in a namespace that nobody
// watches. It changes nothing, and sees nothing where nothing is tracked.
func Read(ns netns.NsHandle, workload string) ([]network.Flow, error) {
	id, err := inode(ns)
	if err != nil {
		return nil, err
	}
	own, err := addresses(ns)
	if err != nil {
		return nil, fmt.Errorf("addresses of network namespace %d: %w", id, err)
	}
	var all []entry
	if err := list(ns, func(e entry) { all = append(all, e) }); err != nil {
		return nil, fmt.Errorf("network namespace %d: %w", id, err)
	}
	ports := waiting(ns)
	t := newTally(network.Flow{Namespace: id, Workload: workload}, math.MaxInt)
	t.own = own
	t.look = func(time.Time) map[netip.Addr]bool { return own }
	t.waits = func(port uint16, _ time.Time) bool { return ports[port] }
	now := time.Now().UTC()
	t.found(all, now)
	return t.read(all, false, now), nil
}
