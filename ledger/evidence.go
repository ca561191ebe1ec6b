package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"casco/lang"
)

// A Digest is the SHA-256 of a piece of evidence, in lower-case hexadecimal.
type Digest string

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	h := sha256.Sum256(b)
	return Digest(hex.EncodeToString(h[:]))
}

// ParseDigest reads a digest, with or without "sha256:" before it.
func ParseDigest(s string) (Digest, error) {
	s = strings.TrimPrefix(s, "sha256:")
	if b, err := hex.DecodeString(s); err != nil || len(b) != sha256.Size || s != strings.ToLower(s) {
		return "", lang.Errorf(lang.Text{En: "%.80q is not a SHA-256 in hexadecimal", Es: "%.80q no es un SHA-256 en hexadecimal"}, s)
	}
	return Digest(s), nil
}

// About is how entries name the evidence: sha256:….
func (d Digest) About() string { return "sha256:" + string(d) }

// path is where the evidence lies within its folder: ab/abcd….
func (d Digest) path() string { return filepath.Join(string(d[:2]), string(d)) }

// Evidence is a folder of things too big for entries, each under its SHA-256.
// What is known of one (where it comes from, how long it must be kept, whether
// a legal hold is on it) stands in the ledger, and nothing is deleted without
// standing there too.
type Evidence struct {
	dir string
	log *Log
}

// NewEvidence returns the evidence in dir, which is made when something is
// first put there, with the log that says what it is. For Get alone the log
// may be nil.
func NewEvidence(dir string, log *Log) *Evidence { return &Evidence{dir, log} }

// Meta is what is known of a piece of evidence: the data of an Evidenced entry.
type Meta struct {
	Digest Digest    `json:"sha256"`
	Size   int64     `json:"size"`           // bytes
	Media  string    `json:"media"`          // media type, as "application/json"
	Source string    `json:"source"`         // where from: a path, an API call
	Taken  time.Time `json:"taken"`          // when it was collected
	Until  time.Time `json:"until,omitzero"` // kept at least until then; zero: for ever
	What   string    `json:"what,omitempty"` // what it is, for people
}

// HoldData is the data of a Hold entry, PurgeData that of a Purge entry.
type (
	HoldData struct {
		Digest Digest `json:"sha256"`
		On     bool   `json:"on"` // put on, or released
		Reason string `json:"reason"`
	}
	PurgeData struct {
		Digest Digest `json:"sha256"`
		Reason string `json:"reason"`
	}
)

var (
	// ErrNoEvidence is returned for a digest that is not in the folder.
	ErrNoEvidence = lang.Errorf(lang.Text{En: "no such evidence", Es: "no hay tal evidencia"})
	// ErrAltered is returned by Get for bytes that do not have their digest.
	ErrAltered = lang.Errorf(lang.Text{En: "evidence was altered", Es: "la evidencia fue alterada"})
	// ErrHeld is returned by Purge under a legal hold.
	ErrHeld = lang.Errorf(lang.Text{En: "under legal hold", Es: "bajo retención legal"})
	// ErrRetained is returned by Purge before the retention ended.
	ErrRetained = lang.Errorf(lang.Text{En: "still to be kept", Es: "aún debe conservarse"})
)

// Put stores b and records it with its meta-data, whose digest and size it
// fills in. The same bytes are stored once and recorded each time.
func (e *Evidence) Put(b []byte, actor string, m Meta) (Digest, error) {
	m.Digest, m.Size, m.Taken, m.Until = DigestOf(b), int64(len(b)), m.Taken.UTC(), m.Until.UTC()
	entry, err := NewEntry(Evidenced, actor, m.Digest.About(), m)
	if err != nil {
		return "", err
	}
	unlock, err := e.lock()
	if err != nil {
		return "", lang.Errorf(lang.Text{En: "store evidence: %w", Es: "guardar la evidencia: %w"}, err)
	}
	defer unlock()
	files := batch{root: e.dir}
	if err := errors.Join(files.put(m.Digest.path(), b, false), files.flush()); err != nil {
		return "", lang.Errorf(lang.Text{En: "store evidence %s: %w", Es: "guardar la evidencia %s: %w"}, m.Digest, err)
	}
	_, err = e.log.Append(entry)
	return m.Digest, err
}

// lock keeps writers of the folder apart: a purge must not take away what a
// put has just found there and not yet recorded.
func (e *Evidence) lock() (unlock func(), err error) { return lockFolder(e.dir) }

// Get returns the evidence with that digest, after comparing it.
func (e *Evidence) Get(d Digest) ([]byte, error) {
	if _, err := ParseDigest(string(d)); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(e.dir, d.path()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", d, ErrNoEvidence)
	}
	if err != nil {
		return nil, err
	}
	if DigestOf(b) != d {
		return nil, fmt.Errorf("%s: %w", d, ErrAltered)
	}
	return b, nil
}

// Hold puts a legal hold on evidence: until it is released nothing deletes it.
func (e *Evidence) Hold(d Digest, actor, reason string) error { return e.hold(d, actor, reason, true) }

// Release takes a legal hold off.
func (e *Evidence) Release(d Digest, actor, reason string) error {
	return e.hold(d, actor, reason, false)
}

func (e *Evidence) hold(d Digest, actor, reason string, on bool) error {
	if reason == "" {
		return lang.Errorf(lang.Text{En: "legal hold on %s: it needs a reason", Es: "retención legal de %s: necesita un motivo"}, d)
	}
	entry, err := NewEntry(Hold, actor, d.About(), HoldData{d, on, reason})
	if err != nil {
		return err
	}
	return e.decide(d, []Entry{entry}, func(s EvidenceState) error {
		switch {
		case s.Puts == 0:
			return fmt.Errorf("%s: %w", d, ErrNoEvidence)
		case s.Held && on:
			return lang.Errorf(lang.Text{En: "%s is under legal hold already", Es: "%s ya está bajo retención legal"}, d)
		case !s.Held && !on:
			return lang.Errorf(lang.Text{En: "%s is under no legal hold", Es: "%s no está bajo retención legal"}, d)
		}
		return nil
	})
}

// Purge deletes evidence whose retention has ended and on which no legal hold
// is, and records that before it does. Deleting what an earlier Purge recorded
// and did not come to delete is recorded again.
func (e *Evidence) Purge(d Digest, actor, reason string) error {
	if reason == "" {
		return lang.Errorf(lang.Text{En: "purge %s: it needs a reason", Es: "borrar %s: necesita un motivo"}, d)
	}
	entry, err := NewEntry(Purge, actor, d.About(), PurgeData{d, reason})
	if err != nil {
		return err
	}
	unlock, err := e.lock()
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(e.dir, d.path())
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return lang.Errorf(lang.Text{En: "purge %s: %w", Es: "borrar %s: %w"}, d, ErrNoEvidence)
	}
	if err := e.decide(d, []Entry{entry}, func(s EvidenceState) error { return s.mayPurge(e.log.clock()) }); err != nil {
		return lang.Errorf(lang.Text{En: "purge %s: %w", Es: "borrar %s: %w"}, d, err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// EvidenceState is what the ledger says of a piece of evidence.
type EvidenceState struct {
	Puts   int       `json:"puts"`             // how often it was stored
	Until  time.Time `json:"until,omitzero"`   // the latest of all; zero with Ever
	Ever   bool      `json:"ever,omitempty"`   // to be kept for ever
	Held   bool      `json:"held"`             // a legal hold is on it
	Reason string    `json:"reason,omitempty"` // of the hold
	Purged bool      `json:"purged"`           // and not stored again since
}

func (s EvidenceState) mayPurge(now time.Time) error {
	switch {
	case s.Puts == 0:
		return lang.Errorf(lang.Text{En: "the ledger does not know it: %w", Es: "el registro no la conoce: %w"}, ErrRetained)
	case s.Held:
		return fmt.Errorf("%q: %w", s.Reason, ErrHeld)
	case s.Ever:
		return lang.Errorf(lang.Text{En: "for ever: %w", Es: "para siempre: %w"}, ErrRetained)
	case now.Before(s.Until):
		return lang.Errorf(lang.Text{En: "until %s: %w", Es: "hasta %s: %w"}, s.Until.Format(time.RFC3339), ErrRetained)
	}
	return nil
}

// add takes one entry about the evidence into account.
func (s *EvidenceState) add(e Entry) error {
	switch e.Kind {
	case Evidenced:
		var m Meta
		if err := json.Unmarshal(e.Data, &m); err != nil {
			return err
		}
		s.Puts++
		s.Purged = false
		s.Ever = s.Ever || m.Until.IsZero()
		if m.Until.After(s.Until) {
			s.Until = m.Until
		}
	case Hold:
		var h HoldData
		if err := json.Unmarshal(e.Data, &h); err != nil {
			return err
		}
		s.Held, s.Reason = h.On, h.Reason
	case Purge:
		s.Purged = true
	}
	return nil
}

// State returns what the ledger says of evidence. It reads the whole ledger:
// that takes seconds for a million entries.
func (e *Evidence) State(d Digest) (EvidenceState, error) {
	v, err := e.log.View()
	if err != nil {
		return EvidenceState{}, err
	}
	var s EvidenceState
	err = s.read(v, d, 0)
	return s, err
}

// read takes the entries from an index on into account.
func (s *EvidenceState) read(v *View, d Digest, from int64) error {
	about := []byte(`"` + d.About() + `"`)
	for raw, err := range v.raw(from, v.Size()) {
		if err != nil {
			return err
		}
		if !bytes.Contains(raw, about) {
			continue
		}
		entry, err := ParseEntry(raw)
		if err != nil {
			return err
		}
		if entry.About == d.About() {
			if err := s.add(entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide appends entries if may allows it in the state that the evidence has
// at that very moment: most of the ledger is read before, what came since under
// the lock.
func (e *Evidence) decide(d Digest, entries []Entry, may func(EvidenceState) error) error {
	v, err := e.log.View()
	if err != nil {
		return err
	}
	var s EvidenceState
	if err := s.read(v, d, 0); err != nil {
		return err
	}
	_, err = e.log.append(&request{entries: entries, guard: func(now *View) error {
		if err := s.read(now, d, v.Size()); err != nil {
			return err
		}
		return may(s)
	}})
	return err
}
