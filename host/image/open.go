package image

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"casco/loop/inventory"
)

// Of an image for several platforms the one of this program is read.
const (
	platformOS   = "linux"
	platformArch = runtime.GOARCH
)

// A Reader reads images that are on no engine of this host. What it finds in
// layers it keeps where a Source keeps it.
type Reader struct{ cache *cache }

// NewReader returns a Reader with the cache in that directory, "" for none.
func NewReader(cache string) *Reader { return &Reader{openCache(cache)} }

// Open reads the image at path, an archive or the directory of an OCI layout,
// with what its layers hold. Ref chooses one if there are several. An archive
// that has not changed since it was read is not read again.
func (r *Reader) Open(ctx context.Context, name, ref string) (*inventory.Object, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	var p *Picture
	switch {
	case info.IsDir():
		p, err = r.layout(ctx, name, ref)
	case info.Mode().IsRegular():
		p, err = r.file(ctx, name, info, ref)
	default:
		err = errors.New("neither a file nor a directory")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.object(p, name)
}

// Stream reads an image from an archive that comes as a stream.
func (r *Reader) Stream(ctx context.Context, in io.Reader, from, ref string) (*inventory.Object, error) {
	p, err := readArchive(ctx, r.cache, in, ref)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return r.object(p, from)
}

// identity names a file so that no other content can pass for it without root:
// nobody else sets the time of change (inode(7), ctime).
func identity(info fs.FileInfo, ref string) (string, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	return fmt.Sprintf("file:%d:%d:%d:%d.%d:%d.%d:%s", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec, ref), true
}

func (r *Reader) file(ctx context.Context, name string, info fs.FileInfo, ref string) (*Picture, error) {
	id, ok := identity(info, ref)
	if known, has := r.cache.get(id); ok && has && known.Picture != nil && r.cache.knows(known.Picture.Layers) {
		return known.Picture, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := readArchive(ctx, r.cache, f, ref)
	if err != nil || !ok {
		return p, err
	}
	// It may have been written to while it was read.
	if after, err := f.Stat(); err != nil || !sameFile(after, id, ref) {
		return nil, errors.New("it changed while it was read")
	}
	return p, r.cache.put(record{Digest: id, Picture: p})
}

func sameFile(info fs.FileInfo, id, ref string) bool {
	now, ok := identity(info, ref)
	return ok && now == id
}

// layout reads an OCI image layout: OCI image specification, image-layout.md. No
// link leads out of it.
func (r *Reader) layout(ctx context.Context, dir, ref string) (*Picture, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	all := newBlobs()
	all.missing = func(name string) error { return r.blob(ctx, root, all, name) }
	if err := all.missing("index.json"); err != nil {
		return nil, fmt.Errorf("not an OCI layout: %w", err)
	}
	return all.oci(all.documents["index.json"], ref)
}

// blob reads one file of a layout.
func (r *Reader) blob(ctx context.Context, root *os.Root, all *blobs, name string) error {
	if clean, err := inside(name); err != nil || clean != name {
		return fmt.Errorf("%q is no name of a blob", name)
	}
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	id, ok := identity(info, "")
	if known, has := r.cache.get(id); ok && has && known.Diff != "" && r.cache.known(known.Diff) {
		all.layers[name] = known.Diff
		return nil
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := all.take(ctx, r.cache, name, info.Size(), f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if diff, isLayer := all.layers[name]; isLayer && ok {
		return r.cache.put(record{Digest: id, Diff: diff})
	}
	return nil
}

// object makes the Image object of a picture, in the engine's words.
func (r *Reader) object(p *Picture, from string) (*inventory.Object, error) {
	content, err := r.cache.content(p.Layers)
	if err != nil {
		return nil, err
	}
	o, err := p.object(from)
	if err != nil {
		return nil, err
	}
	Describe(o, content)
	return o, r.cache.tidy()
}

// A config is what of the OCI image specification, config.md, has other names
// or another order with the engine.
type config struct {
	Created      string           `json:"created"`
	Author       string           `json:"author"`
	Architecture string           `json:"architecture"`
	OS           string           `json:"os"`
	Config       map[string]any   `json:"config"`
	History      []map[string]any `json:"history"`
}

// historyWords are the names that the engine gives to what a history line has.
var historyWords = map[string]string{"created": "Created", "created_by": "CreatedBy", "comment": "Comment"}

// object is GET /images/{id}/json of p, as an engine that had loaded it would
// answer, with secrets masked.
func (p *Picture) object(from string) (*inventory.Object, error) {
	var c config
	d := json.NewDecoder(bytes.NewReader(p.Config))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: the configuration of the image: %w", from, err)
	}
	if c.Config == nil {
		c.Config = map[string]any{}
	}
	inventory.MaskConfig(c.Config)
	name := p.ID
	if len(p.Tags) > 0 {
		name = slices.Min(p.Tags)
	}
	history := make([]any, 0, len(c.History))
	for _, line := range slices.Backward(c.History) { // the engine has the newest first
		entry := map[string]any{}
		for theirs, ours := range historyWords {
			if s, ok := line[theirs].(string); ok {
				entry[ours] = inventory.MaskText(s)
			}
		}
		if line["empty_layer"] == true {
			entry["Empty"] = true
		}
		history = append(history, entry)
	}
	return &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Image, Name: name}, Source: from, Read: time.Now().UTC(),
		Fields: map[string]any{
			"Id": p.ID, "RepoTags": list(p.Tags), "RepoDigests": list(p.Digests), "Created": c.Created, "Author": c.Author,
			"Architecture": c.Architecture, "Os": c.OS, "Config": c.Config, "History": history,
			"RootFS": map[string]any{"Type": "layers", "Layers": list(p.Layers)},
		},
	}, nil
}

// IsDocument reports whether a file is a JSON document, such as a list of
// packages, and no archive.
func IsDocument(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head, _ := bufio.NewReader(f).Peek(512)
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	return path.Ext(name) != ".tar" && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "SPDXVersion:")), nil
}
