package advisories

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"casco/lang"
	"casco/signed"
)

// Signature is where the signature of the database at path is kept: it is what
// "ssh-keygen -Y sign -n casco-advisories PATH" makes.
func Signature(path string) string { return path + ".sig" }

// Sign signs the database at path.
func Sign(path string, s signed.Signer) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return s.SignFrom(signed.Advisories, f)
}

var (
	// ErrOlder is wrapped by Import for a database that has less than what is
	// there.
	ErrOlder = lang.Errorf(lang.Text{En: "it is older than the one that is there", Es: "es más vieja que la que hay"})
	// ErrAhead is wrapped by Import for one from the future, after which none
	// could be imported any more.
	ErrAhead = lang.Errorf(lang.Text{En: "it is dated ahead of this host's clock", Es: "su fecha está adelantada al reloj de este anfitrión"})
)

// ahead is how far the clock of whoever built a database may be ahead.
const ahead = time.Hour

// Import takes the database in the file from, with the signature armored, in
// place of what is at path. It must be signed by one of allowed, be whole, be
// of a time that has been, and have no source that is older than there is now,
// unless older says that this is wanted. What is refused leaves no trace.
func Import(from string, armored []byte, allowed []signed.Key, path string, at time.Time, older bool) (info Info, by signed.Key, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Info{}, by, err
	}
	// What is verified is a copy: nobody can change it between the looks.
	tmp, err := copied(from, filepath.Dir(path))
	if err != nil {
		return Info{}, by, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	f, err := os.Open(tmp)
	if err != nil {
		return Info{}, by, err
	}
	by, err = signed.VerifyFrom(armored, signed.Advisories, f, allowed)
	if err = errors.Join(err, f.Close()); err != nil {
		return Info{}, by, err
	}
	d, err := open(tmp)
	if err != nil {
		return Info{}, by, err
	}
	info = d.info
	if err := errors.Join(d.check(), d.Close()); err != nil {
		return Info{}, by, err
	}
	if info.Made.After(at.Add(ahead)) {
		return Info{}, by, lang.Errorf(lang.Text{En: "made %s: %w", Es: "hecha %s: %w"}, info.Made.Format(time.RFC3339), ErrAhead)
	}
	if !older {
		if err := newer(path, info); err != nil {
			return Info{}, by, err
		}
	}
	if err := write(Signature(path), armored); err != nil {
		return Info{}, by, err
	}
	return info, by, place(tmp, path)
}

// copied is a copy of the regular file from in dir, readable by nobody else
// until it is known what it is.
func copied(from, dir string) (path string, err error) {
	in, _, err := regular(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, ".advisories-*.new")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), nil
}

func write(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// check lets SQLite look whether the file is whole.
func (d *DB) check() error {
	var said string
	if err := d.db.QueryRow("PRAGMA quick_check(1)").Scan(&said); err != nil {
		return damage(err)
	}
	if said != "ok" {
		return lang.Errorf(lang.Text{En: "it is damaged: %s", Es: "está dañada: %s"}, said)
	}
	return nil
}

// newer is an error if info has less than the database at path: it was made
// before, lacks a source, or has one that is older. There may be none, or one
// that cannot be read, which anything is better than.
func newer(path string, info Info) error {
	d, err := Open(path)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	now := d.info
	if err := d.Close(); err != nil {
		return err
	}
	if info.Made.Before(now.Made) {
		return lang.Errorf(lang.Text{En: "made %s, the one that is there %s: %w", Es: "hecha %s, la que hay %s: %w"},
			info.Made.Format(time.RFC3339), now.Made.Format(time.RFC3339), ErrOlder)
	}
	for _, s := range now.Sources {
		then, ok := info.source(s.Kind, s.Name)
		switch {
		case s.Kind == OSV && !ok:
			return lang.Errorf(lang.Text{En: "it lacks %s, which is there: %w", Es: "le falta %s, que está: %w"}, s.Name, ErrOlder)
		case ok && then.Newest.Before(s.Newest):
			return lang.Errorf(lang.Text{En: "%s is of %s in it, of %s in the one that is there: %w", Es: "%s es de %s en ella, de %s en la que hay: %w"},
				s.Name, then.Newest.Format(time.RFC3339), s.Newest.Format(time.RFC3339), ErrOlder)
		}
	}
	return nil
}

func (i Info) source(kind Kind, name string) (Source, bool) {
	for _, s := range i.Sources {
		if s.Kind == kind && (s.Name == name || kind != OSV && kind != Distro) {
			return s, true
		}
	}
	return Source{}, false
}

// SignedBy is the key that the database at path is signed with, if it is one of
// allowed. It is fs.ErrNotExist if it is not signed: it was built here.
func SignedBy(path string, allowed []signed.Key) (signed.Key, error) {
	armored, err := os.ReadFile(Signature(path))
	if err != nil {
		return signed.Key{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return signed.Key{}, err
	}
	defer f.Close()
	return signed.VerifyFrom(armored, signed.Advisories, f, allowed)
}

// Unsign takes away the signature of what was at path before.
func Unsign(path string) error {
	if err := os.Remove(Signature(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
