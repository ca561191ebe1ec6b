package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of a layer that comes as an archive, in bytes. Real ones unpack to two
// to ten times their size; gzip can make 1,032 times as much of a few bytes, and
// zstd more. A small one may be as much as it likes.
const (
	unpackedMost  = 64 << 30
	unpackedRatio = 200
	unpackedFree  = 256 << 20
	nameMost      = 4096 // PATH_MAX of the kernel
	windowMost    = 128 << 20
)

// errBomb is a layer that unpacks to more than it should.
var errBomb = errors.New("it unpacks to so much more than its size that it is taken for a bomb")

// readTar reads a layer that comes as an archive, plain, or packed with gzip or
// zstd, and returns the digest of its content, its diff ID. Before it returns,
// all of r has been read.
func readTar(ctx context.Context, r io.Reader) (Layer, string, error) {
	g, err := newGather(ctx)
	if err != nil {
		return Layer{}, "", err
	}
	packed := &counter{r: r}
	plain, done, err := unpack(packed)
	if err != nil {
		return Layer{}, "", err
	}
	defer done()
	bounded := &bound{r: plain, packed: packed}
	sum := sha256.New()
	a := readAhead(ctx, io.TeeReader(bounded, sum))
	defer a.Close()
	if err := g.archive(a); err != nil {
		return Layer{}, "", err
	}
	// What follows the end of an archive belongs to the layer's digest too.
	if _, err := io.Copy(io.Discard, a); err != nil {
		return Layer{}, "", err
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return Layer{}, "", err
	}
	return g.done(), "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// unpack tells by its first bytes how r is packed.
func unpack(r io.Reader) (plain io.Reader, done func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(len(zstdMagic))
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowMost), zstd.WithDecoderMaxMemory(unpackedMost))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// isLayer reports whether what begins so may be a layer: packed, or tar(5) in
// the form of POSIX, or the end of an archive at once.
func isLayer(head []byte) bool {
	return bytes.HasPrefix(head, gzipMagic) || bytes.HasPrefix(head, zstdMagic) ||
		len(head) >= 262 && string(head[257:262]) == "ustar" || len(head) >= 512 && len(bytes.Trim(head[:512], "\x00")) == 0
}

// A counter counts what was read, and hashes it if it has a hash.
type counter struct {
	r   io.Reader
	n   int64
	sum hash.Hash
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.sum != nil {
		c.sum.Write(b[:n])
	}
	return n, err
}

// A bound ends a stream with errBomb.
type bound struct {
	r      io.Reader
	packed *counter
	n      int64
}

func (b *bound) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.n > unpackedMost || b.n > unpackedFree && b.n/unpackedRatio > b.packed.n {
		return 0, errBomb
	}
	return n, err
}

// archive takes in all entries of an archive.
func (g *gather) archive(r io.Reader) error {
	entries := tar.NewReader(r)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := g.count(1); err != nil {
			return err
		}
		p, err := inside(h.Name)
		if err != nil {
			return err
		}
		if p == "" { // the layer's own directory
			continue
		}
		if err := g.archived(h, p, entries); err != nil {
			return err
		}
	}
}

// inside returns the path of an entry within its archive. An engine refuses a
// name that leads out, and so do we.
func inside(name string) (string, error) {
	if len(name) > nameMost {
		return "", fmt.Errorf("an entry has a name of %d bytes", len(name))
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return "", fmt.Errorf("entry %q leads out of the layer", name)
		}
	}
	if depth > depthMost {
		return "", fmt.Errorf("more than %d directories in one another", depthMost)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// The names with which a layer says that something below is deleted: OCI image
// specification, layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// archived takes in one entry.
func (g *gather) archived(h *tar.Header, p string, content io.Reader) error {
	dir, base := dirOf(p), path.Base(p)
	switch {
	case base == opaqueName:
		g.mark(dir, opaqueDirectory, 0)
		return nil
	case strings.HasPrefix(base, whiteoutPrefix+whiteoutPrefix): // of AUFS, for itself
		return nil
	case strings.HasPrefix(base, whiteoutPrefix):
		g.mark(path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix)), file, 0)
		return nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		g.mark(p, directory, 0)
		return nil
	case tar.TypeReg, tar.TypeGNUSparse:
		mode := uint32(h.Mode) & 0o7777
		return g.file(p, mode, h.Size, func() (io.ReadCloser, error) { return io.NopCloser(content), nil })
	case tar.TypeLink:
		if _, err := inside(h.Linkname); err != nil {
			return err
		}
		if h.Mode&0o6000 != 0 {
			g.layer.Setuid = append(g.layer.Setuid, "/"+p)
		}
	}
	// A symbolic link may lead where it likes: it is never followed.
	g.mark(p, file, 0)
	return nil
}
