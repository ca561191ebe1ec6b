package doorway

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestMove puts a socket behind another and back: whoever asks for the engine
// always reaches it, and it never has to listen anew.
func TestMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	listen := func(path string) *net.UnixListener {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		t.Cleanup(func() { l.Close() })
		return l
	}
	listen(path)
	engine, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(want, what string) {
		t.Helper()
		is, err := os.Stat(Socket(path))
		if err != nil || Socket(path) != want || !os.SameFile(is, engine) || !Listens(want) {
			t.Errorf("%s: the engine is reached at %s, want %s: %v", what, Socket(path), want, err)
		}
	}
	at(path, "before")
	if err := Move(path); err != nil {
		t.Fatal(err)
	}
	at(Behind(path), "moved")
	listen(path + ".door")
	if err := os.Rename(path+".door", path); err != nil {
		t.Fatal(err)
	}
	at(Behind(path), "a door in its place")
	if Name(Behind(path)) != path || Name(path) != path {
		t.Errorf("named %s and %s", Name(Behind(path)), Name(path))
	}
	if err := os.Chmod(filepath.Dir(Behind(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if Socket(path) != path {
		t.Error("a directory that others may enter counts")
	}
	for range 2 {
		if err := Return(path); err != nil {
			t.Fatal(err)
		}
		at(path, "returned")
	}
	if _, err := os.Stat(filepath.Dir(Behind(path))); !os.IsNotExist(err) {
		t.Errorf("the directory is left: %v", err)
	}
}
