package acceptance

import (
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestForward: whether another host that has a route reaches a port that is
// not published is what casco says of the engine.
func TestForward(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	name := container(t, e, "app")
	address := e.Docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
	other := e.NetNS + "o"
	outside.Tool(t, "ip", "netns", "add", other)
	t.Cleanup(func() { outside.Tool(t, "ip", "netns", "del", other) })
	for _, args := range []string{
		"-n " + other + " link add wire type veth peer name wire netns " + e.NetNS,
		"-n " + other + " addr add 192.0.2.2/24 dev wire", "-n " + other + " link set wire up",
		"-n " + e.NetNS + " addr add 192.0.2.1/24 dev wire", "-n " + e.NetNS + " link set wire up",
		"-n " + other + " route add 172.16.0.0/12 via 192.0.2.1",
	} {
		outside.Tool(t, "ip", strings.Fields(args)...)
	}
	reached := func() bool {
		t.Helper()
		out, err := e.Enter("ip", "netns", "exec", other, "curl", "-s", "--max-time", "3", "http://"+address+":8080/passwd").Output()
		return err == nil && strings.HasPrefix(string(out), "root:")
	}
	if e.Major() >= 28 {
		// This engine itself drops what is routed to a container. Told not to, it
		// lets others reach what is published on the loopback alone.
		meets := func(state, want string, is bool) {
			t.Helper()
			outside.Tool(t, "ip", "netns", "exec", e.NetNS, "iptables", "-P", "FORWARD", "ACCEPT")
			if v, r := outside.Verdict(outside.Findings(t, e), "daemon-forward", "daemon/"+e.Socket), reached(); v != want || r != is {
				t.Errorf("%s: %q, reached %v; want %q, %v", state, v, r, want, is)
			}
		}
		meets("as it is", "pass", false)
		e.Docker("rm", "-f", name)
		outside.Write(t, e.Config, `{"allow-direct-routing": true}`)
		e.Restart()
		name = container(t, e, "loopback", "-p", "127.0.0.1:8080:8080")
		address = e.Docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)
		meets("with direct routing", "fail", true)
		return
	}
	for _, tt := range []struct {
		name, run, verdict string
		reached            bool
	}{
		{"as the engine made it", "", "pass", false},
		{"forwarding was on before the engine", "iptables -P FORWARD ACCEPT", "fail", true},
		{"closed by a rule", "iptables -A FORWARD -j DROP", "pass", false},
		{"closed by another table", "iptables -D FORWARD -j DROP; nft 'table inet own { chain f { type filter hook forward priority 10; policy drop; }; }'", "pass", false},
		{"open again", "nft delete table inet own", "fail", true},
	} {
		if out, err := e.Enter("sh", "-ec", tt.run).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tt.run, err, out)
		}
		if got := reached(); got != tt.reached {
			t.Fatalf("%s: reached %v: the test proves nothing", tt.name, got)
		}
		if v := outside.Verdict(outside.Findings(t, e), "daemon-forward", "daemon/"+e.Socket); v != tt.verdict {
			t.Errorf("%s: %q, want %q", tt.name, v, tt.verdict)
		}
	}
}
