package advisories

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"casco/lang"
	"casco/vuln"
)

// An Input is a file to build from. What it is is told by what is in it.
type Input struct {
	Path string
	// Of what was downloaded: from where, and when the server last said that
	// it is as it is. Zero of a file that lay there.
	URL string
	At  time.Time
}

func stat(path string) (fs.FileInfo, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err == nil && !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return st, err
}

var errNotRegular = lang.Errorf(lang.Text{En: "it is not a regular file", Es: "no es un archivo regular"})

// regular opens a regular file, and waits for nobody at one that is none.
func regular(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, st, nil
}

// Build makes a database of inputs, in place of what is at to, if all of them
// can be read. Made is the time at which that is; no source is younger.
func Build(ctx context.Context, to string, inputs []Input, made time.Time) (Info, error) {
	return build(ctx, to, inputs, made, usual)
}

func build(ctx context.Context, to string, inputs []Input, made time.Time, within limits) (info Info, err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return Info{}, err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".advisories-*.new")
	if err != nil {
		return Info{}, err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	if err := f.Close(); err != nil {
		return Info{}, err
	}
	if err := fill(ctx, tmp, inputs, made.UTC().Truncate(time.Second), within); err != nil {
		return Info{}, err
	}
	d, err := open(tmp)
	if err != nil {
		return Info{}, err
	}
	if err := errors.Join(d.Close(), place(tmp, to)); err != nil {
		return Info{}, err
	}
	return d.info, nil
}

// place puts the finished file tmp where to is, on disk too.
func place(tmp, to string) error {
	f, err := os.Open(tmp)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil { // nothing in it is secret
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// A builder fills a new file.
type builder struct {
	ctx        context.Context
	exec       func(query string, args ...any) error
	made       time.Time
	limits     limits
	ecosystems map[string]int64
	covered    map[string]bool     // without release
	known      map[string]recorded // by the ID of a record
	dead       []int64             // records that a later one took the place of
	sources    []Source
}

// A recorded is a record that is in the file.
type recorded struct {
	n        int64
	modified int64 // Unix time
}

func fill(ctx context.Context, file string, inputs []Input, made time.Time, within limits) (err error) {
	// If it fails the file is thrown away: no journal.
	db, err := sql.Open("sqlite", uri(file, "_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=cache_size(-65536)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;%s", magic, format, schema)); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	b := newBuilder(ctx, made, within)
	b.exec = prepared(ctx, tx)
	for _, in := range inputs {
		if err := b.add(in); err != nil {
			return errors.Join(lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, in.Path, err), tx.Rollback())
		}
	}
	if err := b.finish(); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func newBuilder(ctx context.Context, made time.Time, within limits) *builder {
	return &builder{ctx: ctx, made: made, limits: within, ecosystems: map[string]int64{}, covered: map[string]bool{}, known: map[string]recorded{}}
}

// prepared runs statements in tx, each of which is used again and again.
func prepared(ctx context.Context, tx *sql.Tx) func(query string, args ...any) error {
	all := map[string]*sql.Stmt{} // they end with tx
	return func(query string, args ...any) error {
		s := all[query]
		if s == nil {
			var err error
			if s, err = tx.PrepareContext(ctx, query); err != nil {
				return err
			}
			all[query] = s
		}
		_, err := s.ExecContext(ctx, args...)
		return err
	}
}

// add reads one source.
func (b *builder) add(in Input) error {
	f, st, err := regular(in.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st.Size() > b.limits.source {
		return lang.Errorf(lang.Text{En: "it has %d bytes, more than %d", Es: "tiene %d bytes, más de %d"}, st.Size(), b.limits.source)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	s := Source{Name: filepath.Base(in.Path), URL: in.URL, SHA256: hex.EncodeToString(h.Sum(nil)), Bytes: st.Size()}
	if u, err := url.Parse(in.URL); err == nil && in.URL != "" { // the path is one of the cache
		s.Name = path.Base(u.Path)
	}
	if err := b.read(f, st.Size(), &s); err != nil {
		return err
	}
	// A date that lies ahead is an error of the source, and would never grow
	// old.
	if s.Newest.After(b.made) {
		s.Newest = b.made
	}
	s.At = s.Newest
	if !in.At.IsZero() {
		s.At = in.At.UTC().Truncate(time.Second)
	}
	b.sources = append(b.sources, s)
	return b.ctx.Err()
}

// record puts one record of OSV into the file, in place of an older one with
// its ID: records that are about several ecosystems are in the files of each.
func (b *builder) record(as []vuln.Advisory) error {
	if len(as) == 0 {
		return nil
	}
	a := as[0]
	r := recorded{int64(len(b.known) + len(b.dead) + 1), a.Modified.Unix()}
	if old, ok := b.known[a.ID]; ok {
		if old.modified >= r.modified {
			return nil
		}
		b.dead = append(b.dead, old.n)
		r.n = int64(len(b.known) + len(b.dead))
	}
	b.known[a.ID] = r
	common, err := json.Marshal(shared{a.ID, a.Aliases, a.Upstream, a.Summary, a.Modified, a.Withdrawn})
	if err != nil {
		return err
	}
	// Its source is the one that is being read, which comes next.
	if err := b.exec("INSERT INTO records (n, source, body) VALUES (?, ?, ?)", r.n, len(b.sources)+1, string(common)); err != nil {
		return err
	}
	for _, a := range as {
		for i, af := range a.Affected {
			a.Affected[i] = af.Compact(a.Ecosystem)
		}
		own, err := json.Marshal(single{a.CVSS, a.Urgency, a.Affected})
		if err != nil {
			return err
		}
		n, err := b.ecosystem(a.Ecosystem)
		if err != nil {
			return err
		}
		if err := b.exec("INSERT INTO affected (ecosystem, name, record, body) VALUES (?, ?, ?, ?)", n, a.Name, r.n, string(own)); err != nil {
			return err
		}
	}
	return nil
}

// shared is what a record says of all packages, single of one: together they
// are a vuln.Advisory.
type shared struct {
	ID        string    `json:"id"`
	Aliases   []string  `json:"aliases,omitempty"`
	Upstream  []string  `json:"upstream,omitempty"`
	Summary   string    `json:"summary,omitempty"`
	Modified  time.Time `json:"modified,omitzero"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

type single struct {
	CVSS     []string        `json:"cvss,omitempty"`
	Urgency  string          `json:"urgency,omitempty"`
	Affected []vuln.Affected `json:"affected"`
}

func (b *builder) ecosystem(name string) (int64, error) {
	n, ok := b.ecosystems[name]
	if !ok {
		if len(b.ecosystems) >= b.limits.ecosystems {
			return 0, lang.Errorf(lang.Text{En: "more than %d ecosystems and releases", Es: "más de %d ecosistemas y versiones"}, b.limits.ecosystems)
		}
		n = int64(len(b.ecosystems) + 1)
		b.ecosystems[name] = n
	}
	return n, nil
}

// finish writes what is known once all has been read.
func (b *builder) finish() error {
	for _, n := range b.dead {
		if err := b.exec("DELETE FROM records WHERE n = ?", n); err != nil {
			return err
		}
	}
	if len(b.dead) > 0 {
		if err := b.exec("DELETE FROM affected WHERE record NOT IN (SELECT n FROM records)"); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.ecosystems)) {
		base, _, _ := strings.Cut(name, ":")
		if err := b.exec("INSERT INTO ecosystems (n, name, covered) VALUES (?, ?, ?)", b.ecosystems[name], name, b.covered[base]); err != nil {
			return err
		}
	}
	if err := b.exec(`UPDATE ecosystems SET packages = t.packages, records = t.records FROM
		(SELECT ecosystem, count(DISTINCT name) AS packages, count(*) AS records FROM affected GROUP BY ecosystem) AS t WHERE t.ecosystem = n`); err != nil {
		return err
	}
	for i, s := range b.sources {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := b.exec("INSERT INTO sources (n, body) VALUES (?, ?)", i+1, string(body)); err != nil {
			return err
		}
	}
	return b.exec("INSERT INTO about (key, value) VALUES ('made', ?)", b.made.Format(time.RFC3339))
}
