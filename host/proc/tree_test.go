package proc

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"casco/loop/inventory"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// plant writes a txtar archive below a new directory. A file named X.link
// becomes the symbolic link X. DIR in a text is that directory.
func plant(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		name := filepath.Join(dir, f.Name)
		text := strings.ReplaceAll(string(f.Data), "DIR", dir)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link, ok := strings.CutSuffix(name, ".link"); ok {
			err = os.Symlink(strings.TrimSpace(text), link)
		} else {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// reads returns what a function of cgroup read, or why not.
func reads(f func(*reading)) (map[string]any, map[string]error) {
	r := newReading()
	f(r)
	return r.fields, r.missing
}

func TestResources(t *testing.T) {
	const archive = `
-- v1/memory/docker/ID/memory.limit_in_bytes --
67108864
-- v1/memory/docker/ID/memory.max_usage_in_bytes --
4079616
-- v1/memory/free/ID/memory.limit_in_bytes --
9223372036854771712
-- v1/memory/free/ID/memory.max_usage_in_bytes --
1
-- v1/pids/docker/ID/pids.max --
50
-- v1/pids/docker/ID/pids.current --
8
-- v1/pids/free/ID/pids.max --
max
-- v1/pids/free/ID/pids.current --
3
-- v1/pids/free/ID/pids.peak --
9
-- v1/cpu/docker/ID/cpu.cfs_quota_us --
150000
-- v1/cpu/docker/ID/cpu.cfs_period_us --
100000
-- v1/cpu/docker/ID/cpu.shares --
512
-- v1/cpu/docker/ID/cpuacct.usage --
31952123
-- v1/cpu/free/ID/cpu.cfs_quota_us --
-1
-- v1/cpu/free/ID/cpu.cfs_period_us --
100000
-- v1/cpu/free/ID/cpu.shares --
1024
-- v1/cpu/free/ID/cpuacct.usage --
1000
-- v2/docker/ID/cgroup.controllers --
cpu memory pids
-- v2/docker/ID/memory.max --
67108864
-- v2/docker/ID/memory.peak --
4079616
-- v2/docker/ID/pids.max --
50
-- v2/docker/ID/pids.peak --
8
-- v2/docker/ID/cpu.max --
150000 100000
-- v2/docker/ID/cpu.weight --
20
-- v2/docker/ID/cpu.stat --
usage_usec 31952
user_usec 1
-- v2/rootless/ID/cgroup.controllers --
pids
-- v2/rootless/ID/pids.max --
max
-- v2/rootless/ID/pids.current --
2
-- v2/rootless/ID/cpu.stat --
usage_usec 7
`
	dir := plant(t, strings.ReplaceAll(archive, "ID", id1))
	v1 := hierarchies{"memory": {dir + "/v1/memory", "/"}, "pids": {dir + "/v1/pids", "/"}, "cpu": {dir + "/v1/cpu", "/"}, "cpuacct": {dir + "/v1/cpu", "/"}}
	v2 := hierarchies{"": {dir + "/v2", "/"}}
	v1lines := func(p string) string {
		return "3:memory:" + p + "\n2:pids:" + p + "\n1:cpu,cpuacct:" + p + "\n"
	}
	for _, c := range []struct {
		name, lines string
		hs          hierarchies
		want        map[string]any
		missing     []string
	}{
		{"v1", v1lines("/docker/" + id1), v1, map[string]any{
			"MemoryMax": int64(64 << 20), "MemoryPeak": int64(4079616), "PidsMax": int64(50), "PidsPeak": int64(8),
			"CpuMax": int64(1500), "CpuWeight": int64(512), "CpuUsage": int64(31952),
		}, nil},
		{"v1 without limits", v1lines("/free/" + id1), v1, map[string]any{
			"MemoryMax": int64(-1), "MemoryPeak": int64(1), "PidsMax": int64(-1), "PidsPeak": int64(9),
			"CpuMax": int64(-1), "CpuWeight": int64(1024), "CpuUsage": int64(1),
		}, nil},
		{"v2", "0::/docker/" + id1 + "/init.scope\n", v2, map[string]any{
			"MemoryMax": int64(64 << 20), "MemoryPeak": int64(4079616), "PidsMax": int64(50), "PidsPeak": int64(8),
			"CpuMax": int64(1500), "CpuWeight": int64(20), "CpuUsage": int64(31952),
		}, nil},
		{
			"v2, rootless: only pids delegated", "0::/rootless/" + id1 + "\n", v2,
			map[string]any{
				"MemoryMax": int64(-1), "PidsMax": int64(-1), "PidsPeak": int64(2), "CpuMax": int64(-1), "CpuUsage": int64(7),
			},
			[]string{"MemoryPeak", "CpuWeight"},
		},
		{"v1 with the memory controller off", strings.Replace(v1lines("/docker/"+id1), "3:memory:/docker/"+id1+"\n", "", 1), v1, map[string]any{
			"MemoryMax": int64(-1), "PidsMax": int64(50), "PidsPeak": int64(8),
			"CpuMax": int64(1500), "CpuWeight": int64(512), "CpuUsage": int64(31952),
		}, []string{"MemoryPeak"}},
		{
			"v1 not mounted", v1lines("/docker/" + id1),
			hierarchies{},
			map[string]any{},
			[]string{"MemoryMax", "MemoryPeak", "PidsMax", "PidsPeak", "CpuMax", "CpuWeight", "CpuUsage"},
		},
		{
			"v2, the cgroup is gone", "0::/gone/" + id1 + "\n", v2,
			map[string]any{},
			[]string{"MemoryMax", "MemoryPeak", "PidsMax", "PidsPeak", "CpuMax", "CpuWeight", "CpuUsage"},
		},
	} {
		g, err := cgroupOf([]byte(c.lines), id1, c.hs)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, missing := reads(g.resources)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		for _, m := range c.missing {
			if missing[m] == nil {
				t.Errorf("%s: no reason why %s is missing", c.name, m)
			}
		}
		if len(missing) != len(c.missing) {
			t.Errorf("%s: missing %v, want %v", c.name, missing, c.missing)
		}
	}
}

// recordedProcess is a container's first process that nobody but root may
// trace: no ns directory.
const recordedProcess = `
-- self/limits --
x
-- 4711/cgroup --
0::/docker/ID
-- 4711/status --
Name:	sh
Uid:	0	0	0	0
CapEff:	0000000000000400
CapBnd:	0000000000000400
Seccomp:	0
NoNewPrivs:	0
-- 4711/uid_map --
0 231072 65536
-- 4711/limits --
Max open files            64                   128                  files     
-- 4711/attr/current --
docker-default (enforce)
-- 4711/mountinfo --
76 50 0:39 / / ro,relatime - overlay overlay rw
-- 4711/ns/net.link --
net:[10]
-- 4711/ns/pid.link --
pid:[1]
-- 4711/ns/user.link --
user:[2]
`

func TestEffective(t *testing.T) {
	root := procfs(plant(t, strings.ReplaceAll(recordedProcess, "ID", id1)))
	p, err := root.open(4711)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	g, err := cgroupOf([]byte("0::/docker/"+id1), id1, hierarchies{})
	if err != nil {
		t.Fatal(err)
	}
	h := &home{ns: namespaces{"net": "net:[3]", "pid": "pid:[1]", "user": "user:[9]"}, nets: map[string]bool{"net:[10]": true}}
	r, net := p.effective(g, h)
	if net != "net:[10]" {
		t.Errorf("network namespace %q", net)
	}
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Fields: map[string]any{}}
	r.into(o, "/proc/4711")
	want := map[string]any{
		"Cgroup": "/docker/" + id1, "CapEff": []string{"NET_BIND_SERVICE"}, "CapBnd": []string{"NET_BIND_SERVICE"},
		"Seccomp": int64(0), "NoNewPrivs": false, "Uid": int64(0), "RootUid": int64(231072),
		"Label": "docker-default (enforce)", "Limits": map[string]any{"nofile": map[string]any{"Soft": int64(64), "Hard": int64(128)}},
		"RootReadOnly": true, "SharedMounts": []string{}, "HostNamespaces": []string{"net", "pid"},
	}
	if diff := cmp.Diff(want, o.Fields["Effective"]); diff != "" {
		t.Error(diff)
	}
	_, fact, ok := inventory.EffectiveMemoryMax.Of(o)
	if ok || !strings.Contains(fact.Err, "no cgroup hierarchy") || fact.Source != "/proc/4711" {
		t.Errorf("MemoryMax without a cgroup mount: %+v", fact)
	}
}

func TestEffectiveWithoutTheRightToLook(t *testing.T) {
	root := procfs(plant(t, "-- 4711/cgroup --\n0::/docker/"+id1+"\n"))
	p, err := root.open(4711)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	g, err := cgroupOf([]byte("0::/docker/"+id1), id1, hierarchies{})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := p.effective(g, &home{err: errors.New("permission denied")})
	// RootUid without uid_map is a kernel without user namespaces or a refusal:
	// either way it is not 0.
	if diff := cmp.Diff(map[string]any{"Cgroup": "/docker/" + id1, "Label": ""}, r.fields); diff != "" {
		t.Errorf("a value was made up:\n%s", diff)
	}
	for _, name := range []string{"CapEff", "CapBnd", "Seccomp", "NoNewPrivs", "Uid", "RootUid", "Limits", "SharedMounts", "RootReadOnly", "HostNamespaces"} {
		if r.missing[name] == nil {
			t.Errorf("no reason why %s is missing", name)
		}
	}
}

func TestPidOfAnotherNamespaceIsNotBelieved(t *testing.T) {
	c := NewContainers(Options{})
	s := &inventory.Snapshot{}
	ref := inventory.Ref{Kind: inventory.Container, Name: "web"}
	s.Add(&inventory.Object{Ref: ref, Fields: map[string]any{"Id": id1, "Mounts": []any{}, "State": map[string]any{"Pid": int64(os.Getpid())}}})
	if err := c.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	o := s.Find(ref)
	_, fact, ok := inventory.EffectiveUID.Of(o)
	if ok || !strings.Contains(fact.Err, "does not name the container") {
		t.Errorf("our own process was taken for a container: %+v", fact)
	}
	if _, fact, ok := inventory.Listeners.Of(o); ok || fact.Err == inventory.Absent {
		t.Errorf("Listeners: %+v", fact)
	}
}

func TestHolders(t *testing.T) {
	root := procfs(plant(t, `
-- 10/comm --
nginx
-- 10/fd/0.link --
/dev/null
-- 10/fd/3.link --
socket:[100]
-- 11/comm --
nginx worker
-- 11/fd/3.link --
socket:[100]
-- 11/fd/4.link --
socket:[101]
`))
	got, err := root.holders([]int{10, 11, 12}, map[uint64]bool{100: true, 101: true}, 100)
	want := map[uint64]holder{100: {10, "nginx"}, 101: {11, "nginx worker"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(holder{})); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := root.holders([]int{10, 11}, map[uint64]bool{101: true}, 2); err == nil {
		t.Error("the budget was exceeded and nobody says so")
	}
}

func TestOwners(t *testing.T) {
	s := &inventory.Snapshot{}
	add := func(name, id string, ports, nets map[string]any) {
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Fields: map[string]any{
			"Id": id, "NetworkSettings": map[string]any{"Ports": ports, "Networks": nets},
		}})
	}
	binding := func(ip, port string) []any { return []any{map[string]any{"HostIp": ip, "HostPort": port}} }
	add("web", id1, map[string]any{"80/tcp": binding("0.0.0.0", "8080"), "53/udp": binding("127.0.0.1", "53"), "81/tcp": nil},
		map[string]any{"bridge": map[string]any{"IPAddress": "172.17.0.2"}})
	add("db", id2, map[string]any{"80/tcp": binding("192.0.2.1", "9090")}, map[string]any{"bridge": map[string]any{"IPAddress": "172.17.0.3"}})
	w := ownersOf(s)
	for _, c := range []struct{ proto, at, to, want string }{
		{"tcp", "0.0.0.0:8080", "", "web"},
		{"tcp", "[::]:8080", "172.17.0.2", "web"},
		{"udp", "127.0.0.1:53", "", "web"},
		{"tcp", "127.0.0.1:53", "", ""},
		{"tcp", "192.0.2.1:9090", "", "db"},
		{"tcp", "192.0.2.7:9090", "", ""},
		{"tcp", "192.0.2.7:9090", "172.17.0.3", "db"},
		{"tcp", "0.0.0.0:7000", "172.17.0.9", ""},
	} {
		to, _ := netip.ParseAddr(c.to)
		if got := w.byPort(socket{proto: c.proto, at: netip.MustParseAddrPort(c.at)}, proxy{to}); got != c.want {
			t.Errorf("%s %s to %s is of %q, want %q", c.proto, c.at, c.to, got, c.want)
		}
	}
	if got := w.byCgroup([]byte("0::/docker/" + id2 + "/x\n")); got != "db" {
		t.Errorf("by cgroup: %q", got)
	}
	if got := w.byCgroup([]byte("0::/user.slice\n")); got != "" {
		t.Errorf("a process of the host is of %q", got)
	}
}

func TestSelfCanBeRead(t *testing.T) {
	p, err := procfs("/proc").self()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ns, err := p.namespaces()
	if err != nil || !strings.HasPrefix(ns["net"], "net:[") {
		t.Errorf("%v, %v", ns, err)
	}
	if _, err := procfs("/proc").open(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("process %s: %v", strconv.Itoa(1<<30), err)
	}
}

// TestUserNamespace reads a process that is root in a user namespace, as the
// first one of a container is with userns-remap.
func TestUserNamespace(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "echo ready; read wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 231072, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no right to make a user namespace for other users: ", err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	p, err := procfs("/proc").open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	got, missing := reads(p.privileges)
	if got["RootUid"] != int64(231072) || got["Uid"] != int64(231072) || len(missing) > 0 {
		t.Errorf("RootUid %v, Uid %v, missing %v", got["RootUid"], got["Uid"], missing)
	}
	ns, err := p.namespaces()
	if err != nil {
		t.Fatal(err)
	}
	self, err := procfs("/proc").self()
	if err != nil {
		t.Fatal(err)
	}
	defer self.close()
	ours, err := self.namespaces()
	if diff := cmp.Diff([]string{"user"}, ns.without(ours)); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}
