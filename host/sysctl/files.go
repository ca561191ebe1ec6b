package sysctl

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// confDirs is where *.conf files are looked for. A file hides those of the same
// name in later directories: sysctl.d(5), sysctl(8) --system.
var confDirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"}

// sysctlConf is what sysctl(8) --system reads after all others.
const sysctlConf = "/etc/sysctl.conf"

// A setting is one line of a file.
type setting struct {
	name  string // canonical; may be a pattern
	value string
	bare  bool   // "-name" without a value: patterns leave this name alone
	from  string // "/etc/sysctl.d/60-casco.conf:2"
}

// load reads all lines in the order in which they take effect.
func load(root string) ([]setting, error) {
	files, err := confFiles(root)
	if err != nil {
		return nil, err
	}
	var all []setting
	for _, name := range files {
		f, err := os.Open(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a dangling link
		}
		if err != nil {
			return nil, err
		}
		settings, err := parse(f, name)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, settings...)
	}
	return all, nil
}

// confFiles lists the files in the order of their names, whatever directory
// they are in.
func confFiles(root string) ([]string, error) {
	seen := map[string]bool{}
	var files []string
	for _, dir := range confDirs {
		es, err := os.ReadDir(filepath.Join(root, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range es {
			if name := e.Name(); strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") && !seen[name] {
				seen[name] = true
				files = append(files, filepath.Join(dir, name))
			}
		}
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	// systemd-sysctl reads /etc/sysctl.conf only where a distribution has put a
	// link to it among the others.
	if _, err := os.Stat(filepath.Join(root, "/run/systemd/system")); err != nil {
		files = append(files, sysctlConf)
	}
	return files, nil
}

// parse reads the lines of one file: sysctl.d(5), sysctl.conf(5).
func parse(r io.Reader, from string) ([]setting, error) {
	var out []setting
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, assigns := strings.Cut(line, "=")
		name, minus := strings.CutPrefix(strings.TrimSpace(name), "-") // "-name = value": errors do not matter
		if name == "" || !assigns && !minus {
			continue
		}
		out = append(out, setting{canonical(strings.TrimSpace(name)), strings.TrimSpace(value), !assigns, fmt.Sprintf("%s:%d", from, n)})
	}
	return out, lines.Err()
}

// lookup says what the files set name to. Of lines that name it the last one
// counts; patterns count only if none names it, and again the last.
func lookup(all []setting, name string) (found setting, ok bool) {
	named := false
	for _, s := range all {
		switch {
		case s.name == name && s.bare:
			named = true // no pattern touches it, and this line sets nothing
		case s.name == name:
			found, ok, named = s, true, true
		case !named && !s.bare && isPattern(s.name) && matches(s.name, name):
			found, ok = s, true
		}
	}
	if named && ok && found.name != name { // a pattern came first, and then the name
		return setting{}, false
	}
	return found, ok
}

func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// matches does what glob(3) does below /proc/sys: * does not cross a part of
// the name.
func matches(pattern, name string) bool {
	ok, err := path.Match(swap.Replace(pattern), swap.Replace(name))
	return err == nil && ok
}
