package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chmod(path, mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadLayer(t *testing.T) {
	dir := t.TempDir()
	key := newKey(t, "PRIVATE KEY")
	put(t, dir+"/bin/su", "x", 0o755|os.ModeSetuid)
	put(t, dir+"/bin/wall", "x", 0o755|os.ModeSetgid)
	put(t, dir+"/bin/ls", "x", 0o755)
	must(t, os.Mkdir(dir+"/shared", 0o755))
	must(t, os.Chmod(dir+"/shared", 0o755|os.ModeSetgid)) // of a directory it means another thing
	put(t, dir+"/root/.ssh/id_ed25519", key, 0o600)
	put(t, dir+"/srv/tests/key.pem", key, 0o600)
	put(t, dir+"/srv/big.pem", strings.Repeat("\n", readMost)+key, 0o600) // beyond what is read
	put(t, dir+"/srv/data", strings.Repeat("x", readMost+1), 0o600)       // not looked at
	put(t, dir+"/srv/\xff\x1b[2J.key", key, 0o600)                        // a name that no terminal should see
	put(t, dir+"/srv/aaa", strings.Repeat("a", headMost-5)+key, 0o600)    // not at its beginning
	must(t, os.Symlink("/etc/shadow", dir+"/root/.netrc"))                // leads out of the layer
	must(t, os.Symlink("/", dir+"/out"))                                  // and so would a walk
	must(t, syscall.Mkfifo(dir+"/root/.vault-token", 0o600))              // would block for ever
	must(t, os.Symlink(dir+"/root/.ssh/id_ed25519", dir+"/srv/link.key")) // what it leads to has its own name
	must(t, os.WriteFile(dir+"/empty.pem", nil, 0o600))

	got, err := readLayer(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	got.Index, got.Files, got.Bytes, got.Programs = nil, 0, 0, nil // of them speaks TestCompose
	want := Layer{
		Setuid: []string{"/bin/su", "/bin/wall"},
		Material: []Material{
			{Path: "/root/.ssh/id_ed25519", What: privateKey},
			{Path: "/srv/tests/key.pem", What: privateKey, Sample: true},
			{Path: "/srv/\xff\x1b[2J.key", What: privateKey},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadLayerGivesUp(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	put(t, dir+"/x", "x", 0o600)
	if _, err := readLayer(over, dir); err == nil {
		t.Error("goes on after its time is over")
	}
	if _, err := readLayer(t.Context(), dir+"/none"); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a layer that is not there: %v", err)
	}
	must(t, os.Symlink(dir, dir+"/link"))
	if _, err := readLayer(t.Context(), dir+"/link"); err == nil {
		t.Error("a link was taken for a layer")
	}
	many := t.TempDir()
	for i := range foundMost + 1 {
		must(t, os.WriteFile(filepath.Join(many, strings.Repeat("f", 1+i%200)+string(rune('0'+i/200))), nil, 0o600))
	}
	es, err := os.ReadDir(many)
	must(t, err)
	for _, e := range es {
		must(t, os.Chmod(filepath.Join(many, e.Name()), 0o755|os.ModeSetuid))
	}
	if _, err := readLayer(t.Context(), many); err == nil || !strings.Contains(err.Error(), "more than 2000 files") {
		t.Errorf("%d setuid files: %v", len(es), err)
	}
}

// TestReadLayerDeep: directories so deep that no path names them are walked by
// their descriptors, and given up at a depth that no image needs.
func TestReadLayerDeep(t *testing.T) {
	handtest.NeedRoot(t) // t.TempDir removes by path, and cannot
	top, err := os.MkdirTemp("", "deep")
	must(t, err)
	t.Cleanup(func() { must(t, removeDeep(top)) })
	name := strings.Repeat("d", 200)
	nest := func(levels int) {
		fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		for range levels {
			_ = unix.Mkdirat(fd, name, 0o755)
			next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
			must(t, err)
			unix.Close(fd)
			fd = next
		}
		f, err := unix.Openat(fd, "su", unix.O_CREAT|unix.O_WRONLY, 0o755)
		must(t, err)
		must(t, unix.Fchmod(f, 0o4755))
		unix.Close(f)
		unix.Close(fd)
	}
	nest(50) // 10,000 bytes
	got, err := readLayer(t.Context(), top)
	if err != nil || len(got.Setuid) != 1 || len(got.Setuid[0]) < 10_000 {
		t.Errorf("%d files, %v", len(got.Setuid), err)
	}
	nest(depthMost + 2)
	if _, err := readLayer(t.Context(), top); err == nil || !strings.Contains(err.Error(), "in one another") {
		t.Errorf("beyond all depth: %v", err)
	}
}

// removeDeep lifts what lies two levels down to the first one, until nothing is
// deep.
func removeDeep(dir string) error {
	for n := 0; ; {
		es, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(es) == 0 {
			return os.Remove(dir)
		}
		for _, e := range es {
			path := filepath.Join(dir, e.Name())
			below, _ := os.ReadDir(path)
			for _, b := range below {
				n++
				if err := os.Rename(filepath.Join(path, b.Name()), filepath.Join(dir, fmt.Sprint("up", n))); err != nil {
					return err
				}
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
}

// TestOpaque: what hides a lower directory in overlay2 is in the index.
func TestOpaque(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	must(t, unix.Mkdir(dir+"/a", 0o755))
	must(t, unix.Mknod(dir+"/a/deleted", unix.S_IFCHR, 0))
	must(t, unix.Mknod(dir+"/gone", unix.S_IFCHR, 0)) // a whole directory
	must(t, unix.Mkdir(dir+"/opaque", 0o755))
	must(t, unix.Setxattr(dir+"/opaque", "trusted.overlay.opaque", []byte("y"), 0))
	put(t, dir+"/a/replaced", "x", 0o644)
	put(t, dir+"/file", "x", 0o644) // was a directory
	must(t, os.Symlink("a", dir+"/link"))
	got, err := readLayer(t.Context(), dir)
	must(t, err)
	for path, want := range map[string]bool{
		"/a/other": false, "/b/c": false, "/a": true, // something of that name stands above
		"/a/deleted": true, "/gone/b/c": true, "/opaque/x": true, "/a/replaced": true, "/file/x": true, "/link/x": true,
	} {
		if hides := got.Index.hides(path); hides != want {
			t.Errorf("%s is hidden: %v, want %v", path, hides, want)
		}
	}
}
