// Package auditlog says who touched a file, as far as the kernel's audit trail
// knows: auditd writes it, where it runs and a rule watches the file.
//
// It reads the log as text and never asks the kernel. That a file changed and
// nobody is named means only that nobody was watching.
package auditlog

import (
	"bufio"
	"encoding/hex"
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
)

// An Act is one system call on a file that the kernel recorded.
type Act struct {
	At    time.Time `json:"at"`              // UTC
	Login string    `json:"login,omitempty"` // who logged in, whatever they became since: a name, or a number that has none
	UID   uint32    `json:"uid"`
	PID   int       `json:"pid"`
	Exe   string    `json:"exe"`           // "/usr/bin/vim"
	Key   string    `json:"key,omitempty"` // of the rule that watched
}

func (a Act) String() string {
	who := a.Login
	if who == "" {
		who = "uid " + strconv.FormatUint(uint64(a.UID), 10)
	}
	return fmt.Sprintf("%s by %s at %s", who, a.Exe, a.At.Format("2006-01-02 15:04:05Z"))
}

// A Log is the audit trail of a machine.
type Log struct {
	dir    string                  // where audit.log and its rotated ones lie
	lookup func(uid uint32) string // name of a user; "" for none
}

// Default is where auditd keeps its log.
const Default = "/var/log/audit"

// New returns the audit trail in dir. Lookup names users; nil names none.
func New(dir string, lookup func(uid uint32) string) *Log {
	if lookup == nil {
		lookup = func(uint32) string { return "" }
	}
	return &Log{dir, lookup}
}

// most is how much of each file is read, from its end: auditd rotates at 8 MB
// by default (auditd.conf(5), max_log_file).
const most = 64 << 20

// noLogin is the login UID of what no login started (kernel, AUDIT_UID_UNSET).
const noLogin = 1<<32 - 1

// Writes returns the acts between two moments that succeeded and that opened for
// writing, created, renamed, removed, or changed the mode or owner of one of the
// paths, in order. Without a log there are none, and no error; one that may not
// be read is an error.
func (l *Log) Writes(paths []string, from, until time.Time) ([]Act, error) {
	files, err := filepath.Glob(filepath.Join(l.dir, "audit.log*"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var acts []Act
	for _, file := range files {
		st, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if st.ModTime().Before(from) {
			continue
		}
		more, err := l.read(file, paths, from, until)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		acts = append(acts, more...)
	}
	slices.SortStableFunc(acts, func(a, b Act) int { return a.At.Compare(b.At) })
	return acts, nil
}

func (l *Log) read(file string, paths []string, from, until time.Time) ([]Act, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return l.parse(f, paths, from, until)
}

// An event is the records of one system call: they share a serial number.
type event struct {
	act     Act
	ok      bool // the call succeeded
	writes  bool
	cwd     string
	touched []string
}

// parse reads records; those of one event may stand apart.
func (l *Log) parse(r io.Reader, paths []string, from, until time.Time) ([]Act, error) {
	events := map[string]*event{}
	var order []string
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		kind, id, at, fields, ok := record(sc.Text())
		if !ok || at.Before(from) || !at.Before(until) {
			continue
		}
		e := events[id]
		if e == nil {
			e = &event{act: Act{At: at}}
			events[id] = e
			order = append(order, id)
		}
		l.take(e, kind, fields)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	var acts []Act
	for _, id := range order {
		if e := events[id]; e.ok && e.writes && e.touches(paths) {
			acts = append(acts, e.act)
		}
	}
	return acts, nil
}

// record reads "type=SYSCALL msg=audit(1700000000.123:456): arch=… …". The time
// is seconds and milliseconds since 1970.
func record(line string) (kind, id string, at time.Time, fields map[string]string, ok bool) {
	rest, ok := strings.CutPrefix(line, "type=")
	if !ok {
		return "", "", at, nil, false
	}
	kind, rest, ok = strings.Cut(rest, " msg=audit(")
	if !ok {
		return "", "", at, nil, false
	}
	id, rest, ok = strings.Cut(rest, "):")
	if !ok {
		return "", "", at, nil, false
	}
	stamp, _, _ := strings.Cut(id, ":")
	seconds, millis, _ := strings.Cut(stamp, ".")
	s, err1 := strconv.ParseInt(seconds, 10, 64)
	ms, err2 := strconv.ParseInt(millis, 10, 64)
	if err1 != nil || err2 != nil {
		return "", "", at, nil, false
	}
	// With log_format = ENRICHED, what auditd adds comes after a group separator
	// (auditd.conf(5)).
	rest, _, _ = strings.Cut(rest, "\x1d")
	fields = map[string]string{}
	for word := range strings.FieldsSeq(rest) {
		if k, v, is := strings.Cut(word, "="); is {
			fields[k] = v
		}
	}
	return kind, id, time.Unix(s, ms*int64(time.Millisecond)).UTC(), fields, true
}

// writing are the nametypes of PATH records of calls that change a directory
// (kernel, include/linux/audit.h).
var writing = []string{"CREATE", "DELETE"}

func (l *Log) take(e *event, kind string, f map[string]string) {
	switch kind {
	case "SYSCALL":
		e.ok = f["success"] == "yes"
		e.writes = e.writes || changes(f)
		e.act.Exe, e.act.Key = unquote(f["exe"]), unquote(f["key"])
		if uid, err := strconv.ParseUint(f["uid"], 10, 32); err == nil {
			e.act.UID = uint32(uid)
		}
		if login, err := strconv.ParseUint(f["auid"], 10, 32); err == nil && login != noLogin {
			if e.act.Login = l.lookup(uint32(login)); e.act.Login == "" {
				e.act.Login = "uid " + f["auid"]
			}
		}
		e.act.PID, _ = strconv.Atoi(f["pid"])
	case "CWD":
		e.cwd = unquote(f["cwd"])
	case "PATH":
		e.touched = append(e.touched, unquote(f["name"]))
		e.writes = e.writes || slices.Contains(writing, f["nametype"])
	}
}

// x86-64 and arm64 numbers of calls that change a file or its attributes
// without a flag that says so (kernel, arch/x86/entry/syscalls/syscall_64.tbl,
// include/uapi/asm-generic/unistd.h).
var always = map[string][]string{
	// truncate rename creat unlink chmod chown lchown setxattr fchownat unlinkat renameat fchmodat renameat2 fchmodat2
	"c000003e": {"76", "82", "85", "87", "90", "92", "94", "188", "260", "263", "264", "268", "316", "452"},
	// setxattr unlinkat renameat truncate fchmodat fchownat renameat2 fchmodat2
	"c00000b7": {"5", "35", "38", "45", "53", "54", "276", "452"},
}

// opens are the numbers of open and openat with the argument that has the
// flags. (Those of openat2 lie in memory, and no record has them: of it only what
// makes or removes a file is seen.)
var opens = map[string]map[string]string{
	"c000003e": {"2": "a1", "257": "a2"},
	"c00000b7": {"56": "a2"},
}

// changes reports whether a SYSCALL record is of a call that writes.
func changes(f map[string]string) bool {
	if slices.Contains(always[f["arch"]], f["syscall"]) {
		return true
	}
	arg, is := opens[f["arch"]][f["syscall"]]
	if !is {
		return false
	}
	flags, err := strconv.ParseUint(f[arg], 16, 64)
	return err == nil && flags&uint64(os.O_WRONLY|os.O_RDWR|os.O_TRUNC) != 0
}

func (e *event) touches(paths []string) bool {
	return slices.ContainsFunc(e.touched, func(name string) bool {
		if !path.IsAbs(name) {
			name = path.Join(e.cwd, name)
		}
		return slices.Contains(paths, path.Clean(name))
	})
}

// unquote reads a value: in quotes, between which all stands for itself, or in
// hexadecimal where it has a character that quotes cannot hold; "(null)" is
// nothing (kernel, kernel/audit.c, audit_log_n_untrustedstring).
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	if s == "(null)" || s == "?" {
		return ""
	}
	if b, err := hex.DecodeString(s); err == nil && len(b) > 0 {
		return string(b)
	}
	return s
}
