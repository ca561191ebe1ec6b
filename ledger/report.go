package ledger

import (
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// A Report is what Verify found out about a log.
type Report struct {
	Dir      string    `json:"dir"`
	Origin   string    `json:"origin"`
	Size     int64     `json:"size"`   // entries that are there
	Proved   int64     `json:"proved"` // of them, under a root that the log signed
	Root     string    `json:"root"`   // of Proved entries, base64
	Problems []Problem `json:"problems"`
	More     int       `json:"more,omitempty"` // problems beyond those listed
	Notes    []Note    `json:"notes"`

	Kinds map[Kind]int64 `json:"kinds"`
	From  time.Time      `json:"from,omitzero"` // time of the first entry
	To    time.Time      `json:"to,omitzero"`   // and of the last

	Held      []HeldReport   `json:"held"`      // checkpoints that witnesses keep
	Witnessed int64          `json:"witnessed"` // entries that as many witnesses as demanded (one at least) vouch for
	Evidence  EvidenceReport `json:"evidence"`
	Took      time.Duration  `json:"took"` // nanoseconds
}

// OK reports whether nothing is wrong. It says no more than Proved and
// Witnessed do: a log that its own host cut short and signed again is OK to
// who asks no witness.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// A HeldReport says how the log compares with a checkpoint that somebody holds.
type HeldReport struct {
	From     string        `json:"from"`
	Size     int64         `json:"size"`
	Cosigned []Cosignature `json:"cosigned"` // by witnesses whose keys are trusted
	Agrees   bool          `json:"agrees"`
}

// EvidenceReport counts what the log's entries say of evidence.
type EvidenceReport struct {
	Known   int  `json:"known"`   // pieces that the log names
	Purged  int  `json:"purged"`  // of them, deleted and recorded
	Held    int  `json:"held"`    // under legal hold
	Checked bool `json:"checked"` // a folder was given
	Good    int  `json:"good"`    // there, with the right digest
}

// A Note is worth knowing and no fault of the log.
type Note struct {
	Code  NoteCode  `json:"code"`
	First int64     `json:"first"` // the entries that it is about; -1: none
	Last  int64     `json:"last"`
	Text  lang.Text `json:"text"`
}

// A NoteCode is the sort of a note; the list is closed.
type NoteCode string

const (
	TornTail    NoteCode = "torn-tail"    // bytes of an append that was never acknowledged
	ClockMoved  NoteCode = "clock"        // the clock was moved back, and that was recorded
	Silence     NoteCode = "silence"      // nothing was recorded for long
	InFuture    NoteCode = "future"       // the last entry has a time that is still to come
	Lag         NoteCode = "unpublished"  // entries newer than the file "checkpoint"
	UnknownKind NoteCode = "unknown-kind" // written by a newer casco
	NotPurged   NoteCode = "not-purged"   // evidence that was recorded as deleted is there
)

// maxListed bounds problems and notes in a report: a log that was exchanged
// altogether has millions.
const maxListed = 100

func (r *Report) problem(p *Problem) {
	if len(r.Problems) == maxListed {
		r.More++
		return
	}
	r.Problems = append(r.Problems, *p)
}

func (r *Report) note(code NoteCode, first, last int64, text lang.Text) {
	if len(r.Notes) < maxListed {
		r.Notes = append(r.Notes, Note{code, first, last, text})
	}
}

// Lines says in a few lines, for people, what was proved and what is wrong.
func (r *Report) Lines() []lang.Text {
	var out []lang.Text
	for i := range r.Problems {
		out = append(out, r.Problems[i].Text)
	}
	if r.More > 0 {
		out = append(out, say(lang.Text{En: "and %d more", Es: "y %d más"}, r.More))
	}
	for i := range r.Notes {
		out = append(out, r.Notes[i].Text)
	}
	out = append(out, say(lang.Text{
		En: "%d of %d entries of %s are under a signed root",
		Es: "%d de %d entradas de %s están bajo una raíz firmada",
	}, r.Proved, r.Size, r.Origin))
	if len(r.Held) == 0 {
		return append(out, lang.Text{
			En: "no checkpoint of a witness was given: a tail that the host itself cut off would not be seen",
			Es: "no se dio ningún punto de control de un testigo: no se vería un final que el propio anfitrión hubiera cortado",
		})
	}
	for _, h := range r.Held {
		if h.Agrees {
			out = append(out, say(lang.Text{
				En: "agrees with the checkpoint of %d entries in %s", Es: "concuerda con el punto de control de %d entradas en %s",
			}, h.Size, h.From))
		}
	}
	return out
}

// A mark is a signed root that the walk over the log passes.
type mark struct {
	size int64
	root tlog.Hash
	file string
	held int // index in Report.Held; -1: one of the log's own
}
