package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// FileSchema names the format of a snapshot file.
const FileSchema = "casco/snapshot/v1"

type file struct {
	Schema  string    `json:"schema"`
	Host    string    `json:"host"`
	Taken   time.Time `json:"taken"`
	Objects []*Object `json:"objects"`
	Gaps    []Gap     `json:"gaps"`
}

// Write puts s into a file that Read takes back: judged again, it gives the
// same findings byte for byte.
func (s *Snapshot) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(file{FileSchema, s.Host, s.Taken, s.Objects, s.Gaps})
}

// ReadSnapshot reads what Write wrote. The file may come from anybody: one
// that is cut short, of another format, or not a snapshot is an error that
// says so; what it claims is judged, never believed further than that.
func ReadSnapshot(r io.Reader) (*Snapshot, error) {
	d := json.NewDecoder(r)
	d.UseNumber()
	var f file
	switch err := d.Decode(&f); {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, errors.New("the snapshot is cut short")
	case err != nil:
		return nil, fmt.Errorf("not a snapshot: %w", err)
	}
	if f.Schema != FileSchema {
		return nil, fmt.Errorf("the snapshot is of format %q, this casco reads %q", f.Schema, FileSchema)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the snapshot is followed by something else")
	}
	s := &Snapshot{Host: f.Host, Taken: f.Taken, Gaps: f.Gaps}
	seen := map[Ref]bool{}
	for i, o := range f.Objects {
		if o == nil || o.Ref.Kind == "" || o.Fields == nil {
			return nil, fmt.Errorf("object %d of the snapshot has no ref or no fields", i+1)
		}
		if seen[o.Ref] {
			return nil, fmt.Errorf("the snapshot has %s twice", o.Ref)
		}
		seen[o.Ref] = true
		s.Add(o)
	}
	s.Sort()
	return s, nil
}
