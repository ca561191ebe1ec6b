package door

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/handtest"
)

const id1 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// started begins cmd and waits for it to connect; it is an error if it ends before.
func started(t *testing.T, l *net.UnixListener, cmd *exec.Cmd) (*net.UnixConn, error) {
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		l.SetDeadline(time.Now().Add(100 * time.Millisecond))
		c, err := l.AcceptUnix()
		if err == nil {
			return c, nil
		}
		select {
		case err := <-ended:
			return nil, err
		default:
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

	// By all of its groups, and by who made the user namespace that it is in.
	for _, c := range []struct {
		prefix string
		who    apicall.Caller
	}{
		{"setpriv --reuid=1234 --regid=2345 --groups=7,4242", apicall.Caller{UID: 1234, GID: 2345, Groups: []uint32{7, 4242}}},
		{"unshare -U", apicall.Caller{Userns: "0"}},
		{"setpriv --reuid=1234 --regid=2345 --clear-groups unshare -Ur", apicall.Caller{UID: 1234, GID: 2345, Userns: "1234"}},
		{"", apicall.Caller{UID: 100007, GID: 100008, Userns: "0"}}, // as newuidmap(1) gives users
	} {
		cmd := curl(strings.Fields(c.prefix)...)
		if c.prefix == "" {
			maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 1000}}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: maps, GidMappings: maps, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{Uid: 7, Gid: 8}}
		}
		said := &bytes.Buffer{}
		cmd.Stderr = said
		conn, err := started(t, l, cmd)
		if err != nil {
			t.Logf("skipped: %s: no user namespace of that kind can be made here: %v: %s", c.prefix, err, said)
			continue
		}
		who, err := identify(conn)
		if err != nil || who.UID != c.who.UID || who.GID != c.who.GID || len(c.who.Groups) > 0 && !slices.Equal(who.Groups, c.who.Groups) || who.Userns != c.who.Userns || who.Container != "" {
			t.Errorf("%s: %+v %v", c.prefix, who, err)
		}
		conn.Close()
	}
	l.SetDeadline(time.Time{})

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
