package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/lang"
)

// Checks says what Verify compares a log with.
type Checks struct {
	Trust        Trust
	Held         []Held        // checkpoints that others keep, beside those under witness/
	MinWitnesses int           // so many witnesses must vouch for a checkpoint that agrees
	Evidence     string        // folder of the evidence; "" : digests are not checked
	Silence      time.Duration // note when nothing was recorded for longer; 0: never
	Now          time.Time     // for silence up to now, and times to come; zero: neither
}

// Verify reads a whole log, or a whole copy of one, and compares everything
// with everything: entries with tiles, tiles with each other and with the
// signed roots, those with the checkpoints that others hold. It changes
// nothing, and a log may be written to meanwhile.
//
// What is wrong with the log is in the report. The error is for what kept
// Verify from reading it: no log, a newer format, no permission.
func Verify(ctx context.Context, dir string, c Checks) (*Report, error) {
	begun := time.Now()
	f, err := readFiles(dir)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "verify ledger: %w", Es: "verificar el registro: %w"}, err)
	}
	w := &walk{dir: dir, checks: c, files: f, evidence: map[Digest]*EvidenceState{}, storedAt: map[Digest]int64{}}
	w.report = &Report{Dir: dir, Kinds: map[Kind]int64{}, Problems: []Problem{}, Notes: []Note{}, Held: []HeldReport{}}
	w.readSigned()
	w.readHeld()
	if err := w.bundles(ctx); err != nil {
		return nil, lang.Errorf(lang.Text{En: "verify ledger: %w", Es: "verificar el registro: %w"}, err)
	}
	w.end()
	w.partials()
	w.judge()
	w.witnesses()
	w.silence()
	if err := w.checkEvidence(ctx); err != nil {
		return nil, lang.Errorf(lang.Text{En: "verify ledger: %w", Es: "verificar el registro: %w"}, err)
	}
	w.report.Took = time.Since(begun)
	return w.report, nil
}

// logFiles are the files of a log that change, read at one moment, and the
// names of the others.
type logFiles struct {
	checkpoint []byte // nil: not there
	journal    []byte // nil: not there
	copied     bool   // there is no lock: nobody writes here
	held       []Held
	names      []string          // under tile/
	partial    map[string][]byte // partial tiles and bundles, by name
}

// maxPartial is the most bytes that a partial bundle may have.
const maxPartial = tileWidth * (2 + MaxEntry)

func readFiles(dir string) (*logFiles, error) {
	unlock, err := lockShared(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	f := &logFiles{partial: map[string][]byte{}}
	if f.checkpoint, err = readIfThere(filepath.Join(dir, "checkpoint"), maxNote); err != nil {
		return nil, err
	}
	if f.journal, err = readIfThere(filepath.Join(dir, "journal"), 1<<31); err != nil {
		return nil, err
	}
	_, err = os.Lstat(filepath.Join(dir, "lock"))
	f.copied = errors.Is(err, fs.ErrNotExist)
	if f.held, err = readHeld(dir); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err // a name with a dot was left by a writer that was killed
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f.names = append(f.names, name)
		if strings.HasSuffix(filepath.Dir(name), ".p") {
			f.partial[name], err = readIfThere(path, maxPartial)
		}
		return err
	})
	return f, err
}

// readIfThere returns the content of a file, at most one byte more than most;
// nil if it is not there.
func readIfThere(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// readSigned reads the checkpoint and the journal: what the log says of itself.
func (w *walk) readSigned() {
	f, r := w.files, w.report
	if f.checkpoint == nil {
		r.problem(problem(Missing, -1, -1, "checkpoint", lang.Text{En: "the checkpoint is missing", Es: "falta el punto de control (checkpoint)"}))
	} else if cp, err := w.checks.Trust.Open(f.checkpoint); err != nil {
		r.problem(badSignature("checkpoint", err))
		// Go on by what it says: entries and tiles can still be compared.
		text, _, _ := strings.Cut(string(f.checkpoint), "\n\n")
		if cp, err := parseRoot(text + "\n"); err == nil {
			w.published = &cp
		}
	} else {
		w.published = &cp
		w.marks = append(w.marks, mark{cp.Size, cp.Root, "checkpoint", -1})
	}
	if w.published != nil {
		r.Origin = w.published.Origin
		w.base = w.published.Size &^ (tileWidth - 1)
	}
	switch {
	case f.journal != nil:
		w.readJournal()
	case !f.copied:
		r.problem(noJournal())
	}
	if w.published != nil && w.published.Size < w.base {
		r.problem(problem(OldCheckpoint, w.published.Size, w.base-1, "checkpoint", say(lang.Text{
			En: "an old checkpoint was put back: it has %d entries, and the journal begins at entry %d",
			Es: "se repuso un punto de control viejo: tiene %d entradas, y el journal empieza en la entrada %d",
		}, w.published.Size, w.base)))
	}
}

func (w *walk) readJournal() {
	r := w.report
	j, err := parseJournal(w.files.journal)
	if err != nil {
		r.problem(problem(BadJournal, -1, -1, "journal", say(lang.Text{En: "journal: %s", Es: "journal: %s"}, err)))
		return
	}
	w.base, w.journaled = j.base, true
	for _, f := range j.frames {
		first := w.base + int64(len(w.tail))
		w.tail = append(w.tail, f.entries...)
		last := w.base + int64(len(w.tail)) - 1
		cp, err := w.checks.Trust.Open(f.signed)
		switch {
		case err != nil:
			r.problem(problem(BadSignature, first, last, "journal", say(lang.Text{
				En: "journal, entries %d to %d: %s", Es: "journal, entradas %d a %d: %s",
			}, first, last, err)))
		case cp.Size != last+1 || w.published != nil && cp.Origin != w.published.Origin:
			r.problem(problem(BadJournal, first, last, "journal", say(lang.Text{
				En: "journal: a checkpoint of %s, size %d, stands behind entry %d",
				Es: "journal: un punto de control de %s, tamaño %d, está tras la entrada %d",
			}, cp.Origin, cp.Size, last)))
		default:
			w.marks = append(w.marks, mark{cp.Size, cp.Root, "journal", -1})
		}
	}
	next := w.base + int64(len(w.tail))
	if j.damaged != nil {
		r.problem(problem(BadJournal, next, next, "journal", say(lang.Text{
			En: "journal: %s, from entry %d on: it was acknowledged and is altered or lost",
			Es: "journal: %s, desde la entrada %d: fue confirmada y está alterada o perdida",
		}, j.damaged, next)))
	}
	if len(j.torn) > 0 {
		r.note(TornTail, next, next, say(lang.Text{
			En: "%d bytes behind entry %d are of an append that was never acknowledged; the next append cuts them off",
			Es: "%d bytes tras la entrada %d son de una escritura que nunca se confirmó; la próxima los corta",
		}, len(j.torn), next-1))
	}
}

// readHeld reads the checkpoints that others hold.
func (w *walk) readHeld() {
	r := w.report
	for _, h := range slices.Concat(w.files.held, w.checks.Held) {
		cp, err := w.checks.Trust.Open(h.Note)
		if err != nil {
			r.problem(badSignature(h.From, err))
			continue
		}
		if r.Origin != "" && cp.Origin != r.Origin {
			r.problem(problem(Forked, -1, -1, h.From, say(lang.Text{
				En: "%s is a checkpoint of another log: %s", Es: "%s es un punto de control de otro registro: %s",
			}, h.From, cp.Origin)))
			continue
		}
		if cp.Cosigned == nil {
			cp.Cosigned = []Cosignature{}
		}
		w.marks = append(w.marks, mark{cp.Size, cp.Root, h.From, len(r.Held)})
		r.Held = append(r.Held, HeldReport{From: h.From, Size: cp.Size, Cosigned: cp.Cosigned})
	}
}

// witnesses counts who vouches for the log.
func (w *walk) witnesses() {
	upTo := map[string]int64{} // by witness: the most entries it vouches for
	for _, h := range w.report.Held {
		for _, c := range h.Cosigned {
			if h.Agrees {
				upTo[c.Witness] = max(upTo[c.Witness], h.Size)
			}
		}
	}
	var sizes []int64
	for _, n := range upTo {
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	need := max(w.checks.MinWitnesses, 1)
	if len(sizes) >= need {
		w.report.Witnessed = sizes[need-1]
	} else if w.checks.MinWitnesses > 0 {
		w.report.problem(problem(Unwitnessed, -1, -1, "", say(lang.Text{
			En: "%d witnesses vouch for the log, %d are demanded", Es: "%d testigos responden por el registro, se exigen %d",
		}, len(sizes), need)))
	}
}

// silence judges the time since the last entry.
func (w *walk) silence() {
	r, now := w.report, w.checks.Now
	if now.IsZero() || r.To.IsZero() {
		return
	}
	if since := now.Sub(r.To); w.checks.Silence > 0 && since > w.checks.Silence {
		r.note(Silence, r.Size-1, r.Size-1, say(lang.Text{
			En: "nothing was recorded since %s, for %s", Es: "no se registró nada desde %s, durante %s",
		}, r.To.Format(time.RFC3339), since.Round(time.Second)))
	}
	if r.To.After(now.Add(level)) {
		r.note(InFuture, r.Size-1, r.Size-1, say(lang.Text{
			En: "the last entry is of %s, which is still to come", Es: "la última entrada es de %s, que aún no ha llegado",
		}, r.To.Format(time.RFC3339)))
	}
}

// learn takes into account what an entry says of evidence.
func (w *walk) learn(i int64, e Entry) {
	if e.Kind != Evidenced && e.Kind != Hold && e.Kind != Purge {
		return
	}
	d, err := ParseDigest(e.About)
	if err == nil {
		s := w.evidence[d]
		if s == nil {
			s = &EvidenceState{}
			w.evidence[d] = s
		}
		err = s.add(e)
	}
	var m Meta
	if err == nil && e.Kind == Evidenced {
		if err = json.Unmarshal(e.Data, &m); err == nil && m.Digest != d {
			err = lang.Errorf(lang.Text{En: "it is about %s and names %s", Es: "trata de %s y nombra %s"}, d, m.Digest)
		}
		w.storedAt[d] = i
	}
	if err != nil {
		w.report.problem(problem(BadEntry, i, i, "", say(lang.Text{
			En: "entry %d does not say which evidence: %s", Es: "la entrada %d no dice qué evidencia: %s",
		}, i, err)))
	}
}

// checkEvidence compares the folder of evidence with what the log says.
func (w *walk) checkEvidence(ctx context.Context) error {
	r := w.report
	store := NewEvidence(w.checks.Evidence, nil)
	r.Evidence = EvidenceReport{Known: len(w.evidence), Checked: w.checks.Evidence != ""}
	digests := make([]Digest, 0, len(w.evidence))
	for d := range w.evidence {
		digests = append(digests, d)
	}
	slices.SortFunc(digests, func(a, b Digest) int { return int(w.storedAt[a] - w.storedAt[b]) })
	for _, d := range digests {
		s, at := w.evidence[d], w.storedAt[d]
		if s.Held {
			r.Evidence.Held++
		}
		if s.Purged {
			r.Evidence.Purged++
		}
		if !r.Evidence.Checked {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := store.Get(d)
		switch {
		case s.Purged && errors.Is(err, ErrNoEvidence):
		case s.Purged:
			r.note(NotPurged, at, at, say(lang.Text{
				En: "evidence %s was recorded as deleted and is still there", Es: "la evidencia %s consta como borrada y sigue ahí",
			}, d))
		case err != nil:
			r.problem(problem(BadEvidence, at, at, "", say(lang.Text{En: "entry %d: evidence %s", Es: "entrada %d: evidencia %s"}, at, err)))
		default:
			r.Evidence.Good++
		}
	}
	return nil
}
