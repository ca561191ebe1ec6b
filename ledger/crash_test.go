package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

// TestMain makes the test binary the program that is killed, too.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TEST_APPEND"); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends batches of all sizes and says on stdout, a line each,
// which entries were acknowledged: index, number, and what is in About.
func appendForEver(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	key, err := KeyFile(dir+".key", Origin("docker01"))
	if err != nil {
		fail(err)
	}
	for {
		l, err := Open(dir, key, time.Now)
		if err != nil {
			fail(err)
		}
		for range 1 + rand.IntN(20) {
			var es []Entry
			name := fmt.Sprintf("batch/%d-%d", os.Getpid(), rand.Int64())
			// Big ones now and then: the longer a write takes the likelier is a kill within.
			data := fmt.Appendf(nil, "%q", strings.Repeat("x", rand.IntN(1<<rand.IntN(16))))
			for range 1 + rand.IntN(1<<rand.IntN(10)) {
				es = append(es, Entry{Kind: Step, Actor: "x", About: name, Data: data})
			}
			first, err := l.Append(es...)
			if err != nil {
				fail(err)
			}
			fmt.Println(first, len(es), name)
			if rand.IntN(8) == 0 {
				if _, err := l.Publish(); err != nil {
					fail(err)
				}
			}
		}
		if err := l.Close(); err != nil {
			fail(err)
		}
	}
}

// TestKilled kills writers, one or two at a time, again and again, and wants
// after each kill that the log verifies, opens, and has all that was
// acknowledged.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	key, err := KeyFile(dir+".key", Origin("docker01"))
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, openLog(t, dir, key))
	var size int64
	acked := map[int64]string{}
	repairs := 0
	rounds := 20
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		for first, about := range killed(t, dir, 1+round%2) {
			acked[first] = about
		}
		r := verifyLog(t, dir, Checks{}, key)
		if !r.OK() {
			t.Fatalf("round %d: %+v", round, r.Problems)
		}
		l := openLogAt(t, dir, key, time.Now)
		v := viewOf(t, l)
		if v.Size() < size || r.Proved != v.Size() {
			t.Fatalf("round %d: %d entries, proved %d, before %d", round, v.Size(), r.Proved, size)
		}
		for i, e := range entriesAt(t, v, slices.Sorted(maps.Keys(acked))) {
			if e != acked[i] {
				t.Fatalf("round %d: entry %d was acknowledged as %s and is %s", round, i, acked[i], e)
			}
		}
		size = v.Size()
		repairs = int(r.Kinds[Repair])
		if err := l.release(); err != nil { // not closed: the next finds it as the kill left it
			t.Fatal(err)
		}
	}
	t.Logf("%d entries, %d acknowledged batches of %d rounds, %d torn tails cut off", size, len(acked), rounds, repairs)
	if len(acked) < rounds {
		t.Errorf("only %d batches in %d rounds: the test killed before it began", len(acked), rounds)
	}
}

func entriesAt(t *testing.T, v *View, indexes []int64) map[int64]string {
	t.Helper()
	got := map[int64]string{}
	for _, i := range indexes {
		e, err := v.Entry(i)
		if err != nil {
			t.Fatalf("entry %d of %d: %v", i, v.Size(), err)
		}
		got[i] = e.About
	}
	return got
}

// killed runs n writers, kills them, and returns what they acknowledged: first
// entry and last of each batch.
func killed(t *testing.T, dir string, n int) map[int64]string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acked := map[int64]string{}
	var cmds []*exec.Cmd
	var outs []io.Reader
	for range n {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "LEDGER_TEST_APPEND="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	first := bufio.NewReader(outs[0])
	if _, err := first.ReadString('\n'); err != nil { // it has begun
		t.Fatal(err)
	}
	outs[0] = first
	time.Sleep(time.Duration(rand.IntN(60_000)) * time.Microsecond)
	for i, cmd := range cmds {
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(outs[i])
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var at, n int64
			var name string
			if _, err := fmt.Sscan(line, &at, &n, &name); err != nil || !strings.HasSuffix(line, "\n") {
				continue // the line itself was cut off
			}
			acked[at], acked[at+n-1] = name, name
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the writer ended by itself: %v", err)
		}
	}
	return acked
}

// TestEachStepOfPublishing stops publishing after each file that it writes,
// replaces or removes.
func TestEachStepOfPublishing(t *testing.T) {
	for _, tt := range []struct{ from, to int64 }{{0, 5}, {700, 701}, {700, 1300}, {1024, 1040}, {1020, 1024}, {0, 2048}, {65500, 65800}} {
		t.Run(fmt.Sprintf("%d to %d", tt.from, tt.to), func(t *testing.T) {
			before, key := tempDir(t), newTestKey(t)
			l := openLogAt(t, before, key, time.Now)
			fill(t, l, tt.from)
			if _, err := l.Publish(); err != nil {
				t.Fatal(err)
			}
			// Appending works and publishing does not while tile is a file.
			tiles, hidden := filepath.Join(before, "tile"), filepath.Join(before, "hidden")
			if err := os.Rename(tiles, hidden); err != nil && (tt.from > 0 || !errors.Is(err, os.ErrNotExist)) {
				t.Fatal(err)
			}
			put(t, before, "tile", "in the way")
			fill(t, l, tt.to)
			if _, err := l.Publish(); err == nil {
				t.Fatal("published though nothing could be written")
			}
			if err := l.release(); err != nil {
				t.Fatal(err)
			}
			remove(t, before, "tile")
			if err := os.Rename(hidden, tiles); err != nil && (tt.from > 0 || !errors.Is(err, os.ErrNotExist)) {
				t.Fatal(err)
			}

			after := copyTree(t, before)
			l = openLogAt(t, after, key, time.Now)
			if _, err := l.Publish(); err != nil {
				t.Fatal(err)
			}
			closeLog(t, l)
			steps := 0
			apply := func(name string) {
				if b, err := os.ReadFile(filepath.Join(after, name)); err == nil {
					put(t, before, name, string(b))
				} else {
					remove(t, before, name)
				}
				steps++
				if steps > 5 && strings.HasPrefix(name, "tile/") {
					return // they are all alike
				}
				wantOK(t, verifyLog(t, before, Checks{}, key), tt.to)
				l := openLogAt(t, before, key, time.Now)
				wantEntries(t, viewOf(t, l), tt.to)
				if err := l.release(); err != nil {
					t.Fatal(err)
				}
			}
			old, now := filesOf(t, before), filesOf(t, after)
			for _, name := range slices.Sorted(maps.Keys(now)) {
				if strings.HasPrefix(name, "tile/") && old[name] != now[name] {
					apply(name)
				}
			}
			apply("checkpoint")
			apply("journal")
			for _, name := range slices.Sorted(maps.Keys(old)) {
				if _, kept := now[name]; !kept {
					apply(name)
				}
			}
			if steps < 4 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// TestFullDisk fills a small file system to the brim while appending.
func TestFullDisk(t *testing.T) {
	handtest.NeedRoot(t)
	mnt := t.TempDir()
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=640k"); err != nil {
		handtest.Need(t, false, "to mount a tmpfs: "+err.Error())
	}
	defer func() {
		if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	dir, key := filepath.Join(mnt, "log"), newTestKey(t)
	l := openLogAt(t, dir, key, time.Now)
	var n int64
	var full error
	for n < 10_000 && full == nil {
		if _, full = l.Append(step(n), step(n+1), step(n+2)); full == nil {
			n += 3
		}
	}
	if !errors.Is(full, unix.ENOSPC) || !strings.Contains(full.Error(), "append to the ledger: write "+dir+"/journal: no space left on device") {
		t.Fatalf("%d entries, %v", n, full)
	}
	wantOK(t, verifyLog(t, dir, Checks{}, key), n)
	wantEntries(t, viewOf(t, l), n)
	if _, err := l.Append(step(n)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if _, err := l.Publish(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("publish on a full disk: %v", err)
	}
	if err := l.Close(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("close on a full disk: %v", err)
	}
	wantOK(t, verifyLog(t, dir, Checks{}, key), n)

	if err := unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	l = openLogAt(t, dir, key, time.Now) // there is space again: it goes on
	fill(t, l, n+2000)
	closeLog(t, l)
	wantOK(t, verifyLog(t, dir, Checks{}, key), n+2000)

	if err := unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, key, time.Now); !errors.Is(err, unix.EROFS) {
		t.Errorf("open on a read-only file system: %v", err)
	}
	wantOK(t, verifyLog(t, dir, Checks{}, key), n+2000)
	if v, err := Read(dir, key.Verifier()); err != nil || v.Size() != n+2000 {
		t.Errorf("read on a read-only file system: %v", err)
	}
}

// TestBusy wants a writer that finds another one at work to say so and not to
// hang.
func TestBusy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 10 s")
	}
	t.Parallel()
	dir, key := t.TempDir(), newTestKey(t)
	l := openLog(t, dir, key)
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unlock, err := flock(f, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(step(0)); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	unlock()
	if first, err := l.Append(step(0)); err != nil || first != 0 {
		t.Errorf("%d, %v", first, err)
	}
}
