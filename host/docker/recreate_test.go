package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// quick is a Recreate whose gate does not keep a test waiting.
func quick(c *Client) *Recreate {
	r := NewRecreate(c)
	r.Settle, r.Patience = 300*time.Millisecond, 10*time.Second
	return r
}

// prepare and carry out, or end the test.
func carryOut(t *testing.T, hand apply.Hand, st plan.Step) (undo json.RawMessage) {
	t.Helper()
	undo, err := hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if err := hand.Do(t.Context(), st, undo); err != nil {
		t.Fatalf("Do: %v", err)
	}
	return undo
}

// lived is an inspected container without what a new one has of its own: its
// ID, times and places on the host.
func lived(c map[string]any) map[string]any {
	id := str(c, "Id")
	c = clone(c)
	for _, key := range []string{
		"Id", "Created", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "GraphDriver", "State", "RestartCount", "ExecIDs",
	} {
		delete(c, key)
	}
	fleeting(c)
	if config := object(c, "Config"); config["Hostname"] == id[:12] {
		config["Hostname"] = "(short ID)"
	}
	for _, e := range object(c, "NetworkSettings", "Networks") {
		e, _ := e.(map[string]any)
		for _, key := range []string{"Aliases", "DNSNames"} { // the engine puts the short ID into the first before 25.0, into the other since
			for i, a := range list(e, key) {
				if a == id[:12] {
					list(e, key)[i] = "(short ID)"
				}
			}
			slices.SortFunc(list(e, key), func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		}
	}
	slices.SortFunc(list(c, "Mounts"), func(a, b any) int {
		return strings.Compare(str(a.(map[string]any), "Destination"), str(b.(map[string]any), "Destination"))
	})
	return c
}

// TestRecreateKeeps re-creates one container that has everything, and compares
// all that inspecting it says.
func TestRecreateKeeps(t *testing.T) {
	h := onHost(t, "rck")
	image := h.Image("rck", "VOLUME /data", "ENV FROM=image", "LABEL of=image", "EXPOSE 9000", "WORKDIR /tmp", `CMD ["sh"]`)
	h.Docker("network", "create", "--subnet", "10.91.1.0/24", "rckone")
	h.Docker("network", "create", "--ipv6", "--subnet", "10.91.2.0/24", "--subnet", "fd00:91::/64", "rcktwo")
	h.Docker("volume", "create", "rcknamed")
	h.Docker(append([]string{
		"run", "-d", "--name", "rck",
		"--network", "rckone", "--ip", "10.91.1.50", "--network-alias", "one-alias",
		"-e", "MODE=prod", "-e", "DB_PASSWORD=correct-horse", "-l", "team=web", "-l", "a.b=c",
		"-v", "rcknamed:/named", "-v", "/anonymous", "--mount", "type=volume,dst=/mounted", "-v", "/tmp:/host:ro",
		"--tmpfs", "/run:size=1m", "--device", "/dev/null:/dev/zilch:r", "--ulimit", "nofile=512:1024",
		"--health-cmd", "true", "--health-interval", "1s", "--log-opt", "max-size=1m", "--log-opt", "max-file=2",
		"--restart", "on-failure:7", "--dns", "10.0.0.53", "--add-host", "db:10.0.0.7", "-p", "127.0.0.1::9000", "-p", "18091:9001/udp",
		"--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD", "--stop-timeout", "3", "--stop-signal", "TERM", "--init", "-m", "64m",
		"--security-opt", "seccomp=unconfined", "--sysctl", "net.ipv4.ip_forward=0", "--shm-size", "8m", "--user", "0:0", "--group-add", "33",
		"--domainname", "example.test", image,
	}, serving...)...)
	h.Docker("network", "connect", "--ip", "10.91.2.60", "--ip6", "fd00:91::60", "--alias", "two-alias", "rcktwo", "rck")
	for _, dir := range []string{"/data", "/named", "/anonymous", "/mounted"} {
		h.Docker("exec", "rck", "sh", "-c", "echo kept > "+dir+"/file")
	}
	h.Docker("exec", "rck", "sh", "-c", "echo lost > /etc/motd")
	before := h.inspect("rck")

	var notes []string
	var outage time.Duration
	hand := quick(h.client)
	hand.Notes = func(line string) { notes = append(notes, line) }
	hand.OnOutage = func(ref inventory.Ref, d time.Duration) { outage = d }
	st := step(t, RecreateHand, "rck", map[string]any{
		"HostConfig.ReadonlyRootfs": true,
		"HostConfig.SecurityOpt":    []string{"seccomp=unconfined", "no-new-privileges"},
		"Config.Env":                inventory.MaskEnv([]string{"MODE=prod", "DB_PASSWORD=correct-horse", "FROM=image", "NEW=1"}),
	})
	undo := carryOut(t, hand, st)
	after := h.inspect("rck")

	want := lived(before)
	config, host := object(want, "Config"), object(want, "HostConfig")
	host["ReadonlyRootfs"] = true
	host["SecurityOpt"] = []any{"seccomp=unconfined", "no-new-privileges"}
	env := texts(object(lived(after), "Config"), "Env")
	for _, e := range []string{"DB_PASSWORD=correct-horse", "NEW=1", "FROM=image", "MODE=prod"} {
		if !slices.Contains(env, e) {
			t.Errorf("environment %q lacks %s", env, e)
		}
	}
	config["Env"] = object(after, "Config")["Env"]
	// The anonymous volumes have names now.
	host["Binds"] = object(after, "HostConfig")["Binds"]
	mounts := list(host, "Mounts")
	mounts[0].(map[string]any)["Source"] = str(member{Inspect: before}.mounted("/mounted"), "Name")
	got := lived(after)
	sameMounts(t, list(want, "Mounts"), list(got, "Mounts"))
	delete(want, "Mounts")
	delete(got, "Mounts")
	samePorts(t, want, got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inspecting it says other things than before (-want +got):\n%s", diff)
	}
	for _, dir := range []string{"/data", "/named", "/anonymous", "/mounted"} {
		if out, err := h.TryDocker("exec", "rck", "cat", dir+"/file"); err != nil || out != "kept" {
			t.Errorf("%s lost its data: %q, %v", dir, out, err)
		}
	}
	if outage <= 0 || outage > 30*time.Second {
		t.Errorf("outage = %s", outage)
	}
	t.Logf("outage %s", outage)
	if joined := strings.Join(notes, "\n"); !strings.Contains(joined, `"/etc/motd"`) {
		t.Errorf("notes = %q, want the lost path", joined)
	}
	if id := str(h.inspect(ParkedName("rck", str(before, "Id"))), "Id"); id != str(before, "Id") {
		t.Errorf("the parked one has ID %s", id)
	}

	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatalf("Undo: %v", err)
	}
	back := h.inspect("rck")
	if str(back, "Id") != str(before, "Id") || !truth(back, "State", "Running") {
		t.Error("after the undo it is not the old one, running")
	}
	want, got = lived(before), lived(back)
	samePorts(t, want, got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the undo (-want +got):\n%s", diff)
	}
	if names := h.names("rck"); len(names) != 1 {
		t.Errorf("containers left behind: %q", names)
	}
}

// sameMounts compares mounts, of which the way they were asked for may differ.
func sameMounts(t *testing.T, want, got []any) {
	t.Helper()
	for _, mounts := range [][]any{want, got} {
		for _, m := range mounts {
			delete(m.(map[string]any), "Mode")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

// samePorts compares which ports are published; one that was left to the
// engine is another now.
func samePorts(t *testing.T, want, got map[string]any) {
	t.Helper()
	ports := [2]map[string]any{object(want, "NetworkSettings", "Ports"), object(got, "NetworkSettings", "Ports")}
	for _, p := range ports {
		for _, b := range list(p, "9000/tcp") {
			b.(map[string]any)["HostPort"] = "(any)"
		}
	}
}

// A MAC that somebody chose stays, on whichever network; one that the engine
// made is not pinned. The docker command of 20.10 cannot ask for the first on
// more than one network.
func TestRecreateKeepsMAC(t *testing.T) {
	h := onHost(t, "rcm")
	macs := map[string]string{"rcmone": "02:42:0a:5b:01:77"}
	body := map[string]any{"Image": h.Image("rcm"), "Cmd": serving, "HostConfig": map[string]any{"NetworkMode": "rcmone"}}
	if h.client.minor >= 44 {
		macs["rcmtwo"] = "02:42:0a:5b:02:78"
		ends := map[string]any{"rcmfree": map[string]any{}}
		for network, mac := range macs {
			ends[network] = map[string]any{"MacAddress": mac}
		}
		body["NetworkingConfig"] = map[string]any{"EndpointsConfig": ends}
	} else {
		body["MacAddress"] = macs["rcmone"]
	}
	for _, network := range []string{"rcmone", "rcmtwo", "rcmfree"} {
		h.Docker("network", "create", network)
	}
	if err := h.client.Call(t.Context(), "POST", "/containers/create?name=rcm", body, nil); err != nil {
		t.Fatal(err)
	}
	h.Docker("start", "rcm")
	desired := h.client.desiredMACs(h.inspect("rcm"))
	carryOut(t, quick(h.client), step(t, RecreateHand, "rcm", map[string]any{"HostConfig.ReadonlyRootfs": true}))
	after := h.inspect("rcm")
	for network, mac := range macs {
		if got := str(after, "NetworkSettings", "Networks", network, "MacAddress"); got != mac {
			t.Errorf("its MAC on %s is %s, want %s", network, got, mac)
		}
	}
	if diff := cmp.Diff(desired, h.client.desiredMACs(after)); diff != "" {
		t.Errorf("chosen MACs (-before +after):\n%s", diff)
	}
	if h.client.minor >= 44 && (desired["rcmtwo"] != macs["rcmtwo"] || desired["rcmfree"] != "") {
		t.Errorf("the engine's file says of chosen MACs: %v", desired)
	}
}

// TestRecreateDependents moves a container and those that lean on it together.
func TestRecreateDependents(t *testing.T) {
	h := onHost(t, "rcd")
	image := h.Image("rcd")
	h.Docker(append([]string{"run", "-d", "--name", "rcdmain", "-v", "/shared", image}, serving...)...)
	h.Docker(append([]string{"run", "-d", "--name", "rcdnet", "--network", "container:rcdmain", "--pid", "container:rcdmain", image}, serving...)...)
	h.Docker(append([]string{"run", "-d", "--name", "rcdvol", "--volumes-from", "rcdmain:ro", image}, serving...)...)
	h.Docker(append([]string{"run", "-d", "--name", "rcdlink", "--link", "rcdmain:db", image}, serving...)...)
	h.Docker(append([]string{"create", "--name", "rcdidle", "--ipc", "container:rcdmain", image}, serving...)...)
	h.Docker("exec", "rcdmain", "sh", "-c", "echo kept > /shared/file")
	before := h.whole("rcd")

	hand := quick(h.client)
	sets := map[string]any{"HostConfig.ReadonlyRootfs": true}
	if _, err := hand.Prepare(t.Context(), step(t, RecreateHand, "rcdmain", sets)); err == nil || !strings.Contains(err.Error(), "not in the plan") {
		t.Errorf("a plan without the dependents: got error %v", err)
	}
	st := step(t, RecreateHand, "rcdmain", sets, "rcdnet", "rcdvol", "rcdlink", "rcdidle")
	undo := carryOut(t, hand, st)

	main := str(h.inspect("rcdmain"), "Id")
	if mode := str(h.inspect("rcdnet"), "HostConfig", "NetworkMode"); mode != "container:"+main {
		t.Errorf("rcdnet has the network of %s, want of %s", mode, main)
	}
	if out := h.Docker("exec", "rcdnet", "sh", "-c", "ls /sys/class/net"); !strings.Contains(out, "eth0") {
		t.Errorf("rcdnet sees the interfaces %q, want eth0", out)
	}
	if out := h.Docker("exec", "rcdvol", "cat", "/shared/file"); out != "kept" {
		t.Errorf("rcdvol reads %q", out)
	}
	if binds := texts(h.inspect("rcdvol"), "HostConfig", "Binds"); len(binds) > 0 {
		t.Errorf("rcdvol got binds of its own: %q", binds)
	}
	if diff := cmp.Diff([]string{"/rcdmain:/rcdlink/db"}, texts(h.inspect("rcdlink"), "HostConfig", "Links")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if status := str(h.inspect("rcdidle"), "State", "Status"); status != "created" {
		t.Errorf("rcdidle is %s, want it as it was: created", status)
	}
	h.Docker("restart", "-t", "1", "rcdlink", "rcdvol") // they do so without the old one

	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatalf("Undo: %v", err)
	}
	if diff := cmp.Diff(before, h.whole("rcd")); diff != "" {
		t.Errorf("after the undo (-want +got):\n%s", diff)
	}
}

func TestRecreateHand(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: it kills a run at each of its steps")
	}
	handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
		h := onHost(t, "rch")
		h.Docker("network", "create", "rchnet")
		h.Docker(append([]string{"run", "-d", "--name", "rch", "--stop-timeout", "1", "--restart", "always", h.Image("rch")}, serving...)...)
		h.Docker("network", "connect", "--alias", "other", "rchnet", "rch")
		h.Docker("volume", "create", "rchkeep")
		st := step(t, RecreateHand, "rch", map[string]any{"HostConfig.CapDrop": []string{"ALL"}})
		old := str(h.inspect("rch"), "Id")
		return quick(h.client), st, func() string { return h.state("rch", old) }
	})
}

// died is a transport of a process that is killed at its nth request that
// changes something: before it is sent, or before its reply arrives.
type died struct {
	next  http.RoundTripper
	at    int
	after bool
	seen  int
	dead  bool
}

func (d *died) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dead {
		return nil, context.Canceled
	}
	if r.Method == "GET" || r.Method == "HEAD" {
		return d.next.RoundTrip(r)
	}
	d.seen++
	if d.seen != d.at {
		return d.next.RoundTrip(r)
	}
	d.dead = true
	if d.after {
		if res, err := d.next.RoundTrip(r); err == nil {
			res.Body.Close()
		}
	}
	return nil, context.Canceled
}

// TestRecreateKilled kills a run at each of its requests, and takes it back
// from what is on disk, in another process so to speak.
func TestRecreateKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: it kills a run at each of its steps")
	}
	for _, resolved := range []bool{true, false} {
		for at, finished := 1, false; !finished; at++ {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("resolved %v, request %d, sent %v", resolved, at, after), func(t *testing.T) {
					finished = !killAt(t, resolved, at, after) || finished
				})
			}
			if t.Failed() {
				return
			}
			if finished && at < 10 {
				t.Errorf("the run had %d requests, want more", at-1)
			}
		}
	}
}

// killAt reports whether the run was killed, and not done before. A container
// that others can resolve gives its name away after its stop, others before.
func killAt(t *testing.T, resolved bool, at int, after bool) bool {
	h := onHost(t, "rcx")
	image := h.Image("rcx")
	run := []string{"run", "-d", "--stop-timeout", "1", "--name"}
	h.Docker("network", "create", "rcxnet")
	h.Docker(slices.Concat(run, []string{"rcxmain", "--restart", "unless-stopped", "-v", "/data", image}, serving)...)
	if resolved {
		h.Docker("network", "connect", "rcxnet", "rcxmain")
	}
	h.Docker(slices.Concat(run, []string{"rcxside", "--network", "container:rcxmain", image}, serving)...)
	before := h.whole("rcx")

	death := &died{at: at, after: after}
	mortal, err := New(h.Socket, WithTransport(func(rt http.RoundTripper) http.RoundTripper {
		death.next = rt
		return death
	}))
	if err != nil {
		t.Fatal(err)
	}
	st := step(t, RecreateHand, "rcxmain", map[string]any{"HostConfig.ReadonlyRootfs": true}, "rcxside")
	hand := quick(mortal)
	undo, err := hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	err = hand.Do(t.Context(), st, undo)
	if death.dead == (err == nil) {
		t.Fatalf("died is %v, and Do says %v", death.dead, err)
	}
	for i := range 2 {
		if err := quick(h.client).Undo(t.Context(), st, undo); err != nil {
			t.Fatalf("Undo %d: %v", i+1, err)
		}
		if diff := cmp.Diff(before, h.whole("rcx")); diff != "" {
			t.Fatalf("after undo %d (-want +got):\n%s", i+1, diff)
		}
	}
	// Nothing is on its way out.
	time.Sleep(100 * time.Millisecond)
	if !truth(h.inspect("rcxmain"), "State", "Running") || !truth(h.inspect("rcxside"), "State", "Running") {
		t.Error("one stopped after the undo was over")
	}
	return death.dead
}
