package acceptance

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// TestExact: the engine cannot forget a limit of a container that exists. A
// plan of a live one says in both languages what will be left, and exactly
// that is left; a plan to the byte leaves nothing, and neither does one that
// makes the container anew for another reason.
func TestExact(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	name := container(t, e, "app", "--pid", "host")
	ref := "container/" + name
	limits := []string{
		"--ref", ref, "--check", "container-memory", "--check", "container-cpu", "--check", "container-pids", "--suggested",
		"--set", ref + ":HostConfig.Memory=67108864", "--set", ref + ":HostConfig.MemorySwap=134217728", "--set", ref + ":HostConfig.NanoCpus=500000000",
	}
	format := "{{json .HostConfig}}"
	before, id := inspect(t, e, name), e.Docker("inspect", "-f", "{{.Id}}", name)
	restored := func(what string) {
		t.Helper()
		if diff := cmp.Diff(before, inspect(t, e, name)); diff != "" {
			t.Errorf("%s: not to the byte (-before +after the rollback):\n%s", what, diff)
		}
	}

	outside.Rollback(t, e, outside.PlanApplyVerify(t, e, append(limits, "--exact")...))
	restored("--exact")
	change := outside.PlanApplyVerify(t, e, append(limits, "--check", "container-host-pid")...)
	if got := e.Docker("inspect", "-f", "{{.Id}} {{.HostConfig.PidMode}}{{.HostConfig.Memory}}", name); strings.HasPrefix(got, id) || !strings.HasSuffix(got, " 67108864") {
		t.Errorf("made anew with its limits: %s", got)
	}
	outside.Rollback(t, e, change)
	restored("made anew for another reason")

	was := e.Docker("inspect", "-f", format, name)
	out, errs, code := outside.Casco(t, e, append([]string{"plan", "-o", filepath.Join(t.TempDir(), "p")}, limits...)...)
	says := []string{
		"docker-update", "HostConfig.Memory, which was not set, then shows 9223372036854771712 (MemorySwap too), which limits nothing",
		"HostConfig.NanoCpus, which was not set, then shows all CPUs", "HostConfig.PidsLimit, which was not set, then shows 0", "casco plan --exact",
	}
	wants(t, out+errs, code, 5, says...)
	out, errs, code = outside.Casco(t, e, append([]string{"plan", "--lang", "es"}, limits...)...)
	wants(t, out+errs, code, 5, "HostConfig.PidsLimit, que no estaba puesto, muestra entonces 0, que no limita nada")
	outside.Rollback(t, e, outside.PlanApplyVerify(t, e, limits...))
	cpus := e.Docker("info", "-f", "{{.NCPU}}")
	want := strings.NewReplacer(
		`"Memory":0`, `"Memory":9223372036854771712`, `"MemorySwap":0`, `"MemorySwap":9223372036854771712`,
		`"NanoCpus":0`, `"NanoCpus":`+cpus+`000000000`, `"PidsLimit":null`, `"PidsLimit":0`).Replace(was)
	if diff := cmp.Diff(want, e.Docker("inspect", "-f", format, name)); diff != "" {
		t.Errorf("another rest than the plan said (-said +is):\n%s", diff)
	}
	if got := e.Docker("inspect", "-f", "{{.Id}}", name); got != id {
		t.Errorf("container %s became %s", id, got)
	}
}
