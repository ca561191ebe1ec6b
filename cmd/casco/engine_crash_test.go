package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// striking makes casco send the engine sig at its n-th boundary.
func (b *workbench) striking(n int, sig syscall.Signal, file string) (out string, struck bool) {
	b.Helper()
	mark := filepath.Join(b.dir, "struck")
	os.Remove(mark)
	b.env = append(b.env, "CASCO_TEST_SIGNAL="+strconv.Itoa(int(sig)), "CASCO_TEST_SIGNAL_FILE="+filepath.Join(b.e.Root, "dockerd.pid"), "CASCO_TEST_STRUCK="+mark, "CASCO_TEST_SIGNAL_RECORDS="+filepath.Join(b.dir, "state", "changes"))
	b.fails = true
	defer func() { b.env, b.fails = nil, false }()
	out, _ = b.run(n, "apply", file)
	_, err := os.Stat(mark)
	return out, err == nil
}

// up starts the engine again if it is down.
func (b *workbench) up() {
	b.Helper()
	if _, err := b.e.TryDocker("version"); err != nil {
		b.e.Restart()
	}
	// What crashed while it ran is down for good, whoever started the engine.
	b.e.Docker("start", "web")
}

// settled wants the record to say where the host is, and the host to be there.
func (b *workbench) settled(n int, before string, after ...string) {
	b.Helper()
	c := b.last()
	now := b.state()
	switch c.State {
	case "undone":
		if now != before {
			b.Fatalf("boundary %d: undone, and the host is\n%s\nbefore:\n%s", n, now, before)
		}
	case "verified":
		for _, want := range after {
			if !strings.Contains(now, want) {
				b.Fatalf("boundary %d: verified, and %q is missing of\n%s", n, want, now)
			}
		}
		b.run(0, "rollback", c.ID)
		if now := b.state(); now != before {
			b.Fatalf("boundary %d: rolled back, and the host is\n%s\nbefore:\n%s", n, now, before)
		}
	default:
		b.Fatalf("boundary %d: change %s is %s", n, c.ID, c.State)
	}
}

// eachBoundary kills the engine at every boundary of a change. Supervised, it
// is started again at once, as systemd does; else when casco has ended. It
// returns how often it was killed.
func (b *workbench) eachBoundary(supervised bool, file, before string, after ...string) (kills int) {
	b.Helper()
	for n := 1; ; n++ {
		b.run(0, append([]string{"plan", "-o", file, "--check", b.check, "--ref", b.ref}, b.answers...)...)
		b.run(0, "approve", file)
		stop := func() {}
		if supervised {
			stop = b.supervise()
			b.env = []string{"CASCO_TEST_REQUESTS=1"}
		}
		out, struck := b.striking(n, syscall.SIGKILL, file)
		b.Logf("boundary %d: %s", n, out)
		stop()
		b.up()
		if struck {
			kills++
		}
		b.settled(n, before, after...)
		if !struck {
			return kills
		}
	}
}

// supervise starts the engine again whenever it is dead, until stop is called.
func (b *workbench) supervise() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	pid := b.e.Pid()
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
				continue
			}
			if err := b.e.TryRestart(); err != nil {
				b.Error(err)
				return
			}
			pid = b.e.Pid()
		}
	}()
	stop = sync.OnceFunc(func() { close(done); <-ended })
	b.Cleanup(stop)
	return stop
}

// TestEngineKilled kills the engine with -9 at every boundary of each kind of
// change. The host is then wholly before or wholly after, and casco says which.
func TestEngineKilled(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	file := filepath.Join(b.dir, "cure.json")
	for _, tt := range []struct {
		name, check, ref string
		answers          []string
		supervised       bool
		least            int // boundaries that there are at the least
		after            []string
	}{
		{"re-creation", "container-host-pid", "container/web", nil, true, 10, []string{"true pid= ", "10.77.0.9 shop", "precious"}},
		{"live limit", "container-pids", "container/web", []string{"--suggested"}, true, 2, []string{"true pid=host"}},
		{"reload", "daemon-live-restore", "daemon/" + b.e.Socket, nil, false, 5, []string{"live-restore"}},
		{"restart", "daemon-userland-proxy", "daemon/" + b.e.Socket, nil, false, 3, []string{"userland-proxy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.T, b.check, b.ref, b.answers = t, tt.check, tt.ref, tt.answers
			begun := time.Now()
			kills := b.eachBoundary(tt.supervised, file, b.state(), tt.after...)
			if kills < tt.least {
				t.Errorf("only %d boundaries: the test does not see them", kills)
			}
			t.Logf("%d boundaries, %v", kills, time.Since(begun))
		})
	}
}

// TestEngineStuck stops the engine in the middle of a re-creation. casco does
// not wait for ever, and says that the way back is open; the next one goes it.
func TestEngineStuck(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	file := filepath.Join(b.dir, "cure.json")
	before := b.state()
	b.run(0, "plan", "-o", file, "--check", "container-host-pid", "--ref", "container/web")
	b.run(0, "approve", file)
	pid := b.e.Pid()
	begun := time.Now()
	b.env = []string{"CASCO_TEST_REQUESTS=1"}
	out, struck := b.striking(5, syscall.SIGSTOP, file)
	took := time.Since(begun)
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	if !struck || !strings.Contains(out, "is it stopped or stuck?") || !strings.Contains(out, "is not undone yet") {
		t.Errorf("struck %v, casco says:\n%s", struck, out)
	}
	if took > 2*time.Minute {
		t.Errorf("casco waited %v", took)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.settled(5, before)
}

// TestEngineStaysDown: with the new file the engine does not come back,
// although a trial of it did: the old file is put back and the engine runs.
func TestEngineStaysDown(t *testing.T) {
	t.Parallel()
	b := newWorkbench(t)
	file := filepath.Join(b.dir, "cure.json")
	before := b.state()
	b.run(0, "plan", "-o", file, "--check", "daemon-userland-proxy", "--ref", "daemon/"+b.e.Socket)
	b.run(0, "approve", file)
	config, err := os.ReadFile(b.e.Config)
	if err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	kills := 0
	go func() { // nothing lives with the new file, but the engine that was there before
		defer close(ended)
		first := b.e.Pid()
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			now, err := os.ReadFile(b.e.Config)
			raw, perr := os.ReadFile(filepath.Join(b.e.Root, "dockerd.pid"))
			pid, aerr := strconv.Atoi(strings.TrimSpace(string(raw)))
			if err == nil && perr == nil && aerr == nil && pid != first && string(now) != string(config) && syscall.Kill(pid, syscall.SIGKILL) == nil {
				kills++
			}
		}
	}()
	b.fails = true
	out, _ := b.run(0, "apply", file)
	close(done)
	<-ended
	if kills == 0 || !strings.Contains(out, "the engine does not start") || !strings.Contains(out, "was undone") {
		t.Errorf("%d kills, casco says:\n%s", kills, out)
	}
	b.fails = false
	b.settled(0, before)
}
