package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"casco/lang"
)

// A Document is a file with the signatures that lie beside it, NAME.sig and
// NAME.PERSON.sig. What is signed is exactly Bytes.
type Document struct {
	Path       string
	Bytes      []byte
	Signatures [][]byte // in order of their file names
}

var riskID = regexp.MustCompile(`^R-[0-9a-f]+$`)

// AddTreatment keeps what was decided about a risk and returns where. A
// decision is never written over: the next one about the same risk has the next
// number.
func (d Dir) AddTreatment(risk string, doc []byte) (path string, err error) {
	if !riskID.MatchString(risk) {
		return "", lang.Errorf(lang.Text{En: "%q is not the ID of a risk", Es: "%q no es el identificador de un riesgo"}, risk)
	}
	dir := filepath.Join(d.path, "treatments")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := written(dir, doc)
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp)
	for n := 1; ; n++ {
		path = filepath.Join(dir, fmt.Sprintf("%s.%03d.json", risk, n))
		if err := os.Link(tmp, path); !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
}

// written puts doc on stable storage under a name that nobody reads.
func written(dir string, doc []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(doc)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// Treatments returns all decisions, in order of risks and numbers.
func (d Dir) Treatments() ([]Document, error) {
	dir := filepath.Join(d.path, "treatments")
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	slices.Sort(names)
	var out []Document
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") || name[0] == '.' {
			continue
		}
		doc := Document{Path: filepath.Join(dir, name)}
		if doc.Bytes, err = os.ReadFile(doc.Path); err != nil {
			return nil, err
		}
		for _, sig := range names {
			if rest, ok := strings.CutPrefix(sig, name); ok && strings.HasSuffix(rest, ".sig") {
				b, err := os.ReadFile(filepath.Join(dir, sig))
				if err != nil {
					return nil, err
				}
				doc.Signatures = append(doc.Signatures, b)
			}
		}
		out = append(out, doc)
	}
	return out, nil
}
