package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"casco/api"
	"casco/lang"
)

// A guard is replaced without a lost request: a new process is started beside the
// old one, with a socket between them. It makes ready and says so; the old one
// lets go of the networks; the new one takes the paths of all sockets, each in
// one act, and says that it serves. From then on clients come to it. The old one
// passes it the connections that wait for a request, goes on with what is under
// way, and ends when that has. What starts meanwhile is held by both. It works
// alike with systemd, which is told of the new main process, and without.

// What is said over the socket (SOCK_SEQPACKET: a word is a packet).
const (
	wordReady   = "ready"   // the new process: it could begin
	wordGo      = "go"      // the old one: its turn
	wordServing = "serving" // the new one: it is at work
	wordConn    = "conn"    // the old one: here is a connection (SCM_RIGHTS)
)

// heirEnv names the descriptor of that socket for the new process.
const heirEnv = "CASCO_HEIR"

// An heir is this process where it takes over from another; nil where not.
type heir struct {
	socket *net.UnixConn
	conns  chan *net.UnixConn
	over   chan struct{} // closed when this process ends
}

// inherit returns nil if nobody started this process to take over.
func inherit() (*heir, error) {
	s := os.Getenv(heirEnv)
	if s == "" {
		return nil, nil
	}
	os.Unsetenv(heirEnv)
	fd, err := strconv.Atoi(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", heirEnv, err)
	}
	socket, err := socketOfFd(fd)
	if err != nil {
		return nil, err
	}
	return &heir{socket, make(chan *net.UnixConn), make(chan struct{})}, nil
}

func socketOfFd(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, lang.Errorf(lang.Text{En: "descriptor %d is no unix socket", Es: "el descriptor %d no es un socket unix"}, fd)
	}
	return u, nil
}

func (h *heir) close() {
	if h != nil {
		close(h.over)
		h.socket.Close()
	}
}

// connections are those that the old process passes on.
func (h *heir) connections() <-chan *net.UnixConn {
	if h == nil {
		return nil
	}
	return h.conns
}

// takeTurn says that this process is ready and waits for its turn.
func (h *heir) takeTurn(ctx context.Context) error {
	if _, err := h.socket.Write([]byte(wordReady)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { h.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return hear(h.socket, wordGo)
}

// serving says that this process is at work, and from then on takes the
// connections that the old one passes on.
func (h *heir) serving() error {
	if h == nil {
		return nil
	}
	if _, err := h.socket.Write([]byte(wordServing)); err != nil {
		return err
	}
	go h.receive()
	return nil
}

// receive ends with the old process.
func (h *heir) receive() {
	defer close(h.conns)
	word, rights := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	for {
		_, n, _, _, err := h.socket.ReadMsgUnix(word, rights)
		if err != nil || n == 0 {
			return
		}
		ms, err := unix.ParseSocketControlMessage(rights[:n])
		if err != nil || len(ms) != 1 {
			continue
		}
		fds, err := unix.ParseUnixRights(&ms[0])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			if c, err := socketOfFd(fd); err == nil {
				h.passOn(c)
			}
		}
	}
}

// takeTime is how long a door may take to take a connection.
const takeTime = 5 * time.Second

// passOn gives a connection to the door. Where there is none any more its client is
// told so by its end, and comes again.
func (h *heir) passOn(c *net.UnixConn) {
	late := time.NewTimer(takeTime)
	defer late.Stop()
	select {
	case h.conns <- c:
	case <-late.C:
		c.Close()
	case <-h.over:
		c.Close()
	}
}

// hear wants a word.
func hear(c *net.UnixConn, want string) error {
	b := make([]byte, 16)
	n, err := c.Read(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return lang.Errorf(lang.Text{En: "the other process does not say %q in time", Es: "el otro proceso no dice %q a tiempo"}, want)
	case errors.Is(err, io.EOF) || n == 0:
		return lang.Errorf(lang.Text{En: "the other process ended before it said %q; its log says why", Es: "el otro proceso terminó antes de decir %q; su registro dice por qué"}, want)
	case err != nil:
		return err
	case string(b[:n]) != want:
		return lang.Errorf(lang.Text{En: "the other process says %q, want %q", Es: "el otro proceso dice %q, se quería %q"}, b[:n], want)
	}
	return nil
}

// A successor is the process that takes over from this one.
type successor struct {
	socket *net.UnixConn
	cmd    *exec.Cmd
}

// How long a new process may take: it reads the host, as each does that starts.
const (
	readyTime   = time.Minute
	servingTime = 2 * time.Minute
)

// startSuccessor starts program as a guard with this one's arguments, and returns
// once that is ready.
func startSuccessor(program string) (*successor, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	ours, err := socketOfFd(pair[0])
	if err != nil {
		theirs.Close()
		return nil, err
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	for _, kv := range os.Environ() {
		// The watchdog's process is this one; the new one is asked for by MAINPID.
		if !strings.HasPrefix(kv, "WATCHDOG_PID=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, heirEnv+"=3") // the first of ExtraFiles
	err = cmd.Start()
	theirs.Close() // it is theirs alone: its end is theirs
	if err != nil {
		ours.Close()
		return nil, err
	}
	go cmd.Wait() // it may end before this process does
	s := &successor{ours, cmd}
	if err := s.hear(wordReady, readyTime); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *successor) hear(want string, within time.Duration) error {
	s.socket.SetReadDeadline(time.Now().Add(within))
	return hear(s.socket, want)
}

// end ends a successor that did not succeed.
func (s *successor) end() {
	s.cmd.Process.Kill()
	s.socket.Close()
}

// take is given a connection.
func (s *successor) take(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	s.socket.SetWriteDeadline(time.Now().Add(5 * time.Second))
	cerr := raw.Control(func(fd uintptr) {
		_, _, err = s.socket.WriteMsgUnix([]byte(wordConn), unix.UnixRights(int(fd)), nil)
	})
	return errors.Join(cerr, err)
}

// Upgrade is a method of api.Guard. A program that does not come so far as to be
// ready changes nothing; one that fails later is replaced by the one that this
// process is, of which the kernel has the file still.
func (g *guard) Upgrade(context.Context) error {
	if !g.upgrading.TryLock() {
		return lang.Errorf(lang.Text{En: "another process is taking over already", Es: "otro proceso está tomando ya el relevo"})
	}
	program, err := os.Executable()
	if err != nil {
		g.upgrading.Unlock()
		return err
	}
	s, err := startSuccessor(strings.TrimSuffix(program, " (deleted)"))
	if err != nil {
		g.upgrading.Unlock()
		return err
	}
	// From here on there is no way back, only forward.
	g.yielded.Store(true)
	g.yield()
	failed := s.serve()
	if failed != nil {
		g.log.Error("the new process failed: this one's program takes over again", "err", failed)
		if s, err = startSuccessor("/proc/self/exe"); err == nil {
			err = s.serve()
		}
		if err != nil {
			g.broken <- err
			return errors.Join(failed, err)
		}
	}
	g.shelf.Clear() // it is listened to as long as it is the main process
	if _, err := daemon.SdNotify(false, "MAINPID="+strconv.Itoa(s.cmd.Process.Pid)); err != nil {
		g.log.Warn("systemd was not told of the new process", "err", err)
	}
	g.log.Info("another process has taken over", "pid", s.cmd.Process.Pid)
	g.gates.handOn = s.take
	close(g.gates.leave)
	return failed
}

// serve gives it its turn, and waits until it is at work.
func (s *successor) serve() error {
	_, err := s.socket.Write([]byte(wordGo))
	if err == nil {
		err = s.hear(wordServing, servingTime)
	}
	if err != nil {
		s.end()
	}
	return err
}

func guardUpgradeCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "upgrade",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := api.NewClient(a.runPath).Upgrade(cmd.Context()); err != nil {
				return err
			}
			st, err := api.NewClient(a.runPath).Status(cmd.Context()) // of the new one
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"pid": st.ProcessID, "version": st.Version})
			}
			fmt.Fprintln(a.out, lang.Text{En: "process %d, casco %s, has taken over", Es: "el proceso %d, casco %s, ha tomado el relevo"}.F(st.ProcessID, st.Version).In(a.lang))
			return nil
		},
	}, lang.Text{
		En: "Replace the guard by its program as it is on the disk now, without a lost request",
		Es: "Reemplaza la guardia por su programa tal como está ahora en disco, sin perder una petición",
	}, lang.Text{
		En: "Replace the guard by its program as it is on the disk now: after an upgrade, or to restart it (systemctl reload casco-guard does it). " +
			"The new process takes over every socket; running requests and streams end in the old one, which then ends. One that " +
			"cannot start changes nothing.\n\nExit codes: 0 it has taken over, 1 trouble.",
		Es: "Reemplaza la guardia por su programa tal como está ahora en disco: tras actualizarlo, o para reiniciarla (systemctl reload casco-guard lo hace). " +
			"El proceso nuevo toma todos los sockets; las peticiones y flujos en curso acaban en el viejo, que luego termina. Uno que " +
			"no puede arrancar no cambia nada.\n\nCódigos de salida: 0 tomó el relevo, 1 problema.",
	})
}
