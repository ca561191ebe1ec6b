package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"casco/lang"
)

// A Log is a ledger open for writing. Its methods may be called from many
// goroutines, and several processes may have the same log open.
type Log struct {
	dir    string
	signer Signer
	keys   []note.Verifier // the signer's, and those the log had before
	clock  func() time.Time

	mu     sync.Mutex // guards queue and closed
	queue  []*request
	closed bool

	writing sync.Mutex // held while the log is written; guards what is below, and the results of requests
	lock    *os.File
	journal *os.File // open for appending; nil: open it again
	state   *state   // nil: read it again
}

// A request is one Append that waits to be written.
type request struct {
	entries []Entry
	guard   func(*View) error // called under the lock before the entries are written; may refuse

	done  bool
	first int64
	err   error
}

// ErrClosed is returned by the methods of a log after Close.
var ErrClosed = lang.Errorf(lang.Text{En: "the ledger is closed", Es: "el registro está cerrado"})

// Open opens the log in dir for writing, and makes it, readable by its owner
// only, when there is nothing in dir. The signer's name is the log's origin.
// Before are keys of the same name that signed until the signer took over.
//
// The end of the log must be what was signed; if it is not, the error is a
// *[Problem] and the log is left as it is: what to do about it is for a person
// to decide. Bytes that a killed process had not finished writing, so that
// nothing was acknowledged, are no problem: the next append cuts them off and
// says so in an entry of kind Repair.
func Open(dir string, signer Signer, clock func() time.Time, before ...note.Verifier) (*Log, error) {
	l := &Log{dir: dir, signer: signer, clock: clock, keys: append([]note.Verifier{signer.Verifier()}, before...)}
	if err := l.open(); err != nil {
		return nil, errors.Join(lang.Errorf(lang.Text{En: "open ledger: %w", Es: "abrir el registro: %w"}, err), l.release())
	}
	return l, nil
}

func (l *Log) open() error {
	b := batch{root: l.dir}
	if err := b.mkdir(l.dir); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	if st, err := os.Stat(l.dir); err != nil {
		return err
	} else if st.Mode().Perm()&0o002 != 0 {
		return lang.Errorf(lang.Text{En: "%s: anybody may write there: chmod o-w it", Es: "%s: cualquiera puede escribir ahí: quítelo con chmod o-w"}, l.dir)
	}
	switch err := checkFormat(l.dir); {
	case errors.Is(err, ErrNoLog):
		if err := mayInit(l.dir); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		// A copy has neither; making a lock would make it look like a log.
		if _, err := os.Lstat(filepath.Join(l.dir, "journal")); errors.Is(err, fs.ErrNotExist) {
			return noJournal()
		}
	}
	f, err := os.OpenFile(filepath.Join(l.dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	l.lock = f
	unlock, err := flock(f, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkFormat(l.dir); errors.Is(err, ErrNoLog) {
		if err := l.create(); err != nil {
			return err
		}
	}
	return l.refresh()
}

// mayInit refuses to make a log where something else is, or the rest of a log.
// What a killed create left may be there.
func mayInit(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		switch n.Name() {
		case "lock", "journal", "checkpoint", ".journal.new", ".checkpoint.new", ".format.new":
		default:
			return lang.Errorf(lang.Text{En: "%s: holds %s, but no ledger: %w", Es: "%s: contiene %s, pero ningún registro: %w"}, dir, n.Name(), ErrNoLog)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err == nil && len(b) > len(journalHeader(0)) {
		return lang.Errorf(lang.Text{En: "%s: holds a journal with entries, and its format marker is missing: %w", Es: "%s: contiene un journal con entradas, y falta su marca de formato: %w"}, dir, ErrNoLog)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// create makes an empty log. The format marker comes last: without it there is
// no log.
func (l *Log) create() error {
	root, err := (&tree{}).root()
	if err != nil {
		return err
	}
	cp, err := signRoot(0, root, l.signer)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(l.dir, "journal"), journalHeader(0)),
		writeFile(filepath.Join(l.dir, "checkpoint"), cp.Note),
		writeFile(filepath.Join(l.dir, "format"), fmt.Appendf(nil, "%s%d\n", formatHead, format)),
	)
}

// Append writes entries at the end of the log, all or none, and returns the
// index of the first. When it returns without error they are on stable storage
// and signed. It sets their times. Together they may have 16 MiB.
//
// Appends that come at the same time are written together, with one flush. An
// error of one (a kind that is none, an entry too big) does not touch others.
func (l *Log) Append(entries ...Entry) (first int64, err error) {
	return l.append(&request{entries: entries})
}

func (l *Log) append(r *request) (int64, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, ErrClosed
	}
	l.queue = append(l.queue, r)
	l.mu.Unlock()

	l.writing.Lock()
	defer l.writing.Unlock()
	if !r.done { // or somebody before us has written it with his own
		l.mu.Lock()
		batch := l.queue
		l.queue = nil
		l.mu.Unlock()
		l.commit(batch)
	}
	return r.first, r.err
}

// commit writes a batch of requests. One with a guard is written alone, so that
// its guard sees all that was written before. The caller holds l.writing.
func (l *Log) commit(batch []*request) {
	var free []*request
	for _, r := range batch {
		if r.guard == nil {
			free = append(free, r)
		}
	}
	for len(free) > 0 {
		free = free[l.commitSome(free):]
	}
	for _, r := range batch {
		if r.guard != nil {
			l.commitSome([]*request{r})
		}
	}
}

// commitSome writes the first of a batch, as many as go into one frame, and
// returns their number.
func (l *Log) commitSome(batch []*request) int {
	n := len(batch)
	err := l.exclusive(func() (err error) {
		n, err = l.write(batch)
		return err
	})
	for _, r := range batch[:n] {
		r.done = true
		if err != nil && r.err == nil {
			r.first, r.err = 0, lang.Errorf(lang.Text{En: "append to the ledger: %w", Es: "añadir al registro: %w"}, err)
		}
	}
	return n
}

// exclusive calls do with the lock of the log held and its state up to date.
func (l *Log) exclusive(do func() error) error {
	if l.lock == nil {
		return ErrClosed
	}
	unlock, err := flock(l.lock, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.refresh(); err != nil {
		return err
	}
	return do()
}

// refresh reads the state if it was not read, or another process has written
// since. The caller holds the lock.
func (l *Log) refresh() error {
	path := filepath.Join(l.dir, "journal")
	if l.state != nil && l.journal != nil && len(l.state.torn) == 0 {
		st, err := os.Stat(path)
		if err == nil && (journalFile{inodeOf(st), st.Size()}) == l.state.journal {
			return nil
		}
	}
	l.forget()
	s, err := load(l.dir, l.keys)
	if err != nil {
		return err
	}
	if s.published.Origin != l.signer.Name() {
		return lang.Errorf(lang.Text{En: "%s is the ledger of %s, not of %s", Es: "%s es el registro de %s, no de %s"}, l.dir, s.published.Origin, l.signer.Name())
	}
	if err := s.heldByWitness(l.dir, l.keys); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	l.state, l.journal = s, f
	return nil
}

// forget makes the next use read the log again.
func (l *Log) forget() {
	if l.journal != nil {
		l.journal.Close() // what was written to it was flushed
	}
	l.state, l.journal = nil, nil
}

// frameBytes is about how much one frame takes; what is queued beyond that goes
// to the next. Of one Append it is the most.
const frameBytes = 16 << 20

// write encodes the requests of a batch up to frameBytes and writes them. It
// returns how many it has taken.
func (l *Log) write(batch []*request) (int, error) {
	s := l.state
	now := l.clock().UTC()
	raw, err := s.preface(&now)
	if err != nil {
		return len(batch), err
	}
	own, taken, bytes := len(raw), 0, 0
	for _, r := range batch {
		if bytes >= frameBytes {
			break
		}
		taken++
		mine, size, err := r.encode(now, l)
		if err != nil {
			r.err = err
			continue
		}
		r.first = s.size() + int64(len(raw))
		raw = append(raw, mine...)
		bytes += size
	}
	if len(raw) == own { // nothing but what we would have said about it
		return taken, nil
	}
	return taken, l.writeRaw(raw, now)
}

// writeRaw writes entries with their checkpoint as one frame, and publishes
// when enough have come together.
func (l *Log) writeRaw(raw [][]byte, now time.Time) error {
	s := l.state
	next := s.tree.clone()
	for _, e := range raw {
		if err := next.add(tlog.RecordHash(e)); err != nil {
			return err
		}
	}
	root, err := next.root()
	if err != nil {
		return err
	}
	cp, err := signRoot(next.size, root, l.signer)
	if err != nil {
		return err
	}
	if err := l.store(makeFrame(raw, cp.Note)); err != nil {
		return err
	}
	s.tree, s.last, s.lastTime, s.torn = next, cp, now, nil
	s.tail = append(s.tail, raw...)
	if len(s.tail) >= publishAt {
		// The entries are safe in the journal: if this fails, say for a full
		// disk, it is tried again with the next, and Publish and Close say so.
		_ = l.publish()
	}
	return nil
}

// encode returns the entries of r as they are to be written, and their size in
// bytes, after asking its guard.
func (r *request) encode(now time.Time, l *Log) (raw [][]byte, size int, err error) {
	if r.guard != nil {
		if err := r.guard(l.state.view(l.dir)); err != nil {
			return nil, 0, err
		}
	}
	raw = make([][]byte, len(r.entries))
	for i, e := range r.entries {
		e.Time = now
		b, err := e.encode()
		if err != nil {
			return nil, 0, err
		}
		raw[i] = b
		size += len(b)
	}
	if size > frameBytes {
		return nil, 0, lang.Errorf(lang.Text{En: "%d entries of %d bytes at once: %w", Es: "%d entradas de %d bytes a la vez: %w"}, len(raw), size, ErrTooBig)
	}
	return raw, size, nil
}

// store appends a frame to the journal and flushes it. If that fails nothing
// of it stays.
func (l *Log) store(frame []byte) error {
	at := l.state.journal.size
	if len(l.state.torn) > 0 {
		if err := l.journal.Truncate(at); err != nil {
			return lang.Errorf(lang.Text{En: "cut off what a killed process left: %w", Es: "cortar lo que dejó un proceso muerto: %w"}, err)
		}
	}
	_, err := l.journal.WriteAt(frame, at)
	if err == nil {
		if err = unix.Fdatasync(int(l.journal.Fd())); err != nil {
			err = lang.Errorf(lang.Text{En: "flush %s: %w", Es: "llevar %s al disco: %w"}, l.journal.Name(), err)
		}
	}
	if err != nil {
		// After a failed flush nobody knows what is on the disk: read it again.
		err = errors.Join(err, l.journal.Truncate(at))
		l.forget()
		return err
	}
	l.state.journal.size += int64(len(frame))
	return nil
}

// publishAt is how many entries the journal may hold before they go to bundles:
// publishing costs about ten flushes, which this spreads.
const publishAt = 4 * tileWidth

// level is by how much times may run backwards without being worth an entry:
// what a time daemon does when it corrects the clock. The time is then held.
const level = time.Second

// preface returns the entries that the ledger itself has to write before
// others: that an append was cut off, and that the clock was moved back.
func (s *state) preface(now *time.Time) ([][]byte, error) {
	back := s.lastTime.Sub(*now)
	if back > 0 && back <= level {
		*now, back = s.lastTime, 0
	}
	var entries []Entry
	if back > 0 {
		e, err := NewEntry(Clock, "casco", "", ClockBack{Was: s.lastTime, Now: *now, Seconds: back.Seconds()})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if len(s.torn) > 0 {
		e, err := NewEntry(Repair, "casco", "", CutOff{Bytes: len(s.torn), Digest: DigestOf(s.torn)})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	var raw [][]byte
	for _, e := range entries {
		e.Time = *now
		b, err := e.encode()
		if err != nil {
			return nil, err
		}
		raw = append(raw, b)
	}
	return raw, nil
}

// ClockBack is the data of a Clock entry: the clock said Now though the entry
// before was of Was.
type ClockBack struct {
	Was     time.Time `json:"was"`
	Now     time.Time `json:"now"`
	Seconds float64   `json:"seconds"`
}

// CutOff is the data of a Repair entry: what an append that was never
// acknowledged had left behind the last whole one.
type CutOff struct {
	Bytes  int    `json:"bytes"`
	Digest Digest `json:"sha256"`
}

// View returns the log as it is now, for reading.
func (l *Log) View() (*View, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	var v *View
	err := l.exclusive(func() error {
		v = l.state.view(l.dir)
		return nil
	})
	return v, err
}

// Publish writes the checkpoint of all entries and the partial tiles that go
// with it, so that the directory is a whole tiled log for others to read, and
// returns it. It happens by itself every 1,024 entries and at Close; a service
// does it as often as it wants others to see, and before it asks witnesses.
func (l *Log) Publish() (Checkpoint, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	var cp Checkpoint
	err := l.exclusive(func() error {
		if err := l.publish(); err != nil {
			return lang.Errorf(lang.Text{En: "publish the ledger: %w", Es: "publicar el registro: %w"}, err)
		}
		cp = l.state.published
		return nil
	})
	return cp, err
}

// Close publishes and closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if was {
		return nil
	}
	_, err := l.Publish()
	l.writing.Lock()
	defer l.writing.Unlock()
	return errors.Join(err, l.release())
}

func (l *Log) release() error {
	l.forget()
	if l.lock == nil {
		return nil
	}
	err := l.lock.Close()
	l.lock = nil
	return err
}

func inodeOf(st fs.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
