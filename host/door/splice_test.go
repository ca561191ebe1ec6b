package door

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"casco/internal/apicall"
)

// inChunks writes data as chunks of all sizes, and in pieces that end anywhere.
func inChunks(w io.Writer, rnd *rand.Rand, data []byte, end string) {
	var b bytes.Buffer
	for left := data; len(left) > 0; {
		n := 1 + rnd.IntN(1<<(2+rnd.IntN(17)))
		n = min(n, len(left))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, left[:n])
		left = left[n:]
	}
	b.WriteString(end)
	for b.Len() > 0 {
		if _, err := w.Write(b.Next(1 + rnd.IntN(200<<10))); err != nil {
			return
		}
	}
}

// TestFlood: of a body in chunks that the kernel moves, the door finds the end
// in both directions, and the next request and its answer after it.
func TestFlood(t *testing.T) {
	data := make([]byte, 6<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	engine := raw(t, func(c *net.UnixConn) {
		in := bufio.NewReader(c)
		rnd := rand.New(rand.NewPCG(1, 2))
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			h := sha256.New()
			if _, err := io.Copy(h, r.Body); err != nil {
				return
			}
			if r.Method == http.MethodPost {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n%x", h.Sum(nil))
				continue
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			inChunks(c, rnd, data, "0\r\nT: x\r\n\r\n")
		}
	})
	h := behind(t, engine, Config{})
	rnd := rand.New(rand.NewPCG(3, 4))
	c := h.dial()
	in := bufio.NewReader(c)
	for round := range 3 {
		go func() {
			io.WriteString(c, "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n")
			// The next request comes with the end of this one.
			inChunks(c, rnd, data, "0\r\n\r\nGET /containers/x/logs HTTP/1.1\r\nHost: d\r\n\r\n")
		}()
		for _, what := range []string{"up", "down"} {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("round %d, %s: %v", round, what, err)
			}
			b, err := io.ReadAll(res.Body)
			if what == "down" {
				b = fmt.Appendf(nil, "%x", sha256.Sum256(b))
			}
			if string(b) != sum || err != nil {
				t.Errorf("round %d, %s: %.80q %v", round, what, b, err)
			}
		}
	}
	if r := h.record(1); r.Down < int64(len(data)) || r.Status != 200 || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

// TestFloodNoChunk: what is no chunk ends a flood too, and what follows it does
// not get to the engine.
func TestFloodNoChunk(t *testing.T) {
	got := make(chan string, 1)
	engine := raw(t, func(c *net.UnixConn) {
		b, _ := io.ReadAll(c)
		got <- string(b[max(0, len(b)-100):])
	})
	h := behind(t, engine, Config{})
	chunk := "8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n"
	answer := say(h.dial(), "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat(chunk, 40)+
		"5;x=y\r\nhello\r\n0\r\n\r\nPOST /secret HTTP/1.1\r\nHost: d\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("%q", answer)
	}
	if end := <-got; strings.Contains(end, "hello") || strings.Contains(end, "secret") {
		t.Errorf("the engine was sent %q", end)
	}
}

// TestFloodUnread: an engine that answers in the middle of a flood and reads no
// more does not make the door lose its place in it.
func TestFloodUnread(t *testing.T) {
	engine := raw(t, func(c *net.UnixConn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.CopyN(io.Discard, r.Body, 1<<20)
		io.WriteString(c, "HTTP/1.1 507 Full\r\nContent-Length: 2\r\n\r\nno")
	})
	h := behind(t, engine, Config{})
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		c := h.dial()
		go func() {
			io.WriteString(c, "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n")
			inChunks(c, rnd, make([]byte, 4<<20), "0\r\n\r\n")
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); res.StatusCode != 507 || string(b) != "no" || err != nil {
			t.Errorf("%s %q %v", res.Status, b, err)
		}
		c.Close()
	}
}

// TestArchive: the engine is asked to close after an archive, and only after
// that; its answer is passed on whole, or visibly not whole.
func TestArchive(t *testing.T) {
	data := make([]byte, 3<<20)
	engine := fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Close", fmt.Sprint(r.Close))
		w.Write(data)
		if r.URL.Query().Has("broken") {
			panic(http.ErrAbortHandler)
		}
	}))
	h := behind(t, engine, Config{Judge: judge{head: func(r apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: true, Stream: true}
	}}})
	for uri, closes := range map[string]bool{
		"/images/get?names=a":                 true,
		"/v1.41/images/a/b/get":               true,
		"/v1.41/containers/x/export":          true,
		"/v1.41/containers/x/archive?path=/x": true,
		"/v1.41/containers/x/logs":            false,
		"/v1.41/images/a/json":                false,
	} {
		c := client(t, h.socket)
		for range 2 { // on a new connection if the first was closed
			res, body := get(t, c, uri)
			if res.Header.Get("X-Close") != fmt.Sprint(closes) || res.Close != closes || len(body) != len(data) {
				t.Errorf("%s: %v, closes: %v, %d bytes", uri, res.Header, res.Close, len(body))
			}
		}
	}
	c := h.dial()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "GET /containers/x/export?broken HTTP/1.1\r\nHost: d\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("a broken answer looks whole")
	}
}
