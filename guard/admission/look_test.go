package admission

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/opencontainers/runtime-spec/specs-go"

	"casco/loop/inventory"
)

// A lookSight is a small host on which two paths lead elsewhere.
type lookSight struct{ world }

func (lookSight) Paths(source string) []string {
	switch source {
	case "/srv/link":
		return []string{"/etc"}
	case "/srv/bound": // after mount --bind /root /srv/bound
		return []string{"/srv/bound", "/root"}
	}
	return []string{source}
}

func (s lookSight) Resolve(path string) string   { return s.Paths(path)[0] }
func (lookSight) HostNamespace(file string) bool { return file == "/run/docker/netns/default" }

var someID = strings.Repeat("0123456789abcdef", 4)

// plainConfig is what Docker 20.10 wrote for "docker run -v v1:/data -v
// /srv/src:/src:ro --tmpfs /t".
func plainConfig(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/config.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// changed is the plain configuration with a change.
func changed(t testing.TB, change func(*specs.Spec)) []byte {
	t.Helper()
	var s specs.Spec
	if err := json.Unmarshal(plainConfig(t), &s); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bind(source, target string, options ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: target, Type: "bind", Source: source, Options: append(options, "rbind")})
	}
}

func withoutNamespace(of specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == of })
	}
}

// kept is a container as its engine keeps it.
func kept(host map[string]any) *inventory.Object {
	return &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Read: now, Fields: map[string]any{
		"Config": map[string]any{"Image": "a"}, "HostConfig": host, "NetworkSettings": map[string]any{"Networks": map[string]any{"lan": nil}},
	}}
}

// TestLook: each way of being weak that a final configuration has is found by the
// rule that a request for it breaks, and nothing else is.
func TestLook(t *testing.T) {
	n := func(i int64) *int64 { return &i }
	open := func(s *specs.Spec) {
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	j := judge(t, "admission: {mode: enforce}\n")
	for _, c := range []struct {
		name   string
		want   string
		change func(*specs.Spec)
		start  func(*Start)
	}{
		{"nothing", "", nil, nil},
		{"nothing, of no engine", "", foreign, func(st *Start) { st.Kept = nil }},
		{"/etc", "container-sensitive-mount", bind("/etc", "/h", "ro"), nil},
		{"/etc by a link", "container-sensitive-mount", bind("/srv/link", "/h"), nil},
		{"/root by another mount", "container-sensitive-mount", bind("/srv/bound", "/h"), nil},
		{"a path by dots", "container-sensitive-mount", bind("/srv/../etc", "/h"), nil},
		{"a socket", "container-engine-socket", bind("/run/docker.sock", "/s"), nil},
		{"what was mounted is not what was looked at", "container-sensitive-mount", nil, func(st *Start) { st.Shown = []Shown{{"/src", "/etc", false}} }},
		{"a mount of the engine's own at another place", "container-sensitive-mount", bind("/var/lib/docker/containers/"+someID+"/hosts", "/h"), nil},
		{"files of another container", "container-sensitive-mount", bind("/var/lib/docker/containers/"+strings.Repeat("f", 64)+"/mounts/secrets", "/h"), nil},
		{"secrets of its own", "", bind("/var/lib/docker/containers/"+someID+"/mounts/secrets/x", "/run/secrets/x", "ro"), nil},
		{"a volume by another driver", "", bind("/var/lib/docker/plugins/1/rootfs/x", "/d"), func(st *Start) {
			st.Volumes = map[string]string{"/var/lib/docker/plugins/1/rootfs/x": "x"}
		}},
		{"shared", "container-mount-propagation", bind("/srv/src", "/h", "rshared"), nil},
		{"a shared root", "container-mount-propagation", func(s *specs.Spec) { s.Linux.RootfsPropagation = "rshared" }, nil},
		{"a disk", "container-devices mount-type", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/h", Type: "ext4", Source: "/dev/vda"})
		}, nil},
		{"over /proc", "mount-target", bind("/srv/src", "/proc/sys"), nil},
		{"the kernel's files, writable", "container-system-paths", func(s *specs.Spec) {
			for i := range s.Mounts {
				if s.Mounts[i].Type == "sysfs" {
					s.Mounts[i].Options = nil
				}
			}
		}, nil},
		{"a root of the host's", "container-sensitive-mount", func(s *specs.Spec) { s.Root.Path = "/" }, nil},
		{"a capability", "container-dangerous-capabilities", func(s *specs.Spec) {
			s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_ADMIN")
		}, nil},
		{"an ambient capability", "container-dangerous-capabilities", func(s *specs.Spec) { s.Process.Capabilities.Ambient = []string{"CAP_BPF"} }, nil},
		{"no filter", "container-seccomp", func(s *specs.Spec) { s.Linux.Seccomp = nil }, nil},
		{"a filter that lets all pass", "seccomp-profile", func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActAllow }, nil},
		{"a filter that lets mount pass", "seccomp-profile", func(s *specs.Spec) {
			s.Linux.Seccomp.Syscalls = append(s.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"mount"}, Action: specs.ActAllow})
		}, nil},
		{"unmasked", "container-system-paths", func(s *specs.Spec) { s.Linux.MaskedPaths = nil }, nil},
		{"one path unmasked", "container-system-paths", func(s *specs.Spec) {
			s.Linux.MaskedPaths = slices.DeleteFunc(s.Linux.MaskedPaths, func(p string) bool { return p == "/proc/kcore" })
		}, nil},
		{"the host's processes", "container-host-pid", withoutNamespace(specs.PIDNamespace), nil},
		{"the host's IPC", "container-host-ipc", withoutNamespace(specs.IPCNamespace), nil},
		{"the host's name", "container-host-uts", withoutNamespace(specs.UTSNamespace), nil},
		{"the host's network", "container-host-net", withoutNamespace(specs.NetworkNamespace), nil},
		{"the host's network by its path", "container-host-net", func(s *specs.Spec) {
			for i, ns := range s.Linux.Namespaces {
				if ns.Type == specs.NetworkNamespace {
					s.Linux.Namespaces[i].Path = "/run/docker/netns/default"
				}
			}
		}, nil},
		{"the host's control groups", "container-host-cgroup", nil, func(st *Start) { st.Unified = true }},
		{"a device", "container-devices", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}}
		}, nil},
		{"a rule for disks", "container-devices", func(s *specs.Spec) {
			s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "b", Major: n(8), Access: "rw"})
		}, nil},
		{"a rule for all", "container-devices", open, nil},
		{"a rule for all that is taken back", "", func(s *specs.Spec) {
			rules := s.Linux.Resources.Devices
			open(s)
			s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, rules...)
		}, nil},
		{"a sysctl", "sysctl", func(s *specs.Spec) { s.Linux.Sysctl["kernel.core_pattern"] = "|/x" }, nil},
		{"a domain's name", "sysctl", func(s *specs.Spec) { s.Linux.Sysctl["kernel.domainname"] = "d.e" }, nil},
		{"a domain's name that was asked for", "", func(s *specs.Spec) { s.Linux.Sysctl["kernel.domainname"] = "d.e" }, func(st *Start) {
			st.Kept.Fields["Config"] = map[string]any{"Domainname": "d.e"}
		}},
		{"a hook", "oci-hook", func(s *specs.Spec) { s.Hooks.CreateRuntime = []specs.Hook{{Path: "/srv/hook"}} }, nil},
		{"a hook that calls itself the engine's", "oci-hook", func(s *specs.Spec) {
			s.Hooks.CreateRuntime = []specs.Hook{{Path: "/proc/self/exe", Args: []string{"libnetwork-setkey"}}}
		}, nil},
		{"an annotation", "annotation", func(s *specs.Spec) { s.Annotations = map[string]string{"run.oci.handler": "krun"} }, nil},
		{"the kernel's killer", "oom", func(s *specs.Spec) { i := -500; s.Process.OOMScoreAdj = &i }, nil},
		{"a working directory", "working-dir", func(s *specs.Spec) { s.Process.Cwd = "/proc/self/fd/7" }, nil},
		{"privileged", "container-privileged", privilege, func(st *Start) { st.Kept = kept(map[string]any{"Privileged": true}) }},
		{"privileged, of no engine", "container-privileged", func(s *specs.Spec) { privilege(s); foreign(s) }, func(st *Start) { st.Kept = nil }},
		{"privileged that nobody asked for", "container-dangerous-capabilities container-devices container-seccomp container-system-paths", privilege, nil},
	} {
		st := Start{
			ID: someID, At: now, Config: changed(t, c.change), Bundle: "/run/bundle", DataRoot: "/var/lib/docker",
			Kept: kept(map[string]any{"NetworkMode": "lan"}),
		}
		if c.start != nil {
			c.start(&st)
		}
		l := j.Look(st, lookSight{host(t, true)})
		slices.Sort(l.Against)
		if got := strings.Join(l.Against, " "); got != c.want || l.Allow != (c.want == "") {
			t.Errorf("%s: allowed %v, against it %q, want %q\n%+v", c.name, l.Allow, got, c.want, l.Refusals)
		}
	}
}

// foreign takes away what only an engine gives.
func foreign(s *specs.Spec) {
	s.Hooks = nil
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Source, "/var/lib/docker/containers/") })
}

// privilege is what --privileged makes of a configuration.
func privilege(s *specs.Spec) {
	s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	s.Process.Capabilities.Bounding = []string{"CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_CHOWN"}
	s.Linux.Seccomp, s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil, nil
	for i := range s.Mounts {
		if s.Mounts[i].Type == "sysfs" || s.Mounts[i].Type == "cgroup" {
			s.Mounts[i].Options = nil
		}
	}
}

// TestLookModes: what is observed, excepted or of another tier is taken as a
// request's is.
func TestLookModes(t *testing.T) {
	st := Start{ID: someID, At: now, Config: changed(t, bind("/etc", "/h")), DataRoot: "/var/lib/docker", Kept: kept(map[string]any{})}
	for policy, want := range map[string]string{
		"":                             "observed",
		"admission: {mode: enforce}\n": "refused",
		"admission: {mode: enforce, rules: {container-sensitive-mount: {mode: ignore, tiers: [internal]}}}\n":    "",
		"admission: {mode: enforce, rules: {container-sensitive-mount: {mode: observe, tiers: [restricted]}}}\n": "refused",
	} {
		l := judge(t, policy).Look(st, lookSight{host(t, true)})
		got := map[bool]string{true: "", false: "refused"}[l.Allow]
		if l.Observed {
			got = "observed"
		}
		if got != want || l.Tier != "internal" || l.Ref.Name != "web" {
			t.Errorf("%q: %q, want %q: %+v", policy, got, want, l)
		}
	}
}

// TestLookStep: a step of a build may mount what BuildKit made for it, and
// nothing else of the host; who is no such step may not mount that.
func TestLookStep(t *testing.T) {
	const root = "/var/lib/docker"
	for _, c := range []struct {
		bundle, source string
		allow          bool
	}{
		{root + "/buildkit/executor/x", root + "/tmp/buildkit-secrets1/secret", true},
		{root + "/buildkit/executor/x", root + "/overlay2/abc/diff", true},
		{root + "/buildkit/executor/x", root + "/buildkit/executor/resolv.conf", true},
		{root + "/buildkit/executor/x", "/etc", false},
		{root + "/buildkit/executor/x", "/srv/link", false},
		{root + "/buildkit/executor/x", root + "/containers", false},
		{"/run/bundle", root + "/tmp/buildkit-secrets1/secret", false},
		{"/run/bundle", root + "/buildkit/cache.db", false},
	} {
		config := changed(t, func(s *specs.Spec) {
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Source, root) }) // a container's
			bind(c.source, "/h")(s)
		})
		st := Start{ID: "step", At: now, Config: config, DataRoot: root, Bundle: c.bundle}
		l := judge(t, "admission: {mode: enforce}\n").Look(st, lookSight{host(t, true)})
		sensitive := slices.ContainsFunc(l.Refusals, func(r Refusal) bool { return r.Rule == "container-sensitive-mount" })
		if sensitive == c.allow {
			t.Errorf("%s in %s: %+v", c.source, c.bundle, l.Refusals)
		}
	}
}

// TestLookStrict: what two runtimes could read in two ways is refused.
func TestLookStrict(t *testing.T) {
	j := judge(t, "admission: {mode: enforce}\n")
	plain := string(plainConfig(t))
	for name, text := range map[string]string{
		"empty":          "",
		"a key twice":    strings.Replace(plain, `"linux":{`, `"linux":{"maskedPaths":[],`, 1),
		"another case":   strings.Replace(plain, `"maskedPaths"`, `"MaskedPaths"`, 1),
		"an unknown key": strings.Replace(plain, `"linux":{`, `"linux":{"later":1,`, 1),
		"two values":     plain + "{}",
		"no UTF-8":       strings.Replace(plain, "sleep", "sl\xffep", 1),
		"another type":   strings.Replace(plain, `"hostname":"`, `"hostname":7,"x":"`, 1),
	} {
		if l := j.Look(Start{ID: someID, At: now, Config: []byte(text)}, lookSight{host(t, true)}); l.Allow || l.Rule != "oci-config" {
			t.Errorf("%s: allowed %v by %q", name, l.Allow, l.Rule)
		}
	}
}

// TestShows: what a container shows of the host belongs to a mount of its
// configuration, or to the kernel.
func TestShows(t *testing.T) {
	l := judge(t, "").Look(Start{ID: someID, At: now, Config: changed(t, bind("/srv/bound", "/b")), DataRoot: "/var/lib/docker"}, lookSight{host(t, true)})
	for _, c := range []struct {
		s    Shown
		of   string
		want bool
	}{
		{Shown{Target: "/src", Path: "/srv/src"}, "ext4", true},
		{Shown{Target: "/src/disk", Path: "/srv/src/disk"}, "xfs", true},
		{Shown{Target: "/b", Path: "/root"}, "ext4", true},
		{Shown{Target: "/src", Path: "/etc"}, "ext4", false},
		{Shown{Target: "/src", Path: "/srv/src2"}, "ext4", false},
		{Shown{Target: "/sys", Path: "/sys"}, "sysfs", true},
		{Shown{Target: "/sys/fs/cgroup/cpu", Path: "/sys/fs/cgroup/cpu/docker/1"}, "cgroup", true},
		{Shown{Target: "/sys/fs/cgroup", Path: "/sys/fs/cgroup/docker/1"}, "cgroup2", true},
		{Shown{Target: "/dev/x", Path: "/run/docker.sock"}, "tmpfs", false},
	} {
		if got := l.Shows(c.s, c.of); got != c.want {
			t.Errorf("%+v of %s: %v", c.s, c.of, got)
		}
	}
}

// FuzzReadConfig: what is read is read as runc reads it, with encoding/json.
func FuzzReadConfig(f *testing.F) {
	f.Add(plainConfig(f))
	f.Add([]byte(`{"ociVersion":"1","process":null,"mounts":[{"destination":"/a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, err := readConfig(text)
		if err != nil {
			return
		}
		var theirs specs.Spec
		if err := json.Unmarshal(text, &theirs); err != nil {
			t.Fatalf("runc cannot read it: %v", err)
		}
		if diff := cmp.Diff(&theirs, ours, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	j := judge(b, "admission: {mode: enforce}\n")
	st := Start{ID: someID, At: now, Config: plainConfig(b), DataRoot: "/var/lib/docker", Kept: kept(map[string]any{})}
	sight := lookSight{host(b, true)}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			readConfig(st.Config)
		}
	})
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			j.Look(st, sight)
		}
	})
	b.Run("request", func(b *testing.B) { // for the like container, to compare
		a := ask("POST", "/containers/create?name=web", `{"Image":"a","HostConfig":{"Binds":["v1:/data","/srv/src:/src:ro"],"Tmpfs":{"/t":""}}}`)
		for b.Loop() {
			j.Decide(a, sight)
		}
	})
}
