package door

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/realdocker"
	"casco/internal/unixsock"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// A judge is made of functions; what is nil lets pass.
type judge struct {
	head func(apicall.Request) apicall.Verdict
	body func(apicall.Request, []byte) apicall.Verdict
}

func (j judge) Head(_ context.Context, r apicall.Request) apicall.Verdict {
	if j.head == nil {
		return apicall.Verdict{Allow: true, Stream: true}
	}
	return j.head(r)
}

func (j judge) Body(_ context.Context, r apicall.Request, b []byte) apicall.Verdict {
	if j.body == nil {
		return apicall.Verdict{Allow: true}
	}
	return j.body(r, b)
}

// A house is a door, and what stands behind it.
type house struct {
	t      testing.TB
	socket string // of the door
	engine string // socket of the engine
	end    func() // waits until the door has ended

	mu      sync.Mutex
	records []Record
}

// behind opens a door in front of what listens at engine. When the test ends, all
// goroutines of the door must have ended too.
func behind(t testing.TB, engine string, cfg Config) *house {
	t.Helper()
	h := &house{t: t, engine: engine, socket: filepath.Join(shortDir(t), "door.sock")}
	l, err := unixsock.Listen(h.socket, 0o700, os.Getegid())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Engine, cfg.Done = engine, func(r Record) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.records = append(h.records, r)
	}
	if cfg.Judge == nil {
		cfg.Judge = judge{}
	}
	if cfg.Drain == 0 {
		cfg.Drain = 100 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- Serve(ctx, l.UnixListener, cfg) }()
	h.end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-over:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not end")
		}
	})
	t.Cleanup(func() {
		h.end()
		noGoroutines(t)
	})
	return h
}

// noGoroutines wants no goroutine of this package's own code to run.
func noGoroutines(t testing.TB) {
	t.Helper()
	var stacks string
	for range 100 {
		b := make([]byte, 4<<20)
		stacks = string(b[:runtime.Stack(b, true)])
		left := false
		for g := range strings.SplitSeq(stacks, "\n\n") {
			left = left || strings.Contains(g, "host/door.(*") && !strings.Contains(g, "testing.tRunner")
		}
		if !left {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

func (h *house) dial() *net.UnixConn {
	h.t.Helper()
	return dial(h.t, h.socket)
}

func dial(t testing.TB, socket string) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.UnixConn)
}

// record waits for the nth record.
func (h *house) record(n int) Record {
	h.t.Helper()
	for range 250 {
		h.mu.Lock()
		if len(h.records) > n {
			defer h.mu.Unlock()
			return h.records[n]
		}
		h.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
	h.t.Fatalf("there is no record %d", n)
	return Record{}
}

// client speaks HTTP to a socket.
func client(t testing.TB, socket string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// fake is an engine that does what a handler does.
func fake(t testing.TB, handler http.Handler) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return path
}

// raw is an engine that does what do does with each connection.
func raw(t testing.TB, do func(*net.UnixConn)) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				do(c.(*net.UnixConn))
			}()
		}
	}()
	return path
}

// shortDir is a directory whose paths are short enough for sockets.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "door-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func get(t testing.TB, c *http.Client, path string) (*http.Response, string) {
	t.Helper()
	return do(t, c, "GET", path, nil)
}

func do(t testing.TB, c *http.Client, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://docker"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// say writes s and returns all that comes back until the end.
func say(c *net.UnixConn, s string) string {
	io.WriteString(c, s)
	b, _ := io.ReadAll(c)
	return string(b)
}

// TestCaller: the judge is told who asks.
func TestCaller(t *testing.T) {
	var who apicall.Caller
	h := behind(t, fake(t, http.NotFoundHandler()), Config{Via: "name", Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		who = r.Caller
		return apicall.Refuse(0, "no")
	}}})
	res, body := get(t, client(t, h.socket), "/info")
	if res.StatusCode != 403 || body != `{"message":"no"}`+"\n" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %q", res.StatusCode, body, res.Header)
	}
	if int(who.UID) != os.Getuid() || int(who.GID) != os.Getgid() || who.PID != os.Getpid() || who.Via != "name" || who.Container == apicall.Unknown {
		t.Errorf("%+v", who)
	}
	r := h.record(0)
	if r.Status != 403 || r.Request.URI != "/info" || r.Verdict.Message != "no" || !reflect.DeepEqual(r.Request.Caller, who) {
		t.Errorf("%+v", r)
	}
}

// TestJudged: the engine gets what the judge wrote, with the right length,
// however the client framed it; and no body that the judge did not see.
func TestJudged(t *testing.T) {
	type got struct {
		uri, body, kind string
		length          int64
		te              []string
	}
	var mu sync.Mutex // guards what follows
	var last got
	var seen string
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if pass := r.Header.Get(apicall.PassField); pass != "number 7" {
			t.Errorf("pass: %q", pass)
		}
		mu.Lock()
		defer mu.Unlock()
		last = got{r.RequestURI, string(b), r.Header.Get("Content-Type"), r.ContentLength, r.TransferEncoding}
		io.WriteString(w, "created")
	}))
	h := behind(t, engine, Config{Pass: func(apicall.Request) string { return "number 7" }, Judge: judge{
		head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: 100} },
		body: func(_ apicall.Request, b []byte) apicall.Verdict {
			mu.Lock()
			defer mu.Unlock()
			seen = string(b)
			return apicall.Verdict{Allow: !bytes.Contains(b, []byte("bad")), Message: "bad", URI: "/v1.41/clean", Body: []byte("judged")}
		},
	}})
	head := "POST /x HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: Application/JSON; charset=x\r\n"
	for _, c := range []struct{ name, in, seen, status string }{
		{"counted", head + "Content-Length: 5\r\n\r\nhello", "hello", "200"},
		{"chunked", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n", "hello", "200"},
		{"none", head + "\r\n", "", "200"},
		{"empty", head + "Content-Length: 0\r\n\r\n", "", "200"},
		{"bad", head + "Content-Length: 3\r\n\r\nbad", "bad", "403"},
		{"long", head + "Content-Length: 101\r\n\r\n", "", "413"},
		{"long chunks", head + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", "", "413"},
		{"no chunks", head + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", "", "400"},
	} {
		mu.Lock()
		last, seen = got{}, ""
		mu.Unlock()
		answer := say(h.dial(), c.in)
		mu.Lock()
		if !strings.HasPrefix(answer, "HTTP/1.1 "+c.status) || seen != c.seen {
			t.Errorf("%s: the judge saw %q, the client %q", c.name, seen, answer)
		}
		if want := (got{"/v1.41/clean", "judged", "application/json", 6, nil}); c.status == "200" && fmt.Sprint(last) != fmt.Sprint(want) {
			t.Errorf("%s: the engine got %+v", c.name, last)
		}
		if c.status != "200" && last.uri != "" {
			t.Errorf("%s: the engine was asked", c.name)
		}
		mu.Unlock()
	}
	// A client that waits to be told to go on is.
	c := h.dial()
	io.WriteString(c, head+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(c)
	if line, _ := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Errorf("expected: %q", line)
	}
	in.ReadString('\n')
	io.WriteString(c, "hello")
	if b, _ := io.ReadAll(in); !bytes.HasSuffix(b, []byte("created")) {
		t.Errorf("expected: %q", b)
	}
}

// TestJudgeFails: late, broken or wrong is refused.
func TestJudgeFails(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the engine was asked") }))
	over := make(chan bool)
	h := behind(t, engine, Config{JudgeTime: 50 * time.Millisecond, Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		switch r.URI {
		case "/late":
			<-over
		case "/panic":
			panic("no idea")
		case "/path":
			return apicall.Verdict{Allow: true, Stream: true, URI: "/x HTTP/1.1\r\nX: y"}
		}
		return apicall.Verdict{}
	}}})
	c := client(t, h.socket)
	for _, p := range []struct {
		path   string
		status int
	}{{"/late", 500}, {"/panic", 500}, {"/path", 500}, {"/zero", 403}} {
		if res, body := get(t, c, p.path); res.StatusCode != p.status || !strings.HasPrefix(body, `{"message":`) {
			t.Errorf("%s: %d %s", p.path, res.StatusCode, body)
		}
	}
	close(over)
}

// TestSame: bytes are the same with and without a door, and connections are
// kept and closed alike.
func TestSame(t *testing.T) {
	answers := map[string]string{
		"/counted":  "HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nZ: 1\r\nA:  2 \r\n\r\nhello",
		"/chunked":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00002\r\nyo\r\n0\r\nTrailer: x\r\n\r\n",
		"/until":    "HTTP/1.1 200 OK\r\n\r\nhello",
		"/204":      "HTTP/1.1 204 No Content\r\n\r\n",
		"/304":      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"/1xx":      "HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
		"/close":    "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK",
		"/odd":      "HTTP/1.1 418 \r\nContent-Length: 0\r\n\r\n",
		"/truncate": "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
		"/broken":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	}
	engine := raw(t, func(c *net.UnixConn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, answers[r.URL.Path])
			switch r.URL.Path {
			case "/until", "/close", "/truncate", "/broken":
				return
			}
			if r.Close {
				return
			}
		}
	})
	h := behind(t, engine, Config{})
	for path, want := range answers {
		for _, keep := range []string{"keep-alive", "close"} {
			// A second request tells whether the connection was kept.
			req := "GET " + path + " HTTP/1.1\r\nHost: d\r\nConnection: " + keep + "\r\n\r\n"
			in := req + "GET /odd HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
			bare, doored := say(dial(t, engine), in), say(h.dial(), in)
			if doored != bare || !strings.HasPrefix(doored, want) {
				t.Errorf("%s %s:\n got %q\nwant %q", path, keep, doored, bare)
			}
		}
	}
	req := "HEAD /counted HTTP/1.1\r\nHost: d\r\n\r\nGET /close HTTP/1.1\r\nHost: d\r\n\r\n"
	if got := say(h.dial(), req); strings.Contains(got, "hello") && !strings.HasSuffix(got, answers["/close"]) {
		t.Errorf("HEAD: %q", got)
	}
}

// TestSwitched: after the answer both sides speak freely, and each one's end of
// sending is the other's end of reading, as without a door.
func TestSwitched(t *testing.T) {
	engine := raw(t, func(c *net.UnixConn) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Upgrade") != "" {
			fmt.Fprintf(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		} else {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
		}
		fmt.Fprint(c, "$ ")
		b, err := io.ReadAll(in) // until the client sends no more
		fmt.Fprintf(c, "%s, %v", b, err)
		if r.URL.Query().Has("half") {
			c.CloseWrite()
			time.Sleep(50 * time.Millisecond)
		}
	})
	h := behind(t, engine, Config{})
	for _, c := range []struct{ method, path, upgrade, body string }{
		{"POST", "/v1.41/containers/web1/attach?stdin=1", "tcp", ""},
		{"POST", "/containers/web1/attach?half", "tcp", ""},
		{"POST", "/v1.41/exec/abc/start", "TCP", `{"Tty":false}`},
		{"POST", "/v1.41/exec/abc/start", "", `{"Tty":false}`},
		{"GET", "/v1.41/containers/web1/attach/ws", "websocket", ""},
		{"POST", "/session", "h2c", ""},
		{"POST", "/v1.41/grpc?half", "h2c", ""},
	} {
		req := c.method + " " + c.path + " HTTP/1.1\r\nHost: d\r\n"
		if c.upgrade != "" {
			req += "Connection: Upgrade\r\nUpgrade: " + c.upgrade + "\r\n"
		}
		if c.body != "" {
			req += fmt.Sprintf("Content-Length: %d\r\n", len(c.body))
		}
		req += "\r\n" + c.body
		var got [2]string
		for i, socket := range []string{engine, h.socket} {
			conn := dial(t, socket)
			io.WriteString(conn, req)
			in := bufio.NewReader(conn)
			prompt, _ := in.ReadString('$')
			io.WriteString(conn, "one")
			time.Sleep(5 * time.Millisecond)
			io.WriteString(conn, "two")
			conn.CloseWrite()
			rest, err := io.ReadAll(in)
			got[i] = fmt.Sprint(prompt, string(rest), err)
			if !strings.HasSuffix(got[i], "$ onetwo, <nil><nil>") {
				t.Errorf("%s %s at %s: %q", c.method, c.path, socket, got[i])
			}
		}
		if got[0] != got[1] {
			t.Errorf("%s: %q, without a door %q", c.path, got[1], got[0])
		}
	}
	// Before the answer: what the client sends early is not lost.
	conn := h.dial()
	io.WriteString(conn, "POST /exec/abc/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}early")
	conn.CloseWrite()
	if b, _ := io.ReadAll(conn); !bytes.Contains(b, []byte("$ early, <nil>")) {
		t.Errorf("early: %q", b)
	}
}

// TestMuch: what comes in a flood arrives as it was sent, in both directions at
// once, and its end too.
func TestMuch(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
			return
		}
		c, in, _ := w.(http.Hijacker).Hijack()
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
		io.Copy(c, in)
	}))
	h := behind(t, engine, Config{})
	sent := make([]byte, 16<<20+7)
	rand.NewChaCha8([32]byte{}).Read(sent)
	c := h.dial()
	go func() {
		io.WriteString(c, "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		c.Write(sent[:5<<20])
		time.Sleep(50 * time.Millisecond)
		c.Write(sent[5<<20:])
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if _, got, _ = bytes.Cut(got, []byte("\r\n\r\n")); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, equal: %v, %v", len(got), len(sent), bytes.Equal(got, sent), err)
	}
	want := fmt.Sprintf("%d %x <nil>", len(sent), sha256.Sum256(sent))
	if _, body := do(t, client(t, h.socket), "POST", "/images/load", bytes.NewReader(sent)); body != want {
		t.Errorf("%s, want %s", body, want)
	}
	if r := h.record(0); !r.Switched || r.Over || r.Status != 101 {
		t.Errorf("when it was switched: %+v", r)
	}
	if r := h.record(1); !r.Switched || !r.Over || r.Up != int64(len(sent)) || r.Down != int64(len(sent)) || r.Status != 101 {
		t.Errorf("at its end: %+v", r)
	}
}

// TestKeep: of a good answer as much is kept as the judge wants, without its
// chunks, and what the judge noted stands beside it.
func TestKeep(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusConflict)
		}
		for _, part := range []string{`{"Id":`, `"0123"}`, "\n"} {
			io.WriteString(w, part)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}))
	h := behind(t, engine, Config{Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: true, Stream: true, Keep: len(r.URI), Note: r.URI}
	}}})
	for i, c := range []struct{ uri, want string }{{"/a/long/path", `{"Id":"0123"`}, {"/123", `{"Id`}, {"/bad", ""}} {
		do(t, client(t, h.socket), "POST", c.uri, nil)
		if r := h.record(i); string(r.Answer) != c.want || r.Verdict.Note != c.uri {
			t.Errorf("%s: %q, %v", c.uri, r.Answer, r.Verdict.Note)
		}
	}
}

// TestKilled: a client that is gone is gone for the engine too, and an engine
// that is gone for the client, in the middle of a stream and at its start.
func TestKilled(t *testing.T) {
	end := make(chan error, 1)
	engine := raw(t, func(c *net.UnixConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		switch r.URL.Path {
		case "/v1.41/containers/x/attach":
			fmt.Fprint(c, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
			if r.URL.Query().Has("die") {
				return
			}
		case "/events":
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		case "/die":
			return
		}
		_, err = io.Copy(io.Discard, c)
		end <- err
	})
	h := behind(t, engine, Config{})
	upgrade := "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	for i, req := range []string{
		"POST /v1.41/containers/x/attach HTTP/1.1\r\nHost: d\r\n" + upgrade + "\r\n",
		"GET /events HTTP/1.1\r\nHost: d\r\n\r\n",
		"POST /containers/x/wait HTTP/1.1\r\nHost: d\r\n\r\n",
		"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\nhalf",
	} {
		c := h.dial()
		io.WriteString(c, req)
		time.Sleep(20 * time.Millisecond)
		c.Close()
		select {
		case <-end:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the engine does not know that its client is gone", req)
		}
		h.record(i)
	}
	if got := say(h.dial(), "POST /v1.41/containers/x/attach?die HTTP/1.1\r\nHost: d\r\n"+upgrade+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 101") {
		t.Errorf("die: %q", got)
	}
	if got := say(h.dial(), "GET /die HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, `{"message":"the engine ended`) {
		t.Errorf("die: %q", got)
	}
}

// TestAbsent: an engine that is not there is said in its own way, and met again
// when it is back, on the same connection.
func TestAbsent(t *testing.T) {
	path := filepath.Join(shortDir(t), "engine.sock")
	h := behind(t, path, Config{})
	c := client(t, h.socket)
	for range 2 {
		if res, body := get(t, c, "/_ping"); res.StatusCode != 503 || !strings.HasPrefix(body, `{"message":"the engine behind`) || strings.Contains(body, path) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") })}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		if res, body := get(t, c, "/_ping"); res.StatusCode != 200 || body != "OK" {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		s.Close()
	}
}

// TestUpload: an engine that answers before it has read everything does not
// leave its client hanging, and a refused upload can be read to be refused.
func TestUpload(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(400)
			io.WriteString(w, "no")
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %v", n, err, r.Trailer)
	}))
	h := behind(t, engine, Config{Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: r.URI != "/refused", Stream: true, Message: "no"}
	}}})
	c := client(t, h.socket)
	const size = 20 << 20
	for _, p := range []struct {
		path   string
		status int
		body   string
	}{{"/all", 200, "20971520 <nil> map[]"}, {"/early", 400, "no"}, {"/refused", 403, `{"message":"no"}` + "\n"}} {
		for _, chunks := range []bool{true, false} {
			var r io.Reader = bytes.NewReader(make([]byte, size))
			if chunks {
				r = io.MultiReader(r)
			}
			if res, body := do(t, c, "POST", p.path, r); res.StatusCode != p.status || body != p.body {
				t.Errorf("%s: %d %q", p.path, res.StatusCode, body)
			}
		}
	}
	got := say(h.dial(), "POST /all HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnonsense\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("a body that is none: %q", got)
	}
}

// TestPrompt: what comes is passed on when it comes.
func TestPrompt(t *testing.T) {
	next := make(chan bool)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for range next {
			io.WriteString(w, "line\n")
			w.(http.Flusher).Flush()
		}
	}))
	h := behind(t, engine, Config{})
	res, err := client(t, h.socket).Get("http://d/containers/x/logs?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for range 3 {
		next <- true
		if line, err := in.ReadString('\n'); line != "line\n" || err != nil {
			t.Errorf("%q %v", line, err)
		}
	}
	close(next)
}

// TestSlow: a client that does not get on is told so, and one that says nothing
// is let go.
func TestSlow(t *testing.T) {
	engine := fake(t, http.NotFoundHandler())
	h := behind(t, engine, Config{
		HeadTime: 100 * time.Millisecond, IdleTime: 200 * time.Millisecond, BodyTime: 100 * time.Millisecond, MaxHead: 1000,
		Judge: judge{head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: 10} }},
	})
	for _, c := range []struct{ name, in, want string }{
		{"head", "GET / HTTP/1.1\r\nHost:", "HTTP/1.1 408"},
		{"body", "POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhe", "HTTP/1.1 408"},
		{"idle", "", ""},
		{"long", "GET / HTTP/1.1\r\nHost: d\r\nX: " + strings.Repeat("x", clientBuffer), "HTTP/1.1 431"},
	} {
		if got := say(h.dial(), c.in); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	// One byte at a time.
	c, began := h.dial(), time.Now()
	go func() {
		for range 100 {
			if _, err := io.WriteString(c, "G"); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	io.ReadAll(c)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("a head of single bytes held a place for %v", d)
	}
}

// TestCrowd: connections are bounded, whoever waits makes room for who comes,
// and somebody always gets in.
func TestCrowd(t *testing.T) {
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "OK") }))
	h := behind(t, engine, Config{Conns: 100, PerCaller: 50})
	before := descriptors(t)
	var conns []net.Conn
	for range 10000 {
		c, err := net.Dial("unix", h.socket)
		for ; errors.Is(err, syscall.EAGAIN); c, err = net.Dial("unix", h.socket) {
			time.Sleep(time.Millisecond) // the kernel's own queue is full
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	// The kernel's queue has to be worked off first: whoever stands behind others
	// of the same caller there may be let go for the next of them.
	for range 500 {
		if res, err := client(t, h.socket).Get("http://d/_ping"); err == nil {
			res.Body.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := range 3 {
		if _, body := get(t, client(t, h.socket), "/_ping"); body != "OK" {
			t.Errorf("%d: %q", i, body)
		}
	}
	// Both ends are in this process; those that were let go are half open.
	if n := descriptors(t) - before - len(conns); n > 50+20 {
		t.Errorf("%d connections are held, at most 50 may be", n)
	}
	for _, c := range conns {
		c.Close()
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestBusy: connections that are in use are not taken away; one more is told so.
func TestBusy(t *testing.T) {
	over := make(chan bool)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		<-over
	}))
	h := behind(t, engine, Config{PerCaller: 3})
	c := client(t, h.socket)
	for range 3 {
		res, err := c.Get("http://d/events")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
	}
	b, _ := io.ReadAll(h.dial())
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 503")) || !json.Valid(b[bytes.Index(b, []byte("\r\n\r\n")):]) {
		t.Errorf("%q", b)
	}
	close(over)
}

// TestDrain: a door that is told to end lets a request finish, takes no more,
// and cuts off what goes on for too long.
func TestDrain(t *testing.T) {
	began, over := make(chan bool, 2), make(chan bool)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		began <- true
		if r.URL.Path == "/long" {
			<-r.Context().Done()
			return
		}
		<-over
		io.WriteString(w, "made")
	}))
	h := behind(t, engine, Config{Drain: time.Second})
	idle := h.dial()
	time.Sleep(20 * time.Millisecond)
	type result struct {
		body string
		err  error
	}
	results := map[string]chan result{"/long": make(chan result, 1), "/short": make(chan result, 1)}
	for path, c := range results {
		cl := client(t, h.socket)
		go func() {
			res, err := cl.Get("http://d" + path)
			if err != nil {
				c <- result{"", err}
				return
			}
			b, err := io.ReadAll(res.Body)
			c <- result{string(b), err}
		}()
	}
	<-began
	<-began
	go func() { time.Sleep(100 * time.Millisecond); close(over) }()
	h.end()
	if r := <-results["/short"]; r.body != "made" || r.err != nil {
		t.Errorf("%+v", r)
	}
	if r := <-results["/long"]; r.err == nil {
		t.Errorf("a stream outlived the door: %+v", r)
	}
	if b, err := io.ReadAll(idle); len(b) > 0 || err != nil {
		t.Errorf("idle: %q %v", b, err)
	}
	if _, err := net.Dial("unix", h.socket); err == nil {
		t.Error("somebody still listens")
	}
}

// TestRecords: a Done that is busy holds nobody up.
func TestRecords(t *testing.T) {
	over := make(chan bool)
	told, lost := 0, 0
	b := newBook(func(r Record) { <-over; told, lost = told+1, lost+r.Lost })
	for range keptRecords + 10 {
		b.write(Record{})
	}
	close(over)
	if lost += b.close(); lost < 9 || told+lost != keptRecords+10 {
		t.Errorf("%d were told and %d lost of %d", told, lost, keptRecords+10)
	}
}
