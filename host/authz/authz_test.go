package authz

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/handtest"
	"casco/internal/realdocker"
	"casco/internal/room"
)

// A judge is made of functions.
type judge struct {
	head func(apicall.Request) apicall.Verdict
	body func(apicall.Request, []byte) apicall.Verdict
}

func (j judge) Head(_ context.Context, r apicall.Request) apicall.Verdict { return j.head(r) }

func (j judge) Body(_ context.Context, r apicall.Request, b []byte) apicall.Verdict {
	return j.body(r, b)
}

// serve runs the plugin; end stops it and waits.
func serve(t *testing.T, path string, cfg Config) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- Serve(ctx, path, cfg) }()
	for i := 0; ; i++ {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			break
		}
		select {
		case err := <-over:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		end()
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s was left", path)
		}
		for range 100 {
			b := make([]byte, 1<<20)
			if !strings.Contains(string(b[:runtime.Stack(b, true)]), "authz.(*plugin)") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("a goroutine of the plugin is left")
	})
	return end
}

func post(t *testing.T, path, method string, in string) (res response) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := c.Post("http://plugin/"+method, contentType, strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != contentType {
		t.Fatalf("%s: %s %q %s", method, r.Status, r.Header, b)
	}
	if method == "Plugin.Activate" {
		return response{Msg: string(b)}
	}
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return res
}

// TestProtocol: questions are what the engine writes them as.
func TestProtocol(t *testing.T) {
	dir, err := os.MkdirTemp("", "authz-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "plugins", "x.sock")
	var mu sync.Mutex // guards what follows
	var records []Record
	var seen []byte
	over := make(chan bool)
	end := serve(t, path, Config{
		Time: 50 * time.Millisecond,
		Done: func(r Record) {
			mu.Lock()
			defer mu.Unlock()
			records = append(records, r)
		},
		Judge: judge{
			head: func(r apicall.Request) apicall.Verdict {
				switch r.URI {
				case "/late":
					<-over
				case "/panic":
					panic("oh")
				case "/stream":
					return apicall.Verdict{Allow: true, Stream: true}
				case "/refused":
					return apicall.Refuse(0, "no")
				case "/nothing":
					return apicall.Verdict{Allow: true}
				case "/edited":
					return apicall.Verdict{Allow: true, Stream: true, Edit: &apicall.Edit{}}
				}
				if strings.HasPrefix(r.URI, "/noted") {
					return apicall.Verdict{Allow: true, Limit: 20, Keep: 4, Note: r.URI}
				}
				return apicall.Verdict{Allow: true, Limit: 20, NeedsBody: r.URI != "/bare"}
			},
			body: func(r apicall.Request, b []byte) apicall.Verdict {
				mu.Lock()
				defer mu.Unlock()
				seen = b
				if strings.HasPrefix(r.URI, "/noted") {
					return apicall.Verdict{Allow: true, Keep: 4, Note: string(b)}
				}
				return apicall.Verdict{Allow: !bytes.Contains(b, []byte("bad")), Message: "bad"}
			},
		},
	})
	if got := post(t, path, "Plugin.Activate", "{}"); got.Msg != `{"Implements":["authz"]}` {
		t.Errorf("%s", got.Msg)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	const types = `"RequestHeaders":{"Content-Type":"application/json; charset=utf-8"}`
	for _, c := range []struct {
		name, in string
		allow    bool
		msg      string
	}{
		{"body", `{"RequestMethod":"POST","RequestUri":"/x","RequestBody":"e30=",` + types + `}`, true, ""},
		{"bad body", `{"RequestMethod":"POST","RequestUri":"/x","RequestBody":"YmFk",` + types + `}`, false, "bad"},
		{"no body where there need not be one", `{"RequestMethod":"POST","RequestUri":"/bare",` + types + `}`, true, ""},
		{"no body", `{"RequestMethod":"POST","RequestUri":"/x",` + types + `}`, false, "did not show"},
		{"no body is wanted", `{"RequestMethod":"GET","RequestUri":"/nothing"}`, true, ""},
		{"a body is not wanted", `{"RequestMethod":"GET","RequestUri":"/nothing","RequestBody":"e30=",` + types + `}`, false, "longer than"},
		{"long body", `{"RequestUri":"/x","RequestBody":"` + strings.Repeat("AAAA", 7) + `",` + types + `}`, false, "longer than the 20"},
		{"other type", `{"RequestUri":"/x","RequestBody":"e30=","RequestHeaders":{"Content-Type":"text/plain"}}`, false, "Content-Type"},
		{"no type", `{"RequestUri":"/x","RequestBody":"e30="}`, false, "Content-Type"},
		{"stream", `{"RequestUri":"/stream"}`, true, ""},
		{"refused", `{"RequestUri":"/refused"}`, false, "no"},
		{"not without a change of the answer", `{"RequestUri":"/edited"}`, false, "only casco's door"},
		{"late", `{"RequestUri":"/late"}`, false, "in time"},
		{"panic", `{"RequestUri":"/panic"}`, false, "could not judge"},
		{"not base64", `{"RequestUri":"/stream","RequestBody":"%"}`, false, "could not judge"},
		{"nonsense", `[`, false, "could not judge"},
		{"too long", `{"RequestUri":"/stream","X":"` + strings.Repeat("x", longest) + `"}`, false, "could not judge"},
	} {
		began := time.Now()
		if got := post(t, path, "AuthZPlugin.AuthZReq", c.in); got.Allow != c.allow || !strings.Contains(got.Msg, c.msg) || got.Err != "" {
			t.Errorf("%s: %+v", c.name, got)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("%s: took %v", c.name, d)
		}
	}
	if got := post(t, path, "AuthZPlugin.AuthZRes", `{"ResponseBody":"`+strings.Repeat("A", 1<<20)+`"}`); !got.Allow {
		t.Errorf("%+v", got)
	}
	post(t, path, "AuthZPlugin.AuthZReq", `{"User":"ana","UserAuthNMethod":"TLS","RequestMethod":"POST","RequestUri":"/x","RequestBody":"e30=","RequestHeaders":{"Casco-Pass":"7","Content-Type":"application/json"}}`)
	mu.Lock()
	last := records[len(records)-1]
	want := apicall.Request{
		Caller: apicall.Caller{UID: apicall.NoID, GID: apicall.NoID, LoginUID: -1, TLSName: "ana", Via: "authz"},
		Method: "POST", URI: "/x", ContentType: "application/json", Pass: "7",
	}
	if !reflect.DeepEqual(last.Request, want) || !last.Verdict.Allow || string(seen) != "{}" || len(records) != 18 {
		t.Errorf("%d %+v %s", len(records), last, seen)
	}
	mu.Unlock()
	testAnswers(t, path, func() []Record { mu.Lock(); defer mu.Unlock(); return slices.Clone(records) })
	if err := Serve(t.Context(), path, Config{Judge: judge{}}); err == nil {
		t.Error("a socket that is listened at was taken")
	}
	close(over)
	end()
	if last := records[len(records)-1]; last.Verdict.Note != "4" || last.Status != 0 {
		t.Errorf("what nobody answered: %+v", last)
	}
}

// testAnswers: the record of a call whose judge noted something waits for the
// engine's answer, and for the right one; what is not answered is told at the
// end.
func testAnswers(t *testing.T, path string, records func() []Record) {
	t.Helper()
	begin := len(records())
	ask := func(uri, body string) string {
		q := `"RequestMethod":"POST","RequestUri":"` + uri + `","RequestBody":"` + base64.StdEncoding.EncodeToString([]byte(body)) + `","RequestHeaders":{"Content-Type":"application/json"}`
		if got := post(t, path, "AuthZPlugin.AuthZReq", "{"+q+"}"); !got.Allow {
			t.Errorf("%s %s: %+v", uri, body, got)
		}
		return q
	}
	first, second, third, fourth := ask("/noted", "1"), ask("/noted", "2"), ask("/noted", "2"), ask("/noted/err", "3")
	ask("/noted/never", "4")
	if n := len(records()) - begin; n != 0 {
		t.Errorf("%d told before they were answered", n)
	}
	answer := func(q string, status int, body string) {
		post(t, path, "AuthZPlugin.AuthZRes", fmt.Sprintf(`{%s,"ResponseStatusCode":%d,"ResponseBody":"%s"}`, q, status, base64.StdEncoding.EncodeToString([]byte(body))))
	}
	answer(second, 201, "two and more")
	answer(first, 201, "one")
	answer(third, 404, "no")
	answer(fourth, 200, "") // an error that is not written yet
	answer(`"RequestUri":"/nobody"`, 200, "x")
	var got []string
	for _, r := range records()[begin:] {
		got = append(got, fmt.Sprintf("%v %d %s", r.Verdict.Note, r.Status, r.Answer))
	}
	if want := []string{"2 201 two ", "1 201 one", "2 404 ", "3 0 "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestEngine: a real engine asks, goes by the answers, refuses all when nobody
// answers, and heals.
func TestEngine(t *testing.T) {
	handtest.NeedRoot(t) // the engine looks for plugins below /run
	name := fmt.Sprintf("casco-test-%d", os.Getpid())
	path := filepath.Join(filepath.Dir(Path), name+".sock")
	over := make(chan bool)
	defer close(over)
	var mu sync.Mutex
	uris := map[string]int{}
	cfg := Config{
		Time: 300 * time.Millisecond,
		Done: func(r Record) {
			mu.Lock()
			defer mu.Unlock()
			uris[r.Request.Method+" "+r.Request.URI]++
		},
		Judge: judge{
			head: func(r apicall.Request) apicall.Verdict {
				switch {
				case strings.Contains(r.URI, "/containers/hang"):
					<-over
				case strings.Contains(r.URI, "/containers/create"):
					return apicall.Verdict{Allow: true, Limit: 1 << 20}
				case strings.Contains(r.URI, "/volumes/create"):
					return apicall.Refuse(0, "volumes are not made here")
				}
				return apicall.Verdict{Allow: true, Stream: true}
			},
			body: func(_ apicall.Request, b []byte) apicall.Verdict {
				return apicall.Verdict{Allow: !bytes.Contains(b, []byte(`"Privileged":true`)), Message: "not --privileged"}
			},
		},
	}
	end := serve(t, path, cfg)
	e := realdocker.Start(t, "--dockerd-arg", "--authorization-plugin="+name)
	img := e.Image("judged")
	if got := e.Docker("run", "--rm", img, "echo", "hello"); got != "hello" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"authorization denied by plugin " + name + ": not --privileged", []string{"create", "--privileged", img}},
		{"authorization denied by plugin " + name + ": volumes are not made here", []string{"volume", "create"}},
	} {
		if out, err := e.TryDocker(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %s %v", c.args, out, err)
		}
	}
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
	}}}
	call := func(method, path, contentType, body string) (string, time.Duration) {
		t.Helper()
		req, err := http.NewRequest(method, "http://d"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		began := time.Now()
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.Status + " " + string(b), time.Since(began)
	}
	// What the engine does not show is refused: another type, too long a body.
	privileged := `{"Image":"judged","HostConfig":{"Privileged":true}}`
	for _, contentType := range []string{"application/json", "Application/JSON; charset=utf-8", "text/plain", ""} {
		if got, _ := call("POST", "/containers/create", contentType, privileged); strings.HasPrefix(got, "2") {
			t.Errorf("%q: %s", contentType, got)
		}
	}
	for _, size := range []int{1<<20 + 1, 5 << 20} {
		if got, _ := call("POST", "/containers/create", "application/json", strings.Repeat(" ", size)+privileged); strings.HasPrefix(got, "2") {
			t.Errorf("%d bytes: %s", size, got)
		}
	}
	if got, d := call("GET", "/containers/hang/json", "", ""); !strings.HasPrefix(got, "403") || d > 3*time.Second {
		t.Errorf("a judge that hangs: %s after %v", got, d)
	}
	if left := e.Docker("ps", "-aq"); left != "" {
		t.Errorf("made: %s", left)
	}

	end()
	if got, d := call("GET", "/_ping", "", ""); !strings.HasPrefix(got, "500") {
		t.Errorf("nobody answers: %s after %v", got, d)
	}
	end = serve(t, path, cfg)
	defer end()
	if got, _ := call("GET", "/_ping", "", ""); got != "200 OK OK" {
		t.Errorf("it is back: %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if uris["GET /containers/hang/json"] != 1 || uris["POST /containers/create"] < 3 {
		t.Errorf("%v", uris)
	}
	e.Stop() // before its plugin
}

// TestPanic: what breaks is refused, and told with why.
func TestPanic(t *testing.T) {
	var told []Record
	p := &plugin{Config: Config{
		Judge: judge{head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Stream: true} }},
		Held:  room.New(HeldBytes, HeldEach), Work: room.New(WorkBytes, WorkEach), Log: slog.New(slog.DiscardHandler), Time: time.Second,
		Done: func(r Record) { told = append(told, r) },
	}}
	r, err := http.NewRequest("POST", "/AuthZPlugin.AuthZReq", panics{})
	if err != nil {
		t.Fatal(err)
	}
	if res := p.judge(r); res.Allow || len(told) != 1 || told[0].Err == nil || told[0].Verdict.Allow {
		t.Errorf("%+v %+v", res, told)
	}
}

// panics is a body that cannot be read.
type panics struct{}

func (panics) Read([]byte) (int, error) { panic("oh") }

// TestRoom: a question that finds no room is refused, and what waits gets its turn.
func TestRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	work := room.New(4*apicall.Judging(10), apicall.Judging(10))
	slow := make(chan bool)
	full := make(chan bool, 10)
	serve(t, path, Config{
		Time: 100 * time.Millisecond, Work: work,
		Judge: judge{
			head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: 100} },
			body: func(_ apicall.Request, b []byte) apicall.Verdict {
				if string(b) == "{}" {
					<-slow
				}
				return apicall.Verdict{Allow: true}
			},
		},
		Done: func(r Record) { full <- r.Full },
	})
	question := func(body string) string {
		b, _ := json.Marshal(map[string]any{"RequestMethod": "POST", "RequestUri": "/containers/create", "RequestBody": []byte(body), "RequestHeaders": map[string]string{"Content-Type": "application/json"}})
		return string(b)
	}
	if res := post(t, path, "/AuthZPlugin.AuthZReq", question("{}")); res.Allow || <-full {
		t.Errorf("a judge that is late: %+v", res)
	}
	if res := post(t, path, "/AuthZPlugin.AuthZReq", question("[]")); res.Allow || !strings.Contains(res.Msg, "too many requests wait") || !<-full {
		t.Errorf("while it is at it: %+v", res)
	}
	close(slow)
	if res := post(t, path, "/AuthZPlugin.AuthZReq", question("[]")); !res.Allow || <-full {
		t.Errorf("when it has ended: %+v", res)
	}
}
