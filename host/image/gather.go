package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem"
	"golang.org/x/sys/unix"
)

// inMemory is the largest file that is held in memory to be read at any place;
// larger ones are written to the directory for temporary files meanwhile.
const inMemory = 16 << 20

// programsKept is how many programs without a package are named as examples.
const programsKept = 5

// A gather makes a Layer of files as they go by, whatever they are read from.
type gather struct {
	layer    Layer
	ctx      context.Context
	entries  int
	software *software
	head     []byte // of the file that is looked at
	whole    bytes.Buffer
	marks    []mark
	dirs     map[string]bool // that are among the marks
}

func newGather(ctx context.Context) (*gather, error) {
	s, err := newSoftware()
	if err != nil {
		return nil, err
	}
	return &gather{ctx: ctx, software: s, head: make([]byte, readMost), dirs: map[string]bool{}}, nil
}

// count bounds the entries of a layer.
func (g *gather) count(n int) error {
	if g.entries += n; g.entries > entriesMost {
		return fmt.Errorf("more than %d files", entriesMost)
	}
	return g.ctx.Err()
}

// texts are the files whose text says who the image is and whom it knows:
// os-release(5), passwd(5). Of the second only names and numbers are kept.
var texts = []string{"etc/os-release", "usr/lib/os-release", "etc/passwd"}

// sshServers are programs that serve SSH, by their file names: OpenSSH,
// Dropbear, TinySSH.
var sshServers = []string{"sshd", "dropbear", "dropbearmulti", "tinysshd"}

// caches are directories that package managers fill while an image is built,
// from their manuals: apt-get(8), apk(8), dnf(8), pip, npm.
var caches = []string{
	"var/cache/apt/archives/", "var/lib/apt/lists/", "var/cache/apk/", "etc/apk/cache/", "var/cache/dnf/", "var/cache/yum/", "var/cache/zypp/",
	"var/cache/pacman/pkg/", "root/.cache/pip/", "root/.npm/_cacache/", "root/.cache/go-build/", "root/.m2/repository/",
}

// file takes in a regular file of the layer. Path has no slash at its
// beginning; mode is that of stat(2). Open is called at most once, and not
// after file has returned.
func (g *gather) file(p string, mode uint32, size int64, open func() (io.ReadCloser, error)) error {
	g.mark(p, file, size)
	g.layer.Files++
	if g.layer.Bytes += size; size > unpackedMost || g.layer.Bytes > unpackedMost {
		return fmt.Errorf("files of more than %d GiB", unpackedMost>>30) // sparse ones cost nothing to send
	}
	if mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		g.layer.Setuid = append(g.layer.Setuid, "/"+p)
	}
	if slices.Contains(sshServers, path.Base(p)) && mode&0o111 != 0 {
		g.layer.SSH = append(g.layer.SSH, "/"+p)
	}
	for _, dir := range caches {
		if strings.HasPrefix(p, dir) && size > 0 {
			if g.layer.Caches == nil {
				g.layer.Caches = map[string]int64{}
			}
			g.layer.Caches["/"+dir] += size
		}
	}
	if err := g.look(p, mode, size, open); err != nil {
		return err
	}
	if len(g.layer.Setuid)+len(g.layer.Material) > foundMost {
		return fmt.Errorf("more than %d files that would have to be named", foundMost)
	}
	return nil
}

// look reads as much of a file as somebody wants.
func (g *gather) look(p string, mode uint32, size int64, open func() (io.ReadCloser, error)) error {
	most, wants, keep := lookedAt(p, size), g.software.reader(p, size), slices.Contains(texts, p)
	mayRun := (mode&0o111 != 0 || strings.Contains(p, ".so")) && size > 64 // an ELF header alone has 64 bytes, elf(5)
	if size == 0 || most == 0 && wants == nil && !keep && !mayRun {
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	need := headMost
	if keep || most > need {
		need = readMost
	}
	n, err := io.ReadFull(r, g.head[:min(int64(need), size)])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", p, err)
	}
	head := g.head[:n]
	if most > 0 {
		if what := material(p, head); what != "" {
			g.layer.Material = append(g.layer.Material, Material{"/" + p, what, samples.MatchString(p)})
		}
	}
	if keep {
		g.keep(p, head)
	}
	switch {
	case wants != nil:
		return g.installed(wants, p, size, head, r)
	case mayRun && elf(head):
		return g.program(p, size, head, r)
	case mayRun && mode&0o111 != 0 && bytes.HasPrefix(head, []byte("#!")):
		g.unnamed(p)
	}
	return nil
}

// program asks a program what it was made of.
func (g *gather) program(p string, size int64, head []byte, r io.Reader) error {
	before := len(g.layer.Software)
	if err := g.installed(g.software.program(), p, size, head, r); err != nil {
		return err
	}
	if len(g.layer.Software) == before {
		g.unnamed(p)
	}
	return nil
}

// unnamed counts a program that says nothing of itself.
func (g *gather) unnamed(p string) {
	if len(g.layer.Programs) < programsKept {
		g.layer.Programs = append(g.layer.Programs, "/"+p)
	}
}

// installed lets a reader read the whole file, of which head has been read.
func (g *gather) installed(ex filesystem.Extractor, p string, size int64, head []byte, r io.Reader) error {
	most := int64(programMost)
	if textual(p) {
		most = databaseMost
	}
	if size > most {
		g.layer.Software = append(g.layer.Software, Found{Path: "/" + p, Err: fmt.Sprintf("is larger than %d MiB, and was not read", most>>20)})
		return nil
	}
	doc, done, err := g.document(size, head, r)
	if err != nil {
		return fmt.Errorf("read %s: %w", p, err)
	}
	defer done()
	if found := g.software.read(g.ctx, ex, p, size, doc); len(found.Packages) > 0 || found.Err != "" {
		g.layer.Software = append(g.layer.Software, found)
	}
	return g.ctx.Err()
}

// textual reports whether a file is a list of packages, and no archive or
// program.
func textual(p string) bool {
	base := path.Base(p)
	return slices.Contains([]string{"package.json", "package-lock.json", "npm-shrinkwrap.json", "METADATA", "PKG-INFO", "installed", "status"}, base) ||
		strings.HasPrefix(p, "var/lib/dpkg/")
}

// document makes r, of which head has been read, a file that can be read at any
// place. It is good until done is called.
func (g *gather) document(size int64, head []byte, r io.Reader) (doc document, done func(), err error) {
	if f, ok := r.(*os.File); ok {
		return f, func() {}, nil
	}
	if size <= inMemory {
		g.whole.Reset()
		g.whole.Write(head)
		_, err := io.Copy(&g.whole, io.LimitReader(r, size-int64(len(head))))
		return bytes.NewReader(g.whole.Bytes()), func() {}, err
	}
	f, err := os.CreateTemp("", "casco-image-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { f.Close() }
	if err := os.Remove(f.Name()); err != nil {
		done()
		return nil, nil, err
	}
	if _, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), io.LimitReader(r, size-int64(len(head))))); err != nil {
		done()
		return nil, nil, err
	}
	return f, done, nil
}

// keep keeps the text of a file, of passwd(5) only "name:uid" lines.
func (g *gather) keep(p string, text []byte) {
	if g.layer.Texts == nil {
		g.layer.Texts = map[string]string{}
	}
	if p != "etc/passwd" {
		g.layer.Texts["/"+p] = string(text)
		return
	}
	var out strings.Builder
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if f := strings.Split(lines.Text(), ":"); len(f) >= 3 {
			fmt.Fprintf(&out, "%s:%s\n", f[0], f[2])
		}
	}
	g.layer.Texts["/"+p] = out.String()
}

// mark writes an entry into the index, and the directories that it is in: an
// archive may leave them out.
func (g *gather) mark(p string, k kind, size int64) {
	g.marks = append(g.marks, markOf(p, k, size))
	for dir := dirOf(p); dir != "" && !g.dirs[dir]; dir = dirOf(dir) {
		g.dirs[dir] = true
		g.marks = append(g.marks, markOf(dir, directory, 0))
	}
}

// done returns the layer.
func (g *gather) done() Layer {
	l := &g.layer
	l.Setuid, l.Programs, l.SSH = sorted(l.Setuid), sorted(l.Programs), sorted(l.SSH)
	slices.SortFunc(l.Material, func(a, b Material) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(l.Software, func(a, b Found) int { return strings.Compare(a.Path, b.Path) })
	l.Index = indexOf(g.marks)
	return *l
}
