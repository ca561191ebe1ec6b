package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"

	"casco/internal/nsenter"
)

// A key is a question: a name in lower case without its last dot, and a type,
// which is A or AAAA. Its class is IN.
type key struct {
	name string
	typ  dnsmessage.Type
}

// An answer is what upstream knows of a question, not yet judged.
type answer struct {
	none  bool // there is no such name, NXDOMAIN
	addrs []netip.Addr
	ttl   time.Duration // of addrs, or how long none and no addrs may be kept, RFC 2308
}

// upstream asks the servers of the host.
type upstream struct {
	servers func() ([]netip.AddrPort, error)
	from    *netns.NsHandle // nil is the process's own namespace
	timeout time.Duration   // of a question
	step    time.Duration   // after which the next server is asked as well
	good    atomic.Int32    // the server that answered last
}

const (
	rounds = 2 // how often each server is asked, resolv.conf(5) "attempts"
	// wrongMost are the answers that do not fit, after which somebody is
	// guessing and TCP, where guesses do not arrive, is used.
	wrongMost = 8
	udpSize   = 1232 // what passes unfragmented everywhere: DNS flag day 2020
)

// ask asks the servers in turn, the one that answered last first. Each gets
// step to answer alone; then the next one is asked too, and the first answer
// that is one counts. A server that refuses or fails is no answer.
func (u *upstream) ask(ctx context.Context, k key) (answer, error) {
	servers, err := u.servers()
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()

	type result struct {
		answer
		server int
		err    error
	}
	most := rounds * len(servers)
	results := make(chan result, most)
	sent, back, first := 0, 0, int(u.good.Load())
	next := func() {
		if sent == most {
			return
		}
		i := (first + sent) % len(servers)
		sent++
		asked.Go(func() {
			a, err := u.one(ctx, servers[i], k)
			results <- result{a, i, err}
		})
	}
	next()
	tick := time.NewTicker(u.step)
	defer tick.Stop()
	var errs []error
	for {
		select {
		case r := <-results:
			if r.err == nil {
				u.good.Store(int32(r.server))
				return r.answer, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", servers[r.server], r.err))
			if back++; back == most {
				return answer{}, errors.Join(errs...)
			}
			if back == sent {
				next()
			}
		case <-tick.C:
			next()
		case <-ctx.Done():
			return answer{}, errors.Join(append(errs, fmt.Errorf("no answer from %v: %w", servers, ctx.Err()))...)
		}
	}
}

// A failure is a server's refusal to answer.
type failure dnsmessage.RCode

func (f failure) Error() string { return "answers " + dnsmessage.RCode(f).String() }

// one asks one server. A server that does not know EDNS is asked without,
// RFC 6891 section 6.2.2.
func (u *upstream) one(ctx context.Context, server netip.AddrPort, k key) (answer, error) {
	a, err := u.exchange(ctx, server, k, true)
	if f := failure(0); errors.As(err, &f) && (dnsmessage.RCode(f) == dnsmessage.RCodeFormatError || dnsmessage.RCode(f) == dnsmessage.RCodeNotImplemented) {
		return u.exchange(ctx, server, k, false)
	}
	return a, err
}

func (u *upstream) exchange(ctx context.Context, server netip.AddrPort, k key, edns bool) (answer, error) {
	q, err := newQuery(k, edns)
	if err != nil {
		return answer{}, err
	}
	msg, err := u.udp(ctx, server, q)
	if errors.Is(err, errAskTCP) {
		msg, err = u.tcp(ctx, server, q)
	}
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(msg, k)
}

// A query is a message to a server, and what its answer must repeat.
type query struct {
	id       uint16
	question dnsmessage.Question
	packed   []byte
}

// newQuery asks under a random number, and in random case, which an answer
// repeats: draft-vixie-dnsext-dns0x20.
func newQuery(k key, edns bool) (query, error) {
	var noise [2 + nameMost/8 + 1]byte
	rand.Read(noise[:]) // never fails: crypto/rand
	mixed := []byte(k.name + ".")
	for i, c := range mixed {
		if c >= 'a' && c <= 'z' && noise[2+i/8]>>(i%8)&1 == 1 {
			mixed[i] = c - 'a' + 'A'
		}
	}
	name, err := dnsmessage.NewName(string(mixed))
	if err != nil {
		return query{}, err
	}
	q := query{
		id:       binary.NativeEndian.Uint16(noise[:]),
		question: dnsmessage.Question{Name: name, Type: k.typ, Class: dnsmessage.ClassINET},
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: q.id, RecursionDesired: true})
	err = errors.Join(b.StartQuestions(), b.Question(q.question))
	if edns {
		var h dnsmessage.ResourceHeader
		err = errors.Join(err, h.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false), b.StartAdditionals(), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	if err != nil {
		return query{}, err
	}
	q.packed, err = b.Finish()
	return q, err
}

var (
	errAskTCP = errors.New("answers what does not fit or was cut off")
	errWrong  = errors.New("answers something else")
)

// check tells an answer to q from all else: errWrong is for somebody else, or
// from somebody else. errAskTCP is to be asked for again.
func (q query) check(msg []byte) error {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != q.id || !h.Response || h.OpCode != 0 {
		return errWrong
	}
	got, err := p.AllQuestions()
	switch {
	case err != nil:
		return errWrong
	case len(got) == 0 && h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError:
		return nil // a failure without its question
	case len(got) != 1 || got[0].Type != q.question.Type || got[0].Class != q.question.Class:
		return errWrong
	case got[0].Name != q.question.Name:
		if lower(got[0].Name.String()) != lower(q.question.Name.String()) {
			return errWrong
		}
		return errAskTCP // a server that does not keep the case, or a guess
	case h.Truncated:
		return errAskTCP
	}
	return nil
}

// udp returns the first message that answers q.
func (u *upstream) udp(ctx context.Context, server netip.AddrPort, q query) ([]byte, error) {
	conn, stop, err := u.dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer stop()
	if _, err := conn.Write(q.packed); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for range wrongMost {
		n, err := conn.Read(buf) // connected: from the server's address alone
		if err != nil {
			return nil, err
		}
		if err := q.check(buf[:n]); !errors.Is(err, errWrong) {
			return buf[:n], err
		}
	}
	return nil, errAskTCP
}

// tcp does the same over TCP, RFC 7766.
func (u *upstream) tcp(ctx context.Context, server netip.AddrPort, q query) ([]byte, error) {
	conn, stop, err := u.dial(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := writeTCP(conn, q.packed); err != nil {
		return nil, err
	}
	msg, err := readTCP(conn, 1<<16-1)
	if err != nil {
		return nil, err
	}
	if err := q.check(msg); err != nil && !errors.Is(err, errAskTCP) {
		return nil, err
	}
	return msg, nil
}

// dial connects from the namespace of u. stop closes the connection, as does
// the end of ctx.
func (u *upstream) dial(ctx context.Context, network string, server netip.AddrPort) (conn net.Conn, stop func(), err error) {
	dial := func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, server.String())
		return err
	}
	if u.from == nil {
		err = dial()
	} else {
		err = nsenter.Net(*u.from, dial)
	}
	if err != nil {
		return nil, nil, err
	}
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { unhook(); conn.Close() }, nil
}

// writeTCP and readTCP frame a message by its length, RFC 1035 section 4.2.2.
func writeTCP(w io.Writer, msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...))
	return err
}

func readTCP(r io.Reader, most int) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > most {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(r, msg)
	return msg, err
}

const (
	recordsMost = 512 // in an answer; the rest is not looked at
	chainMost   = 16  // CNAMEs one after the other
	noneMost    = 5 * time.Minute
)

// parseAnswer reads an answer that belongs to question k. It follows CNAMEs
// inside the answer from the asked name on; addresses that the chain does not
// lead to are not there for it.
func parseAnswer(msg []byte, k key) (answer, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return answer{}, err
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		if err := errors.Join(p.SkipAllQuestions(), p.SkipAllAnswers()); err != nil {
			return answer{}, err
		}
		return answer{none: true, ttl: negative(&p)}, nil
	default:
		return answer{}, failure(h.RCode)
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{}, err
	}
	all, err := records(&p)
	if err != nil {
		return answer{}, err
	}
	a := answer{ttl: 1<<31 - 1}
	name := k.name
	for range chainMost {
		chained := ""
		for _, r := range all {
			switch {
			case r.owner != name:
			case r.target != "" && chained == "":
				chained, a.ttl = r.target, min(a.ttl, r.ttl)
			case r.addr.IsValid() && r.typ == k.typ:
				a.addrs, a.ttl = append(a.addrs, r.addr), min(a.ttl, r.ttl)
			}
		}
		if len(a.addrs) > 0 || chained == "" {
			a.ttl *= time.Second
			if len(a.addrs) == 0 {
				a.ttl = negative(&p)
			}
			return a, nil
		}
		name = chained
	}
	return answer{}, fmt.Errorf("answers a chain of more than %d names", chainMost)
}

// A record is an address or a CNAME of an answer.
type record struct {
	owner  string
	typ    dnsmessage.Type
	target string        // of a CNAME
	addr   netip.Addr    // of the others
	ttl    time.Duration // in units of a second
}

func records(p *dnsmessage.Parser) ([]record, error) {
	var all []record
	for range recordsMost {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		r := record{owner: plain(h.Name), typ: h.Type, ttl: ttlOf(h.TTL)}
		switch {
		case h.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
			r.owner = ""
		case h.Type == dnsmessage.TypeA && h.Length == 4:
			var a dnsmessage.AResource
			a, err = p.AResource()
			r.addr = netip.AddrFrom4(a.A)
		case h.Type == dnsmessage.TypeAAAA && h.Length == 16:
			var a dnsmessage.AAAAResource
			a, err = p.AAAAResource()
			r.addr = netip.AddrFrom16(a.AAAA)
		case h.Type == dnsmessage.TypeCNAME:
			var c dnsmessage.CNAMEResource
			c, err = p.CNAMEResource()
			r.target = plain(c.CNAME)
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return nil, err
		}
		if r.addr.IsValid() || r.target != "" {
			all = append(all, r)
		}
	}
	return all, p.SkipAllAnswers()
}

// negative is how long it may be remembered that there is nothing: RFC 2308
// section 5, zero without an SOA.
func negative(p *dnsmessage.Parser) time.Duration {
	if p.SkipAllAnswers() != nil {
		return 0
	}
	for range recordsMost {
		h, err := p.AuthorityHeader()
		if err != nil {
			return 0
		}
		if h.Type == dnsmessage.TypeSOA {
			soa, err := p.SOAResource()
			if err != nil {
				return 0
			}
			return min(ttlOf(h.TTL)*time.Second, ttlOf(soa.MinTTL)*time.Second, noneMost)
		}
		if p.SkipAuthority() != nil {
			return 0
		}
	}
	return 0
}

// ttlOf reads a TTL in seconds; the top bit set is zero, RFC 2181 section 8.
func ttlOf(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl)
}

// plain is a name in lower case without its last dot.
func plain(n dnsmessage.Name) string {
	b := n.Data[:n.Length]
	if len(b) > 0 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return lower(string(b))
}
