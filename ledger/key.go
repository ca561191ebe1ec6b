package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"casco/lang"
)

// Signature types of c2sp.org/signed-note.
const (
	algEd25519     = 0x01 // what a log signs its checkpoints with
	algCosignature = 0x04 // what a witness signs with: Ed25519 with a time, c2sp.org/tlog-cosignature
)

// A Signer signs the checkpoints of a log and can say how to verify that. The
// origin of the log is its name. [Key] is one; a key in hardware can be another.
type Signer interface {
	note.Signer
	Verifier() note.Verifier
	Public() string // the verifier key as text, see ParseVerifier
}

// A Key is an Ed25519 key of a log or of a witness, never both: their
// signatures have different forms and key IDs.
type Key struct {
	name string
	alg  byte
	priv ed25519.PrivateKey
}

// NewKey makes a key for a log whose origin is name. A name has no space and
// no plus sign.
func NewKey(name string) (*Key, error) { return newKey(name, algEd25519) }

// NewWitnessKey makes a key for a witness of that name.
func NewWitnessKey(name string) (*Key, error) { return newKey(name, algCosignature) }

func newKey(name string, alg byte) (*Key, error) {
	if !validName(name) {
		return nil, lang.Errorf(lang.Text{En: "%q cannot be the name of a key", Es: "%q no puede ser el nombre de una clave"}, name)
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	return &Key{name, alg, priv}, err
}

// KeyFile returns the log's key in the file at path, making it, readable by
// its owner only, when there is none. A file that others can read is refused,
// and so is a key of another name.
func KeyFile(path, name string) (*Key, error) { return keyFile(path, name, algEd25519) }

// WitnessKeyFile is KeyFile for the key of a witness.
func WitnessKeyFile(path, name string) (*Key, error) { return keyFile(path, name, algCosignature) }

func keyFile(path, name string, alg byte) (*Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k, err := newKey(name, alg)
		if err != nil {
			return nil, err
		}
		return k, writeFile(path, []byte(k.secret()+"\n"))
	}
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
		return nil, lang.Errorf(lang.Text{En: "%s: others may read it; make a new key, or chmod 600 it if nobody did", Es: "%s: otros pueden leerla; haga una clave nueva, o chmod 600 si nadie lo hizo"}, path)
	}
	k, err := ParseKey(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if k.name != name || k.alg != alg {
		return nil, lang.Errorf(lang.Text{En: "%s: holds another key: %s", Es: "%s: contiene otra clave: %s"}, path, k.Public())
	}
	return k, nil
}

// ParseKey reads a private key: PRIVATE+KEY+name+id+base64, as
// golang.org/x/mod/sumdb/note writes them.
func ParseKey(s string) (*Key, error) {
	f := strings.SplitN(s, "+", 5) // base64 may hold a plus sign
	if len(f) != 5 || f[0] != "PRIVATE" || f[1] != "KEY" || !validName(f[2]) {
		return nil, lang.Errorf(lang.Text{En: "not a private key", Es: "no es una clave privada"})
	}
	b, err := base64.StdEncoding.DecodeString(f[4])
	if err != nil || len(b) != 1+ed25519.SeedSize || b[0] != algEd25519 && b[0] != algCosignature {
		return nil, lang.Errorf(lang.Text{En: "not a private key of a kind that is known here", Es: "no es una clave privada de un tipo conocido aquí"})
	}
	k := &Key{f[2], b[0], ed25519.NewKeyFromSeed(b[1:])}
	if f[3] != fmt.Sprintf("%08x", k.KeyHash()) {
		return nil, lang.Errorf(lang.Text{En: "a private key whose ID does not fit it", Es: "una clave privada cuyo ID no le corresponde"})
	}
	return k, nil
}

func (k *Key) secret() string {
	seed := append([]byte{k.alg}, k.priv.Seed()...)
	return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", k.name, k.KeyHash(), base64.StdEncoding.EncodeToString(seed))
}

// Public returns the verifier key, name+id+base64, to be given to others.
func (k *Key) Public() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.KeyHash(), base64.StdEncoding.EncodeToString(k.material()))
}

// String returns the public half, so that no log shows the other.
func (k *Key) String() string { return k.Public() }

func (k *Key) material() []byte {
	return append([]byte{k.alg}, k.priv.Public().(ed25519.PublicKey)...)
}

// Name returns the name of the key: the origin of the log, or the witness.
func (k *Key) Name() string { return k.name }

// KeyHash returns the key ID of c2sp.org/signed-note.
func (k *Key) KeyHash() uint32 { return keyID(k.name, k.material()) }

// Sign signs a note. A witness's key says the time now.
func (k *Key) Sign(msg []byte) ([]byte, error) { return k.signAt(msg, time.Now()) }

func (k *Key) signAt(msg []byte, at time.Time) ([]byte, error) {
	if k.alg == algEd25519 {
		return ed25519.Sign(k.priv, msg), nil
	}
	t := at.Unix()
	if t <= 0 {
		return nil, lang.Errorf(lang.Text{En: "a cosignature needs a time after 1970, not %s", Es: "una cofirma necesita una hora posterior a 1970, no %s"}, at)
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(t))
	return append(sig, ed25519.Sign(k.priv, cosigned(msg, t))...), nil
}

// Verifier returns what verifies the signatures of k.
func (k *Key) Verifier() note.Verifier {
	return verifier{k.name, k.KeyHash(), k.alg, k.priv.Public().(ed25519.PublicKey)}
}

// ParseVerifier reads a verifier key, name+id+base64, of a log or a witness.
func ParseVerifier(s string) (note.Verifier, error) {
	f := strings.SplitN(strings.TrimSpace(s), "+", 3)
	if len(f) != 3 || !validName(f[0]) {
		return nil, lang.Errorf(lang.Text{En: "%q is not a verifier key: name+id+base64", Es: "%q no es una clave de verificación: nombre+id+base64"}, s)
	}
	b, err := base64.StdEncoding.DecodeString(f[2])
	if err != nil || len(b) != 1+ed25519.PublicKeySize || b[0] != algEd25519 && b[0] != algCosignature {
		return nil, lang.Errorf(lang.Text{En: "%q is not a verifier key of a kind that is known here", Es: "%q no es una clave de verificación de un tipo conocido aquí"}, s)
	}
	if f[1] != fmt.Sprintf("%08x", keyID(f[0], b)) {
		return nil, lang.Errorf(lang.Text{En: "%q: its ID does not fit it: a letter was lost or changed", Es: "%q: su ID no le corresponde: se perdió o cambió una letra"}, s)
	}
	return verifier{f[0], keyID(f[0], b), b[0], b[1:]}, nil
}

// A verifier verifies the signatures of one key, of a log or of a witness.
type verifier struct {
	name string
	id   uint32
	alg  byte
	pub  ed25519.PublicKey
}

func (v verifier) Name() string    { return v.name }
func (v verifier) KeyHash() uint32 { return v.id }

func (v verifier) Verify(msg, sig []byte) bool {
	if v.alg == algEd25519 {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(v.pub, msg, sig)
	}
	t, ok := cosignedAt(sig)
	return ok && ed25519.Verify(v.pub, cosigned(msg, t), sig[8:])
}

// cosigned is what a witness signs: c2sp.org/tlog-cosignature, Ed25519 signed
// message.
func cosigned(msg []byte, t int64) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", t), msg...)
}

// cosignedAt returns the time in a cosignature, in seconds since 1970. It must
// not be zero, so that it says something about the newest tree, nor over 2^63-1.
func cosignedAt(sig []byte) (int64, bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return 0, false
	}
	t := int64(binary.BigEndian.Uint64(sig))
	return t, t > 0
}

// keyID is the key ID of c2sp.org/signed-note; material is the signature type
// and the public key.
func keyID(name string, material []byte) uint32 {
	h := sha256.Sum256(append([]byte(name+"\n"), material...))
	return binary.BigEndian.Uint32(h[:])
}

// validName reports whether s can name a key and so be an origin: no spaces,
// no plus sign (c2sp.org/signed-note), nothing that moves a terminal's cursor.
func validName(s string) bool {
	return s != "" && len(s) <= 255 && s == nameOf(s)
}

// Origin returns the origin of the log of a host by its name: HOST/casco.
func Origin(host string) string { return nameOf(host + "/casco") }

// nameOf replaces what a key's name may not hold, in a host's name for example.
func nameOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '+' {
			return '-'
		}
		return r
	}, s)
}
