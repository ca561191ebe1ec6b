package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// c2sp.org/tlog-tiles: tiles are of height 8.
const (
	height = 8
	width  = 1 << height
)

// pathOf is where a tile lies: as package tlog names it, without the height;
// level -1, which tlog calls "data", is "entries".
func pathOf(t tlog.Tile) string {
	p := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height))
	if rest, ok := strings.CutPrefix(p, "data/"); ok {
		p = "entries/" + rest
	}
	return "tile/" + p
}

// entriesOf splits an entry bundle: each entry behind its length, 16 bits,
// big-endian.
func entriesOf(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(b) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		if n > len(b) {
			return out, text{En: "ends within an entry", Es: "termina dentro de una entrada"}
		}
		out = append(out, b[2:n])
		b = b[n:]
	}
	if len(b) > 0 {
		return out, text{En: "one byte stands behind the last entry", Es: "hay un byte tras la última entrada"}
	}
	return out, nil
}

// A checkpoint is a signed root: c2sp.org/tlog-checkpoint.
type checkpoint struct {
	origin string
	tree   tlog.Tree
	by     []string // cosignatures of witnesses whose keys are known: "NAME at TIME"
}

// maxSize keeps tlog's arithmetic, which overflows beyond 2^62, from what
// somebody else wrote.
const maxSize = 1 << 48

type keyring struct{ log, witness []note.Verifier }

// open verifies a checkpoint: a key of the log named as its origin signed it.
func (k keyring) open(signed []byte) (checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(append(append([]note.Verifier{}, k.log...), k.witness...)...))
	var bad *note.InvalidSignatureError
	var strange *note.UnverifiedNoteError
	switch {
	case errors.As(err, &bad):
		return checkpoint{}, text{En: "the signature of %s+%08x is not good", Es: "la firma de %s+%08x no es buena"}.f(bad.Name, bad.Hash)
	case errors.As(err, &strange):
		return checkpoint{}, text{En: "no known key signed it", Es: "ninguna clave conocida lo firmó"}
	case err != nil:
		return checkpoint{}, text{En: "not a signed note", Es: "no es una nota firmada"}
	}
	c, err := rootOf(n.Text)
	if err != nil {
		return c, err
	}
	signedByLog := false
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil {
			return c, err
		}
		for _, v := range k.log {
			signedByLog = signedByLog || v.Name() == s.Name && v.KeyHash() == s.Hash && s.Name == c.origin
		}
		for _, v := range k.witness {
			if v.Name() == s.Name && v.KeyHash() == s.Hash && len(raw) == 4+8+ed25519.SignatureSize {
				at := time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
				c.by = append(c.by, s.Name+" "+at.Format(time.RFC3339))
			}
		}
	}
	if !signedByLog {
		return c, text{En: "no key of the log %q signed it", Es: "ninguna clave del registro %q lo firmó"}.f(c.origin)
	}
	return c, nil
}

func rootOf(body string) (checkpoint, error) {
	l := strings.Split(body, "\n")
	if len(l) < 4 || l[0] == "" {
		return checkpoint{}, text{En: "not a checkpoint", Es: "no es un punto de control"}
	}
	n, err := strconv.ParseInt(l[1], 10, 64)
	if err != nil || n < 0 || n > maxSize || strconv.FormatInt(n, 10) != l[1] {
		return checkpoint{}, text{En: "not a checkpoint: size %q", Es: "no es un punto de control: tamaño %q"}.f(l[1])
	}
	h, err := tlog.ParseHash(l[2])
	if err != nil {
		return checkpoint{}, text{En: "not a checkpoint: root %q", Es: "no es un punto de control: raíz %q"}.f(l[2])
	}
	return checkpoint{origin: l[0], tree: tlog.Tree{N: n, Hash: h}}, nil
}

// verifierOf reads a verifier key: c2sp.org/signed-note. Those of witnesses
// have signature type 4: Ed25519 with a time, c2sp.org/tlog-cosignature.
func verifierOf(key string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(key), "+")
	id, b64, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 4 {
		return note.NewVerifier(strings.TrimSpace(key))
	}
	hash, err := strconv.ParseUint(id, 16, 32)
	if err != nil {
		return nil, fmt.Errorf("key of %q: %w", name, err)
	}
	return cosigner{name, uint32(hash), raw[1:]}, nil
}

type cosigner struct {
	name string
	hash uint32
	pub  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	signed := append([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), msg...)
	return at != 0 && at < 1<<63 && ed25519.Verify(c.pub, signed, sig[8:])
}

// A batch is what one append left in the journal of a live log.
type batch struct {
	entries [][]byte
	signed  []byte
}

// journalOf reads a journal: a line "casco-journal 1 BASE", then frames of
//
//	length(4) crc32c-of-length(4) crc32c-of-payload(4) payload
//	payload: length(4) entry-bundle checkpoint
//
// Rest is what stands behind the last whole frame, torn whether it can have
// been left by a writer that was killed.
func journalOf(b []byte) (base int64, batches []batch, rest []byte, torn bool, err error) {
	line, b, ok := bytes.Cut(b, []byte("\n"))
	if _, err := fmt.Sscanf(string(line), "casco-journal 1 %d", &base); err != nil || !ok || base < 0 || base%width != 0 || base > maxSize {
		return 0, nil, nil, false, text{En: "%.40q is not the first line of a journal", Es: "%.40q no es la primera línea de un journal"}.f(line)
	}
	crc := crc32.MakeTable(crc32.Castagnoli)
	num := binary.BigEndian.Uint32
	for len(b) > 0 {
		if len(b) < 12 {
			return base, batches, b, true, nil
		}
		n := uint64(num(b))
		if num(b[4:]) != crc32.Checksum(b[:4], crc) {
			break
		}
		if n > uint64(len(b)-12) {
			return base, batches, b, true, nil
		}
		p := b[12 : 12+n]
		if num(b[8:]) != crc32.Checksum(p, crc) || n < 4 || uint64(num(p)) > n-4 {
			break
		}
		entries, err := entriesOf(p[4 : 4+num(p)])
		if err != nil {
			return base, batches, b, false, err
		}
		batches = append(batches, batch{entries, p[4+num(p):]})
		b = b[12+n:]
	}
	return base, batches, b, len(bytes.Trim(b, "\x00")) == 0, nil
}

// keysIn reads keys: the argument itself is one, or names a file with some. In
// the file "keys" of an export each stands behind what it is for.
func keysIn(args []string) ([]note.Verifier, error) {
	var out []note.Verifier
	for _, a := range args {
		if v, err := verifierOf(a); err == nil {
			out = append(out, v)
			continue
		}
		b, err := os.ReadFile(a)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a key nor a file with keys: %w", a, err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			v, err := verifierOf(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %q: %w", a, line, err)
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// exportKeys reads the file "keys" of an export.
func exportKeys(dir string) (k keyring, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "keys"))
	if err != nil {
		return k, err
	}
	for line := range strings.Lines(string(b)) {
		what, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, err := verifierOf(key)
		if err != nil {
			return k, fmt.Errorf("keys: %q: %w", key, err)
		}
		switch what {
		case "log":
			k.log = append(k.log, v)
		case "witness":
			k.witness = append(k.witness, v)
		}
	}
	return k, nil
}

// maxFile is more than any file of a log may have: a bundle of 256 entries of
// 64 KiB, or a journal with four times that.
const maxFile = 128 << 20

// open opens a regular file: who made the folder may have put a link to a
// device or a pipe there.
func open(path string) (*os.File, int64, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, text{En: "not a regular file", Es: "no es un archivo regular"}
	}
	f, err := os.Open(path)
	return f, st.Size(), err
}

func readFile(path string) ([]byte, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxFile {
		return nil, text{En: "too big", Es: "demasiado grande"}
	}
	return io.ReadAll(f)
}

// sumOf returns the SHA-256 of a file, in hexadecimal.
func sumOf(path string) (string, error) {
	f, _, err := open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}
