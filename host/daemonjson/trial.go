package daemonjson

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// A trial is a second dockerd that is started with the new settings to see
// whether it would come up, and is thrown away. It has its own data, sockets
// and mounts, and a network namespace of its own, because dockerd rewrites the
// firewall of the one it starts in. It shares the real engine's containerd,
// under another containerd namespace, in which it sees no container.
type trial struct {
	exe      string
	env      []string
	settings map[string]any // of daemon.json
	run      string         // its sockets; short, for a socket's path ends at 107 bytes: unix(7)
	data     string         // on the file system of the real data root, so that the same storage driver works
	out      bytes.Buffer   // what it said
}

const trialPrefix = "casco-trial-"

// own are the settings that belong to one engine and not to its behaviour, and
// those that name an interface or an address of the real namespace.
var own = []string{
	"data-root", "graph", "exec-root", "pidfile", "hosts", "bridge", "metrics-addr", "containerd-namespace",
	"containerd-plugin-namespace", "containerd-plugins-namespace", "swarm-default-advertise-addr", "host-gateway-ip", "cluster-advertise", "cluster-store",
}

// try starts the trial and stops it. The error is what the engine would
// complain about; nil says that it came up and would make a container.
func try(ctx context.Context, exe string, env []string, settings map[string]any, dataRoot string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	sweep("/run")
	t := &trial{exe: exe, env: slices.DeleteFunc(slices.Clone(env), notifies)}
	if t.run, err = os.MkdirTemp("/run", trialPrefix+strconv.Itoa(os.Getpid())+"-"); err != nil {
		return lang.Errorf(lang.Text{En: "trial: %w", Es: "ensayo: %w"}, err)
	}
	defer os.RemoveAll(t.run)
	if t.data, err = scratch(dataRoot, t.run); err != nil {
		return lang.Errorf(lang.Text{En: "trial: %w", Es: "ensayo: %w"}, err)
	}
	defer os.RemoveAll(t.data)
	t.settings = t.adapt(settings)
	if err := t.writeConfig(); err != nil {
		return lang.Errorf(lang.Text{En: "trial: %w", Es: "ensayo: %w"}, err)
	}
	return t.inOwnNetwork(func() error { return t.live(ctx) })
}

// notifies: a variable by which systemd ties a process to its unit.
func notifies(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return name == "NOTIFY_SOCKET" || strings.HasPrefix(name, "LISTEN_") || strings.HasPrefix(name, "WATCHDOG_") || name == "INVOCATION_ID"
}

// scratch makes a directory for data in the data root's own tmp, which dockerd
// empties when it starts; or beside the sockets if there is none.
func scratch(dataRoot, run string) (string, error) {
	tmp := filepath.Join(dataRoot, "tmp")
	if info, err := os.Stat(tmp); dataRoot == "" || err != nil || !info.IsDir() {
		tmp = run
	} else {
		sweep(tmp)
	}
	return os.MkdirTemp(tmp, trialPrefix+strconv.Itoa(os.Getpid())+"-")
}

// sweep removes what a trial left whose casco was killed.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, trialPrefix+"*"))
	for _, path := range left {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), trialPrefix), "-")
		pid, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if _, err := startOf(pid); errors.Is(err, fs.ErrNotExist) {
			os.RemoveAll(path)
		}
	}
}

// adapt are the settings with the trial's own places.
func (t *trial) adapt(settings map[string]any) map[string]any {
	out := maps.Clone(settings)
	for _, key := range own {
		delete(out, key)
	}
	if settings["bridge"] == "none" {
		out["bridge"] = "none"
	}
	hosts := []string{"unix://" + t.socket()}
	if settings["tls"] == true || settings["tlsverify"] == true {
		hosts = append(hosts, "tcp://127.0.0.1:2376") // without it dockerd does not look at the certificates
	}
	maps.Copy(out, map[string]any{
		"hosts": hosts, "data-root": t.data, "exec-root": filepath.Join(t.run, "x"), "pidfile": filepath.Join(t.run, "pid"),
	})
	return out
}

func (t *trial) socket() string { return filepath.Join(t.run, "s") }
func (t *trial) config() string { return filepath.Join(t.run, "c.json") }

func (t *trial) writeConfig() error {
	b, err := json.Marshal(t.settings)
	if err != nil {
		return err
	}
	return os.WriteFile(t.config(), b, 0o600)
}

// inOwnNetwork runs f on a thread in a new network namespace, with its
// loopback up. The thread must not be used again, and ends with its goroutine;
// the namespace ends with what f started.
func (t *trial) inOwnNetwork(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread() // it still is where it was
			done <- lang.Errorf(lang.Text{En: "trial: network namespace: %w", Es: "ensayo: espacio de red: %w"}, err)
			return
		}
		if err := loopbackUp(); err != nil {
			done <- lang.Errorf(lang.Text{En: "trial: loopback: %w", Es: "ensayo: loopback: %w"}, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// loopbackUp: netdevice(7).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// live starts the engine, asks it what it would be asked, and ends it. It runs
// on the locked thread to the end: Pdeathsig, by which the engine dies with us,
// is bound to the thread that started it (prctl(2)).
func (t *trial) live(ctx context.Context) error {
	// By flags: of the second, 20.10 knows the key under another name than it reads.
	cmd := exec.Command(t.exe, "--config-file", t.config(),
		"--containerd-namespace", "casco-trial", "--containerd-plugins-namespace", "plugins.casco-trial")
	cmd.Env, cmd.Stdout, cmd.Stderr = t.env, &t.out, &t.out
	cmd.WaitDelay = 5 * time.Second // for a child of its that keeps the output open
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL,
		Unshareflags: syscall.CLONE_NEWNS, // its mounts stay private, and vanish with it
	}
	if err := cmd.Start(); err != nil {
		return lang.Errorf(lang.Text{En: "trial: %w", Es: "ensayo: %w"}, err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	err := t.ask(ctx, ended)
	end(cmd.Process, ended)
	if errors.Is(err, errEnded) { // its output is complete only now
		return lang.Errorf(lang.Text{En: "the engine would not start with it: %s", Es: "el motor no arrancaría con ello: %s"}, complaint(t.out.String()))
	}
	return err
}

// end stops the trial and all that it started.
func end(p *os.Process, ended <-chan struct{}) {
	p.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(5 * time.Second): // it has no containers to wait for
	}
	syscall.Kill(-p.Pid, syscall.SIGKILL)
	<-ended
}

var errEnded = lang.Errorf(lang.Text{En: "the trial engine ended", Es: "el motor de ensayo terminó"})

func (t *trial) ask(ctx context.Context, ended <-chan struct{}) error {
	e := dial(t.socket())
	ok, err := wait(ctx, trialTime, func() (bool, error) {
		select {
		case <-ended:
			return false, errEnded
		default:
			return e.answers(ctx), nil
		}
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) || err == nil && !ok:
		return lang.Errorf(lang.Text{
			En: "an engine started with it does not answer within %v",
			Es: "un motor iniciado con ello no responde en %v",
		}, trialTime)
	case err != nil:
		return err
	}
	return t.create(ctx, e)
}

// create makes a container of an empty image, and does not start it: that is
// when dockerd looks at the log driver and its options. Both are taken away
// again: an engine that keeps its images in containerd would leave them there.
func (t *trial) create(ctx context.Context, e *engine) error {
	empty(ctx, e) // of a trial that was killed
	defer empty(context.WithoutCancel(ctx), e)
	var layer bytes.Buffer
	if err := tar.NewWriter(&layer).Close(); err != nil {
		return err
	}
	res, err := e.send(ctx, http.MethodPost, "/images/create?fromSrc=-&repo=casco-trial&tag=1", &layer, "application/x-tar")
	if err != nil {
		return lang.Errorf(lang.Text{En: "the trial engine cannot make an image: %w", Es: "el motor de ensayo no puede crear una imagen: %w"}, err)
	}
	var progress bytes.Buffer
	_, err = progress.ReadFrom(res.Body)
	res.Body.Close()
	if err != nil || strings.Contains(progress.String(), `"error"`) {
		return lang.Errorf(lang.Text{
			En: "the trial engine cannot make an image: %v %s",
			Es: "el motor de ensayo no puede crear una imagen: %v %s",
		}, err, strings.TrimSpace(progress.String()))
	}
	if err := e.call(ctx, http.MethodPost, "/containers/create", map[string]any{"Image": "casco-trial:1", "Cmd": []string{"x"}}, nil); err != nil {
		return lang.Errorf(lang.Text{En: "no container could be made with it: %w", Es: "no se podría crear ningún contenedor con ello: %w"}, err)
	}
	return nil
}

// empty removes all that a trial engine has; nothing of the real one is in its
// containerd namespace. What cannot be removed is no fault of the settings.
func empty(ctx context.Context, e *engine) {
	for _, kind := range []string{"containers", "images"} {
		var have []struct{ Id string }
		if e.call(ctx, http.MethodGet, "/"+kind+"/json?all=1", nil, &have) != nil {
			return
		}
		for _, h := range have {
			_ = e.call(ctx, http.MethodDelete, "/"+kind+"/"+h.Id+"?force=1", nil, nil)
		}
	}
}

// validate asks the engine's own check of a configuration, which exists since
// 23.0, about the file at path beside the engine's command line.
func validate(ctx context.Context, exe string, args, env []string, path string) error {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append(slices.Clone(args[1:]), "--config-file", path, "--validate")...)
	cmd.Env = slices.DeleteFunc(slices.Clone(env), notifies)
	out, err := cmd.CombinedOutput()
	if err == nil || strings.Contains(string(out), "unknown flag: --validate") {
		return nil
	}
	return lang.Errorf(lang.Text{En: "the engine would refuse it: %s", Es: "el motor lo rechazaría: %s"}, complaint(string(out)))
}
