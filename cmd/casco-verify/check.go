package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A checker goes through one folder.
type checker struct {
	options
	result
	keys   keyring
	root   checkpoint // the newest that the log signed
	export *exportInfo

	signed    []byte  // the file "checkpoint"
	published int64   // its size
	batch     []batch // of the journal of a live log
	base      int64   // of the journal

	// Of a whole log: hashes of all entries and subtrees, in tlog's order, made
	// of the entries alone.
	stored []tlog.Hash
	reader tlog.HashReader
	count  int64 // entries read
	named  map[string]*blob
	order  []string
	last   time.Time
}

// exportInfo is export.json.
type exportInfo struct {
	Format   string `json:"format"`
	Origin   string `json:"origin"`
	Size     int64  `json:"size"`
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Evidence bool   `json:"evidence"`
}

// A blob is a piece of evidence that entries name.
type blob struct {
	entry  int64
	purged bool
}

func check(o options) (*result, error) {
	c := &checker{options: o, named: map[string]*blob{}}
	c.Wrong, c.Proved, c.Notes = []text{}, []text{}, []text{}
	if err := c.open(); err != nil {
		return nil, err
	}
	if c.root.origin != "" {
		c.reader = tlog.HashReaderFunc(c.readStored)
		if c.from() > 0 || c.to() < c.root.tree.N {
			c.part()
		} else {
			c.whole()
		}
		c.witnesses()
	}
	if err := c.blobs(); err != nil {
		return nil, err
	}
	c.Holds = len(c.Wrong) == 0
	return &c.result, nil
}

// open finds out what kind of folder this is, whose keys count, and reads the
// newest signed root.
func (c *checker) open() error {
	if st, err := os.Stat(c.dir); err != nil {
		return err
	} else if !st.IsDir() {
		return fmt.Errorf("%s is not a directory", c.dir)
	}
	if err := c.openExport(); err != nil {
		return err
	}
	if err := c.openKeys(); err != nil {
		return err
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.format(); err != nil {
		return err
	}
	b, err := readFile(filepath.Join(c.dir, "checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		c.wrong(text{En: "the checkpoint is missing", Es: "falta el punto de control (checkpoint)"})
		return nil
	}
	if err != nil {
		return err
	}
	if c.root, err = c.keys.open(b); err != nil {
		c.wrong(text{En: "checkpoint: %v", Es: "checkpoint: %v"}.f(err))
		c.root = checkpoint{}
		return nil
	}
	c.proved(text{En: "the checkpoint of %d entries is signed by %s", Es: "el punto de control de %d entradas está firmado por %s"}.
		f(c.root.tree.N, c.root.origin))
	c.signed, c.published = b, c.root.tree.N
	if x := c.export; x != nil && (x.Origin != c.root.origin || x.Size != c.root.tree.N || x.From%width != 0 || x.From < 0 || x.From > x.To || x.To > x.Size) {
		c.wrong(text{En: "export.json speaks of entries %d to %d among %d of %s, the checkpoint of %d of %s", Es: "export.json habla de las entradas %d a %d entre %d de %s, el punto de control de %d de %s"}.
			f(x.From, x.To-1, x.Size, x.Origin, c.root.tree.N, c.root.origin))
		x.From, x.To = 0, c.root.tree.N
	}
	return c.journal()
}

// openExport checks the manifest and reads what the export is, if it is one.
func (c *checker) openExport() error {
	b, err := readFile(filepath.Join(c.dir, "export.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var x exportInfo
	if err := json.Unmarshal(b, &x); err != nil || !strings.HasPrefix(x.Format, "casco export ") {
		return fmt.Errorf("%s: export.json is not that of an export", c.dir)
	}
	if x.Format != "casco export 1" {
		return fmt.Errorf("%s: %q: made by a newer casco than this casco-verify", c.dir, x.Format)
	}
	c.export = &x
	return c.manifest()
}

// manifest compares every file with MANIFEST, and MANIFEST with every file.
func (c *checker) manifest() error {
	b, err := readFile(filepath.Join(c.dir, "MANIFEST"))
	if errors.Is(err, fs.ErrNotExist) {
		c.wrong(text{En: "MANIFEST is missing: the export was not finished, or it was taken away", Es: "falta MANIFEST: la exportación no se terminó, o lo quitaron"})
		return nil
	}
	if err != nil {
		return err
	}
	want := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !filepath.IsLocal(name) {
			c.wrong(text{En: "MANIFEST has a line that is none: %.80q", Es: "MANIFEST tiene una línea que no lo es: %.80q"}.f(line))
			continue
		}
		want[name] = sum
	}
	files := len(want)
	err = filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.dir, path)
		if err != nil || name == "MANIFEST" {
			return err
		}
		have, err := sumOf(path)
		if err != nil {
			c.wrong(text{En: "%s: %v", Es: "%s: %v"}.f(name, reason(err)))
			return nil
		}
		sum, listed := want[name]
		switch {
		case !listed:
			c.wrong(text{En: "%s is not in MANIFEST", Es: "%s no está en MANIFEST"}.f(name))
		case sum != have:
			c.wrong(text{En: "%s was changed after the export", Es: "%s fue cambiado tras la exportación"}.f(name))
		}
		delete(want, name)
		return nil
	})
	if err != nil {
		return err
	}
	for name := range want {
		c.wrong(text{En: "%s is in MANIFEST and not here", Es: "%s está en MANIFEST y no aquí"}.f(name))
	}
	if len(c.Wrong) == 0 {
		c.proved(text{En: "the export is whole: %d files are as MANIFEST has them", Es: "la exportación está entera: %d archivos son como dice MANIFEST"}.f(files))
	}
	return nil
}

func (c *checker) openKeys() (err error) {
	if c.keys.log, err = keysIn(c.options.keys); err != nil {
		return err
	}
	if c.keys.witness, err = keysIn(c.witnessKeys); err != nil {
		return err
	}
	if c.export == nil {
		if len(c.keys.log) == 0 {
			return errors.New("whose log is it? name the host's key: --key NAME+ID+BASE64, or a file that holds it")
		}
		return nil
	}
	inside, err := exportKeys(c.dir)
	if err != nil {
		return err
	}
	if len(c.keys.log) == 0 {
		c.keys.log = inside.log
		for _, v := range inside.log {
			c.note(text{
				En: "the key %s+%08x was taken from the export itself: whoever forges one puts his own there; compare it, and name it with --key",
				Es: "la clave %s+%08x se tomó de la propia exportación: quien falsifica una pone allí la suya; compárela y nómbrela con --key",
			}.f(v.Name(), v.KeyHash()))
		}
	}
	if len(c.keys.witness) == 0 {
		c.keys.witness = inside.witness
		if len(inside.witness) > 0 {
			c.note(text{En: "so were the keys of the witnesses (--witness-key)", Es: "también las claves de los testigos (--witness-key)"})
		}
	}
	return nil
}

// lock keeps a live log from being written to while its end is read.
func (c *checker) lock() (unlock func(), err error) {
	f, err := os.Open(filepath.Join(c.dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR || time.Since(begun) > 10*time.Second {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

func (c *checker) format() error {
	if c.export != nil {
		return nil
	}
	b, err := readFile(filepath.Join(c.dir, "format"))
	if err != nil {
		return fmt.Errorf("%s is neither a ledger nor an export of one: %w", c.dir, err)
	}
	if string(b) != "casco ledger 1\n" {
		return fmt.Errorf("%s: %.40q: made by a newer casco than this casco-verify", c.dir, bytes.TrimSpace(b))
	}
	return nil
}

// journal reads what a live log has written since it last published.
func (c *checker) journal() error {
	b, err := readFile(filepath.Join(c.dir, "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(c.dir, "lock")); err == nil {
			c.wrong(text{En: "the journal is missing", Es: "falta el journal"})
		}
		return nil
	}
	if err != nil {
		return err
	}
	published := c.root
	base, batches, rest, torn, err := journalOf(b)
	if err != nil {
		c.wrong(text{En: "journal: %v", Es: "journal: %v"}.f(err))
		return nil
	}
	at := base
	for _, j := range batches {
		at += int64(len(j.entries))
		root, err := c.keys.open(j.signed)
		if err != nil || root.tree.N != at || root.origin != published.origin {
			c.wrong(text{En: "journal: the entries up to %d are not signed: %v", Es: "journal: las entradas hasta la %d no están firmadas: %v"}.f(at-1, err))
			continue
		}
		c.root = root
	}
	c.base, c.batch = base, batches
	switch {
	case len(rest) > 0 && torn:
		c.note(text{En: "%d bytes behind entry %d are of an append that was never acknowledged", Es: "%d bytes tras la entrada %d son de una escritura nunca confirmada"}.f(len(rest), at-1))
	case len(rest) > 0:
		c.wrong(text{En: "journal: damaged from entry %d on", Es: "journal: dañado desde la entrada %d"}.f(at))
	}
	switch {
	case published.tree.N < base:
		c.wrong(text{En: "an old checkpoint was put back: of %d entries, the journal begins at %d", Es: "se repuso un punto de control viejo: de %d entradas, el journal empieza en la %d"}.f(published.tree.N, base))
	case published.tree.N > at:
		c.wrong(text{En: "the tail is missing: the checkpoint is of %d entries, there are %d", Es: "falta el final: el punto de control es de %d entradas, hay %d"}.f(published.tree.N, at))
		c.root = published
	case at > published.tree.N && c.root.tree.N == at:
		c.note(text{En: "%d entries are newer than the published checkpoint; each append is signed", Es: "%d entradas son más nuevas que el punto de control publicado; cada escritura está firmada"}.f(at - published.tree.N))
	}
	return nil
}
