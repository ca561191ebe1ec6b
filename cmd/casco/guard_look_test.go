package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"casco/host/gate"
	"casco/host/spaces"
	"casco/internal/handtest"
	"casco/keeper"
	"casco/policy"
	"casco/store"
)

var lookID = strings.Repeat("0123456789abcdef", 4)

// A lookBench is a looker with one container, as Docker keeps it and as its shim
// has written its bundle.
type lookBench struct {
	*looker
	dir, bundle string
}

func newLookBench(t testing.TB, text string) *lookBench {
	t.Helper()
	b := &lookBench{dir: t.TempDir()}
	b.bundle = filepath.Join(b.dir, "bundle")
	p, problems := policy.ParseFile("p.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n"+text))
	if p == nil {
		t.Fatal(problems)
	}
	g := &guard{a: &app{out: io.Discard, err: io.Discard, statePath: b.dir}, engine: "unix:///run/docker.sock", doorman: &doorman{}, log: slog.New(slog.DiscardHandler)}
	cfg := keeper.Config{Policy: p, Files: spaces.Files(b.dir + "/data/containers"), Roots: []string{b.dir + "/run/moby"}, Host: &spaces.Space{}}
	var err error
	if b.looker, err = newLooker(g, cfg); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../../guard/admission/testdata/config.json")
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, b.bundle+"/config.json", strings.ReplaceAll(strings.ReplaceAll(string(config), "/var/lib/docker/", b.dir+"/data/"), "/srv/src", b.dir+"/src"))
	for _, dir := range []string{"/src", "/data/volumes/v1/_data"} {
		if err := os.MkdirAll(b.dir+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := b.dir + "/data/containers/" + lookID
	b.write(t, at+"/config.v2.json", `{"ID":"`+lookID+`","Name":"/web","Config":{"Image":"a","Labels":{}},"NetworkSettings":{"Networks":{"lan":null}},
		"MountPoints":{"/data":{"Type":"volume","Name":"v1","Source":"`+b.dir+`/data/volumes/v1/_data"}}}`)
	b.write(t, at+"/hostconfig.json", `{"NetworkMode":"lan","Binds":["v1:/data"],"CapAdd":null,"PidsLimit":null}`)
	for _, file := range []string{"/hosts", "/hostname", "/resolv.conf"} {
		b.write(t, at+file, "")
	}
	return b
}

func (b *lookBench) write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *lookBench) call() gate.Start {
	return gate.Start{ID: lookID, Root: b.dir + "/run/moby", Bundle: b.bundle, Verb: "create", Runtime: "/usr/bin/runc"}
}

// TestLooker: what is found is refused or noted with the container's own name, and
// what cannot be looked at as the policy says.
func TestLooker(t *testing.T) {
	for _, mode := range []string{policy.Enforce, policy.Observe} {
		b := newLookBench(t, "admission: {mode: "+mode+"}\n")
		if err := b.Start(t.Context(), b.call()); err != nil || len(b.g.waiting) != 0 {
			t.Errorf("%s: a plain container: %v %v", mode, err, b.g.waiting)
		}
		path := b.bundle + "/config.json"
		var spec map[string]any
		text, _ := os.ReadFile(path)
		if err := json.Unmarshal(text, &spec); err != nil {
			t.Fatal(err)
		}
		spec["mounts"] = append(spec["mounts"].([]any), map[string]any{"destination": "/h", "type": "bind", "source": "/etc", "options": []string{"rbind"}})
		text, _ = json.Marshal(spec)
		b.write(t, path, string(text))
		err := b.Start(t.Context(), b.call())
		if refused := err != nil && strings.Contains(err.Error(), "container-sensitive-mount"); refused != (mode == policy.Enforce) {
			t.Errorf("%s: /etc: %v", mode, err)
		}
		if len(b.g.waiting) == 0 {
			t.Fatalf("%s: nothing is noted", mode)
		}
		d, _ := b.g.waiting[0].(store.Decision)
		if d.Ref != "container/web" || d.By != store.Admission || d.Call == nil || len(d.Call.Refusals) != 1 || d.Call.Refusals[0].Rule != "container-sensitive-mount" || strings.Contains(d.Call.Request, "no engine here") {
			t.Errorf("%s: noted %+v", mode, d)
		}
		other := b.call()
		other.Root, other.Bundle = "/run/containerd/runc/other", b.dir+"/nowhere"
		b.g.waiting = nil
		if err = b.Start(t.Context(), other); err != nil || len(b.g.waiting) != 0 {
			t.Errorf("%s: another engine's: %v, noted %v", mode, err, b.g.waiting)
		}
		other.Way = "wrapper"
		if err = b.Start(t.Context(), other); (err != nil) != (mode == policy.Enforce) || len(b.g.waiting) == 0 {
			t.Errorf("%s: a bundle that is not there: %v, noted %v", mode, err, b.g.waiting)
		}
	}
}

// BenchmarkLooker is what a look adds to "create", and to "start" after it, of a
// container with 30 mounts. The time of processors is what counts on a machine
// that others use.
func BenchmarkLooker(b *testing.B) {
	handtest.NeedRoot(b)
	busybox, err := exec.LookPath("busybox")
	handtest.Need(b, err == nil, "busybox")
	l := newLookBench(b, "admission: {mode: enforce}\n")
	root := l.dir + "/root"
	if err := os.MkdirAll(root, 0o755); err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		b.Fatal(err)
	}
	l.write(b, root+"/busybox", string(program))
	if err := os.Chmod(root+"/busybox", 0o755); err != nil {
		b.Fatal(err)
	}
	script := `cd "$1"; for i in $(seq 30); do mkdir $i && mount -t tmpfs none $i; done; echo ready; exec chroot . /busybox sleep 600`
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		b.Fatal(err)
	}
	if err := l.Start(b.Context(), l.call()); err != nil {
		b.Fatal(err)
	}
	seen := l.looker.made[lookID]
	for _, verb := range []string{"create", "start"} {
		b.Run(verb, func(b *testing.B) {
			began, n := processorTime(b), 0
			for b.Loop() {
				call := l.call()
				if call.Verb = verb; verb == "start" {
					call.PID = cmd.Process.Pid
					l.looker.made = map[string]made{lookID: seen}
				}
				if err := l.Start(b.Context(), call); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(n)/1e6, "cpu-ms/op")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
