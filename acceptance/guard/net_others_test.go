package guard

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"casco/lab/actor"
)

// othersRules are what a host may have beside: chains as ufw makes them, an
// administrator's own entries for Docker, and a table of somebody's.
const othersRules = `
iptables -N ufw-before-input
iptables -N ufw-user-input
iptables -A INPUT -j ufw-before-input
iptables -A ufw-before-input -i lo -j ACCEPT
iptables -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A ufw-before-input -j ufw-user-input
iptables -A ufw-user-input -p tcp --dport 22 -j ACCEPT
iptables -A ufw-user-input -s 192.0.2.0/24 -j DROP
iptables -I DOCKER-USER -s 203.0.113.0/24 -j DROP
iptables -I DOCKER-USER -p udp --dport 9999 -j DROP
nft -f - <<'END'
table inet somebody {
	set bad { type ipv4_addr; elements = { 192.0.2.66, 192.0.2.67 } }
	chain input { type filter hook input priority -5; policy accept; ip saddr @bad drop; tcp dport 2323 drop; }
	chain forward { type filter hook forward priority 5; policy accept; ct state invalid drop; }
}
table netdev somebody {
	chain wire { type filter hook ingress device "wire" priority 0; policy accept; ip saddr 192.0.2.99 drop; }
}
END
`

var (
	cascoTable = regexp.MustCompile(`(?ms)^table \w+ casco \{.*?^\}\n`)
	counters   = regexp.MustCompile(`\[\d+:\d+\]|counter packets \d+ bytes \d+|^# .*$`)
)

// others is all that stands in the host's namespace and is not of casco,
// without what is counted.
func (w *netWorld) others() string {
	w.t.Helper()
	var b strings.Builder
	ruleset := w.inNet("nft", "list", "ruleset")
	b.WriteString(counters.ReplaceAllString(cascoTable.ReplaceAllString(ruleset, ""), ""))
	for _, save := range []string{"iptables-save", "ip6tables-save"} {
		for line := range strings.Lines(w.inNet(save)) {
			if !strings.HasPrefix(line, "#") {
				b.WriteString(counters.ReplaceAllString(line, ""))
			}
		}
	}
	return b.String()
}

// TestNetOthers: rules of others, in whatever tables, stay as they are to the
// byte, and in force; ours go wholly; who flushes all rules does not flush ours.
func TestNetOthers(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.78.0.0/24", "n")
	w.counterBox("web", "--network", "n", "--restart", "always")
	w.counterBox("two", "--network", "n", "--restart", "always")
	w.counterIn(w.e.NetNS, "host", ":7100", ":2323")
	if out, err := w.e.Enter("sh", "-ec", othersRules).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before := w.others()
	boxBefore := w.inBox("two", "nft", "list", "ruleset")
	g := w.newGuard(swapPolicy)
	same := func(when string) {
		t.Helper()
		if now := w.others(); now != before {
			t.Errorf("%s: rules of others are not as they were:\n%s\n--- were\n%s", when, now, before)
		}
	}
	dropped := func(when string, want bool) {
		t.Helper()
		r := w.try("web", actor.Try{Kind: "udp", Addr: w.addr("two", "n") + ":7000", Wait: 300})
		h := w.try("web", actor.Try{Kind: "udp", Addr: "10.78.0.1:7100", Wait: 300})
		if r.Reached == want || h.Reached == want {
			t.Errorf("%s: web gets to two: %v, to the host: %v", when, r.Reached, h.Reached)
		}
		if w.try("web", actor.Try{Kind: "tcp", Addr: "10.78.0.1:2323", Wait: 300}).Reached {
			t.Errorf("%s: what somebody else's table drops passes", when)
		}
	}
	dropped("before", false)
	g.start()
	same("enforced")
	dropped("enforced", true)
	g.mode(false)
	g.reload()
	same("no longer enforced")
	dropped("no longer enforced", false)
	if left := w.inNet("nft", "list", "tables"); strings.Contains(left, "casco") {
		t.Errorf("left on the host: %s", left)
	}
	g.mode(true)
	g.reload()
	same("enforced again")
	w.e.Restart()
	w.ready("web")
	g.stop()
	g.start()
	dropped("the engine and the guard restarted", true)

	// An administrator who flushes all rules flushes all but ours.
	w.inNet("nft", "flush", "ruleset")
	if left := w.inNet("nft", "list", "tables"); strings.TrimSpace(left) != "table inet casco\ntable netdev casco" {
		t.Errorf("after a flush of everything: %q", left)
	}
	if out, err := w.e.Enter("nft", "delete", "table", "inet", "casco").CombinedOutput(); err == nil || !strings.Contains(string(out), "not permitted") {
		t.Errorf("anybody may delete our table: %v %s", err, out)
	}
	r := w.try("web", actor.Try{Kind: "udp", Addr: "10.78.0.1:7100", Wait: 300})
	if r.Reached {
		t.Error("after a flush of everything web gets to the host")
	}
	g.mode(false)
	g.reload()
	g.quiet()
	g.stop()
	w.removed(boxBefore)
}

// removed takes the rules that only count out of a container's namespace, as an
// administrator may once no guard owns them: what is left is what was before.
func (w *netWorld) removed(before string) {
	w.t.Helper()
	pid := w.e.Docker("inspect", "-f", "{{.State.Pid}}", "two")
	for _, family := range []string{"inet", "netdev"} {
		if out, err := exec.Command("nsenter", "-t", pid, "-n", "nft", "delete", "table", family, "casco").CombinedOutput(); err != nil {
			w.t.Errorf("%v %s", err, out)
		}
	}
	plain := func(s string) string {
		return regexp.MustCompile(`127\.0\.0\.11:\d+|dport \d+|sport \d+`).ReplaceAllString(counters.ReplaceAllString(s, ""), "")
	}
	if now := w.inBox("two", "nft", "list", "ruleset"); plain(now) != plain(before) {
		w.t.Errorf("the container's namespace is not as it was:\n%s\n--- was\n%s", now, before)
	}
}

// TestNetEgress: flows to networks outside, one within the other, let pass what
// either does and nothing else, also for who is started again.
func TestNetEgress(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.78.0.0/24", "n")
	w.counterIn(w.outside, "outside", outsideAddr+":7000", outsideAddr+":7001", metadata+":7000")
	g := w.newGuard(`
tiers:
  - {id: public, impact: 0.3}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "web*"}, tier: public}
  - {default: other}
flows:
  - {id: f1, from: public/web, to: "egress:198.51.100.0/24", port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f2, from: public/web, to: "egress:198.51.100.2", port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f3, from: public/web, to: "egress:198.51.0.0/16", port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
`)
	g.start()
	w.counterBox("web", "--network", "n")
	w.counterBox("web-2", "--network", "n")
	for range 3 {
		for _, c := range []struct {
			from, addr string
			may        bool
		}{
			{"web", outsideAddr + ":7000", true},
			{"web", outsideAddr + ":7001", false},
			{"web", metadata + ":7000", false},
			{"web-2", outsideAddr + ":7000", false},
		} {
			if r := w.try(c.from, actor.Try{Kind: "tcp", Addr: c.addr}); r.Reached != c.may {
				t.Errorf("%s to %s: %v, want %v: %s", c.from, c.addr, r.Reached, c.may, r.Err)
			}
		}
		w.e.Docker("restart", "-t", "0", "web", "web-2")
		w.ready("web")
		w.ready("web-2")
	}
	g.quiet()
	g.stop()
}
