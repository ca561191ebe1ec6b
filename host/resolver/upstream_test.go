package resolver

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

var keyA = key{"www.example", dnsmessage.TypeA}

func short(a answer) string {
	s := strings.Join(append(texts(a.addrs), a.ttl.String()), " ")
	if a.none {
		s = "none " + s
	}
	return s
}

// TestAsk: servers that are slow, dead, lying, old.
func TestAsk(t *testing.T) {
	good := zoneFile("www.example 60 A 192.0.2.1")
	wrong := func(change func(*dnsmessage.Message)) saying {
		return func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			lie := good(q, tcp)[0]
			lie.Questions = slices.Clone(lie.Questions)
			lie.Answers = []dnsmessage.Resource{rr("www.example 60 A 192.0.2.66")}
			change(&lie)
			return []dnsmessage.Message{lie, good(q, tcp)[0]}
		}
	}
	code := func(r dnsmessage.RCode) saying {
		return func(q dnsmessage.Message, _ bool) []dnsmessage.Message { return []dnsmessage.Message{to(q, r)} }
	}
	silent := func(dnsmessage.Message, bool) []dnsmessage.Message { return nil }
	for _, tt := range []struct {
		name    string
		servers []saying
		want    string
		asked   string // of the first server
	}{
		{"it answers", []saying{good}, "192.0.2.1 1m0s", "A www.example"},
		{"no such name", []saying{code(3)}, "none 0s", "A www.example"},
		{"another id first", []saying{wrong(func(m *dnsmessage.Message) { m.ID++ })}, "192.0.2.1 1m0s", "A www.example"},
		{"another question first", []saying{wrong(func(m *dnsmessage.Message) {
			m.Questions[0].Name = dnsmessage.MustNewName("evil.example.")
		})}, "192.0.2.1 1m0s", "A www.example"},
		{"another type first", []saying{wrong(func(m *dnsmessage.Message) { m.Questions[0].Type = 28 })}, "192.0.2.1 1m0s", "A www.example"},
		{"a question first", []saying{wrong(func(m *dnsmessage.Message) { m.Response = false })}, "192.0.2.1 1m0s", "A www.example"},
		{"success without a question first", []saying{wrong(func(m *dnsmessage.Message) { m.Questions = nil })}, "192.0.2.1 1m0s", "A www.example"},
		{"somebody guesses", []saying{func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			if tcp {
				return good(q, tcp)
			}
			var all []dnsmessage.Message
			for i := range wrongMost {
				lie := good(q, tcp)[0]
				lie.ID += uint16(i + 1)
				all = append(all, lie)
			}
			return all
		}}, "192.0.2.1 1m0s", "A www.example, tcp A www.example"},
		{"a server that does not keep the case", []saying{func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			m := good(q, tcp)[0]
			m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("WWW.EXAMPLE."), Type: 1, Class: 1}}
			return []dnsmessage.Message{m}
		}}, "192.0.2.1 1m0s", "A www.example, tcp A www.example"},
		{"truncated", []saying{func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			m := good(q, tcp)[0]
			m.Truncated = !tcp
			return []dnsmessage.Message{m}
		}}, "192.0.2.1 1m0s", "A www.example, tcp A www.example"},
		{"without EDNS", []saying{func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			if len(q.Additionals) > 0 {
				m := to(q, dnsmessage.RCodeFormatError)
				m.Questions = nil
				return []dnsmessage.Message{m}
			}
			return good(q, tcp)
		}}, "192.0.2.1 1m0s", "A www.example, A www.example"},
		{"the first is silent", []saying{silent, good}, "192.0.2.1 1m0s", "A www.example"},
		{"the first refuses", []saying{code(5), good}, "192.0.2.1 1m0s", "A www.example"},
		{"the first fails", []saying{code(2), good}, "192.0.2.1 1m0s", "A www.example"},
		{"all refuse", []saying{code(5), code(2)}, "error Refused ServerFailure", "A www.example, A www.example"},
		{"all are silent", []saying{silent, silent}, "error deadline", "A www.example, A www.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Timeout: 1200 * time.Millisecond, Step: 200 * time.Millisecond}
			var up []*server
			for _, say := range tt.servers {
				up = append(up, fake(t, say))
			}
			s := start(t, cfg, up...)
			begin := time.Now()
			a, err := s.up.ask(t.Context(), keyA)
			if took := time.Since(begin); took > 2*cfg.Timeout {
				t.Errorf("took %v", took)
			}
			got := short(a)
			if err != nil {
				got = err.Error()
				for _, word := range strings.Fields(tt.want)[1:] {
					if !strings.HasPrefix(tt.want, "error") || !strings.Contains(got, word) {
						t.Errorf("%s; want %s", got, tt.want)
					}
				}
			} else if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if diff := cmp.Diff(tt.asked, strings.Join(up[0].asked(), ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAskRemembers: a dead server costs its time once.
func TestAskRemembers(t *testing.T) {
	dead := fake(t, func(dnsmessage.Message, bool) []dnsmessage.Message { return nil })
	good := fake(t, zoneFile("www.example 60 A 192.0.2.1"))
	s := start(t, Config{Step: 50 * time.Millisecond}, dead, good)
	for range 3 {
		if _, err := s.up.ask(t.Context(), keyA); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(dead.asked()); n != 1 {
		t.Errorf("the dead server was asked %d times", n)
	}
}

// TestAskDown: nobody listens there; that is known at once.
func TestAskDown(t *testing.T) {
	s := start(t, Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	begin := time.Now()
	if a, err := s.up.ask(t.Context(), keyA); err == nil || time.Since(begin) > time.Second {
		t.Errorf("%v %v after %v", a, err, time.Since(begin))
	}
}

func TestParseAnswer(t *testing.T) {
	chain := []string{"www.example 300 CNAME cdn.other", "cdn.other 30 CNAME edge.third", "edge.third 90 A 192.0.2.9"}
	for _, tt := range []struct {
		name      string
		lines     []string
		authority []string
		want      string
	}{
		{"addresses", []string{"www.example 60 A 192.0.2.1", "WWW.Example 50 A 192.0.2.2"}, nil, "192.0.2.1 192.0.2.2 50s"},
		{"a chain", chain, nil, "192.0.2.9 30s"},
		{"a chain in no order", []string{chain[2], chain[1], chain[0]}, nil, "192.0.2.9 30s"},
		{"addresses of others", append([]string{"evil.example 60 A 192.0.2.66", "cdn.example 60 A 192.0.2.67"}, chain...), nil, "192.0.2.9 30s"},
		{"only of others", []string{"evil.example 60 A 192.0.2.66"}, nil, "0s"},
		{"a chain that does not begin there", chain[1:], nil, "0s"},
		{"a chain to nowhere", chain[:2], nil, "0s"},
		{"a chain to itself", []string{"www.example 60 CNAME b.example", "b.example 60 CNAME www.example"}, nil, "error"},
		{"another type", []string{"www.example 60 AAAA 2001:db8::1", "www.example 60 TXT x"}, nil, "0s"},
		{"nothing, with SOA", nil, []string{"example 120 SOA x"}, "2m0s"},
		{"nothing, for ever", nil, []string{"example 999999 SOA x"}, "5m0s"},
		{"no TTL", []string{"www.example 0 A 192.0.2.1"}, nil, "192.0.2.1 0s"},
		{"an impossible TTL", []string{"www.example 4294967295 A 192.0.2.1"}, nil, "192.0.2.1 0s"},
	} {
		m := to(ask("www.example", "A", 0), 0)
		for _, line := range tt.lines {
			m.Answers = append(m.Answers, rr(line))
		}
		for _, line := range tt.authority {
			m.Authorities = append(m.Authorities, rr(line))
		}
		a, err := parseAnswer(packed(t, m), keyA)
		got := short(a)
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s: %s %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// FuzzParseAnswer: whatever a server sends, it ends, and only whole addresses
// of the type come out.
func FuzzParseAnswer(f *testing.F) {
	m := to(ask("www.example", "A", 0), 0)
	m.Answers = []dnsmessage.Resource{rr("www.example 300 CNAME cdn.other"), rr("cdn.other 30 A 192.0.2.1")}
	f.Add(packed(f, m))
	m.RCode, m.Answers = 3, nil
	m.Authorities = []dnsmessage.Resource{rr("example 120 SOA x")}
	f.Add(packed(f, m))
	q, err := newQuery(keyA, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		_ = q.check(msg)
		a, err := parseAnswer(msg, keyA)
		if err == nil && (a.ttl < 0 || slices.ContainsFunc(a.addrs, func(x netip.Addr) bool { return !x.Is4() })) {
			t.Errorf("%+v", a)
		}
	})
}

// TestConf follows a resolv.conf(5), stubs on loopback included.
func TestConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	c := &conf{path: path}
	if _, err := c.read(); err == nil {
		t.Error("a file that is not there has servers")
	}
	for _, tt := range []struct{ text, want string }{
		{"# x\nnameserver 127.0.0.53\nsearch a b\nnameserver  2001:db8::53 \nnameserver nonsense\n", "127.0.0.53:53 [2001:db8::53]:53"},
		{"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53"},
		{"options edns0\n", "127.0.0.1:53"},
	} {
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		c.looked, c.stamp = time.Time{}, time.Time{}
		servers, err := c.read()
		var got []string
		for _, s := range servers {
			got = append(got, s.String())
		}
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%v %v, want %s", got, err, tt.want)
		}
	}
	os.Remove(path)
	c.looked = time.Time{}
	if servers, err := c.read(); len(servers) != 1 || err != nil {
		t.Errorf("without the file: %v %v", servers, err)
	}
}

// TestNewQuery: numbers and cases differ from one question to the next.
func TestNewQuery(t *testing.T) {
	ids, names := map[uint16]bool{}, map[string]bool{}
	for range 50 {
		q, err := newQuery(key{strings.Repeat("abcdefgh.", 27) + "example", dnsmessage.TypeA}, true)
		if err != nil {
			t.Fatal(err)
		}
		ids[q.id], names[q.question.Name.String()] = true, true
	}
	if len(ids) < 45 || len(names) < 50 {
		t.Errorf("%d ids, %d names of 50", len(ids), len(names))
	}
}
