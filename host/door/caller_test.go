package door

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/apicall"
	"casco/internal/handtest"
)

const (
	id1 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	id2 = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

func TestPlaces(t *testing.T) {
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
		if unit, container := places([]byte(c.text)); unit != c.unit || container != c.container {
			t.Errorf("%q: %q %q", c.text, unit, container)
		}
	}
}

// TestIdentify: processes are known by what they are now; one that has ended is
// known by nothing but what the kernel kept.
func TestIdentify(t *testing.T) {
	handtest.NeedRoot(t) // another user's process is looked at
	path := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	accept := func(cmd *exec.Cmd) *net.UnixConn {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	curl := func(prefix ...string) *exec.Cmd {
		args := append(prefix, "curl", "-s", "-m", "10", "--unix-socket", path, "http://d/")
		return exec.Command(args[0], args[1:]...)
	}
	alive := curl("setpriv", "--reuid=1234", "--regid=2345", "--clear-groups")
	c := accept(alive)
	who, err := identify(c)
	if err != nil || who.UID != 1234 || who.GID != 2345 || who.PID != alive.Process.Pid || who.Container != "" || who.Unit == apicall.Unknown {
		t.Errorf("alive: %+v %v", who, err)
	}
	c.Close()
	alive.Wait()

	dead := curl()
	c = accept(dead)
	dead.Process.Kill()
	dead.Wait()
	who, err = identify(c)
	if err != nil || who.UID != 0 || who.PID != dead.Process.Pid || who.Container != apicall.Unknown || who.Unit != apicall.Unknown || who.LoginUID != -1 {
		t.Errorf("ended: %+v %v", who, err)
	}
	c.Close()

	// In a PID namespace of its own, in no container that is known.
	hidden := curl("unshare", "--pid", "--fork")
	c = accept(hidden)
	who, err = identify(c)
	if err != nil || who.Container != apicall.Unknown {
		t.Errorf("hidden: %+v %v", who, err)
	}
	c.Close()
	hidden.Wait()

	cgroup := "/sys/fs/cgroup/unified/casco-door-" + strconv.Itoa(os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		cgroup = strings.Replace(cgroup, "/unified", "", 1)
	}
	if err := os.MkdirAll(filepath.Join(cgroup, id1), 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() { os.Remove(filepath.Join(cgroup, id1)); os.Remove(cgroup) }()
	in := curl("sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(cgroup, id1, "cgroup.procs"))
	c = accept(in)
	if who, err = identify(c); err != nil || who.Container != id1 {
		t.Errorf("in a container: %+v %v", who, err)
	}
	c.Close()
	in.Wait()
}

// TestSameProcess: both ways of telling notice that a process has ended.
func TestSameProcess(t *testing.T) {
	for _, way := range []string{"pidfd", "start time"} {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dir, fd := "/proc/"+strconv.Itoa(cmd.Process.Pid), -1
		if way == "pidfd" {
			var err error
			if fd, err = unix.PidfdOpen(cmd.Process.Pid, 0); err != nil {
				t.Fatal(err)
			}
		}
		first, second := sameProcess(dir, fd), sameProcess(dir, -1)
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
