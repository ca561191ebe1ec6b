package handtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Stop stops a process (SIGSTOP), and waits until none of its threads runs any
// more: the signal is one thread's to take, and the others go on until it does.
func Stop(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		runs := err != nil || len(threads) == 0
		for _, path := range threads {
			b, err := os.ReadFile(path)
			runs = runs || err == nil && !strings.Contains(string(b), ") T ") // proc_pid_stat(5)
		}
		if !runs {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d does not stop", pid)
}
