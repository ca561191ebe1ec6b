package door

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/handtest"
)

// TestStopped: who comes to a door that is stopped is told so within seconds, and
// nothing gets past it. What had come before goes on with the door.
func TestStopped(t *testing.T) {
	engine := raw(t, func(c *net.UnixConn) {
		if _, err := http.ReadRequest(bufio.NewReaderSize(c, 512)); err == nil {
			io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
			io.Copy(c, c)
		}
	})
	socket, pid := alone(t, engine)
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGCONT) })
	stream := dial(t, socket)
	io.WriteString(stream, "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	in := bufio.NewReader(stream)
	readHead(t, in)
	for range 2 {
		handtest.Stop(t, pid)
		began := time.Now()
		for range 3 {
			c := client(t, socket)
			c.Timeout = 20 * time.Second
			res, body := get(t, c, "/_ping")
			if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "guard does not answer") {
				t.Errorf("stopped: %s %s", res.Status, body)
			}
		}
		if d := time.Since(began); d > 8*time.Second {
			t.Errorf("stopped: answered for after %v", d)
		}
		io.WriteString(stream, "hello\n")
		syscall.Kill(pid, syscall.SIGCONT)
		if line, err := in.ReadString('\n'); line != "hello\n" || err != nil {
			t.Errorf("it goes on: %q %v", line, err)
		}
		time.Sleep(500 * time.Millisecond) // it beats again
		c := dial(t, socket)
		io.WriteString(c, "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		if head := readHead(t, bufio.NewReader(c)); !strings.HasPrefix(head, "HTTP/1.1 101") {
			t.Errorf("it goes on: %s", head)
		}
	}
}
