package image

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cpb "github.com/google/osv-scalibr/binary/proto/config_go_proto"
	"github.com/google/osv-scalibr/extractor"
	"github.com/google/osv-scalibr/extractor/filesystem"
	"github.com/google/osv-scalibr/extractor/filesystem/language/golang/gobinary"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagejson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/javascript/packagelockjson"
	"github.com/google/osv-scalibr/extractor/filesystem/language/python/wheelegg"
	"github.com/google/osv-scalibr/extractor/filesystem/os/apk"
	apkmeta "github.com/google/osv-scalibr/extractor/filesystem/os/apk/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/dpkg"
	dpkgmeta "github.com/google/osv-scalibr/extractor/filesystem/os/dpkg/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/os/ecosystem"
	"github.com/google/osv-scalibr/extractor/filesystem/os/rpm"
	rpmmeta "github.com/google/osv-scalibr/extractor/filesystem/os/rpm/metadata"
	"github.com/google/osv-scalibr/extractor/filesystem/simplefileapi"
	"github.com/google/osv-scalibr/log"
	"github.com/google/osv-scalibr/purl"

	"casco/vuln"
)

// Bounds of one file that is read for packages, in bytes. Larger is said, and
// not read: the largest published programs have some 300 MB.
const (
	databaseMost = 64 << 20  // dpkg's and apk's databases, and lists of packages
	programMost  = 512 << 20 // programs, Java archives, rpm's database
	packagesMost = 100_000   // of one file
)

// databases of packages are of these kinds until it is known which release of
// which distribution the image is.
const (
	debs = "deb"
	apks = "apk"
	rpms = "rpm"
)

// A Found is what one file of a layer says is installed.
type Found struct {
	Path     string         `json:"path"`
	Packages []vuln.Package `json:"packages,omitempty"`
	Err      string         `json:"err,omitempty"` // why not all of it could be read
}

// A software reads files that say what is installed. It is the one place where
// scalibr is asked.
type software struct{ readers []filesystem.Extractor }

func newSoftware() (*software, error) {
	log.SetLogger(silent{})
	archives := &cpb.PluginConfig{PluginSpecific: []*cpb.PluginSpecificConfig{{Config: &cpb.PluginSpecificConfig_JavaArchive{JavaArchive: &cpb.JavaArchiveConfig{
		MaxZipDepth: zipDepth, MaxOpenedBytes: programMost + zipUnpacked, HashJars: new(bool),
	}}}}}
	s := &software{}
	for _, maker := range []struct {
		make   func(*cpb.PluginConfig) (filesystem.Extractor, error)
		config *cpb.PluginConfig
	}{
		{dpkg.New, &cpb.PluginConfig{}},
		{apk.New, &cpb.PluginConfig{}},
		{rpm.New, &cpb.PluginConfig{}},
		{archive.New, archives},
		{packagejson.New, &cpb.PluginConfig{}},
		{packagelockjson.New, &cpb.PluginConfig{}},
		{wheelegg.New, &cpb.PluginConfig{}},
		{gobinary.New, &cpb.PluginConfig{}},
	} {
		ex, err := maker.make(maker.config)
		if err != nil {
			return nil, err
		}
		s.readers = append(s.readers, ex)
	}
	return s, nil
}

// reader returns who reads a file of that name, nil for nobody. Programs are
// told by their first bytes, not by their mode: see elf.
func (s *software) reader(p string, size int64) filesystem.Extractor {
	api := simplefileapi.New(p, info{path.Base(p), size})
	for _, ex := range s.readers {
		if ex.Name() != gobinary.Name && ex.FileRequired(api) {
			return ex
		}
	}
	return nil
}

// program returns who reads programs.
func (s *software) program() filesystem.Extractor { return s.readers[len(s.readers)-1] }

// elf reports whether a file that begins so is a program or a library of it.
func elf(head []byte) bool { return bytes.HasPrefix(head, []byte("\x7fELF")) }

// A document is a file that can be read at any place.
type document interface {
	io.Reader
	io.ReaderAt
	io.Seeker
}

// read asks ex what a file says is installed. The file is of somebody whom
// nobody needs to trust: what makes a reader fail, or fall, is said.
func (s *software) read(ctx context.Context, ex filesystem.Extractor, p string, size int64, doc document) (found Found) {
	found.Path = "/" + p
	defer func() {
		if r := recover(); r != nil {
			found = Found{Path: "/" + p, Err: fmt.Sprintf("cannot be read: %v", r)}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := doc.Seek(0, io.SeekStart); err != nil {
		found.Err = err.Error()
		return found
	}
	in := &filesystem.ScanInput{FS: nothing{}, Path: p, Info: info{path.Base(p), size}, Reader: doc}
	switch ext := path.Ext(p); {
	case ex.Name() == archive.Name, ext == ".egg", ext == ".whl":
		if err := harmless(doc, size); err != nil {
			found.Err = err.Error()
			return found
		}
	case ex.Name() == rpm.Name: // wants a file on a disk
		dir, err := onDisk(path.Base(p), doc)
		if err != nil {
			found.Err = err.Error()
			return found
		}
		defer os.RemoveAll(dir)
		in.Root, in.Path = dir, path.Base(p)
	}
	got, err := ex.Extract(ctx, in)
	if err != nil {
		found.Err = err.Error()
	}
	if len(got.Packages) > packagesMost {
		return Found{Path: found.Path, Err: fmt.Sprintf("names more than %d packages", packagesMost)}
	}
	seen := map[string]bool{}
	for _, p := range got.Packages {
		k := p.Name + "\x00" + p.Version
		if pkg, ok := packageOf(p); ok && !seen[k] {
			seen[k] = true
			pkg.Paths = []string{found.Path}
			found.Packages = append(found.Packages, pkg)
		}
	}
	return found
}

// packageOf is p in our words. Those of a distribution are of no release yet.
func packageOf(p *extractor.Package) (vuln.Package, bool) {
	out := vuln.Package{Name: p.Name, Version: p.Version}
	switch m := p.Metadata.(type) {
	case *dpkgmeta.Metadata:
		out.Ecosystem, out.Arch, out.Source, out.SourceVersion = debs, m.Architecture, m.SourceName, m.SourceVersion
		if out.Source != "" && out.SourceVersion == "" {
			out.SourceVersion = p.Version
		}
	case *apkmeta.Metadata:
		out.Ecosystem, out.Arch = apks, m.Architecture
		if m.OriginName != "" && m.OriginName != p.Name {
			out.Source, out.SourceVersion = m.OriginName, p.Version
		}
	case *rpmmeta.Metadata:
		out.Ecosystem, out.Arch = rpms, m.Architecture
		if m.Epoch > 0 {
			out.Version = strconv.Itoa(m.Epoch) + ":" + p.Version
		}
		out.Source, out.SourceVersion = sourceRPM(m.SourceRPM)
	default:
		out.Ecosystem = p.Ecosystem().String()
		if p.PURLType == purl.TypeGolang && p.Name == "go" {
			out.Name = "stdlib"
		}
		if u := p.PURL(); u != nil {
			out.PURL = u.String()
		}
	}
	// A Go program that was built from a checkout has no version of its own.
	return out, out.Name != "" && out.Version != "" && out.Version != "(devel)" && out.Ecosystem != ""
}

// sourceRPM takes "openssl-3.0.7-1.el9.src.rpm" apart: rpm(8), name-version-release.
func sourceRPM(file string) (name, version string) {
	parts := strings.Split(strings.TrimSuffix(file, ".src.rpm"), "-")
	if n := len(parts); n > 2 {
		return strings.Join(parts[:n-2], "-"), parts[n-2] + "-" + parts[n-1]
	}
	return "", ""
}

// A Release is what os-release(5) says of an image.
type Release struct {
	ID       string `json:"id,omitempty"`
	Version  string `json:"version,omitempty"`  // VERSION_ID
	Codename string `json:"codename,omitempty"` // VERSION_CODENAME
	Name     string `json:"name,omitempty"`     // PRETTY_NAME
	CPE      string `json:"cpe,omitempty"`      // CPE_NAME
}

// settle gives a package of a distribution the name of its ecosystem, as OSV
// has it, and its package URL. Others stay as they are.
func (r Release) settle(p vuln.Package) vuln.Package {
	whole := &extractor.Package{Name: p.Name, Version: p.Version}
	switch p.Ecosystem {
	case debs:
		whole.PURLType, whole.Metadata = purl.TypeDebian, &dpkgmeta.Metadata{
			PackageName: p.Name, PackageVersion: p.Version, SourceName: p.Source, SourceVersion: p.SourceVersion,
			OSID: r.ID, OSVersionCodename: r.Codename, OSVersionID: r.Version, Architecture: p.Arch,
		}
	case apks:
		whole.PURLType, whole.Metadata = purl.TypeApk, &apkmeta.Metadata{
			PackageName: p.Name, OriginName: p.Source, OSID: r.ID, OSVersionID: r.Version, Architecture: p.Arch,
		}
	case rpms:
		_, version, _ := strings.Cut(p.Version, ":")
		if version != "" {
			whole.Version = version // a package URL has the epoch as a qualifier
		}
		epoch, _ := strconv.Atoi(strings.TrimSuffix(p.Version, ":"+version))
		whole.PURLType, whole.Metadata = purl.TypeRPM, &rpmmeta.Metadata{
			PackageName: p.Name, Epoch: epoch, OSID: r.ID, OSVersionID: r.Version, OSName: r.Name, OSCPEName: r.CPE, Architecture: p.Arch,
		}
	default:
		return p
	}
	if name := ecosystem.MakeEcosystem(whole.Metadata).String(); name != "" {
		p.Ecosystem = name
	}
	if r.ID == "rocky" { // OSV has them by major release, and the module does not
		major, _, _ := strings.Cut(r.Version, ".")
		p.Ecosystem = "Rocky Linux:" + major
	}
	if u := whole.PURL(); u != nil {
		p.PURL = u.String()
	}
	return p
}

// Bounds of what is unpacked of a zip file, and of those within it.
const (
	zipDepth    = 4
	zipFiles    = 200_000
	zipUnpacked = 128 << 20 // of archives within archives, in bytes, held in memory
	zipText     = 4 << 20   // of one list of metadata
)

// zipTexts are the files that readers of archives unpack.
var zipTexts = []string{"manifest.mf", "pom.properties", "pkg-info", "metadata"}

// harmless reads the directory of a zip file, and of the archives within it, and
// refuses one that would unpack to more than its reader should bear. archive/zip
// gives no more of a file than its directory says.
func harmless(r io.ReaderAt, size int64) error {
	left := zipBudget{files: zipFiles, bytes: zipUnpacked}
	return left.within(r, size, 1)
}

type zipBudget struct {
	files int
	bytes uint64
}

func (b *zipBudget) within(r io.ReaderAt, size int64, depth int) error {
	z, err := zip.NewReader(r, size)
	switch {
	case err != nil:
		return err
	case depth > zipDepth:
		return fmt.Errorf("archives lie more than %d deep in one another", zipDepth)
	case b.files < len(z.File):
		return fmt.Errorf("more than %d files in an archive", zipFiles)
	}
	b.files -= len(z.File)
	for _, f := range z.File {
		name := strings.ToLower(path.Base(f.Name))
		switch {
		case slices.Contains(zipTexts, name) && f.UncompressedSize64 > zipText:
			return fmt.Errorf("%s in an archive unpacks to more than %d MiB", name, zipText>>20)
		case !archive.IsArchive(f.Name):
			continue
		case f.UncompressedSize64 > b.bytes:
			return fmt.Errorf("an archive unpacks to more than %d MiB", zipUnpacked>>20)
		}
		b.bytes -= f.UncompressedSize64
		in, err := f.Open()
		if err != nil {
			return err
		}
		inner, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		if err := b.within(bytes.NewReader(inner), int64(len(inner)), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// onDisk writes r to a file of that name in a directory of its own.
func onDisk(name string, r io.Reader) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "casco-image-"); err != nil {
		return "", err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(f, r)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// An info is what readers want to know of a file: its name and size. All may be
// executed, for whether one is a program is told by its content.
type info struct {
	name string
	size int64
}

func (i info) Name() string     { return i.name }
func (i info) Size() int64      { return i.size }
func (info) Mode() fs.FileMode  { return 0o755 }
func (info) ModTime() time.Time { return time.Time{} }
func (info) IsDir() bool        { return false }
func (info) Sys() any           { return nil }

// nothing is a file system without files: readers look for os-release(5) in it,
// which may come from another layer than their file.
type nothing struct{}

func (nothing) Open(name string) (fs.File, error)          { return nil, missing("open", name) }
func (nothing) ReadDir(name string) ([]fs.DirEntry, error) { return nil, missing("readdir", name) }
func (nothing) Stat(name string) (fs.FileInfo, error)      { return nil, missing("stat", name) }

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// silent drops what readers log: what they could not do is in their errors.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Error(...any)          {}
func (silent) Warnf(string, ...any)  {}
func (silent) Warn(...any)           {}
func (silent) Infof(string, ...any)  {}
func (silent) Info(...any)           {}
func (silent) Debugf(string, ...any) {}
func (silent) Debug(...any)          {}
