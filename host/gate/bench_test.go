package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"casco/internal/handtest"
)

// BenchmarkWatch times an exec that does nothing (busybox's "true" under the
// name of a runtime): not watched, watched with a verb that is let pass, and
// watched with one that is judged. The guard is a process of its own.
func BenchmarkWatch(b *testing.B) {
	handtest.NeedRoot(b)
	busybox, err := exec.LookPath("busybox")
	handtest.Need(b, err == nil, "busybox")
	for _, c := range []struct {
		name, verb string
		watched    bool
	}{{"unwatched", "delete", false}, {"passed", "delete", true}, {"judged", "run", true}} {
		path := filepath.Join(b.TempDir(), "runc")
		copyFile(b, busybox, path)
		if c.watched {
			startGuard(b, path, WatchConfig{Binaries: []string{path}})
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				cmd := exec.Command(path, c.verb, "c1")
				cmd.Args[0] = "true"
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
		os.Remove(path)
	}
}
