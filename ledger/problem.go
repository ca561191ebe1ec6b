package ledger

import (
	"fmt"

	"casco/lang"
)

// ErrDamaged is what every [Problem] is. Open returns one when the end of the
// log, which it would write on, is not what it was when it was signed.
var ErrDamaged = lang.Errorf(lang.Text{En: "the ledger is damaged", Es: "el registro está dañado"})

// A Problem is one thing that is wrong with a log.
type Problem struct {
	Code  Code      `json:"code"`
	First int64     `json:"first"` // the entries that it is about, Last included; -1: none
	Last  int64     `json:"last"`
	File  string    `json:"file,omitempty"` // within the log's directory
	Text  lang.Text `json:"text"`
}

// A Code is the sort of a problem; the list is closed.
type Code string

const (
	BadEntry      Code = "bad-entry"      // an entry is not the one that was signed, or is none
	BadTile       Code = "bad-tile"       // a tile does not fit the entries, which fit the root
	BadRoot       Code = "bad-root"       // entries and tiles agree, but not with what was signed
	BadSignature  Code = "bad-signature"  // no trusted key signed the checkpoint
	BadJournal    Code = "bad-journal"    // the journal cannot be read
	Missing       Code = "missing"        // a file with entries or hashes is not there
	MissingTail   Code = "missing-tail"   // a signed checkpoint has more entries than the log
	OldCheckpoint Code = "old-checkpoint" // the checkpoint is older than files that came before its successor
	Forked        Code = "forked"         // somebody holds a checkpoint of another history
	Backwards     Code = "backwards"      // times run backwards, and no clock entry says so
	BadEvidence   Code = "bad-evidence"   // evidence is not what its entry says, or is not there
	Stray         Code = "stray"          // a file that a log of this size does not have
	Unwitnessed   Code = "unwitnessed"    // fewer witnesses than demanded
)

func (p *Problem) Error() string { return p.Text.En }

// Unwrap lets lang.Say find the text in both languages.
func (p *Problem) Unwrap() error { return lang.Errorf(lang.Text{En: "%s", Es: "%s"}, p.Text) }

// Is makes every Problem an ErrDamaged.
func (p *Problem) Is(target error) bool { return target == ErrDamaged }

func problem(code Code, first, last int64, file string, text lang.Text) *Problem {
	return &Problem{code, first, last, file, text}
}

// say formats t; of arguments that have words in both languages each half gets
// its own.
func say(t lang.Text, args ...any) lang.Text {
	err := lang.Errorf(t, args...)
	return lang.Text{En: lang.Say(err, lang.English), Es: lang.Say(err, lang.Spanish)}
}

// span is "entry 5" or "entries 5 to 9".
func span(first, last int64) lang.Text {
	if first == last {
		return lang.Text{En: fmt.Sprintf("entry %d", first), Es: fmt.Sprintf("la entrada %d", first)}
	}
	return lang.Text{En: fmt.Sprintf("entries %d to %d", first, last), Es: fmt.Sprintf("las entradas %d a %d", first, last)}
}
