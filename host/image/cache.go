package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"casco/internal/atomicfile"
)

// cacheSchema names the format of the file and what is looked for: a new kind
// of material is a new number, and all layers are read again.
const cacheSchema = "casco/layers/v1"

// layersMost bounds the file: beyond it, what no image of this reading has is
// forgotten.
const layersMost = 20_000

// A kept Layer is one with the time of its reading.
type kept struct {
	Layer
	Read time.Time `json:"read"` // UTC
}

// A cache is what is known of layers, and of whole images, by digest.
type cache struct {
	Schema string             `json:"schema"`
	Layers map[string]kept    `json:"layers"`
	Stacks map[string]content `json:"images"`

	path    string
	changed bool
	used    map[string]bool
	failed  map[string]error // why a layer could not be read now
}

// openCache reads the file at path. One that is not there, or of another
// version, is an empty cache, and so with an error is one that cannot be read.
func openCache(path string) (*cache, error) {
	c := &cache{}
	b, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err == nil {
		if err = json.Unmarshal(b, c); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil || c.Schema != cacheSchema || c.Layers == nil || c.Stacks == nil {
		c.Layers, c.Stacks = map[string]kept{}, map[string]content{}
	}
	c.Schema, c.path, c.used, c.failed = cacheSchema, path, map[string]bool{}, map[string]error{}
	return c, err
}

// get returns what is known of l, or why nothing is.
func (c *cache) get(l layer) (kept, error) {
	c.used[l.digest] = true
	if k, ok := c.Layers[l.digest]; ok {
		return k, nil
	}
	if err, ok := c.failed[l.digest]; ok {
		return kept{}, err
	}
	return kept{}, errShallow
}

// save writes what is new.
func (c *cache) save() error {
	if !c.changed || c.path == "" {
		return nil
	}
	if len(c.Layers)+len(c.Stacks) > layersMost {
		maps.DeleteFunc(c.Layers, func(digest string, _ kept) bool { return !c.used[digest] })
		maps.DeleteFunc(c.Stacks, func(digest string, _ content) bool { return !c.used[digest] })
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(c.path, append(b, '\n'), 0o600)
}
