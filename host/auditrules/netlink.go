package auditrules

import (
	"encoding/binary"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// A client talks to the kernel's audit: audit(7), netlink(7).
type client struct {
	fd  int
	seq uint32
}

// A status is the head of struct audit_status: linux/audit.h.
type status struct {
	Enabled uint32 // off, on or locked
	Pid     uint32 // of auditd, 0 if none runs
}

// What audit_status.enabled may be: auditctl(8), -e.
const (
	off    = 0
	on     = 1
	locked = 2 // until reboot
)

// timeout is how long the kernel may take for an answer, in seconds; it takes
// microseconds.
const timeout = 5

func dial() (*client, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "reach the kernel's audit: %w", Es: "alcanzar la auditoría del núcleo: %w"}, err)
	}
	c := &client{fd: fd}
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: timeout})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		c.Close()
		return nil, lang.Errorf(lang.Text{En: "reach the kernel's audit: %w", Es: "alcanzar la auditoría del núcleo: %w"}, err)
	}
	return c, nil
}

func (c *client) Close() error { return unix.Close(c.fd) }

func (c *client) status() (st status, err error) {
	if err := c.send(unix.AUDIT_GET, 0, nil); err != nil {
		return st, err
	}
	err = c.receive(func(kind uint16, data []byte) (bool, error) {
		if kind != unix.AUDIT_GET || len(data) < 16 {
			return false, nil
		}
		st.Enabled = binary.NativeEndian.Uint32(data[4:])
		st.Pid = binary.NativeEndian.Uint32(data[12:])
		return true, nil
	})
	return st, err
}

// enable switches the kernel's audit on or off. It sets nothing else of
// struct audit_status, and fails with EPERM if the switch is locked.
func (c *client) enable(to uint32) error {
	const size = 44 // up to and with backlog_wait_time_actual, kernel 5.9
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b[0:], unix.AUDIT_STATUS_ENABLED) // mask: the fields to heed
	binary.NativeEndian.PutUint32(b[4:], to)
	return c.order(unix.AUDIT_SET, b)
}

// rules lists the loaded rules that say something of a path, in the kernel's order.
func (c *client) rules() (rs []Rule, err error) {
	if err := c.send(unix.AUDIT_LIST_RULES, 0, nil); err != nil {
		return nil, err
	}
	err = c.receive(func(kind uint16, data []byte) (bool, error) {
		if kind != unix.AUDIT_LIST_RULES {
			return kind == unix.NLMSG_DONE, nil
		}
		r, about, err := decode(data)
		if about {
			rs = append(rs, r)
		}
		return false, err
	})
	return rs, err
}

// add loads a rule. One that is loaded already is no error.
func (c *client) add(r Rule) error {
	if err := c.order(unix.AUDIT_ADD_RULE, r.encode()); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// remove takes a rule out. One that is not loaded is no error.
func (c *client) remove(r Rule) error {
	if err := c.order(unix.AUDIT_DEL_RULE, r.encode()); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// order tells the kernel something and waits for its yes.
func (c *client) order(kind uint16, data []byte) error {
	if err := c.send(kind, unix.NLM_F_ACK, data); err != nil {
		return err
	}
	return c.receive(func(kind uint16, _ []byte) (bool, error) { return kind == unix.NLMSG_ERROR, nil })
}

func (c *client) send(kind uint16, flags uint16, data []byte) error {
	c.seq++
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(data))
	binary.NativeEndian.PutUint32(b[0:], uint32(cap(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(b[8:], c.seq)
	return unix.Sendto(c.fd, append(b, data...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive hands each message that answers the last request to take, until it
// says that it was the last. An error that the kernel answers ends it.
func (c *client) receive(take func(kind uint16, data []byte) (last bool, err error)) error {
	buf := make([]byte, 1<<16) // more than a rule with its longest path
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return lang.Errorf(lang.Text{En: "no answer in %d s", Es: "sin respuesta en %d s"}, timeout)
		}
		if err != nil {
			return err
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not from the kernel
		}
		msgs, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return lang.Errorf(lang.Text{En: "answer of %d bytes: %w", Es: "respuesta de %d bytes: %w"}, n, err)
		}
		for _, m := range msgs {
			if m.Header.Seq != c.seq {
				continue
			}
			if m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4 {
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					return unix.Errno(-code)
				}
			}
			if last, err := take(m.Header.Type, m.Data); last || err != nil {
				return err
			}
		}
	}
}
