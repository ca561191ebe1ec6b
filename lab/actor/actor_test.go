package actor

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain plays an actor when a test starts this program again as one.
func TestMain(m *testing.M) {
	if os.Getenv("ACTOR") == "1" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// free returns an address of this machine that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// begin starts an actor, and returns when it answers on addr.
func begin(t *testing.T, addr string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "ACTOR=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return cmd
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%v: does not listen", args)
	return nil
}

func TestServers(t *testing.T) {
	for _, c := range []struct{ verb, scheme, want string }{
		{"serve", "", "hello\n"},
		{"http", "http://", "hello\n"},
		{"ssh", "", Banner},
	} {
		t.Run(c.verb, func(t *testing.T) {
			addr := free(t)
			args := []string{c.verb, addr, "hello\n"}
			if c.verb == "ssh" {
				args = args[:2]
			}
			cmd := begin(t, addr, args...)
			var out, trouble bytes.Buffer
			if code := Main([]string{"get", c.scheme + addr}, &out, &trouble); code != 0 || out.String() != c.want {
				t.Errorf("get: %d %q %s, want %q", code, out.String(), &trouble, c.want)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("on SIGTERM: %v, want exit status 0", err)
			}
		})
	}
}

func TestIgnoresTerm(t *testing.T) {
	addr := free(t)
	cmd := begin(t, addr, "-term", "ignore", "ssh", addr)
	cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("ended on SIGTERM: %v", err)
	}
}

func TestKeepsData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db", "rows")
	for _, want := range []string{"data of " + path + "\n", "changed"} {
		if code := Main([]string{"-keep", path, "exit", "0"}, os.Stdout, os.Stderr); code != 0 {
			t.Fatal(code)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
		if err := os.WriteFile(path, []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStatus(t *testing.T) {
	for args, want := range map[string]int{
		"exit 3": 3, "exit 256": 2, "exit": 2, "": 2, "dance": 2, "-term maybe wait": 2,
		fmt.Sprintf("get %s", free(t)): 1, "serve nowhere:x text": 1,
	} {
		var out bytes.Buffer
		if got := Main(strings.Fields(args), &out, &out); got != want {
			t.Errorf("%q: %d, want %d: %s", args, got, want, &out)
		}
	}
}
