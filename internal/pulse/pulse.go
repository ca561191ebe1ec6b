// Package pulse has a process prove to a child of its own that it is at work, so
// that the child can answer for it when it is not: stopped (SIGSTOP, a debugger),
// or out of processor time. The proof is a byte on a pipe. A process that ended
// closes the pipe, which is not the same as silence.
package pulse

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
)

const (
	// Every is how often to beat.
	Every = 250 * time.Millisecond
	// Silence is how long none may come, before the child answers. It is under the
	// time that people wait for an answer, and over what a loaded host takes from a
	// process.
	Silence = 2 * time.Second
)

// The descriptors of the child: the pipe, and the first of its files.
const (
	pipe  = 3
	First = 4
)

// Stopped is what a child answers in place of a guard that is silent.
var Stopped = lang.Text{
	En: "casco: the guard does not answer, and nothing is let through without it; is its process stopped? (systemctl restart casco-guard)",
	Es: "casco: la guardia no responde, y sin ella no se deja pasar nada; ¿está detenido su proceso? (systemctl restart casco-guard)",
}

// A Pulse is the end of the pipe that is beaten on.
type Pulse struct{ r, w int }

// New makes a pulse. A child that does not read never holds up who beats.
func New() (*Pulse, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	return &Pulse{fds[0], fds[1]}, nil
}

// Beat says that this process is at work.
func (p *Pulse) Beat() { unix.Write(p.w, []byte{0}) }

// Close ends the pulse: the child then ends too.
func (p *Pulse) Close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// Keep runs the command argv as a child with files as its descriptors from First
// on, and starts it again should it end, until ctx ends. The child is in a
// process group of its own, so that what stops a terminal's or a shell's job does
// not stop it; a stopped or frozen control group stops both.
func (p *Pulse) Keep(ctx context.Context, argv []string, log *slog.Logger, files ...syscall.Conn) {
	for ctx.Err() == nil {
		err := p.run(ctx, argv, files)
		if ctx.Err() != nil {
			return
		}
		log.Error("a second process ended, and is started again", "command", argv, "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// run runs a child until it ends, or ctx. It uses no os/exec, which makes the
// descriptors that it hands over wait (os.File.Fd: O_NONBLOCK is of the file and
// not of the descriptor): this process would then hang in its next accept(2).
func (p *Pulse) run(ctx context.Context, argv []string, files []syscall.Conn) error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	fds := []uintptr{uintptr(null), uintptr(null), uintptr(unix.Stderr), uintptr(p.r)}
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		own := -1
		ctlErr := raw.Control(func(fd uintptr) { own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		if err := errors.Join(ctlErr, err); err != nil {
			return err
		}
		defer unix.Close(own)
		fds = append(fds, uintptr(own))
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: fds, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return err
	}
	child, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { child.Kill() })()
	state, err := child.Wait()
	if err != nil {
		return err
	}
	return errors.New(state.String())
}

// Wait waits in the child for its parent to beat, at most for limit.
func Wait(limit time.Duration) (beats, gone bool, err error) {
	fds := []unix.PollFd{{Fd: pipe, Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(limit.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return true, false, nil
	}
	if err != nil || n == 0 {
		return false, false, err
	}
	var b [64]byte
	switch n, err = unix.Read(pipe, b[:]); {
	case errors.Is(err, unix.EAGAIN):
		return true, false, nil
	case err != nil:
		return false, false, err
	}
	return n > 0, n == 0, nil
}
