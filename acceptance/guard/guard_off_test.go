package guard

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestGuardOffNetwork: of two hosts' guards that are dead, the rules of the one
// that is named go, and those of the other stay. A second time there is nothing to
// be done, and no alarm.
func TestGuardOffNetwork(t *testing.T) {
	worlds := []*netWorld{newWorld(t), newWorld(t)}
	var guards []*guarding
	for _, w := range worlds {
		g := w.newGuard("tiers: [{id: apps, impact: 0.3}]\nassign: [{default: apps}]\nnetwork: {enforce: true, start: runtime}\n")
		g.start()
		w.e.Docker("run", "-d", "--name", "box", w.image, "wait")
		g.reload()
		guards = append(guards, g)
	}
	ruled := func(w *netWorld) (host, box bool) {
		t.Helper()
		return strings.Contains(w.inNet("nft", "list", "tables"), "casco"), strings.Contains(w.inBox("box", "nft", "list", "tables"), "casco")
	}
	for i, w := range worlds {
		for range 40 {
			if host, box := ruled(w); host && box {
				break
			}
			guards[i].reload()
		}
		if host, box := ruled(w); !host || !box {
			t.Fatalf("guard %d: rules of the host %v, of the container %v", i, host, box)
		}
	}
	for _, g := range guards {
		g.kill()
	}
	off := func() string {
		t.Helper()
		g := guards[0]
		cmd := exec.Command(g.program, "--host", "unix://"+worlds[0].e.Socket, "--state", g.state, "--run", g.run, "--lang", "en", "guard", "off", "--network")
		cmd.Env = append(os.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("guard off --network: %v\n%s", err, out)
		}
		return string(out)
	}
	alarms := func() int {
		t.Helper()
		out, err := exec.Command(guards[0].program, "--state", guards[0].state, "log", "show", "--kind", "alert", "--format", "json").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(out), "break-glass off")
	}
	if said := off(); strings.Contains(said, "nothing was to be done") {
		t.Errorf("there were rules, and it says: %s", said)
	}
	if host, box := ruled(worlds[0]); host || box {
		t.Errorf("off: rules of the host %v, of the container %v", host, box)
	}
	if host, box := ruled(worlds[1]); !host || !box {
		t.Errorf("the other's: rules of the host %v, of the container %v", host, box)
	}
	was := alarms()
	if said := off(); !strings.Contains(said, "nothing was to be done") {
		t.Errorf("a second time it says: %s", said)
	}
	if now := alarms(); was != 1 || now != was {
		t.Errorf("alarms in the ledger: %d, then %d", was, now)
	}
}
