package gate

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"casco/internal/procs"
)

func TestParseSyscall(t *testing.T) {
	for _, c := range []struct {
		line    string
		argv    uint64
		running bool
		ok      bool
	}{
		{"59 0xc000012345 0xc0000aa000 0xc0000bb000 0x0 0x0 0x0 0x7ffd 0x48\n", 0xc0000aa000, false, true},
		{"322 0x3 0xc000012345 0xc0000aa000 0xc0000bb000 0x0 0x0 0x7ffd 0x48\n", 0xc0000aa000, false, true},
		{"running\n", 0, true, true},
		{"11 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n", 0, false, false}, // execve of a 32-bit program
		{"-1 0x7ffd 0x48\n", 0, false, false},
		{"", 0, false, false},
	} {
		if unix.SYS_EXECVE != 59 && c.ok && !c.running { // other numbers on other machines
			continue
		}
		argv, running, err := parseSyscall(c.line)
		if argv != c.argv || running != c.running || (err == nil) != c.ok {
			t.Errorf("%q: %#x %v %v", c.line, argv, running, err)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for release, want := range map[string]bool{
		"5.8.0": true, "5.10.0-28-amd64": true, "6.18.44-1-cloud": true, "5.7.19": false, "4.18.0-553.el8": false, "": false, "x": false,
	} {
		if atLeast(release, 5, 8) != want {
			t.Errorf("%q: want %v", release, want)
		}
	}
}

// TestReadArgs reads our own memory: a list of arguments as the kernel made it.
func TestReadArgs(t *testing.T) {
	words := []string{"runc", "--root", "/r", "", strings.Repeat("long ", 1500)}
	var list []*byte
	for _, w := range words {
		p, err := unix.BytePtrFromString(w)
		must(t, err)
		list = append(list, p)
	}
	got, err := readArgs(os.Getpid(), addressOf(append(list, nil)))
	if diff := cmp.Diff(words, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	endless := make([]*byte, maxArgs+1)
	for i := range endless {
		endless[i] = list[0]
	}
	if _, err := readArgs(os.Getpid(), addressOf(endless)); err == nil {
		t.Error("a list without an end is read")
	}
	if _, err := readArgs(os.Getpid(), 8); err == nil {
		t.Error("a list that is nowhere is read")
	}
	huge, err := unix.BytePtrFromString(strings.Repeat("x", maxArg+1))
	must(t, err)
	if _, err := readArgs(os.Getpid(), addressOf([]*byte{huge, nil})); err == nil {
		t.Error("an argument without an end is read")
	}
}

func TestParseEvents(t *testing.T) {
	event := func(n uint32, version byte, fd, tid int32) []byte {
		b := make([]byte, 24)
		binary.NativeEndian.PutUint32(b, n)
		b[4] = version
		binary.NativeEndian.PutUint32(b[16:], uint32(fd))
		binary.NativeEndian.PutUint32(b[20:], uint32(tid))
		return b
	}
	b := slices.Concat(event(24, 3, 7, 100), event(24, 3, -1, 0), event(24, 2, 8, 101), event(24, 3, 9, 102), event(24, 3, 10, 103)[:20])
	want := []question{{7, 100}, {9, 102}}
	if diff := cmp.Diff(want, parseEvents(b), cmp.AllowUnexported(question{})); diff != "" {
		t.Error(diff)
	}
	if got := parseEvents(event(8, 3, 7, 100)); got != nil {
		t.Errorf("shorter than itself: %v", got)
	}
}

// FuzzKernel: nothing that is read from the kernel makes the parsers fail or
// turn for ever.
func FuzzKernel(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add([]byte("59 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8"))
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 'r', 'u', 'n', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, q := range parseEvents(b) {
			if q.fd < 0 {
				t.Errorf("%v", q)
			}
		}
		parseInotify(b)
		parseSyscall(string(b))
	})
}

func TestWay(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b", "c"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	must(t, os.Symlink("../b/runc", dir+"/a/runc"))
	must(t, os.Symlink(dir+"/c/runc-1.1", dir+"/b/runc"))
	steps, err := way(dir + "/a/runc")
	if diff := cmp.Diff([]string{dir + "/a/runc", dir + "/b/runc", dir + "/c/runc-1.1"}, steps); diff != "" || err == nil {
		t.Errorf("%v %s", err, diff)
	}
	write(t, dir+"/c/runc-1.1", "")
	if _, err := way(dir + "/a/runc"); err != nil {
		t.Error(err)
	}
	must(t, os.Symlink("loop", dir+"/loop"))
	if _, err := way(dir + "/loop"); err == nil {
		t.Error("a loop has an end")
	}
}

// TestKill: who is killed is gone when kill returns; who is gone is no error.
func TestKill(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	reaped := make(chan error, 1)
	go func() { reaped <- cmd.Wait() }()
	if err := kill(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if now, err := procs.Read(cmd.Process.Pid); err == nil {
		t.Errorf("it is still there: %c", now.State)
	}
	<-reaped
	if err := kill(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
}
