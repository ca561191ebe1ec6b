// Command bench measures a full audit against the engine's own floor, side by
// side in one run, on a private engine.
//
// The floor is the least that any tool must ask: one list and one inspect for
// each container, by eight concurrent clients that throw the replies away. The
// figures that count are the ratios; the milliseconds are of this machine.
//
//	bench [-n 1000] [-running 50] [-rounds 5] [-outage | -net | -door | -room | -image | -peer DIR]
//
// Bench ends with 1 if casco is slower than -max-ratio times the floor, than
// -max-wall, needs more memory than -max-mib, or grows faster than the number
// of containers.
//
// -outage measures instead for how long a re-created container does not serve,
// beside docker restart, and ends with 1 if that is longer. -net measures what
// the network guard costs packets, starts and an idle host, and ends with 1 if
// that is more than it may (net.go). -door does so for the door before the engine
// (door.go). -image measures casco image beside reading the archive (image.go).
// -peer names a checkout of docker-bench-security, which is then run
// once each against 10 and 40 containers beside casco.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type limits struct {
	ratio, mib float64
	wall       time.Duration
}

func main() {
	n := flag.Int("n", 1000, "containers at the most")
	running := flag.Int("running", 50, "how many of them run")
	rounds := flag.Int("rounds", 5, "rounds; the median counts")
	outage := flag.Bool("outage", false, "measure the outage of a re-creation beside docker restart, in place of the audit")
	net := flag.Bool("net", false, "measure the network guard, in place of the audit")
	door := flag.Bool("door", false, "measure the door before the engine, in place of the audit")
	room := flag.Bool("room", false, "attack the door, in place of the audit; -door does so too")
	images := flag.Bool("image", false, "measure casco image beside reading its archive, in place of the audit")
	peer := flag.String("peer", "", "checkout of docker-bench-security to compare with")
	var max limits
	flag.Float64Var(&max.ratio, "max-ratio", 1.5, "most that casco may take, as a multiple of the floor")
	flag.Float64Var(&max.mib, "max-mib", 150, "most memory that casco may need, MiB")
	flag.DurationVar(&max.wall, "max-wall", time.Second, "most time that casco may take")
	flag.Parse()
	if err := run(*n, *running, *rounds, *peer, *outage, *net, *door, *room, *images, max); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(n, running, rounds int, peer string, outage, net, door, room, images bool, max limits) (err error) {
	dir, err := os.MkdirTemp("", "casco-bench.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	casco := filepath.Join(dir, "casco")
	if err := command("go", "build", "-trimpath", "-o", casco, "./cmd/casco"); err != nil {
		return err
	}
	if images {
		return imageCost(casco, dir, rounds)
	}
	home := filepath.Join(dir, "e")
	if err := command("scripts/engine", "start", home); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, command("scripts/engine", "stop", home)) }()
	e := newEngine(filepath.Join(home, "docker.sock"))
	version, err := e.prepare()
	if err != nil {
		return err
	}
	fmt.Printf("casco against Docker %s, %d CPUs, kernel %s; median of %d rounds\n\n", version, runtime.NumCPU(), kernel(), rounds)
	if outage {
		return e.outages(casco, home, rounds)
	}
	if net {
		return e.network(casco, home, rounds)
	}
	if door || room {
		return e.door(casco, home, rounds, room)
	}
	if peer != "" {
		return e.againstPeer(casco, peer, rounds)
	}
	all, err := e.measure(casco, n, running, rounds)
	if err != nil {
		return err
	}
	return judge(all, max)
}

// A figure is what was measured with n containers.
type figure struct {
	n                 int
	floor, list, wall time.Duration
	mib               float64
}

func (f figure) ratio() float64 { return float64(f.wall) / float64(f.floor) }

// measure adds containers step by step and measures at each step, the floor
// and casco in turns.
func (e *engine) measure(casco string, n, running, rounds int) ([]figure, error) {
	var all []figure
	fmt.Println("| containers | floor ms | of it the list | casco ms | ratio | peak MiB |\n|---|---|---|---|---|---|")
	have := 0
	for _, size := range []int{10, 100, 300, n} {
		if size > n || size <= have {
			continue
		}
		if err := e.create(have, size, running); err != nil {
			return nil, err
		}
		have = size
		f, err := e.figure(casco, size, rounds)
		if err != nil {
			return nil, err
		}
		fmt.Printf("| %d | %.0f | %.0f | %.0f | %.2f | %.0f |\n", f.n, ms(f.floor), ms(f.list), ms(f.wall), f.ratio(), f.mib)
		all = append(all, f)
	}
	return all, nil
}

func (e *engine) figure(casco string, n, rounds int) (figure, error) {
	f := figure{n: n}
	var floors, lists, walls []time.Duration
	for range rounds {
		floor, list, err := e.floor()
		if err != nil {
			return f, err
		}
		wall, mib, err := audit(casco, e.socket)
		if err != nil {
			return f, err
		}
		floors, lists, walls = append(floors, floor), append(lists, list), append(walls, wall)
		f.mib = max(f.mib, mib)
	}
	f.floor, f.list, f.wall = median(floors), median(lists), median(walls)
	return f, nil
}

func judge(all []figure, max limits) error {
	last := all[len(all)-1]
	var errs []error
	if last.ratio() > max.ratio {
		errs = append(errs, fmt.Errorf("%d containers take %.2f times the floor, more than %.2f", last.n, last.ratio(), max.ratio))
	}
	if last.wall > max.wall {
		errs = append(errs, fmt.Errorf("%d containers take %s, more than %s", last.n, last.wall, max.wall))
	}
	if last.mib > max.mib {
		errs = append(errs, fmt.Errorf("%d containers need %.0f MiB, more than %.0f", last.n, last.mib, max.mib))
	}
	// From the third size on a fixed cost no longer hides growth: what one more
	// container costs may not rise (a third is left to the noise of the machine).
	if len(all) == 4 {
		few := float64(all[2].wall-all[1].wall) / float64(all[2].n-all[1].n)
		many := float64(all[3].wall-all[2].wall) / float64(all[3].n-all[2].n)
		fmt.Printf("\none more container costs %.2f ms at %d and %.2f ms at %d\n", few/1e6, all[2].n, many/1e6, all[3].n)
		if many > few*1.33 && many > 0.5e6 {
			errs = append(errs, fmt.Errorf("the cost of a container grows: %.2f ms, then %.2f ms", few/1e6, many/1e6))
		}
	}
	return errors.Join(errs...)
}

// audit runs casco once, as a user does, and returns its time and peak memory.
// Findings are exit code 3.
func audit(casco, socket string) (wall time.Duration, mib float64, err error) {
	cmd := exec.Command(casco, "-H", "unix://"+socket, "--state", filepath.Dir(casco)+"/state", "audit")
	begun := time.Now()
	err = cmd.Run()
	wall = time.Since(begun)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		err = nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("casco audit: %w", err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("no resource usage on this system")
	}
	return wall, float64(usage.Maxrss) / 1024, nil // Maxrss is in KiB, getrusage(2)
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// quantile is that of the durations: 0.5 is the median.
func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(q*float64(len(ds))))]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
