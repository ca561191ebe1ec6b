// Package packages reads which software the host's package manager has
// installed: dpkg (Debian, Ubuntu) and apk (Alpine), whose databases are text.
//
// The database of rpm is a binary format that is not read yet: where there is
// one, that is a Gap, and so is a host without any package manager that we
// know. No package there is not the same as no package found.
package packages

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/loop/inventory"
)

// databases of the managers that we read, and how.
var databases = []struct {
	path string
	read func(io.Reader, func(pkg)) error
}{
	{"/var/lib/dpkg/status", dpkg},
	{"/lib/apk/db/installed", apk},
	{"/usr/lib/apk/db/installed", apk}, // apk-tools 3
}

// rpmDatabases are the files of rpm's database in its three formats, at the
// places where Red Hat, SUSE and Fedora keep it.
var (
	rpmDatabases = []string{"Packages", "Packages.db", "rpmdb.sqlite"}
	rpmDirs      = []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"}
)

// A pkg is one installed package.
type pkg struct{ name, version, arch, source string }

// A Reader is the source of the package objects.
type Reader struct {
	root string
	only []string
}

// New returns a source that reads the databases under root, "" for the host's
// own. With names, which may end in *, it reads these packages only, else all.
func New(root string, names ...string) *Reader { return &Reader{root, names} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "packages" }

// Read implements inventory.Source. A package that is installed for two
// architectures is one object.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	var errs []error
	found := false
	now := time.Now().UTC()
	for _, db := range databases {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := os.Open(filepath.Join(r.root, db.path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		if err != nil {
			errs = append(errs, err)
			continue
		}
		err = db.read(f, func(p pkg) {
			if len(r.only) == 0 || slices.ContainsFunc(r.only, p.is) {
				s.Add(p.object(db.path, now))
			}
		})
		if err := errors.Join(err, f.Close()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", db.path, err))
		}
	}
	for _, dir := range rpmDirs {
		for _, name := range rpmDatabases {
			path := filepath.Join(dir, name)
			if _, err := os.Stat(filepath.Join(r.root, path)); err == nil {
				found = true
				errs = append(errs, fmt.Errorf("%s: the packages of rpm are not read yet", path))
			}
		}
	}
	if !found {
		errs = append(errs, errors.New("no database of dpkg, apk or rpm on this host"))
	}
	return errors.Join(errs...)
}

// is reports whether p has that name, which may end in *.
func (p pkg) is(name string) bool {
	head, star := strings.CutSuffix(name, "*")
	return p.name == name || star && strings.HasPrefix(p.name, head)
}

func (p pkg) object(from string, now time.Time) *inventory.Object {
	return &inventory.Object{
		Ref:    inventory.Ref{Kind: inventory.Package, Name: p.name},
		Source: from,
		Read:   now,
		Fields: map[string]any{"Version": p.version, "Architecture": p.arch, "SourcePackage": p.source},
	}
}

// maxLine is longer than any line of a database, in bytes.
const maxLine = 1 << 20

// stanzas hands each block of "key: value" lines to do. Lines that begin with a
// blank continue the one before and hold nothing that we read.
func stanzas(r io.Reader, do func(map[string]string)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	block := map[string]string{}
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			do(block)
			clear(block)
			continue
		}
		if key, value, ok := strings.Cut(line, ":"); ok && line[0] != ' ' && line[0] != '\t' {
			block[key] = strings.TrimSpace(value)
		}
	}
	do(block)
	return lines.Err()
}

// dpkg reads deb822(5) stanzas. The third word of Status is the state: what is
// removed but for its configuration files is not installed: dpkg(1).
func dpkg(r io.Reader, add func(pkg)) error {
	return stanzas(r, func(b map[string]string) {
		status := strings.Fields(b["Status"])
		if b["Package"] == "" || len(status) != 3 || status[2] == "not-installed" || status[2] == "config-files" {
			return
		}
		source, _, _ := strings.Cut(b["Source"], " ") // "name (version)"; absent if it is the package's own name
		if source == "" {
			source = b["Package"]
		}
		add(pkg{b["Package"], b["Version"], b["Architecture"], source})
	})
}

// apk reads its one-letter keys: P name, V version, A architecture, o origin.
func apk(r io.Reader, add func(pkg)) error {
	return stanzas(r, func(b map[string]string) {
		if b["P"] != "" {
			add(pkg{b["P"], b["V"], b["A"], b["o"]})
		}
	})
}
