// Package image checks who signed an image: persons, as everything else of casco
// is signed (SSHSIG), cosign with a key, and notation with a certificate.
//
// Signatures lie in files, and are looked at without a network. What a file holds
// is told by its contents:
//
//   - SSHSIG over "NAME@sha256:DIGEST\n": ssh-keygen -Y sign -n casco-image
//   - what "cosign download signature NAME@sha256:DIGEST" prints: a line of JSON for
//     each signature, over a payload that names the digest and the repository
//     (sigstore/cosign, specs/SIGNATURE_SPEC.md)
//   - an envelope of notation, JWS or COSE, as its registry artefact has it
//     (notaryproject/specifications, signature-specification.md)
//
// Keyless signatures of cosign are none here: whoever believes them believes an
// identity provider and a log of others.
package image

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"casco/lang"
	"casco/signed"
)

// Keys are those whose signature counts.
type Keys struct {
	persons []signed.Key
	cosign  []crypto.PublicKey
	anchors []*x509.Certificate // of notation
}

// most is how large a signature may be that is looked at, in bytes: an envelope of
// notation carries certificates.
const most = 64 << 10

// ParseKeys reads a file of keys: lines as in authorized_keys, public keys as
// "cosign generate-key-pair" writes them, and certificates of authorities for
// notation, both in PEM. A line that begins with # is a comment. What is none of
// these is in the error; the others are returned all the same.
func ParseKeys(text []byte) (Keys, error) {
	var ks Keys
	var errs []error
	var armored []byte
	for line := range bytes.Lines(text) {
		line := append(bytes.TrimSpace(line), '\n')
		begins := bytes.HasPrefix(line, []byte("-----BEGIN "))
		switch {
		case begins || armored != nil:
			if armored = append(armored, line...); bytes.HasPrefix(line, []byte("-----END ")) {
				errs = append(errs, ks.armored(armored))
				armored = nil
			}
		case len(line) == 1 || line[0] == '#':
		default:
			k, _, err := signed.ParseKey(string(line))
			if err == nil {
				ks.persons = append(ks.persons, k)
			}
			errs = append(errs, err)
		}
	}
	if armored != nil {
		errs = append(errs, lang.Errorf(lang.Text{En: "a key in PEM has no end", Es: "una clave en PEM no tiene fin"}))
	}
	return ks, errors.Join(errs...)
}

func (ks *Keys) armored(text []byte) error {
	block, _ := pem.Decode(text)
	switch {
	case block != nil && block.Type == "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return err
		}
		ks.cosign = append(ks.cosign, k)
	case block != nil && block.Type == "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		ks.anchors = append(ks.anchors, c)
	default:
		return lang.Errorf(lang.Text{En: "what is in PEM is neither a public key nor a certificate", Es: "lo que está en PEM no es ni una clave pública ni un certificado"})
	}
	return nil
}

var (
	errFormat   = lang.Text{En: "it is none of the signatures that are known: SSHSIG, cosign's, notation's", Es: "no es ninguna de las firmas conocidas: SSHSIG, la de cosign, la de notation"}
	errOther    = lang.Text{En: "it is the signature of something else: %s", Es: "es la firma de otra cosa: %s"}
	errNobody   = lang.Text{En: "no key that counts here made it", Es: "no la hizo ninguna clave que valga aquí"}
	errOverdue  = lang.Text{En: "it is past its time: %s", Es: "ya pasó su tiempo: %s"}
	errTooLarge = lang.Text{En: "it is larger than %d bytes", Es: "es mayor que %d bytes"}
)

// Verify checks that sig is a signature over the image name, REPOSITORY@sha256:HEX,
// by one of the keys. now is when it must be in force.
func Verify(sig []byte, name string, ks Keys, now time.Time) error {
	switch trimmed := bytes.TrimSpace(sig); {
	case len(sig) > most:
		return lang.Errorf(errTooLarge, most)
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN SSH SIGNATURE-----")):
		_, err := signed.Verify(sig, signed.Image, []byte(name+"\n"), ks.persons)
		return err
	case bytes.HasPrefix(trimmed, []byte("{")) && bytes.Contains(trimmed, []byte(`"protected"`)):
		return ks.notation(jws.MediaTypeEnvelope, trimmed, name, now)
	case bytes.HasPrefix(sig, []byte{coseSign1}):
		return ks.notation(cose.MediaTypeEnvelope, sig, name, now)
	case bytes.HasPrefix(trimmed, []byte("{")):
		return ks.byCosign(trimmed, name)
	}
	return lang.Errorf(errFormat)
}

// coseSign1 is the tag that a COSE_Sign1 begins with (RFC 9052, 2).
const coseSign1 = 0xd2

// A simple is a signature as cosign downloads it.
type simple struct {
	Base64Signature []byte // JSON has it, and the payload, in base64
	Payload         []byte
}

// byCosign checks lines of signatures: one that counts is enough.
func (ks Keys) byCosign(lines []byte, name string) error {
	var errs []error
	for line := range bytes.Lines(lines) {
		var s simple
		if err := json.Unmarshal(line, &s); err != nil || len(s.Base64Signature) == 0 {
			return lang.Errorf(errFormat)
		}
		err := ks.simple(s, name)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// simple checks one ("simple signing", containers/image,
// docs/containers-signature.5.md). The repository is looked at too: a key of one
// team says nothing of another's.
func (ks Keys) simple(s simple, name string) error {
	if !slices.ContainsFunc(ks.cosign, func(k crypto.PublicKey) bool { return made(k, s) }) {
		return lang.Errorf(errNobody)
	}
	var p struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			}
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			}
			Type string
		}
	}
	if err := json.Unmarshal(s.Payload, &p); err != nil {
		return err
	}
	repository, digest, _ := strings.Cut(name, "@")
	switch is := p.Critical; {
	case is.Type != "cosign container image signature" && is.Type != "atomic container signature":
		return lang.Errorf(errOther, is.Type)
	case is.Image.Digest != digest:
		return lang.Errorf(errOther, is.Image.Digest)
	case is.Identity.Reference != "" && repositoryOf(is.Identity.Reference) != repository:
		return lang.Errorf(errOther, is.Identity.Reference)
	}
	return nil
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	return ref
}

// made reports whether a key made a signature; cosign hashes with SHA-256.
func made(k crypto.PublicKey, s simple) bool {
	sum := sha256.Sum256(s.Payload)
	switch k := k.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, sum[:], s.Base64Signature)
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSA && rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], s.Base64Signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, s.Payload, s.Base64Signature)
	}
	return false
}

// minRSA is the least size of an RSA key, in bits: NIST SP 800-131A rev. 2, table 2.
const minRSA = 2048

// notation checks an envelope. Its certificates must lead to an anchor and be valid
// now: who says when it was signed is the signer.
func (ks Keys) notation(mediaType string, sig []byte, name string, now time.Time) error {
	if len(ks.anchors) == 0 {
		return lang.Errorf(errNobody)
	}
	e, err := signature.ParseEnvelope(mediaType, sig)
	if err != nil {
		return err
	}
	content, err := e.Verify()
	if err != nil {
		return err
	}
	if _, err := signature.VerifyAuthenticity(&content.SignerInfo, ks.anchors); err != nil {
		return lang.Errorf(errNobody)
	}
	for _, c := range content.SignerInfo.CertificateChain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return lang.Errorf(errOverdue, c.Subject)
		}
	}
	if ends := content.SignerInfo.SignedAttributes.Expiry; !ends.IsZero() && now.After(ends) {
		return lang.Errorf(errOverdue, ends.UTC().Format(time.RFC3339))
	}
	var p struct {
		TargetArtifact struct{ Digest string }
	}
	if err := json.Unmarshal(content.Payload.Content, &p); err != nil {
		return err
	}
	if _, digest, _ := strings.Cut(name, "@"); content.Payload.ContentType != payloadType || p.TargetArtifact.Digest != digest {
		return lang.Errorf(errOther, p.TargetArtifact.Digest)
	}
	return nil
}

// payloadType is what notation signs of an image.
const payloadType = "application/vnd.cncf.notary.payload.v1+json"
