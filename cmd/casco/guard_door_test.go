package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
