package resolver

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A question is what a container asked, and what its reply needs to know.
type question struct {
	key
	id       uint16
	desired  bool                // recursion
	question dnsmessage.Question // in the case in which it was asked, which is repeated
	edns     bool
	most     int // bytes of a reply
}

// rcodeBadVersion is a code that dnsmessage does not name, RFC 6891 section 9.
const rcodeBadVersion dnsmessage.RCode = 16

// Extended errors, RFC 8914: the option, and what it says.
const (
	optionEDE  = 15
	edeBlocked = 15 // section 4.16: the operator of the resolver does not want it
	edeNone    = -1 // no option
)

const (
	headSize  = 12  // RFC 1035 section 4.1.1
	plainSize = 512 // RFC 1035 section 4.2.1: a reply without EDNS
	extraMost = 4   // records behind a question: OPT, and perhaps a signature
)

// parseQuestion reads a message from a container. Any bytes will do: drop says
// that they deserve no reply, and rcode why a reply is an error.
func parseQuestion(msg []byte, tcp bool) (q question, rcode dnsmessage.RCode, drop bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response {
		return q, 0, true // nobody answers an answer
	}
	q.id, q.desired, q.most = h.ID, h.RecursionDesired, plainSize
	if tcp {
		q.most = 1<<16 - 1
	}
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, false
	}
	all, err := oneQuestion(&p)
	if err != nil {
		return q, dnsmessage.RCodeFormatError, false
	}
	q.question = all
	q.key = key{plain(all.Name), all.Type}
	if rcode = q.options(&p, tcp); rcode != 0 {
		return q, rcode, false
	}
	if all.Class != dnsmessage.ClassINET {
		return q, dnsmessage.RCodeRefused, false
	}
	return q, dnsmessage.RCodeSuccess, false
}

var errForm = errors.New("not a question")

// oneQuestion wants one question and no answers, RFC 9619.
func oneQuestion(p *dnsmessage.Parser) (dnsmessage.Question, error) {
	q, err := p.Question()
	if err != nil {
		return q, err
	}
	_, more := p.Question()
	_, answer := p.AnswerHeader()
	_, authority := p.AuthorityHeader()
	for _, err := range []error{more, answer, authority} {
		if !errors.Is(err, dnsmessage.ErrSectionDone) {
			return q, errForm
		}
	}
	return q, nil
}

// options reads EDNS, RFC 6891 section 6.
func (q *question) options(p *dnsmessage.Parser, tcp bool) dnsmessage.RCode {
	for range extraMost {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return dnsmessage.RCodeSuccess
		}
		if err != nil || h.Type == dnsmessage.TypeOPT && (q.edns || plain(h.Name) != "") || p.SkipAdditional() != nil {
			return dnsmessage.RCodeFormatError
		}
		if h.Type != dnsmessage.TypeOPT {
			continue
		}
		q.edns = true
		if !tcp {
			q.most = min(max(int(h.Class), plainSize), udpSize)
		}
		if h.TTL>>16&0xff != 0 {
			return rcodeBadVersion
		}
	}
	return dnsmessage.RCodeFormatError
}

// reply packs a reply. addrs are of the type that was asked for; those that do
// not fit are left out, and the reply says so.
func (q *question) reply(rcode dnsmessage.RCode, ede int, addrs []netip.Addr, ttl time.Duration) []byte {
	h := dnsmessage.Header{ID: q.id, Response: true, RecursionDesired: q.desired, RecursionAvailable: true, RCode: rcode & 0xf}
	// Docker's resolver of Engine 20.10 asks all its servers after an NXDOMAIN
	// without AA. What is refused we have the last word on.
	h.Authoritative = ede == edeBlocked
	size := headSize
	asked := q.question.Name.Length > 0
	if asked {
		size += int(q.question.Name.Length) + 1 + 4
	}
	if q.edns {
		size += 11 + 6
	}
	each := 12 + 4 // a pointer, the fixed part of RFC 1035 section 4.1.3, an address
	if q.typ == dnsmessage.TypeAAAA {
		each = 12 + 16
	}
	if fit := max(0, (q.most-size)/each); fit < len(addrs) {
		addrs, h.Truncated = addrs[:fit], true
	}
	b := dnsmessage.NewBuilder(make([]byte, 0, size+each*len(addrs)), h)
	b.EnableCompression()
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	note(b.StartQuestions())
	if asked {
		note(b.Question(q.question))
	}
	note(b.StartAnswers())
	head := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: uint32(ttl / time.Second)}
	for _, a := range addrs {
		if a.Is4() {
			note(b.AResource(head, dnsmessage.AResource{A: a.As4()}))
		} else {
			note(b.AAAAResource(head, dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	if q.edns {
		var oh dnsmessage.ResourceHeader
		var opt dnsmessage.OPTResource
		note(oh.SetEDNS0(udpSize, rcode, false))
		if ede != edeNone {
			opt.Options = []dnsmessage.Option{{Code: optionEDE, Data: []byte{byte(ede >> 8), byte(ede)}}}
		}
		note(b.StartAdditionals())
		note(b.OPTResource(oh, opt))
	}
	msg, err := b.Finish()
	if errors.Join(append(errs, err)...) != nil {
		return nil
	}
	return msg
}
