package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
)

// A person is a user of the machine who is nobody else there, and asks the
// engine through the guard's door with the docker client as it is.
type person struct {
	t      testing.TB
	uid    uint32
	socket string
	home   string
}

// doorGroup may use the door.
const doorGroup = 4200

// opened starts a guard with a policy and a door that everybody in doorGroup may
// use, and returns what makes a person of a uid.
func opened(t *testing.T, w *netWorld, policy string) func(uid uint32) person {
	t.Helper()
	g := w.newGuard(policy)
	g.mode(false)
	dir, err := os.MkdirTemp("", "own-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "door.sock")
	g.more = []string{"--door", socket, "--door-group", "4200"}
	g.start()
	for range 200 {
		if exec.Command("docker", "-H", "unix://"+socket, "version").Run() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return func(uid uint32) person {
		home := filepath.Join(dir, "home"+string(rune('0'+uid%10)))
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, int(uid), doorGroup); err != nil {
			t.Fatal(err)
		}
		return person{t, uid, socket, home}
	}
}

func (p person) command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Dir = p.home
	cmd.Env = append(os.Environ(), "HOME="+p.home, "DOCKER_CONFIG="+p.home, "DOCKER_HOST=unix://"+p.socket, "DOCKER_CONTEXT=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: doorGroup}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p person) docker(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := p.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// does wants a command to work, and returns what it printed.
func (p person) does(args ...string) string {
	p.t.Helper()
	out, errs, err := p.docker(args...)
	if err != nil {
		p.t.Errorf("uid %d: docker %s: %v\n%s%s", p.uid, strings.Join(args, " "), err, out, errs)
	}
	return out
}

// cannot wants a command to fail with want among its words.
func (p person) cannot(want string, args ...string) {
	p.t.Helper()
	out, errs, err := p.docker(args...)
	if err == nil || !strings.Contains(out+errs, want) {
		p.t.Errorf("uid %d: docker %s: %v, want %q\n%s%s", p.uid, strings.Join(args, " "), err, want, out, errs)
	}
}

// TestReadOnly: who may only look looks with the docker client as it is, and sees
// all but values of environment variables.
func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("run", "-d", "--name", "db", "-e", "PASSWORD=hunter2", "-l", "a=b", w.image, "wait")
	auditor := opened(t, w, "admission: {mode: enforce, read_only: [\"uid:4201\"]}\n")(4201)

	var got, want []map[string]any
	for text, into := range map[string]*[]map[string]any{auditor.does("inspect", "db"): &got, w.e.Docker("inspect", "db"): &want} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	masked := false
	for i, e := range want[0]["Config"].(map[string]any)["Env"].([]any) {
		if name, _, _ := strings.Cut(e.(string), "="); true {
			want[0]["Config"].(map[string]any)["Env"].([]any)[i] = name + "=***"
			masked = masked || name == "PASSWORD"
		}
	}
	if !masked || !reflect.DeepEqual(got, want) {
		t.Errorf("docker inspect shows\n%v\nwant\n%v", got, want)
	}
	for _, args := range [][]string{{"inspect", "db"}, {"image", "inspect", w.image}, {"history", "--no-trunc", w.image}, {"ps", "-a"}, {"logs", "db"}, {"top", "db"}, {"stats", "--no-stream", "db"}, {"diff", "db"}, {"info"}, {"events", "--since", "1h", "--until", "0s"}, {"system", "df", "-v"}, {"network", "ls"}, {"volume", "ls"}, {"port", "db"}} {
		if out := auditor.does(args...); strings.Contains(out, "hunter2") {
			t.Errorf("docker %s tells a value:\n%s", strings.Join(args, " "), out)
		}
	}
	for _, args := range [][]string{{"cp", "db:/etc/hostname", "-"}, {"export", "db"}, {"exec", "db", "/probe", "exit", "0"}, {"rm", "-f", "db"}, {"run", w.image, "exit", "0"}, {"save", w.image}, {"commit", "db"}, {"top", "db", "e"}, {"logs", "--details", "db"}, {"stop", "db"}} {
		auditor.cannot("caller-read-only", args...)
	}
	auditor.cannot("received 403", "attach", "db")
	if state := w.e.Docker("inspect", "-f", "{{.State.Running}}", "db"); strings.TrimSpace(state) != "true" {
		t.Errorf("db: %s", state)
	}
}

const ownersPolicy = `admission:
  mode: enforce
  owners:
    - {id: alice, who: ["uid:4201"]}
    - {id: bob, who: ["uid:4202"], of: [{project: bobshop}]}
    - {id: watch, who: ["uid:4203"], of: [{label: {team: "*"}}], may: [list, inspect, logs]}
`

// TestOwners: two users of one engine see, run and delete each their own with the
// docker client as it is, and to neither is there anything of the other's.
func TestOwners(t *testing.T) {
	w := newWorld(t)
	at := opened(t, w, ownersPolicy)
	alice, bob, watcher := at(4201), at(4202), at(4203)
	w.e.Docker("run", "-d", "--name", "rootbox", "-l", "com.docker.compose.project=bobshop", w.image, "wait")
	w.e.Docker("volume", "create", "rootvol")

	bob.does("network", "create", "bnet")
	bob.does("volume", "create", "bvol")
	bid := strings.TrimSpace(bob.does("run", "-d", "--name", "bweb", "--network", "bnet", "-v", "bvol:/b", "-v", "bnew:/n", "-v", "/anon", w.image, "wait"))
	alice.does("network", "create", "anet")
	alice.does("run", "-d", "--name", "aweb", "-l", "team=a", "-l", "casco.app=a", "--network", "anet", "-v", "anew:/n", "-v", "/anon", w.image, "wait")

	fields := func(s string) string { return strings.Join(sorted(strings.Fields(s)), " ") }
	sees := func(p person, want string, args ...string) {
		t.Helper()
		if got := fields(p.does(args...)); got != want {
			t.Errorf("uid %d: docker %s shows %q, want %q", p.uid, strings.Join(args, " "), got, want)
		}
	}
	sees(alice, "aweb", "ps", "-a", "--format", "{{.Names}}")
	sees(alice, "aweb", "ps", "-l", "--format", "{{.Names}}")
	sees(bob, "bweb rootbox", "ps", "-a", "--format", "{{.Names}}")
	sees(bob, "bweb", "ps", "-n", "1", "--format", "{{.Names}}")
	sees(watcher, "aweb", "ps", "-a", "--format", "{{.Names}}")
	sees(alice, "anet bridge host none", "network", "ls", "--format", "{{.Name}}")
	if got := fields(alice.does("volume", "ls", "-q")); len(strings.Fields(got)) != 2 || !strings.Contains(got, "anew") {
		t.Errorf("alice's volumes: %q", got)
	}
	sees(alice, "", "network", "inspect", "bridge", "-f", "{{range .Containers}}{{.Name}}{{end}}")
	sees(alice, "aweb", "network", "inspect", "anet", "-f", "{{range .Containers}}{{.Name}}{{end}}")
	sees(alice, "alice", "volume", "inspect", "anew", "-f", `{{index .Labels "casco.owner"}}`)

	// What is bob's is not there, by any name.
	none := "No such container"
	for _, name := range []string{"bweb", bid, bid[:12], bid[:3]} {
		alice.cannot(none, "logs", name)
	}
	for _, c := range []struct{ want, args string }{
		{"No such object", "inspect bweb"},
		{none, "exec bweb /probe exit 0"},
		{none, "cp bweb:/probe -"},
		{none, "cp /etc/hostname bweb:/tmp"},
		{none, "export bweb"},
		{none, "top bweb"},
		{none, "stats --no-stream bweb"},
		{none, "diff bweb"},
		{none, "port bweb"},
		{none, "wait bweb"},
		{none, "attach bweb"},
		{none, "stop bweb"},
		{none, "kill bweb"},
		{none, "pause bweb"},
		{none, "restart bweb"},
		{none, "rename bweb a9"},
		{none, "update --memory 64m bweb"},
		{none, "rm bweb"},
		{`container "bweb" is not`, "run --rm --network container:bweb IMAGE exit 0"},
		{`container "bweb" is not`, "run --rm --pid container:bweb IMAGE exit 0"},
		{`container "bweb" is not`, "run --rm --volumes-from bweb IMAGE exit 0"},
		{`container "bweb" is not`, "run --rm --link bweb IMAGE exit 0"},
		{`container "bweb" is not`, "ps --filter since=bweb"},
		{`container "bweb" is not`, "network disconnect -f bridge bweb"},
		{`network "bnet" is not`, "run --rm --network bnet IMAGE exit 0"},
		{"network bnet not found", "network connect bnet aweb"},
		{"bnet", "network inspect bnet"},
		{"bnet", "network rm bnet"},
		{"bvol: no such volume", "volume rm bvol"},
		{"bvol", "volume inspect bvol"},
		{"caller-owner", "run --rm -v bvol:/x IMAGE exit 0"},
		{"caller-owner", "run --rm -v rootvol:/x IMAGE exit 0"},
		{"caller-owner", "run --rm --name bweb IMAGE exit 0"},
		{"caller-owner", "run --rm -l com.docker.compose.project=bobshop IMAGE exit 0"},
		{"caller-owner", "run --rm -l casco.owner=bob IMAGE exit 0"},
		{"caller-owner", "tag IMAGE mine:1"},
		{"caller-owner", "rmi IMAGE"},
		{"caller-owner", "image prune -f"},
		{"caller-owner", "swarm init"},
	} {
		alice.cannot(c.want, strings.Fields(strings.ReplaceAll(c.args, "IMAGE", w.image))...)
	}
	alice.docker("rm", "-f", "bweb") // newer clients say that all is well
	watcher.does("logs", "aweb")
	watcher.cannot("caller-owner", "stop", "aweb")
	watcher.cannot(none, "logs", "bweb")
	sameAsAbsent(t, alice, w.e.Socket, map[string]string{"/containers/NAME/json": "bweb", "/containers/NAME/top": bid, "/networks/NAME": "bnet", "/volumes/NAME": "bvol"})

	// What is hers works.
	events := alice.command("events", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
	var seen bytes.Buffer
	events.Stdout = &seen
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	bob.does("exec", "bweb", "/probe", "exit", "0")
	for _, args := range []string{
		"inspect aweb", "exec aweb /probe exit 0", "logs aweb", "top aweb", "stats --no-stream aweb", "diff aweb", "port aweb", "cp aweb:/probe copy", "cp copy aweb:/n/",
		"network connect bridge aweb", "network disconnect bridge aweb", "update --memory 64m --memory-swap 64m aweb", "rename aweb aweb2", "stop -t 0 aweb2", "start aweb2",
		"run --rm --network container:aweb2 IMAGE exit 0", "run --rm -l casco.app=a --volumes-from aweb2 -v anew:/again IMAGE exit 0", "run --name once IMAGE exit 0", "images", "info", "version",
	} {
		alice.does(strings.Fields(strings.ReplaceAll(args, "IMAGE", w.image))...)
	}
	if df := alice.does("system", "df", "-v"); !strings.Contains(df, "aweb2") || strings.Contains(df, "bweb") || strings.Contains(df, "bvol") || strings.Contains(df, "rootbox") {
		t.Errorf("docker system df -v of alice's:\n%s", df)
	}
	w.e.Docker("run", "--name", "rootonce", w.image, "exit", "0")
	alice.does("container", "prune", "-f")
	sees(alice, "aweb2", "ps", "-a", "--format", "{{.Names}}")
	time.Sleep(time.Second)
	events.Process.Signal(syscall.SIGTERM)
	events.Wait()
	if got := seen.String(); !strings.Contains(got, "container exec_start: /probe exit 0 aweb") || !strings.Contains(got, "container destroy once") || strings.Contains(got, "bweb") || strings.Contains(got, "root") {
		t.Errorf("docker events of alice's:\n%s", got)
	}
	if past := alice.does("events", "--since", "1h", "--until", "0s", "--format", "{{.Actor.Attributes.name}}{{.Actor.Attributes.container}}"); !strings.Contains(past, "aweb") || strings.Contains(past, "bweb") || strings.Contains(past, bid) {
		t.Errorf("docker events --since of alice's:\n%s", past)
	}
	for _, args := range []string{"rm -fv aweb2", "volume rm anew", "network rm anet"} {
		alice.does(strings.Fields(args)...)
	}

	// Nothing of bob's or of root's was touched.
	if got := w.e.Docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}"); !strings.Contains(got, bid+" bweb running") || !strings.Contains(got, "rootbox running") || !strings.Contains(got, "rootonce exited") || strings.Contains(got, "aweb") {
		t.Errorf("what is left:\n%s", got)
	}
	if got := w.e.Docker("volume", "ls", "-q") + w.e.Docker("network", "ls", "--format", "{{.Name}}"); !strings.Contains(got, "bvol") || !strings.Contains(got, "bnew") || !strings.Contains(got, "rootvol") || !strings.Contains(got, "bnet") {
		t.Errorf("what is left:\n%s", got)
	}
	t.Run("swarm", func(t *testing.T) { testServices(t, w, alice, bob) })
	t.Run("compose", func(t *testing.T) { testProjects(t, w, map[string]person{"a": alice, "b": bob}) })
}

// testServices: of a swarm's services, tasks, secrets and configurations each sees
// and changes their own.
func testServices(t *testing.T, w *netWorld, alice, bob person) {
	w.e.Docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377")
	for name, p := range map[string]person{"a": alice, "b": bob} {
		content := filepath.Join(p.home, "content")
		outside.Write(t, content, "x")
		if err := os.Chmod(content, 0o644); err != nil {
			t.Fatal(err)
		}
		p.does("secret", "create", name+"sec", content)
		p.does("config", "create", name+"cfg", content)
		p.does("service", "create", "-d", "--no-resolve-image", "--name", name+"svc", "--secret", name+"sec", "--config", name+"cfg", w.image, "wait")
	}
	for _, c := range []struct{ args, want string }{
		{"service ls --format {{.Name}}", "asvc"},
		{"secret ls --format {{.Name}}", "asec"},
		{"config ls --format {{.Name}}", "acfg"},
		{"service ps --format {{.Name}} asvc", "asvc.1"},
		{"service inspect -f {{.Spec.Name}} asvc", "asvc"},
		{"config inspect -f {{.Spec.Name}} acfg", "acfg"},
	} {
		if got := strings.TrimSpace(alice.does(strings.Fields(c.args)...)); got != c.want {
			t.Errorf("docker %s: %q, want %q", c.args, got, c.want)
		}
	}
	for _, c := range []struct{ want, args string }{
		{"bsvc", "service ps bsvc"},
		{"bsvc", "service logs bsvc"},
		{"bsvc", "service inspect bsvc"},
		{"service bsvc not found", "service rm bsvc"},
		{"service bsvc not found", "service update -d --label-add x=y bsvc"},
		{"bsec", "secret inspect bsec"},
		{"secret bsec not found", "secret rm bsec"},
		{"bcfg", "config inspect bcfg"},
		{"secret not found: bsec", "service create -d --no-resolve-image --name a2 --secret bsec IMAGE wait"},
		{"caller-owner", "swarm leave --force"},
		{"caller-owner", "swarm join-token worker"},
	} {
		alice.cannot(c.want, strings.Fields(strings.ReplaceAll(c.args, "IMAGE", w.image))...)
	}
	alice.does("service", "update", "-d", "--no-resolve-image", "--label-add", "x=y", "asvc")
	if got := alice.does("service", "inspect", "-f", `{{index .Spec.Labels "casco.owner"}} {{index .Spec.TaskTemplate.ContainerSpec.Labels "casco.owner"}} {{.Spec.Labels.x}}`, "asvc"); strings.TrimSpace(got) != "alice alice y" {
		t.Errorf("after an update: %s", got)
	}
	alice.does("service", "rm", "asvc")
	if got := w.e.Docker("service", "ls", "--format", "{{.Name}}"); strings.TrimSpace(got) != "bsvc" {
		t.Errorf("what is left: %s", got)
	}
	bob.does("service", "rm", "bsvc")
}

// testProjects: two users have a project of one name, and neither meets the
// other's.
func testProjects(t *testing.T, w *netWorld, people map[string]person) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		if exec.Command("docker", "compose", "version").Run() == nil {
			t.Skip("this machine has docker compose, a plugin of the CLI, and not docker-compose")
		}
		handtest.Need(t, false, "docker-compose")
	}
	compose := func(p person, args ...string) string {
		t.Helper()
		cmd := p.command(append([]string{"-p", "shop"}, args...)...)
		cmd.Path, cmd.Args[0] = "", "docker-compose"
		if path, err := exec.LookPath("docker-compose"); err == nil {
			cmd.Path = path
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("uid %d: docker-compose %s: %v\n%s", p.uid, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for name, p := range people {
		file := "version: '2.4'\nservices:\n  web: {image: '" + w.image + "', command: [wait], container_name: " + name + "svc, volumes: ['" + name + "data:/d'], stop_grace_period: 0s}\n" +
			"volumes: {" + name + "data: {name: " + name + "data}}\nnetworks: {default: {name: " + name + "shop}}\n"
		outside.Write(t, filepath.Join(p.home, "docker-compose.yml"), file)
		if err := os.Chown(filepath.Join(p.home, "docker-compose.yml"), int(p.uid), doorGroup); err != nil {
			t.Fatal(err)
		}
		compose(p, "up", "-d")
	}
	for name, p := range people {
		other := map[string]string{"a": "b", "b": "a"}[name]
		if ps := compose(p, "ps"); !strings.Contains(ps, name+"svc") || strings.Contains(ps, other+"svc") {
			t.Errorf("docker-compose ps of %s's:\n%s", name, ps)
		}
		compose(p, "logs")
	}
	compose(people["a"], "down", "-v")
	if got := w.e.Docker("ps", "--format", "{{.Names}}") + w.e.Docker("volume", "ls", "-q") + w.e.Docker("network", "ls", "--format", "{{.Name}}"); !strings.Contains(got, "bsvc") || !strings.Contains(got, "bdata") || !strings.Contains(got, "bshop") || strings.Contains(got, "asvc") || strings.Contains(got, "adata") {
		t.Errorf("after docker-compose down of one:\n%s", got)
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

// sameAsAbsent wants the door to answer of what is not a person's as the engine
// answers of what is not there.
func sameAsAbsent(t *testing.T, p person, engine string, paths map[string]string) {
	t.Helper()
	get := func(c *http.Client, path string) string {
		res, err := c.Get("http://docker" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.Status + " " + res.Header.Get("Content-Type") + " " + string(b)
	}
	root := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine)
	}}}
	them := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return p.dial() }}}
	for path, name := range paths {
		absent := strings.Repeat("z", len(name))
		got, want := get(them, strings.ReplaceAll(path, "NAME", name)), get(root, strings.ReplaceAll(path, "NAME", absent))
		if got != strings.ReplaceAll(want, absent, name) {
			t.Errorf("%s of another's: %q, of nobody's: %q", path, got, want)
		}
	}
}

// dial connects to the door as the person: on a thread that has their user and
// group for so long.
func (p person) dial() (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const same = ^uintptr(0)
	if _, _, err := syscall.RawSyscall(syscall.SYS_SETRESGID, same, doorGroup, same); err != 0 {
		return nil, err
	}
	if _, _, err := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(p.uid), same); err != 0 {
		return nil, err
	}
	c, err := net.Dial("unix", p.socket)
	_, _, back := syscall.RawSyscall(syscall.SYS_SETRESUID, same, 0, same)
	_, _, back2 := syscall.RawSyscall(syscall.SYS_SETRESGID, same, 0, same)
	if back != 0 || back2 != 0 {
		panic("the thread keeps another's user")
	}
	return c, err
}
