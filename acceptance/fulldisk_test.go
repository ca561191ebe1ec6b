package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestFullConfigDisk: the disk of daemon.json is full when a change, or its
// rollback, wants to write. The file stays whole, the engine runs, casco says
// why, and with room again the same rollback succeeds.
func TestFullConfigDisk(t *testing.T) {
	e := realdocker.Start(t)
	etc := outside.SmallDisk(t, "1m")
	config := filepath.Join(etc, "daemon.json")
	outside.Put(t, config, "{\"debug\": false}\n")
	replace(t, e, os.Symlink(config, e.Config+".x"))
	for check, now := range map[string]func() string{
		"daemon-live-restore":   func() string { return e.Docker("info", "-f", "{{.LiveRestoreEnabled}}") }, // by a reload
		"daemon-userland-proxy": func() string { return "" },                                                // by a restart
	} {
		t.Run(check, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "plan.json")
			outside.Casco(t, e, "plan", "--check", check, "--ref", "daemon/"+e.Socket, "-o", file)
			outside.Casco(t, e, "approve", file, "--yes")
			before, ran := kept(t, config, true), now()
			outside.Fill(t, etc, 0)
			out, errs, code := outside.Casco(t, e, "apply", file, "--yes")
			wants(t, out+errs, code, 1, "no space left on device", e.Config, "was undone")
			if got := kept(t, config, true); got != before || now() != ran || outside.LastChange(t, e).State != "undone" {
				t.Errorf("undone, and daemon.json is\n%s\nwas\n%s\nengine %s, was %s", got, before, now(), ran)
			}
			os.Remove(filepath.Join(etc, "filler"))
			id := outside.PlanApplyVerify(t, e, "--check", check, "--ref", "daemon/"+e.Socket)
			after, runs := kept(t, config, true), now()
			outside.Fill(t, etc, 0)
			out, errs, code = outside.Casco(t, e, "rollback", id, "--yes")
			wants(t, out+errs, code, 1, "no space left on device", "could NOT be undone", "casco rollback "+id)
			if got := kept(t, config, true); got != after || now() != runs {
				t.Errorf("not taken back, and daemon.json is\n%s\nwas\n%s\nengine %s, was %s", got, after, now(), runs)
			}
			alive(t, e)
			os.Remove(filepath.Join(etc, "filler"))
			outside.Rollback(t, e, id)
			if got := outside.MustRead(t, config); got != "{\"debug\": false}\n" || now() != ran {
				t.Errorf("after the rollback: %q, engine %s, was %s", got, now(), ran)
			}
			if left := tempFiles(t, etc); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestFullDataRoot: the disk of the engine's data is full when a container is
// created again, at whatever byte: it runs on as it was.
func TestFullDataRoot(t *testing.T) {
	data := outside.SmallDisk(t, "32m")
	e := realdocker.Start(t, "--dockerd-arg", "--data-root="+data)
	e.Image("web:1")
	name := container(t, e, "app", "-v", "/srv", "--pid", "host")
	inside(t, e, name, "sh", "-c", "echo precious >/srv/f")
	ref := "container/" + name
	before, listed := inspect(t, e, name), e.Docker("ps", "-a", "--format", "{{.ID}} {{.Names}}")
	unbegun, undone := 0, 0
	for free := 0; free <= 4<<20; free = max(2*free, 4<<10) {
		file := filepath.Join(t.TempDir(), "plan.json")
		outside.Casco(t, e, "plan", "--check", "container-host-pid", "--ref", ref, "-o", file)
		outside.Casco(t, e, "approve", file, "--yes")
		outside.Fill(t, data, free)
		out, errs, code := outside.Casco(t, e, "apply", file, "--yes")
		os.Remove(filepath.Join(data, "filler"))
		if code == 0 {
			break
		}
		// An engine without room fails in many words, and with none at all
		// already when it is asked what the container wrote.
		if strings.Contains(out+errs, "nothing was begun") {
			unbegun++
			wants(t, out+errs, code, 1)
		} else {
			undone++
			wants(t, out+errs, code, 1, "was undone")
		}
		if c := outside.LastChange(t, e); c.State != "undone" {
			t.Errorf("%d bytes free: change %s is %s: %s", free, c.ID, c.State, c.Why)
		}
		if got := inspect(t, e, name); got != before {
			t.Errorf("%d bytes free: the container is\n%s\nwas\n%s", free, got, before)
		}
		if got := e.Docker("ps", "-a", "--format", "{{.ID}} {{.Names}}"); got != listed {
			t.Errorf("%d bytes free: containers are\n%s\nwere\n%s", free, got, listed)
		}
	}
	if undone == 0 {
		t.Error("the disk was never full in the middle of the change")
	}
	if got := inside(t, e, name, "cat", "/srv/f"); !strings.Contains(got, "precious") {
		t.Errorf("its volume holds %q", got)
	}
	outside.Rollback(t, e, outside.LastChange(t, e).ID)
	if got := inspect(t, e, name); got != before {
		t.Errorf("after the rollback the container is\n%s\nwas\n%s", got, before)
	}
	t.Logf("not begun %d times, undone %d times", unbegun, undone)
}
