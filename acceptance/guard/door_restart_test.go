package guard

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/outside"
)

// A serviceManager stands in for systemd, as far as a service sees it: it hears
// what is notified, and holds descriptors for the next process (sd_notify(3),
// sd_listen_fds(3)). It is asked for its jobs by a program called systemctl.
type serviceManager struct {
	t   *testing.T
	dir string

	mu    sync.Mutex // guards what follows
	names []string
	files []*os.File
	said  []string
}

func newServiceManager(t *testing.T) *serviceManager {
	m := &serviceManager{t: t, dir: t.TempDir()}
	at := filepath.Join(m.dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() { defer close(heard); m.hear(l) }()
	t.Cleanup(func() {
		l.Close()
		<-heard
		for _, f := range m.files {
			f.Close()
		}
	})
	outside.Write(t, filepath.Join(m.dir, "systemctl"), `#!/bin/sh
case "$*" in
"show --property=NFileDescriptorStore "*) echo 4 ;;
"list-jobs "*) echo "7 casco-guard.service $(cat `+m.dir+`/job) running" ;;
*) exec /usr/bin/systemctl "$@" ;;
esac
`)
	if err := os.Chmod(filepath.Join(m.dir, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", m.dir+":"+os.Getenv("PATH"))
	t.Setenv("NOTIFY_SOCKET", at)
	t.Setenv("CASCO_UNIT", "casco-guard.service")
	return m
}

// hear ends with l.
func (m *serviceManager) hear(l *net.UnixConn) {
	b, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, r, _, _, err := l.ReadMsgUnix(b, rights)
		if err != nil {
			return
		}
		said := string(b[:n])
		name := ""
		for line := range strings.Lines(said) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "FDNAME="); ok {
				name = v
			}
		}
		m.mu.Lock()
		m.said = append(m.said, said)
		i := slices.Index(m.names, name)
		switch {
		case strings.HasPrefix(said, "FDSTOREREMOVE=1") && i >= 0:
			m.files[i].Close()
			m.names, m.files = slices.Delete(m.names, i, i+1), slices.Delete(m.files, i, i+1)
		case strings.HasPrefix(said, "FDSTORE=1") && r > 0:
			if f := m.file(rights[:r]); f != nil && i < 0 {
				m.names, m.files = append(m.names, name), append(m.files, f)
			} else if f != nil {
				f.Close()
			}
		}
		m.mu.Unlock()
	}
}

func (m *serviceManager) file(rights []byte) *os.File {
	ms, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(ms) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&ms[0])
	if err != nil || len(fds) != 1 {
		return nil
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "held")
}

// heard reports whether a line was notified.
func (m *serviceManager) heard(line string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.said, func(s string) bool { return strings.Contains("\n"+s+"\n", "\n"+line+"\n") })
}

// start starts a guard as systemd does: with what it held.
func (m *serviceManager) start(g *guarding) {
	m.t.Helper()
	m.mu.Lock()
	g.files = slices.Clone(m.files)
	m.t.Setenv("LISTEN_FDS", strconv.Itoa(len(m.files)))
	m.t.Setenv("LISTEN_FDNAMES", strings.Join(m.names, ":"))
	m.mu.Unlock()
	g.launcher = []string{"sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}
	g.start()
}

// job is what systemd does with the service now.
func (m *serviceManager) job(what string) { outside.Write(m.t, filepath.Join(m.dir, "job"), what) }

// A caller asks for something over and over, each time anew.
type caller struct {
	mu              sync.Mutex // guards what follows
	asked           int
	refused, failed []string
}

// call asks at a socket until ctx ends.
func (c *caller) call(ctx context.Context, socket string) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				c.mu.Lock()
				c.refused = append(c.refused, err.Error())
				c.mu.Unlock()
			}
			return conn, err
		},
	}}
	for ctx.Err() == nil {
		res, err := client.Get("http://engine/_ping")
		c.mu.Lock()
		c.asked++
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if err != nil {
			c.failed = append(c.failed, err.Error())
		}
		c.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}

// TestDoorRestart: a guard whose service manager holds its sockets is restarted,
// and killed, and nobody is refused; one that is stopped leaves none of its own.
func TestDoorRestart(t *testing.T) {
	h := newGated(t, nil)
	h.install()
	h.g.stop()
	m := newServiceManager(t)
	m.job("restart")
	m.start(h.g)
	socket, own := h.w.e.Socket, []string{filepath.Join(h.g.run, "guard.sock"), filepath.Join(h.g.run, "gate.sock")}
	inode := func(path string) uint64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	door := inode(socket)
	for range 100 {
		if m.heard("READY=1") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !m.heard("READY=1") {
		t.Error("the guard does not say that it is ready")
	}
	during := func(what string, act func()) *caller {
		t.Helper()
		c := &caller{}
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		calls.Go(func() { c.call(ctx, socket) })
		time.Sleep(300 * time.Millisecond)
		act()
		time.Sleep(300 * time.Millisecond)
		cancel()
		calls.Wait()
		t.Logf("%s: asked %d times, refused %d, failed %d", what, c.asked, len(c.refused), len(c.failed))
		if c.asked < 20 {
			t.Errorf("%s: only %d requests", what, c.asked)
		}
		if len(c.refused) > 0 {
			t.Errorf("%s: of %d requests %d were refused: %s", what, c.asked, len(c.refused), c.refused[0])
		}
		if now := inode(socket); now != door {
			t.Errorf("%s: the door is another socket", what)
		}
		if said := h.privileged(socket); !strings.Contains(said, "container-privileged") {
			t.Errorf("%s: a privileged container is not refused: %q", what, said)
		}
		return c
	}
	if c := during("restarted", func() { h.g.stop(); m.start(h.g) }); len(c.failed) > 0 {
		t.Errorf("restarted: %d requests failed: %s", len(c.failed), c.failed[0])
	}
	during("killed", func() { h.g.kill(); m.start(h.g) })
	h.g.quiet()
	for _, line := range []string{"the guard is ready", "the guard leaves"} {
		if !strings.Contains(h.g.log.String(), line) {
			t.Errorf("the log does not say: %s", line)
		}
	}

	// One that hands over has the new one's sockets held.
	h.casco(0, "guard", "upgrade")
	if now := inode(socket); now == door {
		t.Error("the upgraded guard has the old socket")
	}
	m.mu.Lock()
	held := slices.Clone(m.names)
	m.mu.Unlock()
	for _, name := range held {
		if ino, path, _ := strings.Cut(name, "@"); ino != strconv.FormatUint(inode(path), 10) {
			t.Errorf("a socket of the process that is gone is held: %s", name)
		}
	}
	if len(held) == 0 {
		t.Error("no socket of the new process is held")
	}
	s, err := h.g.status()
	if err != nil {
		t.Fatal(err)
	}
	m.job("stop")
	if err := unix.Kill(s.PID, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if unix.Kill(s.PID, 0) != nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, path := range own {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("stopped, it leaves %s", path)
		}
	}
}
