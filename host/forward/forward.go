// Package forward reads whether a host passes packets on to its containers by
// default: for each engine whether the kernel forwards IPv4 in the engine's
// network namespace, and how each chain at the forward hook ends for a packet
// that no rule of it took: nftables, iptables-nft and iptables-legacy alike.
//
// It matters because dockerd sets the policy of FORWARD to DROP only when it
// turns forwarding on itself (moby 20.10, libnetwork setupIPForwarding). Where
// that was on before, other hosts reach every port of every container through
// its address.
//
// It asks the kernel, over netlink and getsockopt(2), and runs no program. It
// changes nothing: of iptables-legacy it asks only for a table that is there,
// for asking would make it.
package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"

	"casco/internal/nsenter"
	"casco/loop/inventory"
)

// A Source adds the field Forward to each engine. It runs after the source
// that reads the engines' processes.
type Source struct{}

// New returns a Source.
func New() Source { return Source{} }

// Name implements inventory.Source.
func (Source) Name() string { return "forward" }

const field = "Forward"

// Read implements inventory.Source.
func (Source) Read(ctx context.Context, s *inventory.Snapshot) error {
	for _, o := range s.Of(inventory.Daemon) {
		if err := ctx.Err(); err != nil {
			return err
		}
		pid, fact, ok := inventory.DaemonPid.Of(o)
		err := errors.New(fact.Err)
		var found map[string]any
		if ok {
			found, err = of(int(pid))
		}
		if err != nil {
			if o.Unread == nil {
				o.Unread = map[string]string{}
			}
			o.Unread[field] = err.Error()
			continue
		}
		o.Fields[field] = found
		if o.Sources == nil {
			o.Sources = map[string]string{}
		}
		o.Sources[field] = "netfilter of /proc/" + strconv.Itoa(int(pid)) + "/ns/net"
	}
	return nil
}

// A chain is one at the forward hook.
type chain struct {
	backend string // "nft", "legacy"
	table   string // "ip filter", "inet firewalld"
	name    string
	policy  string // "accept", "drop"
	ends    string // what becomes of a packet that no rule before the last took
}

// of reads the network namespace of a process.
func of(pid int) (map[string]any, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	var on bool
	var chains []chain
	err = nsenter.Net(ns, func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward") // that of the thread's namespace
		if err != nil {
			return err
		}
		on = strings.TrimSpace(string(b)) != "0"
		chains, err = all()
		return err
	})
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, c := range chains {
		list = append(list, map[string]any{"Backend": c.backend, "Table": c.table, "Chain": c.name, "Policy": c.policy, "Ends": c.ends})
	}
	return map[string]any{"IPv4": on, "Chains": list}, nil
}

func all() ([]chain, error) {
	legacy, err := tables()
	if err != nil {
		return nil, err
	}
	var out []chain
	if slices.Contains(legacy, "filter") {
		c, err := legacyChain()
		if err != nil {
			return nil, fmt.Errorf("iptables-legacy: %w", err)
		}
		out = append(out, c)
		if _, err := os.Stat("/sys/module/nf_tables"); err != nil {
			return out, nil // asking would load it
		}
	}
	nft, err := nftChains()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return append(out, nft...), nil
}

// tables are those of iptables-legacy in this namespace.
func tables() ([]string, error) {
	b, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if errors.Is(err, os.ErrNotExist) { // no ip_tables in the kernel
		return nil, nil
	}
	return strings.Fields(string(bytes.TrimSpace(b))), err
}
