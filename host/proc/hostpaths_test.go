package proc

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
)

// TestTree: a path leads where its links and its mounts lead, and what another
// process mounts is known by its place on the host.
func TestTree(t *testing.T) {
	handtest.NeedRoot(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"real/in", "bound", "above/below", "plain"} {
		if err := os.MkdirAll(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("real/in", at("link")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"bound", "above/below"} {
		if err := syscall.Mount(at("real"), at(target), "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(at(target), syscall.MNT_DETACH) })
	}
	tree, err := OpenTree(0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for name, want := range map[string][]string{
		"plain":         {"plain"},
		"link":          {"real/in"},
		"bound":         {"bound", "real"},
		"bound/in":      {"bound/in", "real/in"},
		"above":         {"above", "real"},
		"link/not/here": nil,
		"":              {""}, // what is mounted in it, is in it
	} {
		for i := range want {
			want[i] = at(want[i])
		}
		if diff := cmp.Diff(want, tree.Paths(at(name))); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}

	links, err := OpenTree(0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	for name, want := range map[string]string{"link": "real/in", "bound": "bound", "above": "above"} {
		if diff := cmp.Diff([]string{at(want)}, links.Paths(at(name))); diff != "" {
			t.Errorf("%q by its links: %s", name, diff)
		}
	}

	cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" "$2" && mount -o remount,ro,bind "$2" && echo mounted && read x`, "sh", at("link"), at("plain"))
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := cmp.Diff([]error{nil, nil, nil}, []error{err1, err2, cmd.Start()}); err != "" {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("%q %v", line, err)
	}
	shown, err := tree.Shown(cmd.Process.Pid)
	want := Shown{Target: at("plain"), Path: at("real/in"), ReadOnly: true}
	if i := slices.IndexFunc(shown, func(s Shown) bool { s.Type = ""; return s == want }); i < 0 {
		t.Errorf("%v, want among them %+v: %+v", err, want, shown)
	}
}

// TestSame: a namespace is itself by all its names, and what is not there is none.
func TestSame(t *testing.T) {
	if !Same("/proc/self/ns/net", "/proc/thread-self/ns/net") || Same("/proc/self/ns/net", "/proc/self/ns/pid") || Same("/nowhere", "/nowhere") {
		t.Error("namespaces are not told apart")
	}
}
