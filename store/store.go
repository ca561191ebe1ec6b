// Package store has what the ledger says as tables, so that it can be asked.
//
// The ledger is the truth and the store is its index: an event is first
// appended there and then shows here. The store can be deleted at any time and
// is made again from the ledger alone; Check compares the two, row by row, and
// names the entry of a row that somebody changed, added or deleted.
//
// There is one table, entries, with a row per entry of the ledger, and a view
// for each kind of event, with its fields as columns: runs, verdicts, changes,
// approvals, steps, policies, treatments, exceptions, drifts, evidence, holds,
// purges, exports, decisions, alerts, controls, advisories. It is SQLite on one host; the schema uses nothing that
// PostgreSQL lacks but the spelling of JSON paths.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite" // the driver "sqlite"

	"casco/lang"
	"casco/ledger"
)

// version of the tables, in SQLite's user_version. A store of a newer one is
// refused; one of an older one is made again.
const version = 4

// stamp is a time that sorts as text, in UTC.
const stamp = "2006-01-02T15:04:05.000000000Z"

var (
	// ErrNewer is returned for a store that a newer casco made.
	ErrNewer = lang.Errorf(lang.Text{En: "a newer casco made it", Es: "la hizo un casco más nuevo"})
	// ErrDamaged is returned for a file that cannot be the tables of this
	// ledger: it is no database any more, or has entries that the ledger lacks.
	ErrDamaged = lang.Errorf(lang.Text{En: "the tables are damaged", Es: "las tablas están dañadas"})
)

// A Log is the ledger that a store shows.
type Log interface {
	Append(entries ...ledger.Entry) (first int64, err error)
	View() (*ledger.View, error)
}

// A Store is the tables of one ledger.
type Store struct {
	db   *sql.DB
	log  Log
	path string
}

// Open opens the store in the file at path, making it, readable by its owner
// only, where it is missing, and catches up with the ledger. What is wrong with
// a file that is there is not mended: see Anew.
func Open(ctx context.Context, path string, log Log) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := private(path); err != nil {
		return nil, err
	}
	s := &Store{log: log, path: path}
	var err error
	if s.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_txlock=immediate"); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1) // one writer; readers are as fast behind it at this size
	if err = s.prepare(ctx); err == nil {
		err = s.CatchUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(lang.Errorf(lang.Text{En: "store %s: %w", Es: "tablas %s: %w"}, path, damage(err)), s.db.Close())
	}
	return s, nil
}

// private makes the file at path with mode 0600. SQLite gives the mode of the
// file to those that it makes beside it, and would take 0644.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(0o600)
}

// damage is err, as ErrDamaged if SQLite says that the file is not what it made
// (https://sqlite.org/rescode.html: ERROR, as for a table that is not there,
// CORRUPT, NOTADB), and as ENOSPC if no room was left: FULL says so, but for
// the index of the log that lies beside the file SQLite only says
// IOERR_SHMSIZE, "disk I/O error".
func damage(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case slices.Contains([]int{1, 11, 26}, e.Code()&0xff):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case e.Code() == 13 || e.Code() == 10|19<<8:
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}

// Anew puts a damaged file aside, as evidence, and opens a store made from the
// ledger. Aside is where the old one is.
func Anew(ctx context.Context, path string, log Log) (s *Store, aside string, err error) {
	for n := 1; ; n++ {
		aside = fmt.Sprintf("%s.damaged-%d", path, n)
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, "", err
		}
	}
	if err := os.Rename(path, aside); err != nil {
		return nil, "", err
	}
	for _, suffix := range []string{"-wal", "-shm"} { // what they hold is of the old file alone
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	s, err = Open(ctx, path, log)
	return s, aside, err
}

// Close lets go of the file.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) prepare(ctx context.Context) error {
	var have int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	switch {
	case have > version:
		return lang.Errorf(lang.Text{En: "format %d, this one knows %d: %w", Es: "formato %d, este conoce %d: %w"}, have, version, ErrNewer)
	case have == version:
		return nil
	}
	_, err := s.db.ExecContext(ctx, schema())
	return err
}

// schema makes the table and a view for each kind of event, from the fields of
// its type.
func schema() string {
	var b strings.Builder
	b.WriteString(`DROP TABLE IF EXISTS entries;
CREATE TABLE entries (
	idx   INTEGER PRIMARY KEY, -- index of the entry in the ledger
	at    TEXT NOT NULL,       -- when it was recorded, UTC
	kind  TEXT NOT NULL,
	actor TEXT NOT NULL,
	about TEXT NOT NULL,
	data  TEXT NOT NULL        -- JSON
);
CREATE INDEX entries_kind ON entries (kind, idx);
CREATE INDEX entries_about ON entries (about, idx);
`)
	for name, e := range views() {
		fmt.Fprintf(&b, "DROP VIEW IF EXISTS %s;\nCREATE VIEW %s AS SELECT idx, at AS recorded, actor", name, name)
		for field := range reflect.TypeOf(e).Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fmt.Fprintf(&b, ",\n\tjson_extract(data, '$.%s') AS %q", key, key)
		}
		fmt.Fprintf(&b, "\nFROM entries WHERE kind = '%s';\n", e.Kind())
	}
	fmt.Fprintf(&b, "PRAGMA user_version = %d;\n", version)
	return b.String()
}

func views() map[string]Event {
	return map[string]Event{
		"runs": Run{}, "verdicts": Verdict{}, "changes": Change{}, "approvals": Approval{}, "steps": Step{},
		"policies": Policy{}, "treatments": Treatment{}, "exceptions": Exception{}, "drifts": Drift{},
		"decisions": Decision{}, "alerts": Alert{}, "controls": Control{}, "advisories": Advisories{},
		"evidence": Evidence{}, "holds": Hold{}, "purges": Purge{}, "exports": Export{},
	}
}

// atOnce is about how many bytes of events are appended to the ledger at once,
// which takes 16 MiB. The first look at a host of a thousand containers has 20.
const atOnce = 4 << 20

// Write records events, in order, in the name of actor: in the ledger first.
// It returns the index of the first. If it fails those before may be recorded
// where all are more than atOnce. If the ledger has them and the tables could not
// be written, that is no error: the next Open catches up.
func (s *Store) Write(ctx context.Context, actor string, events ...Event) (first int64, err error) {
	es := make([]ledger.Entry, len(events))
	for i, e := range events {
		if es[i], err = ledger.NewEntry(ledger.Kind(e.Kind()), actor, e.About(), e); err != nil {
			return 0, err
		}
	}
	for begin, end := 0, 0; begin < len(es); begin = end {
		for size := 0; end < len(es) && size < atOnce; end++ {
			size += len(es[end].Data)
		}
		at, err := s.log.Append(es[begin:end]...)
		if err != nil {
			return 0, err
		}
		if begin == 0 {
			first = at
		}
	}
	_ = s.CatchUp(ctx)
	return first, nil
}

// CatchUp takes over what the ledger has and the tables have not.
func (s *Store) CatchUp(ctx context.Context) error {
	view, err := s.log.View()
	if err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	next, err := nextIndex(ctx, tx)
	if err != nil {
		return err
	}
	if next > view.Size() {
		return lang.Errorf(lang.Text{
			En: "%w: they have %d entries, the ledger only %d: a row was added, or the ledger was cut short",
			Es: "%w: tienen %d entradas y el registro sólo %d: se añadió una fila, o se cortó el registro",
		}, ErrDamaged, next, view.Size())
	}
	put, err := tx.PrepareContext(ctx, "INSERT INTO entries (idx, at, kind, actor, about, data) VALUES (?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer put.Close()
	for e, err := range view.Entries(next, view.Size()) {
		if err != nil {
			return err
		}
		r := rowOf(e)
		if _, err := put.ExecContext(ctx, e.Index, r.at, r.kind, r.actor, r.about, r.data); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func nextIndex(ctx context.Context, tx *sql.Tx) (int64, error) {
	var next int64
	err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(idx) + 1, 0) FROM entries").Scan(&next)
	return next, err
}

type row struct{ at, kind, actor, about, data string }

func rowOf(e ledger.Record) row {
	data := string(e.Data)
	if data == "" {
		data = "{}"
	}
	return row{e.Time.UTC().Format(stamp), string(e.Kind), e.Actor, e.About, data}
}

// Rebuild makes the tables again from the ledger alone.
func (s *Store) Rebuild(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, schema()); err != nil {
		return err
	}
	return s.CatchUp(ctx)
}

// A Mismatch is a row that is not as the ledger has it.
type Mismatch struct {
	Index int64  `json:"index"` // of the ledger's entry
	What  string `json:"what"`  // changed, missing, extra
}

// Check compares every row with its entry.
func (s *Store) Check(ctx context.Context) ([]Mismatch, error) {
	view, err := s.log.View()
	if err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT idx, at, kind, actor, about, data FROM entries ORDER BY idx")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Mismatch
	next := func() (i int64, r row, ok bool, err error) {
		if !rows.Next() {
			return 0, r, false, rows.Err()
		}
		err = rows.Scan(&i, &r.at, &r.kind, &r.actor, &r.about, &r.data)
		return i, r, err == nil, err
	}
	at, r, ok, err := next()
	if err != nil {
		return nil, err
	}
	for e, err := range view.Entries(0, view.Size()) {
		if err != nil {
			return out, err
		}
		for ; ok && at < e.Index; at, r, ok, err = next() {
			out = append(out, Mismatch{at, "extra"})
		}
		switch {
		case err != nil:
			return out, err
		case !ok || at != e.Index:
			out = append(out, Mismatch{e.Index, "missing"})
			continue
		case r != rowOf(e):
			out = append(out, Mismatch{e.Index, "changed"})
		}
		if at, r, ok, err = next(); err != nil {
			return out, err
		}
	}
	for ; ok; at, r, ok, err = next() {
		out = append(out, Mismatch{at, "extra"})
	}
	return out, err
}

// A Recorded event is one with its place in the ledger.
type Recorded[E Event] struct {
	Index int64     `json:"index"`
	At    time.Time `json:"at"` // when it was recorded, UTC
	Actor string    `json:"actor"`
	Event E         `json:"event"`
}

// A Period is a stretch of time. Its zero ends are open.
type Period struct{ From, Until time.Time }

// All returns the events of one kind that were recorded in p, in order. About
// narrows them to one thing; empty is all.
func All[E Event](ctx context.Context, s *Store, p Period, about string) ([]Recorded[E], error) {
	return all[E](ctx, s, p, about, "")
}

// all is All of those alone of which a path in their data has a value.
func all[E Event](ctx context.Context, s *Store, p Period, about, path string) ([]Recorded[E], error) {
	var zero E
	q, args := "SELECT idx, at, actor, data FROM entries WHERE kind = ?", []any{zero.Kind()}
	if about != "" {
		q, args = q+" AND about = ?", append(args, about)
	}
	if path != "" {
		q, args = q+" AND json_extract(data, ?) IS NOT NULL", append(args, path)
	}
	if !p.From.IsZero() {
		q, args = q+" AND at >= ?", append(args, p.From.UTC().Format(stamp))
	}
	if !p.Until.IsZero() {
		q, args = q+" AND at < ?", append(args, p.Until.UTC().Format(stamp))
	}
	rows, err := s.db.QueryContext(ctx, q+" ORDER BY idx", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Recorded[E]
	for rows.Next() {
		var r Recorded[E]
		var at, data string
		if err := rows.Scan(&r.Index, &at, &r.Actor, &data); err != nil {
			return nil, err
		}
		if r.At, err = time.Parse(stamp, at); err != nil {
			return nil, fmt.Errorf("entry %d: %w", r.Index, err)
		}
		if err := json.Unmarshal([]byte(data), &r.Event); err != nil {
			return nil, fmt.Errorf("entry %d: %w", r.Index, err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Calls returns all requests to engines that were judged, in order.
func (s *Store) Calls(ctx context.Context) ([]Recorded[Decision], error) {
	return all[Decision](ctx, s, Period{}, "", "$.call")
}

// Rogues returns all containers that were told of because nobody knows who made
// them, in order.
func (s *Store) Rogues(ctx context.Context) ([]Recorded[Alert], error) {
	return all[Alert](ctx, s, Period{}, "", "$.rogue")
}

// Last returns the newest event of one kind, of all or about one thing. ok is
// false if there is none.
func Last[E Event](ctx context.Context, s *Store, about string) (r Recorded[E], ok bool, err error) {
	all, err := All[E](ctx, s, Period{}, about)
	if err != nil || len(all) == 0 {
		return r, false, err
	}
	return all[len(all)-1], true, nil
}

// Made returns the engine's IDs of all that calls are known to have made.
func (s *Store) Made(ctx context.Context) (ids []string, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT json_extract(data, '$.call.id') FROM entries WHERE kind = 'decision' AND json_extract(data, '$.call.made')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Verdicts returns the last verdict of every finding, by its fingerprint.
func (s *Store) Verdicts(ctx context.Context) (map[string]Verdict, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT idx, data FROM entries WHERE idx IN (SELECT MAX(idx) FROM entries WHERE kind = 'verdict' GROUP BY about)")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	last := map[string]Verdict{}
	for rows.Next() {
		var i int64
		var data string
		if err := rows.Scan(&i, &data); err != nil {
			return nil, err
		}
		var v Verdict
		if err := json.Unmarshal([]byte(data), &v); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		last[v.Fingerprint] = v
	}
	return last, rows.Err()
}
