package dockerfile

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"casco/lang"
	"casco/loop/inventory"
)

// mostFiles is how many files of a context are looked at: a build would have to
// send them all.
const mostFiles = 200_000

// privateFiles are the paths within a context that should not be given away and
// that a build would be given: ".git" stands for all of a repository. own is the
// Dockerfile's own list of what to leave out; .dockerignore counts without it
// (docs.docker.com, "Build context", .dockerignore files).
func privateFiles(context fs.FS, own string) ([]string, error) {
	left, err := ignored(context, own)
	if err != nil {
		return nil, err
	}
	var out []string
	seen := 0
	err = fs.WalkDir(context, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return nil // a build by this user would not get it either
			}
			return err
		}
		if seen++; seen > mostFiles {
			return lang.Errorf(lang.Text{En: "the context has more than %d files", Es: "el contexto tiene más de %d archivos"}, mostFiles)
		}
		if p == "." {
			return nil
		}
		gone, err := left.MatchesOrParentMatches(p)
		switch {
		case err != nil:
			return err
		case d.IsDir() && gone && !left.Exclusions():
			return fs.SkipDir
		case d.IsDir() && d.Name() == ".git":
			if !gone {
				out = append(out, p)
			}
			return fs.SkipDir
		case !d.IsDir() && !gone && inventory.PrivateFile(p):
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

func ignored(context fs.FS, own string) (*patternmatcher.PatternMatcher, error) {
	for _, name := range []string{own, ".dockerignore"} {
		if name == "" {
			continue
		}
		f, err := context.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		patterns, err := ignorefile.ReadAll(f)
		if err != nil {
			return nil, err
		}
		return patternmatcher.New(patterns)
	}
	return patternmatcher.New(nil)
}

// brought are those of the private files that sources name: a file, a pattern,
// or a directory with all that is below it.
func brought(private, sources, except []string) ([]string, error) {
	without, err := patternmatcher.New(except)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, src := range sources {
		if strings.Contains(src, "://") || strings.HasPrefix(src, "git@") || strings.HasPrefix(src, "<<") {
			continue
		}
		src = strings.TrimPrefix(path.Clean("/"+src), "/")
		for _, p := range private {
			if within(p, src) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(p string) bool {
		gone, err := without.MatchesOrParentMatches(p)
		return err == nil && gone
	}), nil
}

// within reports whether p, or a directory that it is in, matches a source.
func within(p, src string) bool {
	if src == "" {
		return true
	}
	for ; p != "."; p = path.Dir(p) {
		if ok, err := path.Match(src, p); ok && err == nil {
			return true
		}
	}
	return false
}
