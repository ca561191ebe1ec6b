package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// look reads an entry for what it says of time and of evidence.
func (c *checker) look(at int64, raw []byte) {
	var e struct {
		Time  time.Time `json:"time"`
		Kind  string    `json:"kind"`
		About string    `json:"about"`
	}
	if err := json.Unmarshal(raw, &e); err != nil || e.Kind == "" {
		c.wrong(text{En: "entry %d is not an entry", Es: "la entrada %d no es una entrada"}.f(at))
		return
	}
	if e.Time.Before(c.last) {
		back := c.last.Sub(e.Time).Round(time.Second)
		if e.Kind == "clock" {
			c.note(text{En: "entry %d: the clock was moved back by %s, and that was recorded", Es: "entrada %d: el reloj se atrasó %s, y eso se registró"}.f(at, back))
		} else {
			c.wrong(text{En: "entry %d is %s older than the one before", Es: "la entrada %d es %s más vieja que la anterior"}.f(at, back))
		}
	}
	c.last = e.Time
	sum, ok := strings.CutPrefix(e.About, "sha256:")
	if !ok || e.Kind != "evidence" && e.Kind != "purge" {
		return
	}
	b := c.named[sum]
	if b == nil {
		b = &blob{}
		c.named[sum] = b
		c.order = append(c.order, sum)
	}
	b.purged = e.Kind == "purge"
	if e.Kind == "evidence" {
		b.entry = at
	}
}

// witnesses compares the log with checkpoints that others hold.
func (c *checker) witnesses() {
	names, err := filepath.Glob(filepath.Join(c.dir, "witness", "*"))
	if err != nil { // only of a bad pattern: the directory's name has one
		c.note(text{En: "witness/ could not be read: %v", Es: "no se pudo leer witness/: %v"}.f(err))
	}
	for _, name := range append(names, c.options.witnesses...) {
		c.witnessed(name)
	}
	if len(names)+len(c.options.witnesses) == 0 {
		c.note(text{
			En: "no checkpoint of a witness was given: an end that the host itself cut off, or a history that it wrote anew, would not be seen",
			Es: "no se dio ningún punto de control de un testigo: no se vería un final que el propio anfitrión cortó, ni una historia que reescribió",
		})
	}
}

func (c *checker) witnessed(name string) {
	b, err := readFile(name)
	if err != nil {
		c.wrong(text{En: "witness: %v", Es: "testigo: %v"}.f(err))
		return
	}
	held, err := c.keys.open(b)
	if err != nil {
		c.wrong(text{En: "witness %s: %v", Es: "testigo %s: %v"}.f(name, err))
		return
	}
	who := name
	if len(held.by) > 0 {
		who += " (" + strings.Join(held.by, ", ") + ")"
	}
	switch {
	case held.origin != c.root.origin:
		c.wrong(text{En: "witness %s is of another log: %s", Es: "el testigo %s es de otro registro: %s"}.f(name, held.origin))
		return
	case held.tree.N > c.root.tree.N:
		c.wrong(text{En: "the tail is missing: a checkpoint of %d entries exists, held by %s, and the log has %d", Es: "falta el final: existe un punto de control de %d entradas, en poder de %s, y el registro tiene %d"}.
			f(held.tree.N, who, c.root.tree.N))
		return
	}
	root, err := tlog.TreeHash(held.tree.N, c.reader)
	switch {
	case err != nil && c.from() == 0 && c.to() == c.root.tree.N:
		c.wrong(text{En: "witness %s: cannot be compared: %v", Es: "testigo %s: no se puede comparar: %v"}.f(name, err))
	case err != nil:
		c.note(text{En: "witness %s: this part of the log does not say whether it agrees: %v", Es: "testigo %s: esta parte del registro no dice si concuerda: %v"}.f(name, reason(err)))
	case root != held.tree.Hash:
		c.wrong(text{En: "another history: %s holds the root %s of the first %d entries, here they have %s", Es: "otra historia: %s tiene la raíz %s de las primeras %d entradas, aquí tienen %s"}.
			f(who, held.tree.Hash, held.tree.N, root))
	default:
		c.proved(text{En: "it goes on from the checkpoint of %d entries that %s holds", Es: "continúa el punto de control de %d entradas que tiene %s"}.f(held.tree.N, who))
	}
}

// blobs compares the evidence with what the entries say.
func (c *checker) blobs() error {
	dir := c.evidence
	if dir == "" && c.export != nil && c.export.Evidence {
		dir = filepath.Join(c.dir, "evidence")
	}
	if len(c.order) == 0 {
		return nil
	}
	if dir == "" {
		c.note(text{En: "the entries name %d pieces of evidence, which were not checked (--evidence)", Es: "las entradas nombran %d evidencias, que no se comprobaron (--evidence)"}.f(len(c.order)))
		return nil
	}
	good, purged := 0, 0
	for _, sum := range c.order {
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
			c.wrong(text{En: "entry %d names no digest: %q", Es: "la entrada %d no nombra un digest: %q"}.f(c.named[sum].entry, sum))
			continue
		}
		have, err := sumOf(filepath.Join(dir, sum[:2], sum))
		switch {
		case errors.Is(err, fs.ErrNotExist) && c.named[sum].purged:
			purged++
		case errors.Is(err, fs.ErrNotExist) && (c.from() > 0 || c.to() < c.root.tree.N):
			c.note(text{En: "entry %d: evidence %s is not here; whether its deletion was recorded, these entries do not say", Es: "entrada %d: la evidencia %s no está; estas entradas no dicen si consta su borrado"}.f(c.named[sum].entry, sum))
		case err != nil:
			c.wrong(text{En: "entry %d: evidence %s: %v", Es: "entrada %d: evidencia %s: %v"}.f(c.named[sum].entry, sum, reason(err)))
		case have != sum:
			c.wrong(text{En: "entry %d: evidence %s was altered", Es: "entrada %d: la evidencia %s fue alterada"}.f(c.named[sum].entry, sum))
		default:
			good++
		}
	}
	c.proved(text{En: "%d pieces of evidence are what their entries say; of %d the deletion is recorded", Es: "%d evidencias son lo que dicen sus entradas; de %d consta el borrado"}.f(good, purged))
	return nil
}
