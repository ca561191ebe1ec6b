package gate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/ocicall"
	"casco/internal/pulse"
	"casco/lang"
)

// A WatchConfig says what Watch watches, and what becomes of a start that
// nobody judged.
type WatchConfig struct {
	// Binaries are the paths of the runtimes: what the shim calls, by its own
	// PATH, and what stands behind wrappers. At least one.
	Binaries []string
	// Roots are patterns (filepath.Match) of the runtimes' roots:
	// /run/docker/runtime-*/*. They are looked through where the arguments of a
	// call cannot be read.
	Roots []string
	// Deadline is how long one start is held at most; 5 s if it is 0. A judge
	// gets nine tenths of it.
	Deadline time.Duration
	// Fail says whether a container may start that could not be judged in time.
	// It must answer at once. It may be asked about a Start without an ID: a
	// call of the runtime of which nothing could be told. A nil Fail lets all
	// pass.
	Fail func(Start) bool
	// Second is the command, with its arguments, of a process that calls the
	// function Second. None if it is empty.
	Second []string
	// Lapsed is told, if it is not nil, for how long Watch read nothing, when
	// that was so long that Second may have let starts pass: the time to look
	// at Running. It must return at once.
	Lapsed func(time.Duration)
}

// Find returns those of the usual runtimes that are where packages put them.
func Find() []string {
	var found []string
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"} {
		for _, name := range []string{"runc", "crun", "runsc", "sysbox-runc", "nvidia-container-runtime"} {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				found = append(found, path)
			}
		}
	}
	return found
}

// Watch holds each exec of the runtimes (fanotify(7), FAN_OPEN_EXEC_PERM, Linux
// 5.0) until ctx ends. It needs CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_KILL, and the
// host's PID and mount namespaces.
//
// The kernel asks while execve(2) is under way: the new program has no
// /proc/PID/cmdline yet, but the arguments are in the caller's memory, where
// the call's registers point. They name the container. So a create and a start
// are judged, each at its own time: newer engines (29; 20.10 does not) put the
// network in between the two, and whoever judged at the next exec of anything
// would judge too early. Where they cannot be read (before Linux 5.8, or refused),
// every container that is made and not started is judged at every exec of the
// runtime, and a judge may meet one that has no address yet.
//
// What is refused gets its reason into the runtime's --log, its init, if there is
// one, killed and its exec denied (EPERM). docker then says the reason, as with
// the wrapper, and nothing is left over. The denial alone would leave the shim and
// the init, and the next start would fail with "id already in use" (Docker 20.10). Without the
// arguments, the init is killed and the exec let pass; the runtime then says that
// the container has stopped, and the reason is in our log alone.
//
// A runtime that is replaced stays watched. A file that is made beside it under
// a name that begins with its own, as dpkg and rpm do before they rename it, is
// watched before it is the runtime. One that is moved there from elsewhere, or a
// link that is set anew, is watched a moment later: 0.3 ms, and once in 200 times
// 12 ms, on two busy cores.
//
// The engine is never held for longer than the deadline: a judge that hangs is
// answered for. A guard that is killed lets all pass, for its descriptor is
// closed with it, and fanotify fails open. A guard that is stopped (SIGSTOP, a
// debugger) would hold every call of a runtime, in an uninterruptible sleep, and
// only Second cures that; one whose whole control group is frozen, only thawing.
//
// The process of the guard must never execute a watched runtime itself, nor what
// it calls: Go's fork keeps the forking thread from being stopped until the exec
// is through (syscall, forkAndExecInChild), so a garbage collection in that
// moment stops all others, who would have to answer, and waits for it. It does
// happen: a guard that ran the runtime some hundred times stood still for good.
// Second would have answered for it after two seconds.
//
// When ctx ends, what is held is still judged, and then Watch returns.
func Watch(ctx context.Context, cfg WatchConfig, judge Judge, log *slog.Logger) error {
	if cfg.Deadline <= 0 {
		cfg.Deadline = 5 * time.Second
	}
	if cfg.Fail == nil {
		cfg.Fail = func(Start) bool { return true }
	}
	if len(cfg.Binaries) == 0 {
		return lang.Errorf(lang.Text{En: "no runtime to watch", Es: "ningún runtime que vigilar"})
	}
	// FAN_REPORT_TID, Linux 4.20: the thread that calls execve, whose registers
	// are read, need not be the process's first.
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_REPORT_TID,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		return lang.Errorf(lang.Text{En: "fanotify_init: %w", Es: "fanotify_init: %w"}, err)
	}
	w := &watcher{cfg: cfg, bench: newBench(judge), log: log, fd: fd, fan: os.NewFile(uintptr(fd), "fanotify")}
	defer w.fan.Close()
	m, err := newMarks(fd, cfg.Binaries, log)
	if err != nil {
		return err
	}
	var beside sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer beside.Wait()
	defer m.close()
	defer cancel()
	beside.Go(func() { m.keep(ctx) })

	beat := func() {}
	if len(cfg.Second) > 0 {
		p, err := pulse.New()
		if err != nil {
			return err
		}
		defer p.Close()
		beat = p.Beat
		beside.Go(func() { p.Keep(ctx, cfg.Second, log, w.fan) })
	}
	return w.read(ctx, beat)
}

// A watcher answers the kernel.
type watcher struct {
	cfg   WatchConfig
	bench *bench
	log   *slog.Logger
	fd    int // of fan
	fan   *os.File
	held  sync.WaitGroup
}

// read reads the kernel's questions until ctx ends. Each is answered by a
// goroutine of its own. It also beats for Second: what proves that questions
// are read is done by who reads them.
func (w *watcher) read(ctx context.Context, beat func()) error {
	stop := context.AfterFunc(ctx, func() { w.fan.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer w.held.Wait()
	buf := make([]byte, 16<<10)
	last := time.Now()
	for {
		if still := time.Since(last); still >= pulse.Silence {
			w.log.Error("gate: the guard stood still; what started meanwhile may not have been judged", "for", still)
			if w.cfg.Lapsed != nil {
				w.cfg.Lapsed(still)
			}
		}
		last = time.Now()
		beat()
		w.fan.SetReadDeadline(time.Now().Add(pulse.Every))
		if ctx.Err() != nil {
			return nil
		}
		n, err := w.fan.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.EINTR):
			// The event's own file could not be opened: the kernel has denied it
			// (fanotify_user.c, copy_event_to_user), and the next may be well.
			w.log.Error("gate: an exec of a runtime was not seen", "err", err)
			time.Sleep(time.Millisecond)
			continue
		case err != nil:
			return lang.Errorf(lang.Text{En: "fanotify: %w", Es: "fanotify: %w"}, err)
		}
		for _, q := range parseEvents(buf[:n]) {
			w.held.Go(func() { w.hold(ctx, q) })
		}
	}
}

// A question is an exec that the kernel holds.
type question struct {
	fd  int // the program's file, ours to close
	tid int // the thread that calls execve
}

// parseEvents reads struct fanotify_event_metadata (linux/fanotify.h): event_len
// u32, vers u8, reserved u8, metadata_len u16, mask u64, fd s32, pid s32.
func parseEvents(b []byte) []question {
	const size = 24
	var all []question
	for len(b) >= size {
		n := int(binary.NativeEndian.Uint32(b))
		if n < size || n > len(b) {
			break
		}
		fd := int32(binary.NativeEndian.Uint32(b[16:]))
		if fd >= 0 && b[4] == unix.FANOTIFY_METADATA_VERSION {
			all = append(all, question{int(fd), int(int32(binary.NativeEndian.Uint32(b[20:])))})
		}
		b = b[n:]
	}
	return all
}

// respond answers the kernel, struct fanotify_response.
func respond(fan, fd int, allow bool) error {
	var b [8]byte
	binary.NativeEndian.PutUint32(b[:], uint32(int32(fd)))
	verdict := uint32(unix.FAN_DENY)
	if allow {
		verdict = unix.FAN_ALLOW
	}
	binary.NativeEndian.PutUint32(b[4:], verdict)
	_, err := unix.Write(fan, b[:])
	return err
}

// hold answers one question, by the deadline whatever else happens: finding out
// who starts reads files of processes that we know nothing about.
func (w *watcher) hold(ctx context.Context, q question) {
	defer unix.Close(q.fd)
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", q.fd))
	if err != nil {
		path = ""
	}
	s := Start{Runtime: strings.TrimSuffix(path, " (deleted)"), Way: wayFanotify}
	verdict := make(chan bool, 1)
	go func() { verdict <- w.decide(ctx, q.tid, s) }() // not waited for: see above
	late := time.NewTimer(w.cfg.Deadline)
	defer late.Stop()
	var allow bool
	select {
	case allow = <-verdict:
	case <-late.C:
		allow = w.cfg.Fail(s)
		w.log.Error("gate: could not tell in time what a runtime is called for", "runtime", s.Runtime, "allowed", allow)
	}
	switch err := respond(w.fd, q.fd, allow); {
	case errors.Is(err, unix.ENOENT):
		w.log.Error("gate: Second let a call of a runtime pass before it was judged", "runtime", s.Runtime)
	case err != nil:
		w.log.Error("gate: fanotify", "err", err)
	}
}

// decide judges what the runtime, about to be executed by thread tid, starts.
func (w *watcher) decide(ctx context.Context, tid int, s Start) (allow bool) {
	args, err := execArgs(tid)
	if err != nil || len(args) == 0 {
		w.log.Warn("gate: the arguments of a runtime cannot be read", "runtime", s.Runtime, "err", err)
		w.decideAll(ctx, s)
		return true
	}
	call := ocicall.Parse(args[1:])
	if !call.Held() || !ocicall.ValidID(call.ID) { // the runtime refuses such an ID itself
		return true
	}
	s.ID, s.Root, s.Bundle, s.Verb, s.Caller = call.ID, call.Root, call.Bundle, call.Verb, tid
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", tid))
	if err != nil {
		dir = ""
	}
	limit := w.cfg.Deadline * 9 / 10
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s, err = whereabouts(s, dir); err == nil {
		err = w.bench.try(ctx, s, limit)
	}
	if w.passes(s, err, began) {
		return true
	}
	if err := call.AppendLog(time.Now(), "casco: not started: "+err.Error()); err != nil {
		w.log.Warn("gate: the engine is not told why", "container", s.ID, "err", err)
	}
	w.end(s)
	return false
}

// decideAll judges all that is made and not started, one after the other.
func (w *watcher) decideAll(ctx context.Context, seen Start) {
	limit := w.cfg.Deadline * 9 / 10
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, s := range w.pending() {
		s.Runtime, s.Way = seen.Runtime, wayFanotify
		began := time.Now()
		if err := w.bench.try(ctx, s, limit); !w.passes(s, err, began) {
			w.end(s)
		}
	}
}

// pending is Pending over all roots.
func (w *watcher) pending() []Start {
	var all []Start
	for _, pattern := range w.cfg.Roots {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			w.log.Error("gate: roots", "pattern", pattern, "err", err)
		}
		for _, root := range roots {
			some, err := Pending(root)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
				w.log.Warn("gate: containers that wait", "root", root, "err", err)
			}
			all = append(all, some...)
		}
	}
	return all
}

// passes applies the fail mode to what a judge said, and logs it.
func (w *watcher) passes(s Start, err error, began time.Time) bool {
	may := err == nil || unjudged(err) && w.cfg.Fail(s)
	level, reason := slog.LevelInfo, ""
	if err != nil {
		level, reason = slog.LevelWarn, err.Error()
	}
	w.log.Log(context.Background(), level, "gate: start", "container", s.ID, "verb", s.Verb, "allowed", may, "reason", reason, "took", time.Since(began))
	return may
}

// end kills the init of a refused container, which waits in the runtime's code,
// and sees it gone: the engine deletes the container next, and could not while
// it lives.
func (w *watcher) end(s Start) {
	if s.PID <= 1 {
		return
	}
	if err := kill(s.PID); err != nil {
		w.log.Error("gate: the init of a refused container", "container", s.ID, "pid", s.PID, "err", err)
	}
}

// settle is how long the shim is given between reaping the init and hearing of
// the denied start. It holds a lock during the start, on which the goroutine
// that will note the init's end must be waiting by then; else the engine may
// delete the container before, "task must be stopped before deletion", and leave
// the shim (containerd 1.6, pkg/process/init.go).
const settle = 20 * time.Millisecond

// killPatience is how long a killed process may take to be reaped.
const killPatience = time.Second

// kill ends a process and waits until its parent has reaped it.
func kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0) // Linux 5.3
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for end := time.Now().Add(killPatience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		switch {
		case errors.Is(err, unix.ESRCH):
			time.Sleep(settle)
			return nil
		case err != nil:
			return err
		}
	}
	return lang.Errorf(lang.Text{En: "process %d is still there after SIGKILL", Es: "el proceso %d sigue ahí después de SIGKILL"}, pid)
}
