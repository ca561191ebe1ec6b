package atomicfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

func TestWriteNewFileHasExactlyThatMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.conf")
	if err := Write(path, []byte("a=1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	is(t, path, "a=1\n", 0o666)
}

func TestWriteKeepsOwnerModeAndAttributes(t *testing.T) {
	handtest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "old.conf")
	put(t, path, "old\n", 0o600)
	must(t, os.Chown(path, 12, 34))
	must(t, os.Chmod(path, 0o640|os.ModeSetgid))
	must(t, unix.Setxattr(path, "user.note", []byte("kept"), 0))
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // net_bind_service=p, vfs_cap_data v2
	must(t, unix.Setxattr(path, "security.capability", capability, 0))
	must(t, Write(path, []byte("new\n"), 0o777))
	is(t, path, "new\n", 0o640|os.ModeSetgid)
	at, err := attributesOf(path)
	must(t, err)
	if at.Uid != 12 || at.Gid != 34 {
		t.Errorf("owner is %d:%d, was 12:34", at.Uid, at.Gid)
	}
	if string(at.Xattrs["user.note"]) != "kept" || !bytes.Equal(at.Xattrs["security.capability"], capability) {
		t.Errorf("attributes are %q", at.Xattrs)
	}
}

func TestWriteFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "real/sub"), 0o755))
	must(t, os.Symlink("real/sub", filepath.Join(dir, "short")))
	real := filepath.Join(dir, "real/there.conf")
	link := filepath.Join(dir, "real/sub/link.conf")
	put(t, real, "old\n", 0o644)
	must(t, os.Symlink("../there.conf", link))
	// ".." must be the parent of what "short" points to.
	must(t, Write(filepath.Join(dir, "short/link.conf"), []byte("new\n"), 0o644))
	is(t, real, "new\n", 0o644)
	if to, err := os.Readlink(link); err != nil || to != "../there.conf" {
		t.Errorf("the link is %q, %v", to, err)
	}

	dangling := filepath.Join(dir, "dangling")
	must(t, os.Symlink("real/made.conf", dangling))
	must(t, Write(dangling, []byte("made\n"), 0o640))
	is(t, filepath.Join(dir, "real/made.conf"), "made\n", 0o640)
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	masked := filepath.Join(dir, "masked.conf")
	must(t, os.Symlink("/dev/null", masked))
	twice := filepath.Join(dir, "one")
	put(t, twice, "x", 0o644)
	must(t, os.Link(twice, filepath.Join(dir, "two")))
	loop := filepath.Join(dir, "loop")
	must(t, os.Symlink("loop", loop))
	for path, why := range map[string]string{
		masked:                     "is a device, not a regular file",
		dir:                        "is a directory",
		twice:                      "2 hard links",
		loop:                       "too many levels of symbolic links",
		filepath.Join(dir, "a/b"):  "no such file or directory",
		filepath.Join(loop, "sub"): "too many levels",
	} {
		if err := Write(path, []byte("y"), 0o644); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v, want %q", path, err, why)
		}
		if _, err := Save(path); err == nil && why != "no such file or directory" {
			t.Errorf("%s: can be saved, although it cannot be written", path)
		}
	}
	is(t, twice, "x", 0o644)
	if st, err := os.Stat("/dev/null"); err != nil || st.Mode().IsRegular() {
		t.Fatalf("/dev/null: %v, %v", st, err)
	}
}

func TestFullDiskLeavesTheOldFile(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount("casco-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,nr_inodes=8"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(dir, "a.conf")
	must(t, Write(path, []byte("old\n"), 0o644))
	err := Write(path, bytes.Repeat([]byte("x"), 1<<20), 0o644)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want ENOSPC", err)
	}
	is(t, path, "old\n", 0o644)
	only(t, dir, "a.conf")
}

func TestLeftoverOfADeadWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.conf")
	put(t, temporary(path), "half of a fi", 0o600)
	must(t, Write(path, []byte("whole\n"), 0o644))
	is(t, path, "whole\n", 0o644)
	only(t, dir, "a.conf")

	put(t, temporary(path), "half of a fi", 0o600)
	must(t, Remove(path))
	must(t, Remove(path))
	only(t, dir)
}

func TestWritersExcludeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.conf")
	var wg sync.WaitGroup
	for i := range 8 {
		data := bytes.Repeat([]byte{byte('a' + i)}, 4096)
		wg.Go(func() {
			for range 5 {
				if err := Write(path, data, 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(path)
	must(t, err)
	if len(data) != 4096 || len(bytes.Trim(data, string(data[:1]))) != 0 {
		t.Errorf("the file is a mixture of %d bytes", len(data))
	}
	only(t, filepath.Dir(path), "a.conf")
}

func TestSaveAndRestore(t *testing.T) {
	dir := t.TempDir()
	there, gone := filepath.Join(dir, "there"), filepath.Join(dir, "gone")
	put(t, there, "old\n", 0o600)
	for _, path := range []string{there, gone} {
		saved, err := Save(path)
		must(t, err)
		b, err := json.Marshal(saved)
		must(t, err)
		saved = Saved{}
		must(t, json.Unmarshal(b, &saved))
		for _, change := range []func(){
			func() {},
			func() { must(t, Write(path, []byte("new\n"), 0o644)) },
			func() { must(t, Remove(path)) },
		} {
			change()
			must(t, saved.Restore())
			must(t, saved.Restore())
		}
	}
	is(t, there, "old\n", 0o600)
	only(t, dir, "there")
}

func put(t *testing.T, path, data string, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(data), mode))
	must(t, os.Chmod(path, mode))
}

func is(t *testing.T, path, data string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Lstat(path)
	must(t, err)
	if string(got) != data || info.Mode() != mode {
		t.Errorf("%s: %q %v, want %q %v", path, got, info.Mode(), data, mode)
	}
}

func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	must(t, err)
	var got []string
	for _, e := range es {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
