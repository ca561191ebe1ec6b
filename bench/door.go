package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"casco/host/doorbench"
)

// What the door may cost.
const (
	maxDoorP99    = time.Millisecond // added to inspect and create, 200 of each a second
	maxDoorStream = 1.03             // times as long, of docker save, load, export and cp
	maxDoorMiB    = 100              // for openStreams
	openStreams   = 1000
	bigFile       = 1 << 30
	streamRounds  = 5
)

// door measures what the guard's door costs, as it is for its users: a guard that
// judges by a policy in force, and the docker command.
// If only its room is asked for, it is attacked, and nothing else.
func (e *engine) door(casco, home string, rounds int, room bool) (err error) {
	if room {
		return e.attacked(casco, home)
	}
	if err := e.bigImage(); err != nil {
		return err
	}
	if err := e.sleeperOn("none", "held"); err != nil {
		return err
	}
	door := filepath.Join(home, "door.sock")
	guard, stop, err := e.guarded(casco, home, door)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return errors.Join(e.doorRequests(door, rounds), e.doorStreams(home, door), e.doorMemory(door, guard), e.doorRoom(casco, home, door, guard))
}

// attacked attacks a door that has nothing else to do.
func (e *engine) attacked(casco, home string) (err error) {
	door := filepath.Join(home, "door.sock")
	guard, stop, err := e.guarded(casco, home, door)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	return e.doorRoom(casco, home, door, guard)
}

// bigImage makes the image big:1, of one file that cannot be packed.
func (e *engine) bigImage() error {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: bigFile})
		if err == nil {
			_, err = io.CopyN(t, rand.Reader, bigFile)
		}
		w.CloseWithError(errors.Join(err, t.Close()))
	}()
	defer r.Close()
	return e.do("POST", "/images/create?fromSrc=-&repo=big&tag=1", r, nil)
}

// guarded starts a guard that enforces admission at a door, and returns its
// process ID and what stops it.
func (e *engine) guarded(casco, home, door string) (pid int, stop func() error, err error) {
	policy := filepath.Join(home, "policy.yaml")
	text := "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: bench, version: 1}\ntiers: [{id: all, impact: 1}]\nassign: [{default: all}]\nnetwork: {start: runtime}\nadmission: {mode: enforce, owners: [{id: hostile, who: [\"uid:4242\"]}]}\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		return 0, nil, err
	}
	guard := exec.Command(casco, "-H", "unix://"+e.socket, "--state", filepath.Join(home, "doored"), "--run", filepath.Join(home, "run"), "--policy", policy, "guard", "--door", door, "--door-group", strconv.Itoa(hostile))
	guard.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	guard.Stderr = &log
	guard.WaitDelay = 5 * time.Second
	if err := guard.Start(); err != nil {
		return 0, nil, err
	}
	stop = func() error {
		err := guard.Process.Signal(syscall.SIGTERM)
		if e := guard.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("guard: %w: %s", e, log.Bytes()))
		}
		return err
	}
	through := newEngine(door)
	for range 600 {
		if err = through.do("GET", "/_ping", nil, nil); err == nil {
			return guard.Process.Pid, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return 0, nil, errors.Join(err, stop())
}

// doorRequests measures inspect and create.
func (e *engine) doorRequests(door string, rounds int) error {
	r, err := doorbench.Measure(context.Background(), doorbench.Options{Bare: e.socket, Door: door, Rounds: rounds, Container: "held"})
	if err != nil {
		return err
	}
	if r.CreateP99 == nil {
		return errors.New("the door does not let a create through")
	}
	fmt.Printf("%d requests a second at each socket, in turns, %d rounds; a create is of an image that is not there\n\n| ms | engine | door | added |\n|---|---|---|---|\n", doorbench.Rate, rounds)
	for _, row := range []struct {
		what string
		f    doorbench.Figure
	}{{"inspect p50", r.InspectP50}, {"inspect p99", r.InspectP99}, {"create p50", *r.CreateP50}, {"create p99", *r.CreateP99}} {
		fmt.Printf("| %s | %.2f | %.2f | %.2f |\n", row.what, 1e3*row.f.Bare, 1e3*row.f.Door, 1e3*row.f.Added)
		if limit := maxDoorP99.Seconds(); row.f.Added > limit {
			err = errors.Join(err, fmt.Errorf("the door adds %.2f ms to %s, more than %s", 1e3*row.f.Added, row.what, maxDoorP99))
		}
	}
	fmt.Println()
	return err
}

// doorStreams measures the docker command with an image and a file of a GiB.
func (e *engine) doorStreams(home, door string) (err error) {
	if err := e.do("POST", "/containers/create?name=big", bytes.NewReader([]byte(`{"Image": "big:1", "Cmd": ["x"], "HostConfig": {"Binds": ["big:/data"]}}`)), nil); err != nil {
		return err
	}
	file := filepath.Join(home, "big.tar")
	docker := func(socket string, args ...string) error {
		cmd := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+home, "DOCKER_CONTEXT=")
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, out)
		if err = errors.Join(err, cmd.Wait()); err != nil {
			return fmt.Errorf("docker %v: %w: %s", args, err, said.Bytes())
		}
		return nil
	}
	if err := docker(e.socket, "save", "-o", file, "big:1"); err != nil {
		return err
	}
	fmt.Printf("the docker command with a GiB, in turns, %d rounds\n\n| s | engine | door | ratio |\n|---|---|---|---|\n", streamRounds)
	for _, args := range [][]string{{"save", "big:1"}, {"export", "big"}, {"cp", "big:/big", "-"}, {"cp", file, "big:/data/"}, {"load", "-i", file}} {
		if e := docker(e.socket, args...); e != nil { // what it reads is in memory then
			return e
		}
		var took [2][]float64
		for round := range streamRounds {
			for i := range 2 {
				which := (round + i) % 2
				begun := time.Now()
				if err := docker([2]string{e.socket, door}[which], args...); err != nil {
					return err
				}
				took[which] = append(took[which], time.Since(begun).Seconds())
			}
		}
		f := doorbench.Pair(took[0], took[1])
		what := args[0]
		if args[len(args)-1] == "-" {
			what = "cp from"
		} else if what == "cp" {
			what = "cp to"
		}
		fmt.Printf("| %s | %.2f | %.2f | %.3f |\n", what, f.Bare, f.Door, f.Ratio)
		if f.Ratio > maxDoorStream {
			err = errors.Join(err, fmt.Errorf("docker %s takes %.3f times as long through the door, more than %.2f", what, f.Ratio, maxDoorStream))
		}
	}
	fmt.Println()
	return err
}

// doorMemory measures what open streams take that have all carried something:
// clients that are attached to one container, which has written a line.
func (e *engine) doorMemory(door string, guard int) error {
	if err := e.do("POST", "/containers/create?name=speaks", bytes.NewReader([]byte(`{"Image": "bench:1", "Cmd": ["/bin/busybox", "sh", "-c", "echo hello; exec /bin/busybox sleep 100000"], "HostConfig": {"NetworkMode": "none"}}`)), nil); err != nil {
		return err
	}
	if err := e.do("POST", "/containers/speaks/start", nil, nil); err != nil {
		return err
	}
	before, _, err := usage(guard)
	if err != nil {
		return err
	}
	for range openStreams {
		c, err := net.Dial("unix", door)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "POST /v1.41/containers/speaks/attach?stream=1&logs=1&stdout=1 HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); err != nil {
			return err
		}
		in := bufio.NewReaderSize(c, 512)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		line := make([]byte, 8+len("hello\n")) // a frame's head, and the line
		if _, err := io.ReadFull(in, line); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("attach: %s: %q: %w", res.Status, line, err)
		}
	}
	after, _, err := usage(guard)
	if err != nil {
		return err
	}
	fmt.Printf("%d open streams: %.1f MiB more than the guard's %.1f\n\n", openStreams, after-before, before)
	if after-before > maxDoorMiB {
		return fmt.Errorf("%d open streams take %.1f MiB, more than %d", openStreams, after-before, maxDoorMiB)
	}
	return nil
}
