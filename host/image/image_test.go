package image

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/loop/inventory"
)

// host is a snapshot with an engine in use and an image of these layers.
func host(driver string, dirs ...string) (*inventory.Snapshot, *inventory.Object) {
	var digests, lower []any
	list := ""
	for i, d := range dirs {
		digests = append(digests, "sha256:"+filepath.Base(d))
		if i < len(dirs)-1 {
			lower = append([]any{d}, lower...)
		}
	}
	for i, d := range lower {
		if i > 0 {
			list += ":"
		}
		list += d.(string)
	}
	data := map[string]any{"UpperDir": dirs[len(dirs)-1]}
	if list != "" {
		data["LowerDir"] = list
	}
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Image, Name: "app:1"}, Fields: map[string]any{
		"GraphDriver": map[string]any{"Name": driver, "Data": data}, "RootFS": map[string]any{"Layers": digests},
	}}
	s := &inventory.Snapshot{}
	s.Add(o)
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Fields: map[string]any{"Info": map[string]any{}}})
	return s, o
}

func TestImage(t *testing.T) {
	handtest.NeedRoot(t)
	top := t.TempDir()
	base, middle, last := top+"/l1", top+"/l2", top+"/l3"
	key := newKey(t, "PRIVATE KEY")
	put(t, base+"/bin/su", "x", 0o755|os.ModeSetuid)
	put(t, base+"/bin/mount", "x", 0o755|os.ModeSetuid)
	put(t, base+"/root/.ssh/id_ed25519", key, 0o600)
	put(t, middle+"/root/.docker/config.json", `{"auths": {"r.test": {"auth": "Y29ycmVjdC1ob3JzZQ=="}}}`, 0o600)
	must(t, os.MkdirAll(middle+"/root/.ssh", 0o755))
	must(t, unix.Mknod(middle+"/root/.ssh/id_ed25519", unix.S_IFCHR, 0))
	put(t, last+"/bin/mount", "x", 0o755) // chmod a-s copies it up
	cache := top + "/state/layers"
	read := func(deep bool) *inventory.Object {
		s, o := host("overlay2", base, middle, last)
		if err := New(cache, deep, nil).Read(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return o
	}

	o := read(false)
	if _, fact, ok := inventory.ImageSetuid.Of(o); ok || !strings.Contains(fact.Err, "--deep") {
		t.Errorf("before anybody looked: %v", fact)
	}
	if _, err := os.Stat(cache); err == nil {
		t.Error("a reading that is not deep has written something")
	}
	check := func(when string, o *inventory.Object) {
		t.Helper()
		if setuid, fact, _ := inventory.ImageSetuid.Of(o); cmp.Diff([]string{"/bin/su"}, setuid) != "" {
			t.Errorf("%s: %v", when, fact)
		}
		list, _, _ := inventory.ImageAccess.Of(o)
		want := []any{
			map[string]any{"Path": "/root/.ssh/id_ed25519", "What": privateKey, "Layer": int64(1), "Deleted": true},
			map[string]any{"Path": "/root/.docker/config.json", "What": registryLogin, "Layer": int64(2)},
		}
		if d := cmp.Diff(want, list); d != "" {
			t.Errorf("%s: %s", when, d)
		}
	}
	check("deep", read(true))
	b := all(t, cache)
	for _, secret := range []string{"Y29ycmVjdC1ob3JzZQ", "PRIVATE KEY-----", key[40:60]} {
		if strings.Contains(b, secret) {
			t.Errorf("what is kept holds a secret: %s", b)
		}
	}
	// From now on no layer is walked: what was found is known by its digest.
	check("again", read(false))
	must(t, os.Rename(base, top+"/away"))
	check("deep again", read(true))

	// A file that is not ours to understand is no reason to fail, or to believe.
	must(t, os.Rename(top+"/away", base))
	for _, f := range files(t, cache) {
		must(t, os.WriteFile(f, []byte("{"), 0o600))
	}
	s, o := host("overlay2", base, middle, last)
	if err := New(cache, false, nil).Read(t.Context(), s); err == nil {
		t.Error("a broken cache is no trouble")
	}
	if _, _, ok := inventory.ImageSetuid.Of(o); ok {
		t.Error("a broken cache was believed")
	}
	check("over a broken cache", read(true))
}

// files are those of a directory, and all is their text.
func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(dir + "/*")
	must(t, err)
	if len(list) == 0 {
		t.Fatalf("nothing is in %s", dir)
	}
	return list
}

func all(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	for _, f := range files(t, dir) {
		b, err := os.ReadFile(f)
		must(t, err)
		out.Write(b)
	}
	return out.String()
}

func TestImageCannotTell(t *testing.T) {
	dir := t.TempDir()
	away := func(f func(*inventory.Snapshot, *inventory.Object)) (*inventory.Snapshot, *inventory.Object) {
		s, o := host("overlay2", dir)
		f(s, o)
		return s, o
	}
	engine := inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}
	for want, f := range map[string]func(*inventory.Snapshot, *inventory.Object){
		"containerd's store": func(_ *inventory.Snapshot, o *inventory.Object) { delete(o.Fields, "GraphDriver") },
		"containerd's store, and": func(_ *inventory.Snapshot, o *inventory.Object) {
			inventory.Put(o.Fields, "GraphDriver", map[string]any{"Name": "overlayfs"})
		},
		"driver is btrfs": func(_ *inventory.Snapshot, o *inventory.Object) { inventory.Put(o.Fields, "GraphDriver.Name", "btrfs") },
		"other files": func(s *inventory.Snapshot, _ *inventory.Object) {
			s.Find(engine).Fields["OwnNamespaces"] = []any{"mnt"}
		},
		"another machine": func(s *inventory.Snapshot, _ *inventory.Object) { s.Find(engine).Ref.Name = "tcp://10.0.0.1:2376" },
		"2 layers in 1": func(_ *inventory.Snapshot, o *inventory.Object) {
			inventory.Put(o.Fields, "RootFS.Layers", []any{"a", "b"})
		},
		"no such file": func(_ *inventory.Snapshot, o *inventory.Object) {
			inventory.Put(o.Fields, "GraphDriver.Data.UpperDir", dir+"/none")
		},
		"RootFS": func(_ *inventory.Snapshot, o *inventory.Object) { delete(o.Fields, "RootFS") },
	} {
		s, o := away(f)
		if err := New("", true, nil).Read(t.Context(), s); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		for _, field := range []string{"Setuid", "Access"} {
			if _, fact, ok := inventory.Lookup(o, field); ok || !strings.Contains(fact.Err, want) {
				t.Errorf("%s: want %q", fact, want)
			}
		}
	}
}

// TestContainer looks into what a container wrote, while it may write.
func TestContainer(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/etc/ssh/ssh_host_ed25519_key", newKey(t, "PRIVATE KEY"), 0o600)
	put(t, dir+"/etc/motd", "hello", 0o644)
	must(t, os.Symlink("/etc", dir+"/srv")) // in the place of a directory
	must(t, os.Symlink("/etc/shadow", dir+"/etc/shadow"))
	must(t, unix.Mkfifo(dir+"/etc/x.key", 0o600))
	var changes []any
	for _, p := range []string{"/etc", "/etc/ssh", "/etc/ssh/ssh_host_ed25519_key", "/etc/motd", "/srv/shadow", "/etc/shadow", "/etc/x.key", "/gone", "/../../../etc/shadow"} {
		changes = append(changes, map[string]any{"Path": p, "Kind": int64(1)})
	}
	from := dir
	read := func(f func(fields map[string]any)) (any, string) {
		s, _ := host("overlay2", dir)
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Fields: map[string]any{
			"Changes": changes,
		}, Sources: map[string]string{"Changes": dir}}
		o.Sources["Changes"] = from
		f(o.Fields)
		s.Add(o)
		if err := New("", false, nil).Read(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		v, fact, _ := inventory.ContainerAccess.Of(o)
		return v, fact.Err
	}
	changes = changes[:len(changes)-1]
	got, why := read(func(map[string]any) {})
	if d := cmp.Diff([]any{map[string]any{"Path": "/etc/ssh/ssh_host_ed25519_key", "What": privateKey}}, got); d != "" || why != "" {
		t.Errorf("%s %s", why, d)
	}
	if got, why := read(func(f map[string]any) { f["Changes"] = []any{} }); why != "" || len(got.([]any)) != 0 {
		t.Errorf("nothing changed: %v, %s", got, why)
	}
	for want, f := range map[string]func(map[string]any){
		"cannot be looked into": func(map[string]any) {}, // the engine was asked
		"what it changed":       func(f map[string]any) { delete(f, "Changes") },
		"cross-device":          func(f map[string]any) { f["Changes"] = []any{map[string]any{"Path": "/../../etc/shadow"}} },
		"more than 2000":        func(f map[string]any) { f["Changes"] = make([]any, changedMost+1) },
	} {
		if from = dir; want == "cannot be looked into" {
			from = "GET /v1.41/containers/web/changes"
		}
		if got, why := read(f); !strings.Contains(why, want) {
			t.Errorf("want %q, got %v, %s", want, got, why)
		}
	}
}

// TestCacheForgets bounds the directory.
func TestCacheForgets(t *testing.T) {
	c := openCache(t.TempDir())
	for i := range filesMost + 2 {
		must(t, os.WriteFile(filepath.Join(c.dir, strconv.Itoa(i)), nil, 0o600))
	}
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(filepath.Join(c.dir, "7"), old, old))
	must(t, c.keep("sha256:new", Layer{}))
	must(t, c.tidy())
	entries, err := os.ReadDir(c.dir)
	must(t, err)
	if len(entries) != filesMost {
		t.Errorf("%d files are kept, want %d", len(entries), filesMost)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "7")); err == nil {
		t.Error("the oldest is still there")
	}
	if again := openCache(c.dir); !again.known("sha256:new") {
		t.Error("the newest was forgotten")
	}
}
