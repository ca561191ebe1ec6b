package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
)

// A failingDoor is a door whose guard fails, and those who use it.
type failingDoor struct {
	*netWorld
	g      *guarding
	socket string
}

// ask makes one request at the door, on a connection of its own. The status is 0
// if there was no answer.
func (d *failingDoor) ask(method, path, body string) (status int, answer string) {
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		},
	}}
	req, err := http.NewRequest(method, "http://d/v1.41"+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

func (d *failingDoor) create(name string, privileged bool) (status int, answer string) {
	body, err := json.Marshal(map[string]any{
		"Image": d.image, "Cmd": []string{"exit", "0"}, "Labels": map[string]string{"whole": "yes"},
		"HostConfig": map[string]any{"Privileged": privileged, "NetworkMode": "none"},
	})
	if err != nil {
		return 0, err.Error()
	}
	return d.ask(http.MethodPost, "/containers/create?name="+name, string(body))
}

// judges wants what is harmless to be let through and what is not to be refused.
func (d *failingDoor) judges(t *testing.T, when, name string) {
	t.Helper()
	if status, answer := d.create(name, false); status != http.StatusCreated {
		t.Errorf("%s: a harmless container: %d %s", when, status, answer)
	}
	if status, answer := d.create(name+"x", true); status != http.StatusForbidden || !strings.Contains(answer, "container-privileged") {
		t.Errorf("%s: a privileged container: %d %s", when, status, answer)
	}
}

// start starts the guard and waits until its door is open.
func (d *failingDoor) start(t *testing.T) {
	t.Helper()
	d.g.start()
	for range 400 {
		if status, _ := d.ask(http.MethodGet, "/_ping", ""); status == http.StatusOK {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("the door does not open\n%s", tail(d.g.log.String(), 30))
}

// TestDoorFail: whatever becomes of the guard, of its disk, its policy and the
// engine, nothing gets past the door unjudged, nothing is half done, and each
// client is told.
func TestDoorFail(t *testing.T) {
	w := newWorld(t)
	d := &failingDoor{netWorld: w, socket: filepath.Join(w.e.Root, "door.sock")}
	// Starts are not watched, which would be those of all engines of the machine.
	d.g = w.newGuard("tiers: [{id: all, impact: 1}]\nassign: [{default: all}]\nnetwork: {start: runtime}\nadmission: {mode: enforce}\n")
	d.g.mode(false)
	d.g.more = []string{"--door", d.socket}
	d.g.state = outside.SmallDisk(t, "8m")
	if out, err := exec.Command(d.g.program, "--state", d.g.state, "policy", "load", d.g.policy, "--yes").CombinedOutput(); err != nil {
		t.Fatalf("policy load: %v\n%s", err, out)
	}
	d.g.policy = "" // the one that was taken
	d.start(t)
	d.judges(t, "as it should be", "sound")
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"measured", d.measured},
		{"hindered", d.hindered},
		{"disk full", d.diskFull},
		{"policy gone", d.policyGone},
		{"stopped", d.stopped},
		{"engine restarted", d.restarted},
		{"killed", d.killed},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(t)
			d.judges(t, "after "+c.name, "after-"+strings.ReplaceAll(c.name, " ", "-"))
			if t.Failed() {
				t.Log(tail(d.g.log.String(), 30))
			}
		})
	}
}

// hindered: an engine that was told on its command line where to listen cannot be
// put behind a door; what hinders is said, and there is nothing to approve.
func (d *failingDoor) hindered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "door.json")
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command(d.g.program, append([]string{"--host", "unix://" + d.e.Socket, "--state", d.g.state, "--run", d.g.run, "--lang", "en"}, args...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("casco %s: exit code %d, want %d\n%s", args[0], code, want, out)
		}
		return string(out)
	}
	said := run(0, "plan", "--check", "guard-door", "-o", file)
	for _, want := range []string{"hosts", "command line", "nothing to approve"} {
		if !strings.Contains(said, want) {
			t.Errorf("the plan does not say %q:\n%s", want, said)
		}
	}
	if said := run(4, "approve", file, "--yes"); !strings.Contains(said, "nothing to approve") {
		t.Errorf("approve says: %s", said)
	}
}

// measured: what the door costs can be told of it while it works, and nothing is
// made for it.
func (d *failingDoor) measured(t *testing.T) {
	before := d.e.Docker("ps", "-aq")
	bench := func(args ...string) ([]byte, error) {
		return exec.Command(d.g.program, append([]string{"--state", d.g.state, "--run", d.g.run, "bench", "door", "--rounds", "1", "--format", "json"}, args...)...).Output()
	}
	// What is no door, and what is no engine, is not measured.
	for _, nonsense := range [][]string{
		{"--host", "unix://" + d.e.Socket, "--door", d.e.Socket},
		{"--host", "unix://" + d.socket, "--door", d.e.Socket},
	} {
		var exit *exec.ExitError
		if out, err := bench(nonsense...); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("bench door %v: %v, %s", nonsense, err, out)
		}
	}
	out, err := bench("--host", "unix://"+d.socket) // the door by its own name
	var r struct {
		Engine, Door string
		Result       struct {
			Inspect struct{ Bare, Door float64 }  `json:"inspect_p50"`
			Create  *struct{ Bare, Door float64 } `json:"create_p99"`
			Stream  *struct{ Ratio float64 }      `json:"stream"`
			Bytes   int64                         `json:"bytes"`
		} `json:"result"`
	}
	if err := errors.Join(err, json.Unmarshal(out, &r)); err != nil {
		t.Fatalf("bench door: %v\n%s", err, out)
	}
	if got := r.Result; got.Inspect.Bare <= 0 || got.Inspect.Door <= 0 || got.Create == nil || got.Stream == nil || got.Stream.Ratio <= 0 || got.Bytes < 1<<20 || r.Engine != d.e.Socket || r.Door != d.socket {
		t.Errorf("bench door: %s", out)
	}
	if after := d.e.Docker("ps", "-aq"); after != before {
		t.Errorf("bench door left %s, before there was %s", after, before)
	}
}

// diskFull: requests are judged without room for what was decided; that is kept,
// and written when there is room again.
func (d *failingDoor) diskFull(t *testing.T) {
	outside.Fill(t, d.g.state, 0)
	for i := range 100 {
		d.judges(t, "with a full disk", fmt.Sprint("full-", i))
		if strings.Contains(d.g.log.String(), "not written into the ledger") || t.Failed() {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !strings.Contains(d.g.log.String(), "not written into the ledger") {
		t.Error("nobody is told that the ledger is not written to")
	}
	d.judges(t, "with a full disk", "full-last")
	outside.Tool(t, "rm", filepath.Join(d.g.state, "filler"))
	for _, want := range []string{"verify", "full-last"} {
		args := []string{"log", "show"}
		if want == "verify" {
			args = []string{"log", "verify"}
		}
		var out []byte
		var err error
		for range 50 {
			out, err = exec.Command(d.g.program, append([]string{"--state", d.g.state, "--lang", "en"}, args...)...).CombinedOutput()
			if err == nil && (want == "verify" || bytes.Contains(out, []byte(want))) {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		if err != nil || want != "verify" && !bytes.Contains(out, []byte(want)) {
			t.Errorf("log %s after a full disk: %v\n%.2000s", want, err, out)
		}
	}
}

// policyGone: the guard goes on by the policy that it had, started anew too, and
// says so until that is there again.
func (d *failingDoor) policyGone(t *testing.T) {
	kept := filepath.Join(d.g.state, "policy")
	away := kept + ".away"
	if err := os.Rename(kept, away); err != nil {
		t.Fatal(err)
	}
	trouble := func() string {
		var s struct {
			Trouble struct{ What string } `json:"policy_trouble"`
		}
		if err := d.g.call(http.MethodGet, "/v1/status", &s); err != nil {
			t.Fatal(err)
		}
		return s.Trouble.What
	}
	d.g.reload()
	d.judges(t, "without its policy", "lost")
	d.g.kill()
	d.start(t)
	d.judges(t, "started without its policy", "lost2")
	if what := trouble(); what != "gone" {
		t.Errorf("the status says of the policy that is gone: %q", what)
	}
	for _, says := range [][]string{{"net", "status", "--run", d.g.run}, {"doctor"}} {
		out, _ := exec.Command(d.g.program, append([]string{"--host", "unix://" + d.e.Socket, "--state", d.g.state, "--lang", "en"}, says...)...).CombinedOutput()
		if !bytes.Contains(out, []byte("POLICY GONE")) {
			t.Errorf("casco %s does not say that the policy is gone:\n%s", says[0], out)
		}
	}
	if err := os.Rename(away, kept); err != nil {
		t.Fatal(err)
	}
	d.g.reload()
	if what := trouble(); what != "" {
		t.Errorf("the status says of a policy that is there again: %q", what)
	}
}

// stopped: who comes is told so within seconds; it goes on when the guard does.
func (d *failingDoor) stopped(t *testing.T) {
	handtest.Stop(t, d.g.cmd.Process.Pid)
	defer d.g.signal(syscall.SIGCONT)
	for _, path := range []string{"/containers/json", "/_ping"} {
		began := time.Now()
		status, answer := d.ask(http.MethodGet, path, "")
		if took := time.Since(began); status != http.StatusServiceUnavailable || !strings.Contains(answer, "guard does not answer") || took > 10*time.Second {
			t.Errorf("%s at a door whose guard is stopped: %d %s after %s", path, status, answer, took)
		}
	}
	if status, answer := d.create("unjudged", false); status == http.StatusCreated {
		t.Errorf("made by a stopped guard: %s", answer)
	}
	d.g.signal(syscall.SIGCONT)
	for range 200 {
		if status, _ := d.ask(http.MethodGet, "/_ping", ""); status == http.StatusOK {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Error("the door does not go on with its guard")
}

// restarted: an engine that is away is said to be, and met again.
func (d *failingDoor) restarted(t *testing.T) {
	over := make(chan struct{})
	away := atomic.Int64{}
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if status, answer := d.ask(http.MethodGet, "/_ping", ""); status != http.StatusOK {
				away.Add(1)
				if status != http.StatusServiceUnavailable && status != http.StatusBadGateway {
					t.Errorf("without its engine the door answers %d %s", status, answer)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	d.e.Restart()
	close(over)
	asking.Wait()
	t.Logf("%d requests were told that there is no engine", away.Load())
	if status, answer := d.ask(http.MethodGet, "/_ping", ""); status != http.StatusOK {
		t.Errorf("after its engine is back: %d %s", status, answer)
	}
}

// killed: of the creations that were under way each is whole, or there is nothing
// of it, and its client got an error; nobody gets past a door that is not there.
func (d *failingDoor) killed(t *testing.T) {
	const makers, each = 4, 40
	var mu sync.Mutex // guards answered
	answered := map[string]int{}
	var making sync.WaitGroup
	for m := range makers {
		making.Go(func() {
			for i := range each {
				name := fmt.Sprintf("made-%d-%d", m, i)
				status, _ := d.create(name, false)
				mu.Lock()
				answered[name] = status
				mu.Unlock()
			}
		})
	}
	for range 400 { // some are made, and some are under way
		mu.Lock()
		n := len(answered)
		mu.Unlock()
		if n >= makers*2 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.g.kill()
	making.Wait()
	if status, answer := d.ask(http.MethodGet, "/_ping", ""); status != 0 {
		t.Errorf("a door without a guard answers %d %s", status, answer)
	}
	failed, unanswered := 0, 0
	for name, status := range answered {
		out, err := d.e.TryDocker("inspect", "-f", `{{.State.Status}} {{.Config.Labels.whole}} {{.HostConfig.NetworkMode}} {{.HostConfig.Privileged}}`, name)
		switch {
		case status == http.StatusCreated && err != nil:
			t.Errorf("%s: its client was told that it was made, and it is not there", name)
		case status != http.StatusCreated:
			if failed++; err == nil {
				unanswered++
			}
			if status != 0 {
				t.Errorf("%s: %d", name, status)
			}
		}
		if err == nil && out != "created yes none false" {
			t.Errorf("%s is half made: %s", name, out)
		}
	}
	t.Logf("%d of %d creations met the end of the door; of them %d were made all the same", failed, len(answered), unanswered)
	if failed == 0 {
		t.Error("the door was killed when all was done: the test proves nothing")
	}
	d.start(t)
}
