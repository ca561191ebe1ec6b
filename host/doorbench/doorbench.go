// Package doorbench measures what a door costs those who ask an engine through
// it: the same requests at the engine's own socket and at the door's, in turns. It
// reads, and asks for a container of an image that is not there; nothing is made.
package doorbench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Options say what to measure. Bare and Door are sockets of one engine, without
// and with a door.
type Options struct {
	Bare, Door string
	Rounds     int    // of which the median counts
	Container  string // to be inspected; "" is the engine's version in its place
	Image      string // to be saved, which is the stream; "" is none
}

const (
	// Rate is how many requests a second each socket gets.
	Rate = 200
	// perRound are the requests of a kind and round at each socket: two seconds of
	// them, of which the 99th percentile is the worst but three.
	perRound = 2 * Rate
	// noImage is an image that no registry has: ".invalid", RFC 2606.
	noImage = "casco-bench.invalid/none:1"
)

// A Figure is measured without a door and with it, the median of all rounds.
// Added is the median of the rounds' differences, Ratio of their ratios.
type Figure struct {
	Bare  float64 `json:"bare"`
	Door  float64 `json:"door"`
	Added float64 `json:"added"`
	Ratio float64 `json:"ratio"`
}

// A Result is what was measured. Times are in seconds.
type Result struct {
	Rounds     int    `json:"rounds"`
	InspectP50 Figure `json:"inspect_p50"`
	InspectP99 Figure `json:"inspect_p99"`
	// Create is up to where the engine looks for the image; nil if the policy lets
	// no such request through.
	CreateP50 *Figure `json:"create_p50,omitempty"`
	CreateP99 *Figure `json:"create_p99,omitempty"`
	Stream    *Figure `json:"stream,omitempty"` // nil without an image
	Bytes     int64   `json:"bytes,omitempty"`  // of the stream
}

// Pair makes a figure of rounds.
func Pair(bare, door []float64) Figure {
	added, ratio := make([]float64, len(bare)), make([]float64, len(bare))
	for i := range bare {
		added[i], ratio[i] = door[i]-bare[i], door[i]/bare[i]
	}
	return Figure{median(bare), median(door), median(added), median(ratio)}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}

// Measure measures.
func Measure(ctx context.Context, o Options) (*Result, error) {
	b := &bench{clients: [2]*http.Client{client(o.Bare), client(o.Door)}}
	defer b.close()
	r := &Result{Rounds: o.Rounds}
	inspect := request{http.MethodGet, "/v1.41/version", nil, http.StatusOK}
	if o.Container != "" {
		inspect.path = "/v1.41/containers/" + url.PathEscape(o.Container) + "/json"
	}
	body, err := json.Marshal(map[string]any{
		"Image": noImage, "Cmd": []string{"true"}, "HostConfig": map[string]any{"SecurityOpt": []string{"no-new-privileges"}, "CapDrop": []string{"ALL"}, "Memory": 64 << 20},
	})
	if err != nil {
		return nil, err
	}
	create := request{http.MethodPost, "/v1.41/containers/create", body, http.StatusNotFound}
	if r.InspectP50, r.InspectP99, err = b.rounds(ctx, inspect, o.Rounds); err != nil {
		return nil, err
	}
	if status, err := b.ask(ctx, 1, create); err != nil {
		return nil, err
	} else if status == create.status {
		p50, p99, err := b.rounds(ctx, create, o.Rounds)
		if err != nil {
			return nil, err
		}
		r.CreateP50, r.CreateP99 = &p50, &p99
	}
	if o.Image != "" {
		f, n, err := b.streams(ctx, "/v1.41/images/get?names="+url.QueryEscape(o.Image), o.Rounds)
		if err != nil {
			return nil, err
		}
		r.Stream, r.Bytes = &f, n
	}
	return r, nil
}

// A bench has a client of each socket: the bare one, the door's.
type bench struct{ clients [2]*http.Client }

func client(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

func (b *bench) close() {
	for _, c := range b.clients {
		c.CloseIdleConnections()
	}
}

type request struct {
	method, path string
	body         []byte
	status       int // that is the answer
}

func (b *bench) ask(ctx context.Context, which int, r request) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, "http://engine"+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := b.clients[which].Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// rounds has both sockets asked in turns, evenly in time.
func (b *bench) rounds(ctx context.Context, r request, rounds int) (p50, p99 Figure, err error) {
	var all [2][2][]float64 // of the sockets, of the percentiles: rounds
	tick := time.NewTicker(time.Second / (2 * Rate))
	defer tick.Stop()
	for range rounds {
		var took [2][]float64
		for range perRound {
			for which := range b.clients {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return p50, p99, ctx.Err()
				}
				begun := time.Now()
				status, err := b.ask(ctx, which, r)
				if err == nil && status != r.status {
					err = fmt.Errorf("%s %s: %d", r.method, r.path, status)
				}
				if err != nil {
					return p50, p99, err
				}
				took[which] = append(took[which], time.Since(begun).Seconds())
			}
		}
		for which, t := range took {
			slices.Sort(t)
			all[which][0] = append(all[which][0], t[len(t)/2])
			all[which][1] = append(all[which][1], t[len(t)*99/100])
		}
	}
	return Pair(all[0][0], all[1][0]), Pair(all[0][1], all[1][1]), nil
}

// streams takes a long answer from both sockets, each first in turn; the first of
// all does not count, which brings what is read into memory.
func (b *bench) streams(ctx context.Context, path string, rounds int) (f Figure, bytes int64, err error) {
	if _, err := b.stream(ctx, 0, path); err != nil {
		return f, 0, err
	}
	var took [2][]float64
	for round := range rounds {
		for i := range b.clients {
			which := (round + i) % 2
			begun := time.Now()
			if bytes, err = b.stream(ctx, which, path); err != nil {
				return f, 0, err
			}
			took[which] = append(took[which], time.Since(begun).Seconds())
		}
	}
	return Pair(took[0], took[1]), bytes, nil
}

func (b *bench) stream(ctx context.Context, which int, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return 0, err
	}
	res, err := b.clients[which].Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return io.Copy(io.Discard, res.Body)
}
