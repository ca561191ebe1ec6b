package auditrules

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// needKernel wants a kernel that takes audit rules from us. Tests load rules
// about paths in their own temporary directory only, and take them out.
func needKernel(t *testing.T) {
	t.Helper()
	_, enabled, err := kernelRules()
	handtest.Need(t, err == nil && enabled != locked, fmt.Sprintf("a kernel that takes audit rules (%v)", err))
}

// loaded lists the kernel's rules about paths under dir, and takes them out
// when the test ends.
func loaded(t *testing.T, dir string) []Rule {
	t.Helper()
	rules, _, err := kernelRules()
	must(t, err)
	return slices.DeleteFunc(rules, func(r Rule) bool { return !strings.HasPrefix(r.Path, dir+"/") })
}

func auditctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "auditctl", args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Warning") {
		t.Fatalf("auditctl %s: %v\n%s", args, err, out)
	}
	return string(out)
}

func needAuditctl(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("auditctl")
	handtest.Need(t, err == nil, "auditctl (package auditd) to compare with")
}

// TestKernelReadsAsAuditctlWrites loads rules with auditctl, and reads them
// from the kernel and from the very same lines in a file.
func TestKernelReadsAsAuditctlWrites(t *testing.T) {
	needKernel(t)
	needAuditctl(t)
	dir := tree(t)
	lines := []string{
		"-w " + dir + "/d -p rwxa -k docker",
		"-w " + dir + "/d/f -p wa",
		"-a always,exit -F path=" + dir + "/d/ff",
		"-a always,exit -F arch=b64 -F path=" + dir + "/d/f -F perm=x -F key=k1",
		"-a always,exit -F arch=b32 -F path=" + dir + "/d/f -F perm=x -F key=k1 -F key=k2",
		"-a always,exit -S openat -F path=" + dir + "/d/f -F key=calls",
		"-a always,exit -F path=" + dir + "/d/f -F perm=r -F auid>=1000",
		"-a always,exit -F dir=" + dir + "/d/sub -F perm=r -F exe=/usr/bin/cat -F key=text",
		"-a never,exit -F path=" + dir + "/d/none -F perm=r",
	}
	for _, l := range lines {
		words := strings.Fields(l)
		auditctl(t, words...)
		t.Cleanup(func() {
			words[0] = strings.NewReplacer("-w", "-W", "-a", "-d").Replace(words[0])
			out, err := exec.Command("auditctl", words...).CombinedOutput()
			if err != nil {
				t.Errorf("auditctl %s: %v\n%s", words, err, out)
			}
		})
	}
	want, err := parse(strings.NewReader(strings.Join(lines, "\n")), "", nil)
	must(t, err)
	for i := range want {
		want[i].From = ""
	}
	if d := cmp.Diff(want, loaded(t, dir)); d != "" {
		t.Error(d)
	}
}

// TestAuditctlReadsWhatWeLoad wants our rules to be the very rules of
// auditctl -w, which can list them and take them out.
func TestAuditctlReadsWhatWeLoad(t *testing.T) {
	needKernel(t)
	needAuditctl(t)
	dir := tree(t)
	for _, tc := range []struct {
		rule Rule
		line string
	}{
		{Rule{Path: dir + "/d", Dir: true, Perm: all, Key: ruleKey, Arch: Both, Exact: true}, dir + "/d -p rwxa -k docker"},
		{Rule{Path: dir + "/d/f", Perm: Write | Attr, Key: ruleKey, Arch: Both, Exact: true}, dir + "/d/f -p wa -k docker"},
	} {
		t.Cleanup(func() { must(t, tell(func(c *client) error { return c.remove(tc.rule) })) })
		must(t, tell(func(c *client) error { return c.add(tc.rule) }))
		must(t, tell(func(c *client) error { return c.add(tc.rule) })) // twice is once
		if list := auditctl(t, "-l"); strings.Count(list, "-w "+tc.line+"\n") != 1 {
			t.Errorf("auditctl -l has no line %q:\n%s", tc.line, list)
		}
		auditctl(t, append([]string{"-W"}, strings.Fields(tc.line)...)...)
		if rs := loaded(t, dir); len(rs) > 0 {
			t.Errorf("auditctl -W leaves %v", rs)
		}
		must(t, tell(func(c *client) error { return c.remove(tc.rule) })) // what is gone is gone
	}
}

// TestManyRules reads more rules than one datagram, or one buffer, holds.
func TestManyRules(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	const many = 80 // of 1 KiB each
	t.Cleanup(func() {
		for _, r := range loaded(t, dir) {
			must(t, tell(func(c *client) error { return c.remove(r) }))
		}
	})
	c, err := dial()
	must(t, err)
	defer c.Close()
	for i := range many {
		must(t, c.add(Rule{Path: fmt.Sprintf("%s/%d", dir, i), Perm: Write, Arch: Both, Exact: true}))
	}
	if rs := loaded(t, dir); len(rs) != many {
		t.Errorf("%d rules, want %d", len(rs), many)
	}
}

// fakeRoot is a root with the directory of auditd's rules in it.
func fakeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, rulesDir), 0o750))
	return root
}

func watchStep(path string, sets ...plan.Set) plan.Step {
	return plan.Step{Ref: inventory.Ref{Kind: inventory.Watch, Name: path}, Hand: HandName, Sets: sets}
}

func persistent(to any) plan.Set { return plan.Set{Field: "Persistent", From: "", To: to} }
func enable(to any) plan.Set     { return plan.Set{Field: "Enabled", From: 0, To: to} }
func load(to any) plan.Set       { return plan.Set{Field: "Loaded", From: "", To: to} }

func TestHand(t *testing.T) {
	needKernel(t)
	for name, tc := range map[string]struct {
		sets []plan.Set
		path string
		file string // of ours, before
		rule bool   // the very rule is loaded before
	}{
		"both":                     {[]plan.Set{load("rwxa"), persistent("rwxa")}, "d/f", "", false},
		"a directory":              {[]plan.Set{load("rwxa"), persistent("rwxa")}, "d", "", false},
		"loaded only":              {[]plan.Set{load("wa")}, "d/f", "", false},
		"persistent only":          {[]plan.Set{persistent("wa")}, "d/f", "", false},
		"through a link":           {[]plan.Set{load("rwxa"), persistent("rwxa")}, "link", "", false},
		"loaded before":            {[]plan.Set{load("rwxa"), persistent("rwxa")}, "d/f", "", true},
		"our file has other lines": {[]plan.Set{load("wa"), persistent("wa")}, "d/f", "-w /a -p wa -k docker\n\n# a note\n-w DIR/d/f -p x -k docker\n-w /z -p r", false},
	} {
		t.Run(name, func(t *testing.T) {
			handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
				root, dir := fakeRoot(t), tree(t)
				h := NewHand(root)
				if tc.file != "" {
					text := h.file().Header + "\n" + strings.ReplaceAll(tc.file, "DIR", dir)
					must(t, os.WriteFile(h.file().Path, []byte(text), 0o600))
				}
				if tc.rule {
					r := Rule{Path: dir + "/d/f", Perm: all, Key: ruleKey, Arch: Both, Exact: true}
					must(t, tell(func(c *client) error { return c.add(r) }))
					t.Cleanup(func() { must(t, tell(func(c *client) error { return c.remove(r) })) })
				}
				return h, watchStep(filepath.Join(dir, tc.path), tc.sets...), func() string { return state(t, root, dir) }
			})
		})
	}
}

// switchTo sets the kernel's audit for a test, and puts it back when that ends.
func switchTo(t *testing.T, to uint32) {
	t.Helper()
	was, err := enabledNow()
	must(t, err)
	t.Cleanup(func() { must(t, tell(func(c *client) error { return c.enable(was) })) })
	must(t, tell(func(c *client) error { return c.enable(to) }))
}

func isEnabled(t *testing.T, when string, want uint32) {
	t.Helper()
	if now, err := enabledNow(); err != nil || now != want {
		t.Errorf("%s: audit is %d (%v), want %d", when, now, err, want)
	}
}

func TestHandSwitchesAuditOn(t *testing.T) {
	needKernel(t)
	for name, sets := range map[string][]plan.Set{
		"alone":       {enable(1)},
		"with a rule": {load("wa"), persistent("wa"), enable(1)},
	} {
		t.Run(name, func(t *testing.T) {
			handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
				switchTo(t, off)
				root, dir := fakeRoot(t), tree(t)
				return NewHand(root), watchStep(filepath.Join(dir, "d/f"), sets...), func() string {
					now, err := enabledNow()
					must(t, err)
					return fmt.Sprintf("enabled %d\n%s", now, state(t, root, dir))
				}
			})
		})
	}
}

// TestEnableIsAuditctls wants the switch to be the one of auditctl -s, and no
// other setting touched.
func TestEnableIsAuditctls(t *testing.T) {
	needKernel(t)
	needAuditctl(t)
	switchTo(t, off)
	before := auditctl(t, "-s")
	must(t, tell(func(c *client) error { return c.enable(on) }))
	if got, want := auditctl(t, "-s"), strings.Replace(before, "enabled 0", "enabled 1", 1); settings(got) != settings(want) {
		t.Error(cmp.Diff(want, got))
	}
}

// settings drops the counters of auditctl -s.
func settings(status string) string {
	var b strings.Builder
	for line := range strings.Lines(status) {
		if !strings.HasPrefix(line, "lost ") && !strings.HasPrefix(line, "backlog ") && !strings.HasPrefix(line, "backlog_wait_time_actual ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestSeveralStepsOneSwitch does what a change with several watches does: each
// step is prepared when it is its turn, and the undos run last first.
func TestSeveralStepsOneSwitch(t *testing.T) {
	needKernel(t)
	dir := tree(t)
	steps := []plan.Step{watchStep(dir+"/d/f", load("wa"), enable(1)), watchStep(dir+"/d/sub/g", load("wa"), enable(1))}
	for _, was := range []uint32{off, on} {
		t.Run(fmt.Sprint(was), func(t *testing.T) {
			switchTo(t, was)
			h := NewHand(fakeRoot(t))
			var undos []json.RawMessage
			for _, st := range steps {
				undo, err := h.Prepare(t.Context(), st)
				must(t, err)
				must(t, h.Do(t.Context(), st, undo))
				undos = append(undos, undo)
				isEnabled(t, "done", on)
			}
			must(t, h.Undo(t.Context(), steps[1], undos[1]))
			isEnabled(t, "the step that found it on is undone", on)
			must(t, h.Undo(t.Context(), steps[0], undos[0]))
			isEnabled(t, "all is undone", was)
			if rs := loaded(t, dir); len(rs) > 0 {
				t.Errorf("rules stay: %v", rs)
			}
		})
	}
}

// state is what our hand could touch: all under the rules' directory, and the
// kernel's rules about the tree.
func state(t *testing.T, root, dir string) string {
	t.Helper()
	var b strings.Builder
	es, err := os.ReadDir(filepath.Join(root, rulesDir))
	must(t, err)
	for _, e := range es {
		data, err := os.ReadFile(filepath.Join(root, rulesDir, e.Name()))
		must(t, err)
		info, err := e.Info()
		must(t, err)
		fmt.Fprintf(&b, "%s %s\n%s\n", info.Mode(), e.Name(), data)
	}
	fmt.Fprintf(&b, "%v\n", loaded(t, dir))
	return b.String()
}

// TestReadSeesWhatTheHandDid goes round: read, do, read.
func TestReadSeesWhatTheHandDid(t *testing.T) {
	needKernel(t)
	root, dir := fakeRoot(t), tree(t)
	h := NewHand(root)
	path := filepath.Join(dir, "d/sub/g")
	see := func() *inventory.Object {
		s := inventory.Take(t.Context(), "h", time.Now(), New(root, func(*inventory.Snapshot) []Path {
			return []Path{{path, "daemon-json", ""}, {filepath.Join(dir, "none"), "runc", "/run/b.sock"}}
		}))
		if len(s.Gaps) > 0 {
			t.Fatal(s.Gaps)
		}
		if there, _, ok := inventory.WatchExists.Of(s.Find(inventory.Ref{Kind: inventory.Watch, Name: dir + "/none"})); there || !ok {
			t.Errorf("what is not there exists: %v, %v", there, ok)
		}
		if of, _, _ := inventory.WatchEngines.Of(s.Find(inventory.Ref{Kind: inventory.Watch, Name: dir + "/none"})); !slices.Equal(of, []string{"/run/b.sock"}) {
			t.Errorf("what only one engine names belongs to %v", of)
		}
		return s.Find(inventory.Ref{Kind: inventory.Watch, Name: path})
	}
	fields := func(o *inventory.Object) string {
		b, _ := json.Marshal(o.Fields)
		return string(b)
	}
	_, enabled, err := kernelRules()
	must(t, err)
	none := fmt.Sprintf(`{"Enabled":%d,"Exists":true,"Loaded":"","Persistent":"","Role":"daemon-json"}`, enabled)
	if got := fields(see()); got != none {
		t.Errorf("before: got %s", got)
	}
	st := watchStep(filepath.Join(dir, "d"), load("wa"), persistent("wa"))
	undo, err := h.Prepare(t.Context(), st)
	must(t, err)
	t.Cleanup(func() { must(t, h.Undo(t.Context(), st, undo)) })
	must(t, h.Do(t.Context(), st, undo))
	o := see()
	if got, want := fields(o), strings.ReplaceAll(strings.ReplaceAll(none, `"Loaded":""`, `"Loaded":"wa"`), `"Persistent":""`, `"Persistent":"wa"`); got != want {
		t.Errorf("after: got %s", got)
	}
	by := "always,exit dir=" + dir + "/d perm=wa key=docker"
	for field, want := range map[string]string{"Loaded": by, "Persistent": by + " (50-casco.rules:2)"} {
		if !strings.Contains(o.Sources[field], want) {
			t.Errorf("%s does not say that the rule of a directory covers it: %s", field, o.Sources[field])
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	needKernel(t)
	dir := tree(t)
	must(t, os.WriteFile(filepath.Join(dir, "a b"), nil, 0o644))
	theirs := fakeRoot(t)
	must(t, os.WriteFile(NewHand(theirs).file().Path, []byte("-w /x\n"), 0o640))
	for _, tc := range []struct {
		root string
		st   plan.Step
		why  string
	}{
		{fakeRoot(t), watchStep(dir+"/none", load("wa")), "no such file"},
		{fakeRoot(t), watchStep(dir+"/a b", load("wa")), "cannot be written"},
		{fakeRoot(t), watchStep(dir+"/d/f", load("")), "is not what a file can be watched for"},
		{fakeRoot(t), watchStep(dir+"/d/f", load("wq")), "is not what a file can be watched for"},
		{fakeRoot(t), watchStep(dir+"/d/f", load(nil)), "is not what a file can be watched for"},
		{fakeRoot(t), watchStep(dir+"/d/f", load("w"), persistent("r")), "the same now and after"},
		{fakeRoot(t), watchStep(dir+"/d/f", plan.Set{Field: "Exists", To: "w"}), "cannot set Exists"},
		{fakeRoot(t), watchStep(dir+"/d/f", enable(0)), "only switches audit on"},
		{fakeRoot(t), watchStep(dir+"/d/f", enable(locked)), "only switches audit on"},
		{fakeRoot(t), watchStep(dir + "/d/f"), "sets nothing"},
		{t.TempDir(), watchStep(dir+"/d/f", persistent("wa")), "install auditd"},
		{theirs, watchStep(dir+"/d/f", persistent("wa")), "is not casco's"},
	} {
		if _, err := NewHand(tc.root).Prepare(t.Context(), tc.st); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%v: got %v, want %q", tc.st, err, tc.why)
		}
	}
}

func TestForeign(t *testing.T) {
	needKernel(t)
	root, dir := fakeRoot(t), tree(t)
	h := NewHand(root)
	st := watchStep(dir+"/d/f", persistent("wa"))
	undo, err := h.Prepare(t.Context(), st)
	must(t, err)
	must(t, h.Do(t.Context(), st, undo))
	if cs, err := h.Foreign(t.Context(), st, undo); err != nil || len(cs) > 0 {
		t.Errorf("untouched: %v, %v", cs, err)
	}
	theirs := h.file().Header + "\n-w " + dir + "/d/f -p r -k mine\n"
	must(t, os.WriteFile(h.file().Path, []byte(theirs), 0o640))
	cs, err := h.Foreign(t.Context(), st, undo)
	must(t, err)
	if len(cs) != 1 || cs[0].Now != "-w "+dir+"/d/f -p r -k mine" {
		t.Errorf("got %v", cs)
	}
	must(t, h.Undo(t.Context(), st, undo))
	if now, err := os.ReadFile(h.file().Path); err != nil || string(now) != theirs {
		t.Errorf("their line was overwritten: %s, %v", now, err)
	}
}

func TestMeans(t *testing.T) {
	ref := inventory.Ref{Kind: inventory.Watch, Name: "/x"}
	fine := &inventory.Object{Ref: ref, Fields: map[string]any{"Exists": true, "Enabled": 1}}
	for field, want := range map[string]bool{"Loaded": true, "Persistent": false, "Enabled": true} {
		i := slices.IndexFunc(Means(), func(m plan.Means) bool { return m.Field == field })
		m := Means()[i]
		if m.Undo.Empty() || !m.Refuse(nil, fine, field).Empty() {
			t.Errorf("%s: %+v", field, m)
		}
		shut := &inventory.Object{Ref: ref, Fields: map[string]any{"Exists": true, "Enabled": locked}}
		if got := !m.Refuse(nil, shut, field).Empty(); got != want {
			t.Errorf("%s: locked rules are refused: %v", field, got)
		}
		gone := &inventory.Object{Ref: ref, Fields: map[string]any{"Exists": false, "Enabled": 1}}
		if m.Refuse(nil, gone, field).Empty() {
			t.Errorf("%s: a path that is not there is accepted", field)
		}
	}
}

func TestDockerPaths(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "containerd"), nil, 0o755))
	s := &inventory.Snapshot{}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/d.sock"}, Fields: map[string]any{
		"Info":       map[string]any{"DockerRootDir": "/srv/docker"},
		"Process":    map[string]any{"Exe": dir + "/dockerd"},
		"Unit":       map[string]any{"FragmentPath": "/u/docker.service"},
		"Config":     map[string]any{"File": "/c/daemon.json"},
		"Containerd": map[string]any{"Socket": "unix:///c/containerd.sock"},
	}})
	got := map[string]string{}
	for _, p := range DockerPaths(s) {
		got[p.Role] = p.Path
		if named := p.Engine != ""; named == slices.Contains([]string{"etc-docker", "run-containerd", "containerd-config", "default-docker", "sysconfig-docker"}, p.Role) {
			t.Errorf("%s: named by %q", p.Role, p.Engine)
		}
	}
	for role, want := range map[string]string{
		"docker-sock": "/run/d.sock", "data-root": "/srv/docker", "dockerd": dir + "/dockerd", "containerd": dir + "/containerd",
		"docker-service": "/u/docker.service", "daemon-json": "/c/daemon.json", "containerd-sock": "/c/containerd.sock",
		"etc-docker": "/etc/docker", "run-containerd": "/run/containerd",
	} {
		if got[role] != want {
			t.Errorf("%s: got %q, want %q", role, got[role], want)
		}
	}
	if len(got) != 16 { // CIS 1.1.3 to 1.1.18
		t.Errorf("%d roles: %v", len(got), got)
	}
}
