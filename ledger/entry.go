package ledger

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"casco/lang"
)

// A Kind says what an entry is about. The list is closed: Append refuses
// others, and a reader that meets one was made before it.
type Kind string

const (
	Run       Kind = "run"        // a run began or ended: audit, apply, verify, rollback, probe, watch; with exit and versions
	Verdict   Kind = "verdict"    // what a check says of an object, when that changed
	Drift     Kind = "drift"      // a change on the host that no record explains
	Plan      Kind = "plan"       // a plan was made, by its digest
	Change    Kind = "change"     // a change took on another state: submitted, scheduled, applied, confirmed, ratified, closed, …
	Approval  Kind = "approval"   // somebody approved, rejected or withdrew
	Step      Kind = "step"       // a step of a change was prepared, done, failed or undone
	Decision  Kind = "decision"   // the guard allowed or refused a request
	Policy    Kind = "policy"     // a policy took effect, or was refused
	Exception Kind = "exception"  // an exception was asked for, granted, voided; it expired
	Treatment Kind = "treatment"  // an owner decided what to do with a risk
	Alert     Kind = "alert"      // the watch saw something
	Control   Kind = "control"    // one of casco's own controls fell silent or came back
	Incident  Kind = "incident"   // an incident took on another state
	Case      Kind = "case"       // a forensic case was opened, handed on, sealed or released
	Evidenced Kind = "evidence"   // a piece of evidence was stored: its digest, source, retention
	Hold      Kind = "hold"       // a legal hold was put on evidence, or released
	Purge     Kind = "purge"      // evidence was deleted
	Exported  Kind = "export"     // a part of the ledger left the host
	Witnessed Kind = "checkpoint" // a witness cosigned a checkpoint, or refused to
	KeyChange Kind = "key"        // a key came into use or went out of it
	Advised   Kind = "advisories" // a database of advisories was built, imported or refused
	Clock     Kind = "clock"      // written by the ledger: the clock was moved back
	Repair    Kind = "repair"     // written by the ledger: an append that was never acknowledged was cut off
)

var kinds = []Kind{
	Run, Verdict, Drift, Plan, Change, Approval, Step, Decision, Policy, Exception, Treatment, Alert, Control,
	Incident, Case, Evidenced, Hold, Purge, Exported, Witnessed, KeyChange, Advised, Clock, Repair,
}

// Kinds returns all kinds.
func Kinds() []Kind { return slices.Clone(kinds) }

// Known reports whether this version has a kind of that name.
func (k Kind) Known() bool { return slices.Contains(kinds, k) }

// An Entry is one thing that happened. Its index in the log is its sequence
// number; it is not repeated inside.
type Entry struct {
	Time  time.Time       `json:"time"`            // when it was recorded, UTC; set by Append. When it happened, if that differs, is in Data
	Kind  Kind            `json:"kind"`            // one of Kinds
	Actor string          `json:"actor"`           // who: a person's key or name, a uid, or "casco"
	About string          `json:"about,omitempty"` // what of: a Ref, a change, a finding, "sha256:…"
	Data  json.RawMessage `json:"data,omitempty"`  // the details: any JSON, without secrets
}

// MaxEntry is the most bytes that an entry may take as JSON: entry bundles have
// a length of 16 bits (c2sp.org/tlog-tiles). What is bigger is evidence: store
// it with [Evidence.Put], and its digest here.
const MaxEntry = 1<<16 - 1

// ErrTooBig is returned by Append for an entry of more than MaxEntry bytes.
var ErrTooBig = lang.Errorf(lang.Text{En: "too big for the ledger: store it as evidence", Es: "demasiado grande para el registro: guárdelo como evidencia"})

// NewEntry returns an entry with data as its details; nil is no details.
func NewEntry(kind Kind, actor, about string, data any) (Entry, error) {
	e := Entry{Kind: kind, Actor: actor, About: about}
	if data == nil {
		return e, nil
	}
	b, err := json.Marshal(data)
	if err != nil {
		return Entry{}, lang.Errorf(lang.Text{En: "%s entry about %q: %w", Es: "entrada %s sobre %q: %w"}, kind, about, err)
	}
	e.Data = b
	return e, nil
}

// ParseEntry reads an entry as it is in the log. Fields that this version does
// not know are let pass, and so is an unknown kind: a newer casco may have
// written them.
func ParseEntry(b []byte) (Entry, error) {
	e, ok := parseOwn(b)
	if ok {
		return e, nil
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, lang.Errorf(lang.Text{En: "not an entry: %w", Es: "no es una entrada: %w"}, err)
	}
	if e.Time.IsZero() || e.Kind == "" {
		return Entry{}, lang.Errorf(lang.Text{En: "not an entry: it has no time or no kind", Es: "no es una entrada: no tiene hora o tipo"})
	}
	return e, nil
}

// parseOwn reads an entry that is written as encode writes it, with nothing in
// its strings that has to be decoded, three times as fast as json.Unmarshal: a
// million of them are read to verify a log. Whatever else it meets it leaves to
// that; a test holds the two to the same results.
func parseOwn(b []byte) (e Entry, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(`{"time":"`))
	if !ok {
		return Entry{}, false
	}
	stamp, rest, ok := plainString(rest)
	if !ok || e.Time.UnmarshalText(stamp) != nil || e.Time.IsZero() {
		return Entry{}, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"kind":"`)); !ok {
		return Entry{}, false
	}
	kind, rest, ok := plainString(rest)
	if !ok || len(kind) == 0 {
		return Entry{}, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"actor":"`)); !ok {
		return Entry{}, false
	}
	actor, rest, ok := plainString(rest)
	if !ok {
		return Entry{}, false
	}
	e.Kind, e.Actor = Kind(kind), string(actor)
	if after, found := bytes.CutPrefix(rest, []byte(`,"about":"`)); found {
		var about []byte
		if about, rest, ok = plainString(after); !ok {
			return Entry{}, false
		}
		e.About = string(about)
	}
	if after, found := bytes.CutPrefix(rest, []byte(`,"data":`)); found {
		data, ok := bytes.CutSuffix(after, []byte("}"))
		if !ok || !json.Valid(data) {
			return Entry{}, false
		}
		e.Data, rest = data, after[len(data):]
	}
	return e, string(rest) == "}"
}

// plainString returns the bytes up to a quotation mark and those behind it; not
// if one of them is not printable ASCII, or a backslash.
func plainString(b []byte) (s, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == '"':
			return b[:i], b[i+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// encode returns e as one line of JSON without its end.
func (e Entry) encode() ([]byte, error) {
	switch {
	case !e.Kind.Known():
		return nil, lang.Errorf(lang.Text{En: "entry about %q: %q is not a kind of entry", Es: "entrada sobre %q: %q no es un tipo de entrada"}, e.About, e.Kind)
	case e.Actor == "":
		return nil, lang.Errorf(lang.Text{En: "%s entry about %q: nobody did it: it has no actor", Es: "entrada %s sobre %q: nadie lo hizo: no tiene actor"}, e.Kind, e.About)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s entry about %q: %w", Es: "entrada %s sobre %q: %w"}, e.Kind, e.About, err)
	}
	if len(b) > MaxEntry {
		return nil, lang.Errorf(lang.Text{En: "%s entry about %q: %d bytes: %w", Es: "entrada %s sobre %q: %d bytes: %w"}, e.Kind, e.About, len(b), ErrTooBig)
	}
	return b, nil
}
