package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// HandName is the name of the hand that sets modes and owners.
const HandName = "file-mode"

// Means says what the hand can set: mode, and owner by number or by name.
func Means() []plan.Means {
	var ms []plan.Means
	for _, field := range []string{
		inventory.FileMode.Path, inventory.FileUID.Path, inventory.FileGID.Path,
		inventory.FileUser.Path, inventory.FileGroup.Path,
	} {
		ms = append(ms, plan.Means{
			Kind: inventory.File, Field: field, Hand: HandName, Cost: plan.Live,
			Undo: lang.Text{
				En: "Mode and owner go back to what they were.",
				Es: "El modo y el propietario vuelven a ser los que eran.",
			},
			Reads:  []string{inventory.FileTarget.Path},
			Refuse: refuse,
		})
	}
	return ms
}

func refuse(_ *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
	if there, _, ok := inventory.FileExists.Of(o); ok && !there {
		return lang.Text{En: "The file does not exist.", Es: "El fichero no existe."}
	}
	return lang.Text{}
}

// Hand sets mode and owner of files. The zero value is ready.
type Hand struct{}

// before is the undo: the file as Prepare found it.
type before struct {
	Target     string `json:"target"` // its path, free of links
	Type       uint32 `json:"type"`   // S_IFMT of st_mode
	Mode       uint32 `json:"mode"`
	Uid        uint32 `json:"uid"`
	Gid        uint32 `json:"gid"`
	Dev        uint64 `json:"dev"`
	Ino        uint64 `json:"ino"`
	Capability []byte `json:"capability,omitempty"` // security.capability, which chown(2) drops
}

// Prepare implements apply.Hand. It refuses a file that is immutable or
// append-only (chattr(1)), one on a read-only file system, and to give away a
// setuid or setgid file without being told its mode: the kernel drops these
// bits with the owner, and to set them again on what the old owner wrote would
// hand him the new owner's rights.
func (Hand) Prepare(_ context.Context, st plan.Step) (json.RawMessage, error) {
	l, err := look(st.Ref.Name)
	if err != nil {
		return nil, err
	}
	fd, now, err := open(l.target)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	w, err := wanted(st)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", st.Ref, err)
	}
	if err := changeable(fd, l.target); err != nil {
		return nil, err
	}
	if w.mode == nil && w.moves(now) && now.Mode&unix.S_IFMT == unix.S_IFREG && now.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		return nil, lang.Errorf(lang.Text{
			En: "%s: has mode %04o; say which mode it shall have with another owner",
			Es: "%s: tiene el modo %04o; diga qué modo ha de tener con otro dueño",
		}, l.target, now.Mode&permBits)
	}
	capability, err := capabilityOf(fd)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s: read its capabilities: %w", Es: "%s: leer sus capacidades: %w"}, l.target, err)
	}
	return json.Marshal(before{l.target, now.Mode & unix.S_IFMT, now.Mode & permBits, now.Uid, now.Gid, uint64(now.Dev), now.Ino, capability})
}

// Do implements apply.Hand. A file that has taken the place of the one that
// Prepare saw is left alone.
func (Hand) Do(ctx context.Context, st plan.Step, undo json.RawMessage) error {
	var b before
	if err := json.Unmarshal(undo, &b); err != nil {
		return err
	}
	w, err := wanted(st)
	if err != nil {
		return err
	}
	fd, now, err := open(b.Target)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if uint64(now.Dev) != b.Dev || now.Ino != b.Ino {
		return lang.Errorf(lang.Text{En: "%s: is another file than the one that was looked at", Es: "%s: es otro archivo que el que se miró"}, b.Target)
	}
	return set(ctx, fd, b.Target, w, b.Capability)
}

// Undo implements apply.Hand: it puts back what the step sets, and nothing
// else. A file that is gone has nothing to put back. One that was made again
// under the same name (a socket after a restart, a file saved by an editor) is
// treated as the same if it is of the same type.
func (Hand) Undo(_ context.Context, st plan.Step, undo json.RawMessage) error {
	var b before
	if err := json.Unmarshal(undo, &b); err != nil {
		return err
	}
	w, err := wanted(st)
	if err != nil {
		return err
	}
	fd, now, err := open(b.Target)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now.Mode&unix.S_IFMT != b.Type {
		return lang.Errorf(lang.Text{En: "%s: is a %s now, was a %s", Es: "%s: ahora es de tipo %s, era %s"}, b.Target, typeOf(now.Mode), typeOf(b.Type))
	}
	same := uint64(now.Dev) == b.Dev && now.Ino == b.Ino
	if !same && b.Type == unix.S_IFREG && now.Nlink > 1 {
		return lang.Errorf(lang.Text{
			En: "%s: is another file than it was, and has other names as well",
			Es: "%s: es otro archivo que antes, y además tiene otros nombres",
		}, b.Target)
	}
	back := want{}
	if w.uid != nil {
		back.uid = &b.Uid
	}
	if w.gid != nil {
		back.gid = &b.Gid
	}
	if w.mode != nil {
		back.mode = &b.Mode
	}
	capability := b.Capability
	if !same {
		capability, _ = capabilityOf(fd)
	}
	return set(context.Background(), fd, b.Target, back, capability)
}

// Foreign implements apply.Watchful: mode and owner are fields, but that the
// path leads elsewhere by now is not one that the step sets.
func (Hand) Foreign(_ context.Context, st plan.Step, undo json.RawMessage) ([]apply.Conflict, error) {
	var b before
	if err := json.Unmarshal(undo, &b); err != nil {
		return nil, err
	}
	l, err := look(st.Ref.Name)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var cs []apply.Conflict
	if l.target != b.Target {
		cs = append(cs, apply.Conflict{What: st.Ref.String() + " Target", Before: b.Target, Ours: b.Target, Now: l.target})
	}
	if was, now := typeOf(b.Type), typeOf(l.Mode); was != now {
		cs = append(cs, apply.Conflict{What: st.Ref.String() + " Type", Before: was, Ours: was, Now: now})
	}
	return cs, nil
}

// A want is what a step sets; nil is left as it is.
type want struct{ mode, uid, gid *uint32 }

// moves reports whether the file would get another owner.
func (w want) moves(st unix.Stat_t) bool {
	return w.uid != nil && *w.uid != st.Uid || w.gid != nil && *w.gid != st.Gid
}

// wanted reads the step. An owner can be named by number and by name, if both
// mean the same.
func wanted(st plan.Step) (want, error) {
	asked := &inventory.Object{Ref: st.Ref, Fields: map[string]any{}}
	for _, s := range st.Sets {
		asked.Fields[s.Field] = s.To
	}
	var w want
	for _, set := range st.Sets {
		var n uint32
		var to **uint32
		var err error
		switch set.Field {
		case inventory.FileMode.Path:
			to = &w.mode
			n, err = number(inventory.FileMode, asked, permBits)
		case inventory.FileUID.Path:
			to = &w.uid
			n, err = number(inventory.FileUID, asked, maxID)
		case inventory.FileGID.Path:
			to = &w.gid
			n, err = number(inventory.FileGID, asked, maxID)
		case inventory.FileUser.Path:
			to = &w.uid
			n, err = named(inventory.FileUser, asked, func(name string) (string, error) {
				u, err := user.Lookup(name)
				if err != nil {
					return "", err
				}
				return u.Uid, nil
			})
		case inventory.FileGroup.Path:
			to = &w.gid
			n, err = named(inventory.FileGroup, asked, func(name string) (string, error) {
				g, err := user.LookupGroup(name)
				if err != nil {
					return "", err
				}
				return g.Gid, nil
			})
		default:
			err = lang.Errorf(lang.Text{En: "cannot set %s", Es: "no se puede ajustar %s"}, set.Field)
		}
		if err != nil {
			return w, err
		}
		if *to != nil && **to != n {
			return w, lang.Errorf(lang.Text{En: "%s: contradicts what else the step sets", Es: "%s: contradice lo demás que ajusta el paso"}, set.Field)
		}
		*to = &n
	}
	return w, nil
}

// maxID is the greatest uid or gid; the next one means "leave it": chown(2).
const maxID = 1<<32 - 2

func number(f inventory.Field[int64], o *inventory.Object, most int64) (uint32, error) {
	n, fact, ok := f.Of(o)
	if !ok || n < 0 || n > most {
		return 0, lang.Errorf(lang.Text{
			En: "%s: %v is not a number from 0 to %d",
			Es: "%s: %v no es un número de 0 a %d",
		}, f.Path, o.Fields[fact.Field], most)
	}
	return uint32(n), nil
}

func named(f inventory.Field[string], o *inventory.Object, lookup func(string) (string, error)) (uint32, error) {
	name, _, ok := f.Of(o)
	if !ok {
		return 0, lang.Errorf(lang.Text{En: "%s: %v is not a name", Es: "%s: %v no es un nombre"}, f.Path, o.Fields[f.Path])
	}
	id, err := lookup(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(id, 10, 32)
	return uint32(n), err
}

// open opens the file itself, by a path that must be free of links, and says
// what it is. Nothing but a look and a change of mode and owner can be done
// with the descriptor: open(2), O_PATH.
func open(path string) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ENOSYS) { // before kernel 5.6
		fd, err = unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if errors.Is(err, unix.ELOOP) {
		return -1, st, lang.Errorf(lang.Text{
			En: "%s: a symbolic link has taken a place in this path",
			Es: "%s: un enlace simbólico ocupa un lugar de esta ruta",
		}, path)
	}
	if err != nil {
		return -1, st, lang.Errorf(lang.Text{En: "open %s: %w", Es: "abrir %s: %w"}, path, err)
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, st, lang.Errorf(lang.Text{En: "stat %s: %w", Es: "stat %s: %w"}, path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		unix.Close(fd)
		return -1, st, lang.Errorf(lang.Text{En: "%s: has become a symbolic link", Es: "%s: se ha vuelto un enlace simbólico"}, path)
	}
	return fd, st, nil
}

// changeable says why mode and owner of fd cannot be changed, as far as it
// can be told beforehand.
func changeable(fd int, path string) error {
	var sx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &sx); err == nil {
		if sx.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 {
			return lang.Errorf(lang.Text{
				En: "%s: is immutable; somebody wants it so (chattr -i %[1]s would allow the change)",
				Es: "%s: es inmutable; alguien lo quiere así (chattr -i %[1]s permitiría el cambio)",
			}, path)
		}
		if sx.Attributes&unix.STATX_ATTR_APPEND != 0 {
			return lang.Errorf(lang.Text{
				En: "%s: is append-only; somebody wants it so (chattr -a %[1]s would allow the change)",
				Es: "%s: solo admite añadir; alguien lo quiere así (chattr -a %[1]s permitiría el cambio)",
			}, path)
		}
	}
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(fd, &fsys); err == nil && fsys.Flags&unix.ST_RDONLY != 0 {
		return lang.Errorf(lang.Text{En: "%s: is on a read-only file system", Es: "%s: está en un sistema de archivos de solo lectura"}, path)
	}
	return nil
}

// set makes the file have what w says: the owner first, because a change of
// owner drops setuid bits and capabilities.
func set(ctx context.Context, fd int, path string, w want, capability []byte) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return lang.Errorf(lang.Text{En: "stat %s: %w", Es: "stat %s: %w"}, path, err)
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd) // leads to the file itself, whatever its name is by now
	if w.moves(now) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := unix.Fchownat(fd, "", id(w.uid), id(w.gid), unix.AT_EMPTY_PATH); err != nil {
			return lang.Errorf(lang.Text{En: "chown %s: %w", Es: "chown %s: %w"}, path, err)
		}
		if err := unix.Fstat(fd, &now); err != nil {
			return lang.Errorf(lang.Text{En: "stat %s: %w", Es: "stat %s: %w"}, path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Also when the owner is right by now: a run that was killed after its
	// chown has lost them.
	if have, err := capabilityOf(fd); err == nil && len(capability) > 0 && !bytes.Equal(have, capability) {
		if err := unix.Setxattr(self, capabilityName, capability, 0); err != nil {
			return lang.Errorf(lang.Text{En: "set the capabilities of %s: %w", Es: "ajustar las capacidades de %s: %w"}, path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.mode != nil && *w.mode != now.Mode&permBits {
		if err := unix.Chmod(self, *w.mode); err != nil {
			return lang.Errorf(lang.Text{En: "chmod %s: %w", Es: "chmod %s: %w"}, path, err)
		}
	}
	return nil
}

func id(n *uint32) int {
	if n == nil {
		return -1 // leave it
	}
	return int(*n)
}

const capabilityName = "security.capability"

// capabilityOf returns the file capabilities, nil if there are none.
func capabilityOf(fd int) ([]byte, error) {
	buf := make([]byte, 64) // vfs_ns_cap_data has 24 bytes: linux/capability.h
	n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(fd), capabilityName, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
