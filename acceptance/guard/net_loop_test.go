package guard

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
)

const loopPolicy = `apiVersion: casco/v1
kind: Policy
metadata: {name: net, version: 1}
tiers:
  - {id: public, impact: 0.3}
  - {id: restricted, impact: 1}
assign:
  - {match: {name: "web*"}, tier: public}
  - {default: restricted}
`

const loopFlow = `flows:
  - {id: f1, from: public/web, to: restricted/db, port: 7000/tcp, why: app, owner: ro1, review: 2099-01-01}
`

// A turner is the command line of a guarded host, whose policy is in force and
// not given with each command.
type turner struct {
	*testing.T
	w *netWorld
	g *guarding
}

// casco runs a command and wants it to end with that code.
func (t *turner) casco(code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(t.g.program, append([]string{
		"--host", "unix://" + t.w.e.Socket, "--state", t.g.state, "--run", t.g.run, "--lang", "en",
	}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(t.w.e.Root, "cli"), "DOCKER_HOST=", "DOCKER_CONTEXT=")
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("casco %s: %v, want exit code %d\n%s", strings.Join(args, " "), err, code, out)
	}
	return string(out)
}

func (t *turner) load(version, policy string) {
	t.Helper()
	path := filepath.Join(t.w.e.Root, "load.yaml")
	outside.Write(t, path, strings.Replace(policy, "version: 1", "version: "+version, 1))
	t.casco(0, "policy", "load", path, "--yes")
}

// reached says whether web gets to a port of db by TCP, as db itself sees it.
func (t *turner) reached(port string) bool {
	t.Helper()
	t.w.clear("db")
	_, err := t.w.e.TryDocker("exec", "web", "/probe", "try", "tcp", t.w.addr("db", "n")+":"+port)
	for from, n := range t.w.counts("db").From {
		if strings.HasPrefix(from, "tcp ") && n > 0 {
			return true
		}
	}
	return err == nil
}

// TestNetLoop turns the loop with networks: a flow is seen, learned, declared,
// enforced as a change, proved, explained, confirmed, and taken back.
func TestNetLoop(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "n")
	w.counterBox("db", "--network", "n", "--", ":7000", ":7001")
	w.e.Docker("run", "-d", "--name", "web", "--network", "n", w.image, "wait")
	g := w.newGuard(strings.TrimPrefix(loopPolicy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: net, version: 1}\n"))
	g.policy = ""
	if err := os.Remove(filepath.Join(g.state, "network.json")); err != nil {
		t.Fatal(err)
	}
	tt := &turner{t, w, g}
	tt.load("1", loopPolicy)
	if out := tt.casco(4, "net", "enforce"); !strings.Contains(out, "no guard") {
		t.Errorf("without a guard: %s", out)
	}
	g.start()

	// What casco tries itself is nobody's traffic.
	var tried []struct{ Reached bool }
	if err := g.call(http.MethodPost, "/v1/probe", &tried); err != nil || !slices.ContainsFunc(tried, func(p struct{ Reached bool }) bool { return p.Reached }) {
		t.Fatalf("probed: %v, %v", tried, err)
	}
	if out := tt.casco(0, "net", "flows"); strings.Contains(out, "7000/tcp") {
		t.Errorf("what casco tried is a flow of a container:\n%s", out)
	}
	if out := tt.casco(0, "net", "learn"); strings.Contains(out, "7000/tcp") {
		t.Errorf("learned of what casco tried:\n%s", out)
	}

	// Nothing is dropped before somebody agreed to it; what would be is counted.
	if !tt.reached("7000") || !tt.reached("7001") {
		t.Fatal("the guard drops what nobody had enforced")
	}
	if out := tt.casco(0, "net", "flows"); !strings.Contains(out, "public/web") || !strings.Contains(out, "7000/tcp") {
		t.Errorf("flows:\n%s", out)
	}
	if out := tt.casco(0, "net", "learn"); !strings.Contains(out, "to: restricted/db") || !strings.Contains(out, "port: 7000/tcp") {
		t.Errorf("learned:\n%s", out)
	}
	tt.load("2", loopPolicy+loopFlow)
	if out := tt.casco(0, "net", "explain", "web", "db", "7000/tcp"); !strings.Contains(out, "f1") {
		t.Errorf("explained:\n%s", out)
	}
	if out := tt.casco(3, "net", "explain", "web", "db", "7001/tcp"); !strings.Contains(out, "port: 7001/tcp") {
		t.Errorf("explained:\n%s", out)
	}
	if out := tt.casco(3, "audit", "--why", "guard-network"); !strings.Contains(out, "guard/network") {
		t.Errorf("audit:\n%s", out)
	}

	if !g.eventWithin(time.Minute, "would-drop", "") || g.told("dropped", "db") || g.told("dropped", "web") {
		t.Error("what is only counted is not told of as what would have been dropped")
	}

	// Enforced: planned, approved, applied, proved by trying.
	plan := filepath.Join(w.e.Root, "net.json")
	tt.casco(5, "net", "enforce", "-o", plan)
	tt.casco(4, "apply", plan, "--yes") // nobody approved it
	tt.casco(0, "approve", plan, "--yes")
	if out := tt.casco(0, "apply", plan, "--yes"); !strings.Contains(out, "1 findings closed") {
		t.Errorf("applied:\n%s", out)
	}
	if !tt.reached("7000") || tt.reached("7001") {
		t.Error("enforced: 7000 must be reached and 7001 not")
	}
	if out := tt.casco(0, "net", "status"); !strings.Contains(out, "sent what no flow allows") {
		t.Errorf("status:\n%s", out)
	}
	if out := tt.casco(3, "net", "path", "db", "web"); !strings.Contains(out, "no path") {
		t.Errorf("path:\n%s", out)
	}
	tt.casco(0, "net", "enforce") // it is
	for _, as := range []string{"nftables", "iptables", "csv"} {
		if out := tt.casco(0, "net", "export", "--as", as); !strings.Contains(out, "7000") {
			t.Errorf("export as %s:\n%s", as, out)
		}
	}
	drawn := filepath.Join(w.e.Root, "map.png")
	tt.casco(0, "net", "map", "-o", drawn)
	if b, err := os.ReadFile(drawn); err != nil || !strings.HasPrefix(string(b), "\x89PNG") {
		t.Errorf("the map is no PNG: %v", err)
	}

	// It is all in the ledger.
	if out := tt.casco(0, "log", "show"); !strings.Contains(out, "decision") || !strings.Contains(out, "alert") {
		t.Errorf("the ledger knows neither rules nor drops:\n%.2000s", out)
	}
	tt.casco(0, "log", "verify")

	// Another policy in force is gone by at once.
	tt.load("3", loopPolicy)
	if tt.reached("7000") {
		t.Error("a flow that was taken out of the policy is still let pass")
	}
	var changes struct{ Changes []struct{ ID string } }
	if err := json.Unmarshal([]byte(tt.casco(0, "changes", "--format", "json")), &changes); err != nil || len(changes.Changes) != 1 {
		t.Fatalf("changes: %v, %v", changes, err)
	}
	tt.casco(0, "rollback", changes.Changes[0].ID, "--yes")
	if !tt.reached("7000") || !tt.reached("7001") {
		t.Error("taken back, and still dropped")
	}
}

// TestNetUnconfirmed wants a change of the network that nobody confirms to go
// back by itself.
func TestNetUnconfirmed(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "n")
	w.counterBox("db", "--network", "n", "--", ":7000", ":7001")
	w.e.Docker("run", "-d", "--name", "web", "--network", "n", w.image, "wait")
	g := w.newGuard(strings.TrimPrefix(loopPolicy, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: net, version: 1}\n"))
	g.policy = ""
	g.mode(false)
	tt := &turner{t, w, g}
	tt.load("1", loopPolicy+"changes: {confirm_within: 5s}\n")
	g.start()
	plan := filepath.Join(w.e.Root, "net.json")
	tt.casco(5, "net", "enforce", "-o", plan)
	tt.casco(0, "approve", plan, "--yes")
	if out := tt.casco(0, "apply", plan, "--yes"); !strings.Contains(out, "goes back by itself") {
		t.Fatalf("applied:\n%s", out)
	}
	if tt.reached("7000") {
		t.Error("not enforced")
	}
	for begun := time.Now(); !tt.reached("7000"); {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("nobody confirmed, and it did not go back")
		}
		time.Sleep(500 * time.Millisecond)
	}
}
