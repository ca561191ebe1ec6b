package sysctl

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// root makes a tree of files: path to content; a content "-> x" is a link.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.Symlink(to, path))
			continue
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func TestFile(t *testing.T) {
	for _, tc := range []struct {
		name, sysctl, want string // want: value, and where it is from; "" nothing
		files              map[string]string
	}{
		{"none", "a.b", "", nil},
		{"one", "a.b", "1 /etc/sysctl.d/x.conf:3", map[string]string{"etc/sysctl.d/x.conf": "# a.b = 9\n;a.b=8\n  a.b  =  1  \n"}},
		{"the last line", "a.b", "2 /etc/sysctl.d/x.conf:2", map[string]string{"etc/sysctl.d/x.conf": "a.b=1\na.b=2\n"}},
		{
			"the last name, in whatever directory", "a.b", "1 /usr/lib/sysctl.d/90.conf:1",
			map[string]string{"etc/sysctl.d/10.conf": "a.b=2", "usr/lib/sysctl.d/90.conf": "a.b=1", "run/sysctl.d/50.conf": "a.b=3"},
		},
		{
			"etc hides run hides lib", "a.b", "2 /etc/sysctl.d/x.conf:1",
			map[string]string{"usr/lib/sysctl.d/x.conf": "a.b=1", "etc/sysctl.d/x.conf": "a.b=2", "run/sysctl.d/x.conf": "a.b=3"},
		},
		{"masked", "a.b", "", map[string]string{"usr/lib/sysctl.d/x.conf": "a.b=1", "etc/sysctl.d/x.conf": "-> /dev/null"}},
		{"a dangling link hides too", "a.b", "", map[string]string{"usr/lib/sysctl.d/x.conf": "a.b=1", "etc/sysctl.d/x.conf": "-> nowhere"}},
		{"other names", "a.b", "", map[string]string{"etc/sysctl.d/x.conf.bak": "a.b=1", "etc/sysctl.d/README": "a.b=2", "etc/sysctl.d/.x.conf": "a.b=3"}},
		{"sysctl.conf is last", "a.b", "2 /etc/sysctl.conf:1", map[string]string{"etc/sysctl.d/zz.conf": "a.b=1", "etc/sysctl.conf": "a.b=2"}},
		{
			"systemd does not read it", "a.b", "1 /etc/sysctl.d/zz.conf:1",
			map[string]string{"etc/sysctl.d/zz.conf": "a.b=1", "etc/sysctl.conf": "a.b=2", "run/systemd/system/x": ""},
		},
		{
			"but through Debian's link", "a.b", "2 /etc/sysctl.d/99-sysctl.conf:1",
			map[string]string{"etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf", "etc/sysctl.conf": "a.b=2", "run/systemd/system/x": ""},
		},
		{"slashes", "a.b", "1 /etc/sysctl.d/x.conf:1", map[string]string{"etc/sysctl.d/x.conf": "a/b=1"}},
		{
			"a dot in a part, as a path", "net.ipv4.conf.eth0/100.rp_filter", "1 /etc/sysctl.d/x.conf:1",
			map[string]string{"etc/sysctl.d/x.conf": "net/ipv4/conf/eth0.100/rp_filter = 1\nnet.ipv4.conf.eth0.100.rp_filter = 2"},
		},
		{
			"a dot in a part, with dots", "net.ipv4.conf.eth0/100.rp_filter", "1 /etc/sysctl.d/x.conf:1",
			map[string]string{"etc/sysctl.d/x.conf": "net.ipv4.conf.eth0/100.rp_filter = 1"},
		},
		{"errors do not matter", "a.b", "1 /etc/sysctl.d/x.conf:1", map[string]string{"etc/sysctl.d/x.conf": "-a.b = 1"}},
		{
			"an equals sign in the value", "kernel.core_pattern", "|/bin/x a=%p /etc/sysctl.d/x.conf:1",
			map[string]string{"etc/sysctl.d/x.conf": "kernel.core_pattern=|/bin/x a=%p"},
		},
		{"a pattern", "n.c.e.f", "1 /etc/sysctl.d/x.conf:1", map[string]string{"etc/sysctl.d/x.conf": "n.c.*.f = 1\nn.*.f = 2\nn.c.* = 3"}},
		{"a name beats a pattern", "n.c.e.f", "1 /etc/sysctl.d/x.conf:1", map[string]string{"etc/sysctl.d/x.conf": "n.c.e.f = 1\nn.c.*.f = 2"}},
		{"a name leaves a pattern", "n.c.e.f", "", map[string]string{"etc/sysctl.d/x.conf": "n.c.*.f = 2\n-n.c.e.f"}},
		{"a longer name", "a.b", "", map[string]string{"etc/sysctl.d/x.conf": "a.bc = 1\nxa.b = 2"}},
	} {
		settings, err := load(root(t, tc.files))
		must(t, err)
		got := ""
		if s, ok := lookup(settings, tc.sysctl); ok {
			got = s.value + " " + s.from
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRead(t *testing.T) {
	dir := root(t, map[string]string{
		"proc/sys/net/ipv4/ip_local_port_range":         "32768\t60999\n",
		"proc/sys/net/ipv4/conf/eth0.100/rp_filter":     "0\n",
		"etc/sysctl.d/a.conf":                           "net.ipv4.ip_local_port_range = 1024 65535\n",
		"proc/sys/kernel/dmesg_restrict/not-a-file-but": "",
	})
	s := inventory.Take(t.Context(), "h", time.Now(), New(dir,
		"net.ipv4.ip_local_port_range", "net/ipv4/conf/eth0.100/rp_filter", "kernel.none", "kernel.dmesg_restrict", "../../etc/shadow"))
	if len(s.Gaps) > 0 {
		t.Fatal(s.Gaps)
	}
	find := func(name string) *inventory.Object {
		return s.Find(inventory.Ref{Kind: inventory.Sysctl, Name: name})
	}
	o := find("net.ipv4.ip_local_port_range")
	value, fact, _ := inventory.SysctlValue.Of(o)
	file, from, _ := inventory.SysctlFile.Of(o)
	if value != "32768\t60999" || file != "1024 65535" || fact.Source != "/proc/sys/net/ipv4/ip_local_port_range" || from.Source != "/etc/sysctl.d/a.conf:1" {
		t.Errorf("got %v and %v", fact, from)
	}
	if v, _, _ := inventory.SysctlValue.Of(find("net.ipv4.conf.eth0/100.rp_filter")); v != "0" {
		t.Errorf("a name with a dot in a part: %q", v)
	}
	for name, why := range map[string]string{"kernel.none": "has no sysctl", "kernel.dmesg_restrict": "is a directory"} {
		if _, fact, ok := inventory.SysctlValue.Of(find(name)); ok || !strings.Contains(fact.Err, why) {
			t.Errorf("%s: %v", name, fact)
		}
		if _, fact, ok := inventory.SysctlFile.Of(find(name)); ok || fact.Err != inventory.Absent {
			t.Errorf("%s: %v", name, fact)
		}
	}
	for _, o := range s.Objects {
		if strings.Contains(o.Ref.Name, "shadow") && (o.Fields["Value"] != nil || !strings.Contains(o.Unread["Value"], "no name")) {
			t.Errorf("left /proc/sys: %+v", o)
		}
	}
}

func TestUnreadableFilesAreAGap(t *testing.T) {
	dir := root(t, map[string]string{"etc/sysctl.d/x.conf/is-a-directory": "", "proc/sys/a/b": "1\n"})
	s := inventory.Take(t.Context(), "h", time.Now(), New(dir, "a.b"))
	_, fact, ok := inventory.SysctlFile.Of(s.Objects[0])
	if v, _, _ := inventory.SysctlValue.Of(s.Objects[0]); v != "1" || ok || fact.Err == inventory.Absent || len(s.Gaps) != 1 {
		t.Errorf("value %q, file %v, gaps %v", v, fact, s.Gaps)
	}
}

func step(name string, sets ...plan.Set) plan.Step {
	return plan.Step{Ref: inventory.Ref{Kind: inventory.Sysctl, Name: name}, Hand: HandName, Sets: sets}
}

func value(to any) plan.Set { return plan.Set{Field: "Value", To: to} }
func file(to any) plan.Set  { return plan.Set{Field: "File", To: to} }

func TestHand(t *testing.T) {
	own := (&Hand{}).file().Header + "\n"
	for name, tc := range map[string]struct {
		sets  []plan.Set
		files map[string]string
	}{
		"both":              {[]plan.Set{value("1"), file("1")}, nil},
		"no directory":      {[]plan.Set{value("1")}, map[string]string{"etc/x": ""}},
		"file alone":        {[]plan.Set{file("1")}, map[string]string{"etc/sysctl.d/README": ""}},
		"our file is there": {[]plan.Set{value("1"), file("1")}, map[string]string{"etc/sysctl.d/60-casco.conf": own + "a.a = 1\n\n# note\na.b = 3\nz.z = 2"}},
		"others are there":  {[]plan.Set{value("1")}, map[string]string{"etc/sysctl.d/10-x.conf": "a.b = 5", "etc/sysctl.conf": "a.b = 1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
				dir := root(t, tc.files)
				must(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755))
				must(t, os.MkdirAll(filepath.Join(dir, "proc/sys/a"), 0o755))
				must(t, os.WriteFile(filepath.Join(dir, "proc/sys/a/b"), []byte("0\n"), 0o644))
				return NewHand(dir), step("a.b", tc.sets...), func() string { return contents(t, dir) }
			})
		})
	}
}

func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s\n", info.Mode(), path)
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%s\n", data)
			return err
		}
		return nil
	}))
	return b.String()
}

func TestPrepareRefuses(t *testing.T) {
	files := map[string]string{
		"proc/sys/a/b": "0\n", "proc/sys/kernel/modules_disabled": "0\n", "proc/sys/kernel/unprivileged_bpf_disabled": "0\n",
		"etc/sysctl.d/99-x.conf": "a.b = 7\n", "etc/sysctl.d/10-x.conf": "kernel.unprivileged_bpf_disabled = 0\n",
	}
	theirs := map[string]string{"proc/sys/a/b": "0\n", "etc/sysctl.d/60-casco.conf": "a.b = 0\n"}
	for _, tc := range []struct {
		files map[string]string
		st    plan.Step
		why   string
	}{
		{files, step("a.b", value("1")), `/etc/sysctl.d/99-x.conf:1 is read after /etc/sysctl.d/60-casco.conf and sets it to "7"`},
		{files, step("a.none", value("1")), "no such file"},
		{files, step("../a", value("1")), "no name of a sysctl"},
		{files, step("a/b", value("1")), "no name of a sysctl"},
		{files, step("a.b", value("1\nc.d = 2")), "no value of one line"},
		{files, step("a.b", value("")), "no value of one line"},
		{files, step("a.b", value(1)), "no value of one line"},
		{files, step("a.b", value("1"), file("2")), "has one value"},
		{files, step("a.b", plan.Set{Field: "Name", To: "x"}), "cannot set Name"},
		{files, step("a.b"), "sets nothing"},
		{files, step("kernel.modules_disabled", value("1")), "does not take this back"},
		{files, step("kernel.unprivileged_bpf_disabled", value("1")), "does not take this back"},
		{theirs, step("a.b", value("1")), "is not casco's"},
	} {
		if _, err := NewHand(root(t, tc.files)).Prepare(t.Context(), tc.st); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%v: got %v, want %q", tc.st, err, tc.why)
		}
	}
	if _, err := NewHand(root(t, files)).Prepare(t.Context(), step("kernel.unprivileged_bpf_disabled", value("2"))); err != nil {
		t.Errorf("2 can be taken back: %v", err)
	}
}

func TestForeign(t *testing.T) {
	dir := root(t, map[string]string{"proc/sys/a/b": "0\n", "etc/x": ""})
	h := NewHand(dir)
	st := step("a.b", value("1"))
	undo, err := h.Prepare(t.Context(), st)
	must(t, err)
	must(t, h.Do(t.Context(), st, undo))
	if cs, err := h.Foreign(t.Context(), st, undo); err != nil || len(cs) > 0 {
		t.Errorf("untouched: %v, %v", cs, err)
	}
	must(t, os.WriteFile(h.file().Path, []byte(h.file().Header+"\na.b = 2\n"), 0o644))
	cs, err := h.Foreign(t.Context(), st, undo)
	must(t, err)
	if len(cs) != 1 || cs[0].Ours != "a.b = 1" || cs[0].Now != "a.b = 2" {
		t.Errorf("got %v", cs)
	}
}

// TestKernel sets sysctls of a network namespace of its own, that of this
// thread, which ends with the test.
func TestKernel(t *testing.T) {
	handtest.NeedRoot(t)
	runtime.LockOSThread() // and never unlocked: the thread goes with the test's goroutine
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	fake := root(t, map[string]string{"etc/x": ""})
	must(t, os.Symlink("/proc", filepath.Join(fake, "proc"))) // the real kernel with files of our own
	const name = "net.ipv4.conf.lo.rp_filter"
	read := func() string {
		v, err := running("", name)
		must(t, err)
		return v
	}
	h := NewHand(fake)
	was, to := read(), "2"
	if was == to {
		to = "1"
	}
	st := step(name, value(to), file(to))
	undo, err := h.Prepare(t.Context(), st)
	must(t, err)
	must(t, h.Do(t.Context(), st, undo))
	s := inventory.Take(t.Context(), "h", time.Now(), New(fake, name))
	v, _, _ := inventory.SysctlValue.Of(s.Objects[0])
	f, from, _ := inventory.SysctlFile.Of(s.Objects[0])
	if v != to || f != to || from.Source != "/etc/sysctl.d/60-casco.conf:2" {
		t.Errorf("after: Value %q, File %q of %s", v, f, from.Source)
	}
	must(t, h.Undo(t.Context(), st, undo))
	must(t, h.Undo(t.Context(), st, undo))
	if got := read(); got != was {
		t.Errorf("after the undo: %q, was %q", got, was)
	}
	if _, err := os.Stat(filepath.Join(fake, "etc/sysctl.d")); err == nil {
		t.Error("the directory stays")
	}

	// The kernel refuses: nothing is written.
	st = step("net.ipv4.ip_local_port_range", value("70000 80000"))
	undo, err = h.Prepare(t.Context(), st)
	must(t, err)
	if err := h.Do(t.Context(), st, undo); err == nil {
		t.Error("the kernel took ports above 65535")
	}
	must(t, h.Undo(t.Context(), st, undo))
	if _, err := os.Stat(filepath.Join(fake, "etc/sysctl.d")); err == nil {
		t.Error("a file was written although the kernel refused")
	}
}

func TestMeans(t *testing.T) {
	object := func(name string, fields map[string]any) *inventory.Object {
		return &inventory.Object{Ref: inventory.Ref{Kind: inventory.Sysctl, Name: name}, Fields: fields}
	}
	for _, m := range Means() {
		if m.Undo.Empty() {
			t.Errorf("%s: no undo in words", m.Field)
		}
		for name, o := range map[string]*inventory.Object{
			"one way": object("kernel.modules_disabled", map[string]any{"Value": "0"}),
			"unknown": object("a.b", nil),
		} {
			if m.Refuse(nil, o, m.Field).Empty() {
				t.Errorf("%s: %s is accepted", m.Field, name)
			}
		}
		if !m.Refuse(nil, object("a.b", map[string]any{"Value": "0"}), m.Field).Empty() {
			t.Errorf("%s: refused", m.Field)
		}
	}
}

// FuzzParse wants names without what would make them another line.
func FuzzParse(f *testing.F) {
	f.Add("a.b = 1\n-c/d.e\n; x\n")
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := parse(strings.NewReader(text), "x")
		if err != nil {
			return // a line that is too long
		}
		for _, s := range settings {
			if strings.ContainsAny(s.name+s.value, "\n") || s.bare && s.value != "" {
				t.Errorf("%+v", s)
			}
			lookup(settings, s.name)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
