// Package image looks into the layers of images, without running anything: for
// the packages that each brings, for setuid programs, and for keys and logins,
// which stay in an image when a later layer deletes them; and into what
// containers have written.
//
// A layer is read in the directory in which overlay2 keeps it, in what the engine
// or a registry sends, in an archive or in an OCI layout (Open). Its files are
// those of strangers: nothing of them is written to a path that they name, no
// link is followed, and what is read of them has bounds. No value of a secret
// leaves the package: what is found is named by its path and kind. What cannot be
// read says so in Unread.
//
// A layer is named by the digest of its content, and so is read once: what was
// found is kept, in a directory below the state directory. A walk costs some
// 10 µs a file, seconds for a host with many images, so that layers that are not
// known yet are read only if Deep says so.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	save  Save
}

// A Save asks the engine for an image as an archive: GET /images/{name}/get.
type Save func(ctx context.Context, name string) (io.ReadCloser, error)

// New returns a Source. Cache is the directory in which what is found is kept, ""
// for none; deep lets it read layers that are not there. Save is asked for images
// whose layers are in no directory of this host; nil: they cannot be read.
func New(cache string, deep bool, save Save) *Source { return &Source{cache, deep, save} }

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
	c := openCache(src.cache)
	if src.deep {
		src.read(ctx, c, s)
	}
	containers(ctx, s)
	for _, o := range s.Of(inventory.Image) {
		found, err := src.content(c, s, o)
		if err != nil {
			unread(o, err)
			continue
		}
		Describe(o, found)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not all layers were looked into: %w", err)
	}
	if src.deep {
		return c.tidy()
	}
	return c.err
}

// content is what the layers of image o hold. Of one that is not known the
// reason is that of its directories where those could not be read.
func (src *Source) content(c *cache, s *inventory.Snapshot, o *inventory.Object) (Content, error) {
	st, err := stackOf(o)
	if err != nil {
		return Content{}, err
	}
	found, err := c.content(st)
	if errors.Is(err, errShallow) && src.save == nil {
		if _, elsewhere := dirsOf(s, o, st); elsewhere != nil {
			return found, elsewhere
		}
	}
	return found, err
}

func unread(o *inventory.Object, why error) {
	if o.Unread == nil {
		o.Unread = map[string]string{}
	}
	for _, field := range described {
		o.Unread[field] = why.Error()
	}
}

// stackOf is the stack of image o.
func stackOf(o *inventory.Object) (stack, error) {
	digests, fact, ok := inventory.Field[[]string]{Kind: inventory.Image, Path: "RootFS.Layers"}.Of(o)
	if !ok {
		return nil, errors.New(fact.String())
	}
	return digests, nil
}

// dirsOf finds the directories of the layers of image o, the lowest first. Docker
// Engine API, GET /images/{id}/json: GraphDriver.Data of overlay2 has the topmost
// as UpperDir and those below it, the nearest first, as LowerDir.
func dirsOf(s *inventory.Snapshot, o *inventory.Object, st stack) ([]string, error) {
	driver, _, _ := inventory.Field[string]{Kind: inventory.Image, Path: "GraphDriver.Name"}.Of(o)
	switch {
	case driver == "", driver == "overlayfs": // the name of containerd's snapshotter
		return nil, errors.New("the engine keeps it in containerd's store, and does not say where its layers are")
	case driver != "overlay2":
		return nil, fmt.Errorf("the storage driver is %s; only overlay2 keeps each layer in a directory that can be read", driver)
	case elsewhere(s):
		return nil, errors.New("the engine sees other files than this host, or is on another machine")
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
	if len(dirs) != len(st) {
		return nil, fmt.Errorf("it has %d layers in %d directories", len(st), len(dirs))
	}
	return dirs, nil
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

// read looks into the layers that are not known yet: in their directories, or
// else in what the engine sends.
func (src *Source) read(ctx context.Context, c *cache, s *inventory.Snapshot) {
	todo := map[string]string{} // directories by digest
	for _, o := range s.Of(inventory.Image) {
		st, err := stackOf(o)
		if err != nil || c.knows(st) {
			continue
		}
		dirs, err := dirsOf(s, o, st)
		switch {
		case err == nil:
			for i, digest := range st {
				if !c.known(digest) {
					todo[digest] = dirs[i]
				}
			}
		case src.save == nil:
			c.fail(st, err)
		default:
			if err := src.saved(ctx, c, o); err != nil {
				c.fail(st, err)
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	var mu sync.Mutex // guards c
	for digest, dir := range todo {
		g.Go(func() error {
			found, err := readLayer(ctx, dir)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = c.keep(digest, found)
			}
			if err != nil {
				c.fail(stack{digest}, err)
			}
			return nil
		})
	}
	g.Wait()
}

// saved reads an image that the engine sends.
func (src *Source) saved(ctx context.Context, c *cache, o *inventory.Object) error {
	id, _, _ := inventory.ImageID.Of(o)
	r, err := src.save(ctx, id)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = readArchive(ctx, c, r, "")
	return err
}
