package resolver

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// detached is a listener without sockets.
func detached(z Zone) *Listener {
	l := &Listener{s: New(Config{}), events: bucket{burst: 1, rate: 1}}
	l.zone.Store(&z)
	return l
}

func packed(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with packs m after a change.
func with(t testing.TB, m dnsmessage.Message, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	change(&m)
	return packed(t, m)
}

// TestJudge: what is answered without asking anybody, and how.
func TestJudge(t *testing.T) {
	fine := ask("updates.example", "A", 0)
	two := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	two.Header.SetEDNS0(1232, 0, false)
	loop := append([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 0xc0, 12, 0, 1, 0, 1)
	for _, tt := range []struct {
		name string
		msg  []byte
		want string // "" is no reply, "work" is to be asked
	}{
		{"an allowed name", packed(t, fine), "work"},
		{"in another case", packed(t, ask("UPDATES.Example", "AAAA", 0)), "work"},
		{"another name", packed(t, ask("evil.example", "A", 0)), "NameError"},
		{"with EDNS", packed(t, ask("evil.example", "A", 4096)), "NameError edns blocked"},
		{"a single label", packed(t, ask("updates", "A", 0)), "NameError"},
		{"of the search list", packed(t, ask("updates.example.corp.local", "A", 0)), "NameError"},
		{"below", packed(t, ask("data.updates.example", "A", 0)), "NameError"},
		{"reverse", packed(t, ask("1.2.0.192.in-addr.arpa", "PTR", 0)), "NameError"},
		{"TXT of another name", packed(t, ask("evil.example", "TXT", 0)), "NameError"},
		{"TXT", packed(t, ask("updates.example", "TXT", 0)), "Success"},
		{"NULL", packed(t, ask("updates.example", "NULL", 0)), "Success"},
		{"MX", packed(t, ask("updates.example", "MX", 0)), "Success"},
		{"SRV", packed(t, ask("updates.example", "SRV", 0)), "Success"},
		{"CNAME", packed(t, ask("updates.example", "CNAME", 0)), "Success"},
		{"ANY", packed(t, ask("updates.example", "ANY", 0)), "Success"},
		{"HTTPS", packed(t, ask("updates.example", "HTTPS", 4096)), "Success edns blocked"},
		{"an answer", with(t, fine, func(m *dnsmessage.Message) { m.Response = true }), ""},
		{"nothing", nil, ""},
		{"less than a header", make([]byte, 11), ""},
		{"a header", make([]byte, 12), "FormatError"},
		{"another operation", with(t, fine, func(m *dnsmessage.Message) { m.OpCode = 5 }), "NotImplemented"},
		{"another class", with(t, fine, func(m *dnsmessage.Message) {
			m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("version.bind."), Type: 16, Class: 3}}
		}), "Refused"},
		{"two questions", with(t, fine, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), "FormatError"},
		{"with answers", with(t, fine, func(m *dnsmessage.Message) { m.Answers = append(m.Answers, rr("a.example 1 A 192.0.2.1")) }), "FormatError"},
		{"with authority", with(t, fine, func(m *dnsmessage.Message) { m.Authorities = append(m.Authorities, rr("a.example 1 SOA x")) }), "FormatError"},
		{"two OPT", with(t, fine, func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, two, two) }), "FormatError edns"},
		{"another EDNS", with(t, ask("updates.example", "A", 1232), func(m *dnsmessage.Message) { m.Additionals[0].Header.TTL = 1 << 16 }), "Success edns badvers"},
		{"cut off", packed(t, fine)[:20], "FormatError"},
		{"a pointer to itself", loop, "FormatError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, reply, work := detached(zoneOf(t, "updates.example")).judge(tt.msg, false)
			got := ""
			switch {
			case work:
				got = "work"
			case reply != nil:
				var m dnsmessage.Message
				if err := m.Unpack(reply); err != nil {
					t.Fatal(err)
				}
				if m.ID != binary.BigEndian.Uint16(tt.msg) || !m.Response {
					t.Errorf("no reply to it: %s", m.GoString())
				}
				got = said(m)
				for _, r := range m.Additionals {
					got += " edns"
					if r.Header.TTL>>24 == 1 {
						got += " badvers"
					}
					for _, o := range r.Body.(*dnsmessage.OPTResource).Options {
						if o.Code == 15 && string(o.Data) == "\x00\x0f" {
							got += " blocked"
						}
					}
				}
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestReplySize: a reply has as many addresses as fit, and says so if they are
// not all.
func TestReplySize(t *testing.T) {
	var v4, v6 []netip.Addr
	for i := range 64 {
		v4 = append(v4, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		v6 = append(v6, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
	}
	for _, tt := range []struct {
		typ  string
		size int
		tcp  bool
		want int // addresses
	}{
		{"A", 0, false, 29},
		{"AAAA", 0, false, 17},
		{"A", 100, false, 28}, // less than 512 is 512, RFC 6891 section 6.2.3
		{"A", 4096, false, 64},
		{"AAAA", 4096, false, 42}, // 1232 at most
		{"AAAA", 0, true, 64},
	} {
		q, _, _ := parseQuestion(packed(t, ask("updates.example", tt.typ, tt.size)), tt.tcp)
		addrs := v4
		if tt.typ == "AAAA" {
			addrs = v6
		}
		b := q.reply(0, edeNone, addrs, time.Minute)
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if len(b) > q.most || len(m.Answers) != tt.want || m.Truncated != (tt.want < 64) || m.Answers[0].Header.TTL != 60 {
			t.Errorf("%v: %d bytes of %d, %d addresses, truncated %v", tt, len(b), q.most, len(m.Answers), m.Truncated)
		}
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"a-b_c.example":           "a-b_c.example",
		"\x1b[2j<b>.example":      `\027\0912j\060b\062.example`,
		"é\\\"'$(`.example\n\x00": `\195\169\092\034\039\036\040\096.example\010\000`,
	} {
		if got := escape(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestWhyTexts(t *testing.T) {
	for _, w := range []Why{NotAllowed, Search, Reverse, Type, Rebinding, Upstream, Uncommit, Flood, Full} {
		if w.Text().Empty() {
			t.Errorf("%s has no text in one language", w)
		}
	}
}

// FuzzJudge: whatever a container sends, the reply is a DNS message to it that
// fits and has no records; and only the allowed name goes further.
func FuzzJudge(f *testing.F) {
	f.Add(packed(f, ask("updates.example", "A", 1232)), false)
	f.Add(packed(f, ask("evil.example", "TXT", 0)), true)
	f.Add(append([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 0xc0, 12, 0, 1, 0, 1), false)
	f.Add([]byte(strings.Repeat("\x00", 12)), false)
	z := zoneOf(f, "updates.example", "**.deep.example")
	f.Fuzz(func(t *testing.T, msg []byte, tcp bool) {
		q, reply, work := detached(z).judge(msg, tcp)
		if work {
			if _, ok := z.match(q.name); !ok || reply != nil {
				t.Errorf("%q goes further", q.name)
			}
			reply = q.reply(0, edeNone, []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}[:q.typ&1], time.Second)
		}
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if len(reply) > q.most || m.ID != q.id || !m.Response || len(m.Answers) > 0 && !work {
			t.Errorf("%d bytes of %d: %s", len(reply), q.most, m.GoString())
		}
	})
}
