package door

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/room"
)

// TestRoomForBodies: a caller whose bodies take all that one may have is refused
// more, by 429, and gets on as soon as one was sent on; whoever has no body, or
// another's room, does not notice.
func TestRoomForBodies(t *testing.T) {
	const size = 1000
	h := behind(t, fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(20 * time.Millisecond)
		io.WriteString(w, "made")
	})), Config{
		Held: room.New(100*copies*size, 2*copies*size), RoomTime: 50 * time.Millisecond,
		Judge: judge{head: func(r apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: size} }},
	})
	slow := func(framing string) *net.UnixConn {
		c := h.dial()
		fmt.Fprintf(c, "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n%s\r\n\r\n", framing)
		return c
	}
	first, second := slow(fmt.Sprint("Content-Length: ", size)), slow("Transfer-Encoding: chunked")
	time.Sleep(50 * time.Millisecond)
	if got := say(h.dial(), fmt.Sprintf("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))); !strings.HasPrefix(got, "HTTP/1.1 429 Too Many Requests\r\n") || !strings.Contains(got, `{"message":"too much of what this caller sent`) {
		t.Errorf("a third body: %q", got)
	}
	if r := h.record(0); r.Status != 429 || r.Err == nil || !r.Full {
		t.Errorf("%+v", r)
	}
	if res, body := post(t, h.socket, ""); res.StatusCode != 200 || body != "made" {
		t.Errorf("without a body: %s %q", res.Status, body)
	}
	io.WriteString(first, strings.Repeat("x", size))
	io.WriteString(second, "5\r\nhello\r\n0\r\n\r\n")
	for _, c := range []*net.UnixConn{first, second} {
		if b, err := io.ReadAll(c); !bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
			t.Errorf("%q %v", b, err)
		}
	}
	if res, body := post(t, h.socket, strings.Repeat("x", size)); res.StatusCode != 200 || body != "made" {
		t.Errorf("afterwards: %s %q", res.Status, body)
	}
}

func post(t *testing.T, socket, body string) (*http.Response, string) {
	t.Helper()
	res, err := client(t, socket).Post("http://d/containers/create", "application/json", strings.NewReader(body))
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

// TestRoomForWork: judging waits for its turn, and the room of a judge that is late
// is given back when it has ended.
func TestRoomForWork(t *testing.T) {
	go1 := make(chan bool)
	h := behind(t, fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "made") })), Config{
		Work: room.New(4*apicall.Judging(10), apicall.Judging(10)), RoomTime: 50 * time.Millisecond, JudgeTime: 50 * time.Millisecond,
		Judge: judge{
			head: func(r apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: 100} },
			body: func(_ apicall.Request, b []byte) apicall.Verdict {
				if string(b) == "slow" {
					<-go1
				}
				return apicall.Verdict{Allow: true}
			},
		},
	})
	if res, body := post(t, h.socket, "slow"); res.StatusCode != 500 || !strings.Contains(body, "in time") {
		t.Errorf("a judge that is late: %s %q", res.Status, body)
	}
	if res, body := post(t, h.socket, "quick"); res.StatusCode != 429 {
		t.Errorf("while it is at it: %s %q", res.Status, body)
	}
	close(go1)
	if res, body := post(t, h.socket, "quick"); res.StatusCode != 200 {
		t.Errorf("when it has ended: %s %q", res.Status, body)
	}
}

// TestRoomForHeads: a head that is longer than most takes room, and one of many
// fields is none.
func TestRoomForHeads(t *testing.T) {
	h := behind(t, fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })), Config{
		Held: room.New(2*copies*int64(Default.MaxHead), copies*int64(Default.MaxHead)), RoomTime: 50 * time.Millisecond,
	})
	long := "GET / HTTP/1.1\r\nHost: d\r\nConnection: close\r\nX: " + strings.Repeat("x", 2*clientBuffer)
	first := h.dial()
	io.WriteString(first, long)
	time.Sleep(50 * time.Millisecond)
	if got := say(h.dial(), long+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 429") {
		t.Errorf("a second long head: %.80q", got)
	}
	if got := say(h.dial(), "GET / HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("a short one: %.80q", got)
	}
	if got := say(first, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("the first: %.80q", got)
	}
	if got := say(h.dial(), long+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("afterwards: %.80q", got)
	}
	if got := say(h.dial(), "GET / HTTP/1.1\r\nHost: d\r\n"+strings.Repeat("a:\r\n", maxFields)+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431") {
		t.Errorf("many fields: %.80q", got)
	}
}

// TestRoomForParts: of lines that are long, so many are here at a time as there is
// room for; a stream whose client does not read is ended, and what is short is not
// held up.
func TestRoomForParts(t *testing.T) {
	long := `"` + strings.Repeat("x", 1<<20) + `"`
	for _, e := range []apicall.Edit{{Lines: true}, {Elements: true}} {
		e.Do = func(b []byte) ([]byte, error) { return b, nil }
		h := behind(t, fake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path == "/short" {
				io.WriteString(w, "[1\n]")
				return
			}
			io.WriteString(w, map[bool]string{true: "", false: "["}[e.Lines]+long+map[bool]string{true: "\n", false: "]"}[e.Lines])
		})), Config{
			Held: room.New(8*maxLine, 2*maxLine), RoomTime: 50 * time.Millisecond, BodyTime: time.Second,
			Judge: judge{head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Stream: true, Edit: &e} }},
		})
		slow := h.dial()
		io.WriteString(slow, "GET /long HTTP/1.1\r\nHost: d\r\n\r\n")
		time.Sleep(300 * time.Millisecond) // what a socket holds is full
		if got := say(h.dial(), "GET /long HTTP/1.1\r\nHost: d\r\n\r\n"); strings.HasSuffix(got, "0\r\n\r\n") {
			t.Errorf("lines %v: a second one is whole: %d bytes", e.Lines, len(got))
		}
		if res, body := get(t, client(t, h.socket), "/short"); res.StatusCode != 200 || !strings.Contains(body, "1") {
			t.Errorf("lines %v: a short one: %s %q", e.Lines, res.Status, body)
		}
		time.Sleep(time.Second) // it is ended
		res, err := client(t, h.socket).Get("http://d/long")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || len(b) < len(long) {
			t.Errorf("lines %v: afterwards: %d bytes, %v", e.Lines, len(b), err)
		}
		res.Body.Close()
		h.end()
		full := false
		for i := range 4 {
			full = full || h.record(i).Full
		}
		if !full {
			t.Errorf("lines %v: nothing is told of", e.Lines)
		}
	}
}

// TestBookBytes: records that wait for who is busy are bounded by what they take.
func TestBookBytes(t *testing.T) {
	hold := make(chan bool)
	n, lost := 0, 0
	b := newBook(func(r Record) { <-hold; n++; lost += r.Lost })
	r := Record{Request: apicall.Request{URI: strings.Repeat("x", 64<<10)}}
	for range keptRecords {
		b.write(r)
	}
	close(hold)
	if lost += b.close(); n == 0 || n+lost != keptRecords || int64(n) > keptBytes/r.size()+2 {
		t.Errorf("%d were kept and %d lost", n, lost)
	}
}
