package keeper

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/guard/network"
	"casco/internal/realdocker"
)

// TestEncryptedRules: through an overlay network that is encrypted the policy
// holds between hosts: a pair that may talk does, one that may not is cut, by
// what the receiver served; on the wire neither can be seen; and the guards of
// both hosts name the flow. The kernel needs ESP, so it runs in a guest of "make
// lsm".
func TestEncryptedRules(t *testing.T) {
	if guest := os.Getenv("CASCO_GUEST"); guest != "overlay" {
		t.Skip("runs in the guest overlay of make lsm")
	}
	m, w := realdocker.Swarm(t)
	m.Docker("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted", "over")
	a, b := &site{Engine: m, t: t, image: m.Image("flows")}, &site{Engine: w, t: t, image: w.Image("flows")}
	a.Attach("db1", "--network", "over", a.image, "httpd", "-f", "-vv", "-p", "8000") // it tells of each connection
	b.Attach("web", "--network", "over", b.image, "sleep", "36000")
	b.Attach("app", "--network", "over", b.image, "sleep", "36000")
	db, web, app := a.addr("db1", "over").String(), b.addr("web", "over").String(), b.addr("app", "over").String()
	begun := time.Now()
	step := func(format string, args ...any) {
		t.Logf("%s: %s", time.Since(begun).Round(time.Second), fmt.Sprintf(format, args...))
	}
	const marker = "casco-keeper-marker-77c2"
	gets := func(from string) bool {
		out, err := b.run("docker", "exec", from, "timeout", "10", "wget", "-U", marker, "-q", "-O", "-", "http://"+db+":8000/etc/passwd")
		return err == nil && strings.Contains(string(out), "root:")
	}
	// Tunnels take their time in an emulated machine.
	soon := func(from string) bool {
		for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
			if gets(from) {
				return true
			}
		}
		return false
	}
	served := func(to string) int {
		return strings.Count(a.docker("logs", "db1"), to+"]") + strings.Count(a.docker("logs", "db1"), to+":")
	}

	sniffed := a.Sniff()
	if !soon("app") || served(app) == 0 {
		t.Fatalf("without rules app does not reach db1: the test proves nothing\n%s", a.docker("logs", "db1"))
	}
	step("without rules app reaches db1")
	a.keep(swarmPolicy, true)
	b.keep(swarmPolicy, true)
	before := served(app)
	if !soon("web") || served(web) == 0 {
		t.Error("who may talk to the other host does not reach it")
	}
	step("web reaches db1")
	for range 3 {
		if gets("app") {
			t.Error("who may not reaches db1")
		}
	}
	if n := served(app) - before; n != 0 {
		t.Errorf("db1 served %d connections of app", n)
	}
	step("app does not; db1 served %d of web", served(web))
	raw := sniffed()
	if esp := bytes.Count(raw, realdocker.ESPMark); esp == 0 || bytes.Contains(raw, []byte(marker)) {
		t.Errorf("%d packets of ESP on the wire; the marker is in clear: %v", esp, bytes.Contains(raw, []byte(marker)))
	} else {
		step("%d packets of ESP, no marker", esp)
	}
	for _, c := range []struct {
		s    *site
		own  string
		peer string
		out  bool
	}{{b, "web", "db1", true}, {a, "db1", "web", false}} {
		fs, err := c.s.keeper.Flows()
		if err != nil {
			t.Fatal(err)
		}
		world, _ := c.s.keeper.World()
		if !slices.ContainsFunc(network.NameFlows(fs, world, c.s.keeper.judge), func(f network.NamedFlow) bool {
			return f.Workload == c.own && f.PeerName == c.peer && f.Out == c.out && f.Port.Number == 8000 && f.Replied > 0
		}) {
			t.Errorf("the host of %s did not see its flow with %s: %+v", c.own, c.peer, fs)
		}
	}
	if n := b.keeper.Report().Drops["app"]; len(n) == 0 {
		t.Error("what app sent in vain is not counted")
	}
}
