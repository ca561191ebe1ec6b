package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
	"casco/lang"
)

// A conn is a netlink socket of nfnetlink in one network namespace. A table
// that was made with the owner flag belongs to the socket and nobody else can
// change it, so a conn is kept open as long as its table is wanted. It is for
// one goroutine.
type conn struct {
	fd  int
	seq uint32
	// agreed is the generation of the rules of the namespace that Check found to
	// be as wanted, and at when; 0 if none was, or something was tried since.
	agreed uint32
	at     time.Time
	torn   bool // the rules changed while the dump that is being read was made
}

// Sizes of the socket's buffers, bytes. A transaction is one message to the
// kernel and may be large: 1,000 elements are 60 KiB. The defaults of 200 KiB
// gave "message too long".
const socketBuffer = 16 << 20

// answerWithin is how long the kernel may take to answer. It answers within the
// call that sends; the time is for a dump.
const answerWithin = 10 * time.Second

func dial(ns netns.NsHandle) (*conn, error) {
	c := &conn{fd: -1}
	err := nsenter.Net(ns, func() (err error) {
		c.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("nfnetlink: %w", err)
	}
	// Only with CAP_NET_ADMIN in the first user namespace; less is enough for most.
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
	tv := unix.NsecToTimeval(int64(answerWithin))
	err = errors.Join(
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		unix.Close(c.fd)
		return nil, fmt.Errorf("nfnetlink: %w", err)
	}
	return c, nil
}

// close ends the socket. Whoever comes late finds none, and not the file that
// has its number by then: that may be the socket of another namespace.
func (c *conn) close() error {
	fd := c.fd
	c.fd = -1
	return unix.Close(fd)
}

// A message is one of nfnetlink, without its header.
type message struct {
	kind   uint16 // unix.NFT_MSG_…
	flags  uint16 // unix.NLM_F_…, beside NLM_F_REQUEST
	family uint8
	attrs  attrs
	what   string // what it is about, for an error
}

// header appends the headers of netlink and nfnetlink to b and returns the
// place of the length, which is filled in when the message is complete.
func (c *conn) header(b []byte, kind, flags uint16, family uint8, res uint16) ([]byte, int) {
	c.seq++
	at := len(b)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|flags)
	b = binary.NativeEndian.AppendUint32(b, c.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, unix.NFNETLINK_V0)
	return binary.BigEndian.AppendUint16(b, res), at
}

func finish(b []byte, at int) { binary.NativeEndian.PutUint32(b[at:], uint32(len(b)-at)) }

const subsystem = unix.NFNL_SUBSYS_NFTABLES << 8

// A refusedError is an error of the kernel about one message of a transaction, of
// which then nothing was done.
type refusedError struct {
	what  string
	errno unix.Errno
}

func (e *refusedError) Error() string { return "nftables: " + e.what + ": " + e.errno.Error() }
func (e *refusedError) Unwrap() error { return e.errno }

// commit does all of ms or nothing. The kernel answers each message that it
// refuses, and the last in any case, for that one asks for it.
func (c *conn) commit(ms []message) error {
	if len(ms) == 0 {
		return nil
	}
	c.agreed = 0
	b, at := c.header(nil, unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	finish(b, at)
	begin := c.seq
	for i, m := range ms {
		flags := m.flags
		if i == len(ms)-1 {
			flags |= unix.NLM_F_ACK
		}
		b, at = c.header(b, subsystem|m.kind, flags, m.family, 0)
		b = append(b, m.attrs...)
		finish(b, at)
	}
	last := c.seq
	b, at = c.header(b, unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	finish(b, at)
	if err := c.send(b); err != nil {
		return err
	}
	var first error
	for {
		done, err := c.answers(func(seq uint32, errno unix.Errno) bool {
			if errno != 0 && first == nil {
				what := "transaction"
				if i := int(seq - begin - 1); i >= 0 && i < len(ms) {
					what = ms[i].what
				}
				first = &refusedError{what, errno}
			}
			return seq == last || seq == begin
		}, nil)
		if err != nil || done {
			return errors.Join(first, err)
		}
	}
}

// dump asks for all of a kind and calls do with the attributes of each.
func (c *conn) dump(m message, do func(kind uint16, a []byte) error) error {
	return c.ask(m, unix.NLM_F_DUMP, do)
}

// ask sends a question and calls do with the attributes of each answer.
func (c *conn) ask(m message, flags uint16, do func(kind uint16, a []byte) error) error {
	b, at := c.header(nil, subsystem|m.kind, flags, m.family, 0)
	b = append(b, m.attrs...)
	finish(b, at)
	if err := c.send(b); err != nil {
		return err
	}
	var first error
	c.torn = false
	for {
		done, err := c.answers(func(_ uint32, errno unix.Errno) bool {
			if errno != 0 && first == nil {
				first = &refusedError{m.what, errno}
			}
			return true
		}, func(kind uint16, a []byte) {
			if first == nil {
				first = do(kind, a)
			}
		})
		if done && err == nil && c.torn {
			err = errInterrupted
		}
		if err != nil || done {
			return errors.Join(first, err)
		}
	}
}

// generation is a number that is another after each transaction of nftables in
// the namespace, whoever's it is (NFT_MSG_GETGEN).
func (c *conn) generation() (n uint32, err error) {
	err = c.ask(message{kind: unix.NFT_MSG_GETGEN, what: "generation"}, unix.NLM_F_ACK, func(_ uint16, a []byte) error {
		if id := one(a, unix.NFTA_GEN_ID); len(id) == 4 {
			n = binary.BigEndian.Uint32(id)
		}
		return nil
	})
	return n, err
}

// agreesFor is how long it is believed that what no transaction changed is as it
// was: the kernel takes a chain away with its interface, without one.
const agreesFor = 10 * time.Minute

// agrees reports whether no transaction of anybody changed the rules since they
// were found to be as wanted.
func (c *conn) agrees() bool {
	if c.agreed == 0 || time.Since(c.at) > agreesFor {
		return false
	}
	n, err := c.generation()
	return err == nil && n == c.agreed
}

// checked has check look at the rules, and remembers if it found them well. While
// somebody changes rules in the namespace, engines do their own, it looks again.
func (c *conn) checked(check func() error) error {
	before, err := c.generation()
	if err != nil {
		return err
	}
	err = check()
	for n := 0; errors.Is(err, errInterrupted) && n < 10; n++ {
		err = check()
	}
	if err != nil {
		return err
	}
	if after, err := c.generation(); err == nil && after == before {
		c.agreed, c.at = after, time.Now()
	}
	return nil
}

func (c *conn) send(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return wrap("send", err)
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nfnetlink: %s: %w", what, err)
}

// answers receives once. end is called for each error message (errno 0 is an
// acknowledgement) and for the end of a dump, and says whether that was the
// last one; data for all else.
func (c *conn) answers(end func(seq uint32, errno unix.Errno) bool, data func(kind uint16, a []byte)) (done bool, err error) {
	buf := make([]byte, 64<<10) // a part of a dump is at most 32 KiB
	n, _, err := unix.Recvfrom(c.fd, buf, 0)
	switch {
	case err == unix.EINTR:
		return false, nil
	case err == unix.EAGAIN:
		return false, lang.Errorf(lang.Text{En: "nftables: the kernel did not answer within %s", Es: "nftables: el núcleo no respondió en %s"}, answerWithin)
	case err != nil:
		return false, wrap("receive", err)
	}
	for b := buf[:n]; len(b) >= unix.NLMSG_HDRLEN; {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return false, errMalformed
		}
		kind, flags, seq := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:])
		body := b[unix.NLMSG_HDRLEN:size]
		b = b[min(len(b), (size+3)&^3):]
		c.torn = c.torn || flags&unix.NLM_F_DUMP_INTR != 0 // the rest of it comes all the same
		switch kind {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			if len(body) < 4 {
				return false, errMalformed
			}
			if end(seq, unix.Errno(-int32(binary.NativeEndian.Uint32(body)))) {
				done = true
			}
		default:
			if data != nil && kind>>8 == unix.NFNL_SUBSYS_NFTABLES && len(body) >= 4 {
				data(kind&0xff, body[4:])
			}
		}
	}
	return done, nil
}

var (
	errMalformed   = errors.New("nftables: a message of the kernel is malformed")
	errInterrupted = errors.New("nftables: the rules changed while they were read")
)
