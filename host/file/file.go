// Package file reads the owner and mode of the files that Docker's safety
// rests on, and sets them.
//
// A path is looked at as it is configured. If it is a symbolic link, mode and
// owner are those of what it leads to, because that is what a process opens.
// A file that is not there is an object with Exists false; one that could not
// be looked at has its fields in Unread, and is neither there nor not there.
//
// The hand "file-mode" works on an open descriptor of the file itself (O_PATH)
// and never on a name, so that nobody who can write the directory can lead it
// to another file by swapping a link in between. It changes owner and mode
// only, and it lets a POSIX ACL live: what chmod(2) does to the mask of an ACL,
// the way back undoes.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/loop/inventory"
)

// A Path is a file to look at, and why: see inventory.FileRoles.
type Path struct {
	Path   string
	Roles  []string
	Engine string // name of the daemon that names it, "" if it is the host's: see inventory.FileEngines
}

// A Reader is the source of the file objects.
type Reader struct {
	paths func(*inventory.Snapshot) []Path
}

// New returns a source that reads the paths, which may depend on what other
// sources have read: a daemon says where its keys are. See DockerPaths. Paths
// named twice are one object with the roles of both.
func New(paths func(*inventory.Snapshot) []Path) *Reader { return &Reader{paths} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "file" }

// Read implements inventory.Source. It fails only if ctx ends.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	roles, engines := map[string][]string{}, map[string][]string{}
	var order []string
	for _, p := range r.paths(s) {
		if _, seen := roles[p.Path]; !seen {
			order = append(order, p.Path)
		}
		roles[p.Path] = append(roles[p.Path], p.Roles...)
		engines[p.Path] = append(engines[p.Path], p.Engine)
	}
	names := names{users: map[uint32]string{}, groups: map[uint32]string{}}
	for _, path := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		rs, es := roles[path], engines[path]
		slices.Sort(rs)
		slices.Sort(es)
		o := read(path, slices.Compact(rs), names)
		if es[0] != "" { // nobody's but theirs
			o.Fields["Engines"] = slices.Compact(es)
		}
		s.Add(o)
	}
	return nil
}

// read describes one path.
func read(path string, roles []string, names names) *inventory.Object {
	o := &inventory.Object{
		Ref:    inventory.Ref{Kind: inventory.File, Name: path},
		Source: "lstat " + path,
		Read:   time.Now().UTC(),
		Fields: map[string]any{"Roles": roles},
	}
	l, err := look(path)
	switch {
	case absent(err):
		o.Fields["Exists"] = false
		if l.target != "" { // a link that leads nowhere
			o.Fields["Type"], o.Fields["Target"] = "symlink", l.target
		}
	case err != nil:
		o.Unread = map[string]string{}
		for _, f := range []string{"Exists", "Mode", "Uid", "Gid", "User", "Group", "Type", "Target"} {
			o.Unread[f] = err.Error()
		}
	default:
		o.Fields["Exists"] = true
		o.Fields["Mode"] = int64(l.Mode & permBits)
		o.Fields["Uid"], o.Fields["Gid"] = int64(l.Uid), int64(l.Gid)
		o.Fields["User"], o.Fields["Group"] = names.user(l.Uid), names.group(l.Gid)
		o.Fields["Type"] = typeOf(l.Mode)
		if l.link {
			o.Fields["Type"], o.Fields["Target"] = "symlink", l.target
		}
	}
	return o
}

// permBits are the bits that chmod(2) sets.
const permBits = 0o7777

// A sight is what a path leads to.
type sight struct {
	unix.Stat_t        // of the target, if it is a link
	link        bool   // the last part of the path is a symbolic link
	target      string // where it ends, free of links; the link's own text if it leads nowhere
}

// look follows path. An error that absent holds for means that nothing is there.
func look(path string) (sight, error) {
	var l sight
	if !filepath.IsAbs(path) {
		return l, fmt.Errorf("%s: is not an absolute path", path)
	}
	if err := unix.Lstat(path, &l.Stat_t); err != nil {
		return l, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	l.link = l.Mode&unix.S_IFMT == unix.S_IFLNK
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		if l.link {
			l.target, _ = os.Readlink(path)
		}
		return l, err
	}
	l.target = target
	if err := unix.Lstat(target, &l.Stat_t); err != nil {
		return l, &fs.PathError{Op: "lstat", Path: target, Err: err}
	}
	return l, nil
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "dir"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	}
	return "device"
}

// names remembers the names of numbers for the length of one reading.
type names struct{ users, groups map[uint32]string }

func (n names) user(id uint32) string {
	name, seen := n.users[id]
	if !seen {
		if u, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = u.Username
		}
		n.users[id] = name
	}
	return name
}

func (n names) group(id uint32) string {
	name, seen := n.groups[id]
	if !seen {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(id), 10)); err == nil {
			name = g.Name
		}
		n.groups[id] = name
	}
	return name
}
