package guard

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
)

const lookPolicy = `tiers:
  - {id: public, impact: 0.3}
  - {id: restricted, impact: 1}
assign:
  - {match: {name: "web*"}, tier: public}
  - {default: restricted}
`

// TestLook starts containers that no request shows to be weak, on a real engine:
// each is refused by its rule before its program runs, and under a policy that
// observes is noted and starts; its harmless twin starts under both.
func TestLook(t *testing.T) {
	for _, way := range []string{byFanotify, byRuntime} {
		t.Run(way, func(t *testing.T) {
			l := newLookWorld(t, way)
			for _, mode := range []string{"enforce", "observe"} {
				t.Run(mode, func(t *testing.T) { l.in(t, mode) })
			}
		})
	}
}

// TestLookDisagrees: what the door let in and what the final configuration shows
// are held against each other. A container that is weaker than it was let in is
// more than refused: somebody was deceived.
func TestLookDisagrees(t *testing.T) {
	l := &lookWorld{netWorld: newWorld(t), way: byFanotify}
	l.dir = filepath.Join(l.e.Root, "src")
	if err := os.MkdirAll(l.dir+"/good", 0o755); err != nil {
		t.Fatal(err)
	}
	l.g = l.newGuard(l.policy("observe"))
	l.g.mode(false)
	door := filepath.Join(l.e.Root, "door.sock")
	l.g.more = []string{"--door", door}
	l.g.start()
	let := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command("docker", append(append([]string{"-H", "unix://" + door, "create", "--name", name}, args...), l.image, "exit", "0")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("the door: %v\n%s", err, out)
		}
	}
	link := filepath.Join(l.dir, "link")
	l.lead("good")
	let("swapped", "-v", link+":/m")
	let("benign", "-v", link+":/m")
	let("known", "-v", "/etc:/m")
	let("privy", "--user", "1000", "--privileged")
	l.e.Docker("start", "-a", "benign")
	l.lead("/etc")
	for _, name := range []string{"swapped", "known", "privy"} {
		l.e.Docker("start", "-a", name) // at the engine: it is only observed
	}
	l.e.Docker("create", "--name", "past", "-v", link+":/m", l.image, "exit", "0")
	l.e.Docker("start", "-a", "past")
	if !l.g.event("disagree", "swapped") {
		t.Errorf("nobody says that the judges disagree\n%s", lastOf(l.g.log.String()))
	}
	// By a policy that enforces, and by a guard that is another one since.
	l.g.stop()
	l.g.start()
	l.g.setPolicy(l.policy("enforce"))
	l.g.reload()
	if _, err := l.e.TryDocker("start", "-a", "swapped"); err == nil || !strings.Contains(err.Error(), "container-sensitive-mount") {
		t.Errorf("it starts again: %v", err)
	}
	for line := range strings.Lines(l.g.log.String()) {
		if strings.Contains(line, "msg=disagree") && !strings.Contains(line, "container/swapped") {
			t.Errorf("they agree, and it is said that they do not: %s", line)
		}
	}
	log, err := exec.Command(l.g.program, "--state", l.g.state, "log", "show", "--lang", "en").CombinedOutput()
	if err != nil || !strings.Contains(string(log), "the judges disagree") {
		t.Errorf("it is not in the ledger: %v\n%.3000s", err, log)
	}
}

// A lookWorld is an engine whose starts are looked at.
type lookWorld struct {
	*netWorld
	way string
	dir string // of the host: benign, and a link that leads there or elsewhere
	g   *guarding
}

func newLookWorld(t *testing.T, way string) *lookWorld {
	l := &lookWorld{netWorld: newWorld(t), way: way}
	l.dir = filepath.Join(l.e.Root, "src")
	if err := os.MkdirAll(l.dir+"/good", 0o755); err != nil {
		t.Fatal(err)
	}
	l.g = l.newGuard(l.policy("observe"))
	l.g.mode(false)
	l.lead("good")
	if way == byRuntime {
		l.wrap(l.g.run)
	}
	l.g.start()
	return l
}

func (l *lookWorld) policy(mode string) string {
	return lookPolicy + "network: {start: " + l.way + "}\nadmission: {mode: " + mode + "}\n"
}

// lead sets the link to a path.
func (l *lookWorld) lead(to string) {
	l.t.Helper()
	link := filepath.Join(l.dir, "link")
	os.Remove(link)
	if err := os.Symlink(to, link); err != nil {
		l.t.Fatal(err)
	}
}

// in asks the engine itself, past every door, for containers in a mode.
func (l *lookWorld) in(t *testing.T, mode string) {
	l.g.setPolicy(l.policy(mode))
	l.g.reload()
	box := func(args ...string) string {
		return l.e.Docker(append(append([]string{"create"}, args...), l.image, "exit", "0")...)
	}
	const app, few = "casco.app=one", 3
	// The judge is the same in both ways: one of them shows all.
	whole := l.way == byFanotify && mode == "enforce" || os.Getenv("CASCO_LOOK") == "all"
	link := filepath.Join(l.dir, "link")
	for i, c := range []struct {
		name, rule string
		weak       func() (id string)
		benign     func() (id string)
	}{
		{
			"a link that leads to /etc since", "container-sensitive-mount",
			func() string { id := box("-v", link+":/m"); l.lead("/etc"); return id },
			func() string { return box("-v", link+":/m") },
		},
		{
			"a link that leads to / since", "container-sensitive-mount",
			func() string { id := box("--mount", "type=bind,src="+link+",dst=/m,readonly"); l.lead("/"); return id },
			func() string { return box("--mount", "type=bind,src="+link+",dst=/m,readonly") },
		},
		{
			"a link that leads to the engine's socket since", "container-engine-socket",
			func() string { id := box("-v", link+":/m"); l.lead(l.e.Socket); return id },
			func() string { return box("-v", link+":/m") },
		},
		{
			"volumes of a container that has /etc", "container-sensitive-mount",
			func() string {
				box("--name", "holds-etc", "--label", app, "-v", "/etc:/h:ro")
				return box("--label", app, "--volumes-from", "holds-etc")
			},
			func() string {
				box("--name", "holds-good", "--label", app, "-v", l.dir+"/good:/h")
				return box("--label", app, "--volumes-from", "holds-good")
			},
		},
		{
			"a volume that is /etc", "container-sensitive-mount",
			func() string {
				l.e.Docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", "of-etc")
				return box("-v", "of-etc:/m")
			},
			func() string { l.e.Docker("volume", "create", "plain"); return box("-v", "plain:/m") },
		},
		{"privileged", "container-privileged", func() string { return box("--user", "1000", "--privileged") }, func() string { return box("--user", "1000") }},
		{"a capability", "container-dangerous-capabilities", func() string { return box("--cap-add", "SYS_ADMIN") }, func() string { return box("--cap-drop", "ALL", "--cap-add", "CHOWN") }},
		{"no seccomp", "container-seccomp", func() string { return box("--security-opt", "seccomp=unconfined") }, func() string { return box("--security-opt", "no-new-privileges") }},
		{"the kernel's paths", "container-system-paths", func() string { return box("--security-opt", "systempaths=unconfined") }, func() string { return box("--read-only") }},
		{"the host's processes", "container-host-pid", func() string { return box("--pid", "host") }, func() string { return box("--init") }},
		{"the host's network", "container-host-net", func() string { return box("--network", "host") }, func() string { return box("--network", "none") }},
		{"a device", "container-devices", func() string { return box("--device", "/dev/kmsg") }, func() string { return box("--tmpfs", "/t") }},
		{"a disk's rule", "container-devices", func() string { return box("--device-cgroup-rule", "b 8:* rwm") }, func() string { return box("-m", "64m", "--pids-limit", "50") }},
	} {
		if i >= few && !whole {
			break
		}
		t.Run(c.name, func(t *testing.T) {
			l.lead("good")
			id := c.benign()
			if out, err := l.e.TryDocker("start", "-a", id); err != nil {
				t.Errorf("the harmless twin: %v\n%s", err, out)
			}
			id = c.weak()
			out, err := l.e.TryDocker("start", "-a", id)
			l.said(t, mode, c.rule, id, out, err)
		})
	}
	l.lead("good")
	t.Run("restart", func(t *testing.T) { l.restart(t, mode, link) })
	t.Run("race", func(t *testing.T) { l.race(t, mode, link) })
	if whole {
		t.Run("swarm", func(t *testing.T) { l.swarm(t, mode) })
	}
	if l.way == byFanotify && mode == "enforce" {
		t.Run("build", l.build)
	}
	t.Run("containerd", func(t *testing.T) { l.containerd(t, mode) })
	for _, id := range strings.Fields(l.e.Docker("ps", "-aq")) {
		l.e.TryDocker("rm", "-f", id) // a task's may be going already
	}
	l.e.Docker("volume", "rm", "-f", "of-etc", "plain")
}

// said holds what a start came to against the mode: refused with the rule, or
// started and noted.
func (l *lookWorld) said(t *testing.T, mode, rule, id, out string, err error) {
	t.Helper()
	if mode == "enforce" {
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("%v, want a refusal by %s\n%s", err, rule, out)
		}
	} else if err != nil {
		t.Errorf("it does not start: %v", err)
	}
	l.noted(t, mode, rule, id)
}

// noted wants the guard to have said so of a container.
func (l *lookWorld) noted(t *testing.T, mode, rule, id string) {
	t.Helper()
	what := map[string]string{"enforce": "what=refused", "observe": "what=observed"}[mode]
	for range 100 {
		for line := range strings.Lines(l.g.log.String()) {
			if strings.Contains(line, "id="+id) && strings.Contains(line, what) && strings.Contains(line, rule) {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("nothing is noted of %s by %s\n%s", id, rule, lastOf(l.g.log.String()))
}

func lastOf(s string) string { return s[max(0, len(s)-3000):] }

// restart: what ran is judged again when it is restarted.
func (l *lookWorld) restart(t *testing.T, mode, link string) {
	id := l.e.Docker("run", "-d", "-v", link+":/m", l.image, "wait")
	defer l.e.Docker("rm", "-f", id)
	l.e.Docker("restart", "-t", "0", id)
	l.lead("/etc")
	defer l.lead("good")
	_, err := l.e.TryDocker("restart", "-t", "0", id)
	l.said(t, mode, "container-sensitive-mount", id, "", err)
}

// race: the link is swapped after the look and before the runtime mounts what it
// leads to: by the runtime itself, which does so first.
func (l *lookWorld) race(t *testing.T, mode, link string) {
	if l.way != byRuntime {
		t.Skip("only a wrapper has a runtime that can be late behind it; what sees it is the same")
	}
	config := filepath.Join(l.e.Root, "runtime", "runtime.json")
	was, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	runc, err := exec.LookPath("runc")
	handtest.Need(t, err == nil, "runc")
	late := filepath.Join(l.e.Root, "runtime", "late")
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" create \"*) ln -sfn /etc %s;; esac\nexec %s \"$@\"\n", link, runc)
	if err := os.WriteFile(late, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	outside.Write(t, config, fmt.Sprintf(`{"runtime": %q, "gate": %q}`, late, filepath.Join(l.g.run, "gate.sock")))
	defer outside.Write(t, config, string(was))
	id := l.e.Docker("create", "-v", link+":/m", l.image, "exit", "0")
	defer l.lead("good")
	out, err := l.e.TryDocker("start", "-a", id)
	l.said(t, mode, "container-sensitive-mount", id, out, err)
}

// swarm: a task is made by no request that names a container.
func (l *lookWorld) swarm(t *testing.T, mode string) {
	if l.e.Docker("info", "-f", "{{.Swarm.LocalNodeState}}") == "inactive" {
		l.e.Docker("swarm", "init", "--advertise-addr", hostAddr)
	}
	// An image that is named by its ID is not looked for in a registry.
	image := l.e.Docker("image", "inspect", "-f", "{{.Id}}", l.image)
	service := func(name, src string) (state, id string) {
		l.e.Docker("service", "create", "--detach", "--no-resolve-image", "--restart-condition", "none", "--name", name, "--mount", "type=bind,src="+src+",dst=/m", image, "wait")
		over := func() bool {
			return slices.ContainsFunc([]string{"Running", "Failed", "Rejected"}, func(s string) bool { return strings.HasPrefix(state, s) })
		}
		for end := time.Now().Add(2 * time.Minute); !over() && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			state = l.e.Docker("service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", name)
		}
		id = l.e.Docker("ps", "-aq", "--no-trunc", "--filter", "label=com.docker.swarm.service.name="+name)
		return state, id
	}
	defer func() { l.e.TryDocker("service", "rm", "weak", "benign") }()
	if state, _ := service("benign", l.dir+"/good"); !strings.HasPrefix(state, "Running") {
		t.Errorf("the harmless service: %s", state)
	}
	state, id := service("weak", "/etc")
	if refused := strings.Contains(state, "container-sensitive-mount"); refused != (mode == "enforce") {
		t.Errorf("the service with /etc: %s", state)
	}
	l.noted(t, mode, "container-sensitive-mount", id)
}

// build: BuildKit has each step of a build made and started in one, of a bundle
// below the engine's data root; so does this one, without a client for BuildKit.
func (l *lookWorld) build(t *testing.T) {
	bundle := filepath.Join(l.e.Root, "data", "buildkit", "executor", "step")
	if err := os.MkdirAll(bundle+"/rootfs", 0o755); err != nil {
		t.Fatal(err)
	}
	spec := exec.Command("runc", "spec") // which has no seccomp filter
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v\n%s", err, out)
	}
	root, log := filepath.Join(l.e.Root, "runs"), filepath.Join(l.e.Root, "runs.log")
	err := exec.Command("runc", "--root", root, "--log", log, "--log-format", "json", "run", "--bundle", bundle, "step").Run()
	said, _ := os.ReadFile(log)
	if err == nil || !strings.Contains(string(said), "container-seccomp") {
		t.Errorf("%v, and its log says %q", err, said)
	}
	l.noted(t, "enforce", "container-seccomp", "step")
}

// containerd: another client of the engine's containerd calls the runtime that is
// containerd's own, which the kernel asks about, and the wrapper never sees.
func (l *lookWorld) containerd(t *testing.T, mode string) {
	if l.way != byFanotify {
		t.Skip("containerd's default runtime is not the wrapper")
	}
	root := filepath.Join(l.e.Root, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(l.probe); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(filepath.Join(root, "probe"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	ctr := func(id string, args ...string) (string, error) {
		args = append([]string{"-a", filepath.Join(l.e.Root, "ctrd.sock"), "-n", "other", "run", "--rm", "--rootfs"}, append(args, root, id, "/probe", "exit", "0")...)
		out, err := exec.Command("ctr", args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return string(out), err
	}
	_, err := exec.LookPath("ctr")
	handtest.Need(t, err == nil, "ctr, of containerd")
	if _, err := ctr("benign-"+mode, "--seccomp"); err != nil {
		t.Errorf("the harmless twin: %v", err)
	}
	out, err := ctr("weak-"+mode, "--privileged", "--seccomp")
	if mode == "observe" && err != nil && strings.Contains(err.Error(), "capabilit") {
		err = nil // a machine that lacks some itself cannot give them
	}
	l.said(t, mode, "container-privileged", "weak-"+mode, out, err)
}
