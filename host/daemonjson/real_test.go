package daemonjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"casco/host/daemon"
	"casco/host/daemonjson"
	"casco/internal/realdocker"
	"casco/loop/inventory"
	"casco/loop/plan"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// A bench is an engine and the hand on it.
type bench struct {
	*realdocker.Engine
	t    *testing.T
	hand *daemonjson.Hand
}

func start(t *testing.T, conf string) bench {
	t.Helper()
	file := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return bench{realdocker.Start(t, "--config", file), t, daemonjson.New(daemon.Look)}
}

// step makes the step that a plan would hold, through JSON as a plan file does.
func (b bench) step(sets ...plan.Set) plan.Step {
	b.t.Helper()
	for i := range sets {
		sets[i].Field = "Effective." + sets[i].Field
	}
	st := plan.Step{Ref: inventory.Ref{Kind: inventory.Daemon, Name: b.Socket}, Hand: daemonjson.Name, Sets: sets}
	raw, err := json.Marshal(st)
	if err != nil {
		b.t.Fatal(err)
	}
	var out plan.Step
	if err := json.Unmarshal(raw, &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b bench) do(st plan.Step) json.RawMessage {
	b.t.Helper()
	undo, err := b.hand.Prepare(b.t.Context(), st)
	if err != nil {
		b.t.Fatalf("Prepare: %v", err)
	}
	if err := b.hand.Do(b.t.Context(), st, undo); err != nil {
		b.t.Fatalf("Do: %v\n%s", err, b.Log())
	}
	return undo
}

func (b bench) undo(st plan.Step, undo json.RawMessage) {
	b.t.Helper()
	if err := b.hand.Undo(b.t.Context(), st, undo); err != nil {
		b.t.Fatalf("Undo: %v\n%s", err, b.Log())
	}
}

func (b bench) file() string {
	b.t.Helper()
	raw, err := os.ReadFile(b.Config)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(raw)
}

func (b bench) info(format string) string {
	b.t.Helper()
	return strings.TrimSpace(b.Docker("info", "--format", format))
}

func (b bench) is(what, got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

const mine = "{\n\t\"labels\": [\"kept=as it is\"],\n\t\"debug\" : false\n}"

// triedOnce: what was tried is not tried again, unless something changed.
func (b bench) triedOnce(st plan.Step) {
	b.t.Helper()
	var said bytes.Buffer
	b.hand.Log = slog.New(slog.NewTextHandler(&said, nil))
	defer func() { b.hand.Log = nil }()
	trials := func() int {
		b.t.Helper()
		if _, err := b.hand.Prepare(b.t.Context(), st); err != nil {
			b.t.Fatal(err)
		}
		return strings.Count(said.String(), "trying the new settings")
	}
	if n := trials(); n != 1 {
		b.t.Fatalf("%d trials", n)
	}
	if n := trials(); n != 1 {
		b.t.Errorf("%d trials of the same", n)
	}
	before := b.file()
	if err := os.WriteFile(b.Config, []byte(strings.Replace(before, "{", "{\"debug\": true,", 1)), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if n := trials(); n != 2 {
		b.t.Errorf("%d trials, and the file was changed before the last", n)
	}
	if err := os.WriteFile(b.Config, []byte(before), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if n := trials(); n != 3 {
		b.t.Errorf("%d trials, and the file was changed back before the last", n)
	}
}

func TestReload(t *testing.T) {
	b := start(t, "{\n\t\"labels\": [\"kept=as it is\"],\n\t\"insecure-registries\": [\"r.test:5000\", \"10.9.0.0/16\"]\n}")
	before, pid := b.file(), b.Pid()
	st := b.step(plan.Set{Field: "live-restore", To: true},
		plan.Set{Field: "insecure-registries", To: []any{"r.test:5000"}},
		plan.Set{Field: "max-concurrent-downloads", To: 7})
	b.triedOnce(st)
	undo := b.do(st)
	b.is("file", b.file(), "{\n\t\"labels\": [\"kept=as it is\"],\n\t\"insecure-registries\": [\"r.test:5000\"],\n\t\"live-restore\": true,\n\t\"max-concurrent-downloads\": 7\n}")
	b.is("live-restore", b.info("{{.LiveRestoreEnabled}}"), "true")
	b.is("insecure ranges", ranges(b), "[127.0.0.0/8]")
	for range 2 {
		b.undo(st, undo)
		b.is("file after Undo", b.file(), before)
		b.is("live-restore after Undo", b.info("{{.LiveRestoreEnabled}}"), "false")
		b.is("insecure ranges after Undo", ranges(b), "[10.9.0.0/16 127.0.0.0/8]")
	}
	if b.Pid() != pid {
		t.Error("the engine was restarted, and a reload is enough")
	}
}

// ranges are the networks whose registries need no TLS. Since 28.0 the
// loopback of IPv6 is one of its own accord.
func ranges(b bench) string {
	return strings.Replace(b.info("{{.RegistryConfig.InsecureRegistryCIDRs}}"), "::1/128 ", "", 1)
}

// TestReloadRemoves: dockerd keeps the value of a key that is gone from the file.
func TestReloadRemoves(t *testing.T) {
	b := start(t, "{\"live-restore\": true, \"debug\": true}\n")
	st := b.step(plan.Set{Field: "live-restore"}, plan.Set{Field: "debug"})
	undo := b.do(st)
	b.is("file", b.file(), "{}\n")
	b.is("live-restore, debug", b.info("{{.LiveRestoreEnabled}} {{.Debug}}"), "false false")
	b.undo(st, undo)
	b.is("file after Undo", b.file(), "{\"live-restore\": true, \"debug\": true}\n")
	b.is("live-restore, debug after Undo", b.info("{{.LiveRestoreEnabled}} {{.Debug}}"), "true true")
}

func TestRestart(t *testing.T) {
	b := start(t, mine)
	b.Image("app")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "plain", "app", "sleep", "1000")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "leans", "--network", "container:plain", "app", "sleep", "1000")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "always", "--restart", "always", "app", "sleep", "1000")
	b.Docker("create", "--name", "never-ran", "app", "sleep", "1000")
	running := b.Docker("ps", "--format", "{{.Names}}")
	st := b.step(plan.Set{Field: "icc", To: false}, plan.Set{Field: "no-new-privileges", To: true},
		plan.Set{Field: "userland-proxy", To: false}, plan.Set{Field: "log-level", To: "info"},
		plan.Set{Field: "log-opts", To: map[string]any{"max-size": "10m", "max-file": "3"}},
		plan.Set{Field: "default-ulimits", To: map[string]any{"nofile": map[string]any{"Soft": 1024, "Hard": 2048}}})
	undo := b.do(st)
	if icc := b.Docker("network", "inspect", "bridge", "--format", `{{index .Options "com.docker.network.bridge.enable_icc"}}`); strings.TrimSpace(icc) != "false" {
		t.Errorf("icc is %s", icc)
	}
	b.Docker("run", "--name", "probe", "app", "grep", "NoNewPrivs", "/proc/self/status")
	b.is("NoNewPrivs of a new container", strings.Join(strings.Fields(b.Docker("logs", "probe")), " "), "NoNewPrivs: 1")
	b.Docker("rm", "probe")
	b.Docker("create", "--name", "new", "app", "true")
	b.is("default limits", strings.TrimSpace(b.Docker("inspect", "new", "--format", "{{.HostConfig.LogConfig.Config}}")), "map[max-file:3 max-size:10m]")
	b.Docker("rm", "new")
	b.is("containers", b.sorted("ps", "--format", "{{.Names}}"), sortLines(running))
	o, err := daemon.Look(t.Context(), b.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if v, _, _ := inventory.DaemonUserlandProxy.Of(o); v {
		t.Error("the userland proxy is still on")
	}
	b.undo(st, undo)
	b.is("file after Undo", b.file(), mine)
	b.is("containers after Undo", b.sorted("ps", "--format", "{{.Names}}"), sortLines(running))
	b.Docker("run", "--name", "probe", "app", "grep", "NoNewPrivs", "/proc/self/status")
	b.is("NoNewPrivs after Undo", strings.Join(strings.Fields(b.Docker("logs", "probe")), " "), "NoNewPrivs: 0")
	b.Docker("rm", "probe")
	pid := b.Pid()
	b.undo(st, undo)
	b.is("file after the second Undo", b.file(), mine)
	if b.Pid() != pid {
		t.Error("the second Undo restarted an engine that ran as before")
	}
}

func (b bench) sorted(args ...string) string {
	b.t.Helper()
	return sortLines(b.Docker(args...))
}

func sortLines(s string) string {
	var l []any
	for w := range strings.FieldsSeq(s) {
		l = append(l, w)
	}
	return fmt.Sprint(sortAny(l))
}

func sortAny(l []any) []string {
	var out []string
	for _, e := range l {
		out = append(out, e.(string))
	}
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// TestLiveRestoreInTheSameStep: containers run on, by their pid.
func TestLiveRestoreInTheSameStep(t *testing.T) {
	b := start(t, "{}")
	b.Image("app")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "web1", "app", "sleep", "1000")
	pid := b.Docker("inspect", "web1", "--format", "{{.State.Pid}}")
	st := b.step(plan.Set{Field: "live-restore", To: true}, plan.Set{Field: "no-new-privileges", To: true})
	undo := b.do(st)
	b.is("pid of the container", b.Docker("inspect", "web1", "--format", "{{.State.Pid}}"), pid)
	b.undo(st, undo)
	b.is("file after Undo", b.file(), "{}")
	b.is("live-restore after Undo", b.info("{{.LiveRestoreEnabled}}"), "false")
	b.is("pid of the container after Undo", b.Docker("inspect", "web1", "--format", "{{.State.Pid}}"), pid)
}

// TestPrepareRefuses: what is wrong is found before anything is changed.
//
// The trial says that the engine "would not start"; since 23.0 the engine has a
// check of its own, which "would refuse" some of it before.
func TestPrepareRefuses(t *testing.T) {
	b := start(t, mine)
	b.Image("app")
	pid := b.Pid()
	for _, tt := range []struct {
		name string
		sets []plan.Set
		want string
	}{
		{"log driver", []plan.Set{{Field: "log-driver", To: "nonsense"}}, "no container could be made"},
		{"log option", []plan.Set{{Field: "log-opts", To: map[string]any{"nonsense": "1"}}}, "unknown log opt"},
		{"log size", []plan.Set{{Field: "log-opts", To: map[string]any{"max-size": "10x"}}}, "is no size"},
		{"ulimit", []plan.Set{{Field: "default-ulimits", To: map[string]any{"nofile": map[string]any{"Soft": 9, "Hard": 4}}}}, "above the hard one"},
		{"unknown key", []plan.Set{{Field: "bip", To: "no address"}}, "would (not start|refuse)"},
		{"type", []plan.Set{{Field: "mtu", To: "big"}}, "would (not start|refuse)"},
		{"runtime", []plan.Set{{Field: "default-runtime", To: "nonsense"}}, "would (not start|refuse)"},
		{"seccomp", []plan.Set{{Field: "seccomp-profile", To: "/no/such"}}, "no such file"},
		{"certificates", []plan.Set{{Field: "tls", To: true}, {Field: "tlscert", To: "/no/such"}, {Field: "tlskey", To: "/no/such"}}, "would (not start|refuse)"},
		{"command line", []plan.Set{{Field: "cgroup-parent", To: ""}}, "command line"},
		{"migration", []plan.Set{{Field: "userns-remap", To: "default"}}, "migration"},
		{"socket", []plan.Set{{Field: "hosts", To: []any{"unix:///run/other.sock"}}}, "command line"},
		{"mask", []plan.Set{{Field: "labels", To: []any{"token=***abcd"}}}, "mask of a secret"},
		{"no setting", []plan.Set{{Field: "../x", To: 1}}, "would (not start|refuse)"},
	} {
		_, err := b.hand.Prepare(t.Context(), b.step(tt.sets...))
		if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.want)
		}
	}
	b.Docker("run", "-d", "--rm", "--name", "brief", "app", "sleep", "1000")
	if _, err := b.hand.Prepare(t.Context(), b.step(plan.Set{Field: "no-new-privileges", To: true})); err == nil || !strings.Contains(err.Error(), "container brief") {
		t.Errorf("a container of --rm: got error %v", err)
	}
	b.is("file", b.file(), mine)
	if b.Pid() != pid {
		t.Error("the engine was restarted")
	}
	for _, dir := range []string{"/run", b.Root + "/data/tmp"} {
		if left, _ := filepath.Glob(dir + "/casco-trial-*"); len(left) > 0 {
			content, _ := exec.Command("find", left...).Output()
			t.Errorf("trials left %v behind:\n%s", left, content)
		}
	}
	for _, what := range []string{"images", "containers", "leases", "content"} {
		out, err := exec.Command("ctr", "--address", b.Root+"/ctrd.sock", "--namespace", "casco-trial", what, "ls", "-q").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s that trials left in containerd: %s (%v)", what, out, err)
		}
	}
}

// TestEngineThatStaysDown: a file that passed the trial and yet keeps the
// engine from starting, because something else happened meanwhile.
func TestEngineThatStaysDown(t *testing.T) {
	b := start(t, mine)
	b.Image("app")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "web1", "app", "sleep", "1000")
	certs := filepath.Join(t.TempDir(), "seccomp.json")
	if err := os.WriteFile(certs, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	st := b.step(plan.Set{Field: "no-new-privileges", To: true})
	raw, err := b.hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	var u map[string]any
	if err := json.Unmarshal(raw, &u); err != nil {
		t.Fatal(err)
	}
	u["new"] = []byte("{\"log-level\": \"nonsense\"}")
	if raw, err = json.Marshal(u); err != nil {
		t.Fatal(err)
	}
	err = b.hand.Do(t.Context(), st, raw)
	if err == nil || !strings.Contains(err.Error(), "runs as before") {
		t.Errorf("got error %v", err)
	}
	t.Log(err)
	b.is("file", b.file(), mine)
	b.is("containers", b.sorted("ps", "--format", "{{.Names}}"), "[web1]")
}

// TestUndoOfADeadEngine: killed between stop and start, with the new file.
func TestUndoOfADeadEngine(t *testing.T) {
	b := start(t, mine)
	b.Image("app")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "web1", "app", "sleep", "1000")
	st := b.step(plan.Set{Field: "no-new-privileges", To: true})
	raw, err := b.hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Config, []byte("{\"no-new-privileges\": tru"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(b.Pid())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	b.undo(st, raw)
	b.is("file", b.file(), mine)
	b.is("containers", b.sorted("ps", "--format", "{{.Names}}"), "[web1]")
}

func TestForeign(t *testing.T) {
	b := start(t, mine)
	st := b.step(plan.Set{Field: "debug", To: true})
	undo := b.do(st)
	foreign := func() int {
		t.Helper()
		cs, err := b.hand.Foreign(t.Context(), st, undo)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cs {
			if s := fmt.Sprint(c); strings.Contains(s, "geheim12") {
				t.Errorf("a secret in %s", s)
			}
		}
		return len(cs)
	}
	if n := foreign(); n != 0 {
		t.Errorf("%d conflicts right after Do", n)
	}
	ours := b.file()
	if err := os.WriteFile(b.Config, []byte(strings.Replace(ours, "{", "{\n\t\"proxies\": {\"http-proxy\": \"http://ana:geheim12@p\"},", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := foreign(); n != 1 {
		t.Errorf("%d conflicts after an edit", n)
	}
	if err := os.WriteFile(b.Config, []byte(ours), 0o644); err != nil {
		t.Fatal(err)
	}
}
