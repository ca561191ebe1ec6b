package authz

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/internal/apicall"
	"casco/internal/handtest"
	"casco/internal/realdocker"
	"casco/lang"
)

// role is the variable that says what this program is in place of the tests: a
// plugin at the socket that it names, or the second of one.
const role = "CASCO_AUTHZ"

func TestMain(m *testing.M) {
	switch at := os.Getenv(role); at {
	case "":
		realdocker.Main(m)
	case "second":
		if err := Second(lang.English); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Setenv(role, "second")
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		cfg := Config{
			Second: []string{os.Args[0]}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Time: 10 * time.Second,
			Judge: judge{head: func(r apicall.Request) apicall.Verdict {
				if strings.Contains(r.URI, "/containers/slow") {
					time.Sleep(time.Second)
				}
				return apicall.Verdict{Allow: true, Stream: true}
			}},
		}
		if err := Serve(ctx, at, cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// TestStopped: a plugin that is stopped is answered for within seconds, with a
// refusal: what the engine asks then, and what it had asked before. When the
// plugin goes on, it answers again; when it is killed, nobody is left.
func TestStopped(t *testing.T) {
	handtest.NeedRoot(t)
	name := fmt.Sprintf("casco-stopped-%d", os.Getpid())
	path := filepath.Join(filepath.Dir(Path), name+".sock")
	said, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	plugin := exec.Command(os.Args[0])
	plugin.Env = append(os.Environ(), role+"="+path)
	plugin.Stderr = w
	plugin.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer os.Remove(path)
	defer func() { plugin.Process.Kill(); plugin.Wait() }()
	for range 500 {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	e := realdocker.Start(t, "--dockerd-arg", "--authorization-plugin="+name)
	defer e.Stop() // before its plugin
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", e.Socket)
	}}}
	get := func(path string) (string, time.Duration) {
		began := time.Now()
		res, err := c.Get("http://d" + path)
		if err != nil {
			return err.Error(), time.Since(began)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.Status + " " + string(b), time.Since(began)
	}
	if got, _ := get("/_ping"); got != "200 OK OK" {
		t.Fatal(got)
	}
	for round := range 2 {
		slow := make(chan string, 1)
		go func() {
			got, d := get("/containers/slow/json")
			slow <- fmt.Sprintf("%s after %v", got, d)
		}()
		time.Sleep(300 * time.Millisecond) // it is being judged
		handtest.Stop(t, plugin.Process.Pid)
		for _, path := range []string{"/_ping", "/containers/json", "/_ping"} {
			got, d := get(path)
			t.Logf("stopped, %s: %s after %v", path, strings.TrimSpace(got), d)
			if !strings.HasPrefix(got, "403") || !strings.Contains(got, "guard does not answer") || d > 8*time.Second {
				t.Errorf("stopped, %s: %s after %v", path, got, d)
			}
		}
		select {
		case got := <-slow:
			t.Logf("asked before: %s", strings.TrimSpace(got))
			if !strings.HasPrefix(got, "403") {
				t.Errorf("what was being judged when the plugin was stopped: %s", got)
			}
		case <-time.After(20 * time.Second):
			t.Error("what was being judged when the plugin was stopped is never answered")
		}
		if round == 0 {
			plugin.Process.Signal(syscall.SIGCONT)
			var got string
			for range 100 {
				if got, _ = get("/_ping"); got == "200 OK OK" {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if got != "200 OK OK" {
				t.Errorf("it goes on: %s", got)
			}
		}
	}
	// All that held the pipe is gone when it ends: the plugin, and its second.
	plugin.Process.Kill()
	over := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(said)
		over <- string(b)
	}()
	select {
	case log := <-over:
		if !strings.Contains(log, "stood still") || strings.Contains(log, "ended, and is started again") {
			t.Errorf("the plugin said: %s", log)
		}
	case <-time.After(10 * time.Second):
		t.Error("a process of the plugin is left")
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("somebody still takes connections")
	}
}
