package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestResolve: links are followed as the kernel follows them, to what is not
// there too.
func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"etc": "/etc", "late": "/not/there", "up": "data/../..", "near": "data", "chain": "near/../etc", "round": "round", "far": "near/../up/..",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"data": dir + "/data", "data/new/file": dir + "/data/new/file", "etc": "/etc", "etc/x": "/etc/x", "late": "/not/there", "late/x": "/not/there/x",
		"up": filepath.Dir(dir), "near": dir + "/data", "chain/ssh": "/etc/ssh", "near/../data": dir + "/data", "round": "/", "round/x": "/",
		"far": filepath.Dir(filepath.Dir(dir)),
	} {
		if got := resolve(dir + "/" + path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	begun := time.Now()
	if got := resolve(strings.Repeat("/a", 1<<19)); got != "/" || time.Since(begun) > time.Second {
		t.Errorf("a path that is too long: %.20s after %s", got, time.Since(begun))
	}
	if got := resolve("/"); got != "/" {
		t.Errorf("/: %s", got)
	}
}

// TestDoormanWaits: what changed is read soon and not at once, what did not only
// now and then, and what is opened at once.
func TestDoormanWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(d *doorman) // a second after the last reading
		want   time.Duration
	}{
		{"nothing", func(*doorman) {}, 5 * time.Minute},
		{"a change", (*doorman).turned, 15 * time.Second},
		{"two changes", func(d *doorman) { d.turned(); d.turned() }, 15 * time.Second},
		{"a change after long", func(d *doorman) { time.Sleep(time.Minute); d.turned() }, 61 * time.Second},
		{"a door", func(d *doorman) { d.opened <- struct{}{} }, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &doorman{opened: make(chan struct{}, 1), stale: make(chan struct{}, 1)}
				begun := time.Now()
				go func() {
					time.Sleep(time.Second)
					tt.happen(d)
				}()
				if !d.waits(t.Context(), 15*time.Second, 5*time.Minute) {
					t.Error("it waits no more")
				}
				if got := time.Since(begun); got != tt.want {
					t.Errorf("read after %s, want %s", got, tt.want)
				}
			})
		})
	}
}
