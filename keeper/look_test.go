package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"casco/host/gate"
	"casco/internal/handtest"
)

// TestUnreadState: a container whose state cannot be read has not ended.
func TestUnreadState(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, true)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(c.dir, "moby", c.starts[0].ID, "state.json")
	was, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Look(t.Context()); err == nil {
		t.Error("a state that cannot be read was nothing to tell of")
	}
	if n := len(k.state.Namespaces()); n != 2 {
		t.Errorf("%d namespaces are kept, want 2", n)
	}
	if err := os.WriteFile(state, was, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "moby", c.starts[1].ID)); err != nil {
		t.Fatal(err)
	}
	if err := k.Look(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(k.state.Namespaces()); n != 1 {
		t.Errorf("%d namespaces are kept after one ended, want 1", n)
	}
}

// TestDisconnected: an end takes a container out of its networks, and its files
// are gone when that is heard of. Of one that lives on that is trouble.
func TestDisconnected(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, true)
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var told []Event
	k.cfg.Happened = func(e Event) {
		if e.Kind == Trouble {
			told = append(told, e)
		}
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for i, pid := range []int{ended.Process.Pid, c.starts[1].PID} {
		id := c.starts[i].ID
		if err := os.RemoveAll(filepath.Join(c.dir, "containers", id)); err != nil {
			t.Fatal(err)
		}
		k.containers[id].pid = pid
		e := EngineEvent{Type: "network", Action: "disconnect"}
		e.Actor.Attributes = map[string]string{"container": id}
		if err := k.event(t.Context(), e); err != nil {
			t.Error(err)
		}
		if len(told) != i {
			t.Errorf("container %d of an ended and a living one: told of %v", i, told)
		}
	}
}

// TestStale: what could not be written is written when that can be done, though
// nothing of what runs changed since.
func TestStale(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, true)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var id uint64
	for id = range k.spaces {
		break
	}
	s := k.spaces[id]
	// The socket goes, and the rules of this namespace with it.
	s.rules.Remove()
	s.rules.Close()
	if err := k.fresh(id, true); err == nil {
		t.Fatal("rules were made without a socket")
	}
	s.rules = nil
	if err := k.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.rules == nil || s.stale {
		t.Fatal("rules that could not be written are still missing")
	}
	if err := s.rules.Check(k.state.Inside(id)); err != nil {
		t.Error(err)
	}
}

// TestStartWhileTurning: a container starts while another policy comes into
// force, or the first one is enforced, and the host's rules are still those from
// before.
func TestStartWhileTurning(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, false)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := c.starts[1]
	k.stop(last.ID)
	k.ending.Wait()
	if _, _, err := k.turn(k.policy, k.judge, true); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context(), last); err != nil {
		t.Errorf("it was not started: %v", err)
	}
	if err := k.SetPolicy(k.policy, true); err != nil {
		t.Fatal(err)
	}
	if err := k.host.Check(k.state.Host()); err != nil {
		t.Error(err)
	}
	// The table of the host is gone: a start is no reason to wait for a look.
	k.stop(last.ID)
	k.ending.Wait()
	if err := k.host.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context(), last); err != nil {
		t.Errorf("it was not started: %v", err)
	}
	if err := k.host.Check(k.state.Host()); err != nil {
		t.Error(err)
	}
}

// TestFailMode: a start that cannot be judged is refused by its tier, at once,
// and only where rules are enforced.
func TestFailMode(t *testing.T) {
	c := newCrowd(t, 1)
	k := c.keeper(t, true)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := c.starts[0]
	lost.PID = 1 << 30
	if err := k.Start(t.Context(), lost); !errors.Is(err, gate.ErrUnjudged) {
		t.Errorf("of a process that is not there: %v", err)
	}
	lost.PID, lost.Verb = 0, "restore"
	if err := k.Start(t.Context(), lost); !errors.Is(err, gate.ErrUnjudged) {
		t.Errorf("made and started in one: %v", err)
	}
	k.mu.Lock() // whoever hangs
	said := make(chan bool, 1)
	go func() { said <- k.MayStart(lost) }()
	select {
	case may := <-said:
		if may {
			t.Error("its tier is closed, and it may start")
		}
	case <-time.After(5 * time.Second):
		t.Error("the fail mode waits for who failed")
	}
	k.mu.Unlock()
	if err := k.SetPolicy(k.policy, false); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(t.Context(), lost); err != nil || !k.MayStart(lost) {
		t.Errorf("nothing is enforced, and it was not started: %v", err)
	}
}

// TestLate: a guard that comes to containers that run says of which it is the
// first, and of those whose rules an earlier one made nothing.
func TestLate(t *testing.T) {
	c := newCrowd(t, 3)
	for _, want := range []int{3, 0} {
		k := c.keeper(t, true)
		late := 0
		k.cfg.Happened = func(e Event) {
			if e.Kind == Late {
				late++
			}
		}
		if err := k.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if late != want {
			t.Errorf("%d ran without rules, want %d", late, want)
		}
		k.Close()
	}
}

// TestHalfPolicy: a policy is gone by though rules of one namespace could not be
// made by it. Which that are is said, until they are.
func TestHalfPolicy(t *testing.T) {
	c := newCrowd(t, 2)
	k := c.keeper(t, false)
	k.cfg.Happened = nil
	defer k.Close()
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var s *space
	for _, s = range k.spaces {
		break
	}
	name := k.nameOf(s.ID)
	s.rules.Remove()
	s.rules.Close()
	next := *k.policy
	if err := k.SetPolicy(&next, true); err == nil {
		t.Fatal("rules were made without a socket")
	}
	if p, enforce := k.InForce(); p != &next || !enforce {
		t.Error("the new policy is not gone by")
	}
	if is := k.Report().Stale; len(is) != 1 || is[0] != name {
		t.Errorf("stale are %q, want %q", is, name)
	}
	select {
	case <-k.wake:
	default:
		t.Error("nobody is about to look at it again")
	}
	s.rules = nil // as if a new one could be opened
	if err := k.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if is := k.Report().Stale; len(is) != 0 {
		t.Errorf("stale are %q after they were made", is)
	}
}

// TestStray: a container whose runtime keeps its states where nobody looks is
// found by the engine's files, and has rules as long as it lives.
func TestStray(t *testing.T) {
	c := newCrowd(t, 2)
	moved := func(i int) (id string, sleeper *exec.Cmd) {
		id = c.starts[i].ID
		if err := os.RemoveAll(filepath.Join(c.dir, "moby", id)); err != nil {
			t.Fatal(err)
		}
		group := "/sys/fs/cgroup/" + id
		if _, err := os.Stat("/sys/fs/cgroup/pids"); err == nil {
			group = "/sys/fs/cgroup/pids/" + id // version 1
		}
		handtest.Need(t, os.Mkdir(group, 0o755) == nil, "a cgroup of its own")
		sleeper = exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", c.starts[i].PID), "--", "sleep", "600")
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			sleeper.Process.Kill()
			sleeper.Wait()
			for range 50 {
				if os.Remove(group) == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Errorf("%s is still there", group)
		})
		if err := os.WriteFile(group+"/cgroup.procs", []byte(strconv.Itoa(sleeper.Process.Pid)), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(c.dir, "containers", id, "config.v2.json")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b = append(fmt.Appendf(nil, `{"State":{"Running":true,"Pid":%d},`, sleeper.Process.Pid), b[1:]...)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // it is in the namespace
		return id, sleeper
	}
	first, _ := moved(0)
	k := c.keeper(t, true)
	defer k.Close()
	var late []string
	k.cfg.Happened = func(e Event) {
		if e.Kind == Late {
			late = append(late, e.Container)
		}
	}
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.containers[first] == nil || len(late) != 2 {
		t.Fatalf("it is not found at first; late are %q", late)
	}
	k.stop(c.starts[1].ID)
	k.ending.Wait()
	second, sleeper := moved(1)
	e := EngineEvent{Type: "container", Action: "start"}
	e.Actor.ID = second
	if err := k.event(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if len(late) != 3 {
		t.Errorf("its start was nothing to tell of: %q", late)
	}
	if err := k.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first, second} {
		if is := k.containers[id]; is == nil || k.spaces[is.space].rules == nil {
			t.Fatalf("%s has no rules after a look", id)
		}
	}
	sleeper.Process.Kill()
	sleeper.Wait()
	if err := k.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.containers[second] != nil {
		t.Error("it has ended and is still kept")
	}
}

// TestBuild: a step of a build of this engine is told of, and nobody else's.
func TestBuild(t *testing.T) {
	c := newCrowd(t, 1)
	k := c.keeper(t, true)
	defer k.Close()
	told := 0
	k.cfg.Happened = func(e Event) {
		if e.Kind == Ungoverned {
			told++
		}
	}
	for _, s := range []struct {
		verb, bundle string
		want         int
	}{
		{"run", filepath.Join(c.dir, "buildkit/executor/x1"), 1},
		{"run", "/var/lib/somebody/buildkit/executor/x1", 1},
		{"start", filepath.Join(c.dir, "buildkit/executor/x1"), 1},
		{"run", filepath.Join(c.dir, "buildkit/../containers/x1"), 1},
	} {
		if err := k.Start(t.Context(), gate.Start{ID: "x1", Root: "/run/runc", Verb: s.verb, Bundle: s.bundle}); err != nil || told != s.want {
			t.Errorf("%s in %s: %v, told of %d times, want %d", s.verb, s.bundle, err, told, s.want)
		}
	}
}
