package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"casco/api"
	"casco/guard/network"
	"casco/host/flows"
	"casco/host/gate"
	"casco/host/netbench"
	"casco/host/nft"
	"casco/host/spaces"
	"casco/keeper"
	"casco/policy"
)

// What the network guard may cost. Ratios are medians of rounds, each of two
// halves that follow each other: without the guard, and with.
const (
	minThroughput  = 0.97 // of that without
	maxRequestP99  = 1.05 // times that without
	maxAddedP50    = 3 * time.Millisecond
	maxAddedP99    = 15 * time.Millisecond
	maxIdleMiB     = 60
	maxIdlePercent = 1.0 // of one CPU
	idleContainers = 50
	idleFor        = 60 * time.Second // two looks at everything
	ruledFor       = 1000             // containers

	// A stream is short and has many rounds: what else the machine does is over
	// before the other half, or makes one round of many an outlier.
	packetRounds = 3 // times as many as of the rest
	streamFor    = 250 * time.Millisecond
)

// network measures what the guard costs: packets, starts, and doing nothing.
func (e *engine) network(casco, home string, rounds int) error {
	if err := e.do("POST", "/networks/create", strings.NewReader(`{"Name":"measured"}`), nil); err != nil {
		return err
	}
	return errors.Join(e.packets(home, rounds), e.starts(casco, home, rounds), e.idle(casco, home))
}

// sleeper starts a container that does nothing, and returns the process ID of
// its init.
func (e *engine) sleeper(name string) (pid int, err error) {
	if err := e.sleeperOn("measured", name); err != nil {
		return 0, err
	}
	var c struct{ State struct{ Pid int } }
	err = e.do("GET", "/containers/"+name+"/json", nil, &c)
	return c.State.Pid, err
}

// sleeperOn starts one on a network.
func (e *engine) sleeperOn(network, name string) error {
	if err := e.sleeperMade(network, name); err != nil {
		return err
	}
	return e.do("POST", "/containers/"+name+"/start", nil, nil)
}

func (e *engine) sleeperMade(network, name string) error {
	body, err := json.Marshal(map[string]any{
		"Image": "bench:1", "Cmd": []string{"/bin/busybox", "sleep", "100000"}, "HostConfig": map[string]any{"NetworkMode": network},
	})
	if err != nil {
		return err
	}
	return e.do("POST", "/containers/create?name="+name, bytes.NewReader(body), nil)
}

func (e *engine) gone(name string) error {
	return e.do("DELETE", "/containers/"+name+"?force=1", nil, nil)
}

// hostOf is the network namespace of the engine.
func hostOf(home string) (*spaces.Space, error) {
	b, err := os.ReadFile(filepath.Join(home, "dockerd.pid"))
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, err
	}
	return spaces.Of(pid)
}

// networkPolicy has twenty tiers, of which each may send somewhere outside, and
// lets the client of the measured pair send to its server's one port.
func networkPolicy() (*policy.Policy, error) {
	b := strings.Builder{}
	b.WriteString("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: bench, version: 2}\ntiers:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {id: t%d, impact: %g}\n", i, float64(i+1)/20)
	}
	b.WriteString("assign:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {match: {name: \"t%d-*\"}, tier: t%d}\n", i, i)
	}
	b.WriteString("  - default: t0\nflows:\n  - {id: m, from: t0/client, to: t0/server, port: 7/tcp}\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - {id: f%d, from: \"t%d/*\", to: \"egress:203.0.113.%d\", port: 443/tcp}\n", i, i, i)
	}
	p, problems := policy.ParseFile("bench.yaml", []byte(b.String()))
	if p == nil {
		return nil, fmt.Errorf("policy: %v", problems)
	}
	return p, nil
}

// ruled is the state of a host with 1,000 containers: those two, and others that
// are not there, in applications of ten.
func ruled(segments []network.Segment, host []netip.Addr, two [2]network.Namespace) (*network.State, error) {
	p, err := networkPolicy()
	if err != nil {
		return nil, err
	}
	j, err := network.NewJudge(p)
	if err != nil {
		return nil, err
	}
	s := network.NewState(j)
	s.SetHost(segments, host)
	for i := range ruledFor - 2 {
		app := i / 10
		s.Put(network.Namespace{
			ID: uint64(i + 1),
			Members: []network.Workload{{Workload: policy.Workload{
				Name: fmt.Sprintf("t%d-%d-%d", app%20, app, i), Labels: map[string]string{network.AppLabel: strconv.Itoa(app)},
			}}},
			Endpoints: []network.Endpoint{{Iface: "eth0", Addrs: []netip.Addr{netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i%250 + 1)})}}},
		})
	}
	for _, n := range two {
		s.Put(n)
	}
	return s, nil
}

// packets measures throughput and latency between two containers.
func (e *engine) packets(home string, rounds int) (err error) {
	host, err := hostOf(home)
	if err != nil {
		return err
	}
	defer host.Close()
	links, err := spaces.OpenHost(host.NS)
	if err != nil {
		return err
	}
	defer links.Close()
	nets, err := e.networks()
	if err != nil {
		return err
	}
	addrs, err := links.Addrs()
	if err != nil {
		return err
	}
	var segments []network.Segment
	for _, n := range nets {
		segments = append(segments, n.Segment())
	}
	var two [2]network.Namespace
	var open [2]*spaces.Space
	for i, name := range []string{"client", "server"} {
		pid, err := e.sleeper(name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.gone(name)) }()
		if open[i], err = spaces.Of(pid); err != nil {
			return err
		}
		defer open[i].Close()
		two[i] = network.Namespace{ID: open[i].ID, Members: []network.Workload{{Workload: policy.Workload{Name: name}}}}
		if two[i].Endpoints, err = links.Endpoints(open[i], segments); err != nil {
			return err
		}
	}
	state, err := ruled(segments, addrs, two)
	if err != nil {
		return err
	}
	r, err := measurePackets(host, open, two, state, rounds)
	if err != nil {
		return err
	}
	fmt.Printf("packets between two containers of one network, rules as for %d containers (%d elements on the host), %d rounds\n\n", ruledFor, len(state.Host().Elements), r.Rounds)
	fmt.Println("| | without | with | ratio |\n|---|---|---|---|")
	for _, row := range []struct {
		what  string
		f     netbench.Figure
		scale float64
	}{
		{"throughput Gbit/s", r.Throughput, 1e9},
		{"request p50 µs", r.RequestP50, 1},
		{"request p99 µs", r.RequestP99, 1},
		{"connection p50 µs", r.ConnectP50, 1},
		{"connection p99 µs", r.ConnectP99, 1},
		{"connections /s", r.Connections, 1},
	} {
		fmt.Printf("| %s | %.4g | %.4g | %.3f |\n", row.what, row.f.Off/row.scale, row.f.On/row.scale, row.f.Ratio)
	}
	fmt.Println()
	if r.Throughput.Ratio < minThroughput {
		err = errors.Join(err, fmt.Errorf("throughput is %.3f of that without rules, less than %.2f", r.Throughput.Ratio, minThroughput))
	}
	if r.RequestP99.Ratio > maxRequestP99 {
		err = errors.Join(err, fmt.Errorf("99 of 100 requests take %.3f times as long as without rules, more than %.2f", r.RequestP99.Ratio, maxRequestP99))
	}
	return err
}

func (e *engine) networks() (nets []spaces.NetworkJSON, err error) {
	return nets, e.do("GET", "/networks", nil, &nets)
}

// measurePackets switches all that a guard does for two containers: their rules,
// those of the host, and that their flows are seen.
func measurePackets(host *spaces.Space, open [2]*spaces.Space, two [2]network.Namespace, state *network.State, rounds int) (*netbench.Result, error) {
	outside, err := nft.OpenHost(host.NS)
	if err != nil {
		return nil, err
	}
	defer outside.Close()
	w := flows.New(flows.Options{})
	defer w.Close()
	var inside [2]*nft.Space
	for i, s := range open {
		if inside[i], err = nft.Enter(s.NS); err != nil {
			return nil, err
		}
		defer inside[i].Close()
	}
	all := state.Host()
	rules := [2]*network.Inside{state.Inside(two[0].ID), state.Inside(two[1].ID)}
	server, ok := netip.Addr{}, false
	for _, a := range two[1].Addrs() {
		if server, ok = a, a.Is4(); ok {
			break
		}
	}
	if !ok {
		return nil, errors.New("the server has no address of IPv4")
	}
	watched := false
	return netbench.Measure(context.Background(), netbench.Options{
		Client: open[0].NS, Server: open[1].NS, At: netip.AddrPortFrom(server, 7), Rounds: packetRounds * rounds, Stream: streamFor,
		Switch: func(on bool) error {
			if !on {
				errs := []error{outside.Remove(), inside[0].Remove(), inside[1].Remove()}
				for _, s := range open {
					if watched {
						_, err := w.Drop(s.ID)
						errs = append(errs, err)
					}
				}
				watched = false
				return errors.Join(errs...)
			}
			errs := []error{outside.Replace(all, rules[:])}
			for i, s := range open {
				errs = append(errs, inside[i].Replace(rules[i], nft.Options{Enforce: true}), w.Add(s.NS, "x"))
			}
			watched = true
			return errors.Join(errs...)
		},
	})
}

// starts measures how long the start of a container takes without a guard and
// with one, in blocks in turns, and for how long the guard itself held it. The
// first is a difference of two figures that are a hundred times as large and
// as noisy: it is printed, the second is judged.
func (e *engine) starts(casco, home string, rounds int) error {
	host, err := hostOf(home)
	if err != nil {
		return err
	}
	defer host.Close()
	p, err := networkPolicy()
	if err != nil {
		return err
	}
	root := filepath.Join(home, "exec", "runtime-runc", "moby")
	k, err := keeper.New(keeper.Config{
		Engine: keeper.EngineAt("unix://" + e.socket), Host: host, Files: spaces.Files(filepath.Join(home, "data", "containers")),
		Roots: []string{root}, Policy: p, Enforce: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Load(context.Background()); err != nil {
		return err
	}
	var mu sync.Mutex // guards held
	var held []time.Duration
	judge := func(ctx context.Context, s gate.Start) error {
		begun := time.Now()
		err := k.Start(ctx, s)
		if filepath.Clean(s.Root) == root {
			mu.Lock()
			held = append(held, time.Since(begun))
			mu.Unlock()
		}
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- k.Follow(ctx) }()
	const block = 5
	var without, with []time.Duration
	for i := range rounds {
		for half := range 2 {
			guarded := (i+half)%2 == 1
			took, err := e.startBlock(fmt.Sprintf("start-%d-%d", i, half), block, guarded, casco, root, k, judge)
			if err != nil {
				return err
			}
			if guarded {
				with = append(with, took...)
			} else {
				without = append(without, took...)
			}
		}
	}
	cancel()
	if err := errors.Join(<-ended, k.Remove()); err != nil {
		return err
	}
	if len(held) < len(with) {
		return fmt.Errorf("%d containers were started with a guard, and it held %d", len(with), len(held))
	}
	fmt.Println("starts of containers, the engine asked to start one that is made\n\n| | p50 ms | p99 ms |\n|---|---|---|")
	fmt.Printf("| without a guard | %.1f | %.1f |\n| with one | %.1f | %.1f |\n", ms(quantile(without, 0.5)), ms(quantile(without, 0.99)), ms(quantile(with, 0.5)), ms(quantile(with, 0.99)))
	p50, p99 := quantile(held, 0.5), quantile(held, 0.99)
	fmt.Printf("| of it held by the guard | %.2f | %.2f |\n\n", ms(p50), ms(p99))
	if p50 > maxAddedP50 || p99 > maxAddedP99 {
		return fmt.Errorf("a start is held for %.2f ms (p50) and %.2f ms (p99), more than %s and %s", ms(p50), ms(p99), maxAddedP50, maxAddedP99)
	}
	return nil
}

// startBlock starts so many containers, one after the other.
func (e *engine) startBlock(name string, n int, guarded bool, casco, root string, k *keeper.Keeper, judge gate.Judge) (took []time.Duration, err error) {
	if guarded {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		cfg := gate.WatchConfig{Binaries: gate.Find(), Roots: []string{root}, Fail: k.MayStart, Second: []string{casco, "guard", "second"}}
		go func() { ended <- gate.Watch(ctx, cfg, judge, slog.New(slog.DiscardHandler)) }()
		time.Sleep(300 * time.Millisecond) // until it watches
		defer func() {
			cancel()
			if e := <-ended; e != nil && !errors.Is(e, context.Canceled) {
				err = errors.Join(err, e)
			}
		}()
	}
	for i := range n {
		c := fmt.Sprint(name, "-", i)
		if err := e.sleeperMade("measured", c); err != nil {
			return nil, err
		}
		begun := time.Now()
		err := e.do("POST", "/containers/"+c+"/start", nil, nil)
		took = append(took, time.Since(begun))
		if err := errors.Join(err, e.gone(c)); err != nil {
			return nil, err
		}
	}
	return took, nil
}

// idle measures a guard that enforces and has nothing to do.
func (e *engine) idle(casco, home string) (err error) {
	for i := range idleContainers {
		name := fmt.Sprint("idle-", i)
		if _, err := e.sleeper(name); err != nil {
			return err
		}
	}
	state := filepath.Join(filepath.Dir(casco), "guarded")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	if err := api.WriteMode(api.ModeFile(state), api.Mode{Enforce: true}); err != nil {
		return err
	}
	guard := exec.Command(casco, "-H", "unix://"+e.socket, "--state", state, "--run", filepath.Join(home, "run"), "guard")
	guard.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	guard.Stderr = &log
	if err := guard.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, guard.Process.Signal(syscall.SIGTERM))
		if e := guard.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("guard: %w: %s", e, log.Bytes()))
		}
	}()
	var mib, percent float64
	time.Sleep(10 * time.Second) // the rules of all are made, and the first look is over
	_, before, err := usage(guard.Process.Pid)
	if err != nil {
		return err
	}
	time.Sleep(idleFor)
	mib, after, err := usage(guard.Process.Pid)
	if err != nil {
		return err
	}
	percent = 100 * (after - before).Seconds() / idleFor.Seconds()
	fmt.Printf("a guard with %d containers and nothing to do, over %s: %.1f MiB, %.2f %% of a CPU\n\n", idleContainers, idleFor, mib, percent)
	if mib > maxIdleMiB || percent > maxIdlePercent {
		return fmt.Errorf("an idle guard takes %.1f MiB and %.2f %% of a CPU, more than %d and %.0f", mib, percent, maxIdleMiB, maxIdlePercent)
	}
	return nil
}

// ticks are those of a second in /proc/PID/stat: sysconf(_SC_CLK_TCK), 100 on
// every Linux that Go runs on.
const ticks = 100

// usage is what a process and its children hold and have used, proc(5). What
// they share counts once.
func usage(pid int) (mib float64, cpu time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 13 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	var n [2]int
	for i, at := range []int{11, 12} { // utime, stime
		if n[i], err = strconv.Atoi(f[at]); err != nil {
			return 0, 0, err
		}
	}
	kib, err := pss(pid)
	if err != nil {
		return 0, 0, err
	}
	mib = kib / 1024
	cpu = time.Duration(n[0]+n[1]) * time.Second / ticks
	// Each thread has the children that it made.
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		children, _ := os.ReadFile(t)
		for c := range strings.FieldsSeq(string(children)) {
			if child, err := strconv.Atoi(c); err == nil {
				if m, t, err := usage(child); err == nil {
					mib, cpu = mib+m, cpu+t
				}
			}
		}
	}
	return mib, cpu, nil
}

// pss is the resident memory of a process in KiB, what it shares with others
// divided by their number (Pss of /proc/PID/smaps_rollup).
func pss(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/smaps_rollup: no Pss", pid)
}
