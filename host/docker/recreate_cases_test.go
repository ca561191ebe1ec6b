package docker

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
	"casco/loop/plan"
)

// run starts a container that serves.
func (h host) run(image, name string, flags ...string) {
	h.t.Helper()
	h.Docker(slices.Concat([]string{"run", "-d", "--stop-timeout", "1", "--name", name}, flags, []string{image}, serving)...)
}

// putBack does a step that must fail, and wants all to be as before.
func (h host) putBack(hand *Recreate, st plan.Step, why string) {
	h.t.Helper()
	before := h.whole(st.Ref.Name)
	undo, err := hand.Prepare(h.t.Context(), st)
	if err != nil {
		h.t.Fatalf("Prepare: %v", err)
	}
	if err := hand.Do(h.t.Context(), st, undo); err == nil || !strings.Contains(err.Error(), why) {
		h.t.Errorf("Do: got error %v, want %q in it", err, why)
	}
	if diff := cmp.Diff(before, h.whole(st.Ref.Name)); diff != "" {
		h.t.Errorf("it was not put back (-want +got):\n%s", diff)
	}
}

func TestRecreatePutsBack(t *testing.T) {
	h := onHost(t, "rcp")
	image := h.Image("rcp")
	for _, tt := range []struct {
		name  string
		flags []string
		sets  map[string]any
		why   string
	}{
		{
			"create fails", nil,
			map[string]any{"HostConfig.Memory": 1024},
			"6MB",
		},
		{
			"start fails", nil,
			map[string]any{"Config.Cmd": []string{"/no/such/program"}},
			"does not start",
		},
		{
			"new one exits",
			[]string{"--restart", "always"},
			map[string]any{"Config.Cmd": []string{"sh", "-c", "exit 7"}},
			"does not keep running",
		},
		{
			"new one is unhealthy",
			[]string{"--health-cmd", "touch /probe", "--health-interval", "200ms", "--health-retries", "2"},
			map[string]any{"HostConfig.ReadonlyRootfs": true},
			"unhealthy",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := h
			h.t = t
			h.clear("rcp")
			h.run(image, "rcp", tt.flags...)
			if len(tt.flags) > 0 && tt.flags[0] == "--health-cmd" {
				h.await("rcp", "healthy")
			}
			h.putBack(quick(h.client), step(t, RecreateHand, "rcp", tt.sets), tt.why)
		})
	}
}

// await waits for a verdict of a container's health check.
func (h host) await(name, health string) {
	h.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if str(h.inspect(name), "State", "Health", "Status") == health {
			return
		}
	}
	h.t.Fatalf("%s does not become %s", name, health)
}

// What was unhealthy before may be so after.
func TestRecreateIsNotJudgedWorse(t *testing.T) {
	h := onHost(t, "rcw")
	h.run(h.Image("rcw"), "rcw", "--health-cmd", "false", "--health-interval", "200ms", "--health-retries", "1")
	h.await("rcw", "unhealthy")
	carryOut(t, quick(h.client), step(t, RecreateHand, "rcw", map[string]any{"HostConfig.ReadonlyRootfs": true}))
	if !truth(h.inspect("rcw"), "HostConfig", "ReadonlyRootfs") {
		t.Error("it was put back")
	}
}

func TestRecreateWatchesListeners(t *testing.T) {
	h := onHost(t, "rcl")
	h.run(h.Image("rcl"), "rcl")
	old := str(h.inspect("rcl"), "Id")
	hand := quick(h.client)
	hand.Patience = time.Second
	hand.Listeners = func(_ context.Context, id string) ([]string, error) {
		if id == old {
			return []string{"tcp:0.0.0.0:80", "tcp:127.0.0.11:41234", "udp:0.0.0.0:50000"}, nil
		}
		return []string{"tcp:127.0.0.11:39999"}, nil
	}
	st := step(t, RecreateHand, "rcl", map[string]any{"HostConfig.ReadonlyRootfs": true})
	h.putBack(hand, st, "does not listen on tcp:0.0.0.0:80")

	hand.Listeners = func(_ context.Context, id string) ([]string, error) {
		if id == old {
			return []string{"tcp:0.0.0.0:80", "tcp:127.0.0.11:41234"}, nil
		}
		return []string{"tcp:0.0.0.0:80"}, nil
	}
	carryOut(t, hand, st)
}

// TestRecreateStates: what did not run does not run after, and what was paused
// is.
func TestRecreateStates(t *testing.T) {
	h := onHost(t, "rcs")
	image := h.Image("rcs")
	h.run(image, "rcsran")
	h.Docker("stop", "-t", "1", "rcsran")
	h.run(image, "rcspaused")
	h.Docker("pause", "rcspaused")
	before := h.whole("rcs")
	for name, want := range map[string]string{"rcsran": "created", "rcspaused": "paused"} {
		hand := quick(h.client)
		st := step(t, RecreateHand, name, map[string]any{"HostConfig.ReadonlyRootfs": true})
		undo := carryOut(t, hand, st)
		if got := str(h.inspect(name), "State", "Status"); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
		if err := hand.Undo(t.Context(), st, undo); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, h.whole("rcs")); diff != "" {
		t.Errorf("after the undo (-want +got):\n%s", diff)
	}
}

// TestRecreateShapes re-creates containers of unusual make; but for the field
// that is set, nothing may differ.
func TestRecreateShapes(t *testing.T) {
	h := onHost(t, "rcf")
	image := h.Image("rcf", `ENTRYPOINT ["sleep"]`, `CMD ["1000"]`, "VOLUME /data", "EXPOSE 80", "HEALTHCHECK --interval=200ms CMD true")
	h.Docker("network", "create", "rcfnet")
	loop := strings.Join(serving[2:], " ")
	for _, tt := range []struct {
		name  string
		flags []string
		args  []string
	}{
		{"of its image", nil, nil},
		{"own command", nil, []string{"2000"}},
		{"own entrypoint", []string{"--entrypoint", "sh"}, []string{"-c", loop}},
		{"no entrypoint", []string{"--entrypoint", ""}, serving},
		{"no health check", []string{"--no-healthcheck"}, nil},
		{"host network", []string{"--network", "host", "--uts", "host"}, nil},
		{"no network", []string{"--network", "none"}, nil},
		{"own hostname", []string{"--hostname", "box", "--network", "rcfnet"}, nil},
		{"host namespaces", []string{"--pid", "host", "--ipc", "host", "--cgroupns", "host"}, nil},
		{"unmasked", []string{"--security-opt", "systempaths=unconfined"}, nil},
		{"all ports", []string{"-P"}, nil},
		{"mounts", []string{"--mount", "type=tmpfs,dst=/t,tmpfs-size=65536", "--mount", "type=bind,src=/tmp,dst=/b,readonly"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := h
			h.t = t
			h.clear("rcfc")
			h.Docker(slices.Concat([]string{"run", "-d", "--stop-timeout", "1", "--name", "rcfc"}, tt.flags, []string{image}, tt.args)...)
			before := h.inspect("rcfc")
			carryOut(t, quick(h.client), step(t, RecreateHand, "rcfc", map[string]any{"HostConfig.PidsLimit": 99}))
			want, got := lived(before), lived(h.inspect("rcfc"))
			object(want, "HostConfig")["PidsLimit"] = object(got, "HostConfig")["PidsLimit"]
			object(want, "HostConfig")["Binds"] = object(got, "HostConfig")["Binds"]
			sameMounts(t, list(want, "Mounts"), list(got, "Mounts"))
			for _, c := range []map[string]any{want, got} {
				for _, b := range list(c, "NetworkSettings", "Ports", "80/tcp") {
					b.(map[string]any)["HostPort"] = "(any)"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What left the network that it was created in does not return to it.
func TestRecreateKeepsOutOfNetworks(t *testing.T) {
	h := onHost(t, "rco")
	h.Docker("network", "create", "rconet")
	h.run(h.Image("rco"), "rco")
	h.Docker("network", "disconnect", "bridge", "rco")
	before := str(h.inspect("rco"), "Id")
	sets := map[string]any{"HostConfig.ReadonlyRootfs": true}
	carryOut(t, quick(h.client), step(t, RecreateHand, "rco", sets))
	if nets := object(h.inspect("rco"), "NetworkSettings", "Networks"); len(nets) > 0 {
		t.Errorf("it is in networks, and was in none: %v", nets)
	}
	h.Docker("rm", ParkedName("rco", before))
	h.Docker("network", "connect", "rconet", "rco")
	carryOut(t, quick(h.client), step(t, RecreateHand, "rco", map[string]any{"HostConfig.ReadonlyRootfs": false}))
	nets := object(h.inspect("rco"), "NetworkSettings", "Networks")
	if len(nets) != 1 || nets["rconet"] == nil {
		t.Errorf("it is in %v, want in rconet alone", nets)
	}
}

func TestRecreateDeprivileges(t *testing.T) {
	h := onHost(t, "rcu")
	// A privileged root needs capabilities that not every machine gives.
	h.run(h.Image("rcu"), "rcu", "--privileged", "--user", "1000")
	if paths := list(h.inspect("rcu"), "HostConfig", "MaskedPaths"); len(paths) > 0 {
		t.Fatalf("a privileged container has masked paths: %v", paths)
	}
	carryOut(t, quick(h.client), step(t, RecreateHand, "rcu", map[string]any{"HostConfig.Privileged": false}))
	c := h.inspect("rcu")
	if len(list(c, "HostConfig", "MaskedPaths")) == 0 || len(list(c, "HostConfig", "ReadonlyPaths")) == 0 {
		t.Error("the paths that a privileged container sees are still open")
	}
	if opts := texts(c, "HostConfig", "SecurityOpt"); slices.Contains(opts, "label=disable") {
		t.Errorf("security options %q still disable the label", opts)
	}
	if out, err := h.TryDocker("exec", "rcu", "cat", "/proc/kcore"); err == nil && out != "" {
		t.Error("it can read /proc/kcore")
	}
}

// A tag that has moved on does not take the container with it.
func TestRecreateKeepsItsImage(t *testing.T) {
	h := onHost(t, "rci")
	image := h.Image("rci")
	h.run(image, "rci")
	was := str(h.inspect("rci"), "Image")
	h.Image("rci", "ENV NEWER=1")
	hand := quick(h.client)
	var notes []string
	hand.Notes = func(line string) { notes = append(notes, line) }
	st := step(t, RecreateHand, "rci", map[string]any{"HostConfig.ReadonlyRootfs": true})
	if _, err := h.TryDocker("image", "inspect", was); err != nil {
		// 26.1 with images in containerd forgets an image that loses its last tag,
		// though a container is made of it (measured; 28.5 keeps it).
		if _, err := hand.Prepare(t.Context(), st); err == nil || !strings.Contains(err.Error(), "its image is gone") {
			t.Errorf("Prepare of a container whose image is gone: %v", err)
		}
		return
	}
	undo := carryOut(t, hand, st)
	if now := str(h.inspect("rci"), "Image"); now != was {
		t.Errorf("image %s, want %s as before", now, was)
	}
	if len(notes) == 0 {
		t.Error("nobody was told")
	}
	if cs, err := hand.Foreign(t.Context(), st, undo); err != nil || len(cs) > 0 {
		t.Errorf("foreign changes %v, %v; it is all our own", cs, err)
	}
}

// TestRecreateWithoutTheOld: somebody has pruned the parked container. What is
// recorded is enough to make it again.
func TestRecreateWithoutTheOld(t *testing.T) {
	h := onHost(t, "rcg")
	image := h.Image("rcg")
	h.Docker("network", "create", "--subnet", "10.92.1.0/24", "rcgnet")
	h.run(image, "rcg", "-v", "/data", "--restart", "always", "--network", "rcgnet", "--ip", "10.92.1.9")
	h.run(image, "rcgside", "--network", "container:rcg")
	h.Docker("exec", "rcg", "sh", "-c", "echo kept > /data/file")
	before := lived(h.inspect("rcg"))
	hand := quick(h.client)
	st := step(t, RecreateHand, "rcg", map[string]any{"HostConfig.ReadonlyRootfs": true}, "rcgside")
	undo := carryOut(t, hand, st)
	h.Docker("container", "prune", "-f")
	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	id := str(h.inspect("rcg"), "Id")
	if mode := str(h.inspect("rcgside"), "HostConfig", "NetworkMode"); mode != "container:"+id {
		t.Errorf("rcgside is in %s", mode)
	}
	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	after := h.inspect("rcg")
	if str(after, "Id") != id {
		t.Error("the second undo made it once more")
	}
	got := lived(after)
	object(before, "HostConfig")["Binds"] = object(got, "HostConfig")["Binds"]
	sameMounts(t, list(before, "Mounts"), list(got, "Mounts"))
	if diff := cmp.Diff(before, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if out := h.Docker("exec", "rcg", "cat", "/data/file"); out != "kept" {
		t.Errorf("its data: %q", out)
	}
	if diff := cmp.Diff([]string{"rcg", "rcgside"}, h.names("rcg")); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

// Release lets go of the old one, and of nothing else.
func TestRecreateReleases(t *testing.T) {
	h := onHost(t, "rcr")
	h.run(h.Image("rcr"), "rcr", "-v", "/data")
	h.Docker("exec", "rcr", "sh", "-c", "echo kept > /data/file")
	hand := quick(h.client)
	st := step(t, RecreateHand, "rcr", map[string]any{"HostConfig.CapDrop": []string{"ALL"}})
	undo := carryOut(t, hand, st)
	for range 2 {
		if err := hand.Release(t.Context(), st, undo); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"rcr"}, h.names("rcr")); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
	if out := h.Docker("exec", "rcr", "cat", "/data/file"); out != "kept" {
		t.Errorf("its data: %q", out)
	}

	st = step(t, RecreateHand, "rcr", map[string]any{"HostConfig.ReadonlyRootfs": true})
	undo = carryOut(t, hand, st)
	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	if err := hand.Release(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	if !truth(h.inspect("rcr"), "State", "Running") {
		t.Error("release removed what an undo had put back")
	}
}

// Somebody else's container under the name is a conflict, and Undo sees to it
// that the old one is not lost between them.
func TestRecreateForeign(t *testing.T) {
	h := onHost(t, "rcz")
	image := h.Image("rcz")
	h.run(image, "rcz")
	hand := quick(h.client)
	st := step(t, RecreateHand, "rcz", map[string]any{"HostConfig.ReadonlyRootfs": true})
	undo := carryOut(t, hand, st)
	if cs, err := hand.Foreign(t.Context(), st, undo); err != nil || len(cs) > 0 {
		t.Errorf("foreign changes %v, %v; it is all our own", cs, err)
	}
	h.Docker("rm", "-f", "rcz")
	h.run(image, "rcz", "-e", "THEIRS=1", "--read-only")
	cs, err := hand.Foreign(t.Context(), st, undo)
	if err != nil || len(cs) != 1 || cs[0].What != "container/rcz Config.Env" {
		t.Errorf("foreign changes %v, %v; want the environment", cs, err)
	}
}

func TestRecreateRefuses(t *testing.T) {
	h := onHost(t, "rcn")
	image := h.Image("rcn")
	h.run(image, "rcnrm", "--rm")
	h.run(image, "rcntask", "-l", "com.docker.swarm.task.id=x")
	h.run(image, "rcnleft")
	h.Docker("create", "--name", "rcnleft.casco-new", image, "true")
	sets := map[string]any{"HostConfig.ReadonlyRootfs": true}
	for name, why := range map[string]string{
		"rcnrm": "--rm", "rcntask": "swarm", "rcnleft": "rcnleft.casco-new", "rcnnone": "no such container",
	} {
		_, err := quick(h.client).Prepare(t.Context(), step(t, RecreateHand, name, sets))
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got error %v, want %q in it", name, err, why)
		}
	}
	_, err := quick(h.client).Prepare(t.Context(), step(t, RecreateHand, "rcnleft", map[string]any{"State.Running": false}))
	if err == nil {
		t.Error("it took a field that no container is created from")
	}
}

func TestRecreateMeansRefuse(t *testing.T) {
	s := &inventory.Snapshot{}
	add := func(name string, host, labels map[string]any) *inventory.Object {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Fields: map[string]any{
			"HostConfig": host, "Config": map[string]any{"Labels": labels},
		}}
		s.Add(o)
		return o
	}
	plain := add("plain", map[string]any{}, nil)
	once := add("once", map[string]any{"AutoRemove": true}, nil)
	base := add("base", map[string]any{}, nil)
	add("oncemore", map[string]any{"AutoRemove": true, "NetworkMode": "container:base"}, nil)
	other := add("other", map[string]any{}, nil)
	add("composed", map[string]any{"PidMode": "container:other"}, map[string]any{"com.docker.compose.project": "p"})
	for o, want := range map[*inventory.Object]bool{plain: false, once: true, base: true, other: true} {
		for _, m := range RecreateMeans() {
			if got := !m.Refuse(s, o, "HostConfig.ReadonlyRootfs").Empty(); got != want {
				t.Errorf("%s: refused is %v, want %v", o.Ref, got, want)
			}
		}
	}
}

// The engine writes "label=disable" into the options of a container that has
// the host's processes; it is not to stay when they go.
func TestRecreateRelabels(t *testing.T) {
	h := onHost(t, "rcl")
	h.run(h.Image("rcl"), "rcl", "--pid", "host", "--privileged", "--user", "1000")
	hand := quick(h.client)
	for _, s := range []struct {
		set  map[string]any
		want bool
	}{
		{map[string]any{"HostConfig.Privileged": false}, true}, // it still has the host's processes
		{map[string]any{"HostConfig.PidMode": ""}, false},
	} {
		if opts := texts(h.inspect("rcl"), "HostConfig", "SecurityOpt"); !slices.Contains(opts, "label=disable") {
			t.Fatalf("security options %q", opts)
		}
		st := step(t, RecreateHand, "rcl", s.set)
		before := str(h.inspect("rcl"), "Id")
		undo := carryOut(t, hand, st)
		if opts := texts(h.inspect("rcl"), "HostConfig", "SecurityOpt"); slices.Contains(opts, "label=disable") != s.want {
			t.Errorf("%v: security options %q", s.set, opts)
		}
		if conflicts, err := hand.Foreign(t.Context(), st, undo); err != nil || len(conflicts) > 0 {
			t.Errorf("%v: going back: %v %v", s.set, conflicts, err)
		}
		h.Docker("rm", ParkedName("rcl", before))
	}
}

// A container in another's IPC namespace has its SELinux label, which changes
// when the other one is made again (as an engine with SELinux reports it).
func TestRelabelFollower(t *testing.T) {
	const label = "system_u:system_r:container_t:s0:c1,c2"
	inspect := func(level string) map[string]any {
		return map[string]any{"HostConfig": map[string]any{"IpcMode": "container:a", "SecurityOpt": []any{
			"no-new-privileges", "label=user:system_u", "label=role:system_r", "label=type:container_t", "label=level:" + level,
		}}}
	}
	m := member{Ref: inventory.Ref{Kind: inventory.Container, Name: "f"}, ID: strings.Repeat("f", 64), Inspect: inspect("s0:c1,c2")}
	m.Inspect["Config"] = map[string]any{}
	for leader, want := range map[string]int{label: 1, "": 5, "system_u:system_r:container_t:s0:c8,c9": 2} {
		s := m.spec(41, nil, swap{ids: map[string]string{"a": "b"}, labels: map[string]string{"a": leader}})
		if opts := texts(s.body, "HostConfig", "SecurityOpt"); len(opts) != want {
			t.Errorf("leader %q: %q, want %d of them", leader, opts, want)
		}
	}
	now := inspect("s0:c3,c4")
	now["Config"] = map[string]any{}
	if d := m.differs(41, nil, now, "HostConfig.Links", "HostConfig.Binds", "Config.Image"); len(d) > 0 {
		t.Errorf("another label alone: %v", d)
	}
	object(now, "HostConfig")["SecurityOpt"] = []any{"seccomp=unconfined", "label=disable"}
	if d := m.differs(41, nil, now, "HostConfig.Links", "HostConfig.Binds", "Config.Image"); len(d) != 1 {
		t.Errorf("other options: %v, want one conflict", d)
	}
}
