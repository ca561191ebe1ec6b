package network

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
	"casco/policy"
)

const learnWorld = `
host 192.0.2.10
net front bridge 172.20.0.0/16 172.20.0.1
net data bridge 172.22.0.0/16 172.22.0.1
ns 1 front=172.20.0.2
  shop-web-1 project=shop service=web tier=public
ns 2 front=172.20.0.3
  shop-web-2 project=shop service=web tier=public
ns 3 data=172.22.0.2
  db tier=restricted publish=0.0.0.0:15432:5432/tcp
ns 4 front=172.20.0.4
  bad tier=public
ns 5 data=172.22.0.3
  cache tier=restricted
  side tier=restricted
ns 6
  agent onhost
ns 7 front=172.20.0.5
  api tier=internal project=shop
`

const learnPolicy = `
tiers:
  - {id: public, impact: 0.2}
  - {id: internal, impact: 0.5}
  - {id: restricted, impact: 1}
assign:
  - default: public
flows:
  - {id: known, from: public/web, to: internal/api, port: 8080/tcp, why: x, owner: x, review: 2027-01-01}
  - {id: web-db-5432, from: public/other, to: restricted/db, port: 9/tcp, why: x, owner: x, review: 2027-01-01}
  - {id: out, from: public/web, to: "egress:203.0.113.0/24", port: 443/tcp, why: x, owner: x, review: 2027-01-01}
`

// seenFlow is "1 out 172.22.0.2 5432/tcp 10 8": connections and answers.
func seenFlow(t testing.TB, text string) Flow {
	t.Helper()
	var ns, conns, replied uint64
	var way, peer, at string
	if _, err := fmt.Sscan(text, &ns, &way, &peer, &at, &conns, &replied); err != nil {
		t.Fatal(text, err)
	}
	f := Flow{
		Namespace: ns, Out: way == "out", Connections: conns, Replied: replied, Sent: Count{conns, 1000 * conns},
		First: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Last: time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC),
	}
	f.Peer, _ = netip.ParseAddr(peer)
	if number, ok := strings.CutSuffix(at, "/icmp"); ok {
		f.Port.Proto = ICMP
		fmt.Sscan(number, &f.Port.Number)
		return f
	}
	var err error
	if f.Port, err = ParsePort(at); err != nil {
		t.Fatal(err)
	}
	return f
}

func learn(t testing.TB, drifted ...string) Learned {
	j, err := NewJudge(policyOf(t, learnPolicy))
	if err != nil {
		t.Fatal(err)
	}
	var flows []Flow
	for line := range strings.Lines(strings.TrimSpace(`
1 out 172.22.0.2 5432/tcp 10 8
2 out 172.22.0.2 5432/tcp 5 5
3 in 172.20.0.2 5432/tcp 10 8
3 in 172.20.0.3 5432/tcp 4 4
1 out 172.20.0.5 8080/tcp 7 7
1 out 192.0.2.10 15432/tcp 2 2
3 in 172.22.0.1 5432/tcp 2 2
1 out 169.254.169.254 80/tcp 1 0
1 out 203.0.113.9 443/tcp 3 3
1 out 198.51.100.1 443/tcp 3 3
1 out 172.20.0.1 2375/tcp 1 1
3 in 198.51.100.7 5432/tcp 1 1
3 out 2001:db8::7 443/tcp 1 1
5 out 172.22.0.2 5432/tcp 1 1
1 out 172.20.0.99 80/tcp 1 1
1 out 127.0.0.11 53/udp 1 1
1 out 224.0.0.251 53/udp 1 1
1 out 172.22.0.2 8/icmp 1 1
1 in - 80/tcp 9 9
4 out 172.22.0.2 22/tcp 1 1
3 in 172.20.0.4 22/tcp 1 1
6 out 172.22.0.2 22/tcp 1 1
9 out 172.22.0.2 22/tcp 1 1`)) {
		flows = append(flows, seenFlow(t, line))
	}
	return Learn(flows, worldOf(t, learnWorld), j, drifted)
}

func TestLearn(t *testing.T) {
	l := learn(t, "bad")
	var got []string
	for _, p := range l.Proposals {
		line := fmt.Sprintf("%s: %s -> %s %s %d/%d", p.ID, p.From, p.To, p.Port, p.Replied, p.Connections)
		for _, d := range p.Dangers {
			line += " ! " + d.En[:strings.IndexAny(d.En+":", ":;,")]
		}
		got = append(got, line)
	}
	for _, k := range l.Known {
		got = append(got, fmt.Sprintf("known: %s -> %s %s %d %v", k.From, k.To, k.Port, k.Connections, k.Paths))
	}
	for _, o := range l.LeftOut {
		got = append(got, fmt.Sprintf("left out: %d %v %s: %s", o.Flow.Namespace, o.Flow.Peer, o.Flow.Port, o.Why.En))
	}
	want := []string{
		// Replicas are one, and what both ends saw is counted once.
		"any-internet-db-5432: any-internet -> restricted/db 5432/tcp 1/1 ! from outside straight into the tier of the highest impact",
		"host-db-5432: host -> restricted/db 5432/tcp 2/2 ! it came from an address of the host",
		"web-198.51.100.1-443: public/web -> egress:198.51.100.1 443/tcp 3/3",
		"web-169.254.169.254-80: public/web -> egress:169.254.169.254 80/tcp 0/1 ! metadata of a cloud ! never answered",
		"web-host-2375: public/web -> host 2375/tcp 1/1 ! the port of an engine's API",
		"web-db-5432-2: public/web -> restricted/db 5432/tcp 15/17 ! from impact 0.2 up to 1 ! it went round by a published port",
		"cache-db-5432: restricted/cache -> restricted/db 5432/tcp 1/1",
		"db-2001-db8--7-443: restricted/db -> egress:2001:db8::7 443/tcp 1/1 ! out of the tier of the highest impact",
		"side-db-5432: restricted/side -> restricted/db 5432/tcp 1/1",
		"known: public/web -> egress:203.0.113.9 443/tcp 3 [flows.2]",
		"known: public/web -> internal/api 8080/tcp 7 [flows.0]",
		"left out: 1 172.20.0.99 80/tcp: " + whyPeerGone.En,
		"left out: 1 172.22.0.2 8/1: " + whyNoPort.En,
		"left out: 1 224.0.0.251 53/udp: " + whyOneLink.En,
		"left out: 1 invalid IP 80/tcp: " + whyTogether.En,
		"left out: 3 172.20.0.4 22/tcp: " + whyDrifted.F("bad").En,
		"left out: 4 172.22.0.2 22/tcp: " + whyDrifted.F("bad").En,
		"left out: 6 172.22.0.2 22/tcp: " + whyOnTheHost.En,
		"left out: 9 172.22.0.2 22/tcp: " + whyGone.En,
	}
	slices.Sort(want[:9])
	slices.Sort(got[:len(l.Proposals)])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestLearnedLines: with the marks taken away the lines are a policy in which
// only what a person has to say is wrong, and with that said it is in order.
func TestLearnedLines(t *testing.T) {
	for _, in := range []lang.Lang{lang.English, lang.Spanish} {
		l := learn(t)
		lines := string(l.Lines(in, true))
		for line := range strings.Lines(lines) {
			if !strings.HasPrefix(line, mark) && !strings.HasPrefix(line, "  # ") {
				t.Errorf("a line in force that nobody decided: %q", line)
			}
		}
		base, _, _ := strings.Cut(learnPolicy, "flows:")
		base = "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\n" + base
		text := strings.ReplaceAll(lines, mark, "")
		if _, problems := policy.ParseFile("p.yaml", []byte(base+text)); len(problems) == 0 {
			t.Error("a crossing that nobody answers for is in order")
		}
		for key, value := range map[string]string{"why": "x", "owner": "x", "review": "2027-01-01"} {
			text = regexp.MustCompile(`    `+key+`: "" .*`).ReplaceAllString(text, "    "+key+": "+value)
		}
		p, problems := policy.ParseFile("p.yaml", []byte(base+text))
		if p == nil || len(p.Flows) != len(l.Proposals) {
			t.Fatal(problems, text)
		}
		for _, pr := range policy.Lint(p, policy.Catalogue{}, time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC)) {
			if pr.Severity == policy.Error && strings.Contains(pr.Text.En, "flow") {
				t.Error(pr)
			}
		}
		// And what was proposed lets pass what was seen.
		j, err := NewJudge(p)
		if err != nil {
			t.Fatal(err)
		}
		w := worldOf(t, learnWorld)
		for _, pr := range l.Proposals {
			if pr.From == "public/web" && pr.To == "restricted/db" {
				if rs := j.Between(w.Namespaces[0].Members[0].Workload, w.Namespaces[2].Members[0].Workload); len(rs) != 1 {
					t.Error(rs)
				}
			}
		}
	}
}

// FuzzLearnedLines: whatever a container is called, its lines say nothing but
// the flow.
func FuzzLearnedLines(f *testing.F) {
	f.Add("db", "web")
	f.Add("x\n  - {id: evil, from: public/a, to: restricted/b, port: 1/tcp}", "a: b #")
	f.Add("no", "\u2028- evil")
	f.Fuzz(func(t *testing.T, name, service string) {
		j, err := NewJudge(policyOf(t, learnPolicy))
		if err != nil {
			t.Fatal(err)
		}
		w := worldOf(t, learnWorld)
		w.Namespaces[0].Members[0].Workload.Labels[composeService] = service
		w.Namespaces[2].Members[0].Workload.Name = name
		l := Learn([]Flow{seenFlow(t, "1 out 172.22.0.2 5432/tcp 1 1")}, w, j, nil)
		text := strings.ReplaceAll(string(l.Lines(lang.English, true)), mark, "")
		for key, value := range map[string]string{"why": "x", "owner": "x", "review": "2027-01-01"} {
			text = regexp.MustCompile(`(?m)^    `+key+`: "" .*$`).ReplaceAllString(text, "    "+key+": "+value)
		}
		p, problems := policy.ParseFile("p.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\ntiers: [{id: t, impact: 1}]\nassign: [{default: t}]\n"+text))
		if p == nil || len(p.Flows) != len(l.Proposals) {
			t.Fatalf("%v\n%s", problems, text)
		}
		for i, fl := range p.Flows {
			if fl.From != l.Proposals[i].From || fl.To != l.Proposals[i].To {
				t.Errorf("%+v is not %+v", fl, l.Proposals[i])
			}
		}
	})
}
