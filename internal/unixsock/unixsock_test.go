package unixsock

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "s")
	l, err := Listen(path, 0o700, 0)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Listen(path, 0o700, 0); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("where somebody listens: %v", err)
	}
	l.Close()
	// What a process left that was killed.
	l, err = Listen(path, 0o700, 0)
	if err != nil {
		t.Fatalf("a socket that nobody listens at: %v", err)
	}
	defer l.Close()
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	shared, err := Listen(filepath.Join(dir, "shared"), 0o700, 12345)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	if info, err := os.Stat(filepath.Join(dir, "shared")); err != nil || info.Mode().Perm() != 0o660 || info.Sys().(*syscall.Stat_t).Gid != 12345 {
		t.Errorf("for a group: %v, %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, 0o700, 0); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("where a file is: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
	// Another's socket in its place is not taken away.
	if err := os.Rename(filepath.Join(dir, "shared"), path); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
	if err := shared.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another's socket: %v", err)
	}
	again, err := Listen(path, 0o700, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("its own socket: %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(filepath.Join(dir, "t"), 0o700, 0); err == nil || !strings.Contains(err.Error(), "others could") {
		t.Errorf("in a directory of all: %v", err)
	}
}
