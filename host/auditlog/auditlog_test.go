package auditlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// trail is as auditd 3.0.9 writes it on Debian 12: an edit in place, one that
// renames a new file over the old, a reading, a refusal, a removal by a daemon
// that no login started, and a name with a space in it.
const trail = `type=SYSCALL msg=audit(1764180000.100:11): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7ffd a2=241 a3=1b6 items=2 ppid=1 pid=700 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=3 comm="vim" exe="/usr/bin/vim.basic" subj=unconfined key="docker"
type=CWD msg=audit(1764180000.100:11): cwd="/etc/docker"
type=PATH msg=audit(1764180000.100:11): item=0 name="/etc/docker" inode=5 nametype=PARENT
type=PATH msg=audit(1764180000.100:11): item=1 name="daemon.json" inode=6 nametype=NORMAL
type=SYSCALL msg=audit(1764180001.000:12): arch=c000003e syscall=82 success=yes exit=0 a0=1 a1=2 pid=701 auid=1001 uid=0 comm="sed" exe="/usr/bin/sed" key="docker"
type=PATH msg=audit(1764180001.000:12): item=3 name="/etc/docker/daemon.json" inode=7 nametype=CREATE
type=SYSCALL msg=audit(1764180002.000:13): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7ffd a2=0 pid=702 auid=1000 uid=0 exe="/usr/bin/cat" key="docker"
type=PATH msg=audit(1764180002.000:13): item=0 name="/etc/docker/daemon.json" inode=7 nametype=NORMAL
type=SYSCALL msg=audit(1764180003.000:14): arch=c000003e syscall=257 success=no exit=-13 a0=ffffff9c a1=7ffd a2=1 pid=703 auid=1002 uid=1002 exe="/usr/bin/vim.basic" key="docker"
type=PATH msg=audit(1764180003.000:14): item=0 name="/etc/docker/daemon.json" inode=7 nametype=NORMAL
type=SYSCALL msg=audit(1764180004.000:15): arch=c000003e syscall=87 success=yes exit=0 a0=1 pid=704 auid=4294967295 uid=0 exe="/usr/sbin/puppet" key=(null)
type=PATH msg=audit(1764180004.000:15): item=1 name="/etc/docker/daemon.json" inode=7 nametype=DELETE
type=SYSCALL msg=audit(1764180005.000:16): arch=c00000b7 syscall=56 success=yes exit=3 a0=ffffff9c a1=7ffd a2=1 pid=705 auid=1000 uid=0 exe=2F746D702F61206220 key="docker"
type=PATH msg=audit(1764180005.000:16): item=0 name=2F6574632F612062 inode=8 nametype=NORMAL
type=SYSCALL msg=audit(1764180007.000:18): arch=c000003e syscall=85 success=yes exit=3 a0=7ffd a1=1b6 pid=706 auid=1000 uid=0 exe="/tmp/a\new" key="docker"` + "\x1d" + `ARCH=x86_64 SYSCALL=creat AUID="ops" UID="root"
type=PATH msg=audit(1764180007.000:18): item=0 name="/etc/d\tab" inode=8 nametype=NORMAL cap_frootid=0` + "\x1d" + `OUID="root"
this is no record
type=DAEMON_START msg=audit(1764180006.000:17): op=start
`

func users(uid uint32) string {
	return map[uint32]string{1000: "ops", 1001: "dev"}[uid]
}

func at(seconds int64, ms int) time.Time { return time.Unix(seconds, int64(ms)*1e6).UTC() }

func TestWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), []byte(trail), 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(dir, users)
	edit := Act{at(1764180000, 100), "ops", 0, 700, "/usr/bin/vim.basic", "docker"}
	rename := Act{at(1764180001, 0), "dev", 0, 701, "/usr/bin/sed", "docker"}
	removal := Act{at(1764180004, 0), "", 0, 704, "/usr/sbin/puppet", ""}
	slash := Act{at(1764180007, 0), "ops", 0, 706, `/tmp/a\new`, "docker"}
	odd := Act{at(1764180005, 0), "ops", 0, 705, "/tmp/a b ", "docker"}
	for _, c := range []struct {
		path        string
		from, until time.Time
		want        []Act
	}{
		{"/etc/docker/daemon.json", time.Time{}, at(1<<40, 0), []Act{edit, rename, removal}},
		{"/etc/docker/daemon.json", at(1764180001, 0), at(1764180004, 0), []Act{rename}},
		{"/etc/a b", time.Time{}, at(1<<40, 0), []Act{odd}},
		{`/etc/d\tab`, time.Time{}, at(1<<40, 0), []Act{slash}},
		{"/etc/docker", time.Time{}, at(1764180000, 200), []Act{edit}},
		{"/etc/passwd", time.Time{}, at(1<<40, 0), nil},
	} {
		got, err := l.Writes([]string{c.path}, c.from, c.until)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s from %s: %s", c.path, c.from, diff)
		}
	}
	if got, want := removal.String(), "uid 0 by /usr/sbin/puppet at 2025-11-26 18:00:04Z"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNoLog: where no auditd writes, nobody is named, and that is no trouble.
func TestNoLog(t *testing.T) {
	got, err := New(filepath.Join(t.TempDir(), "none"), nil).Writes([]string{"/x"}, time.Time{}, time.Now())
	if err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(trail)
	f.Add("type=SYSCALL msg=audit(1.1:1): arch=c000003e syscall=257 success=yes a2=zz\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = New("", users).parse(strings.NewReader(text), []string{"/x"}, time.Time{}, at(1<<40, 0))
	})
}
