package nft

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"casco/guard/network"
)

// BenchmarkStart is what a container's start waits for in this package: a
// namespace entered, its rules made, its interface pinned on the host.
func BenchmarkStart(b *testing.B) {
	host, cs := pens(b, 1)
	h, err := OpenHost(host.ns)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	if err := h.Replace(network.Outside{Bridges: []string{"br0"}}, nil); err != nil {
		b.Fatal(err)
	}
	in := &network.Inside{
		Endpoints: []network.Endpoint{cs[0].end}, Gateways: cs[0].end.Gateways, Managed: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Peers: peers(network.Element{Set: network.Out, A: netip.MustParseAddr("10.9.0.7"), Port: web}),
	}
	var first time.Duration
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"enter", func() error {
			s, err := Enter(cs[0].ns)
			if err == nil {
				err = s.Close()
			}
			return err
		}},
		{"remove", func() error {
			s, err := Enter(cs[0].ns)
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Remove()
		}},
		{"first", func() error {
			s, err := Enter(cs[0].ns)
			if err != nil {
				return err
			}
			defer s.Close()
			b.StopTimer()
			t0 := time.Now()
			err = s.Replace(in, Options{Enforce: true})
			first += time.Since(t0)
			b.StartTimer()
			return errors.Join(err, s.Remove())
		}},
		{"replace", func() error {
			s, err := Enter(cs[0].ns)
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Replace(in, Options{Enforce: true})
		}},
		{"pin", func() error { return h.Pin(in) }},
		{"change", func() error {
			e := network.Element{Set: network.Reach, A: netip.MustParseAddr("10.9.0.7"), B: netip.MustParseAddr("10.9.0.8")}
			if err := h.Change(network.Change{Add: []network.Element{e}}); err != nil {
				return err
			}
			return h.Change(network.Change{Del: []network.Element{e}})
		}},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				if err := part.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.Log(part.name, first/100)
			first = 0
		})
	}
}
