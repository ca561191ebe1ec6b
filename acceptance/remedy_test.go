package acceptance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// A remedy is the cure of one recommendation of CIS Docker 1.8.0 on one object
// that ordinary tools have put into the bad state.
type remedy struct {
	cis, check string
	since      int                                      // the first engine that can be so, if not all can
	run        string                                   // how a container is made bad: arguments of docker run; @ stands for the engine's directory
	config     string                                   // how an engine is made bad: its daemon.json; @ as above, % for its namespace
	spoil      func(t *testing.T, e *realdocker.Engine) // what else makes an engine bad, if not nil
	set        []string                                 // answers, FIELD=VALUE
	suggested  bool                                     // take what casco suggests
	// held says by an ordinary tool what is not as the recommendation wants
	// it, "" if nothing is.
	held func(t *testing.T, e *realdocker.Engine, name string) string
}

// args are those of "casco plan" for the remedy of ref.
func (r remedy) args(e *realdocker.Engine, ref string) []string {
	args := []string{"--check", r.check, "--ref", ref}
	for _, s := range r.set {
		args = append(args, "--set", ref+":"+strings.ReplaceAll(s, "@", e.Root))
	}
	if r.suggested {
		args = append(args, "--suggested")
	}
	return args
}

// turn takes one object through the loop: casco finds the defect, cures it so
// that held says nothing, and takes it back to what look showed before. What
// answers must answer after every step.
func turn(t *testing.T, e *realdocker.Engine, check, ref string, args []string, look func() string, held func() string, answers func()) {
	t.Helper()
	before := look()
	if complaint := held(); complaint == "" {
		t.Fatal("the bad state is good already: the test proves nothing")
	}
	if v := outside.Verdict(outside.Findings(t, e), check, ref); v != "fail" {
		t.Fatalf("%s of %s in the bad state: %q, want fail", check, ref, v)
	}
	answers()
	id := outside.PlanApplyVerify(t, e, args...)
	if complaint := held(); complaint != "" {
		t.Errorf("casco says that it is cured, but %s", complaint)
	}
	if v := outside.Verdict(outside.Findings(t, e), check, ref); v != "pass" {
		t.Errorf("%s of %s after the cure: %q, want pass", check, ref, v)
	}
	answers()
	outside.Rollback(t, e, id)
	if diff := cmp.Diff(before, look()); diff != "" {
		t.Errorf("not as before (-before +after the rollback):\n%s", diff)
	}
	answers()
}

// fileState is a file as stat and sha256sum show it: type, mode, owner, text.
func fileState(t testing.TB, path string) string {
	t.Helper()
	state := outside.Tool(t, "stat", "-c", "%F %04a %u:%g", path)
	if strings.HasPrefix(state, "regular") {
		state += " " + strings.Fields(outside.Tool(t, "sha256sum", path))[0]
	}
	return state
}

// inspect is a container as docker inspect shows it, without what is new at
// each start.
func inspect(t testing.TB, e *realdocker.Engine, name string) string {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(e.Docker("inspect", name)), &list); err != nil {
		t.Fatal(err)
	}
	c := list[0]
	state := c["State"].(map[string]any)
	c["State"] = map[string]any{"Running": state["Running"], "Paused": state["Paused"]}
	networks := c["NetworkSettings"].(map[string]any)["Networks"].(map[string]any)
	for name, n := range networks {
		if name == "bridge" || name == "host" || name == "none" {
			// Nobody resolves names there. Since 25.0 an engine notes some all the same
			// when it renames a container that runs, and keeps them.
			delete(n.(map[string]any), "DNSNames")
		}
		for _, volatile := range []string{"EndpointID", "IPAddress", "MacAddress", "Gateway", "NetworkID", "IPPrefixLen"} {
			delete(n.(map[string]any), volatile)
		}
	}
	c["NetworkSettings"] = networks
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// service starts a container that answers on a port that it publishes, and
// returns what fails the test when it does not.
func service(t *testing.T, e *realdocker.Engine) (answers func()) {
	t.Helper()
	name := container(t, e, "bystander", "-p", "127.0.0.1:8070:8080", "--restart", "always")
	return func() {
		t.Helper()
		if got := published(e, "8070"); !strings.HasPrefix(got, "root:") {
			t.Errorf("%s no longer answers on its published port: %s\n%s", name, got, e.Docker("ps", "-a"))
		}
	}
}

// published asks a web server on a port of the engine's host for /etc/passwd
// of its container.
func published(e *realdocker.Engine, port string) string {
	out, err := e.Enter("curl", "-s", "-S", "--max-time", "5", "--retry", "5", "--retry-connrefused", "--retry-delay", "1",
		"http://127.0.0.1:"+port+"/passwd").CombinedOutput()
	if err != nil {
		return err.Error() + " " + string(out)
	}
	return string(out)
}

// container runs a web server with the arguments of docker run, and removes it
// when the test ends.
func container(t *testing.T, e *realdocker.Engine, name string, args ...string) string {
	t.Helper()
	args = append([]string{"run", "-d", "--name", name, "--stop-signal", "KILL"}, args...)
	e.Docker(append(args, "web:1", "httpd", "-f", "-p", "8080", "-h", "/etc")...)
	t.Cleanup(func() {
		for line := range strings.Lines(e.Docker("ps", "-a", "--format", "{{.Names}}")) {
			if other := strings.TrimSpace(line); other == name || strings.HasPrefix(other, name+"-") {
				e.Docker("rm", "-f", other)
			}
		}
	})
	return name
}

// inside runs a command in a container.
func inside(t *testing.T, e *realdocker.Engine, name string, command ...string) string {
	t.Helper()
	return e.Docker(append([]string{"exec", name}, command...)...)
}
