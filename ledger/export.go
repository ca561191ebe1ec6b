package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"casco/lang"
)

// An export is a folder that proves itself, to be given to somebody else, who
// checks it with casco-verify, or with any tool for tiled logs and sha256sum:
//
//	MANIFEST             SHA-256 of every other file, as sha256sum writes it
//	export.json          an ExportInfo
//	checkpoint, tile/…   as in the log, as far as needed for the entries
//	witness/NAME         checkpoints that witnesses cosigned
//	keys                 "log KEY" and "witness KEY", one a line; whoever gets the
//	                     folder compares them with what he knows: it could be forged
//	evidence/ab/abcd…    evidence that the entries name, by its SHA-256
//
// MANIFEST is written last; without it the export was not finished.

// ExportOptions says what to export.
type ExportOptions struct {
	From, To  int64                        // entries; widened to whole bundles of 256
	Actor     string                       // who exports: stands in the log
	Witnesses []string                     // verifier keys of witnesses, to go with it
	Evidence  func(Digest) ([]byte, error) // gives the evidence; nil: leave it out. ErrNoEvidence is fine for what was purged
}

// ExportInfo says what an export is.
type ExportInfo struct {
	Format   string    `json:"format"` // "casco export 1"
	Origin   string    `json:"origin"`
	Size     int64     `json:"size"` // entries that the checkpoint speaks for
	From     int64     `json:"from"` // entries that are here: [From, To)
	To       int64     `json:"to"`
	Made     time.Time `json:"made"`
	Evidence bool      `json:"evidence"` // evidence is here as far as it was not purged
}

const exportFormat = "casco export 1"

// Manifest says what an export came to. It is the data of an Exported entry.
type Manifest struct {
	ExportInfo
	Files  int    `json:"files"`  // without MANIFEST
	Bytes  int64  `json:"bytes"`  // of them
	Digest Digest `json:"sha256"` // of MANIFEST: it stands for the whole
	Blobs  int    `json:"blobs"`  // pieces of evidence
	Purged int    `json:"purged"` // evidence that the entries name and nobody has any more
}

// Export writes a part of the log to the folder into, which must be empty or
// not there, and records that.
func (l *Log) Export(into string, o ExportOptions) (Manifest, error) {
	v, err := l.View()
	if err != nil {
		return Manifest{}, err
	}
	m, err := v.export(into, o, l.signer.Public(), l.clock().UTC())
	if err != nil {
		return m, lang.Errorf(lang.Text{En: "export the ledger: %w", Es: "exportar el registro: %w"}, err)
	}
	e, err := NewEntry(Exported, o.Actor, "ledger/"+v.cp.Origin, m)
	if err != nil {
		return m, err
	}
	_, err = l.Append(e)
	return m, err
}

// exporter writes files and remembers their digests.
type exporter struct {
	v     *View
	files batch
	sums  map[string]Digest
	bytes int64
}

func (v *View) export(into string, o ExportOptions, key string, now time.Time) (Manifest, error) {
	if o.From < 0 || o.From > o.To || o.To > v.Size() {
		return Manifest{}, lang.Errorf(lang.Text{En: "entries %d to %d of %d: %w", Es: "entradas %d a %d de %d: %w"}, o.From, o.To, v.Size(), ErrNoEntry)
	}
	if names, err := os.ReadDir(into); err == nil && len(names) > 0 {
		return Manifest{}, lang.Errorf(lang.Text{En: "%s is not empty", Es: "%s no está vacío"}, into)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, err
	}
	m := Manifest{ExportInfo: ExportInfo{
		Format: exportFormat, Origin: v.cp.Origin, Size: v.Size(), Made: now, Evidence: o.Evidence != nil,
		From: o.From &^ (tileWidth - 1), To: min((o.To+tileWidth-1)&^(tileWidth-1), v.Size()),
	}}
	x := &exporter{v: v, files: batch{root: into, late: true}, sums: map[string]Digest{}}
	if err := x.files.mkdir(into); err != nil {
		return m, err
	}
	held, err := readHeld(v.dir)
	if err != nil {
		return m, err
	}
	if err := x.tiles(m.From, m.To, held); err != nil {
		return m, err
	}
	if err := x.entries(&m, o.Evidence); err != nil {
		return m, err
	}
	info, err := json.MarshalIndent(m.ExportInfo, "", "\t")
	if err != nil {
		return m, err
	}
	keys := "log " + key + "\n"
	for _, w := range o.Witnesses {
		keys += "witness " + w + "\n"
	}
	err = errors.Join(x.put("checkpoint", v.cp.Note), x.put("keys", []byte(keys)), x.put("export.json", append(info, '\n')))
	for _, h := range held {
		err = errors.Join(err, x.put(h.From, h.Note))
	}
	if err != nil {
		return m, err
	}
	return m, x.manifest(&m)
}

func (x *exporter) put(name string, data []byte) error {
	if err := x.files.put(name, data, true); err != nil {
		return err
	}
	if _, again := x.sums[name]; !again {
		x.bytes += int64(len(data))
	}
	x.sums[name] = DigestOf(data)
	return nil
}

// tiles writes those tiles that prove entries from..to and the roots that
// witnesses hold, by letting tlog prove them and keeping what it reads.
func (x *exporter) tiles(from, to int64, held []Held) error {
	if x.v.Size() == 0 {
		return nil
	}
	r := tlog.TileHashReader(x.v.cp.tree(), keepTiles{tileReader{x.v}, x})
	if _, err := tlog.TreeHash(x.v.Size(), r); err != nil {
		return err
	}
	for ; from < to; from += tileWidth {
		var indexes []int64
		for i := from; i < min(from+tileWidth, to); i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		if _, err := r.ReadHashes(indexes); err != nil {
			return err
		}
	}
	for _, h := range held {
		text, _, _ := bytes.Cut(h.Note, []byte("\n\n"))
		cp, err := parseRoot(string(text) + "\n")
		if err != nil || cp.Size == 0 || cp.Size > x.v.Size() {
			continue // goes along as it is: who checks the export sees that it does not fit
		}
		if _, err := tlog.TreeHash(cp.Size, r); err != nil {
			return err
		}
	}
	return nil
}

// keepTiles writes to an export the tiles that tlog has read and proved.
type keepTiles struct {
	tileReader
	x *exporter
}

func (k keepTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data, err := k.tileReader.ReadTiles(tiles)
	if err != nil {
		return nil, err
	}
	for i, t := range tiles {
		if err := k.x.put(tilePath(t.L, t.N, t.W), data[i]); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// entries writes the bundles of m's entries, and the evidence that they name.
func (x *exporter) entries(m *Manifest, evidence func(Digest) ([]byte, error)) error {
	var bundle [][]byte
	i := m.From
	for raw, err := range x.v.raw(m.From, m.To) {
		if err != nil {
			return err
		}
		bundle = append(bundle, raw)
		i++
		if len(bundle) == tileWidth || i == m.To {
			if err := x.put(tilePath(-1, (i-1)/tileWidth, len(bundle)), joinBundle(bundle)); err != nil {
				return err
			}
			bundle = nil
		}
		if evidence != nil && bytes.Contains(raw, []byte(`"`+Evidenced+`"`)) {
			if err := x.blob(m, raw, evidence); err != nil {
				return lang.Errorf(lang.Text{En: "entry %d: %w", Es: "entrada %d: %w"}, i-1, err)
			}
		}
	}
	return nil
}

func (x *exporter) blob(m *Manifest, raw []byte, evidence func(Digest) ([]byte, error)) error {
	e, err := ParseEntry(raw)
	if err != nil || e.Kind != Evidenced {
		return err
	}
	d, err := ParseDigest(e.About)
	if err != nil {
		return err
	}
	name := filepath.Join("evidence", d.path())
	if _, have := x.sums[name]; have {
		return nil
	}
	b, err := evidence(d)
	switch {
	case errors.Is(err, ErrNoEvidence):
		m.Purged++
		return nil
	case err != nil:
		return err
	case DigestOf(b) != d:
		return fmt.Errorf("%s: %w", d, ErrAltered)
	}
	m.Blobs++
	return x.put(name, b)
}

func (x *exporter) manifest(m *Manifest) error {
	names := make([]string, 0, len(x.sums))
	for name := range x.sums {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "%s  %s\n", x.sums[name], name)
	}
	m.Files, m.Bytes, m.Digest = len(names), x.bytes, DigestOf([]byte(text.String()))
	if err := x.files.flush(); err != nil {
		return err
	}
	return writeFile(filepath.Join(x.files.root, "MANIFEST"), []byte(text.String()))
}
