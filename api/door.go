package api

import (
	"os"
	"path/filepath"
	"time"

	"casco/internal/atomicfile"
	"casco/lang"
)

// A Door says where a guard judges what is asked of the engine. It is kept in a
// file, as a Mode is; no file is no door.
type Door struct {
	Socket string `json:"socket"` // the engine's public one, which the door takes; "" for none
	GID    int    `json:"gid"`    // of the group that may use it
	Plugin string `json:"plugin"` // name of the engine's authorization plugin; "" for none
}

// DoorFile is the file of the door in a state directory.
func DoorFile(state string) string { return filepath.Join(state, "door.json") }

// ReadDoor reads it; no file is the zero Door.
func ReadDoor(path string) (d Door, err error) { return d, read(path, &d) }

// WriteDoor replaces it in one act. The zero Door removes the file, which a disk
// that is full does not hinder.
func WriteDoor(path string, d Door) error {
	if d == (Door{}) {
		return atomicfile.Remove(path)
	}
	return write(path, d)
}

// A Glass is root's word that requests which would be refused are only observed
// for a while.
type Glass struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	By    string    `json:"by"`
	Why   string    `json:"why"`
}

// GlassTime is the longest that requests may be let through at a time.
const GlassTime = 4 * time.Hour

// GlassFile is the file of it in a state directory.
func GlassFile(state string) string { return filepath.Join(state, "glass.json") }

// ReadGlass reads it; no file is the zero Glass. One that anybody but root could
// have written is an error.
func ReadGlass(path string) (g Glass, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		return g, lang.Errorf(lang.Text{En: "%s: mode %v: others could have written it", Es: "%s: modo %v: otros podrían haberlo escrito"}, path, info.Mode())
	}
	return g, read(path, &g)
}

// WriteGlass replaces it in one act; the zero Glass removes it.
func WriteGlass(path string, g Glass) error {
	if g == (Glass{}) {
		return atomicfile.Remove(path)
	}
	return write(path, g)
}

// Left is how long g goes on at that time, never longer than GlassTime.
func (g Glass) Left(at time.Time) time.Duration {
	if at.Before(g.Since.Add(-time.Minute)) || g.Until.Sub(g.Since) > GlassTime { // a clock that was set back must not make it longer
		return 0
	}
	return max(g.Until.Sub(at), 0)
}

// A DoorStatus is what a guard says of its door.
type DoorStatus struct {
	Door
	// AtDoor and AtPlugin are how many requests were judged there.
	AtDoor   uint64 `json:"at_door"`
	AtPlugin uint64 `json:"at_plugin"`
	// Full is how many were refused because they take more room than there is.
	Full  uint64 `json:"full,omitempty"`
	Glass *Glass `json:"glass,omitempty"` // nil if what is refused is refused
}
