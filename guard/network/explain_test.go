package network

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
)

const explainPolicy = `
tiers:
  - {id: public, impact: 0.2}
  - {id: restricted, impact: 1}
assign:
  - {match: {name: "db|cache"}, tier: restricted}
  - {match: {name: "web|blog"}, tier: public}
  - default: public
flows:
  - {id: f1, from: public/web, to: restricted/db, port: 5432/tcp}
  - {id: in, from: any-internet, to: public/web, port: 80/tcp}
  - {id: ntp, from: public/web, to: host, port: 123/udp}
  - {id: upd, from: public/web, to: "egress:*.example", port: 443/tcp}
  - {id: net, from: public/web, to: "egress:203.0.113.0/24", port: 443/tcp}
  - {id: mon, from: host, to: "public/*", port: 9100/tcp}
`

const explainWorld = `
engine 29.7.2
host 192.0.2.10
net front bridge 172.20.0.0/16 172.20.0.1
net data bridge 172.22.0.0/16 172.22.0.1
ns 1 front=172.20.0.2 data=172.22.0.9
  web project=shop publish=0.0.0.0:8080:80/tcp
ns 2 front=172.20.0.3
  blog
ns 3 data=172.22.0.2
  db publish=0.0.0.0:15432:5432/tcp
ns 4 front=172.20.0.5
  extra
ns 5
  agent onhost
ns 6 data=172.22.0.7
  cache
  side
`

func TestExplain(t *testing.T) {
	p := policyOf(t, explainPolicy)
	j, err := NewJudge(p)
	if err != nil {
		t.Fatal(err)
	}
	w := worldOf(t, explainWorld)
	var got strings.Builder
	for _, ask := range []string{
		"web db 5432/tcp", "blog db 5432/tcp", "db web 5432/tcp", "web db 22/tcp", "blog web 80/tcp", "extra web 80/tcp",
		"any-internet web 80/tcp", "any-internet db 5432/tcp", "web host 123/udp", "blog host 22/tcp", "web agent 123/udp",
		"web a.example 443/tcp", "web b.example.org 443/tcp", "web 203.0.113.7 443/tcp", "web 172.20.0.3 443/tcp", "host blog 9100/tcp", "host db 5432/tcp",
		"cache side 1/tcp", "web cache 6379/tcp", "host agent 1/tcp", "web 172.22.0.1 123/udp", "db any-internet 443/tcp",
	} {
		f := strings.Fields(ask)
		port, err := ParsePort(f[2])
		if err != nil {
			t.Fatal(err)
		}
		x, err := Explain(w, j, f[0], f[1], port)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s: %v\n", ask, x.Passes)
		for _, r := range x.Routes {
			fmt.Fprintf(&got, "  %s %s -> %s", r.Way, r.From, r.To)
			if at := r.Drops(); at != "" {
				fmt.Fprintf(&got, " dropped by %s", at)
			}
			got.WriteString("\n")
		}
		for _, l := range x.Lines {
			fmt.Fprintf(&got, "  by %s %s %s\n", l.Path, l.Flow, l.At)
		}
		for _, n := range x.Notes {
			fmt.Fprintf(&got, "  %s\n", n.En)
		}
		if x.Add != nil {
			fmt.Fprintf(&got, "  add%s\n", strings.ReplaceAll(strings.Join(x.Add.Lines(lang.English)[:4], ";"), "  ", " "))
		}
	}
	golden(t, "testdata/explain.txt", got.String())
	if _, err := Explain(w, j, "nobody", "db", Port{1, TCP}); err == nil {
		t.Error("explains who is not there")
	}
}

// golden wants got to be what the file says.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		write(t, file, got)
		return
	}
	if diff := cmp.Diff(read(t, file), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", file, diff)
	}
}
