package gate

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/pulse"
)

// Second is the whole life of the process that WatchConfig.Second names, a child
// of the guard. It has the fanotify group as descriptor pulse.First. While the
// guard beats it does nothing. When the guard is silent for two seconds, as one
// that is stopped is, it answers in its place and lets all pass: what the guard
// has read and not answered, by the numbers of the guard's descriptors, which are
// what the kernel knows an event by (fanotify_user.c, process_access_response),
// and what is still to be read. When the guard beats again, it leaves the rest to
// it. "docker run" with a stopped guard took 2.2 to 2.4 s. When the guard is gone,
// it is gone at once, for the kernel holds an exec as long as anybody has the
// group.
//
// It lets all pass because a denial would also hit the "kill" and "delete" by
// which an operator helps himself; who must fail closed uses the wrapper.
func Second() error {
	const fan = pulse.First
	for {
		beats, gone, err := pulse.Wait(pulse.Silence)
		switch {
		case err != nil:
			return err
		case gone:
			return nil
		case !beats:
			fmt.Fprintln(os.Stderr, "gate: the guard is silent; starts pass unjudged")
			allowRead(fan, os.Getppid())
			for allowUnread(fan) {
				if beats, gone, err = pulse.Wait(10 * time.Millisecond); beats || gone || err != nil {
					break
				}
			}
		}
	}
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
