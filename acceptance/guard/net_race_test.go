package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/lab/actor"
)

const racePolicy = `
tiers:
  - {id: public, impact: 0.3}
  - {id: internal, impact: 0.6}
  - {id: restricted, impact: 1}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "web*"}, tier: public}
  - {match: {name: "api*"}, tier: internal}
  - {match: {name: "db*"}, tier: restricted}
  - {default: other}
flows:
  - {id: f1, from: public/web*, to: internal/api, port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
`

// A race is a world in which containers storm: at a database of another tier
// on their own network, at the host, at somebody outside, and at an api which
// they may speak to by TCP.
type race struct {
	*netWorld
	storm []string // the arguments of the actor
}

func newRace(t *testing.T) *race {
	w := newWorld(t)
	r := &race{netWorld: w}
	w.e.Docker("network", "create", "--subnet", "10.77.0.0/16", "n")
	w.counterIn(w.e.NetNS, "host", ":7100")
	w.counterIn(w.outside, "outside", outsideAddr+":7000")
	w.counterBox("db", "--network", "n")
	w.counterBox("api", "--network", "n")
	r.aim()
	return r
}

// aim takes the addresses of the receivers.
func (r *race) aim() {
	w := r.netWorld
	r.storm = []string{
		w.image, "storm", "-ms", "80", "-kinds", "udp,tcp,frame,icmp", "-tag", "tag0x",
		w.addr("db", "n") + ":7000", hostAddr + ":7100", "10.77.0.1:7100", outsideAddr + ":7000", w.addr("api", "n") + ":7000",
	}
}

// wrong is what reached receivers and is in no flow; right, what reached api by
// TCP.
func (r *race) wrong() (wrong, right int) {
	r.t.Helper()
	for _, name := range []string{"db", "host", "outside", "api"} {
		for from, n := range r.counts(name).From {
			switch {
			case name == "api" && strings.HasPrefix(from, "tcp "):
				right += n
			case strings.HasPrefix(from, "icmp ") && name != "db" && name != "api" && !strings.HasPrefix(from, "icmp 0 10.77."):
				// The machine's own pings are nobody's here.
			default:
				wrong += n
			}
		}
	}
	r.clear("db", "host", "outside", "api")
	return wrong, right
}

// The ways in which the storming containers start, n times each.
func (r *race) starts() map[string]func(n int) (firsts []float64) {
	return map[string]func(int) []float64{"run": r.byRun, "restart": r.byRestart, "compose": r.byCompose}
}

func (r *race) byRun(n int) (firsts []float64) {
	for i := range n {
		out, err := r.e.TryDocker(append([]string{"run", "--rm", "--network", "n", "--name", "web-" + strconv.Itoa(i)}, r.storm...)...)
		if err != nil {
			r.t.Fatalf("%v\n%s", err, r.logged())
		}
		firsts = append(firsts, r.firsts(out)...)
	}
	return firsts
}

func (r *race) byRestart(n int) (firsts []float64) {
	stay := append([]string{r.storm[0], r.storm[1], "-stay"}, r.storm[2:]...)
	r.e.Docker(append([]string{"run", "-d", "--network", "n", "--name", "web-again"}, stay...)...)
	defer r.e.Docker("rm", "-f", "web-again")
	for range n {
		time.Sleep(150 * time.Millisecond) // it storms
		if out, err := r.e.TryDocker("restart", "web-again"); err != nil {
			r.t.Fatalf("%v\n%s\n%s", err, out, r.logged())
		}
	}
	time.Sleep(500 * time.Millisecond)
	return r.firsts(r.e.Docker("logs", "web-again"))
}

// byCompose starts ten at a time.
func (r *race) byCompose(n int) (firsts []float64) {
	const scale = 10
	dir := filepath.Join(r.e.Root, "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	command, err := json.Marshal(r.storm[1:])
	if err != nil {
		r.t.Fatal(err)
	}
	file := filepath.Join(dir, "docker-compose.yml")
	outside.Write(r.t, file, fmt.Sprintf("version: '2.4'\nservices:\n  s:\n    image: %s\n    command: %s\n    networks: [n]\n    scale: %d\nnetworks:\n  n: {external: true}\n",
		r.image, command, scale))
	compose := func(args ...string) {
		r.t.Helper()
		cmd := exec.Command("docker-compose", append([]string{"-p", "web", "-f", file}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+r.e.Socket, "DOCKER_CONFIG="+filepath.Join(r.e.Root, "cli"))
		if out, err := cmd.CombinedOutput(); err != nil {
			r.t.Fatalf("docker-compose %v: %v\n%s\n%s", args, err, out, r.logged())
		}
	}
	for range (n + scale - 1) / scale {
		compose("up", "-d")
		time.Sleep(500 * time.Millisecond)
		for _, name := range strings.Fields(r.e.Docker("ps", "-a", "--filter", "label=com.docker.compose.project=web", "--format", "{{.Names}}")) {
			firsts = append(firsts, r.firsts(r.e.Docker("logs", name))...)
		}
		compose("down", "-t", "0")
	}
	return firsts
}

// firsts are the times to the first connection with api, -1 for none, of each
// storm that printed its end.
func (r *race) firsts(out string) (all []float64) {
	r.t.Helper()
	api := r.storm[len(r.storm)-1]
	for line := range strings.Lines(out) {
		var s actor.Storm
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		first, ok := s.First[api]
		if !ok {
			first = -1
		}
		all = append(all, first)
	}
	return all
}

func (r *race) logged() string {
	if r.guard == nil {
		return ""
	}
	return r.guard.log.String()
}

// TestNetRace: a container that sends from its first instruction on gets
// nothing anywhere but where its policy lets it, however it is started; and
// there it gets with its first SYN. Without casco thousands get through.
func TestNetRace(t *testing.T) {
	r := newRace(t)
	n := lane(t, "CASCO_RACE", 30)
	control := min(n, 30)
	r.byRun(control)
	if wrong, right := r.wrong(); wrong < 1000 || right < control {
		t.Fatalf("without casco %d got where they should not and %d where they may: the test proves nothing", wrong, right)
	} else {
		t.Logf("control: %d containers, %d datagrams, connections and pings beyond the policy", control, wrong)
	}
	for _, way := range []string{byFanotify, byRuntime} {
		t.Run(way, func(t *testing.T) {
			r.t = t
			if way == byRuntime {
				_, err := os.Stat("../../cmd/casco-runtime")
				handtest.Need(t, err == nil, "the wrapper, cmd/casco-runtime")
			}
			r.guard = r.newGuard(racePolicy + "network: {start: " + way + "}\n")
			if way == byRuntime {
				r.e.Docker("rm", "-f", "db", "api")
				r.wrap(r.guard.run)
			}
			r.guard.start()
			if way == byRuntime {
				r.counterBox("db", "--network", "n")
				r.counterBox("api", "--network", "n")
				r.aim()
			}
			for name, start := range r.starts() {
				t.Run(name, func(t *testing.T) {
					r.t = t
					r.wrong() // of before
					firsts := start(n)
					late := 0
					for _, ms := range firsts {
						if ms < 0 || ms >= 1000 {
							late++
						}
					}
					wrong, right := r.wrong()
					t.Logf("%s by %s: %d starts, %d wrong, %d connections that may be", name, way, len(firsts), wrong, right)
					if len(firsts) < n || wrong > 0 || late > 0 || right < n {
						t.Errorf("%s: %d of %d storms ended, %d got where they should not, %d without their first SYN, %d where they may\n%s",
							name, len(firsts), n, wrong, late, right, tail(r.logged(), 30))
					}
				})
			}
			r.t = t
			took := r.guard.took()
			t.Logf("held by %s: %d starts, p50 %s, p99 %s", way, len(took), percentile(took, 50), percentile(took, 99))
			r.latency(t, way)
			r.guard.quiet()
			r.guard.stop()
		})
	}
}

// latency prints what a whole start costs with the guard and without, in turns.
func (r *race) latency(t *testing.T, way string) {
	var with, without []time.Duration
	run := func(into *[]time.Duration, args ...string) {
		for range 5 {
			began := time.Now()
			r.e.Docker(append(append([]string{"run", "--rm", "--network", "n", "--name", "web-timed"}, args...), r.image, "exit", "0")...)
			*into = append(*into, time.Since(began))
		}
	}
	for range 3 {
		run(&with)
		if way == byRuntime {
			run(&without, "--runtime", "runc")
			continue
		}
		r.guard.stop()
		run(&without)
		r.guard.start()
	}
	t.Logf("docker run as a whole: with p50 %s p99 %s, without p50 %s p99 %s",
		percentile(with, 50), percentile(with, 99), percentile(without, 50), percentile(without, 99))
}

// tail is the last n lines.
func tail(s string, n int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// TestNetStartsMeanwhile: a container that starts while the guard does is
// started, and not late. A guard that asks the engine about it then waits for a
// start that waits for the guard.
func TestNetStartsMeanwhile(t *testing.T) {
	w := newWorld(t)
	g := w.newGuard(racePolicy)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := w.e.TryDocker("run", "--rm", "--name", "web-"+strconv.Itoa(i), w.image, "exit", "0"); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for range 8 {
		g.start()
		time.Sleep(500 * time.Millisecond)
		g.quiet()
		g.stop()
	}
	if took := g.took(); percentile(took, 100) > 2*time.Second {
		t.Errorf("%d starts were held, the longest for %s\n%s", len(took), percentile(took, 100), tail(g.log.String(), 20))
	} else {
		t.Logf("%d starts were held, the longest for %s", len(took), percentile(took, 100))
	}
}
