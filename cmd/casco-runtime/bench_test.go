package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"casco/host/gate"
	"casco/internal/handtest"
)

// BenchmarkWrapper times a call that does nothing: of busybox's "true" alone,
// through the wrapper, and through it with a start that is asked about. The
// start's state has the size of a plain container's of Docker's.
func BenchmarkWrapper(b *testing.B) {
	handtest.NeedRoot(b)
	busybox, err := exec.LookPath("busybox")
	handtest.Need(b, err == nil, "busybox")
	dir := b.TempDir()
	real := filepath.Join(dir, "true")
	must(b, os.Symlink(busybox, real))
	wrapper := build(b, dir+"/runtime.json")
	write(b, dir+"/runtime.json", fmt.Sprintf(`{"runtime": %q, "gate": %q}`, real, dir+"/gate.sock"))

	asleep := exec.Command(busybox, "sleep", "600")
	must(b, asleep.Start())
	defer func() { asleep.Process.Kill(); asleep.Wait() }()
	must(b, os.Mkdir(dir+"/c1", 0o700))
	padding := make([]byte, 30_000)
	for i := range padding {
		padding[i] = 'x'
	}
	write(b, dir+"/c1/state.json", fmt.Sprintf(`{"init_process_pid": %d, "config": {"rootfs": %q}}`, asleep.Process.Pid, padding))

	ctx, cancel := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() {
		served <- gate.Serve(ctx, dir+"/gate.sock", func(context.Context, gate.Start) error { return nil }, slog.New(slog.DiscardHandler))
	}()
	defer func() { cancel(); <-served }()
	for range 200 {
		if _, err := os.Stat(dir + "/gate.sock"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}

	for _, c := range []struct {
		name string
		argv []string
	}{
		{"runtime", []string{real, "--root", dir, "delete", "c1"}},
		{"wrapped", []string{wrapper, "--root", dir, "delete", "c1"}},
		{"wrapped-start", []string{wrapper, "--root", dir, "start", "c1"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if out, err := exec.Command(c.argv[0], c.argv[1:]...).CombinedOutput(); err != nil {
					b.Fatalf("%v %s", err, out)
				}
			}
		})
	}
}
