package procs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

const (
	id1 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	id2 = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

func TestCgroups(t *testing.T) {
	for _, c := range []struct{ text, unit, container string }{
		{"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service\n", "user@1000.service", ""},
		{"0::/system.slice/cron.service\n", "cron.service", ""},
		{"0::/system.slice/docker-" + id1 + ".scope\n", "docker-" + id1 + ".scope", id1},
		{"0::/system.slice/docker-" + id1 + ".scope/docker/" + id2 + "\n", "docker-" + id1 + ".scope", id1},
		{"0::/docker/" + id1 + "\n", "", id1},
		{"4:memory:/casco-12/" + id1 + "\n1:name=systemd:/system.slice/docker.service\n0::/\n", "docker.service", id1},
		{"4:memory:/system.slice/a.service\n0::/\n", "", ""},
		{"0::/kubepods.slice/cri-containerd-" + id1 + ".scope\n", "cri-containerd-" + id1 + ".scope", id1},
		{"0::/x" + id1 + "\n", "", ""},
		{"0::/\n", "", ""},
		{"nonsense", "", ""},
		{"", "", ""},
	} {
		if g := ParseCgroups([]byte(c.text)); g.Unit != c.unit || g.Container != c.container {
			t.Errorf("%q: %+v", c.text, g)
		}
	}
}

// TestSame: both ways of telling notice that a process has ended.
func TestSame(t *testing.T) {
	for _, way := range []string{"pidfd", "start time"} {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid, fd := cmd.Process.Pid, -1
		if way == "pidfd" {
			var err error
			if fd, err = unix.PidfdOpen(cmd.Process.Pid, 0); err != nil {
				t.Fatal(err)
			}
		}
		first, second := Same(pid, fd), Same(pid, -1)
		if way == "start time" && (!first() || !second()) {
			t.Errorf("%s: it is said to have ended", way)
		}
		cmd.Process.Kill()
		cmd.Wait()
		time.Sleep(time.Millisecond)
		if first() || second() {
			t.Errorf("%s: it has ended", way)
		}
	}
}

func TestParse(t *testing.T) {
	const tail = " S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1419792 0 0"
	for text, want := range map[string]string{
		"42 (runc)" + tail:           "S 1 1419792",
		"42 (a) S 1 (b c) 7)" + tail: "S 1 1419792",
		"42 (sh" + tail:              "no line",
		"":                           "no line",
		"42 (runc) S 1 2":            "no line",
		"42 (x)" + tail[:20]:         "no line",
	} {
		s, err := Parse([]byte(text))
		got := fmt.Sprintf("%c %d %d", s.State, s.Parent, s.Started)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	s, err := Read(os.Getpid())
	if err != nil || !s.Alive() || s.Parent != os.Getppid() || s.Started == 0 || !Alive(os.Getpid()) {
		t.Errorf("our own: %+v %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("42 (runc) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1419792 0 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := Parse(b); err == nil && s.State == 0 {
			t.Errorf("%q: %+v", b, s)
		}
		ParseCgroups(b)
	})
}

// TestSpaceOwner: a user namespace is whose who made it, also one within others;
// our own is nobody's else.
func TestSpaceOwner(t *testing.T) {
	handtest.NeedRoot(t)
	if owner, err := SpaceOwner(os.Getpid()); owner != -1 || err != nil {
		t.Errorf("our own: %d %v", owner, err)
	}
	for args, want := range map[string]int64{
		"unshare -U sleep 60": 0,
		"setpriv --reuid=1234 --regid=2345 --clear-groups unshare -U sleep 60":              1234,
		"setpriv --reuid=1234 --regid=2345 --clear-groups unshare -Ur unshare -Ur sleep 60": 1234,
		"setpriv --reuid=1234 --regid=2345 --clear-groups sleep 60":                         -1,
	} {
		words := strings.Fields(args)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		for i := 0; ; i++ { // until it is what it becomes
			b, _ := os.ReadFile(Dir(cmd.Process.Pid) + "/cmdline")
			if strings.HasPrefix(string(b), "sleep") {
				break
			}
			if i == 500 || len(b) == 0 && i > 50 {
				if strings.Contains(args, "1234") && want >= 0 {
					t.Skipf("%s: users may make no user namespace here (kernel.unprivileged_userns_clone, user.max_user_namespaces)", args)
				}
				t.Fatalf("%s does not begin", args)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if owner, err := SpaceOwner(cmd.Process.Pid); owner != want || err != nil {
			t.Errorf("%s: %d %v, want %d", args, owner, err, want)
		}
	}
	if _, err := SpaceOwner(1 << 30); err == nil {
		t.Error("of nobody")
	}
}
