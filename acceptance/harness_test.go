package acceptance

import (
	"syscall"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

func TestMain(m *testing.M) { outside.Main(m, "..") }

// TestHarness: the program reads the engine that it was told to, and /etc is
// our own.
func TestHarness(t *testing.T) {
	e := realdocker.Shared(t)
	if v := outside.Verdict(outside.Findings(t, e), "daemon-live-restore", "daemon/"+e.Socket); v != "fail" {
		t.Errorf("daemon-live-restore of a new engine: %q, want fail", v)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/etc", &fs); err != nil || fs.Type != 0x794c7630 { // OVERLAYFS_SUPER_MAGIC, linux/magic.h
		t.Errorf("/etc is of type %#x, not an overlay (%v)", fs.Type, err)
	}
}
