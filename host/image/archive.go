package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Bounds of an archive of an image. Docker allows 127 layers; other builders
// make a few more.
const (
	documentMost  = 4 << 20  // of one JSON document, in bytes
	documentsMost = 64 << 20 // of all
	blobsMost     = 10_000
	layersMost    = 512 // of one image
	indexDepth    = 4   // of indexes within indexes
)

// blobs are the parts of an archive, by their names in it: the documents, and
// the digests of the content of its layers, which have been looked into.
type blobs struct {
	documents map[string][]byte
	layers    map[string]string
	links     map[string]string // symbolic links, as "docker save" made them for equal layers
	indexes   map[string]bool   // that were looked through
	bytes     int
	missing   func(name string) error // reads a part that is not there yet; nil: all that there is has been read
}

func newBlobs() *blobs {
	return &blobs{documents: map[string][]byte{}, layers: map[string]string{}, links: map[string]string{}, indexes: map[string]bool{}}
}

// readArchive reads an image from an archive as "docker save", "podman save" and
// "skopeo copy" make them: in Docker's form, as an OCI layout, or both in one.
// Ref chooses the image if there are several, by a tag or an ID. All of r is
// read, once and in its order.
func readArchive(ctx context.Context, c *cache, r io.Reader, ref string) (*Picture, error) {
	all := newBlobs()
	entries := tar.NewReader(bufio.NewReaderSize(r, aheadSize))
	for n := 0; ; n++ {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not an archive of an image: %w", err)
		}
		if n > blobsMost {
			return nil, fmt.Errorf("an archive of more than %d parts", blobsMost)
		}
		name, err := inside(h.Name)
		if err != nil {
			return nil, err
		}
		switch {
		case sparse(h): // a few bytes of it stand for any number of zeros
			return nil, fmt.Errorf("%s: a sparse part, as no program writes it", name)
		case h.Typeflag == tar.TypeReg:
			if err := all.take(ctx, c, name, h.Size, entries); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		case h.Typeflag == tar.TypeSymlink, h.Typeflag == tar.TypeLink:
			to := h.Linkname
			if h.Typeflag == tar.TypeSymlink {
				to = path.Join("/", path.Dir(name), h.Linkname)
			}
			all.links[name] = strings.TrimPrefix(path.Clean("/"+to), "/")
		}
	}
	return all.picture(ref)
}

// sparse reports whether an entry leaves out the zeros of its file: tar(5), "GNU
// tar archives", and its PAX records.
func sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// take reads one part: a document is kept, and a layer looked into. What is
// neither is passed over.
func (all *blobs) take(ctx context.Context, c *cache, name string, size int64, r io.Reader) error {
	packed := &counter{r: r, sum: sha256.New()}
	b := bufio.NewReaderSize(packed, 64<<10)
	head, _ := b.Peek(512)
	switch begin := bytes.TrimLeft(head, " \t\r\n"); {
	case isLayer(head):
		l, diff, err := readTar(ctx, b)
		if err != nil {
			return err
		}
		if err := c.keep(diff, l); err != nil {
			return err
		}
		all.layers[name] = diff
	case len(begin) > 0 && (begin[0] == '{' || begin[0] == '['):
		if size > documentMost {
			return fmt.Errorf("a document of more than %d MiB", documentMost>>20)
		}
		if all.bytes += int(size); all.bytes > documentsMost {
			return fmt.Errorf("documents of more than %d MiB", documentsMost>>20)
		}
		text, err := io.ReadAll(b)
		if err != nil {
			return err
		}
		all.documents[name] = text
	default:
		return nil
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return err
	}
	return honest(name, hex.EncodeToString(packed.sum.Sum(nil)))
}

// honest refuses a blob whose content is not the one that its name says: OCI
// image layout, blobs/sha256/DIGEST.
func honest(name, sum string) error {
	claimed, ok := strings.CutPrefix(name, "blobs/sha256/")
	if ok && claimed != sum {
		return fmt.Errorf("its content has another digest, sha256:%s", sum)
	}
	return nil
}

// A Picture is an image as its documents describe it. Its layers are known to
// the cache.
type Picture struct {
	ID      string          `json:"id"` // digest of Config
	Tags    []string        `json:"tags,omitempty"`
	Digests []string        `json:"digests,omitempty"` // name@digest of a registry
	Config  json.RawMessage `json:"config"`            // OCI image specification, config.md
	Layers  []string        `json:"layers"`            // diff IDs
	Size    int64           `json:"size"`              // of all layers' files, in bytes
}

// picture makes the image that ref names of what was read.
func (all *blobs) picture(ref string) (*Picture, error) {
	if text, ok := all.documents["manifest.json"]; ok {
		return all.docker(text, ref)
	}
	if text, ok := all.documents["index.json"]; ok {
		return all.oci(text, ref)
	}
	return nil, errors.New("neither manifest.json nor index.json is in it: not an image")
}

// A saved is an entry of manifest.json: Docker image specification 1.2,
// "Combined Image JSON + Filesystem Changeset Format".
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (all *blobs) docker(text []byte, ref string) (*Picture, error) {
	var list []saved
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	var names []string
	var chosen []saved
	for _, s := range list {
		names = append(names, s.RepoTags...)
		if ref == "" || slices.ContainsFunc(s.RepoTags, func(tag string) bool { return sameName(tag, ref) }) || isID(ref, path.Base(s.Config)) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) != 1 {
		return nil, choose(ref, len(chosen), names)
	}
	s := chosen[0]
	config, err := all.document(s.Config)
	if err != nil {
		return nil, err
	}
	return all.finish(config, s.RepoTags, s.Layers)
}

// sameName reports whether a tag is what ref names.
func sameName(tag, ref string) bool {
	return tag == ref || tag == ref+":latest" || strings.HasSuffix(tag, "/"+ref)
}

// isID reports whether ref is an ID, or the beginning of one, of a file name.
func isID(ref, base string) bool {
	ref = strings.TrimPrefix(ref, "sha256:")
	return len(ref) >= 12 && strings.HasPrefix(base, ref)
}

// choose says why not one image was chosen.
func choose(ref string, n int, names []string) error {
	most := min(len(names), 10)
	list := strings.Join(names[:most], ", ")
	switch {
	case n == 0 && ref != "":
		return fmt.Errorf("no image %q is in it, only: %s", ref, cmp.Or(list, "one without a name"))
	case n == 0:
		return errors.New("no image is in it")
	}
	return fmt.Errorf("%d images are in it; choose one with FILE:TAG: %s", n, list)
}

// linkDepth bounds links to links.
const linkDepth = 3

// find looks for a part among the documents or the layers, through links.
func find[T any](all *blobs, parts map[string]T, name string) (T, error) {
	for range linkDepth {
		part, ok := parts[name]
		if !ok && all.missing != nil {
			if err := all.missing(name); err != nil {
				return part, err
			}
			part, ok = parts[name]
		}
		if ok {
			return part, nil
		}
		to, linked := all.links[name]
		if !linked {
			break
		}
		name = to
	}
	var none T
	return none, fmt.Errorf("%q is named and not there, or is in no form that is known", name)
}

func (all *blobs) document(name string) ([]byte, error) { return find(all, all.documents, name) }

func (all *blobs) layer(name string) (string, error) { return find(all, all.layers, name) }

// A descriptor names a blob: OCI image specification, descriptor.md.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
}

// A manifest is that of an image, or an index of several.
type manifest struct {
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
}

// refName is the annotation that has a tag: OCI image specification,
// annotations.md; containerd writes the whole name.
func refName(d descriptor) string {
	return cmp.Or(d.Annotations["io.containerd.image.name"], d.Annotations["org.opencontainers.image.ref.name"])
}

func blob(digest string) string { return "blobs/" + strings.ReplaceAll(digest, ":", "/") }

func (all *blobs) oci(text []byte, ref string) (*Picture, error) {
	found := map[string]descriptor{} // manifests of images by digest
	var names []string
	if err := all.images(text, ref, "", 0, found, &names); err != nil {
		return nil, err
	}
	digests := slices.Sorted(maps.Keys(found))
	if len(digests) > 1 { // of several platforms the one that runs here
		digests = slices.DeleteFunc(digests, func(d string) bool {
			p := found[d].Platform
			return p == nil || p.OS != platformOS || p.Architecture != platformArch
		})
	}
	if len(digests) != 1 {
		return nil, choose(ref, len(digests), names)
	}
	return all.manifest(digests[0], refName(found[digests[0]]))
}

// images gathers the manifests of images that an index names, whose name is ref.
func (all *blobs) images(text []byte, ref, within string, depth int, found map[string]descriptor, names *[]string) error {
	if depth > indexDepth {
		return fmt.Errorf("indexes lie more than %d deep in one another", indexDepth)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("an index: %w", err)
	}
	if len(m.Manifests) > blobsMost {
		return fmt.Errorf("an index of more than %d images", blobsMost)
	}
	for _, d := range m.Manifests {
		name := cmp.Or(refName(d), within)
		if depth == 0 && name != "" {
			*names = append(*names, name)
		}
		if ref != "" && name != ref && !sameName(name, ref) && !isID(ref, strings.TrimPrefix(d.Digest, "sha256:")) {
			continue
		}
		if d.Annotations["vnd.docker.reference.type"] != "" { // an attestation
			continue
		}
		inner, err := all.document(blob(d.Digest))
		if errors.Is(err, fs.ErrNotExist) || err != nil && all.missing == nil { // of another platform, and left out
			continue
		}
		if err != nil {
			return err
		}
		var kind manifest
		if err := json.Unmarshal(inner, &kind); err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
		if kind.Manifests == nil {
			if d.Annotations == nil {
				d.Annotations = map[string]string{}
			}
			d.Annotations["io.containerd.image.name"] = name
			found[d.Digest] = d
			continue
		}
		if all.indexes[d.Digest] {
			continue
		}
		all.indexes[d.Digest] = true
		if err := all.images(inner, "", name, depth+1, found, names); err != nil {
			return err
		}
	}
	return nil
}

// manifest makes the image of a manifest.
func (all *blobs) manifest(digest, name string) (*Picture, error) {
	text, err := all.document(blob(digest))
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", digest, err)
	}
	if m.Config == nil {
		return nil, fmt.Errorf("%s is no manifest of an image", digest)
	}
	config, err := all.document(blob(m.Config.Digest))
	if err != nil {
		return nil, err
	}
	var layers, tags []string
	for _, l := range m.Layers {
		layers = append(layers, blob(l.Digest))
	}
	if name != "" {
		tags = []string{name}
	}
	return all.finish(config, tags, layers)
}

// finish holds the layers against what the configuration says of them.
func (all *blobs) finish(config []byte, tags, layers []string) (*Picture, error) {
	if len(layers) > layersMost {
		return nil, fmt.Errorf("more than %d layers", layersMost)
	}
	p := &Picture{Config: config, Tags: tags}
	for _, name := range layers {
		diff, err := all.layer(name)
		if err != nil {
			return nil, err
		}
		p.Layers = append(p.Layers, diff)
	}
	return p, p.check()
}

// check fails if the configuration names other layers than those that were
// read: who runs the image would refuse it, or get another one.
func (p *Picture) check() error {
	var c struct {
		RootFS struct {
			Layers []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(p.Config, &c); err != nil {
		return fmt.Errorf("the configuration of the image: %w", err)
	}
	if !slices.Equal(c.RootFS.Layers, p.Layers) {
		return errors.New("the digests of its layers are not those that its configuration names: it was altered, or is damaged")
	}
	sum := sha256.Sum256(p.Config)
	p.ID = "sha256:" + hex.EncodeToString(sum[:])
	return nil
}
