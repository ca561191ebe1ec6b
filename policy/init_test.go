package policy

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"casco/lang"
)

var found = Found{
	Host:       "docker01",
	Networks:   []FoundNetwork{{"shop_front", []string{"web", "proxy"}}, {"data", []string{"db"}}, {"no", nil}, {"bad name\n", nil}},
	Published:  []FoundPort{{"443/tcp", "proxy"}, {"8080/tcp", "evil\nmetadata: {}"}, {"443/tcp", "proxy"}},
	Accounts:   []string{"deploy", "yes", "*", "x\u202ey", "a b"},
	Listeners:  []FoundPort{{"22/tcp", "/usr/sbin/sshd"}, {"22/tcp", "/usr/sbin/sshd"}, {"99999/tcp", "x"}, {"111/udp", "rpc\x1b[31m # bind"}},
	Registries: []string{"docker.io", "registry.example:5000", "UPPER"},
	Packages:   []string{"telnetd", "nginx"},
	Services:   []string{"cups.service"},
}

// TestInit: a first policy is in order as it is written, says nothing that
// changes a verdict, and is in order with all that was found taken in.
func TestInit(t *testing.T) {
	for _, f := range []Found{found, {}, {Host: "x\n\"y"}} {
		for _, l := range []lang.Lang{lang.English, lang.Spanish} {
			b := Init(f, l)
			p, ps := ParseFile("policy.yaml", b)
			if p == nil || len(ps) > 0 {
				t.Fatalf("%s%s", b, printed(ps))
			}
			if ps := Lint(p, catalogue, at(t, "2026-11-24T12:00:00Z")); len(ps) > 0 {
				t.Errorf("%s%s", b, printed(ps))
			}
			if p.Host.Packages.Allow != nil || p.Host.Ports.Allow != nil || p.Ports.Allow != nil || p.Registries.Allow != nil || len(p.Tiers) != 1 || p.Tiers[0].Networks != nil {
				t.Errorf("it decides by itself: %s", b)
			}
			all := regexp.MustCompile(`(?m)^#\? `).ReplaceAll(b, nil)
			p, ps = ParseFile("policy.yaml", all)
			if p == nil || len(ps) > 0 {
				t.Fatalf("%s%s", all, printed(ps))
			}
			if ps := Lint(p, catalogue, at(t, "2026-11-24T12:00:00Z")); len(ps) > 0 {
				t.Errorf("%s%s", all, printed(ps))
			}
			if f.Host != found.Host {
				continue
			}
			want := Host{
				Packages: AllowForbid{Allow: []string{"nginx", "telnetd"}}, Services: AllowForbid{Allow: []string{"cups.service"}},
				Accounts: AllowForbid{Allow: []string{"deploy", "yes"}}, Ports: AllowForbid{Allow: []string{"111/udp", "22/tcp"}},
			}
			if got := p.Host; !equalLists(got, want) {
				t.Errorf("got %+v", got)
			}
			if got := strings.Join(append(append(p.Ports.Allow, p.Registries.Allow...), p.Tiers[0].Networks...), " "); got != "proxy:443/tcp 8080/tcp docker.io registry.example:5000 data no shop_front" {
				t.Errorf("got %s", got)
			}
			if bytes.ContainsAny(b, "\x1b\u202e") {
				t.Error("something that does not show is in it")
			}
		}
	}
}

func equalLists(a, b Host) bool {
	text := func(h Host) string {
		return strings.Join(h.Packages.Allow, " ") + "|" + strings.Join(h.Services.Allow, " ") + "|" + strings.Join(h.Accounts.Allow, " ") + "|" + strings.Join(h.Ports.Allow, " ")
	}
	return text(a) == text(b)
}
