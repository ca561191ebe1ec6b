// Package shelf has systemd hold the listening sockets of a service while its
// process is away, so that who connects meanwhile waits and is not refused. They
// are handed over with FDSTORE=1 (sd_pid_notify_with_fds(3)), and come back to
// the next process as LISTEN_FDS (sd_listen_fds(3)), if the unit has
// FileDescriptorStoreMax=. Without systemd it holds nothing.
//
// A socket is known by its path and the inode that is there: FDNAME=INODE@PATH.
// Where the path leads to another socket by now, the old one is of no use.
package shelf

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"casco/internal/unixsock"
)

// A Shelf holds sockets by the names that systemd knows them by.
type Shelf struct {
	notify string // address of systemd's socket; "" without systemd

	mu   sync.Mutex // guards what follows
	held map[string]*unixsock.Listener
	back map[string]*unixsock.Listener // what came back and was not taken yet
}

// New takes what systemd held for the process before this one. The variables are
// taken out of the environment.
func New() *Shelf {
	s := &Shelf{notify: os.Getenv("NOTIFY_SOCKET"), held: map[string]*unixsock.Listener{}, back: map[string]*unixsock.Listener{}}
	for _, f := range activation.Files(true) {
		_, at, _ := strings.Cut(f.Name(), "@")
		l, err := unixsock.Adopt(f, at)
		if err == nil && name(l) == f.Name() {
			s.back[f.Name()] = l
			continue
		}
		if err == nil {
			l.Close()
		}
		s.say("FDSTOREREMOVE=1\nFDNAME=" + f.Name())
	}
	return s
}

// name is how systemd knows a socket; "" if it cannot (systemd.exec(5),
// FDNAME=: 255 characters of ASCII, and no colon).
func name(l *unixsock.Listener) string {
	n := strconv.FormatUint(l.Inode(), 10) + "@" + l.Path()
	for _, c := range n {
		if c <= ' ' || c >= 127 || c == ':' {
			return ""
		}
	}
	if len(n) > 255 {
		return ""
	}
	return n
}

// Take returns the socket at path that systemd held, for root and that group now;
// nil if it held none. It is held on.
func (s *Shelf) Take(path string, gid int) (*unixsock.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, l := range s.back {
		if l.Path() == path && l.There() {
			delete(s.back, n)
			s.held[n] = l
			return l, l.Give(gid)
		}
	}
	return nil, nil
}

// Has reports whether Take would return a socket.
func (s *Shelf) Has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.back {
		if l.Path() == path && l.There() {
			return true
		}
	}
	return false
}

// Put has systemd hold a socket too.
func (s *Shelf) Put(l *unixsock.Listener) {
	n := name(l)
	if n == "" {
		return
	}
	s.mu.Lock()
	s.held[n] = l
	s.mu.Unlock()
	s.push(n, l)
}

// Again hands over all of them anew, which costs nothing where they are held: a
// process that has taken over from another was not listened to at first.
func (s *Shelf) Again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, l := range s.held {
		s.push(n, l)
	}
}

// Drop has a socket no longer held.
func (s *Shelf) Drop(l *unixsock.Listener) {
	n := name(l)
	s.mu.Lock()
	_, held := s.held[n]
	delete(s.held, n)
	s.mu.Unlock()
	if held {
		s.say("FDSTOREREMOVE=1\nFDNAME=" + n)
	}
}

// Rest drops what came back and nobody took, with its path.
func (s *Shelf) Rest() {
	s.mu.Lock()
	back := s.back
	s.back = map[string]*unixsock.Listener{}
	s.mu.Unlock()
	for n, l := range back {
		_ = l.Remove() // whoever has the path now has taken it
		l.Close()
		s.say("FDSTOREREMOVE=1\nFDNAME=" + n)
	}
}

// Clear drops all: nobody is to wait for a process that does not come.
func (s *Shelf) Clear() {
	s.Rest()
	s.mu.Lock()
	held := s.held
	s.held = map[string]*unixsock.Listener{}
	s.mu.Unlock()
	for n := range held {
		s.say("FDSTOREREMOVE=1\nFDNAME=" + n)
	}
}

// Stay has the paths of those that are held stay when their servers end.
func (s *Shelf) Stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.held {
		l.Stay()
	}
}

// push hands a socket to systemd. FDPOLL=0: one that nobody listens at for a
// while is not thrown away for it.
func (s *Shelf) push(name string, l *unixsock.Listener) {
	raw, err := l.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) { s.say("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, int(fd)) })
}

// say tells systemd something (sd_notify(3)). What is not heard is as without
// systemd: sockets are then made anew.
func (s *Shelf) say(what string, fds ...int) {
	if s.notify == "" {
		return
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = unix.Sendmsg(fd, []byte(what), rights, &unix.SockaddrUnix{Name: s.notify}, 0) // "@" stands for an abstract name
}

// UnitEnv names the variable in which a service is told its own name
// (Environment=CASCO_UNIT=%n).
const UnitEnv = "CASCO_UNIT"

// Returns reports whether systemd holds the sockets of this service, and starts
// it anew once this process has ended: its job says so.
func (s *Shelf) Returns(ctx context.Context) (bool, error) {
	unit := os.Getenv(UnitEnv)
	if s.notify == "" || unit == "" {
		return false, nil
	}
	held, err := systemctl(ctx, "show", "--property=NFileDescriptorStore", "--value", "--", unit)
	if err != nil || held == "0" {
		return false, err
	}
	jobs, err := systemctl(ctx, "list-jobs", "--no-legend", "--no-pager", "--", unit)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(jobs) { // JOB UNIT TYPE STATE
		if w := strings.Fields(line); len(w) >= 3 && w[1] == unit && w[2] == "restart" {
			return true, nil
		}
	}
	return false, nil
}

func systemctl(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", args...).Output()
	if err != nil {
		return "", fmt.Errorf("systemctl %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
