package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"casco/internal/pulse"
	"casco/lang"
)

// Second is the whole life of the process that Config.Second names, a child of
// the plugin's: pulse.StandIn. When the plugin is silent for two seconds, as a
// process that is stopped is, it takes the engine's questions in its place and
// refuses all; and it ends the connections that the plugin has, on which a
// question may wait for an answer: the engine then asks again, and is refused.
//
// Without it the engine would wait until the plugin goes on or is killed, for it
// has no time-out.
func Second(l lang.Lang) error {
	return pulse.StandIn(refusing(l), func(plugin int) error { return hangUp(plugin, pulse.First) })
}

// refusing answers as a plugin that lets nothing pass. What was asked before is
// let come to its end: AuthZRes.
func refusing(l lang.Lang) http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, v any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", contentType)
			json.NewEncoder(w).Encode(v)
		})
	}
	answer("POST /Plugin.Activate", map[string]any{"Implements": []string{"authz"}})
	answer("POST /AuthZPlugin.AuthZReq", response{Msg: pulse.Stopped.In(l)})
	answer("POST /AuthZPlugin.AuthZRes", response{Allow: true})
	return mux
}

// hangUp ends the connections that process pid has taken from a listener: its
// sockets of the same address (pidfd_getfd(2), Linux 5.6, which asks for what
// ptrace(2) does).
func hangUp(pid, listener int) error {
	name, err := nameOf(listener)
	if err != nil {
		return err
	}
	proc, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(proc)
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range fds {
		what, err := os.Readlink(dir + e.Name())
		theirs, err2 := strconv.Atoi(e.Name())
		if err != nil || err2 != nil || !strings.HasPrefix(what, "socket:") {
			continue
		}
		fd, err := unix.PidfdGetfd(proc, theirs, 0)
		if err != nil { // it was closed meanwhile, mostly: EBADF
			if !errors.Is(err, unix.EBADF) {
				errs = append(errs, fmt.Errorf("pidfd_getfd: %w", err))
			}
			continue
		}
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if its, nameErr := nameOf(fd); err == nil && nameErr == nil && listens == 0 && its == name {
			unix.Shutdown(fd, unix.SHUT_RDWR)
		}
		unix.Close(fd)
	}
	return errors.Join(errs...)
}

// nameOf is the address of a unix socket; what was taken from a listener has
// that of the listener.
func nameOf(fd int) (string, error) {
	a, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	if u, ok := a.(*unix.SockaddrUnix); ok && u.Name != "" {
		return u.Name, nil
	}
	return "", fmt.Errorf("descriptor %d is no unix socket with a name", fd)
}
