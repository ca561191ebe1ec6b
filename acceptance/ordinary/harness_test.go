package ordinary

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
	"casco/internal/outside"
	"casco/internal/realdocker"
)

func TestMain(m *testing.M) { outside.Main(m, "../..") }

// A guard is a casco guard with a door.
type guard struct {
	door string // socket
	log  string // file
}

// newGuard starts a guard before an engine, by a policy of which only what
// follows the metadata is given, and waits until its door answers.
func newGuard(t testing.TB, e *realdocker.Engine, policy string) *guard {
	t.Helper()
	dir, err := os.MkdirTemp(e.Root, "guard")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{door: filepath.Join(dir, "door"), log: filepath.Join(dir, "log")}
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: ordinary, version: 1}\n"+policy)
	log, err := os.Create(g.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(outside.Program(t), "guard", "--host", "unix://"+e.Socket, "--state", filepath.Join(dir, "state"), "--run", filepath.Join(dir, "run"),
		"--lang", "en", "--policy", file, "--door", g.door)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(dir, "cli"), "DOCKER_HOST=", "DOCKER_CONTEXT=")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the guard does not end on SIGTERM")
			cmd.Process.Kill()
		}
		if t.Failed() {
			t.Logf("the guard's log ends with\n%s", tail(g.said(t), 3000))
		}
	})
	for range 600 {
		if b, err := ask(g.door, "GET", "/_ping"); err == nil && string(b) == "OK" {
			return g
		}
		select {
		case <-ended:
			t.Fatalf("the guard ended: %s", g.said(t))
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("the door does not answer: %s", g.said(t))
	return nil
}

// said is the guard's log so far: it writes a decision down before it acts on
// it.
func (g *guard) said(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ask puts one request without a body to an engine.
func ask(socket, method, path string) ([]byte, error) {
	c := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequest(method, "http://d"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	return b, err
}

// get asks an engine for JSON.
func get(t testing.TB, socket, path string, out any) {
	t.Helper()
	b, err := ask(socket, "GET", path)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// A tap passes on all that comes to a socket, byte for byte, and keeps what
// clients sent.
type tap struct {
	socket string

	mu    sync.Mutex // guards what follows
	conns []*bytes.Buffer
}

func newTap(t testing.TB, at, to string) *tap {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &tap{socket: at}
	go func() {
		for {
			client, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go p.serve(client, to)
		}
	}()
	return p
}

func (p *tap) serve(client *net.UnixConn, to string) {
	defer client.Close()
	server, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: to, Net: "unix"})
	if err != nil {
		return
	}
	defer server.Close()
	sent := &bytes.Buffer{}
	p.mu.Lock()
	p.conns = append(p.conns, sent)
	p.mu.Unlock()
	go func() {
		io.Copy(io.MultiWriter(locked{p, sent}, server), client)
		server.CloseWrite()
	}()
	io.Copy(client, server)
}

type locked struct {
	p *tap
	b *bytes.Buffer
}

func (l locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.b.Write(b)
}

// A request is one that was sent, as net/http reads it.
type request struct {
	method, uri string
	header      http.Header
	body        []byte
}

// take returns what was sent since the last time.
func (p *tap) take(t testing.TB) (all []request) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sent := range p.conns {
		in := bufio.NewReader(bytes.NewReader(sent.Bytes()))
		for {
			r, err := http.ReadRequest(in)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("a tap kept what is no request: %v: %.200q", err, sent.Bytes())
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatalf("%s: %v", r.RequestURI, err)
			}
			all = append(all, request{r.Method, r.RequestURI, r.Header, body})
		}
		sent.Reset()
	}
	return all
}

// A witness is a plugin of the engine's that is shown every request as the
// engine read it, and has nothing against any.
type witness struct {
	mu   sync.Mutex // guards seen
	seen []request
}

// newWitness serves one, and returns the argument for dockerd that names it.
func newWitness(t testing.TB) (w *witness, arg string) {
	t.Helper()
	w = &witness{}
	const plugins = "/run/docker/plugins" // where engines look for them
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("ordinary", plugins, "tmpfs", 0, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("ordinary%d", os.Getpid())
	l, err := net.Listen("unix", filepath.Join(plugins, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, `{"Implements": ["authz"]}`) })
	mux.HandleFunc("/AuthZPlugin.AuthZRes", func(out http.ResponseWriter, _ *http.Request) { io.WriteString(out, `{"Allow": true}`) })
	mux.HandleFunc("/AuthZPlugin.AuthZReq", func(out http.ResponseWriter, r *http.Request) {
		var asked struct {
			RequestMethod, RequestURI string
			RequestHeaders            map[string]string
			RequestBody               []byte
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Errorf("the engine asks its plugin: %v", err)
		}
		read := request{method: asked.RequestMethod, uri: asked.RequestURI, header: http.Header{}, body: asked.RequestBody}
		for name, value := range asked.RequestHeaders {
			read.header.Set(name, value)
		}
		w.mu.Lock()
		w.seen = append(w.seen, read)
		w.mu.Unlock()
		io.WriteString(out, `{"Allow": true}`)
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return w, "--authorization-plugin=" + name
}

// take returns what the engine read since the last time.
func (w *witness) take() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.seen = nil }()
	return w.seen
}

var (
	ids   = regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b`)
	times = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d( UTC)?)?`)
)

// same makes two texts equal that differ in identifiers and times only.
func same(s string) string { return times.ReplaceAllString(ids.ReplaceAllString(s, "ID"), "TIME") }

// everything is what the engine has, as inspect shows it, in an order of its
// own, with * for what is drawn anew each time.
func everything(t testing.TB, socket string) (all []string) {
	t.Helper()
	inspect := func(kind, id string) {
		t.Helper()
		var v any
		get(t, socket, "/"+kind+"/"+id, &v)
		b, err := json.MarshalIndent(settled(v, false), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, kind+" "+same(string(b)))
	}
	var list []struct{ ID string }
	get(t, socket, "/containers/json?all=1", &list)
	for _, c := range list {
		inspect("containers", c.ID+"/json")
	}
	get(t, socket, "/networks", &list)
	for _, n := range list {
		inspect("networks", n.ID)
	}
	var volumes struct{ Volumes []struct{ Name string } }
	get(t, socket, "/volumes", &volumes)
	for _, v := range volumes.Volumes {
		inspect("volumes", v.Name)
	}
	slices.Sort(all)
	return all
}

// drawn are keys whose values an engine draws anew for each container that is
// attached to a network.
var drawn = map[string]bool{
	"IPAddress": true, "Gateway": true, "MacAddress": true, "EndpointID": true, "SandboxID": true, "SandboxKey": true, "NetworkID": true, "IPv4Address": true,
	"IPv6Address": true, "GlobalIPv6Address": true,
}

// settled replaces what is drawn anew. Whether there is something stays visible.
// attached says that v is below the settings of a network.
func settled(v any, attached bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, val := range v {
			text, isText := val.(string)
			switch {
			case key == "IPAMConfig": // asked for
			case key == "Aliases" || key == "DNSNames": // a set
				sorted(val)
			case key == "Health", key == "Pid", key == "ExecIDs", attached && key == "IPPrefixLen" && val != 0.0:
				val = "*"
			case (key == "Subnet" || key == "Gateway") && pool.MatchString(text):
				val = "*"
			case attached && drawn[key] && text != "":
				val = "*"
			case attached && key == "HostPort" && isText && len(text) == 5 && text >= "32768":
				val = "*"
			default:
				val = settled(val, attached || key == "NetworkSettings" || key == "Containers")
			}
			out[ids.ReplaceAllString(key, "ID of "+nameOf(val))] = val
		}
		return out
	case []any:
		for i := range v {
			v[i] = settled(v[i], attached)
		}
		slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(targetOf(a), targetOf(b)) })
	}
	return v
}

// pool is what engines give networks that ask for no addresses (libnetwork,
// ipamutils): their subnets and gateways.
var pool = regexp.MustCompile(`^(172\.(1[7-9]|2\d|3[01])\.0|192\.168\.\d+)\.[01](/16|/20)?$`)

// targetOf is where a mount is in a container: an engine lists them in any order.
func targetOf(v any) string {
	o, _ := v.(map[string]any)
	target, _ := o["Destination"].(string)
	return target
}

func sorted(list any) {
	l, _ := list.([]any)
	slices.SortFunc(l, func(a, b any) int { return strings.Compare(same(fmt.Sprint(a)), same(fmt.Sprint(b))) })
}

// nameOf is the Name in an object, by which what is listed by identifiers can be
// told apart.
func nameOf(v any) string {
	o, _ := v.(map[string]any)
	name, _ := o["Name"].(string)
	return name
}

// removeAll takes away all that was made on an engine.
func removeAll(t testing.TB, socket string) {
	t.Helper()
	var list []struct{ ID, Name string }
	del := func(path string) {
		t.Helper()
		if _, err := ask(socket, "DELETE", path); err != nil {
			t.Fatal(err)
		}
	}
	get(t, socket, "/containers/json?all=1", &list)
	for _, c := range list {
		del("/containers/" + c.ID + "?force=1&v=1")
	}
	get(t, socket, "/networks", &list)
	for _, n := range list {
		if n.Name != "bridge" && n.Name != "host" && n.Name != "none" {
			del("/networks/" + n.ID)
		}
	}
	var volumes struct{ Volumes []struct{ Name string } }
	get(t, socket, "/volumes", &volumes)
	for _, v := range volumes.Volumes {
		del("/volumes/" + v.Name)
	}
}

// need wants root and programs.
func need(t testing.TB, programs ...string) {
	t.Helper()
	handtest.NeedRoot(t)
	for _, p := range programs {
		_, err := exec.LookPath(p)
		handtest.Need(t, err == nil, p)
	}
}
