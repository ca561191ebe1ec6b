package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// beatEvery is how often the guard says that it reads the kernel's questions.
	beatEvery = 250 * time.Millisecond

	// silence is how long it may not, before Second answers in its place. It is
	// under the time that people wait for a start, and over what a loaded host
	// takes from the guard.
	silence = 2 * time.Second
)

// Second is the whole life of the process that WatchConfig.Second names, a child
// of the guard. It has the fanotify group as descriptor 3 and a pipe from the
// guard as 4. While the guard beats on the pipe it does nothing. When the guard
// is silent for two seconds, as one that is stopped is, it answers in its place
// and lets all pass: what the guard has read and not answered, by the numbers of
// the guard's descriptors, which are what the kernel knows an event by
// (fanotify_user.c, process_access_response), and what is still to be read. When
// the guard beats again, it leaves the rest to it. "docker run" with a stopped
// guard took 2.2 to 2.4 s. When the guard is gone, it is gone at once, for the
// kernel holds an exec as long as anybody has the group.
//
// It lets all pass because a denial would also hit the "kill" and "delete" by
// which an operator helps himself; who must fail closed uses the wrapper. It is
// in a process group of its own, so that what stops a terminal's or a shell's
// job does not stop it; a stopped or frozen control group stops both.
func Second() error {
	const fan, pipe = 3, 4
	if err := errors.Join(unix.SetNonblock(fan, true), unix.SetNonblock(pipe, true)); err != nil {
		return fmt.Errorf("gate: descriptors 3 and 4 are for fanotify and a pipe: %w", err)
	}
	for {
		beats, gone, err := wait(pipe, silence)
		switch {
		case err != nil:
			return err
		case gone:
			return nil
		case !beats:
			fmt.Fprintln(os.Stderr, "gate: the guard is silent; starts pass unjudged")
			allowRead(fan, os.Getppid())
			for allowUnread(fan) {
				if beats, gone, err = wait(pipe, 10*time.Millisecond); beats || gone || err != nil {
					break
				}
			}
		}
	}
}

// wait waits for the guard to beat, at most for limit.
func wait(pipe int, limit time.Duration) (beats, gone bool, err error) {
	fds := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(limit.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return true, false, nil
	}
	if err != nil || n == 0 {
		return false, false, err
	}
	var b [64]byte
	n, err = unix.Read(pipe, b[:])
	return n > 0, n == 0, err
}

// allowRead lets pass what the guard has read: every number of a descriptor of
// its may be one; the kernel does not know the others (ENOENT).
func allowRead(fan, guard int) {
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(guard) + "/fd")
	if err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			respond(fan, fd, true)
		}
	}
}

// allowUnread lets pass what nobody has read yet. It returns true: the guard is
// to be listened to again.
func allowUnread(fan int) bool {
	buf := make([]byte, 4<<10)
	for {
		n, err := unix.Read(fan, buf)
		if err != nil || n <= 0 {
			return true
		}
		for _, q := range parseEvents(buf[:n]) {
			respond(fan, q.fd, true)
			unix.Close(q.fd)
		}
	}
}

// A pulse is the pipe to Second.
type pulse struct {
	r *os.File
	w int
}

// newPulse makes the pipe so that a Second that does not read never holds us.
func newPulse() (*pulse, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	return &pulse{os.NewFile(uintptr(fds[0]), "pulse"), fds[1]}, nil
}

func (p *pulse) beat() { unix.Write(p.w, []byte{0}) }

func (p *pulse) close() {
	p.r.Close()
	unix.Close(p.w)
}

// keep runs Second, and starts it again should it end, until ctx ends.
func (p *pulse) keep(ctx context.Context, argv []string, fan *os.File, log *slog.Logger) {
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.ExtraFiles = []*os.File{fan, p.r}
		cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err := cmd.Run()
		if ctx.Err() != nil {
			return
		}
		log.Error("gate: Second ended, and is started again", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}
