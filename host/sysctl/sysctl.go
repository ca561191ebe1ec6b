// Package sysctl reads and sets parameters of the running kernel, and what the
// files of sysctl.d(5) would set at the next boot.
//
// A sysctl is named with dots, as sysctl(8) prints it; a dot that belongs to a
// part of the name, as in that of a network interface, is a slash:
// net.ipv4.conf.eth0/100.rp_filter. Names in files are understood in both
// forms.
//
// Value is what runs, File is what the files say: a file that has not been
// loaded, or a change by hand that the next boot forgets, shows as a
// difference. The files are those that the host's own loader reads:
// systemd-sysctl where systemd runs, else "sysctl --system", which reads
// /etc/sysctl.conf in addition, last.
package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/loop/inventory"
)

// A Reader is the source of the sysctl objects.
type Reader struct {
	root  string
	names []string
}

// New returns a source that reads the named sysctls. Files, and /proc/sys, are
// those under root, "" for the host's own.
func New(root string, names ...string) *Reader { return &Reader{root, names} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "sysctl" }

// Read implements inventory.Source. A name that this kernel does not know is an
// object without a Value.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	settings, fileErr := load(r.root)
	for _, name := range r.names {
		if err := ctx.Err(); err != nil {
			return err
		}
		name = canonical(name)
		o := &inventory.Object{
			Ref:    inventory.Ref{Kind: inventory.Sysctl, Name: name},
			Source: procPath("", name),
			Read:   time.Now().UTC(),
			Fields: map[string]any{},
			Unread: map[string]string{},
		}
		value, err := running(r.root, name)
		switch {
		case err == nil:
			o.Fields["Value"] = value
		case errors.Is(err, fs.ErrNotExist):
			o.Unread["Value"] = "this kernel has no sysctl " + name
		default:
			o.Unread["Value"] = err.Error()
		}
		if fileErr != nil {
			o.Unread["File"] = fileErr.Error()
		} else if set, ok := lookup(settings, name); ok {
			o.Fields["File"] = set.value
			o.Sources = map[string]string{"File": set.from}
		}
		s.Add(o)
	}
	return fileErr
}

// running reads the running value, without the newline at its end.
func running(root, name string) (string, error) {
	if !valid(name) {
		return "", fmt.Errorf("%q is no name of a sysctl", name)
	}
	b, err := os.ReadFile(procPath(root, name))
	return strings.TrimRight(string(b), "\n"), err
}

// same reports whether two values are the same words: the kernel writes tabs
// between numbers where files have blanks.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

// canonical turns a name as files may have it into the one with dots.
// sysctl.d(5): if the first separator is a slash, the name is a path below
// /proc/sys; if it is a dot, dots and slashes stand for each other.
func canonical(name string) string {
	i := strings.IndexAny(name, "./")
	if i < 0 || name[i] == '.' {
		return name
	}
	return swap.Replace(name)
}

var swap = strings.NewReplacer(".", "/", "/", ".")

// procPath is the file of the sysctl with a canonical name.
func procPath(root, name string) string { return filepath.Join(root, "/proc/sys", swap.Replace(name)) }

// valid refuses what would lead out of /proc/sys, or would be another line, a
// comment or a pattern in a file.
func valid(name string) bool {
	for part := range strings.SplitSeq(swap.Replace(name), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c == 0x7f || strings.ContainsRune(`=#;*?[]\`, c)
	}) && name[0] != '-'
}
