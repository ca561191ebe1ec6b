package netbench_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"casco/host/netbench"
	"casco/host/nft"
	"casco/internal/handtest"
)

// TestMeasure: rules let pass what is measured, in both halves of each round,
// and are gone at the end. How much they cost is for "make bench-net".
func TestMeasure(t *testing.T) {
	handtest.NeedRoot(t)
	bed, err := netbench.NewBed()
	if err != nil {
		t.Fatal(err)
	}
	defer bed.Close()
	client, server, outside := bed.Rules(100)
	a, err := nft.Enter(bed.Client.NS)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := nft.Enter(bed.Server.NS)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	host, err := nft.OpenHost(bed.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	var switched []bool
	r, err := netbench.Measure(t.Context(), netbench.Options{
		Client: bed.Client.NS, Server: bed.Server.NS, At: bed.At(), Rounds: 1, Stream: 50 * time.Millisecond,
		Switch: func(on bool) error {
			switched = append(switched, on)
			if !on {
				return errors.Join(host.Remove(), a.Remove(), b.Remove())
			}
			enforce := nft.Options{Enforce: true}
			return errors.Join(host.Replace(outside, nil), a.Replace(client, enforce), b.Replace(server, enforce), host.Pin(client), host.Pin(server))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(switched, []bool{false, true, false, false}) {
		t.Errorf("rules were switched so: %v", switched)
	}
	for name, f := range map[string]netbench.Figure{
		"throughput": r.Throughput, "request p50": r.RequestP50, "request p99": r.RequestP99,
		"connect p50": r.ConnectP50, "connect p99": r.ConnectP99, "connections": r.Connections,
	} {
		if f.Off <= 0 || f.On <= 0 || f.Ratio <= 0 {
			t.Errorf("%s: %+v", name, f)
		}
		t.Logf("%s: %.4g without, %.4g with, ratio %.2f", name, f.Off, f.On, f.Ratio)
	}
}
