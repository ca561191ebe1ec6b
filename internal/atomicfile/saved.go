package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"casco/lang"
)

// A Saved is a file as it once was, or the knowledge that there was none. It
// is what a hand keeps for its undo; it survives JSON.
type Saved struct {
	Path       string     `json:"path"`
	Exists     bool       `json:"exists"`
	Data       []byte     `json:"data,omitempty"`
	Attributes attributes `json:"attributes,omitzero"`
}

// Save reads path. That it does not exist is no error; that it is no regular
// file, or that Write would refuse it, is.
func Save(path string) (Saved, error) {
	target, err := resolve(path)
	if err != nil {
		return Saved{}, lang.Errorf(lang.Text{En: "read %s: %w", Es: "leer %s: %w"}, path, err)
	}
	at, err := attributesOf(target)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return Saved{Path: path}, nil
	}
	if err != nil {
		return Saved{}, lang.Errorf(lang.Text{En: "read %s: %w", Es: "leer %s: %w"}, path, err)
	}
	data, err := os.ReadFile(target)
	if err != nil {
		return Saved{}, err
	}
	return Saved{Path: path, Exists: true, Data: data, Attributes: at}, nil
}

// Restore brings the file back as it was saved: its content, or its absence. A
// file that has the saved content already is not touched. Owner and mode of a
// file that is there stay as they are now; one that is gone is made with those
// that it had.
func (s Saved) Restore() error {
	if !s.Exists {
		return Remove(s.Path)
	}
	if now, err := os.ReadFile(s.Path); err == nil && bytes.Equal(now, s.Data) {
		return nil
	}
	return write(s.Path, s.Data, s.Attributes)
}
