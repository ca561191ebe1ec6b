// Package image looks into the layers of the images that the engine in use
// keeps: for setuid programs, and for keys and logins, which stay in an image
// when a later layer deletes them; and into what containers have written.
//
// It reads the directories in which overlay2 keeps layers and runs nothing. No
// value of a secret leaves it: what is found is named by its path and kind. An
// image of another store says so in Unread.
//
// A layer is named by the digest of its content, and so is read once: what was
// found is kept, in a file of the state directory. A walk costs some 10 µs a
// file, seconds for a host with many images, so that layers that are not known
// yet are read only if Deep says so.
package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"casco/loop/inventory"
)

// A Source completes the Image and Container objects that the source of the
// engine made. It runs after that one and after the one of the engine's process.
type Source struct {
	cache string
	deep  bool
}

// New returns a Source. Cache is the file in which what is found is kept, ""
// for none; deep lets it read layers that are not there.
func New(cache string, deep bool) *Source { return &Source{cache, deep} }

// Name implements inventory.Source.
func (*Source) Name() string { return "image layers" }

// readingTime bounds a deep reading.
const readingTime = 10 * time.Minute

// errShallow is why the layers of an image are not known.
var errShallow = errors.New("its layers have not been looked into: casco audit --deep does")

// Read implements inventory.Source.
func (src *Source) Read(ctx context.Context, s *inventory.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, readingTime)
	defer cancel()
	c, cacheErr := openCache(src.cache)
	stacks := map[*inventory.Object]stack{}
	for _, o := range s.Of(inventory.Image) {
		st, err := stackOf(s, o)
		if err != nil {
			unread(o, err)
			continue
		}
		stacks[o] = st
	}
	if src.deep {
		c.read(ctx, stacks)
	}
	containers(ctx, s)
	for o, st := range stacks {
		found, err := c.content(st)
		if err != nil {
			unread(o, err)
			continue
		}
		describe(o, found)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not all layers were looked into: %w", err)
	}
	if src.deep {
		return c.save()
	}
	return cacheErr
}

func unread(o *inventory.Object, why error) {
	if o.Unread == nil {
		o.Unread = map[string]string{}
	}
	for _, field := range []string{inventory.ImageSetuid.Path, inventory.ImageAccess.Path} {
		o.Unread[field] = why.Error()
	}
}

// A layer is one of an image: the digest of its content (RootFS.Layers, a
// diff ID of the OCI image specification) and the directory that has it.
type layer struct{ digest, dir string }

// A stack is the layers of an image, the lowest first.
type stack []layer

// digest names a stack by the content of all its layers.
func (st stack) digest() string {
	h := sha256.New()
	for _, l := range st {
		fmt.Fprintln(h, l.digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// stackOf finds the layers of image o, the lowest first. Docker Engine API, GET
// /images/{id}/json: GraphDriver.Data of overlay2 has the topmost as UpperDir
// and those below it, the nearest first, as LowerDir.
func stackOf(s *inventory.Snapshot, o *inventory.Object) (stack, error) {
	driver, _, _ := inventory.Field[string]{Kind: inventory.Image, Path: "GraphDriver.Name"}.Of(o)
	switch {
	case driver == "", driver == "overlayfs": // the name of containerd's snapshotter
		return nil, errors.New("the engine keeps it in containerd's store, and does not say where its layers are")
	case driver != "overlay2":
		return nil, fmt.Errorf("the storage driver is %s; only overlay2 keeps each layer in a directory that can be read", driver)
	case elsewhere(s):
		return nil, errors.New("the engine sees other files than this host, or is on another machine")
	}
	digests, fact, ok := inventory.Field[[]string]{Kind: inventory.Image, Path: "RootFS.Layers"}.Of(o)
	if !ok {
		return nil, errors.New(fact.String())
	}
	upper, _, _ := inventory.Field[string]{Kind: inventory.Image, Path: "GraphDriver.Data.UpperDir"}.Of(o)
	lower, _, _ := inventory.Field[string]{Kind: inventory.Image, Path: "GraphDriver.Data.LowerDir"}.Of(o)
	var dirs []string
	for dir := range strings.SplitSeq(upper+":"+lower, ":") {
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Reverse(dirs)
	if len(dirs) != len(digests) {
		return nil, fmt.Errorf("it has %d layers in %d directories", len(digests), len(dirs))
	}
	st := make(stack, len(dirs))
	for i := range dirs {
		st[i] = layer{digests[i], dirs[i]}
	}
	return st, nil
}

// elsewhere reports whether the paths of the engine in use are not this host's.
func elsewhere(s *inventory.Snapshot) bool {
	for _, d := range s.Of(inventory.Daemon) {
		if _, _, asked := inventory.DaemonInfo.Of(d); !asked {
			continue
		}
		own, _, _ := inventory.DaemonOwnNamespaces.Of(d)
		return slices.Contains(own, "mnt") || !filepath.IsAbs(d.Ref.Name)
	}
	return true
}

// A content is what all layers of an image hold together.
type content struct {
	Setuid []string  `json:"setuid,omitempty"` // that are still to be seen on top
	Access []access  `json:"access,omitempty"`
	Read   time.Time `json:"read"` // of the layer that was read first, UTC
}

type access struct {
	Material
	Layer   int  `json:"layer"` // from 1, at the bottom
	Deleted bool `json:"deleted,omitempty"`
}

// content says what a stack holds, if all of its layers are known.
func (c *cache) content(st stack) (content, error) {
	key := st.digest()
	if known, ok := c.Stacks[key]; ok {
		c.used[key] = true
		return known, nil
	}
	var found content
	for i, l := range st {
		known, err := c.get(l)
		if err != nil {
			return found, err
		}
		if i == 0 || known.Read.Before(found.Read) {
			found.Read = known.Read
		}
		for _, p := range known.Setuid {
			shown, err := st[i+1:].shows(p)
			if err != nil {
				return found, err
			}
			if shown {
				found.Setuid = append(found.Setuid, p)
			}
		}
		for _, m := range known.Material {
			shown, err := st[i+1:].shows(m.Path)
			if err != nil {
				return found, err
			}
			found.Access = append(found.Access, access{m, i + 1, !shown})
		}
	}
	slices.Sort(found.Setuid)
	c.Stacks[key], c.used[key], c.changed = found, true, true
	return found, nil
}

// describe makes what was found fields of image o.
func describe(o *inventory.Object, found content) {
	setuid, material := make([]any, 0, len(found.Setuid)), make([]any, 0, len(found.Access))
	for _, p := range found.Setuid {
		setuid = append(setuid, p)
	}
	for _, a := range found.Access {
		entry := map[string]any{"Path": a.Path, "What": a.What, "Layer": int64(a.Layer)}
		if a.Deleted {
			entry["Deleted"] = true
		}
		if a.Sample {
			entry["Sample"] = true
		}
		material = append(material, entry)
	}
	o.Fields[inventory.ImageSetuid.Path], o.Fields[inventory.ImageAccess.Path] = setuid, material
	if o.Sources == nil {
		o.Sources = map[string]string{}
	}
	source := "its layers, read " + found.Read.UTC().Format("2006-01-02 15:04Z")
	o.Sources[inventory.ImageSetuid.Path], o.Sources[inventory.ImageAccess.Path] = source, source
}

// read looks into the layers that are not known yet.
func (c *cache) read(ctx context.Context, stacks map[*inventory.Object]stack) {
	todo := map[string]layer{}
	for _, st := range stacks {
		for _, l := range st {
			if _, known := c.Layers[l.digest]; !known {
				todo[l.digest] = l
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex // guards c
	for _, l := range todo {
		g.Go(func() error {
			found, err := readLayer(ctx, l.dir)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				c.failed[l.digest] = err
				return nil
			}
			c.Layers[l.digest] = kept{found, time.Now().UTC()}
			c.changed = true
			return nil
		})
	}
	g.Wait()
}
