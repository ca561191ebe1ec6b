package inits

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/internal/procs"
)

// TestPlaces: whose cgroup a process is in, by the names that engines give.
func TestPlaces(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string][2]string{
		"0::/system.slice/docker-" + id + ".scope\n":              {"/system.slice/docker-" + id + ".scope", id},
		"9:name=systemd:/\n8:pids:/docker/" + id + "\n7:cpu:/\n":  {"/docker/" + id, id},
		"0::/system.slice/cron.service\n":                         {"/system.slice/cron.service", ""},
		"0::/docker/" + id + "/docker/" + strings.Repeat("f", 64): {"/docker/" + id + "/docker/" + strings.Repeat("f", 64), id},
		"nonsense\n": {"", ""},
	} {
		if g := procs.ParseCgroups([]byte(text)); g.Longest != want[0] || g.Container != want[1] {
			t.Errorf("%q: %+v", text, g)
		}
	}
}

// TestTold: what the arguments of processes tell of a container, and that other
// programs' are not taken for them.
func TestTold(t *testing.T) {
	for args, want := range map[string]Maker{
		"/usr/bin/containerd-shim-runc-v2 -namespace default -id web -address /run/containerd/containerd.sock": {ID: "web", Namespace: "default", Containerd: "/run/containerd/containerd.sock"},
		"runc run --bundle /b web":             {ID: "web", Bundle: "/b", Runtime: "/usr/bin/runc"},
		"runc --root /r start web":             {ID: "web", Root: "/r", Runtime: "/usr/bin/runc"},
		"a-tool --root /r run --bundle /b web": {ID: "web", Root: "/r", Bundle: "/b", Runtime: "/opt/a-tool"},
		"a-tool run web":                       {},
		"bash start web":                       {},
		"runc state web":                       {},
		"runc run ../web":                      {},
		"":                                     {},
	} {
		words := strings.Split(args, " ")
		exe := map[string]string{"runc": "/usr/bin/runc", "a-tool": "/opt/a-tool", "bash": "/bin/bash"}[words[0]]
		var got Maker
		got.told(words, exe, "/nowhere")
		if got.ID != want.ID || got.Namespace != want.Namespace || got.Containerd != want.Containerd || got.Root != want.Root || got.Bundle != want.Bundle || got.Runtime != want.Runtime {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// TestExecs: only whole messages of execve count.
func TestExecs(t *testing.T) {
	message := func(what, tgid uint32) []byte {
		b := make([]byte, messageSize+40)
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
		binary.NativeEndian.PutUint32(b[whatAt:], what)
		binary.NativeEndian.PutUint32(b[tgidAt:], tgid)
		return b
	}
	all := slices.Concat(message(execEvent, 7), message(1, 8), message(execEvent, 9))
	if got := execs(all); !slices.Equal(got, []int{7, 9}) {
		t.Errorf("%v", got)
	}
	for n := range all {
		for _, pid := range execs(all[:n]) {
			if pid != 7 && pid != 9 {
				t.Errorf("%d bytes: process %d", n, pid)
			}
		}
	}
	if got := execs(bytes.Repeat([]byte{0xff}, 100)); got != nil {
		t.Errorf("%v", got)
	}
}

// TestWatch: whatever makes a mount namespace with a root of its own is met at
// once, and once; a changed root or a mount namespace alone is no container. By
// the kernel's events, and without them.
func TestWatch(t *testing.T) {
	handtest.NeedRoot(t)
	busybox, err := exec.LookPath("busybox")
	handtest.Need(t, err == nil, "busybox")
	root := t.TempDir()
	name := filepath.Base(root) + "-sleep" // nobody else's
	b, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, name), b, 0o755); err != nil {
		t.Fatal(err)
	}
	events, err := listen()
	handtest.Need(t, err == nil, "process events of the kernel")
	events.Close()

	found := make(chan Init, 100)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- Watch(ctx, func(i Init) {
			if i.Program == "/"+name {
				found <- i
			}
		}, slog.New(slog.DiscardHandler))
	}()
	defer func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}()
	start := func(flags uintptr) *exec.Cmd {
		t.Helper()
		cmd := exec.Command("/"+name, "sleep", "60")
		cmd.Args[0] = "busybox"
		cmd.Path = "/" + name
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	time.Sleep(100 * time.Millisecond) // it listens
	bare := start(0)
	for _, flags := range []uintptr{unix.CLONE_NEWNS, unix.CLONE_NEWNS | unix.CLONE_NEWPID} {
		began := time.Now()
		cmd := start(flags)
		select {
		case i := <-found:
			t.Logf("met after %v", time.Since(began))
			if i.PID != cmd.Process.Pid || !i.Alive() || i.UID != 0 || len(i.Parents) == 0 || i.Parents[0].PID != os.Getpid() {
				t.Errorf("%+v, started %d", i, cmd.Process.Pid)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("flags %x: not met", flags)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if len(found) > 0 {
		t.Errorf("met too: %+v", <-found)
	}
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, i := range all {
		if i.Program == "/"+name {
			n++
		}
		if i.PID == bare.Process.Pid {
			t.Errorf("a changed root alone: %+v", i)
		}
	}
	if n != 2 {
		t.Errorf("%d of 2 are listed", n)
	}
}
