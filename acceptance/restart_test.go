package acceptance

import (
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestRestart: CIS 5.15 wants restart attempts to be bounded, but a service
// that ends with 0 on SIGTERM stays down after the next restart of its engine
// once its policy is on-failure. casco asks, and never plans it by itself.
func TestRestart(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	const polite = `trap 'exit 0' TERM; httpd -p 8080 -h /etc; while :; do sleep 1 & wait $!; done`
	name := "polite"
	e.Docker("run", "-d", "--name", name, "--restart", "always", "-p", "127.0.0.1:8070:8080", "web:1", "sh", "-c", polite)
	ref := "container/" + name
	before := inspect(t, e, name)
	if v := outside.Verdict(outside.Findings(t, e), "container-restart", ref); v != "fail" {
		t.Fatalf("container-restart of a container that is always restarted: %q, want fail", v)
	}
	for _, extra := range [][]string{nil, {"--suggested"}} {
		stdout, stderr, code := outside.Casco(t, e, append([]string{"plan", "--check", "container-restart", "--ref", ref}, extra...)...)
		if code != 0 || !strings.Contains(stdout, "May it stay down") {
			t.Errorf("casco plan %v: exit code %d, want 0 and the question\n%s%s", extra, code, stdout, stderr)
		}
	}

	// All that casco plans by itself for the container leaves it a service that
	// comes back.
	id := outside.PlanApplyVerify(t, e, "--ref", ref, "--suggested")
	if got := e.Docker("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name); got != "always" {
		t.Errorf("restart policy after the loop: %q, want always", got)
	}
	e.Restart()
	comesBack(t, e, name)
	outside.Rollback(t, e, id)
	if after := inspect(t, e, name); after != before {
		t.Errorf("not as before:\n%s\n%s", before, after)
	}

	// Who answers the question gets what the recommendation says, and back.
	id = outside.PlanApplyVerify(t, e, "--check", "container-restart", "--ref", ref,
		"--set", ref+":HostConfig.RestartPolicy.Name=on-failure", "--set", ref+":HostConfig.RestartPolicy.MaximumRetryCount=5")
	if got := e.Docker("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", name); got != `{"Name":"on-failure","MaximumRetryCount":5}` {
		t.Errorf("restart policy: %s", got)
	}
	outside.Rollback(t, e, id)
	if got := e.Docker("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", name); got != `{"Name":"always","MaximumRetryCount":0}` {
		t.Errorf("restart policy after the rollback: %s", got)
	}
	e.Restart()
	comesBack(t, e, name)
	e.Docker("rm", "-f", name)
}

func comesBack(t *testing.T, e *realdocker.Engine, name string) {
	t.Helper()
	for range 50 {
		if e.Docker("inspect", "-f", "{{.State.Running}}", name) == "true" {
			if got := published(e, "8070"); !strings.HasPrefix(got, "root:") {
				t.Errorf("%s runs, but does not answer: %s", name, got)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%s is down after a restart of its engine", name)
}
