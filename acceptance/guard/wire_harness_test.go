package guard

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"casco/internal/battery"
	"casco/internal/outside"
)

// A wire is an engine with a guard at its door and in it as its plugin, on a
// host as package admission's battery has it, and the ways to it.
type wire struct {
	*netWorld
	guard *guarding
	hub   *hub
	ca    *authority
	file  map[string]any    // the engine's daemon.json
	ids   *strings.Replacer // of this engine's, for those that the battery has
	own   http.Client       // to the engine's private socket
}

// wirePlugin is the name under which the engine knows the plugin. The file that
// says where it listens is in this test's own /etc.
const wirePlugin = "casco-wire"

// newWire makes the host. Nobody judges yet.
func newWire(t *testing.T) *wire {
	t.Helper()
	netTest(t)
	ownSrv(t)
	dir := outside.WorldDir(t)
	ca := newAuthority(t, dir)
	config := filepath.Join(dir, "daemon.json")
	w := &wire{ca: ca, hub: &hub{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}, file: map[string]any{
		"insecure-registries": []string{"registry.example", "evil.example"}, "registry-mirrors": []string{"http://registry.example"},
		"runtimes": map[string]any{"casco": map[string]string{"path": "runc"}}, "default-runtime": "casco",
	}}
	outside.Put(t, config, w.daemonJSON(nil))
	hosts := outside.MustRead(t, "/etc/hosts")
	outside.Put(t, "/etc/hosts", hosts+"127.0.0.1 registry.example evil.example\n")
	t.Cleanup(func() { outside.Put(t, "/etc/hosts", hosts) })
	w.netWorld = newWorld(t, "--config", config, "--dockerd-arg", "--host=tcp://127.0.0.1:2376", "--dockerd-arg", "--tlsverify",
		"--dockerd-arg", "--tlscacert="+ca.file, "--dockerd-arg", "--tlscert="+dir+"/engine.pem", "--dockerd-arg", "--tlskey="+dir+"/engine.key")
	outside.Serve(t, w.e, "127.0.0.1:80", w.hub, nil)
	w.images()
	w.things()
	return w
}

// daemonJSON is the engine's file; more comes on top.
func (w *wire) daemonJSON(more map[string]any) string {
	m := map[string]any{}
	maps.Copy(m, w.file)
	maps.Copy(m, more)
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // texts
	}
	return string(b)
}

// A hub is the registries of the world: registry.example, evil.example and the
// mirror of docker.io. It may be down, or answer for one path with another.
type hub struct {
	http.Handler
	down atomic.Bool
	swap atomic.Pointer[[2]string]
}

// ServeHTTP implements http.Handler.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if s := h.swap.Load(); s != nil && r.URL.Path == s[0] {
		r.URL.Path = s[1]
	}
	h.Handler.ServeHTTP(w, r)
}

// ownSrv lays a file system over /srv, in this test's own mounts, with the
// links that the battery knows.
func ownSrv(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("casco-acceptance", "/srv", "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount("/srv", syscall.MNT_DETACH) })
	if err := os.Mkdir("/srv/data", 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"/srv/link": "/etc", "/srv/up": "/", "/srv/sock": "/run/docker.sock", "/srv/current": "/srv/data"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
}

// images brings the battery's, each from where it says.
func (w *wire) images() {
	w.t.Helper()
	const sleep = `CMD ["sleep","100000"]`
	for _, i := range []struct {
		name    string
		changes []string
	}{
		{"registry.example/app:1", []string{sleep, "USER 1000", "EXPOSE 80", "LABEL v=1"}},
		{"registry.example/data:1", []string{sleep, "LABEL v=2"}},
		{"registry.example/looper:1", []string{sleep, "LABEL containerd.io/restart.loguri=binary:///bin/sh"}},
		{"registry.example/library/nginx:latest", []string{sleep, "LABEL v=4"}},
		{"evil.example/x:1", []string{sleep, "LABEL v=5"}},
	} {
		w.e.Docker("push", w.e.Image(i.name, i.changes...))
	}
	w.e.Docker("pull", "nginx:latest")
	w.e.Docker("rmi", "registry.example/library/nginx:latest")
	w.e.Docker("tag", "evil.example/x:1", "registry.example/forged:1")
	w.e.Docker("tag", "evil.example/x:1", "evil:1")
	w.e.Image("local/built:latest", sleep, "LABEL v=6")
}

// wireBoxes are the battery's containers, by docker's own words. What those may do
// that are only created is not done: they never run.
var wireBoxes = []struct{ name, id, args string }{
	{"web", "webwebwebweb", "run -d --network dmz --label casco.app=site --pids-limit 100 --memory 256m -v /srv/data:/srv"},
	{"api", "apiapiapiapi", "run -d --network lan --label casco.app=shop"},
	{"db", "dbdbdbdbdbdb", "run -d --network data --user 999 --pids-limit 100"},
	{"vault1", "vaultvault01", "run -d --network safe --user 999 --pids-limit 100 --security-opt no-new-privileges:true"},
	{"job", "jobjobjobjob", "run -d --network plain --user 0"},
	{"dashboard", "dashdashdash", "run -d --network lan"},
	{"legacy", "legacylegacy", "create --network lan --user 0 --privileged"},
	{"agent", "agentagentag", "create --network lan --user 0 -v /var/run/docker.sock:/s"},
	{"top", "toptoptoptop", "create --network lan --user 0 --pid host"},
	{"hostnet", "hostnethostn", "create --network host --user 0"},
	{"swapped", "swappedswapp", "create --network plain --user 0 -v /srv/link:/m"},
	{"moved", "movedmovedmo", "create --network plain --user 0 -v /srv/current:/m"},
	{"voler", "volervolervo", "create --network plain --user 0 -v linkvol:/m"},
	{"etcer", "etceretcer00", "create --network plain --user 0 -v /etc:/host"},
}

// box makes one of them.
func (w *wire) box(name string) {
	w.t.Helper()
	for _, b := range wireBoxes {
		if b.name == name {
			w.e.Docker(append(strings.Fields(b.args), "--name", name, "registry.example/app:1")...)
		}
	}
}

// wireVolumes are the options of the battery's volumes.
var wireVolumes = map[string]string{
	"cache": "", "rootvol": "-o type=none -o o=bind -o device=/", "procvol": "-o type=proc -o device=proc", "linkvol": "-o type=none -o o=bind -o device=/srv/link",
}

func (w *wire) volume(name string) {
	w.t.Helper()
	w.e.Docker(append(append([]string{"volume", "create"}, strings.Fields(wireVolumes[name])...), name)...)
}

// networkIDs are the IDs by which the battery knows networks.
var networkIDs = map[string]string{
	"host": "hosthosthost", "dmz": "dmzdmzdmzdmz", "lan": "lanlanlanlan", "data": "datadatadata", "plain": "plainplain00", "plain2": "plainplain02", "safe": "safesafesafe",
}

// things makes the networks, volumes and containers.
func (w *wire) things() {
	w.t.Helper()
	for name := range networkIDs {
		if name != "host" {
			w.e.Docker("network", "create", name)
		}
	}
	for name := range wireVolumes {
		w.volume(name)
	}
	for _, b := range wireBoxes {
		w.box(b.name)
	}
	w.name()
}

// name learns the IDs that things have now.
func (w *wire) name() {
	w.t.Helper()
	var ids []string
	learn := func(id, path string) {
		var is struct{ ID string }
		w.get(path, &is)
		ids = append(ids, id, is.ID)
	}
	for name, id := range networkIDs {
		learn(id, "/networks/"+name)
	}
	for _, b := range wireBoxes {
		learn(b.id, "/containers/"+b.name+"/json")
	}
	learn("f00df00df00df00d", "/images/evil:1/json")
	learn("a11ca11ca11ca11c", "/images/registry.example/app:1/json")
	w.ids = strings.NewReplacer(ids...)
}

// under has the guard judge by another policy of the battery.
func (w *wire) under(policy string) {
	w.t.Helper()
	w.writePolicy(policy)
	w.guard.reload()
}

func (w *wire) writePolicy(policy string) {
	w.t.Helper()
	outside.Write(w.t, filepath.Join(w.guard.policy, "policy.yaml"), battery.Head+policy)
}

// judged puts the guard before the engine and into it, which judges by a policy
// of the battery. Things are made before.
func (w *wire) judged(policy string) {
	w.t.Helper()
	plugin := filepath.Join(w.e.Root, "plugin.sock")
	if err := os.MkdirAll("/etc/docker/plugins", 0o755); err != nil {
		w.t.Fatal(err)
	}
	outside.Write(w.t, "/etc/docker/plugins/"+wirePlugin+".spec", "unix://"+plugin)
	w.guard = w.newGuard("assign: [{default: internal}]\ntiers: [{id: internal, impact: 0.5}]\n")
	w.guard.policy = filepath.Join(w.e.Root, "policy")
	if err := os.Mkdir(w.guard.policy, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.writePolicy(policy)
	w.guard.mode(false)
	w.guard.more = []string{"--door", w.door(), "--door-group", "1001", "--plugin", plugin}
	w.guard.start()
	for _, socket := range []string{w.door(), plugin} {
		w.waits(socket, func() bool {
			c, err := net.Dial("unix", socket)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	w.hup(map[string]any{"authorization-plugins": []string{wirePlugin}})
	w.waits("the plugin", func() bool {
		_, err := w.e.TryDocker("plugin", "disable", "nobody")
		return err != nil && strings.Contains(err.Error(), wirePlugin)
	})
}

func (w *wire) door() string { return filepath.Join(w.e.Root, "door.sock") }

// hup has the engine read its file again.
func (w *wire) hup(more map[string]any) {
	w.t.Helper()
	outside.Write(w.t, w.e.Config, w.daemonJSON(more))
	if err := syscall.Kill(w.e.Pid(), syscall.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
}

// waits until something is so.
func (w *wire) waits(what string, is func() bool) {
	w.t.Helper()
	for range 200 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatalf("%s: not within 10 s\n%s", what, w.guard.log)
}

// get asks the engine itself.
func (w *wire) get(path string, out any) {
	w.t.Helper()
	if w.own.Transport == nil {
		w.own.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", w.e.Socket)
		}}
	}
	res, err := w.own.Get("http://engine/v1.41" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: %s %v", path, res.Status, err)
	}
}

// delete deletes something of the engine's.
func (w *wire) delete(path string) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodDelete, "http://engine/v1.41"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := w.own.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode >= 300 && res.StatusCode != http.StatusNotFound {
		w.t.Errorf("DELETE %s: %s %s", path, res.Status, text)
	}
}

// state is what the engine has: of each thing what it is.
func (w *wire) state() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	say := func(kind, name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			w.t.Fatal(err)
		}
		out[kind+"/"+name] = string(b)
	}
	var containers []struct {
		ID, ImageID, Command, State string
		Names                       []string
		Mounts, HostConfig          any
	}
	w.get("/containers/json?all=1", &containers)
	for _, c := range containers {
		if c.State == "created" {
			say("container", strings.TrimPrefix(c.Names[0], "/"), c)
			continue
		}
		var is struct {
			Name, Image     string
			ExecIDs         []string
			Config          any
			HostConfig      any
			NetworkSettings struct {
				Networks map[string]struct{ NetworkID, IPAddress string }
			}
			State struct {
				Status    string
				Pid       int
				StartedAt string
			}
		}
		w.get("/containers/"+c.ID+"/json", &is)
		slices.Sort(is.ExecIDs)
		say("container", strings.TrimPrefix(is.Name, "/"), is)
	}
	var images []struct {
		ID                    string
		RepoTags, RepoDigests []string
	}
	w.get("/images/json?all=1", &images)
	for _, i := range images {
		for _, tag := range i.RepoTags {
			if tag != "<none>:<none>" {
				say("tag", tag, i.ID)
			}
		}
		slices.Sort(i.RepoDigests)
		say("image", i.ID, i.RepoDigests)
	}
	var networks []map[string]any
	w.get("/networks", &networks)
	for _, n := range networks {
		say("network", n["Id"].(string), n)
	}
	var volumes struct{ Volumes []map[string]any }
	w.get("/volumes", &volumes)
	for _, v := range volumes.Volumes {
		say("volume", v["Name"].(string), v)
	}
	var plugins []map[string]any
	w.get("/plugins", &plugins)
	say("engine", "plugins", plugins)
	return out
}

// changed is what differs between two states.
func changed(before, after map[string]string) []string {
	var out []string
	for k, v := range after {
		switch was, had := before[k]; {
		case !had:
			out = append(out, "+"+k)
		case was != v:
			out = append(out, "~"+k)
		}
	}
	for k := range before {
		if _, has := after[k]; !has {
			out = append(out, "-"+k)
		}
	}
	slices.Sort(out)
	return out
}
