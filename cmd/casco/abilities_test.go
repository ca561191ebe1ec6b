package main

import (
	"errors"
	"strings"
	"testing"

	"casco/loop/inventory"
)

// seen is an examination of a snapshot with an engine in use that has these
// fields, and other objects.
func seen(engine map[string]any, others ...*inventory.Object) examination {
	d := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Fields: engine}
	s := &inventory.Snapshot{}
	s.Add(d)
	for _, o := range others {
		s.Add(o)
	}
	s.Sort()
	return examination{app: &app{}, h: &host{socket: "/run/docker.sock"}, s: s, engine: d, root: true}
}

func thing(kind inventory.Kind, name string, fields map[string]any) *inventory.Object {
	return &inventory.Object{Ref: inventory.Ref{Kind: kind, Name: name}, Fields: fields}
}

func kernelWith(fields map[string]any) *inventory.Object {
	return thing(inventory.Kernel, "kernel", fields)
}

// TestAbilities: what is said follows what was read, and what is broken comes
// with its remedy.
func TestAbilities(t *testing.T) {
	running := map[string]any{"State": map[string]any{"Running": true}}
	apart := map[string]any{"State": map[string]any{"Running": true}, "Effective": map[string]any{"Seccomp": int64(2)}}
	engine := map[string]any{"Info": map[string]any{"Driver": "overlay2"}}
	unanswered := seen(engine)
	unanswered.trouble = errors.New("no answer")
	for _, c := range []struct {
		name   string
		got    ability
		want   standing
		detail string
		remedy string // "" is none
	}{
		{"AppArmor", seen(nil, kernelWith(map[string]any{"LSMs": []any{"capability", "apparmor"}})).lsm(), works, "apparmor", ""},
		{"permissive", seen(nil, kernelWith(map[string]any{"LSMs": []any{"selinux"}, "SELinux": "permissive"})).lsm(), fails, "SELinux permissive", "security=apparmor"},
		{"enforcing", seen(nil, kernelWith(map[string]any{"LSMs": []any{"selinux"}, "SELinux": "enforcing"})).lsm(), works, "SELinux enforcing", ""},
		{"no kernel", seen(nil).lsm(), fails, "no such object", ""},

		{"bpf on", seen(nil, kernelWith(map[string]any{"LSMs": []any{"apparmor", "bpf"}})).bpfLSM(), works, "", ""},
		{
			"bpf off", seen(nil, kernelWith(map[string]any{"LSMs": []any{"lockdown", "apparmor"}, "Config": map[string]any{"CONFIG_BPF_LSM": "y"}})).bpfLSM(),
			fails, "not switched on", "lsm=lockdown,apparmor,bpf",
		},
		{"no bpf", seen(nil, kernelWith(map[string]any{"LSMs": []any{}, "Config": map[string]any{}})).bpfLSM(), fails, "without CONFIG_BPF_LSM", ""},
		{"bpf untold", seen(nil, kernelWith(map[string]any{"LSMs": []any{}})).bpfLSM(), fails, "cannot be told", ""},

		{"cgroup v2", seen(nil, kernelWith(map[string]any{"Release": "6.1", "Cgroup": int64(2)})).kernelItself(), works, "6.1, cgroup v2", ""},
		{"cgroup v1", seen(nil, kernelWith(map[string]any{"Release": "6.1", "Cgroup": int64(1)})).kernelItself(), partly, "cgroup v1", "unified"},

		{"none run", seen(engine).containers(), works, "0 of 0", ""},
		{"one unread", seen(engine, thing(inventory.Container, "a", apart), thing(inventory.Container, "b", running)).containers(), partly, "1 of 2", "as root"},
		{"none read", seen(engine, thing(inventory.Container, "b", running)).containers(), fails, "0 of 1", "as root"},
		{"nothing said", unanswered.containers(), fails, "did not say", ""},

		{"known images", seen(engine, thing(inventory.Image, "a", map[string]any{"Access": []any{}})).store(), works, "1 of 1", ""},
		{"new images", seen(engine, thing(inventory.Image, "a", map[string]any{})).store(), partly, "overlay2, 0 of 1", "--deep"},
		{
			"other store", seen(map[string]any{"Info": map[string]any{"Driver": "btrfs"}}, thing(inventory.Image, "a", map[string]any{})).store(),
			partly, "btrfs", inventory.Absent,
		},

		{"no swarm", seen(map[string]any{"Info": map[string]any{"Swarm": map[string]any{"LocalNodeState": "inactive"}}}).swarm(), absent, "not in a swarm", ""},
		{"worker", seen(map[string]any{"Info": map[string]any{"Swarm": map[string]any{"LocalNodeState": "active"}}}).swarm(), fails, "no manager (active)", "docker node ls"},
		{"manager", seen(engine, thing(inventory.Swarm, "x", nil)).swarm(), works, "manager", ""},

		{"process", seen(map[string]any{"Process": map[string]any{"Pid": int64(7), "Rootless": true}, "Unit": map[string]any{"Name": "docker.service"}}).process(), works, "process 7, rootless, started by docker.service", ""},
		{"no process", seen(engine).process(), fails, inventory.Absent, "dockerd itself"},
		{"nothing to change", unanswered.recreate(), fails, "needs the engine", ""},
	} {
		if c.got.is != c.want || !strings.Contains(c.got.detail.En, c.detail) {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, c.got.is, c.got.detail.En, c.want, c.detail)
		}
		if c.remedy == "" && !c.got.remedy.Empty() || !strings.Contains(c.got.remedy.En, c.remedy) {
			t.Errorf("%s: remedy %q, want %q", c.name, c.got.remedy.En, c.remedy)
		}
		if c.got.what.Empty() || c.got.id == "" || (c.got.detail.En == "") != (c.got.detail.Es == "") || (c.got.remedy.En == "") != (c.got.remedy.Es == "") {
			t.Errorf("%s: lacks an ID or a language: %+v", c.name, c.got)
		}
	}
	if fit([]ability{{main: false, is: fails}, {main: true, is: partly}}) != true || fit([]ability{{main: true, is: fails}}) {
		t.Error("casco is fit for its work unless what it needs for it fails")
	}
}
