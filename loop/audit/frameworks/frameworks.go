// Package frameworks knows the published frameworks that checks map to: one
// catalogue file per edition, embedded. The titles are our own words; CIS, ISO,
// PCI and ISACA texts are not ours to ship.
//
// A catalogue is tab-separated: number, level ("L1", "L2" or empty), the number
// of its ancestor in the previous edition (empty if new or unknown), title in
// English, title in Spanish. Lines that begin with # are comments; the first
// comment is the name of the framework.
package frameworks

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"casco/lang"
)

//go:embed *.tsv
var files embed.FS

// A Requirement is one numbered requirement of a framework.
type Requirement struct {
	Number   string
	Level    string
	Ancestor string
	Title    lang.Text
}

// A Framework is one edition of a published framework.
type Framework struct {
	ID           string // "cis-docker-1.8.0": the file's name
	Name         string // "CIS Docker Benchmark v1.8.0"
	Requirements []Requirement
}

// Find returns the requirement with that number.
func (f *Framework) Find(number string) (Requirement, bool) {
	i := slices.IndexFunc(f.Requirements, func(r Requirement) bool { return r.Number == number })
	if i < 0 {
		return Requirement{}, false
	}
	return f.Requirements[i], true
}

// All returns the catalogues by their ID. A catalogue that does not parse is a
// defect of the build and panics; a test reads them all.
var All = sync.OnceValue(func() map[string]*Framework {
	all := map[string]*Framework{}
	names, err := fs.Glob(files, "*.tsv")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		f, err := parse(name)
		if err != nil {
			panic(err)
		}
		all[f.ID] = f
	}
	return all
})

func parse(name string) (*Framework, error) {
	file, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f := &Framework{ID: strings.TrimSuffix(path.Base(name), ".tsv")}
	sc := bufio.NewScanner(file)
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if c, ok := strings.CutPrefix(line, "#"); ok {
			if f.Name == "" {
				f.Name = strings.TrimSpace(c)
			}
			continue
		}
		if line == "" {
			continue
		}
		col := strings.Split(line, "\t")
		if len(col) != 5 {
			return nil, fmt.Errorf("%s:%d: %d columns, want 5", name, n, len(col))
		}
		f.Requirements = append(f.Requirements, Requirement{col[0], col[1], col[2], lang.Text{En: col[3], Es: col[4]}})
	}
	return f, sc.Err()
}
