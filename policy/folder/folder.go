// Package folder reads a policy from where an organisation keeps it, and keeps
// the one in force on a host.
//
// A policy is one file with its signature beside it (policy.yaml and
// policy.yaml.sig), or a folder of files with its signature in it (policy.sig).
// What others may write is refused: a policy that anybody on the host can change
// says nothing.
package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"casco/lang"
	"casco/policy"
)

// Bounds of what is read from the disk.
const (
	maxFile  = 4 << 20  // bytes of one file
	maxTotal = 16 << 20 // bytes of a folder
	maxFiles = 2000
)

// A Source is a policy as it lies on the disk.
type Source struct {
	Files  map[string][]byte // by name; in a folder, below it
	Folder bool
	// Signature is the armored signature; nil if there is none. SignedIn is the
	// file that it is, or would be, in.
	Signature []byte
	SignedIn  string
}

// Read reads the file or folder at path.
func Read(path string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Files: map[string][]byte{}, Folder: info.IsDir()}
	if s.Folder {
		s.SignedIn = filepath.Join(path, policy.SignatureName)
		if err := s.walk(path); err != nil {
			return nil, err
		}
		s.Signature = s.Files[policy.SignatureName]
		return s, nil
	}
	name := filepath.Base(path)
	if strings.HasPrefix(name, ".") {
		return nil, lang.Errorf(lang.Text{En: "%s: a hidden file is no policy", Es: "%s: un archivo oculto no es una política"}, path)
	}
	s.SignedIn = path + policy.SignatureSuffix
	b, err := read(path)
	if err != nil {
		return nil, err
	}
	s.Files[name] = b
	s.Signature, err = read(s.SignedIn)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// walk reads the files below dir, but for hidden ones (.git).
func (s *Source) walk(dir string) error {
	total := 0
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			info, err := d.Info()
			if err != nil {
				return err
			}
			return private(path, info)
		case len(s.Files) >= maxFiles:
			return lang.Errorf(lang.Text{En: "%s: more than %d files", Es: "%s: más de %d archivos"}, dir, maxFiles)
		}
		b, err := read(path)
		if err != nil {
			return err
		}
		if total += len(b); total > maxTotal {
			return lang.Errorf(lang.Text{En: "%s: more than %d bytes", Es: "%s: más de %d bytes"}, dir, maxTotal)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		s.Files[filepath.ToSlash(name)] = b
		return nil
	})
}

// read reads a plain file that only its owner and group may write. It looks at
// what it has opened: a name can be moved away under it, and a pipe would make
// it wait for ever.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, lang.Errorf(lang.Text{En: "%s: a symbolic link; put the file there itself", Es: "%s: es un enlace simbólico; ponga ahí el archivo mismo"}, path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, lang.Errorf(lang.Text{En: "%s: not a plain file", Es: "%s: no es un archivo común"}, path)
	case info.Size() > maxFile:
		return nil, lang.Errorf(lang.Text{En: "%s: larger than %d bytes", Es: "%s: de más de %d bytes"}, path, maxFile)
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	n, err := f.ReadAt(b, 0)
	if err != nil && n < len(b) {
		return nil, err
	}
	return b, nil
}

// private refuses what everybody may write.
func private(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o002 != 0 {
		return lang.Errorf(lang.Text{En: "%s: everybody may write it; chmod o-w it", Es: "%s: cualquiera puede escribirlo; hágale chmod o-w"}, path)
	}
	return nil
}

// Parse reads the documents in s.
func (s *Source) Parse() (*policy.Policy, []policy.Problem) {
	if s.Folder {
		files := make(map[string][]byte, len(s.Files))
		for name, b := range s.Files {
			files[name] = b
		}
		return policy.ParseFolder(files)
	}
	for name, b := range s.Files {
		return policy.ParseFile(name, b)
	}
	return policy.ParseFolder(nil)
}
