package nft

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"casco/guard/network"
)

// BenchmarkSets is what it costs to put an element into a set of the host that
// has so many, and to take it out again.
func BenchmarkSets(b *testing.B) {
	a := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, byte(i / 256), byte(i % 256)}) }
	https := network.Port{Number: 443, Proto: network.TCP}
	for _, kind := range []struct {
		name string
		make func(i int) network.Element
	}{
		{"reach", func(i int) network.Element { return network.Element{Set: network.Reach, A: a(i), B: a(7)} }},
		{"between", func(i int) network.Element {
			return network.Element{Set: network.Between, A: a(i), B: a(7), Port: https}
		}},
		{"egress", func(i int) network.Element {
			return network.Element{Set: network.Egress, A: a(i / 3), Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i % 3), 0}), 24), Port: https}
		}},
	} {
		for _, n := range []int{0, 1000, 3000, 10000} {
			host, _ := pens(b, 0)
			h, err := OpenHost(host.ns)
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			o := network.Outside{Bridges: []string{"br0"}, Elements: network.Elements{}}
			for i := range n {
				o.Elements[kind.make(i)] = struct{}{}
			}
			if err := h.Replace(o, nil); err != nil {
				b.Fatal(err)
			}
			one := []network.Element{kind.make(n + 3)}
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				for b.Loop() {
					if err := h.Change(network.Change{Add: one}); err != nil {
						b.Fatal(err)
					}
					if err := h.Change(network.Change{Del: one}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPins is what it costs to pin an interface of a host that has so many
// pinned, and to let go of it.
func BenchmarkPins(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		host, _ := pens(b, 0)
		nl, err := netlink.NewHandleAt(host.ns)
		if err != nil {
			b.Fatal(err)
		}
		defer nl.Close()
		var ins []*network.Inside
		for i := range n + 1 {
			name := fmt.Sprintf("d%d", i)
			if err := nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "p" + name}); err != nil {
				b.Fatal(err)
			}
			e := network.Endpoint{Peer: name, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(i / 256), byte(i % 256)})}}
			ins = append(ins, &network.Inside{Endpoints: []network.Endpoint{e}})
		}
		h, err := OpenHost(host.ns)
		if err != nil {
			b.Fatal(err)
		}
		defer h.Close()
		begun := time.Now()
		if err := h.Replace(network.Outside{}, ins[1:]); err != nil {
			b.Fatal(err)
		}
		b.Logf("%d pinned in %s", n, time.Since(begun))
		b.Run(fmt.Sprint("pin/", n), func(b *testing.B) {
			for b.Loop() {
				if err := h.Pin(ins[0]); err != nil {
					b.Fatal(err)
				}
				if err := h.Unpin(ins[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
