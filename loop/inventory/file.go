package inventory

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"casco/lang"
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
		return nil, lang.Errorf(lang.Text{En: "the snapshot is cut short", Es: "la instantánea está cortada"})
	case err != nil:
		return nil, lang.Errorf(lang.Text{En: "not a snapshot: %w", Es: "no es una instantánea: %w"}, err)
	}
	if f.Schema != FileSchema {
		return nil, lang.Errorf(lang.Text{
			En: "the snapshot is of format %q, this casco reads %q",
			Es: "la instantánea es de formato %q, este casco lee %q",
		}, f.Schema, FileSchema)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, lang.Errorf(lang.Text{En: "the snapshot is followed by something else", Es: "a la instantánea le sigue otra cosa"})
	}
	s := &Snapshot{Host: f.Host, Taken: f.Taken, Gaps: f.Gaps}
	seen := map[Ref]bool{}
	for i, o := range f.Objects {
		if o == nil || o.Ref.Kind == "" || o.Fields == nil {
			return nil, lang.Errorf(lang.Text{
				En: "object %d of the snapshot has no ref or no fields",
				Es: "el objeto %d de la instantánea no tiene ref o no tiene campos",
			}, i+1)
		}
		if seen[o.Ref] {
			return nil, lang.Errorf(lang.Text{En: "the snapshot has %s twice", Es: "la instantánea tiene %s dos veces"}, o.Ref)
		}
		seen[o.Ref] = true
		s.Add(o)
	}
	s.Sort()
	return s, nil
}
