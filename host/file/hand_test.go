package file

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

var netBind = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // vfs_cap_data: cap_net_bind_service=ep

func TestHand(t *testing.T) {
	handtest.NeedRoot(t)
	for name, tc := range map[string]struct {
		mode os.FileMode
		sets []plan.Set
		make func(t *testing.T, path string)
	}{
		"mode":            {0o666, []plan.Set{{Field: "Mode", To: 0o640}}, nil},
		"owner":           {0o644, []plan.Set{{Field: "Uid", To: 12}, {Field: "Gid", To: 34}}, nil},
		"owner by name":   {0o644, []plan.Set{{Field: "User", To: "daemon"}, {Field: "Uid", To: 1}, {Field: "Group", To: "daemon"}}, nil},
		"all of a setuid": {0o755 | os.ModeSetuid, []plan.Set{{Field: "Uid", To: 12}, {Field: "Mode", To: 0o755}}, nil},
		"capabilities live through a change of owner": {0o755, []plan.Set{{Field: "Uid", To: 12}}, func(t *testing.T, path string) {
			must(t, unix.Setxattr(path, capabilityName, netBind, 0))
		}},
		"an ACL lives through a change of mode": {0o664, []plan.Set{{Field: "Mode", To: 0o600}}, func(t *testing.T, path string) {
			must(t, unix.Setxattr(path, aclName, anACL, 0))
		}},
		"a directory": {0o777, []plan.Set{{Field: "Mode", To: 0o755}, {Field: "Gid", To: 34}}, func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o777))
			must(t, os.Chmod(path, 0o777|os.ModeSetgid))
		}},
		"a socket": {0o777, []plan.Set{{Field: "Mode", To: 0o660}, {Field: "Gid", To: 34}}, func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, unix.Mknod(path, unix.S_IFSOCK|0o777, 0))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
				dir := t.TempDir()
				path := filepath.Join(dir, "real")
				put(t, path, tc.mode)
				if tc.make != nil {
					tc.make(t, path)
				}
				link := filepath.Join(dir, "link")
				must(t, os.Symlink("real", link))
				return Hand{}, step(link, tc.sets...), func() string { return describe(t, link) + describe(t, path) }
			})
		})
	}
}

// anACL is user::rw-, user:12:rw-, group::r--, mask::rw-, other::r--, as the
// kernel's posix_acl_xattr.h lays it out.
var anACL = []byte{
	2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 12, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
	16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
}

const aclName = "system.posix_acl_access"

func describe(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	buf := make([]byte, 256)
	s := fmt.Sprintf("%s ino %d mode %o owner %d:%d", filepath.Base(path), st.Ino, st.Mode, st.Uid, st.Gid)
	for _, name := range []string{capabilityName, aclName} {
		if n, err := unix.Lgetxattr(path, name, buf); err == nil {
			s += fmt.Sprintf(" %s=%x", name, buf[:n])
		}
	}
	return s + "\n"
}

func step(path string, sets ...plan.Set) plan.Step {
	return plan.Step{Ref: inventory.Ref{Kind: inventory.File, Name: path}, Hand: HandName, Sets: sets}
}

func mode(m int64) plan.Set { return plan.Set{Field: "Mode", To: m} }

func TestPrepareRefuses(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	fine := filepath.Join(dir, "fine")
	put(t, fine, 0o644)
	setuid := filepath.Join(dir, "setuid")
	put(t, setuid, 0o755|os.ModeSetuid)
	fixed := filepath.Join(dir, "fixed")
	put(t, fixed, 0o644)
	immutable(t, fixed)
	frozen := filepath.Join(dir, "frozen")
	must(t, os.Mkdir(frozen, 0o755))
	must(t, unix.Mount("casco-test", frozen, "tmpfs", unix.MS_RDONLY, "size=64k"))
	t.Cleanup(func() { must(t, unix.Unmount(frozen, unix.MNT_DETACH)) })
	for _, tc := range []struct {
		st  plan.Step
		why string
	}{
		{step(filepath.Join(dir, "none"), mode(0o600)), "no such file"},
		{step(fixed, mode(0o600)), "is immutable"},
		{step(frozen, mode(0o700)), "read-only file system"},
		{step(setuid, plan.Set{Field: "Uid", To: 12}), "has mode 4755"},
		{step(fine, mode(0o10000)), "not a number from 0 to 4095"},
		{step(fine, mode(-1)), "not a number"},
		{step(fine, plan.Set{Field: "Mode", To: "0600"}), "not a number"},
		{step(fine, plan.Set{Field: "Mode", To: nil}), "not a number"},
		{step(fine, plan.Set{Field: "Uid", To: int64(1<<32 - 1)}), "not a number"},
		{step(fine, plan.Set{Field: "User", To: "no-such-user"}), "unknown user"},
		{step(fine, plan.Set{Field: "User", To: "root"}, plan.Set{Field: "Uid", To: 5}), "contradicts"},
		{step(fine, plan.Set{Field: "Target", To: "/x"}), "cannot set Target"},
	} {
		if _, err := (Hand{}).Prepare(t.Context(), tc.st); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%v: got %v, want %q", tc.st, err, tc.why)
		}
	}
}

// immutable does chattr +i, or skips where the file system has no such thing.
func immutable(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	handtest.Need(t, err == nil, "a file system with chattr flags")
	must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|unix.STATX_ATTR_IMMUTABLE))
	t.Cleanup(func() {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags))
	})
}

// TestLinkSwap puts a link, and then another file, where Prepare saw the file:
// neither Do nor Undo may touch what the link leads to.
func TestLinkSwap(t *testing.T) {
	handtest.NeedRoot(t)
	for _, act := range []string{"do", "undo"} {
		for _, swap := range []string{"link", "linked directory", "other file"} {
			t.Run(act+" "+swap, func(t *testing.T) {
				dir := t.TempDir()
				sub := filepath.Join(dir, "sub")
				must(t, os.Mkdir(sub, 0o755))
				path, victim := filepath.Join(sub, "f"), filepath.Join(dir, "victim", "f")
				put(t, path, 0o666)
				must(t, os.Mkdir(filepath.Dir(victim), 0o755))
				put(t, victim, 0o600)
				st := step(path, mode(0o644))
				undo, err := Hand{}.Prepare(t.Context(), st)
				must(t, err)
				if act == "undo" {
					must(t, Hand{}.Do(t.Context(), st, undo))
				}
				switch swap {
				case "link":
					must(t, os.Remove(path))
					must(t, os.Symlink(victim, path))
				case "linked directory":
					must(t, os.RemoveAll(sub))
					must(t, os.Symlink(filepath.Dir(victim), sub))
				case "other file":
					must(t, os.Remove(path))
					must(t, os.Link(victim, path))
				}
				if act == "do" {
					err = Hand{}.Do(t.Context(), st, undo)
				} else {
					err = Hand{}.Undo(t.Context(), st, undo)
				}
				if err == nil {
					t.Error("no error")
				}
				info, statErr := os.Stat(victim)
				must(t, statErr)
				if info.Mode() != 0o600 {
					t.Errorf("the victim has mode %v", info.Mode())
				}
			})
		}
	}
}

func TestUndoLeavesTheRest(t *testing.T) {
	handtest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, 0o666)
	st := step(path, mode(0o644))
	undo, err := Hand{}.Prepare(t.Context(), st)
	must(t, err)
	must(t, Hand{}.Do(t.Context(), st, undo))
	must(t, os.Chown(path, 77, 77)) // somebody else, meanwhile
	must(t, Hand{}.Undo(t.Context(), st, undo))
	info, err := os.Stat(path)
	must(t, err)
	if uid := describe(t, path); info.Mode() != 0o666 || !strings.Contains(uid, "owner 77:77") {
		t.Errorf("got %s", uid)
	}
	must(t, os.Remove(path))
	if err := (Hand{}).Undo(t.Context(), st, undo); err != nil {
		t.Errorf("a file that is gone: %v", err)
	}
}

func TestForeign(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	a, b, link := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "link")
	put(t, a, 0o666)
	must(t, os.Mkdir(b, 0o755))
	must(t, os.Symlink("a", link))
	st := step(link, mode(0o644))
	undo, err := Hand{}.Prepare(t.Context(), st)
	must(t, err)
	must(t, Hand{}.Do(t.Context(), st, undo))
	if cs, err := (Hand{}).Foreign(t.Context(), st, undo); err != nil || len(cs) > 0 {
		t.Errorf("untouched: %v, %v", cs, err)
	}
	must(t, os.Remove(link))
	must(t, os.Symlink("b", link))
	cs, err := (Hand{}).Foreign(t.Context(), st, undo)
	must(t, err)
	out, _ := json.Marshal(cs)
	if len(cs) != 2 || cs[0].Now != b || cs[1].Now != "dir" {
		t.Errorf("got %s", out)
	}
}

func TestMeans(t *testing.T) {
	gone := &inventory.Object{Ref: inventory.Ref{Kind: inventory.File, Name: "/x"}, Fields: map[string]any{"Exists": false}}
	there := &inventory.Object{Ref: gone.Ref, Fields: map[string]any{"Exists": true}}
	for _, m := range Means() {
		if m.Undo.Empty() || m.Cost != plan.Live {
			t.Errorf("%s: %+v", m.Field, m)
		}
		if m.Refuse(nil, gone, m.Field).Empty() || !m.Refuse(nil, there, m.Field).Empty() {
			t.Errorf("%s: refuses the wrong one", m.Field)
		}
	}
}
