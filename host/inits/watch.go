package inits

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Intervals at which all processes are looked through.
const (
	// lookEvery is for what the kernel's events do not show: a root that was changed
	// without an execve after it, an event that was lost.
	lookEvery = 30 * time.Second
	// pollEvery is for a kernel that tells of no process.
	pollEvery = time.Second
)

// Watch tells found of each container that runs or begins, once, until ctx
// ends. Found must not wait. It needs CAP_NET_ADMIN and CAP_SYS_PTRACE in the
// host's own namespaces. Where the kernel tells of no process (CONFIG_PROC_EVENTS)
// all are looked through each second, and what lives for less may be missed.
func Watch(ctx context.Context, found func(Init), log *slog.Logger) error {
	w := &watch{found: found, known: map[uint64]Init{}}
	var err error
	if w.host, err = theHost(); err != nil {
		return err
	}
	events, err := listen()
	every := lookEvery
	if err != nil {
		log.Warn("containers that others make are looked for each second", "err", err)
		every = pollEvery
	} else {
		defer events.Close()
	}
	if err := w.look(); err != nil {
		return err
	}
	if events == nil {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(every):
			}
			if err := w.look(); err != nil {
				log.Error("processes not looked through", "err", err)
			}
		}
	}
	return w.follow(ctx, events, log)
}

// A watch knows which containers were told of.
type watch struct {
	host  *host
	found func(Init)
	known map[uint64]Init // by the number of its mount namespace
}

// knows reports whether a namespace is that of a container that was told of. The
// kernel gives the number of one that is gone to the next.
func (w *watch) knows(space uint64) bool {
	i, ok := w.known[space]
	if !ok || !i.Alive() {
		return false
	}
	now, _ := w.host.apart(i.PID)
	return now == space
}

// look tells of all that is not known, and forgets what is no more.
func (w *watch) look() error {
	all, err := List()
	if err != nil {
		return err
	}
	there := map[uint64]Init{}
	for _, i := range all {
		if w.knows(i.Space) {
			i = w.known[i.Space]
		} else {
			w.found(i)
		}
		there[i.Space] = i
	}
	w.known = there
	return nil
}

// begun is told of a process that began another program.
func (w *watch) begun(pid int) {
	space, ok := w.host.apart(pid)
	if !ok || w.knows(space) {
		return
	}
	if i, ok := w.host.read(pid, space); ok {
		w.known[space] = i
		w.found(i)
	}
}

func (w *watch) follow(ctx context.Context, events *os.File, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 64<<10)
	next := time.Now().Add(lookEvery)
	for {
		events.SetReadDeadline(next)
		if ctx.Err() != nil {
			return nil
		}
		n, err := events.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.ENOBUFS): // more happened than was read
			next = time.Now()
		case err != nil:
			return fmt.Errorf("process events: %w", err)
		}
		for _, pid := range execs(buf[:max(n, 0)]) {
			w.begun(pid)
		}
		if now := time.Now(); !now.Before(next) {
			if err := w.look(); err != nil {
				log.Error("processes not looked through", "err", err)
			}
			next = now.Add(lookEvery)
		}
	}
}

// The message of an event: struct nlmsghdr (linux/netlink.h), struct cn_msg
// (linux/connector.h) and struct proc_event (linux/cn_proc.h): what u32, cpu u32,
// timestamp u64, process_pid s32, process_tgid s32.
const (
	headSize    = unix.SizeofNlMsghdr
	messageSize = headSize + 20
	eventSize   = messageSize + 24
	whatAt      = messageSize
	tgidAt      = messageSize + 20

	cnIdxProc  = 1 // CN_IDX_PROC, which is the multicast group too
	cnValProc  = 1
	listenOp   = 1 // PROC_CN_MCAST_LISTEN
	execEvent  = 2 // PROC_EVENT_EXEC
	receiveBuf = 4 << 20
)

// listen opens the kernel's process events, only those of execve: a filter keeps
// the others from waking us.
func listen() (f *os.File, err error) {
	if known, err := os.ReadFile("/proc/net/connector"); err != nil || !bytes.Contains(known, []byte("cn_proc")) {
		return nil, fmt.Errorf("%w: %w", errNoEvents, errors.Join(err, errors.New("the kernel has no connector cn_proc here")))
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEvents, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			err = fmt.Errorf("%w: %w", errNoEvents, err)
		}
	}()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: whatAt}, // big-endian
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: bigEndian(execEvent), Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16}, // all of it
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return nil, err
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuf); err != nil {
		return nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		return nil, err
	}
	ask := make([]byte, messageSize+4)
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(ask[headSize:], cnIdxProc)
	binary.NativeEndian.PutUint32(ask[headSize+4:], cnValProc)
	binary.NativeEndian.PutUint16(ask[headSize+16:], 4)
	binary.NativeEndian.PutUint32(ask[messageSize:], listenOp)
	if err = unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "process events"), nil
}

// bigEndian is a number of this machine as a filter loads it.
func bigEndian(n uint32) uint32 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], n)
	return binary.BigEndian.Uint32(b[:])
}

// execs are the processes that began another program, of what was read.
func execs(b []byte) (pids []int) {
	for len(b) >= headSize {
		n := int(binary.NativeEndian.Uint32(b))
		if n < headSize || n > len(b) {
			break
		}
		if n >= eventSize && binary.NativeEndian.Uint32(b[whatAt:]) == execEvent {
			pids = append(pids, int(int32(binary.NativeEndian.Uint32(b[tgidAt:]))))
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return pids
}
