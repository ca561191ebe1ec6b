package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// A Request asks a witness to cosign a checkpoint. Its text form is the body
// of add-checkpoint in c2sp.org/tlog-witness, whatever carries it.
type Request struct {
	Old        int64          // size that the witness last cosigned; 0: none
	Proof      tlog.TreeProof // from Old to the size of the checkpoint
	Checkpoint []byte         // signed note
}

// Request returns what to ask a witness that has last cosigned size old.
func (v *View) Request(old int64) (Request, error) {
	proof, err := v.Consistency(old, v.Size())
	return Request{old, proof, v.cp.Note}, err
}

// Text returns the body of add-checkpoint.
func (r Request) Text() []byte {
	b := appendHashes(fmt.Appendf(nil, "old %d\n", r.Old), r.Proof)
	return append(append(b, '\n'), r.Checkpoint...)
}

// ParseRequest reads the body of add-checkpoint. Its error is ErrRequest.
func ParseRequest(text []byte) (Request, error) {
	head, cp, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return Request{}, lang.Errorf(lang.Text{En: "no empty line before the checkpoint: %w", Es: "no hay línea vacía antes del punto de control: %w"}, ErrRequest)
	}
	lines := strings.Split(string(head), "\n")
	old, err := parseNumber(lines[0], "old ")
	if err != nil {
		return Request{}, fmt.Errorf("%w: %w", err, ErrRequest)
	}
	proof, err := parseHashes(lines[1:])
	if err != nil {
		return Request{}, fmt.Errorf("%w: %w", err, ErrRequest)
	}
	return Request{old, proof, cp}, nil
}

// What a witness refuses. The status of each in c2sp.org/tlog-witness is given
// by WitnessStatus.
var (
	ErrRequest      = lang.Errorf(lang.Text{En: "not a request to a witness", Es: "no es una petición a un testigo"})
	ErrUnknownLog   = lang.Errorf(lang.Text{En: "a log that this witness does not know", Es: "un registro que este testigo no conoce"})
	ErrInconsistent = lang.Errorf(lang.Text{En: "the log is not a continuation of what was seen of it", Es: "el registro no es continuación de lo que se vio de él"})
)

// A SeenError is returned to a log that supposes that the witness has last
// cosigned another size than it has. If Size is more than the log's own, then
// the log has lost its end.
type SeenError struct{ Size int64 }

func (e *SeenError) Error() string { return e.Unwrap().Error() }

// Unwrap lets lang.Say find the text in both languages.
func (e *SeenError) Unwrap() error {
	return lang.Errorf(lang.Text{En: "last cosigned here: %d entries", Es: "lo último cofirmado aquí: %d entradas"}, e.Size)
}

// WitnessStatus returns the HTTP status that c2sp.org/tlog-witness has for an
// error of Witness.Add; 200 for nil.
func WitnessStatus(err error) int {
	var seen *SeenError
	switch {
	case err == nil:
		return 200
	case errors.Is(err, ErrRequest):
		return 400
	case errors.Is(err, ErrSignature):
		return 403
	case errors.Is(err, ErrUnknownLog):
		return 404
	case errors.As(err, &seen):
		return 409
	case errors.Is(err, ErrInconsistent):
		return 422
	}
	return 500
}

// A Witness remembers the newest checkpoint of each log that it knows, in a
// directory of its own, and cosigns one only if the log has merely grown since.
// Several processes may use the directory.
type Witness struct {
	dir   string
	key   *Key
	clock func() time.Time
	logs  []note.Verifier
}

// NewWitness returns the witness that keeps what it has seen in dir, signs
// with key (see [NewWitnessKey]) and knows the logs with these keys, whose
// names are the logs' origins.
func NewWitness(dir string, key *Key, clock func() time.Time, logs ...note.Verifier) (*Witness, error) {
	if key.alg != algCosignature {
		return nil, lang.Errorf(lang.Text{En: "witness %s: the key is one to sign a log with", Es: "testigo %s: la clave es de las que firman un registro"}, key.name)
	}
	return &Witness{dir, key, clock, logs}, nil
}

// Add verifies a request, remembers its checkpoint, and returns the
// cosignature: a signature line to be put behind the checkpoint.
func (w *Witness) Add(r Request) (line []byte, err error) {
	next, err := w.open(r)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "witness %s: %w", Es: "testigo %s: %w"}, w.key.name, err)
	}
	unlock, err := w.lock()
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "witness %s: %w", Es: "testigo %s: %w"}, w.key.name, err)
	}
	defer unlock()
	seen, err := w.Seen(next.Origin)
	if err == nil {
		err = follows(seen, next, r)
	}
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "witness %s: %w", Es: "testigo %s: %w"}, w.key.name, err)
	}
	line, cosigned, err := w.cosign(next)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "witness %s: %w", Es: "testigo %s: %w"}, w.key.name, err)
	}
	path := w.path(next.Origin)
	files := batch{root: w.dir}
	if err := errors.Join(files.mkdir(filepath.Dir(path)), files.flush(), writeFile(path, cosigned)); err != nil {
		return nil, lang.Errorf(lang.Text{En: "witness %s: %w", Es: "testigo %s: %w"}, w.key.name, err)
	}
	return line, nil
}

// open verifies that the checkpoint is signed by a log that is known.
func (w *Witness) open(r Request) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(r.Checkpoint), "\n\n")
	if !ok {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "the checkpoint has no signature: %w", Es: "el punto de control no tiene firma: %w"}, ErrRequest)
	}
	claimed, err := parseRoot(text + "\n")
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", err, ErrRequest)
	}
	var keys []note.Verifier
	for _, k := range w.logs {
		if k.Name() == claimed.Origin {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return Checkpoint{}, fmt.Errorf("%q: %w", claimed.Origin, ErrUnknownLog)
	}
	cp, err := Trust{Log: keys}.Open(r.Checkpoint)
	if err != nil && !errors.Is(err, ErrSignature) {
		return Checkpoint{}, fmt.Errorf("%w: %w", err, ErrRequest)
	}
	return cp, err
}

// follows says whether next, with the proof in r, may come after seen.
func follows(seen, next Checkpoint, r Request) error {
	switch {
	case r.Old > next.Size:
		return lang.Errorf(lang.Text{En: "from %d back to %d entries: %w", Es: "de %d entradas atrás a %d: %w"}, r.Old, next.Size, ErrRequest)
	case r.Old != seen.Size:
		return &SeenError{seen.Size}
	case r.Old == 0 && len(r.Proof) > 0:
		return lang.Errorf(lang.Text{En: "a proof from nothing: %w", Es: "una prueba desde la nada: %w"}, ErrInconsistent)
	case next.Size == 0:
		if empty, err := tlog.TreeHash(0, nil); err != nil || next.Root != empty {
			return lang.Errorf(lang.Text{En: "the root of no entries is another: %w", Es: "la raíz de ninguna entrada es otra: %w"}, ErrInconsistent)
		}
		return nil
	case r.Old == 0:
		return nil
	}
	if err := tlog.CheckTree(r.Proof, next.Size, next.Root, seen.Size, seen.Root); err != nil {
		return lang.Errorf(lang.Text{En: "from %d to %d entries: %w", Es: "de %d a %d entradas: %w"}, seen.Size, next.Size, ErrInconsistent)
	}
	return nil
}

// cosign returns the cosignature of a checkpoint, alone and with it.
func (w *Witness) cosign(cp Checkpoint) (line, cosigned []byte, err error) {
	n, err := note.Open(cp.Note, note.VerifierList(w.logs...))
	if err != nil {
		return nil, nil, err
	}
	n.UnverifiedSigs = nil
	before, err := note.Sign(n)
	if err != nil {
		return nil, nil, err
	}
	cosigned, err = note.Sign(n, signerAt{w.key, w.clock()})
	if err != nil {
		return nil, nil, err
	}
	return cosigned[len(before):], cosigned, nil
}

// signerAt signs with the key of a witness at a given time.
type signerAt struct {
	*Key
	at time.Time
}

func (s signerAt) Sign(msg []byte) ([]byte, error) { return s.signAt(msg, s.at) }

// Seen returns the newest checkpoint that w has cosigned of the log with that
// origin; the zero value if none.
func (w *Witness) Seen(origin string) (Checkpoint, error) {
	b, err := os.ReadFile(w.path(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, err
	}
	cp, err := Trust{Log: w.logs, Witnesses: []note.Verifier{w.key.Verifier()}}.Open(b)
	switch {
	case err != nil:
		return Checkpoint{}, lang.Errorf(lang.Text{En: "what was seen of %s: %w", Es: "lo que se vio de %s: %w"}, origin, err)
	case cp.Origin != origin || len(cp.Cosigned) == 0:
		return Checkpoint{}, lang.Errorf(lang.Text{En: "what was seen of %s: %w", Es: "lo que se vio de %s: %w"}, origin, ErrSignature)
	}
	return cp, nil
}

// path is where the newest checkpoint of a log is kept: as the monitoring
// prefix of c2sp.org/tlog-witness has it.
func (w *Witness) path(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return filepath.Join(w.dir, hex.EncodeToString(h[:]), "checkpoint")
}

func (w *Witness) lock() (unlock func(), err error) { return lockFolder(w.dir) }

// Cosigned is the data of a Witnessed entry.
type Cosigned struct {
	Witness string    `json:"witness"` // verifier key ID: name+id
	Size    int64     `json:"size"`
	Root    tlog.Hash `json:"root"`
	Time    time.Time `json:"time"` // of the cosignature, by the witness's clock
}

// Witnessed takes what a witness gave back for a checkpoint of this log (the
// answer to add-checkpoint: signature lines): it verifies the cosignature,
// keeps it under witness/ and records it in the log.
func (l *Log) Witnessed(checkpoint, lines []byte, witness note.Verifier) (Checkpoint, error) {
	trust := Trust{Log: l.keys, Witnesses: []note.Verifier{witness}}
	cp, err := trust.Open(append(bytes.Clone(checkpoint), lines...))
	if err != nil {
		return Checkpoint{}, err
	}
	id := fmt.Sprintf("%s+%08x", witness.Name(), witness.KeyHash())
	if len(cp.Cosigned) == 0 {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no cosignature of %s: %w", Es: "no hay cofirma de %s: %w"}, id, ErrSignature)
	}
	entry, err := NewEntry(Witnessed, "casco", "witness/"+witness.Name(), Cosigned{id, cp.Size, cp.Root, cp.Cosigned[0].Time})
	if err != nil {
		return Checkpoint{}, err
	}
	_, err = l.append(&request{entries: []Entry{entry}, guard: func(v *View) error {
		if root, err := v.RootAt(cp.Size); err != nil || root != cp.Root {
			return lang.Errorf(lang.Text{En: "the checkpoint of %d entries is not one of this log: %w", Es: "el punto de control de %d entradas no es de este registro: %w"}, cp.Size, ErrInconsistent)
		}
		return l.keepHeld(id, cp, trust)
	}})
	return cp, err
}

// keepHeld keeps the checkpoint of a witness under witness/, if it is not
// older than the one that is there. The caller holds the lock.
func (l *Log) keepHeld(id string, cp Checkpoint, trust Trust) error {
	path := filepath.Join(l.dir, "witness", strings.ReplaceAll(id, "/", "_"))
	if b, err := os.ReadFile(path); err == nil {
		if old, err := trust.Open(b); err == nil && old.Size > cp.Size {
			return nil
		}
	}
	files := batch{root: l.dir}
	return errors.Join(files.mkdir(filepath.Dir(path)), files.flush(), writeFile(path, cp.Note))
}
