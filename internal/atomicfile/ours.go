package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// Ours is a file that belongs to casco: a drop-in of some other program's
// configuration, with a first line that says so and one line for each key.
// Lines that hold no key (somebody's comment) stay where they are.
type Ours struct {
	Path   string
	Header string                           // the first line, without its end
	Key    func(line string) (string, bool) // the key of a line; false if it holds none
	Perm   fs.FileMode                      // of the file, when it is made
}

// An Edit is the setting of one line in a file of ours, and all that is needed
// to take it back. It survives JSON. Several edits of one file can be taken
// back in any order: each takes back its own line.
type Edit struct {
	Key     string `json:"key"`
	Line    string `json:"line"`
	Was     Saved  `json:"was"`
	MadeDir bool   `json:"made_dir,omitempty"` // its directory was not there
}

// Prepare reads the file and says what it takes to set key's line; it changes
// nothing. A file that lacks the header is somebody else's and refused.
func (o Ours) Prepare(key, line string) (Edit, error) {
	if k, ok := o.Key(line); !ok || k != key || strings.ContainsAny(line, "\n\r\x00") {
		return Edit{}, lang.Errorf(lang.Text{En: "%s: %q is not one line for %q", Es: "%s: %q no es una línea para %q"}, o.Path, line, key)
	}
	was, err := Save(o.Path)
	if err != nil {
		return Edit{}, err
	}
	if was.Exists && !bytes.HasPrefix(was.Data, []byte(o.Header+"\n")) {
		return Edit{}, lang.Errorf(lang.Text{
			En: "%s: is not casco's: its first line is not %q",
			Es: "%s: no es de casco: su primera línea no es %q",
		}, o.Path, o.Header)
	}
	_, err = os.Stat(filepath.Dir(o.Path))
	return Edit{Key: key, Line: line, Was: was, MadeDir: errors.Is(err, fs.ErrNotExist)}, nil
}

// Preview is the content of the file with e in it, if nobody changed it since.
func (o Ours) Preview(e Edit) []byte { return o.with(e.Was.Data, e.Key, e.Line) }

// Do sets the line in the file as it is now.
func (o Ours) Do(e Edit) error {
	if e.MadeDir {
		if err := os.Mkdir(filepath.Dir(o.Path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	now, err := o.read()
	if err != nil {
		return err
	}
	return Write(o.Path, o.with(now, e.Key, e.Line), o.Perm)
}

// Undo takes the line back. A file that holds nothing but what e made of it is
// restored to the byte, or removed; in one that has been changed since, the
// line becomes what it was before, and only if it is still e's.
func (o Ours) Undo(e Edit) error {
	now, err := o.read()
	if err != nil {
		return err
	}
	switch {
	case bytes.Equal(now, o.with(e.Was.Data, e.Key, e.Line)) || len(now) == 0:
		err = e.Was.Restore()
	case o.line(now, e.Key) == e.Line:
		back := o.with(now, e.Key, o.line(e.Was.Data, e.Key))
		if string(back) == o.Header+"\n" { // the last line of ours
			err = Remove(o.Path)
		} else {
			err = Write(o.Path, back, o.Perm)
		}
	}
	if err != nil || !e.MadeDir {
		return err
	}
	// Only if it is empty: others may use it by now.
	err = unix.Rmdir(filepath.Dir(o.Path))
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: filepath.Dir(o.Path), Err: err}
	}
	return nil
}

// Foreign says what somebody made of e's line after e: now is "" if it is
// gone. ok is false if the line is e's, or what it was before e.
func (o Ours) Foreign(e Edit) (before, now string, ok bool, err error) {
	data, err := o.read()
	if err != nil {
		return "", "", false, err
	}
	before, now = o.line(e.Was.Data, e.Key), o.line(data, e.Key)
	return before, now, now != e.Line && now != before, nil
}

// read returns the content, nil if there is no file.
func (o Ours) read() ([]byte, error) {
	data, err := os.ReadFile(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// line returns the last line of key in data, which is the one that counts, ""
// if there is none.
func (o Ours) line(data []byte, key string) (last string) {
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if k, ok := o.Key(line); ok && k == key {
			last = line
		}
	}
	return last
}

// with returns data with line as the only line of key: in place of the last
// one, else before the first key that sorts after it, else at the end. An
// empty line takes the key out.
func (o Ours) with(data []byte, key, line string) []byte {
	var lines []string
	if text := strings.TrimSuffix(string(data), "\n"); text != "" {
		lines = strings.Split(text, "\n")
	} else {
		lines = []string{o.Header}
	}
	at, after := -1, len(lines)
	for i := len(lines) - 1; i > 0; i-- {
		switch k, ok := o.Key(lines[i]); {
		case ok && k == key && at < 0:
			at = i
		case ok && k == key: // an earlier one of the same key
			lines = slices.Delete(lines, i, i+1)
			at, after = at-1, after-1
		case ok && k > key:
			after = i
		}
	}
	switch {
	case at >= 0 && line == "":
		lines = slices.Delete(lines, at, at+1)
	case at >= 0:
		lines[at] = line
	case line != "":
		lines = slices.Insert(lines, after, line)
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}
