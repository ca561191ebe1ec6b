package checks

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// TestLoci wants every wrong part of an object named, and none of the others:
// an exception for one part must not cover another.
func TestLoci(t *testing.T) {
	binding := func(addr, port string) any { return []any{map[string]any{"HostIp": addr, "HostPort": port}} }
	published := func(bindings map[string]any, all bool) map[string]any {
		return map[string]any{"NetworkMode": "web", "PortBindings": bindings, "PublishAllPorts": all}
	}
	for _, c := range []struct {
		check string
		host  map[string]any
		want  []string
	}{
		{"container-published-everywhere", published(map[string]any{
			"443/tcp": binding("", "443"), "80/tcp": binding("127.0.0.1", "8080"), "53/udp": binding("::", "53"),
		}, false), []string{"0.0.0.0:443/tcp", "[::]:53/udp"}},
		{"container-privileged-port", published(map[string]any{"443/tcp": binding("192.0.2.1", "443"), "8443/tcp": binding("", "8443")}, false), []string{"192.0.2.1:443/tcp"}},
		{"container-random-port", published(map[string]any{"443/tcp": binding("", "")}, false), nil},
		{"container-sensitive-mount", map[string]any{"Binds": []any{"/etc:/host:ro", "/srv/www:/www", "/root:/r"}}, []string{"/etc", "/root"}},
		{"container-engine-socket", map[string]any{"Binds": []any{"/var/run/docker.sock:/s", "/srv/www:/www"}}, []string{"/var/run/docker.sock"}},
		{"container-dangerous-capabilities", map[string]any{"Privileged": false, "CapAdd": []any{"SYS_ADMIN", "CAP_NET_ADMIN", "CHOWN"}, "CapDrop": nil}, []string{"NET_ADMIN", "SYS_ADMIN"}},
	} {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Fields: map[string]any{"HostConfig": c.host}}
		a := Find(c.check).Eval(&inventory.Snapshot{Taken: taken}, o)
		if a.Verdict.String() != "fail" {
			t.Errorf("%s: %v", c.check, a.Verdict)
		}
		if d := cmp.Diff(c.want, a.Loci); d != "" {
			t.Errorf("%s: %s", c.check, d)
		}
	}
}
