package daemonjson

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/internal/handtest"
)

// TestGiveBackFullDisk: a file gets its old bytes back where not one block is
// free, and so do others' changes to it stay.
func TestGiveBackFullDisk(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("casco-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		handtest.Need(t, false, "mount: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path, before := filepath.Join(dir, "daemon.json"), []byte("{\n  \"debug\": true\n}\n")
	if err := os.WriteFile(path, before, 0o644); err != nil {
		t.Fatal(err)
	}
	was, err := atomicfile.Save(path)
	if err != nil {
		t.Fatal(err)
	}
	with, err := Edit(before, Change{"authorization-plugins", []any{"casco"}}, Change{"hosts", []any{"unix:///run/casco-engine/docker.sock"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, with, 0o644); err != nil {
		t.Fatal(err)
	}
	full, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = full.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	change := func(now []byte) ([]byte, bool, error) { return without(now, "/run/docker.sock", "casco") }
	for range 2 {
		if err := giveBack(was, change); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != string(before) {
			t.Errorf("%v\n%s", err, got)
		}
	}
}

// TestDropIn has systemd read the drop-in of a socket unit, without starting it.
func TestDropIn(t *testing.T) {
	_, err := exec.LookPath("systemd-analyze")
	handtest.Need(t, err == nil, "systemd-analyze")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"docker.service":             "[Service]\nExecStart=/bin/true\n",
		"docker.socket":              "[Socket]\nListenStream=/run/docker.sock\nSocketMode=0660\n",
		"docker.socket.d/casco.conf": string(dropIn("/run/docker.sock")),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("systemd-analyze", "verify", filepath.Join(dir, "docker.socket")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
