package door

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/realdocker"
	"casco/internal/unixsock"
	"casco/lang"
)

// alone runs the door in a process of its own, which is this program again, so
// that what is measured is the door's and not the engine's or the client's. It
// returns the socket and the process.
func alone(t testing.TB, engine string) (socket string, pid int) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "door.sock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDoorAlone$")
	cmd.Env = append(os.Environ(), "CASCO_DOOR="+socket, "CASCO_DOOR_ENGINE="+engine)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	for range 500 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return socket, cmd.Process.Pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the door does not open")
	return "", 0
}

// TestDoorAlone is the process of alone.
func TestDoorAlone(t *testing.T) {
	socket := os.Getenv("CASCO_DOOR")
	if socket == "" {
		t.Skip("only as the process that a benchmark measures")
	}
	var l net.Listener
	var err error
	if socket == "inherited" {
		var ls []net.Listener
		if ls, err = Inherited(); len(ls) == 1 {
			l = ls[0]
		}
	} else {
		var own *unixsock.Listener
		if own, err = unixsock.Listen(socket, 0o700, os.Getegid()); err == nil {
			l = own.UnixListener
		}
	}
	if l == nil || err != nil {
		t.Fatal(l, err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	j := judge{head: func(r apicall.Request) apicall.Verdict {
		return apicall.Verdict{Allow: true, Stream: r.ContentType != "application/json", Limit: 4 << 20}
	}}
	second := []string{os.Args[0], "-test.run=^TestSecondAlone$"}
	if err := Serve(ctx, l, Config{Engine: os.Getenv("CASCO_DOOR_ENGINE"), Judge: j, Drain: time.Millisecond, Second: second}); err != nil {
		t.Error(err)
	}
}

// TestSecondAlone is the second of that process.
func TestSecondAlone(t *testing.T) {
	if os.Getenv("CASCO_DOOR") == "" {
		t.Skip("only as a process beside the one that a benchmark measures")
	}
	if err := Second(lang.English); err != nil {
		t.Error(err)
	}
}

// BenchmarkInspect asks 200 times a second for 4 kB, in turn without and with a
// door, and tells the 50th and 99th per cent of each.
func BenchmarkInspect(b *testing.B) {
	body := []byte(strings.Repeat(`{"Id":"0123456789"},`, 205))
	engine := fake(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	socket, _ := alone(b, engine)
	clients := [2]*http.Client{client(b, engine), client(b, socket)}
	var took [2][]time.Duration
	every := time.NewTicker(time.Second / 400) // two in turn
	defer every.Stop()
	for b.Loop() {
		for range 2000 {
			for i, c := range clients {
				<-every.C
				began := time.Now()
				if res, _ := get(b, c, "/v1.41/containers/web1/json"); res.StatusCode != 200 {
					b.Fatal(res.Status)
				}
				took[i] = append(took[i], time.Since(began))
			}
		}
	}
	for i, name := range []string{"bare", "door"} {
		slices.Sort(took[i])
		for _, p := range []int{50, 90, 99} {
			b.ReportMetric(float64(took[i][len(took[i])*p/100].Microseconds()), fmt.Sprintf("µs-%s-p%d", name, p))
		}
	}
}

// BenchmarkStream sends a GiB each way, in turn without and with a door, and
// tells GB/s of each.
func BenchmarkStream(b *testing.B) {
	const size = 1 << 30
	block := make([]byte, 32<<10) // what io.Copy writes, and so dockerd
	engine := fake(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/images/load":
			io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 32<<10))
		case "/images/get":
			for range size / len(block) {
				w.Write(block)
			}
		default:
			conn, in, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
			io.CopyBuffer(struct{ io.Writer }{io.Discard}, in, make([]byte, 32<<10))
		}
	}))
	socket, pid := alone(b, engine)
	sockets := [2]string{engine, socket}
	for _, c := range []struct {
		name string
		run  func(socket string)
	}{
		{"down", func(socket string) {
			res, err := client(b, socket).Get("http://d/images/get")
			if err != nil {
				b.Fatal(err)
			}
			defer res.Body.Close()
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, block); n != size || err != nil {
				b.Fatal(n, err)
			}
		}},
		{"up", func(socket string) {
			res, err := client(b, socket).Post("http://d/images/load", "application/x-tar", io.LimitReader(zeros{}, size))
			if err != nil {
				b.Fatal(err)
			}
			res.Body.Close()
		}},
		{"stdin", func(socket string) {
			conn := dial(b, socket)
			io.WriteString(conn, "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
			for range size / len(block) {
				if _, err := conn.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took [2]time.Duration
			n, used := 0, processorTime(b, pid)
			for b.Loop() {
				for i, socket := range sockets {
					began := time.Now()
					c.run(socket)
					took[i] += time.Since(began)
				}
				n++
			}
			b.ReportMetric(float64(n)*size/took[0].Seconds()/1e9, "GB/s-bare")
			b.ReportMetric(float64(n)*size/took[1].Seconds()/1e9, "GB/s-door")
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
			b.ReportMetric((processorTime(b, pid)-used).Seconds()/float64(n), "cpu-s-door")
		})
	}
}

// processorTime is what a process has used: fields 14 and 15 of
// proc_pid_stat(5), in hundredths of a second.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(fields[14-3])
	system, err2 := strconv.Atoi(fields[15-3])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkEngine has a real engine send and take a GiB, in turn without and
// with a door.
func BenchmarkEngine(b *testing.B) {
	e := realdocker.Start(b)
	img := e.Image("busy")
	e.Docker("run", "--name", "big", img, "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=1024")
	e.Docker("run", "-d", "--name", "takes", img, "sleep", "6000")
	socket, _ := alone(b, e.Socket)
	docker := func(socket string, stdin io.Reader, args ...string) {
		cmd := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(e.Root, "cli"), "DOCKER_CONTEXT=")
		cmd.Stdin = stdin
		if out, err := cmd.StdoutPipe(); err != nil || cmd.Start() != nil {
			b.Fatal(err)
		} else if _, err := io.Copy(io.Discard, out); err != nil || cmd.Wait() != nil {
			b.Fatalf("docker %v: %v", args, err)
		}
	}
	for _, c := range []struct {
		name string
		run  func(socket string)
	}{
		{"cp-from", func(s string) { docker(s, nil, "cp", "big:/big", "-") }},
		{"export", func(s string) { docker(s, nil, "export", "big") }},
		{"stdin", func(s string) {
			docker(s, io.LimitReader(zeros{}, 1<<30), "exec", "-i", "takes", "sh", "-c", "cat >/dev/null")
		}},
		{"stdout", func(s string) { docker(s, nil, "exec", "takes", "head", "-c", "1073741824", "/dev/zero") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.run(e.Socket) // what it reads is in memory then
			var took [2]time.Duration
			for b.Loop() {
				for i, s := range [2]string{e.Socket, socket} {
					began := time.Now()
					c.run(s)
					took[i] += time.Since(began)
				}
			}
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
			b.ReportMetric(took[0].Seconds()/float64(b.N), "s-bare")
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// BenchmarkOpenStreams holds a thousand hijacked streams open that have all
// carried something, and tells the memory of the door's process.
func BenchmarkOpenStreams(b *testing.B) {
	engine := raw(b, func(c *net.UnixConn) {
		if _, err := http.ReadRequest(bufio.NewReaderSize(c, 512)); err == nil {
			io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n")
			io.Copy(c, c)
		}
	})
	socket, pid := alone(b, engine)
	empty := resident(b, pid)
	var conns []*net.UnixConn
	for b.Loop() {
		for range 1000 {
			conn := dial(b, socket)
			conn.SetDeadline(time.Now().Add(time.Minute))
			io.WriteString(conn, "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello")
			for in := bufio.NewReaderSize(conn, 64); ; {
				if c, err := in.ReadByte(); err != nil {
					b.Fatal(err)
				} else if c == 'h' {
					break
				}
			}
			conns = append(conns, conn)
		}
		b.ReportMetric(float64(resident(b, pid)-empty)/1024, "MiB")
		for _, c := range conns {
			c.Close()
		}
		conns = nil
	}
	b.ReportMetric(float64(empty)/1024, "MiB-empty")
}

// resident is the memory of a process, in KiB: VmRSS of proc_pid_status(5).
func resident(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest + " 0")[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
