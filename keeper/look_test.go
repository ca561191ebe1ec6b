package keeper

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"casco/host/gate"
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
