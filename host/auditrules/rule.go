package auditrules

import (
	"os"
	"path/filepath"
	"strings"
)

// A Perm is a set of accesses that a rule watches for: linux/audit.h,
// AUDIT_PERM_*.
type Perm uint32

const (
	Exec  Perm = 1
	Write Perm = 2
	Read  Perm = 4
	Attr  Perm = 8 // owner, mode, extended attributes
	all        = Exec | Write | Read | Attr
)

// letters are in the order in which auditctl(8) writes them; perms are theirs.
const letters = "rwxa"

var perms = [len(letters)]Perm{Read, Write, Exec, Attr}

// String writes p as auditctl(8) does: "rwxa".
func (p Perm) String() string {
	var b []byte
	for i, bit := range perms {
		if p&bit != 0 {
			b = append(b, letters[i])
		}
	}
	return string(b)
}

// ParsePerm reads letters in any order, small or capital as auditctl does. ok
// is false if one is not of r, w, x and a.
func ParsePerm(s string) (p Perm, ok bool) {
	for _, c := range strings.ToLower(s) {
		i := strings.IndexRune(letters, c)
		if i < 0 {
			return 0, false
		}
		p |= perms[i]
	}
	return p, true
}

// An Arch is a set of the system call tables of a 64-bit machine.
type Arch uint8

const (
	Native Arch = 1 // b64
	Compat Arch = 2 // b32
	Both        = Native | Compat
)

// A Rule is what one audit rule says of one path.
type Rule struct {
	Path string
	Dir  bool // reaches everything below Path
	Perm Perm // all of them if the rule names none
	Key  string
	Arch Arch // Both if the rule names none
	// Exact: it has no condition beside these, so that it sees every process
	// and every system call.
	Exact bool
	Never bool   // it takes out of the audit what it matches
	Task  bool   // of the list "task": with Never and Exact nothing is audited at all
	From  string // "50-casco.rules:3"; empty for a loaded rule
}

// String writes r in the words of auditctl(8), shortened.
func (r Rule) String() string {
	action := "always"
	if r.Never {
		action = "never"
	}
	if r.Task {
		return action + ",task"
	}
	kind := "path="
	if r.Dir {
		kind = "dir="
	}
	s := action + ",exit " + kind + r.Path + " perm=" + r.Perm.String()
	switch r.Arch {
	case Native:
		s += " arch=b64"
	case Compat:
		s += " arch=b32"
	}
	if r.Key != "" {
		s += " key=" + r.Key
	}
	if !r.Exact {
		s += " and other conditions"
	}
	return s
}

// Watched says for which accesses the rules watch path, and which of them do.
// The first rule that matches decides, as in the kernel.
func Watched(rules []Rule, path string) (Perm, []Rule) {
	target, isDir := resolve(path)
	var seen, lost [2]Perm // by architecture
	var by []Rule
	for _, r := range rules {
		if !r.Exact {
			continue
		}
		if r.Task {
			if r.Never {
				return 0, []Rule{r} // no process is audited, whatever else is said
			}
			continue
		}
		if !r.covers(target, isDir) {
			continue
		}
		gain := Perm(0)
		for i, arch := range []Arch{Native, Compat} {
			switch {
			case r.Arch&arch == 0:
			case r.Never:
				lost[i] |= r.Perm &^ seen[i]
			default:
				gain |= r.Perm &^ lost[i] &^ seen[i]
				seen[i] |= r.Perm &^ lost[i]
			}
		}
		if gain != 0 {
			by = append(by, r)
		}
	}
	return seen[0] & seen[1], by
}

// covers reports whether r looks at target, a path free of links. A rule with
// path= on a directory sees the directory itself and not what is in it.
func (r Rule) covers(target string, isDir bool) bool {
	if r.Dir {
		top, _ := resolve(r.Path)
		return target == top || strings.HasPrefix(target, strings.TrimSuffix(top, "/")+"/")
	}
	if isDir {
		return false
	}
	// The kernel follows links to the parent, not the last name:
	// kernel/audit_watch.c, audit_get_nd.
	parent, _ := resolve(filepath.Dir(r.Path))
	return target == filepath.Join(parent, filepath.Base(r.Path))
}

// resolve returns path free of links as far as it exists, and whether it is a
// directory.
func resolve(path string) (string, bool) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		st, err := os.Stat(real)
		return real, err == nil && st.IsDir()
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(parent, filepath.Base(path)), false
	}
	return filepath.Clean(path), false
}
