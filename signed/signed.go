// Package signed makes and checks the signatures of persons.
//
// The format is SSHSIG, what "ssh-keygen -Y sign" writes: a person signs with
// the key that they log in with, from an agent or a hardware token if they
// like, and whoever doubts casco checks with ssh-keygen. A signature is kept
// beside the bytes it is for, and is over exactly those bytes.
//
// It names its purpose, the namespace, so that a signature under an approval
// is none under a policy. A signature says which key made it; whether that key
// counts is the caller's question, who brings the list of those that do.
//
// The package is pure: bytes in, bytes out. Keys are Ed25519, ECDSA (P-256,
// P-384, P-521), RSA from 2048 bits with SHA-2, and the token-held forms of
// the first two, whose signatures must show that a person touched the token.
// Certificates, DSA and RSA with SHA-1 are refused.
//
// Source of the format: OpenSSH, PROTOCOL.sshsig.
package signed

import (
	"bytes"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"casco/lang"
)

// A Namespace is what a signature is for.
type Namespace string

const (
	Policy     Namespace = "casco-policy"     // a policy comes into force
	Request    Namespace = "casco-request"    // a change is asked for
	Approval   Namespace = "casco-approval"   // a change may be applied
	Exception  Namespace = "casco-exception"  // a finding may stand for a time
	Treatment  Namespace = "casco-treatment"  // a risk is decided about
	Checkpoint Namespace = "casco-checkpoint" // the ledger was seen in this state
	Image      Namespace = "casco-image"      // an image may run
	Advisories Namespace = "casco-advisories" // a database of advisories may be matched against
)

// A Key is a public key. The zero Key is none.
type Key struct{ pub ssh.PublicKey }

// The least size of an RSA key, in bits: NIST SP 800-131A rev. 2, table 2.
const minRSA = 2048

// The largest text of a signature or a key that is looked at, in bytes. A
// signature by the largest RSA key that ssh-keygen makes (16,384 bits) has
// 6 KB.
const maxText = 16 << 10

// ErrUnknownKey is wrapped by Verify if the signature names a key that is not
// among the allowed ones.
var ErrUnknownKey = lang.Errorf(lang.Text{En: "the key is not among those that count here", Es: "la clave no está entre las que valen aquí"})

// ParseKey reads one line as in authorized_keys, without options: "ssh-ed25519
// AAAA… comment". The comment is returned beside the key.
func ParseKey(line string) (k Key, comment string, err error) {
	line = strings.TrimSpace(line)
	if len(line) > maxText {
		return Key{}, "", lang.Errorf(lang.Text{En: "not a public key: it is too long", Es: "no es una clave pública: es demasiado larga"})
	}
	if strings.ContainsAny(line, "\r\n\x00") {
		return Key{}, "", lang.Errorf(lang.Text{En: "not a public key: more than one line", Es: "no es una clave pública: más de una línea"})
	}
	pub, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Key{}, "", lang.Errorf(lang.Text{En: `not a public key, such as "ssh-ed25519 AAAA… name"`, Es: `no es una clave pública, como "ssh-ed25519 AAAA… nombre"`})
	}
	if len(options) > 0 {
		return Key{}, "", lang.Errorf(lang.Text{
			En: "the key has options in front of it (%s), which mean nothing here", Es: "la clave lleva opciones delante (%s), que aquí no significan nada",
		}, strings.Join(options, ","))
	}
	k, err = newKey(pub)
	return k, comment, err
}

func newKey(pub ssh.PublicKey) (Key, error) {
	switch t := pub.Type(); t {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256:
	case ssh.KeyAlgoRSA:
		if n := bits(pub); n < minRSA {
			return Key{}, lang.Errorf(lang.Text{En: "the RSA key has %d bits, fewer than %d", Es: "la clave RSA tiene %d bits, menos de %d"}, n, minRSA)
		}
	default:
		return Key{}, lang.Errorf(lang.Text{
			En: "keys of type %s are not accepted: make one with ssh-keygen -t ed25519", Es: "no se aceptan claves de tipo %s: haga una con ssh-keygen -t ed25519",
		}, t)
	}
	return Key{pub}, nil
}

func bits(pub ssh.PublicKey) int {
	if c, ok := pub.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return r.N.BitLen()
		}
	}
	return 0
}

// Fingerprint is how ssh-keygen -l prints k: "SHA256:" and 43 characters. That
// of the zero Key is empty.
func (k Key) Fingerprint() string {
	if k.pub == nil {
		return ""
	}
	return ssh.FingerprintSHA256(k.pub)
}

// String is k as in authorized_keys, without a comment.
func (k Key) String() string {
	if k.pub == nil {
		return ""
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(k.pub)), "\n")
}

// Equal reports whether k and o are the same key.
func (k Key) Equal(o Key) bool {
	return k.pub != nil && o.pub != nil && bytes.Equal(k.pub.Marshal(), o.pub.Marshal())
}

// A Signer has a private key, or can reach one.
type Signer struct{ signer ssh.Signer }

// NewSigner returns s as a signer, if its key is of a type that counts.
func NewSigner(s ssh.Signer) (Signer, error) {
	if _, err := newKey(s.PublicKey()); err != nil {
		return Signer{}, err
	}
	return Signer{s}, nil
}

// ParseSigner reads a private key as ssh-keygen writes it. For one that is
// locked with a passphrase it asks; ask may be nil if nobody can be asked.
func ParseSigner(file []byte, ask func() (passphrase []byte, err error)) (Signer, error) {
	s, err := ssh.ParsePrivateKey(file)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		if ask == nil {
			return Signer{}, lang.Errorf(lang.Text{En: "the key is locked with a passphrase", Es: "la clave está protegida con una frase"})
		}
		passphrase, askErr := ask()
		if askErr != nil {
			return Signer{}, lang.Errorf(lang.Text{En: "the key is locked: %w", Es: "la clave está protegida: %w"}, askErr)
		}
		s, err = ssh.ParsePrivateKeyWithPassphrase(file, passphrase)
		clear(passphrase)
	}
	if err != nil {
		return Signer{}, lang.Errorf(lang.Text{En: "not a private key that can be used: %w", Es: "no es una clave privada que se pueda usar: %w"}, err)
	}
	return NewSigner(s)
}

// Key is the public half.
func (s Signer) Key() Key { return Key{s.signer.PublicKey()} }

// Sign returns the armored signature of message for the purpose ns.
func (s Signer) Sign(ns Namespace, message []byte) ([]byte, error) {
	return s.SignFrom(ns, bytes.NewReader(message))
}

// SignFrom is Sign for a message that is not wanted in memory as a whole.
func (s Signer) SignFrom(ns Namespace, message io.Reader) ([]byte, error) {
	sig, err := sshsig.Sign(message, s.signer, sshsig.HashSHA512, string(ns))
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "sign with %s: %w", Es: "firmar con %s: %w"}, s.Key().Fingerprint(), err)
	}
	return sshsig.Armor(sig), nil
}

// A Claim is what a signature says of itself. Nothing of it is checked.
type Claim struct {
	Key       Key
	Namespace Namespace
	sig       *sshsig.Signature
}

const (
	begin = "-----BEGIN SSH SIGNATURE-----"
	end   = "-----END SSH SIGNATURE-----"
)

// Parse reads an armored signature. There may be exactly one, with nothing
// before and nothing but white space behind it.
func Parse(armored []byte) (Claim, error) {
	if len(armored) > maxText {
		return Claim{}, lang.Errorf(lang.Text{En: "not a signature: it is too long", Es: "no es una firma: es demasiado larga"})
	}
	if !bytes.HasPrefix(armored, []byte(begin)) {
		return Claim{}, foreign(armored)
	}
	i := bytes.Index(armored, []byte(end))
	if i < 0 {
		return Claim{}, lang.Errorf(lang.Text{En: "the signature is cut off: its last line is missing", Es: "la firma está cortada: falta su última línea"})
	}
	rest := bytes.TrimSpace(armored[i+len(end):])
	if bytes.HasPrefix(rest, []byte(begin)) {
		return Claim{}, lang.Errorf(lang.Text{En: "two signatures in one file: keep each in a file of its own", Es: "dos firmas en un archivo: ponga cada una en un archivo propio"})
	}
	if len(rest) > 0 {
		return Claim{}, lang.Errorf(lang.Text{En: "there is something behind the signature", Es: "hay algo detrás de la firma"})
	}
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return Claim{}, lang.Errorf(lang.Text{En: "the signature is damaged: it is no base64", Es: "la firma está dañada: no es base64"})
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return Claim{}, lang.Errorf(lang.Text{En: "the signature is damaged: %w", Es: "la firma está dañada: %w"}, err)
	}
	key, err := newKey(sig.PublicKey)
	if err != nil {
		return Claim{}, err
	}
	// Only a token's signature has more than the signature: flags and counter
	// (OpenSSH, PROTOCOL.u2f).
	if token := strings.HasPrefix(key.pub.Type(), "sk-"); len(sig.Signature.Rest) > 0 && !token {
		return Claim{}, lang.Errorf(lang.Text{En: "the signature is damaged: there is something behind it", Es: "la firma está dañada: hay algo detrás"})
	}
	return Claim{key, Namespace(sig.Namespace), sig}, nil
}

// foreign says what stands where an SSH signature should.
func foreign(b []byte) error {
	for _, f := range []struct {
		head string
		name lang.Text
	}{
		{"-----BEGIN PGP", lang.Text{En: "an OpenPGP signature", Es: "una firma de OpenPGP"}},
		{"-----BEGIN PKCS7", lang.Text{En: "a PKCS #7 signature", Es: "una firma PKCS #7"}},
		{"-----BEGIN CERTIFICATE", lang.Text{En: "a certificate", Es: "un certificado"}},
		{"-----BEGIN OPENSSH PRIVATE KEY", lang.Text{En: "a private key", Es: "una clave privada"}},
		{"untrusted comment:", lang.Text{En: "a signify or minisign signature", Es: "una firma de signify o minisign"}},
		{"ssh-", lang.Text{En: "a public key", Es: "una clave pública"}},
	} {
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte(f.head)) {
			return lang.Errorf(lang.Text{
				En: "this is %s; wanted is an SSH signature, as ssh-keygen -Y sign makes it",
				Es: "esto es %s; se quiere una firma SSH, como la hace ssh-keygen -Y sign",
			}, f.name)
		}
	}
	if bytes.Contains(b, []byte(begin)) {
		return lang.Errorf(lang.Text{En: "there is something before the signature", Es: "hay algo delante de la firma"})
	}
	return lang.Errorf(lang.Text{En: "not an SSH signature: it does not begin with %s", Es: "no es una firma SSH: no empieza con %s"}, begin)
}

// Verify returns the allowed key that made the armored signature of message
// for the purpose ns. A signature by another key is ErrUnknownKey, whether or
// not it fits.
func Verify(armored []byte, ns Namespace, message []byte, allowed []Key) (Key, error) {
	return VerifyFrom(armored, ns, bytes.NewReader(message), allowed)
}

// VerifyFrom is Verify for a message that is not wanted in memory as a whole.
func VerifyFrom(armored []byte, ns Namespace, message io.Reader, allowed []Key) (Key, error) {
	c, err := Parse(armored)
	if err != nil {
		return Key{}, err
	}
	if c.Namespace != ns {
		return Key{}, lang.Errorf(lang.Text{En: "the signature is for %q, wanted is %q", Es: "la firma es para %q, se quiere %q"}, c.Namespace, ns)
	}
	i := slices.IndexFunc(allowed, c.Key.Equal)
	if i < 0 {
		return Key{}, lang.Errorf(lang.Text{En: "signed with %s: %w", Es: "firmado con %s: %w"}, c.Key.Fingerprint(), ErrUnknownKey)
	}
	if err := sshsig.Verify(message, c.sig, allowed[i].pub, c.sig.HashAlgorithm, string(ns)); err != nil {
		return Key{}, lang.Errorf(lang.Text{En: "the signature by %s does not fit these bytes", Es: "la firma de %s no corresponde a estos bytes"}, c.Key.Fingerprint())
	}
	return allowed[i], nil
}
