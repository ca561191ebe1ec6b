package door

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"casco/internal/apicall"
)

// TestSmuggling: what two readers could understand in two ways is refused; what
// is not refused, the engine reads as the judge did.
func TestSmuggling(t *testing.T) {
	var mu sync.Mutex // guards what follows
	var judged, reached []string
	note := func(to *[]string, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		*to = append(*to, fmt.Sprintf(format, args...))
	}
	engine := fake(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		note(&reached, "%s %s %q %v", r.Method, r.RequestURI, b, err)
	}))
	h := behind(t, engine, Config{Judge: judge{
		head: func(apicall.Request) apicall.Verdict { return apicall.Verdict{Allow: true, Limit: 1 << 20} },
		body: func(r apicall.Request, b []byte) apicall.Verdict {
			note(&judged, "%s %s %q <nil>", r.Method, r.URI, b)
			return apicall.Verdict{Allow: true}
		},
	}})
	const refused = ""
	ok := func(s ...string) string { return strings.Join(s, " | ") }
	host := "Host: d\r\n"
	second := "GET /second HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n"
	secondRead := `GET /second "" <nil>`
	for _, c := range []struct{ name, in, want string }{
		{"plain", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi" + second, ok(`POST /x "hi" <nil>`, secondRead)},
		{"chunked", "POST /x HTTP/1.1\r\n" + host + "transfer-encoding:\tChunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n" + second, ok(`POST /x "hi" <nil>`, secondRead)},
		{"length and chunks", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, refused},
		{"chunks and length", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second, refused},
		{"length 0 and chunks", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused},
		{"two lengths", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi\r\n", refused},
		{"the same length twice", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", refused},
		{"lengths in a list", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\nhi", refused},
		{"length with a sign", "POST /x HTTP/1.1\r\n" + host + "Content-Length: +2\r\n\r\nhi", refused},
		{"length in hex", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 0x2\r\n\r\nhi", refused},
		{"length too large", "POST /x HTTP/1.1\r\n" + host + "Content-Length: 18446744073709551618\r\n\r\nhi", refused},
		{"no length", "POST /x HTTP/1.1\r\n" + host + "Content-Length:\r\n\r\nhi", refused},
		{"negative length", "POST /x HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\nhi", refused},
		{"gzip, chunked", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", refused},
		{"identity", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: identity\r\n\r\n", refused},
		{"chunked twice", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused},
		{"chunked, HTTP/1.0", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused},
		{"chunked with a vertical tab", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", refused},
		{"space before the colon", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", refused},
		{"folded line", "POST /x HTTP/1.1\r\n" + host + "X: y\r\n Content-Length: 5\r\n\r\n", refused},
		{"folded first line", "POST /x HTTP/1.1\r\n " + host + "\r\n", refused},
		{"bare LF", "GET /x HTTP/1.1\n" + host + "\r\n", refused},
		{"bare LF in a field", "GET /x HTTP/1.1\r\n" + host + "X: y\nContent-Length: 5\r\n\r\n", refused},
		{"bare CR in a field", "GET /x HTTP/1.1\r\n" + host + "X: y\rContent-Length: 5\r\n\r\n", refused},
		{"CR CR LF", "GET /x HTTP/1.1\r\n" + host + "X: y\r\r\n\r\n", refused},
		{"NUL", "GET /x HTTP/1.1\r\n" + host + "X: \x00\r\n\r\n", refused},
		{"empty line first", "\r\nGET /x HTTP/1.1\r\n" + host + "\r\n", refused},
		{"no colon", "GET /x HTTP/1.1\r\n" + host + "X\r\n\r\n", refused},
		{"no name", "GET /x HTTP/1.1\r\n" + host + ": x\r\n\r\n", refused},
		{"no host", "GET /x HTTP/1.1\r\n\r\n", refused},
		{"two hosts", "GET /x HTTP/1.1\r\n" + host + host + "\r\n", refused},
		{"two spaces", "GET  /x HTTP/1.1\r\n" + host + "\r\n", refused},
		{"space in the path", "GET /x y HTTP/1.1\r\n" + host + "\r\n", refused},
		{"tab in the path", "GET /x\ty HTTP/1.1\r\n" + host + "\r\n", refused},
		{"LF in the path", "GET /x\ny HTTP/1.1\r\n" + host + "\r\n", refused},
		{"whole URL", "GET http://d/x HTTP/1.1\r\n" + host + "\r\n", refused},
		{"no path", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", refused},
		{"authority", "CONNECT d:80 HTTP/1.1\r\n" + host + "\r\n", refused},
		{"fragment", "GET /x#/y HTTP/1.1\r\n" + host + "\r\n", refused},
		{"backslash", "GET /x\\y HTTP/1.1\r\n" + host + "\r\n", refused},
		{"not ASCII", "GET /\xff HTTP/1.1\r\n" + host + "\r\n", refused},
		{"bad escape", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", refused},
		{"escaped", "GET /%63 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", ok(`GET /%63 "" <nil>`)},
		{"odd method", "GE(T /x HTTP/1.1\r\n" + host + "\r\n", refused},
		{"HTTP/0.9", "GET /x\r\n\r\n", refused},
		{"HTTP/1.2", "GET /x HTTP/1.2\r\n" + host + "\r\n", refused},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused},
		{"http/1.1", "GET /x http/1.1\r\n" + host + "\r\n", refused},
		{"HTTP/1.0", "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + second, ok(`GET /x "" <nil>`)},
		{"upgrade to HTTP/2", "GET /_ping HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", refused},
		{"upgrade somewhere else", "GET /_ping HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", refused},
		{"upgrade to something else", "POST /exec/x/start HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", refused},
		{"HTTP2-Settings", "POST /grpc HTTP/1.1\r\n" + host + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", refused},
		{"field to be dropped", "POST /x HTTP/1.1\r\n" + host + "Connection: Content-Type\r\nContent-Type: application/json\r\n\r\n", refused},
		{"two types", "POST /x HTTP/1.1\r\n" + host + "Content-Type: text/plain\r\nContent-Type: application/json\r\n\r\n", refused},
		{"the door's own field", "GET /x HTTP/1.1\r\n" + host + "casco-pass: x\r\n\r\n", refused},
		{"expectation", "POST /x HTTP/1.1\r\n" + host + "Expect: 200-ok\r\nContent-Length: 0\r\n\r\n", refused},
		{"chunk with an extension", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\n\r\n", refused},
		{"chunk with bare LF", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", refused},
		{"chunk with LF after it", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\n0\r\n\r\n", refused},
		{"chunk too long", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\nhii\r\n0\r\n\r\n", refused},
		{"chunk of 2^64+2", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n", refused},
		{"chunk in 0x", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", refused},
		{"chunk without a size", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n\r\nhi\r\n0\r\n\r\n", refused},
		{"trailers", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n" + second, ok(`POST /x "" <nil>`, secondRead)},
		{"trailer that is none", "POST /x HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n", refused},
		{"body of a GET", "GET /x HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nhi" + second, ok(`GET /x "hi" <nil>`, secondRead)},
		{"request in a body", fmt.Sprintf("POST /x HTTP/1.1\r\n"+host+"Content-Length: %d\r\n\r\n%s", len(second), second) + second, ok(fmt.Sprintf("POST /x %q <nil>", second), secondRead)},
	} {
		mu.Lock()
		judged, reached = nil, nil
		mu.Unlock()
		conn := h.dial()
		answer := func() string {
			io.WriteString(conn, c.in)
			conn.CloseWrite()
			b, _ := io.ReadAll(conn)
			return string(b)
		}()
		mu.Lock()
		if got := strings.Join(reached, " | "); got != c.want || strings.Join(judged, " | ") != got {
			t.Errorf("%s:\n  read %q\njudged %q\n  want %q", c.name, got, judged, c.want)
		}
		mu.Unlock()
		if c.want == refused && (!strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 505") || !strings.Contains(answer, `{"message":"`)) {
			t.Errorf("%s: %q", c.name, answer)
		}
	}
}

// FuzzHead: whatever is let through is read by net/http, of which engines are
// made, as it was read here.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: d\r\n\r\n",
		"POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nContent-Type: application/json\r\n\r\n{}\n",
		"POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST /exec/x/start HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\nA: b\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		end += 4
		h, err := parseRequest(b[:end])
		if err != nil {
			return
		}
		if _, err := wayOf(h, h.uri); err != nil {
			return
		}
		sent := append(h.request(h.uri, -1, false, false, ""), b[end:]...)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			t.Fatalf("%q: net/http refuses it: %v", sent, err)
		}
		if r.Method != h.method || r.RequestURI != h.uri || r.Header.Get("Content-Type") != h.contentType || r.ProtoMinor != h.minor {
			t.Errorf("%q: read as %+v", sent, r)
		}
		if chunks := len(r.TransferEncoding) > 0; chunks != (h.body == chunked) || !chunks && r.ContentLength != h.length {
			t.Errorf("%q: length %d %v, here %d %v", sent, r.ContentLength, r.TransferEncoding, h.length, h.body)
		}
		body := framed(h.body, h.length)
		var mine bytes.Buffer
		body.data = func(b []byte) { mine.Write(b) }
		if _, err := body.scan(b[end:]); err != nil || !body.over {
			return
		}
		if theirs, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(theirs, mine.Bytes()) {
			t.Errorf("%q: body %q %v, here %q", sent, theirs, err, mine.Bytes())
		}
	})
}

// FuzzAnswer: no answer breaks the door, and where it ends does not depend on
// how it is cut.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nrest",
		"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nabc",
	} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		res, err := parseResponse(b[:end+4], "GET")
		if err != nil {
			return
		}
		whole, parts := framed(res.body, res.length), framed(res.body, res.length)
		n, err := whole.scan(b[end+4:])
		m := 0
		for rest := b[end+4:]; len(rest) > 0 && !parts.over; {
			part := rest[:min(len(rest), int(size)+1)]
			k, err2 := parts.scan(part)
			if m += k; err2 != nil {
				if err == nil || m != n {
					t.Errorf("in parts %d %v, whole %d %v", m, err2, n, err)
				}
				return
			}
			rest = rest[k:]
		}
		if m != n || err != nil || whole.over != parts.over {
			t.Errorf("in parts %d %v, whole %d %v %v", m, parts.over, n, whole.over, err)
		}
	})
}

// TestHeadInPieces: a head is found however it arrives.
func TestHeadInPieces(t *testing.T) {
	in := "GET /x HTTP/1.1\r\nHost: d\r\n\r\nrest"
	for i := 1; i < len(in); i++ {
		a, b := net.Pipe()
		go func() {
			io.WriteString(a, in[:i])
			io.WriteString(a, in[i:])
			a.Close()
		}()
		r := newReader(b, &clientBuffers)
		got, err := r.head(1000, nil)
		if string(got) != strings.TrimSuffix(in, "rest") || err != nil {
			t.Errorf("%d: %q %v", i, got, err)
		}
		b.Close()
	}
}
