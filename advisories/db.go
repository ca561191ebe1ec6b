// Package advisories keeps what is published about vulnerabilities in one file
// that works without a network.
//
// The file is a SQLite database that casco builds itself, from records of OSV
// (one zip per ecosystem), CISA's catalogue of exploited vulnerabilities, EPSS,
// and dates at which products end. It says of each source what it was, how old
// and how much. It is written once, in whole, and never changed: a newer one
// takes its place by a rename, and whoever has the old one open keeps it. All
// look-ups go by ecosystem and package, so that a host reads little of it.
//
// A file that came from elsewhere counts only with a signature by a key that
// counts on this host, and none that is older than what is there: see Import.
// Sources are taken for hostile: what is read of them is bounded, and one that
// is broken gives no file at all.
package advisories

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"

	"casco/lang"
	"casco/vuln"
)

// format of the file, in SQLite's user_version; magic, "casc", in its
// application_id.
const (
	format = 1
	magic  = 0x63617363
)

const schema = `
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
	n        INTEGER PRIMARY KEY,
	body     TEXT NOT NULL              -- a Source, as JSON
);
CREATE TABLE ecosystems (
	n        INTEGER PRIMARY KEY,
	name     TEXT NOT NULL UNIQUE,      -- as OSV has it, with the release
	covered  INTEGER NOT NULL,          -- 1: some source is about all of it
	packages INTEGER NOT NULL DEFAULT 0,
	records  INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE records (
	n        INTEGER PRIMARY KEY,
	source   INTEGER NOT NULL,
	body     TEXT NOT NULL              -- a vuln.Advisory without what is in affected
);
CREATE TABLE affected (
	ecosystem INTEGER NOT NULL,
	name      TEXT NOT NULL,
	record    INTEGER NOT NULL,
	body      TEXT NOT NULL,            -- what a vuln.Advisory says of this package alone
	PRIMARY KEY (ecosystem, name, record)
) WITHOUT ROWID;
CREATE TABLE kev  (cve TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epss (cve TEXT PRIMARY KEY, probability REAL NOT NULL, percentile REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE ends (product TEXT NOT NULL, cycle TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (product, cycle)) WITHOUT ROWID;
`

// ErrNone is returned by Open if there is no file.
var ErrNone = lang.Errorf(lang.Text{En: "there is no advisory database", Es: "no hay base de avisos"})

// A DB is an open file of advisories. Several may use it at once.
type DB struct {
	db         *sql.DB
	info       Info
	ecosystems map[string]int64 // by name
	covered    map[string]bool
	look, epss *sql.Stmt
	end        *sql.Stmt
	kev        func() (map[string]*vuln.KEV, error) // read once: it is small
}

// A Kind is what a source is of.
type Kind string

const (
	OSV    Kind = "osv"
	KEV    Kind = "kev"
	EPSS   Kind = "epss"
	Ends   Kind = "ends" // of products (endoflife.date)
	Distro Kind = "distro-info"
)

// A Source is one file that a database was made of.
type Source struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // of OSV the ecosystem; else the file's
	// At is until when the source is known to be as it is here: of what was
	// downloaded, when the server last said so; of a file, Newest.
	At time.Time `json:"at"`
	// Newest is when the source itself says that it was changed last.
	Newest  time.Time `json:"newest"`
	URL     string    `json:"url,omitempty"` // "" of a file
	SHA256  string    `json:"sha256"`
	Bytes   int64     `json:"bytes"`
	Records int       `json:"records"`
	Covers  []string  `json:"covers,omitempty"` // of OSV: ecosystems without release, all of which it is about
}

// An Ecosystem is what there is of one.
type Ecosystem struct {
	Name     string `json:"name"`
	Covered  bool   `json:"covered"` // false: only what records of others say beside
	Packages int    `json:"packages"`
	Records  int    `json:"records"`
}

// An Info is what a database says of itself.
type Info struct {
	Format     int         `json:"format"`
	Made       time.Time   `json:"made"`
	Sources    []Source    `json:"sources"`
	Ecosystems []Ecosystem `json:"ecosystems"`
}

// Path is where the database is below a state directory.
func Path(state string) string { return filepath.Join(state, "advisories", "advisories.db") }

// uri of a file for SQLite (https://sqlite.org/uri.html).
func uri(path, query string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query
}

// Open opens the file at path for reading.
func Open(path string) (*DB, error) {
	d, err := open(path)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "advisory database %s: %w", Es: "base de avisos %s: %w"}, path, err)
	}
	return d, nil
}

func open(path string) (d *DB, err error) {
	if _, err := stat(path); err != nil {
		return nil, err
	}
	// Nobody writes into it, so there is nothing to lock: immutable.
	db, err := sql.Open("sqlite", uri(path, "mode=ro&immutable=1&_pragma=query_only(1)&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(damage(err), db.Close())
		}
	}()
	db.SetMaxOpenConns(1)
	var app, version int
	if err := errors.Join(db.QueryRow("PRAGMA application_id").Scan(&app), db.QueryRow("PRAGMA user_version").Scan(&version)); err != nil {
		return nil, err
	}
	switch {
	case app != magic:
		return nil, lang.Errorf(lang.Text{En: "it is not one that casco made", Es: "no es una que hizo casco"})
	case version != format:
		return nil, lang.Errorf(lang.Text{
			En: "it has format %d, this casco reads %d: build it anew", Es: "tiene formato %d, este casco lee el %d: hágala de nuevo",
		}, version, format)
	}
	d = &DB{db: db, ecosystems: map[string]int64{}, covered: map[string]bool{}}
	if err := d.readInfo(); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		to    **sql.Stmt
		query string
	}{
		{&d.look, "SELECT r.source, r.body, a.body FROM affected a JOIN records r ON r.n = a.record WHERE a.ecosystem = ? AND a.name = ? ORDER BY a.record"},
		{&d.epss, "SELECT probability, percentile FROM epss WHERE cve = ?"},
		{&d.end, "SELECT body FROM ends WHERE product = ? AND cycle = ?"},
	} {
		if *s.to, err = db.Prepare(s.query); err != nil {
			return nil, err
		}
	}
	d.kev = sync.OnceValues(d.readKEV)
	return d, nil
}

func (d *DB) readKEV() (map[string]*vuln.KEV, error) {
	all := map[string]*vuln.KEV{}
	err := each(d.db, "SELECT cve, body FROM kev", func(scan func(...any) error) error {
		var cve, body string
		if err := scan(&cve, &body); err != nil {
			return err
		}
		k := new(vuln.KEV)
		all[cve] = k
		return json.Unmarshal([]byte(body), k)
	})
	return all, damage(err)
}

// damage says of an error of SQLite what it means: the file is not what was
// written (https://sqlite.org/rescode.html: ERROR, CORRUPT, NOTADB).
func damage(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && slices.Contains([]int{1, 11, 26}, e.Code()&0xff) {
		return lang.Errorf(lang.Text{En: "it is damaged, or not one that casco made: %w", Es: "está dañada, o no es una que hizo casco: %w"}, err)
	}
	return err
}

func (d *DB) readInfo() error {
	d.info.Format = format
	var made string
	if err := d.db.QueryRow("SELECT value FROM about WHERE key = 'made'").Scan(&made); err != nil {
		return err
	}
	var err error
	if d.info.Made, err = time.Parse(time.RFC3339, made); err != nil {
		return err
	}
	if err := each(d.db, "SELECT body FROM sources ORDER BY n", func(scan func(...any) error) error {
		var body string
		if err := scan(&body); err != nil {
			return err
		}
		var s Source
		err := json.Unmarshal([]byte(body), &s)
		d.info.Sources = append(d.info.Sources, s)
		return err
	}); err != nil {
		return err
	}
	return each(d.db, "SELECT n, name, covered, packages, records FROM ecosystems ORDER BY name", func(scan func(...any) error) error {
		var n int64
		var e Ecosystem
		if err := scan(&n, &e.Name, &e.Covered, &e.Packages, &e.Records); err != nil {
			return err
		}
		d.ecosystems[e.Name], d.covered[e.Name] = n, e.Covered
		d.info.Ecosystems = append(d.info.Ecosystems, e)
		return nil
	})
}

// each calls do for each row of a query.
func each(db *sql.DB, query string, do func(scan func(...any) error) error) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Close lets go of the file.
func (d *DB) Close() error { return d.db.Close() }

// Info is what d says of itself. Nobody changes it.
func (d *DB) Info() Info { return d.info }

// DB is the database that package vuln matches against.
var _ vuln.Advisories = (*DB)(nil)

// For gives the advisories of a package: those of that release of its ecosystem
// and those that name none.
func (d *DB) For(ecosystem, name string) ([]vuln.Advisory, error) {
	var out []vuln.Advisory
	base, _, released := strings.Cut(ecosystem, ":")
	names := []string{ecosystem}
	if released {
		names = append(names, base)
	}
	for _, e := range names {
		n, ok := d.ecosystems[e]
		if !ok {
			continue
		}
		rows, err := d.look.Query(n, name)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var source int
			var common, own sql.RawBytes
			if err := rows.Scan(&source, &common, &own); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			a := vuln.Advisory{Ecosystem: e, Name: name}
			if source > 0 && source <= len(d.info.Sources) {
				a.Source = d.info.Sources[source-1].Name
			}
			if err := errors.Join(json.Unmarshal(common, &a), json.Unmarshal(own, &a)); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			out = append(out, a)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, damage(err)
		}
	}
	return out, nil
}

// Covers reports whether some source is about all of ecosystem, and has
// something of that release.
func (d *DB) Covers(ecosystem string) (bool, error) { return d.covered[ecosystem], nil }

// Threat says how a CVE is used by attackers.
func (d *DB) Threat(cve string) (*vuln.KEV, *vuln.EPSS, error) {
	all, err := d.kev()
	if err != nil {
		return nil, nil, err
	}
	var e vuln.EPSS
	switch err := d.epss.QueryRow(cve).Scan(&e.Probability, &e.Percentile); {
	case errors.Is(err, sql.ErrNoRows):
		return all[cve], nil, nil
	case err != nil:
		return nil, nil, damage(err)
	}
	return all[cve], &e, nil
}

// An End says until when a release of a product is looked after.
type End struct {
	Product  string    `json:"product"` // as endoflife.date has it: "docker-engine", "debian"
	Cycle    string    `json:"cycle"`   // "20.10", "12"
	Codename string    `json:"codename,omitempty"`
	Released time.Time `json:"released,omitzero"`
	Ended    bool      `json:"ended,omitempty"`   // it has ended, on a day that is not known
	EOL      time.Time `json:"eol,omitzero"`      // the first day without security updates; zero and not Ended: none is known
	Extended time.Time `json:"extended,omitzero"` // the same, for who has extended support (LTS, ESM, paid)
	Latest   string    `json:"latest,omitempty"`
}

// Over reports whether e has ended at that time; extended support counts if the
// caller has it.
func (e *End) Over(at time.Time, extended bool) bool {
	if extended && !e.Extended.IsZero() {
		return !at.Before(e.Extended)
	}
	return e.Ended || !e.EOL.IsZero() && !at.Before(e.EOL)
}

// End is what is known of a release, nil if nothing is.
func (d *DB) End(product, cycle string) (*End, error) {
	var body string
	err := d.end.QueryRow(product, cycle).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, damage(err)
	}
	e := new(End)
	return e, json.Unmarshal([]byte(body), e)
}
