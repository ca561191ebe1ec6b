package netmap

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"casco/guard/network"
	"casco/lang"
)

// TestAnswers: paths, an explanation and what was learned, as people read them.
func TestAnswers(t *testing.T) {
	b := &builder{w: network.World{Engine: "27.5.1", Host: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}}
	b.net("front", "172.20.0.0/16")
	b.net("apps", "172.21.0.0/16")
	b.net("data", "172.22.0.0/16")
	b.run("proxy", "front")
	b.run("web1", "front apps")
	b.run("api", "apps data")
	b.run("db", "data", "0.0.0.0:15432>5432/tcp", "127.0.0.1:9>9/tcp")
	p := parse(t, shopPolicy)
	j, err := network.NewJudge(p)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	port := network.Port{Number: 5432, Proto: network.TCP}
	learned := network.Learn([]network.Flow{
		{Namespace: 2, Workload: "web1", Out: true, Peer: netip.MustParseAddr("192.0.2.10"), Port: network.Port{Number: 15432, Proto: network.TCP}, Connections: 4, Replied: 4, First: at, Last: at},
		{Namespace: 3, Workload: "api", Out: true, Peer: netip.MustParseAddr("224.0.0.251"), Port: network.Port{Number: 5353, Proto: network.UDP}, Connections: 1},
	}, b.w, j, nil)
	for _, l := range []lang.Lang{lang.English, lang.Spanish} {
		var out bytes.Buffer
		for _, pair := range [][2]string{{"web1", "db"}, {"any-internet", "db"}} {
			paths, err := network.Paths(b.w, p, pair[0], pair[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := WritePaths(&out, pair[0], pair[1], paths, p.Where, l); err != nil {
				t.Fatal(err)
			}
		}
		for _, pair := range [][2]string{{"api", "db"}, {"proxy", "db"}} {
			x, err := network.Explain(b.w, j, pair[0], pair[1], port)
			if err != nil {
				t.Fatal(err)
			}
			if err := WriteExplanation(&out, x, l); err != nil {
				t.Fatal(err)
			}
		}
		if err := WriteLearned(&out, learned, true, l); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > width {
				t.Errorf("%q is wider than %d", line, width)
			}
		}
		golden(t, fmt.Sprintf("testdata/answers.%s.txt", l), out.Bytes())
	}
}
