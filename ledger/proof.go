package ledger

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// A Proof shows, offline and without the log, that an entry is in it:
// c2sp.org/tlog-proof. Its text form is kept in files named *.tlog-proof.
type Proof struct {
	Index      int64            `json:"index"`
	Path       tlog.RecordProof `json:"path"`       // from the leaf's sibling up
	Checkpoint []byte           `json:"checkpoint"` // signed note
}

const proofHead = "c2sp.org/tlog-proof@v1\n"

// Proof returns the proof of entry i.
func (v *View) Proof(i int64) (Proof, error) {
	if i < 0 || i >= v.Size() {
		return Proof{}, lang.Errorf(lang.Text{En: "entry %d of %d: %w", Es: "entrada %d de %d: %w"}, i, v.Size(), ErrNoEntry)
	}
	path, err := v.Inclusion(i)
	return Proof{i, path, v.cp.Note}, err
}

// Text returns p as c2sp.org/tlog-proof has it.
func (p Proof) Text() []byte {
	b := fmt.Appendf(nil, "%sindex %d\n", proofHead, p.Index)
	b = appendHashes(b, p.Path)
	return append(append(b, '\n'), p.Checkpoint...)
}

// ErrProof is returned for a proof that proves nothing of the entry.
var ErrProof = lang.Errorf(lang.Text{En: "the proof does not hold", Es: "la prueba no se sostiene"})

// Check verifies that an entry, as it is in the log (see Record.Raw), is in
// the log whose keys are trusted, and returns the checkpoint that says so.
func (p Proof) Check(raw []byte, t Trust) (Checkpoint, error) {
	cp, err := t.Open(p.Checkpoint)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := tlog.CheckRecord(p.Path, cp.Size, cp.Root, p.Index, tlog.RecordHash(raw)); err != nil {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "entry %d in the tree of %d entries: %w", Es: "entrada %d en el árbol de %d entradas: %w"}, p.Index, cp.Size, ErrProof)
	}
	return cp, nil
}

// ParseProof reads the text form of a proof. Extra data is let pass and not
// kept: nothing vouches for it.
func ParseProof(text []byte) (Proof, error) {
	rest, ok := bytes.CutPrefix(text, []byte(proofHead))
	if !ok {
		return Proof{}, lang.Errorf(lang.Text{En: "not a tlog proof: its first line is another", Es: "no es una prueba tlog: su primera línea es otra"})
	}
	if bytes.HasPrefix(rest, []byte("extra ")) {
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	head, cp, ok := bytes.Cut(rest, []byte("\n\n"))
	if !ok {
		return Proof{}, lang.Errorf(lang.Text{En: "not a tlog proof: it has no checkpoint", Es: "no es una prueba tlog: no tiene punto de control"})
	}
	lines := strings.Split(string(head), "\n")
	index, err := parseNumber(lines[0], "index ")
	if err != nil {
		return Proof{}, lang.Errorf(lang.Text{En: "not a tlog proof: %w", Es: "no es una prueba tlog: %w"}, err)
	}
	path, err := parseHashes(lines[1:])
	return Proof{index, path, cp}, err
}

// parseNumber reads "name 123": decimal, without needless zeros.
func parseNumber(line, name string) (int64, error) {
	s, ok := strings.CutPrefix(line, name)
	n, err := strconv.ParseInt(s, 10, 64)
	if !ok || err != nil || n < 0 || n > maxSize || strconv.FormatInt(n, 10) != s {
		return 0, lang.Errorf(lang.Text{En: "%.40q is not %sand a number", Es: "%.40q no es %sy un número"}, line, name)
	}
	return n, nil
}

// maxHashes is the most lines that a proof may have: c2sp.org/tlog-witness.
const maxHashes = 63

func appendHashes(b []byte, hashes []tlog.Hash) []byte {
	for _, h := range hashes {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	return b
}

func parseHashes(lines []string) ([]tlog.Hash, error) {
	if len(lines) > maxHashes {
		return nil, lang.Errorf(lang.Text{En: "%d hashes are more than a proof may have", Es: "%d hashes son más de los que puede tener una prueba"}, len(lines))
	}
	hashes := make([]tlog.Hash, 0, len(lines))
	for _, l := range lines {
		h, err := tlog.ParseHash(l)
		if err != nil || h.String() != l {
			return nil, lang.Errorf(lang.Text{En: "%.60q is not a hash", Es: "%.60q no es un hash"}, l)
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}
