package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/loop/inventory"
)

func TestRead(t *testing.T) {
	handtest.NeedRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("plain"), 0o4755)
	must(t, os.Chown(at("plain"), 0, 54321))
	must(t, os.Chmod(at("plain"), 0o755|os.ModeSetuid))
	must(t, os.Mkdir(at("sub"), 0o700))
	must(t, os.Chmod(at("sub"), 0o777|os.ModeSticky))
	must(t, os.Symlink("plain", at("link")))
	must(t, os.Symlink("nowhere", at("dangling")))
	must(t, syscall.Mkfifo(at("fifo"), 0o600))

	s := inventory.Take(t.Context(), "h", time.Now(), New(func(*inventory.Snapshot) []Path {
		return []Path{
			{at("plain"), []string{"tls-key"}, ""},
			{at("plain"), nil, "/run/a.sock"},
			{at("sub"), nil, "/run/b.sock"},
			{at("sub"), nil, "/run/a.sock"},
			{at("sub"), nil, "/run/b.sock"},
			{at("link"), []string{"b"}, ""},
			{at("link"), []string{"a", "b"}, ""},
			{at("dangling"), nil, ""},
			{at("fifo"), nil, ""},
			{at("none"), nil, ""},
			{at("plain/below"), nil, ""},
			{"relative", nil, ""},
		}
	}))
	if len(s.Gaps) > 0 {
		t.Fatal(s.Gaps)
	}
	got := map[string]map[string]any{}
	for _, o := range s.Objects {
		rel, _ := filepath.Rel(dir, o.Ref.Name)
		got[rel] = o.Fields
	}
	real := func(typ string, mode, gid int64, group string, more map[string]any) map[string]any {
		m := map[string]any{"Exists": true, "Type": typ, "Mode": mode, "Uid": int64(0), "Gid": gid, "User": "root", "Group": group, "Roles": []string(nil)}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	want := map[string]map[string]any{
		"plain":       real("file", 0o4755, 54321, "", map[string]any{"Roles": []string{"tls-key"}}),
		"sub":         real("dir", 0o1777, 0, "root", map[string]any{"Engines": []string{"/run/a.sock", "/run/b.sock"}}),
		"link":        real("symlink", 0o4755, 54321, "", map[string]any{"Target": at("plain"), "Roles": []string{"a", "b"}}),
		"dangling":    {"Exists": false, "Type": "symlink", "Target": "nowhere", "Roles": []string(nil)},
		"fifo":        real("fifo", 0o600, 0, "root", nil),
		"none":        {"Exists": false, "Roles": []string(nil)},
		"plain/below": {"Exists": false, "Roles": []string(nil)},
	}
	lost := s.Find(inventory.Ref{Kind: inventory.File, Name: "relative"})
	if _, fact, ok := inventory.FileMode.Of(lost); ok || !strings.Contains(fact.Err, "not an absolute path") {
		t.Errorf("a path that cannot be read has the fact %v", fact)
	}
	for name := range got {
		if strings.HasSuffix(name, "relative") || name == "" {
			delete(got, name)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestUnreadableIsNotAbsent(t *testing.T) {
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	must(t, os.Symlink("loop", loop))
	s := inventory.Take(t.Context(), "h", time.Now(), New(func(*inventory.Snapshot) []Path { return []Path{{loop + "/x", nil, ""}} }))
	o := s.Objects[0]
	if v, fact, ok := inventory.FileExists.Of(o); ok || fact.Err == inventory.Absent {
		t.Errorf("Exists is %v, %v", v, fact)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r := New(func(*inventory.Snapshot) []Path { return []Path{{"/etc/passwd", nil, ""}} })
	if err := r.Read(over, &inventory.Snapshot{}); err == nil {
		t.Error("no error")
	}
}

// TestDockerPaths: what an engine names goes by its own, what the host has by
// the role that the checks know it by, whichever exists.
func TestDockerPaths(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/docker.service", 0o644)
	s := &inventory.Snapshot{}
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/d.sock"}, Fields: map[string]any{
		"Unit": map[string]any{"FragmentPath": dir + "/docker.service", "DropIns": []any{dir + "/a.conf"}},
	}})
	var got []string
	for _, p := range DockerPaths(s) {
		got = append(got, fmt.Sprint(p))
	}
	for _, want := range []string{
		"{/run/d.sock [docker-socket] /run/d.sock}", "{" + dir + "/docker.service [unit] /run/d.sock}", "{" + dir + "/a.conf [unit] /run/d.sock}",
		"{/etc/docker [config-dir] }", "{/run/containerd/containerd.sock [containerd-socket] }",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %s", want, got)
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "runc") }) {
		t.Errorf("there is no check for the mode of a program: %s", got)
	}
	if p := first([]string{dir + "/none", dir + "/docker.service"}); p != dir+"/docker.service" {
		t.Errorf("of two paths the one that exists counts, got %s", p)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "reg:5000"), 0o755))
	for _, name := range []string{"ca.crt", "client.cert", "client.key", "README"} {
		put(t, filepath.Join(dir, "reg:5000", name), 0o644)
	}
	want := []Path{
		{dir + "/reg:5000/ca.crt", []string{"registry-cert"}, ""},
		{dir + "/reg:5000/client.cert", []string{"registry-cert"}, ""},
		{dir + "/reg:5000/client.key", []string{"registry-key"}, ""},
	}
	if d := cmp.Diff(want, certificates(dir)); d != "" {
		t.Error(d)
	}
	if ps := certificates(filepath.Join(dir, "none")); len(ps) > 0 {
		t.Errorf("a directory that is not there has %v", ps)
	}
}

func put(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	must(t, os.Chmod(path, mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
