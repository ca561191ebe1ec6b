package resolver

import (
	"net/netip"
	"strings"
	"testing"

	"casco/lang"
)

func TestMatch(t *testing.T) {
	z := zoneOf(t, "Updates.Example.", "*.one.example", "**.deep.example private", "host.one.example private", "_srv.example")
	for _, tt := range []struct{ name, want string }{
		{"updates.example", "public"},
		{"x.updates.example", ""},
		{"updates.example.corp", ""},
		{"example", ""},
		{"", ""},
		{"a.one.example", "public"},
		{"a.b.one.example", ""},
		{"one.example", ""},
		{"host.one.example", "private"}, // the closest rule
		{"a.deep.example", "private"},
		{"a.b.c.deep.example", "private"},
		{"deep.example", ""},
		{"xdeep.example", ""},
		{"a b.deep.example", ""}, // what is no host name carries data
		{"\x00.one.example", ""},
		{".one.example", ""},
		{strings.Repeat("a", 64) + ".deep.example", ""},
		{"_srv.example", "public"},
	} {
		private, ok := z.match(tt.name)
		got := map[bool]string{true: "public"}[ok]
		if private {
			got = "private"
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.name, got, tt.want)
		}
	}
	if _, ok := (Zone{}).match("updates.example"); ok {
		t.Error("the zero Zone allows something")
	}
}

func TestWhyNot(t *testing.T) {
	z := zoneOf(t, "updates.example", "*.one.example")
	for name, want := range map[string]Why{
		"evil.example":               NotAllowed,
		"updates.example.corp.local": Search,
		"a.one.example.corp":         Search,
		"updates":                    NotAllowed,
		"1.2.0.192.in-addr.arpa":     Reverse,
		"8.b.d.0.1.0.0.2.ip6.arpa":   Reverse,
	} {
		if got := z.whyNot(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestNewZone: what cannot be is refused in both languages, and says how else.
func TestNewZone(t *testing.T) {
	for _, tt := range []struct{ name, en, es string }{
		{"", "nothing between", "nada entre"},
		{".", "nothing between", "nada entre"},
		{"a..example", "nothing between", "nada entre"},
		{"*", `a star stands alone and first: "*.example"`, "un asterisco va solo"},
		{"a*.example", "a star", "un asterisco"},
		{"a.*.example", "a star", "un asterisco"},
		{"***.example", "a star", "un asterisco"},
		{"*.*.example", "a star", "un asterisco"},
		{"españa.example", "xn--", "xn--"},
		{"a b.example", "letters", "letras"},
		{"a\x1b[2J.example", `"a\x1b[2J.example"`, "letras"},
		{strings.Repeat("a", 64) + ".example", "longer", "más largo"},
		{strings.Repeat("a.", 127) + "example", "longer", "más largo"},
	} {
		_, err := NewZone([]Rule{{Name: "fine.example"}, {Name: tt.name}}, nil)
		if err == nil || !strings.Contains(lang.Say(err, lang.English), tt.en) || !strings.Contains(lang.Say(err, lang.Spanish), tt.es) {
			t.Errorf("%q: %v / %v", tt.name, err, lang.Say(err, lang.Spanish))
		}
	}
}

// TestRebinding: where a name may lead to, with rules of both kinds.
func TestRebinding(t *testing.T) {
	local := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:d0c::/48")}
	z, err := NewZone(nil, local)
	if err != nil {
		t.Fatal(err)
	}
	for addrs, want := range map[string]class{
		"192.0.2.1 8.8.8.8 172.32.0.1 172.15.255.255 100.63.255.255 100.128.0.0 169.253.0.1 192.167.1.1 223.255.255.255": public,
		"2600::1 2001:4860:4860::8888 2001:db8::1 64:ff9b::8.8.8.8 2002:808:808::1":                                      public,
		"10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 198.18.0.1 192.0.0.8":                 private,
		"fd00::1 fc00::1 fec0::1 64:ff9b:1::1 64:ff9b::10.0.0.1 2002:a00:1::1 2002:c0a8:101::5":                          private,
		"203.0.113.9 2001:db8:d0c::9 64:ff9b::203.0.113.9":                                                               private,
		"0.0.0.0 0.1.2.3 127.0.0.1 127.255.0.53 169.254.169.254 169.254.1.1 224.0.0.251 239.1.1.1 240.0.0.1":             never,
		"255.255.255.255 100.100.100.200 192.0.0.192":                                                                    never,
		":: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:8.8.8.8 ::ffff:10.0.0.1 ::ffff:169.254.169.254":                             never,
		"fe80::1 febf::1 ff02::1 ff0e::1 100::1 2001:0:4136:e378::1 fd00:ec2::254 fd20:ce::254":                          never,
		"64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 2002:7f00:1::1 2002:a9fe:a9fe::1 64:ff9b::0.0.0.0":                  never,
	} {
		for text := range strings.FieldsSeq(addrs) {
			a := netip.MustParseAddr(text)
			if got := classOf(a, z.local); got != want {
				t.Errorf("%s: class %d, want %d", a, got, want)
			}
			if z.allows(a, false) != (want == public) || z.allows(a, true) != (want != never) {
				t.Errorf("%s: allowed otherwise than its class %d says", a, want)
			}
		}
	}
}
