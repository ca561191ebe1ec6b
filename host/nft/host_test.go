package nft

import (
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
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

// TestForeign wants each change of a rule or a chain of the host's to be
// noticed, whoever made it, and none of our own to be taken for one.
func TestForeign(t *testing.T) {
	host, cs := pens(t, 2)
	h, err := OpenHost(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.flags = 0 // as before Linux 6.9: nobody else can change tables that are owned
	in := &network.Inside{Endpoints: []network.Endpoint{cs[0].end}}
	late := &network.Inside{Endpoints: []network.Endpoint{cs[1].end}}
	o := network.Outside{Bridges: []string{"br0"}, Elements: peers()}
	nft := func(t *testing.T, script string) {
		t.Helper()
		if out, err := exec.Command("ip", "netns", "exec", host.name, "nft", script).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v: %s", script, err, out)
		}
	}
	handle := func(t *testing.T, family, chain string) string {
		t.Helper()
		out, err := exec.Command("ip", "netns", "exec", host.name, "nft", "-a", "list", "chain", family, Table, chain).Output()
		m := regexp.MustCompile(`(?m)accept # handle (\d+)$`).FindSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("no rule in chain %s: %v\n%s", chain, err, out)
		}
		return string(m[1])
	}
	pinned := pinName(cs[0].end.Peer)
	for _, c := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"a rule more", func(t *testing.T) { nft(t, "insert rule inet casco through accept") }},
		{"a rule more in a pin", func(t *testing.T) { nft(t, "insert rule netdev casco "+pinned+" accept") }},
		{"a rule more of a pin that is new", func(t *testing.T) {
			if err := h.Pin(late); err != nil {
				t.Fatal(err)
			}
			nft(t, "add rule netdev casco "+pinName(cs[1].end.Peer)+" accept")
		}},
		{"a rule less", func(t *testing.T) { nft(t, "delete rule inet casco enter handle "+handle(t, "inet", "enter")) }},
		{"another rule", func(t *testing.T) {
			nft(t, "replace rule inet casco enter handle "+handle(t, "inet", "enter")+" accept")
		}},
		{"no rules", func(t *testing.T) { nft(t, "flush chain inet casco through") }},
		{"a chain more", func(t *testing.T) { nft(t, "add chain inet casco more { type filter hook input priority -20; }") }},
		{"a chain less", func(t *testing.T) { nft(t, "flush chain netdev casco "+pinned+"; delete chain netdev casco "+pinned) }},
		{"another policy", func(t *testing.T) { nft(t, "chain inet casco through { policy drop; }") }},
		{"no table", func(t *testing.T) { nft(t, "flush ruleset") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := h.Replace(o, []*network.Inside{in}); err != nil {
				t.Fatal(err)
			}
			if err := h.Check(o); err != nil {
				t.Fatalf("as it was made: %v", err)
			}
			c.do(t)
			if h.Agrees() {
				t.Error("it is said to be as it was")
			}
			err := h.Check(o)
			if err == nil {
				t.Error("it is not noticed")
			}
			t.Log(err)
		})
	}

	if err := h.Replace(o, []*network.Inside{in}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"made", func() error { return nil }},
		{"one more is pinned", func() error { return h.Pin(late) }},
		{"pinned anew", func() error { return h.Pin(late) }},
		{"a network outside", func() error {
			e := network.Element{Set: network.Egress, A: cs[0].end.Addrs[0], Net: netip.MustParsePrefix("203.0.113.0/25"), Port: web}
			o.Elements[e] = struct{}{}
			return h.Change(network.Change{Add: []network.Element{e}})
		}},
		{"another who may send there", func() error {
			e := network.Element{Set: network.Egress, A: cs[1].end.Addrs[0], Net: netip.MustParsePrefix("203.0.113.0/25"), Port: web}
			o.Elements[e] = struct{}{}
			return h.Change(network.Change{Add: []network.Element{e}})
		}},
		{"pinned no more", func() error { return h.Unpin(late) }},
		{"an interface is gone", func() error {
			ip(t, "-n", host.name, "link", "del", cs[0].end.Peer)
			return nil
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := h.Check(o); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}
