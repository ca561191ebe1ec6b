package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"casco/internal/apicall"
)

// editing is a judge that lets all pass and changes what is answered: each
// "secret" becomes "***"; a line with "drop" goes.
func editing(lines bool) judge {
	return judge{head: func(apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: true, Stream: true, Edit: &apicall.Edit{Lines: lines, Do: func(b []byte) ([]byte, error) {
			switch {
			case bytes.Contains(b, []byte("fail")):
				return nil, errors.New("no")
			case bytes.Contains(b, []byte("panic")):
				panic("oh")
			case lines && bytes.Contains(b, []byte("drop")):
				return nil, nil
			}
			return bytes.ReplaceAll(b, []byte("secret"), []byte("***")), nil
		}}}
	}}
}

// TestEdited: an answer is changed whatever its framing, with a length that is
// right; one that cannot be is not passed on.
func TestEdited(t *testing.T) {
	const kind, no = "Content-Type: application/json; charset=utf-8\r\n", "is not of a form"
	for _, c := range []struct{ name, answer, status, body string }{
		{"counted", "200 OK\r\n" + kind + "X-Old: y\r\nContent-Length: 14\r\n\r\n{\"a\":\"secret\"}", "200 OK", `{"a":"***"}`},
		{"chunked", "200 OK\r\n" + kind + "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":\"se\r\n6\r\ncret\"}\r\n0\r\nTr: x\r\n\r\n", "200 OK", `{"a":"***"}`},
		{"to the end", "201 Created\r\n" + kind + "Connection: close\r\n\r\n[\"secret\"]", "201 Created", `["***"]`},
		{"a refusal of the engine's", "404 Not Found\r\n" + kind + "Content-Length: 6\r\n\r\nsecret", "404 Not Found", "secret"},
		{"nothing", "204 No Content\r\n\r\n", "204 No Content", ""},
		{"as it is", "200 OK\r\n" + kind + "Content-Encoding: identity\r\nContent-Length: 6\r\n\r\nsecret", "200 OK", "***"},
		{"compressed", "200 OK\r\n" + kind + "Content-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret", "502 Bad Gateway", no},
		{"of another form", "200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nsecret", "502 Bad Gateway", no},
		{"of no form", "200 OK\r\nContent-Length: 6\r\n\r\nsecret", "502 Bad Gateway", no},
		{"not understood", "200 OK\r\n" + kind + "Content-Length: 4\r\n\r\nfail", "502 Bad Gateway", no},
		{"a judge that breaks", "200 OK\r\n" + kind + "Content-Length: 5\r\n\r\npanic", "502 Bad Gateway", no},
		{"half of one", "200 OK\r\n" + kind + "Content-Length: 9\r\n\r\nsecret", "502 Bad Gateway", "the engine ended the connection"},
		{"no chunks", "200 OK\r\n" + kind + "Transfer-Encoding: chunked\r\n\r\nzz\r\nsecret", "502 Bad Gateway", no},
	} {
		asked := ""
		h := behind(t, raw(t, func(e *net.UnixConn) {
			b, _ := newReader(e, &clientBuffers).head(1<<20, nil)
			asked = string(b)
			io.WriteString(e, "HTTP/1.1 "+c.answer)
			if !strings.HasPrefix(c.name, "half") && !strings.HasPrefix(c.name, "to the end") {
				io.ReadAll(e)
			}
		}), Config{Judge: editing(false)})
		d := h.dial()
		fmt.Fprint(d, "GET /containers/json HTTP/1.1\r\nHost: d\r\nAccept-Encoding: gzip\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(d), nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		body, err := io.ReadAll(res.Body)
		if res.Status != c.status || err != nil || !strings.Contains(string(body), c.body) || c.status[0] == '2' && string(body) != c.body {
			t.Errorf("%s: %s %q %v", c.name, res.Status, body, err)
		}
		if c.status[0] == '2' && c.body != "" && res.ContentLength != int64(len(c.body)) || c.name == "counted" && res.Header.Get("X-Old") != "y" {
			t.Errorf("%s: %d %v", c.name, res.ContentLength, res.Header)
		}
		if strings.Contains(strings.ToLower(asked), "accept-encoding") {
			t.Errorf("%s: the engine was asked to compress: %q", c.name, asked)
		}
		d.Close()
		h.end()
		if r := h.record(0); r.Verdict.Edit != nil || c.status[0] == '2' && (r.Err != nil || r.Down != int64(len(c.body))) || c.status[0] == '5' && r.Err == nil {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// TestEditedElements: a list arrives as it comes, with what is left of it, however
// long it is; one that breaks on its way is not said to be whole.
func TestEditedElements(t *testing.T) {
	const all = 200_000 // elements, of 100 bytes: more than maxEdited
	item := `{"a":"secret","b":"` + strings.Repeat("x", 80) + `"}`
	var answer func(w io.Writer)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w)
	}))
	h := behind(t, engine, Config{Judge: judge{head: func(apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: true, Stream: true, Edit: &apicall.Edit{Elements: true, Do: func(b []byte) ([]byte, error) {
			switch {
			case bytes.Contains(b, []byte("fail")):
				return nil, errors.New("no")
			case bytes.Contains(b, []byte("drop")):
				return nil, nil
			}
			return bytes.ReplaceAll(b, []byte("secret"), []byte("***")), nil
		}}}
	}}})
	c := client(t, h.socket)
	for _, step := range []struct {
		name   string
		answer func(w io.Writer)
		status int
		want   string // "" is an answer that is not whole
	}{
		{"a list", func(w io.Writer) { io.WriteString(w, ` ["secret", "drop" ,1]`) }, 200, "[\"***\",1]\n"},
		{"of nothing", func(w io.Writer) { io.WriteString(w, `["drop"]`) }, 200, "[]\n"},
		{"empty", func(w io.Writer) { io.WriteString(w, `[]`) }, 200, "[]\n"},
		{"null", func(w io.Writer) { io.WriteString(w, "null\n") }, 200, "null"},
		{"no list", func(w io.Writer) { io.WriteString(w, `{"a":"secret"}`) }, 502, "is not of a form"},
		{"what fails at once", func(w io.Writer) { io.WriteString(w, `["fail"]`) }, 502, "is not of a form"},
		{"long", func(w io.Writer) {
			io.WriteString(w, "["+strings.Repeat(item+",", all)+item+"]")
		}, 200, "[" + strings.Repeat(strings.ReplaceAll(item, "secret", "***")+",", all) + strings.ReplaceAll(item, "secret", "***") + "]\n"},
		{"what fails later", func(w io.Writer) {
			io.WriteString(w, "[1,2,")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
			io.WriteString(w, `"fail"]`)
		}, 200, ""},
		{"half", func(w io.Writer) {
			io.WriteString(w, "[1,2,")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 200, ""},
	} {
		answer = step.answer
		res, err := c.Get("http://d/containers/json")
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		good := err == nil && (string(body) == step.want || step.status != 200 && strings.Contains(string(body), step.want))
		if step.want == "" {
			good = err != nil
		}
		if res.StatusCode != step.status || !good {
			t.Errorf("%s: %s %.100q %v", step.name, res.Status, body, err)
		}
	}
}

// TestEditedTooLong: what cannot be looked through is not passed on.
func TestEditedTooLong(t *testing.T) {
	h := behind(t, fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		b := bytes.Repeat([]byte(" "), 1<<20)
		for range maxEdited>>20 + 1 {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})), Config{Judge: editing(false)})
	if res, body := get(t, client(t, h.socket), "/images/json"); res.StatusCode != 502 || !strings.Contains(body, "ask for less") {
		t.Errorf("%d %.200q", res.StatusCode, body)
	}
}

// TestEditedAgain: the connections on both sides go on after an answer that was
// changed.
func TestEditedAgain(t *testing.T) {
	conns := map[string]bool{}
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Conn", fmt.Sprintf("%p", r.Context().Value(http.LocalAddrContextKey)))
		io.WriteString(w, `"secret"`)
	}))
	h := behind(t, engine, Config{Judge: editing(false)})
	c := client(t, h.socket)
	for range 3 {
		res, body := get(t, c, "/info")
		conns[res.Header.Get("Conn")] = true
		if body != `"***"` {
			t.Errorf("%q", body)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(conns) != 1 {
		t.Errorf("three requests took %d connections to the engine", len(conns))
	}
}

// TestEditedLines: a line arrives changed as soon as the engine wrote it, and not
// before all of it is there; what is not whole at the end is a line too.
func TestEditedLines(t *testing.T) {
	next := make(chan string)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for s := range next {
			io.WriteString(w, s)
			w.(http.Flusher).Flush()
		}
	}))
	h := behind(t, engine, Config{Judge: editing(true)})
	for _, minor := range []string{"1", "0"} {
		d := h.dial()
		fmt.Fprintf(d, "GET /events HTTP/1.%s\r\nHost: d\r\n\r\n", minor)
		res, err := http.ReadResponse(bufio.NewReader(d), nil)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(res.Body)
		want := func(line string) {
			t.Helper()
			if got, err := in.ReadString('\n'); got != line {
				t.Fatalf("HTTP/1.%s: %q %v, want %q", minor, got, err, line)
			}
		}
		next <- "{\"a\":\"secret\"}\n"
		want("{\"a\":\"***\"}\n")
		next <- "drop this\n{\"b\":"
		next <- "\"sec"
		next <- "ret\"}\nlast"
		want("{\"b\":\"***\"}\n")
		if minor == "1" {
			next <- " secret"
			close(next)
			want("last ***\n")
			if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
				t.Errorf("after the end: %q %v", rest, err)
			}
			next = make(chan string)
			h.record(0)
			continue
		}
		// A line that is not understood ends it, and is not passed on.
		next <- " fail secret\n"
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("after what was not understood: %q", rest)
		}
		close(next)
	}
	if r := h.record(1); r.Err == nil || r.Status != 200 {
		t.Errorf("%+v", r)
	}
}

// TestEditedGone: a client that leaves ends what the engine goes on with.
func TestEditedGone(t *testing.T) {
	gone := make(chan bool)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	h := behind(t, engine, Config{Judge: editing(true)})
	d := h.dial()
	io.WriteString(d, "GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
	if line, err := bufio.NewReader(d).ReadString('\n'); line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	d.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the engine was not told that its client is gone")
	}
}
