package auditrules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes DIR/d/f, DIR/d/sub/g, DIR/link -> d/f and DIR/dlink -> d.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "d/sub"), 0o755))
	for _, f := range []string{"d/f", "d/ff", "d/sub/g"} {
		must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
	}
	must(t, os.Symlink("d/f", filepath.Join(dir, "link")))
	must(t, os.Symlink("d", filepath.Join(dir, "dlink")))
	return dir
}

// TestWatched reads rules as text and asks how one path is watched. DIR is the
// tree.
func TestWatched(t *testing.T) {
	dir := tree(t)
	for _, tc := range []struct{ name, path, rules, want string }{
		{"a watch", "d/f", "-w DIR/d/f -p wa -k docker", "wa"},
		{"a watch of everything", "d/f", "-w DIR/d/f", "rwxa"},
		{"letters in any order and size", "d/f", "-w DIR/d/f -p aWxr", "rwxa"},
		{"attached arguments, tabs, blanks", "d/f", " \t-wDIR/d/f\t-pwa  -kdocker ", "wa"},
		{"quotes", "d/f", `-w "DIR/d/f" -p 'wa'`, "wa"},
		{"two rules add up", "d/f", "-w DIR/d/f -p w\n-w DIR/d/f -p a", "wa"},
		{"syscall form", "d/f", "-a always,exit -F path=DIR/d/f -F perm=wa -F key=docker", "wa"},
		{"the other order", "d/f", "-a exit,always -S all -F path=DIR/d/f -F perm=wa -k docker", "wa"},
		{"put at the top", "d/f", "-A always,exit -F path=DIR/d/f -F perm=wa", "wa"},
		{"no perm is any access", "d/f", "-a always,exit -F path=DIR/d/f", "rwxa"},
		{"both architectures", "d/f", "-a always,exit -F arch=b64 -F path=DIR/d/f -F perm=wa\n-a always,exit -F arch=b32 -F path=DIR/d/f -F perm=w", "w"},

		{"commented", "d/f", "#-w DIR/d/f -p wa\n  # -w DIR/d/f -p wa", ""},
		{"longer path", "d/f", "-w DIR/d/ff -p wa", ""},
		{"shorter path", "d/ff", "-w DIR/d/f -p wa", ""},
		{"part of a name", "d", "-w DIR/d/f -p wa", ""},
		{"one architecture", "d/f", "-a always,exit -F arch=b64 -F path=DIR/d/f -F perm=wa", ""},
		{"some users", "d/f", "-a always,exit -F path=DIR/d/f -F perm=wa -F auid>=1000 -F auid!=-1", ""},
		{"one user", "d/f", "-a always,exit -F path=DIR/d/f -F perm=wa -F uid=0", ""},
		{"some calls", "d/f", "-a always,exit -S openat -S open -F path=DIR/d/f", ""},
		{"a comparison", "d/f", "-a always,exit -C auid!=obj_uid -F path=DIR/d/f -F perm=wa", ""},
		{"everything but", "d/f", "-a always,exit -F path!=DIR/d/f -F perm=wa", ""},
		{"other list", "d/f", "-a always,filesystem -F path=DIR/d/f", ""},
		{"a comment behind", "d/f", "-w DIR/d/f -p wa # mine", ""},
		{"bad letters", "d/f", "-w DIR/d/f -p wz", ""},
		{"two paths", "d/f", "-w DIR/d/ff -w DIR/d/f -p wa", ""},
		{"settings", "d/f", "-D\n-b 8192\n-f 1\n--backlog_wait_time 60000\n-e 2", ""},

		{"a directory covers what is below", "d/sub/g", "-w DIR/d -p wa", "wa"},
		{"written with a slash", "d/sub/g", "-w DIR/d/ -p wa", "wa"},
		{"dir= covers what is below", "d/sub/g", "-a always,exit -F dir=DIR/d -F perm=wa", "wa"},
		{"a directory is itself covered", "d", "-w DIR/d -p wa", "wa"},
		{"path= on a directory does not reach in", "d/f", "-a always,exit -F path=DIR/d -F perm=wa", ""},
		{"path= on a directory is no watch of it", "d", "-a always,exit -F path=DIR/d -F perm=wa", ""},

		{"the file behind a link", "link", "-w DIR/d/f -p wa", "wa"},
		{"the link is not the file", "link", "-w DIR/link -p wa", ""},
		{"a link on the way", "d/f", "-w DIR/dlink/f -p wa", "wa"},
		{"dir= through a link", "d/f", "-a always,exit -F dir=DIR/dlink -F perm=wa", "wa"},
		{"a path that is not there", "d/none", "-w DIR/d/none -p wa", "wa"},

		{"never, before", "d/f", "-a never,exit -F path=DIR/d/f -F perm=w\n-w DIR/d/f -p wa", "a"},
		{"never, after", "d/f", "-w DIR/d/f -p wa\n-a never,exit -F dir=DIR/d", "wa"},
		{"never for some", "d/f", "-a never,exit -F path=DIR/d/f -F uid=5\n-w DIR/d/f -p wa", "wa"},
		{"no task is audited", "d/f", "-w DIR/d/f -p wa\n-a never,task", ""},
		{"some tasks are not", "d/f", "-w DIR/d/f -p wa\n-a never,task -F uid=5", "wa"},

		{"deleted by key", "d/f", "-w DIR/d/f -p wa -k docker\n-D -k docker", ""},
		{"another key is deleted", "d/f", "-w DIR/d/f -p wa -k docker\n-D -k dock", "wa"},
		{"deleted", "d/f", "-w DIR/d/f -p wa -k docker\n-W DIR/d/f -p wa -k docker", ""},
		{"deleted by -d", "d/f", "-w DIR/d/f -p wa\n-d always,exit -F path=DIR/d/f -F perm=wa", ""},
		{"all deleted is done first", "d/f", "-w DIR/d/f -p wa\n-D", "wa"},
	} {
		rules, err := parse(strings.NewReader(strings.ReplaceAll(tc.rules, "DIR", dir)), "x.rules", nil)
		must(t, err)
		perm, by := Watched(rules, filepath.Join(dir, tc.path))
		if perm.String() != tc.want {
			t.Errorf("%s: got %q, want %q; rules %v", tc.name, perm, tc.want, rules)
		}
		if perm != 0 && len(by) == 0 {
			t.Errorf("%s: watched by nothing", tc.name)
		}
	}
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"10-b.rules": "-w /b -p w\n", "9-a.rules": "\n-w /a -p w -k x -k y\n", "old.rules.bak": "-w /c -p w\n", "audit.rules": "-w /d -p w\n",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640))
	}
	rules, err := ReadDir(dir)
	must(t, err)
	want := []Rule{
		{Path: "/a", Perm: Write, Key: "x\x01y", Arch: Both, Exact: true, From: "9-a.rules:2"},
		{Path: "/b", Perm: Write, Arch: Both, Exact: true, From: "10-b.rules:1"},
		{Path: "/d", Perm: Write, Arch: Both, Exact: true, From: "audit.rules:1"},
	}
	if d := cmp.Diff(want, rules); d != "" {
		t.Error(d)
	}
	if rules, err := ReadDir(filepath.Join(dir, "none")); err != nil || rules != nil {
		t.Errorf("no directory: %v, %v", rules, err)
	}
	must(t, os.Remove(filepath.Join(dir, "audit.rules")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "audit.rules")))
	if _, err := ReadDir(dir); err == nil {
		t.Error("a file that cannot be read is passed over")
	}
}

func TestVersionOrder(t *testing.T) {
	want := []string{"9-a", "10-a", "010-b", "10-c", "30-x", "a1", "a2", "a10", "audit"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, versionOrder)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWire(t *testing.T) {
	for _, r := range []Rule{
		{Path: "/etc/docker", Dir: true, Perm: all, Key: "docker", Arch: Both, Exact: true},
		{Path: "/f", Perm: Write | Attr, Arch: Both, Exact: true},
	} {
		got, ok, err := decode(r.encode())
		if d := cmp.Diff(r, got); d != "" || !ok || err != nil {
			t.Errorf("%v, %v: %s", ok, err, d)
		}
	}
}

// FuzzDecode holds the decoder to rules that no kernel would send.
func FuzzDecode(f *testing.F) {
	f.Add(Rule{Path: "/etc/docker", Dir: true, Perm: all, Key: "docker", Arch: Both, Exact: true}.encode())
	f.Add(Rule{Path: "/f", Perm: Write, Arch: Both, Exact: true}.encode()[:fixed])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok, err := decode(b)
		if err != nil && ok {
			t.Errorf("both a rule and an error: %v, %v", r, err)
		}
	})
}

// FuzzParse wants from any text rules that lead to a path, or none.
func FuzzParse(f *testing.F) {
	f.Add("-w /a -p wa -k 'x y'\n-a always,exit -F arch=b64 -F path=/b -F perm=x")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parse(strings.NewReader(text), "x", nil)
		if err != nil {
			return // a line that is too long
		}
		for _, r := range rules {
			if !r.Task && r.Path != "" && r.Path[0] != '/' {
				t.Errorf("rule without a path: %+v", r)
			}
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
