package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/handtest"
	"casco/internal/realdocker"
)

// smallDisk makes a file system of a size and mounts it until the test ends.
// It is no tmpfs: the engine's databases are mapped, and a page of a full
// tmpfs that was never written ends who touches it.
func smallDisk(t *testing.T, size string) (at string) {
	t.Helper()
	dir := worldDir(t)
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o711); err != nil {
		t.Fatal(err)
	}
	tool(t, "truncate", "-s", size, image)
	tool(t, "mkfs.ext4", "-q", "-m", "0", image)
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		handtest.Need(t, false, "loop devices: "+string(out))
	}
	t.Cleanup(func() { tool(t, "umount", "-l", at) })
	return at
}

// TestFullConfigDisk: the disk of daemon.json is full when a change, or its
// rollback, wants to write. The file stays whole, the engine runs, casco says
// why, and with room again the same rollback succeeds.
func TestFullConfigDisk(t *testing.T) {
	e := realdocker.Start(t)
	etc := smallDisk(t, "1m")
	config := filepath.Join(etc, "daemon.json")
	put(t, config, "{\"debug\": false}\n")
	replace(t, e, os.Symlink(config, e.Config+".x"))
	for check, now := range map[string]func() string{
		"daemon-live-restore":   func() string { return e.Docker("info", "-f", "{{.LiveRestoreEnabled}}") }, // by a reload
		"daemon-userland-proxy": func() string { return "" },                                                // by a restart
	} {
		t.Run(check, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "plan.json")
			casco(t, e, "plan", "--check", check, "--ref", "daemon/"+e.Socket, "-o", file)
			casco(t, e, "approve", file, "--yes")
			before, ran := kept(t, config, true), now()
			fill(t, etc, 0)
			out, errs, code := casco(t, e, "apply", file, "--yes")
			wants(t, out+errs, code, 1, "no space left on device", e.Config, "was undone")
			if got := kept(t, config, true); got != before || now() != ran || lastChange(t, e).State != "undone" {
				t.Errorf("undone, and daemon.json is\n%s\nwas\n%s\nengine %s, was %s", got, before, now(), ran)
			}
			os.Remove(filepath.Join(etc, "filler"))
			id := planApplyVerify(t, e, "--check", check, "--ref", "daemon/"+e.Socket)
			after, runs := kept(t, config, true), now()
			fill(t, etc, 0)
			out, errs, code = casco(t, e, "rollback", id, "--yes")
			wants(t, out+errs, code, 1, "no space left on device", "could NOT be undone", "casco rollback "+id)
			if got := kept(t, config, true); got != after || now() != runs {
				t.Errorf("not taken back, and daemon.json is\n%s\nwas\n%s\nengine %s, was %s", got, after, now(), runs)
			}
			alive(t, e)
			os.Remove(filepath.Join(etc, "filler"))
			rollback(t, e, id)
			if got := mustRead(t, config); got != "{\"debug\": false}\n" || now() != ran {
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
	data := smallDisk(t, "32m")
	e := realdocker.Start(t, "--dockerd-arg", "--data-root="+data)
	e.Image("web:1")
	name := container(t, e, "app", "-v", "/srv", "--pid", "host")
	inside(t, e, name, "sh", "-c", "echo precious >/srv/f")
	ref := "container/" + name
	before, listed := inspect(t, e, name), e.Docker("ps", "-a", "--format", "{{.ID}} {{.Names}}")
	unbegun, undone := 0, 0
	for free := 0; free <= 4<<20; free = max(2*free, 4<<10) {
		file := filepath.Join(t.TempDir(), "plan.json")
		casco(t, e, "plan", "--check", "container-host-pid", "--ref", ref, "-o", file)
		casco(t, e, "approve", file, "--yes")
		fill(t, data, free)
		out, errs, code := casco(t, e, "apply", file, "--yes")
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
		if c := lastChange(t, e); c.State != "undone" {
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
	rollback(t, e, lastChange(t, e).ID)
	if got := inspect(t, e, name); got != before {
		t.Errorf("after the rollback the container is\n%s\nwas\n%s", got, before)
	}
	t.Logf("not begun %d times, undone %d times", unbegun, undone)
}
