// Package netbench measures what network rules cost the packets that they let
// pass: from one network namespace to another, without rules and with them, in
// turns.
//
// What counts are ratios. The two halves of a round follow each other within a
// second, each first in turn, and of all rounds the median counts: what else
// the machine does slows both halves of a round, or makes one round an outlier.
// Absolute figures are of one machine in one moment.
//
// It writes no rules itself: its caller switches them. It needs CAP_NET_ADMIN
// and CAP_SYS_ADMIN, and leaves nothing behind: the namespaces of a Bed have no
// names and end with the last file that is open in them.
package netbench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netns"
)

// Options say what is measured.
type Options struct {
	Client, Server netns.NsHandle
	At             netip.AddrPort // where the server listens
	Rounds         int
	Stream         time.Duration // how long each stream of a round is
	// Switch puts the rules in place, or takes them away. It may be told twice to
	// take them away, at the end.
	Switch func(on bool) error
}

// Of one half of a round. A thousand connections in a row are few enough for the
// kernel's connection tracking, which keeps each for ten seconds.
const (
	connections = 1000
	requests    = 5000
)

// settle is how long the kernel may take to free what was replaced.
const settle = 100 * time.Millisecond

// A Figure is one thing measured without rules and with them: medians of all
// rounds, and the median of the rounds' ratios.
type Figure struct {
	Off   float64 `json:"off"`
	On    float64 `json:"on"`
	Ratio float64 `json:"ratio"`
}

// A Result is what was measured.
type Result struct {
	Rounds      int    `json:"rounds"`
	Throughput  Figure `json:"throughput_bits_per_second"`
	RequestP50  Figure `json:"request_p50_us"` // on a connection that is open
	RequestP99  Figure `json:"request_p99_us"`
	ConnectP50  Figure `json:"connect_p50_us"` // a connection opened, one answer, closed
	ConnectP99  Figure `json:"connect_p99_us"`
	Connections Figure `json:"connections_per_second"`
}

// half is one half of a round, in the order of Result.
type half [6]float64

// Measure measures. The rules are off when it ends, if Switch can do it.
func Measure(ctx context.Context, o Options) (_ *Result, err error) {
	s, err := listen(o.Server, o.At)
	if err != nil {
		return nil, err
	}
	defer s.close()
	defer func() {
		if off := o.Switch(false); err == nil {
			err = off
		}
	}()
	var off, on []half
	var is *bool // unknown at first
	// The first round warms up and is not counted.
	for i := range o.Rounds + 1 {
		var of [2]half
		for k := range 2 {
			with := (i+k)%2 == 1
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if is == nil || *is != with {
				if err := o.Switch(with); err != nil {
					return nil, err
				}
				is = &with
			}
			// What switching left to clear up, here and in the kernel, is no cost of a
			// packet.
			runtime.GC()
			time.Sleep(settle)
			h, err := o.half()
			if err != nil {
				return nil, err
			}
			if with {
				of[1] = h
			} else {
				of[0] = h
			}
		}
		if i > 0 {
			off, on = append(off, of[0]), append(on, of[1])
		}
	}
	r := &Result{Rounds: o.Rounds}
	for i, f := range []*Figure{&r.Throughput, &r.RequestP50, &r.RequestP99, &r.ConnectP50, &r.ConnectP99, &r.Connections} {
		var offs, ons, ratios []float64
		for k := range off {
			offs, ons, ratios = append(offs, off[k][i]), append(ons, on[k][i]), append(ratios, on[k][i]/off[k][i])
		}
		*f = Figure{median(offs), median(ons), median(ratios)}
	}
	return r, nil
}

func (o Options) half() (h half, err error) {
	if h[0], err = stream(o.Client, o.At, o.Stream); err != nil {
		return h, fmt.Errorf("stream: %w", err)
	}
	took, err := ask(o.Client, o.At, requests)
	if err != nil {
		return h, fmt.Errorf("requests: %w", err)
	}
	h[1], h[2] = micros(took, 0.5), micros(took, 0.99)
	begun := time.Now()
	if took, err = knock(o.Client, o.At, connections); err != nil {
		return h, fmt.Errorf("connections: %w", err)
	}
	h[5] = connections / time.Since(begun).Seconds()
	h[3], h[4] = micros(took, 0.5), micros(took, 0.99)
	return h, nil
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// micros is a quantile in microseconds.
func micros(ds []time.Duration, q float64) float64 {
	slices.Sort(ds)
	return float64(ds[min(len(ds)-1, int(q*float64(len(ds))))]) / 1e3
}
