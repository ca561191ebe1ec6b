package proc

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"casco/loop/inventory"

	"github.com/google/go-cmp/cmp"
)

func TestHostPath(t *testing.T) {
	s := &inventory.Snapshot{}
	volume := func(name string, options map[string]any) {
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Volume, Name: name}, Fields: map[string]any{"Options": options}})
	}
	volume("etc", map[string]any{"type": "none", "o": "bind", "device": "/etc"})
	volume("nfs", map[string]any{"type": "nfs", "o": "addr=192.0.2.1", "device": ":/export"})
	volume("plain", nil)
	for _, c := range []struct {
		mount map[string]any
		want  string
	}{
		{map[string]any{"Type": "bind", "Source": "/var/run"}, "/var/run"},
		{map[string]any{"Type": "volume", "Driver": "local", "Name": "etc", "Source": "/d/etc/_data"}, "/etc"},
		{map[string]any{"Type": "volume", "Driver": "local", "Name": "nfs", "Source": "/d/nfs/_data"}, "/d/nfs/_data"},
		{map[string]any{"Type": "volume", "Driver": "local", "Name": "plain", "Source": "/d/plain/_data"}, "/d/plain/_data"},
		{map[string]any{"Type": "volume", "Driver": "local", "Name": "unread", "Source": "/d/unread/_data"}, "/d/unread/_data"},
		{map[string]any{"Type": "volume", "Driver": "rexray", "Name": "x", "Source": "/mnt/x"}, ""},
		{map[string]any{"Type": "tmpfs", "Source": ""}, ""},
		{map[string]any{"Type": "npipe", "Source": `\\.\pipe\docker_engine`}, ""},
	} {
		if got := hostPath(s, c.mount); got != c.want {
			t.Errorf("%v is made from %q, want %q", c.mount, got, c.want)
		}
	}
}

// TestShows mounts nothing: links and names are enough to hide a socket from
// a comparison of paths.
func TestShows(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"run", "run2", "data"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", at("run/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for from, to := range map[string]string{"var-run": "run", "sock": "run/docker.sock"} {
		if err := os.Symlink(at(to), at(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("run/docker.sock"), at("data/harmless")); err != nil {
		t.Fatal(err)
	}

	p, err := procfs("/proc").self()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	v, err := p.view()
	if err != nil {
		t.Skip("own root cannot be opened: ", err)
	}
	defer v.close()
	door, err := v.resolve(at("run/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	b := &binds{v, []portal{{at("run/docker.sock"), door}}, map[string]answer{}}
	socket := []string{at("run/docker.sock")}
	for _, c := range []struct {
		source   string
		resolved string
		kind     string
		exists   bool
		sockets  []string
	}{
		{"run", "run", "dir", true, socket},
		{"var-run", "run", "dir", true, socket},
		{"sock", "run/docker.sock", "socket", true, socket},
		{"data/harmless", "data/harmless", "socket", true, socket},
		{"run/../run/docker.sock", "run/docker.sock", "socket", true, socket},
		{".", ".", "dir", true, socket},
		{"run2", "run2", "dir", true, []string{}},
		{"gone", "gone", "", false, []string{}},
	} {
		got, err := b.source(at(c.source))
		if err != nil {
			t.Errorf("%s: %v", c.source, err)
			continue
		}
		want := map[string]any{"Resolved": filepath.Clean(at(c.resolved)), "Type": c.kind, "Exists": c.exists, "Sockets": c.sockets}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", c.source, diff)
		}
	}
	if got, err := b.source("/"); err != nil || !cmp.Equal(got["Sockets"], socket) {
		t.Errorf("/ shows %v, %v", got, err)
	}
}

func TestShowsThroughABindMount(t *testing.T) {
	socket := place{path: "/run/docker.sock", kind: "socket", node: node{0, 22, 7}, within: spot{0, 22, "/docker.sock"}}
	for _, c := range []struct {
		name string
		dir  place
		want bool
	}{
		{"/srv/run, a bind mount of /run", place{"/srv/run", "dir", node{0, 22, 1}, spot{0, 22, "/"}}, true},
		{"a directory of another file system", place{"/srv/run", "dir", node{0, 23, 1}, spot{0, 23, "/"}}, false},
		{"a directory beside it", place{"/run/user", "dir", node{0, 22, 2}, spot{0, 22, "/user"}}, false},
		{"a name that only begins alike", place{"/run/dock", "dir", node{0, 22, 3}, spot{0, 22, "/dock"}}, false},
		{"the kernel does not tell the mount", place{"/srv/run", "dir", node{0, 22, 1}, spot{}}, false},
	} {
		if got := c.dir.shows(socket); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
