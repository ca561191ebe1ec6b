package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"casco/internal/atomicfile"
)

// cacheSchema names the format of what is kept and what is looked for: a new
// kind of material is a new number, and all layers are read again.
const cacheSchema = "casco/layers/v2"

// filesMost bounds the directory: beyond it, what was written first is forgotten.
const filesMost = 20_000

// A cache is a directory that keeps what was found in layers, and in whole
// images, by digest: one file for each. Without a directory it is only of this
// run.
type cache struct {
	dir    string
	layers map[string]Layer
	failed map[string]error // why a layer could not be read now
	err    error            // the first file that could not be understood
	wrote  bool
}

func openCache(dir string) *cache {
	return &cache{dir: dir, layers: map[string]Layer{}, failed: map[string]error{}}
}

// A record is one file of the cache.
type record struct {
	Schema  string   `json:"schema"`
	Digest  string   `json:"digest"`
	Layer   *Layer   `json:"layer,omitempty"`
	Content *Content `json:"content,omitempty"`
	Picture *Picture `json:"picture,omitempty"` // of a file, by what stat(2) says of it
	Diff    string   `json:"diff,omitempty"`    // the digest of the content of a blob
}

// path is the file of what has that digest. Digests are words of strangers.
func (c *cache) path(digest string) string {
	h := sha256.Sum256([]byte(digest))
	return filepath.Join(c.dir, hex.EncodeToString(h[:])+".json")
}

// get reads a record. What is not there, of another version or broken is not
// known.
func (c *cache) get(digest string) (record, bool) {
	var r record
	if c.dir == "" {
		return r, false
	}
	b, err := os.ReadFile(c.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		c.err = cmp.Or(c.err, fmt.Errorf("%s: %w", c.path(digest), err))
		return r, false
	}
	return r, r.Schema == cacheSchema && r.Digest == digest
}

// put keeps a record.
func (c *cache) put(r record) error {
	if c.dir == "" {
		return nil
	}
	r.Schema = cacheSchema
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	c.wrote = true
	return atomicfile.Write(c.path(r.Digest), append(b, '\n'), 0o600)
}

// layer returns what is known of a layer, or why nothing is.
func (c *cache) layer(digest string) (Layer, error) {
	if l, ok := c.layers[digest]; ok {
		return l, nil
	}
	if err, ok := c.failed[digest]; ok {
		return Layer{}, err
	}
	if r, ok := c.get(digest); ok && r.Layer != nil {
		c.layers[digest] = *r.Layer
		return *r.Layer, nil
	}
	return Layer{}, errShallow
}

// known reports whether a layer has been read before.
func (c *cache) known(digest string) bool {
	_, err := c.layer(digest)
	return err == nil
}

// knows reports whether all layers of a stack are known, or it as a whole is.
func (c *cache) knows(st stack) bool {
	if r, ok := c.get(st.digest()); ok && r.Content != nil {
		return true
	}
	return !slices.ContainsFunc(st, func(digest string) bool { return !c.known(digest) })
}

// fail says why the layers of a stack that are not known cannot be.
func (c *cache) fail(st stack, why error) {
	for _, digest := range st {
		if !c.known(digest) {
			c.failed[digest] = why
		}
	}
}

// keep takes in a layer that was read now.
func (c *cache) keep(digest string, l Layer) error {
	c.layers[digest] = l
	return c.put(record{Digest: digest, Layer: &l})
}

// tidy forgets the oldest files beyond filesMost.
func (c *cache) tidy() error {
	if !c.wrote {
		return nil
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil || len(entries) <= filesMost {
		return err
	}
	written := func(e os.DirEntry) time.Time {
		if info, err := e.Info(); err == nil {
			return info.ModTime()
		}
		return time.Time{}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return written(a).Compare(written(b)) })
	for _, e := range entries[:len(entries)-filesMost] {
		err = errors.Join(err, gone(os.Remove(filepath.Join(c.dir, e.Name()))))
	}
	return err
}
