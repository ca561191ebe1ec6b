package proc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/realdocker"
	"casco/loop/inventory"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// inspect makes a snapshot of what the engine says of its containers, volumes
// and itself, with nothing of ours in it.
func inspect(t testing.TB, e *realdocker.Engine) *inventory.Snapshot {
	t.Helper()
	s := &inventory.Snapshot{}
	add := func(kind inventory.Kind, key, reply string) {
		var list []map[string]any
		d := json.NewDecoder(strings.NewReader(reply))
		d.UseNumber()
		if err := d.Decode(&list); err != nil {
			t.Fatal(err)
		}
		for _, fields := range list {
			name := strings.TrimPrefix(fields[key].(string), "/")
			s.Add(&inventory.Object{Ref: inventory.Ref{Kind: kind, Name: name}, Fields: fields})
		}
	}
	if ids := strings.Fields(e.Docker("ps", "-aq")); len(ids) > 0 {
		add(inventory.Container, "Name", e.Docker(append([]string{"inspect"}, ids...)...))
	}
	if names := strings.Fields(e.Docker("volume", "ls", "-q")); len(names) > 0 {
		add(inventory.Volume, "Name", e.Docker(append([]string{"volume", "inspect"}, names...)...))
	}
	s.Add(&inventory.Object{
		Ref:    inventory.Ref{Kind: inventory.Daemon, Name: e.Socket},
		Fields: map[string]any{"Process": map[string]any{"Pid": int64(e.Pid())}},
	})
	return s
}

// has tells whether f of o is want, whatever the kinds of numbers.
func has[T any](t *testing.T, o *inventory.Object, f inventory.Field[T], want T) {
	t.Helper()
	got, fact, ok := f.Of(o)
	if !ok {
		t.Errorf("%v", fact)
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s %s (-want +got):\n%s", o.Ref, f.Path, diff)
	}
}

// heard returns "command port banner" of the TCP listeners of o, without the
// engine's DNS.
func heard(t *testing.T, o *inventory.Object) []string {
	t.Helper()
	list, fact, ok := inventory.Listeners.Of(o)
	if !ok {
		t.Errorf("%v", fact)
	}
	said := []string{}
	for _, l := range list {
		l := l.(map[string]any)
		if banner, asked := l["Banner"]; asked != (l["Proto"] == "tcp") {
			t.Errorf("%s: asked %v: %v", o.Ref, asked, l)
		} else if asked && l["Comm"] != "dockerd" {
			said = append(said, fmt.Sprintf("%v %v %v", l["Comm"], l["Port"], banner))
		}
	}
	return said
}

func TestRealContainers(t *testing.T) {
	e := realdocker.Start(t)
	img := e.Image("quiet")
	run := func(args ...string) {
		t.Helper()
		e.Docker(append([]string{"run", "-d"}, args...)...)
	}
	ssh := func(port string) []string {
		return []string{img, "nc", "-ll", "-p", port, "-e", "echo", "SSH-2.0-hidden"}
	}
	e.Docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+filepath.Dir(e.Socket), "engine-dir")
	e.Docker("network", "create", "apart")
	link := filepath.Join(t.TempDir(), "harmless")
	if err := os.Symlink(e.Socket, link); err != nil {
		t.Fatal(err)
	}

	run(append([]string{"--name", "limited", "--memory", "64m", "--pids-limit", "50", "--cpus", "1.5", "--cpu-shares", "512"}, ssh("2222")...)...)
	run("--name", "hard", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined",
		"--read-only", "--user", "1000", "--ulimit", "nofile=64:128", "--network", "apart", img, "sleep", "600")
	run("--name", "sees-pids", "--pid", "host", "--ipc", "host", img, "sleep", "600")
	run(append([]string{"--name", "on-host", "--network", "host"}, ssh("22")...)...)
	run(append([]string{"--name", "sidecar", "--network", "container:limited"}, ssh("81")...)...)
	run("--name", "binds", "-v", e.Socket+":/a", "-v", link+":/b", "-v", "engine-dir:/c", "-v", t.TempDir()+":/d", img, "sleep", "600")
	run(append([]string{"--name", "published", "-p", "18080:80"}, img, "nc", "-ll", "-p", "80", "-e", "sleep", "3")...)
	shared := t.TempDir()
	mountShared(t, shared)
	run("--name", "propagates", "-v", shared+":/out:rshared", "-v", t.TempDir()+":/in", img, "sleep", "600")
	e.Docker("create", "--name", "stopped", "-v", filepath.Dir(e.Socket)+":/x", img, "true")

	s := inspect(t, e)
	source := NewContainers(Options{Banners: true})
	start := time.Now()
	if err := source.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	t.Logf("first reading with banners: %v", time.Since(start))
	find := func(name string) *inventory.Object {
		t.Helper()
		o := s.Find(inventory.Ref{Kind: inventory.Container, Name: name})
		if o == nil {
			t.Fatalf("no container %s", name)
		}
		for field, why := range o.Unread {
			t.Errorf("%s: %s could not be read: %s", name, field, why)
		}
		return o
	}

	limited := find("limited")
	has(t, limited, inventory.EffectiveMemoryMax, 64<<20)
	has(t, limited, inventory.EffectivePidsMax, 50)
	has(t, limited, inventory.EffectiveCPUMax, 1500)
	has(t, limited, inventory.EffectiveNoNewPrivs, false)
	has(t, limited, inventory.EffectiveSeccomp, 2)
	has(t, limited, inventory.EffectiveRootUID, 0)
	has(t, limited, inventory.EffectiveRootReadOnly, false)
	has(t, limited, inventory.EffectiveSharesNet, []string{"sidecar"})

	hard := find("hard")
	has(t, hard, inventory.EffectiveCaps, []string{})
	has(t, hard, inventory.EffectiveBounding, []string{})
	has(t, hard, inventory.EffectiveSeccomp, 0)
	has(t, hard, inventory.EffectiveNoNewPrivs, true)
	has(t, hard, inventory.EffectiveUID, 1000)
	has(t, hard, inventory.EffectiveRootReadOnly, true)
	has(t, hard, inventory.EffectiveMemoryMax, -1)
	has(t, hard, inventory.EffectiveSharesNet, []string{})
	limits, _, _ := inventory.EffectiveLimits.Of(hard)
	if diff := cmp.Diff(map[string]any{"Soft": int64(64), "Hard": int64(128)}, limits["nofile"]); diff != "" {
		t.Error(diff)
	}
	dns, _, _ := inventory.Listeners.Of(hard)
	for _, l := range dns {
		if l := l.(map[string]any); l["Addr"] != "127.0.0.11" || l["Comm"] != "dockerd" {
			t.Errorf("a container that only sleeps listens: %v", l)
		}
	}

	has(t, find("propagates"), inventory.EffectiveSharedMounts, []string{"/out"})
	has(t, hard, inventory.EffectiveSharedMounts, []string{})

	hostsOf := func(name string) map[string]bool {
		names, fact, ok := inventory.EffectiveHostNamespaces.Of(find(name))
		if !ok {
			t.Errorf("%v", fact)
		}
		set := map[string]bool{}
		for _, n := range names {
			set[n] = true
		}
		return set
	}
	if ns := hostsOf("sees-pids"); !ns["pid"] || !ns["ipc"] || ns["net"] || ns["mnt"] || ns["uts"] {
		t.Errorf("--pid host --ipc host: %v", ns)
	}
	if ns := hostsOf("on-host"); !ns["net"] || ns["pid"] {
		t.Errorf("--network host, of an engine in a namespace of its own: %v", ns)
	}
	if ns := hostsOf("hard"); ns["net"] || ns["pid"] || ns["ipc"] || ns["mnt"] || ns["uts"] {
		t.Errorf("nothing asked of the host: %v", ns)
	}
	own, fact, ok := inventory.DaemonOwnNamespaces.Of(s.Find(inventory.Ref{Kind: inventory.Daemon, Name: e.Socket}))
	if !ok || len(own) != 1 || own[0] != "net" {
		t.Errorf("the engine has for itself %v: %v", own, fact)
	}

	for name, want := range map[string][]string{
		"limited":   {"nc 2222 SSH-2.0-hidden"},
		"sidecar":   {"nc 81 SSH-2.0-hidden"},
		"on-host":   {"nc 22 SSH-2.0-hidden"}, // and not the docker-proxy of "published"
		"published": {"nc 80 "},
		"sees-pids": {}, // sees the others' servers, has none
		"hard":      {},
	} {
		if diff := cmp.Diff(want, heard(t, find(name))); diff != "" {
			t.Errorf("%s listens (-want +got):\n%s", name, diff)
		}
	}

	t.Run("binds", func(t *testing.T) { testRealBinds(t, e, find("binds"), find("stopped"), link) })
	t.Run("again", func(t *testing.T) { testRealBannersAreKept(t, source, s, limited) })
	t.Run("nobody", func(t *testing.T) { testRealReadingByNobody(t, s) })
	t.Run("listeners", func(t *testing.T) { testRealListeners(t, e, s) })
}

func testRealBinds(t *testing.T, e *realdocker.Engine, binds, stopped *inventory.Object, link string) {
	sources, fact, ok := inventory.BindSources.Of(binds)
	if !ok || len(sources) != 4 {
		t.Fatalf("%v: %v", fact, sources)
	}
	mounts, _, _ := inventory.Mounts.Of(binds)
	for _, m := range mounts {
		m := m.(map[string]any)
		source, _ := sources[m["Source"].(string)].(map[string]any)
		sockets, _ := source["Sockets"].([]string)
		found := strings.Contains(strings.Join(sockets, " "), e.Socket)
		if want := m["Destination"] != "/d"; found != want {
			t.Errorf("%v: shows the engine's socket: %v, want %v: %v", m["Source"], found, want, source)
		}
		if m["Source"] == link && (source["Resolved"] != e.Socket || source["Type"] != "socket") {
			t.Errorf("a link to the socket: %v", source)
		}
	}
	sources, fact, _ = inventory.BindSources.Of(stopped)
	source, _ := sources[filepath.Dir(e.Socket)].(map[string]any)
	if sockets, _ := source["Sockets"].([]string); len(sockets) == 0 {
		t.Errorf("a stopped container: %v: %v", fact, sources)
	}
	if _, fact, ok := inventory.EffectiveUID.Of(stopped); ok || fact.Err != inventory.Absent {
		t.Errorf("a stopped container has a process: %v", fact)
	}
}

// testRealBannersAreKept: the second reading asks nobody, so it need not wait
// for the silent server.
func testRealBannersAreKept(t *testing.T, source *Containers, s *inventory.Snapshot, o *inventory.Object) {
	before := heard(t, o)
	start := time.Now()
	if err := source.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > bannerWait {
		t.Errorf("the second reading took %v", took)
	}
	if diff := cmp.Diff(before, heard(t, o)); diff != "" {
		t.Error(diff)
	}
}

// mountShared makes dir a mount of its own, in a peer group of its own, as
// "docker run -v dir:/x:rshared" demands.
func mountShared(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
}

// testRealReadingByNobody reads the same containers in a process that is not
// root: it must give what everybody may know, and reasons for the rest.
func testRealReadingByNobody(t *testing.T, s *inventory.Snapshot) {
	const nobody = 65534
	in := &inventory.Snapshot{Objects: s.Of(inventory.Container)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	// By this link, for the way to a test binary is closed to others.
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestReadByNobody$", "-test.v")
	cmd.Env = append(os.Environ(), nobodyEnv+"=1")
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestReadByNobody") {
		t.Errorf("%v\n%s", err, out)
	}
}

// nobodyEnv makes TestReadByNobody read a snapshot from standard input.
const nobodyEnv = "CASCO_TEST_READ_BY_NOBODY"

func TestReadByNobody(t *testing.T) {
	if os.Getenv(nobodyEnv) == "" {
		t.Skip("a part of TestRealContainers")
	}
	var s inventory.Snapshot
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		t.Fatal(err)
	}
	for _, o := range s.Objects {
		o.Unread = nil
		for _, field := range []string{"Effective", "Listeners", "BindSources"} {
			delete(o.Fields, field)
		}
	}
	if err := NewContainers(Options{Banners: true}).Read(context.Background(), &s); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, o := range s.Objects {
		if pid, _, _ := inventory.Pid.Of(o); pid == 0 {
			continue
		}
		seen++
		if _, fact, ok := inventory.EffectiveCaps.Of(o); !ok {
			t.Errorf("/proc/PID/status is for all: %v", fact)
		}
		for _, f := range []inventory.Field[[]string]{inventory.EffectiveHostNamespaces, inventory.EffectiveSharesNet} {
			if v, fact, ok := f.Of(o); ok || fact.Err == inventory.Absent {
				t.Errorf("%s: %s = %v, without a reason", o.Ref, f.Path, v)
			}
		}
		if v, fact, ok := inventory.Listeners.Of(o); ok || fact.Err == inventory.Absent {
			t.Errorf("%s: Listeners = %v, without a reason", o.Ref, v)
		}
	}
	if seen == 0 {
		t.Error("no running container was read")
	}
}

func testRealListeners(t *testing.T, e *realdocker.Engine, s *inventory.Snapshot) {
	// The engine's namespace plays the host's: docker-proxy is in it.
	l := &Listeners{root: "/proc", pid: e.Pid()}
	if err := l.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"tcp:0.0.0.0:18080": {"published", "docker-proxy"},
		"tcp:[::]:22":       {"on-host", "busybox"},
	} {
		o := s.Find(inventory.Ref{Kind: inventory.Listener, Name: name})
		if o == nil {
			t.Errorf("no listener %s", name)
			continue
		}
		has(t, o, inventory.ListenerOwner, want[0])
		if exe, fact, _ := inventory.ListenerExe.Of(o); filepath.Base(exe) != want[1] {
			t.Errorf("%v, want …/%s", fact, want[1])
		}
	}
}

// BenchmarkRealContainers reads 50 running containers, half of them with a
// server on a network that has Docker's DNS.
func BenchmarkRealContainers(b *testing.B) {
	e := realdocker.Start(b)
	img := e.Image("quiet")
	e.Docker("network", "create", "apart")
	for i := range 50 {
		args := []string{"run", "-d", "--name", fmt.Sprint("many", i), "-v", e.Root + ":/x", img, "sleep", "600"}
		if i%2 == 0 {
			args = []string{"run", "-d", "--name", fmt.Sprint("many", i), "--network", "apart", img, "nc", "-ll", "-p", "80", "-e", "sleep", "1"}
		}
		e.Docker(args...)
	}
	s := inspect(b, e)
	source := NewContainers(Options{})
	b.ReportAllocs()
	for b.Loop() {
		if err := source.Read(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListening compares the two ways to find listening sockets.
func BenchmarkListening(b *testing.B) {
	p, err := procfs("/proc").self()
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	b.Run("sock_diag", func(b *testing.B) {
		for b.Loop() {
			if _, source, err := p.listening(); err != nil || !strings.HasPrefix(source, "sock_diag") {
				b.Skipf("%s: %v", source, err)
			}
		}
	})
	b.Run("files", func(b *testing.B) {
		for b.Loop() {
			if _, err := p.listeningByFile(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
