package ledger

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// A Checkpoint says what a log of some size holds, and is signed.
type Checkpoint struct {
	Origin   string        `json:"origin"`
	Size     int64         `json:"size"` // entries
	Root     tlog.Hash     `json:"root"` // RFC 6962 tree hash, base64
	Cosigned []Cosignature `json:"cosigned,omitempty"`
	Note     []byte        `json:"-"` // the whole signed note; read only
}

// A Cosignature says that a witness saw a root, and that the tree had only
// grown since the one it saw before.
type Cosignature struct {
	Witness string    `json:"witness"`
	Time    time.Time `json:"time"`
}

func (r Checkpoint) tree() tlog.Tree { return tlog.Tree{N: r.Size, Hash: r.Root} }

// maxSize is the most entries that a log may be said to have. tlog's
// arithmetic runs for ever beyond 2^62, and a checkpoint comes from outside.
const maxSize = 1 << 48

// maxNote is the most bytes that are read as a checkpoint: 16 signatures must
// be accepted, and post-quantum ones take 5 kB (c2sp.org/signed-note).
const maxNote = 1 << 17

// Trust says whose signatures count.
type Trust struct {
	Log       []note.Verifier // keys of the log: today's, and those it had before
	Witnesses []note.Verifier // of which a cosignature is worth something
}

// ErrSignature is returned for a checkpoint that no trusted key of the log
// signed, or with a signature of a trusted key that is not good.
var ErrSignature = lang.Errorf(lang.Text{En: "not signed by a key that is trusted for it", Es: "no está firmado por una clave en la que se confíe para eso"})

// Open reads a checkpoint and verifies it: at least one key of the log signed
// it, one that is named as the log is, and every signature of a trusted key is
// good. Cosigned has the witnesses among them.
func (t Trust) Open(signed []byte) (Checkpoint, error) {
	if len(signed) > maxNote {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "%d bytes are too many for a checkpoint", Es: "%d bytes son demasiados para un punto de control"}, len(signed))
	}
	n, err := note.Open(signed, note.VerifierList(append(append([]note.Verifier(nil), t.Log...), t.Witnesses...)...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return Checkpoint{}, lang.Errorf(lang.Text{En: "signed by %s only: %w", Es: "firmado solo por %s: %w"}, signers(unverified.Note.UnverifiedSigs), ErrSignature)
	case errors.As(err, &invalid):
		return Checkpoint{}, lang.Errorf(lang.Text{En: "the signature of %s+%08x is not good: %w", Es: "la firma de %s+%08x no es buena: %w"}, invalid.Name, invalid.Hash, ErrSignature)
	case err != nil:
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no checkpoint: %w", Es: "no es un punto de control: %w"}, err)
	}
	r, err := parseRoot(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	byLog := false
	for _, s := range n.Sigs {
		if has(t.Log, s) {
			byLog = byLog || s.Name == r.Origin
			continue
		}
		if b, err := base64.StdEncoding.DecodeString(s.Base64); err == nil && len(b) > 4 {
			if at, ok := cosignedAt(b[4:]); ok {
				r.Cosigned = append(r.Cosigned, Cosignature{s.Name, time.Unix(at, 0).UTC()})
			}
		}
	}
	if !byLog {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no key of %s signed it: %w", Es: "ninguna clave de %s lo firmó: %w"}, r.Origin, ErrSignature)
	}
	r.Note = signed
	return r, nil
}

func has(keys []note.Verifier, s note.Signature) bool {
	for _, k := range keys {
		if k.Name() == s.Name && k.KeyHash() == s.Hash {
			return true
		}
	}
	return false
}

func signers(sigs []note.Signature) string {
	var names []string
	for _, s := range sigs {
		names = append(names, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
	}
	return strings.Join(names, ", ")
}

// parseRoot reads the text of a checkpoint: c2sp.org/tlog-checkpoint, note
// text. Lines after the third are allowed there and mean nothing here.
func parseRoot(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no checkpoint: it has not three lines", Es: "no es un punto de control: no tiene tres líneas"})
	}
	for _, l := range lines[:len(lines)-1] {
		if l == "" {
			return Checkpoint{}, lang.Errorf(lang.Text{En: "no checkpoint: it has an empty line", Es: "no es un punto de control: tiene una línea vacía"})
		}
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > maxSize || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no checkpoint: %.40q is not a size", Es: "no es un punto de control: %.40q no es un tamaño"}, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "no checkpoint: %.60q is not a root hash", Es: "no es un punto de control: %.60q no es un hash raíz"}, lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}

// signRoot makes a checkpoint.
func signRoot(size int64, root tlog.Hash, s Signer) (Checkpoint, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", s.Name(), size, root)
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return Checkpoint{}, lang.Errorf(lang.Text{En: "sign the checkpoint: %w", Es: "firmar el punto de control: %w"}, err)
	}
	return Checkpoint{Origin: s.Name(), Size: size, Root: root, Note: signed}, nil
}
