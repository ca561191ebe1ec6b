package daemonjson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
	"casco/internal/procs"
	"casco/lang"
	"casco/loop/inventory"
)

// Who starts an engine.
const (
	bySystemd = "systemd" // it runs in a unit
	byScript  = "script"  // Debian's /etc/init.d/docker wrote the pid file that names it
	byHand    = "hand"    // anybody: it is started again as it was
)

// The init script of Debian's docker.io and Docker's own docker-ce, and the pid
// file of its start-stop-daemon.
const (
	initScript  = "/etc/init.d/docker"
	initPidfile = "/var/run/docker-ssd.pid"
)

// A launch is how an engine was started: enough to do it again after it, and
// we, are gone.
type launch struct {
	By      string // bySystemd, byScript, byHand
	Unit    string `json:",omitempty"`
	Pid     int
	Started uint64 // field 22 of /proc/PID/stat: with the pid it names the process for ever
	PidFile string // where the engine writes its pid

	// Only of byHand.
	Exe     string           `json:",omitempty"`
	Args    []string         `json:",omitempty"`
	Env     []string         `json:",omitempty"`
	Dir     string           `json:",omitempty"`
	NetNS   string           `json:",omitempty"` // "" if it is ours
	Output  [2]string        `json:",omitzero"`  // files of stdout and stderr, "" if they are none
	OOM     string           `json:",omitempty"`
	Limits  map[int][2]int64 `json:",omitempty"` // setrlimit(2): soft, hard; -1 unlimited
	Cgroups []string         `json:",omitempty"` // lines of /proc/PID/cgroup
}

// launchOf reads how the engine o was started. An engine that could not be
// started in the same way again is an error.
func launchOf(ctx context.Context, o *inventory.Object) (launch, error) {
	pid64, fact, ok := inventory.DaemonPid.Of(o)
	if !ok {
		return launch{}, errors.New(fact.Err)
	}
	pid := int(pid64)
	started, err := startOf(pid)
	if err != nil {
		return launch{}, err
	}
	l := launch{Pid: pid, Started: started}
	l.PidFile, _, _ = inventory.Field[string]{Kind: inventory.Daemon, Path: "Effective.pidfile"}.Of(o)
	unit, _, _ := inventory.DaemonUnit.Of(o)
	if name, _ := unit["Name"].(string); name != "" {
		l.By, l.Unit = bySystemd, name
		return l, mainOf(ctx, name, pid)
	}
	if ownedByScript(pid) {
		l.By = byScript
		return l, nil
	}
	l.By = byHand
	return l, l.readProcess()
}

// mainOf makes sure that the unit's main process is the engine: to restart a
// unit that merely contains it would stop somebody else.
func mainOf(ctx context.Context, unit string, pid int) error {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=MainPID", "--value", "--", unit).Output()
	if err != nil {
		return lang.Errorf(lang.Text{En: "systemctl show %s: %w", Es: "systemctl show %s: %w"}, unit, withStderr(err))
	}
	if main := strings.TrimSpace(string(out)); main != strconv.Itoa(pid) {
		return lang.Errorf(lang.Text{
			En: "unit %s has main process %s, and the engine is process %d: how to restart it is not known",
			Es: "la unidad %s tiene por proceso principal %s, y el motor es el proceso %d: no se sabe cómo reiniciarlo",
		}, unit, main, pid)
	}
	return nil
}

func ownedByScript(pid int) bool {
	b, err := os.ReadFile(initPidfile)
	_, missing := os.Stat(initScript)
	return err == nil && missing == nil && strings.TrimSpace(string(b)) == strconv.Itoa(pid)
}

// readProcess reads what is needed to start the process again.
func (l *launch) readProcess() (err error) {
	for _, ns := range []string{"mnt", "pid", "user"} {
		if same, err := sameNamespace(l.Pid, ns); err != nil {
			return err
		} else if !same {
			return lang.Errorf(lang.Text{
				En: "the engine lives in another %s namespace, in which it could not be started again; run casco inside it",
				Es: "el motor vive en otro espacio de nombres %s, en el que no se lo podría iniciar de nuevo; ejecute casco dentro de él",
			}, ns)
		}
	}
	if l.NetNS, err = netnsOf(l.Pid); err != nil {
		return err
	}
	if l.Exe, err = os.Readlink(procPath(l.Pid, "exe")); err != nil {
		return err
	}
	l.Exe = strings.TrimSuffix(l.Exe, " (deleted)") // upgraded below it: the new one is started
	if l.Dir, err = os.Readlink(procPath(l.Pid, "cwd")); err != nil {
		return err
	}
	for name, into := range map[string]*[]string{"cmdline": &l.Args, "environ": &l.Env} {
		b, err := os.ReadFile(procPath(l.Pid, name))
		if err != nil {
			return err
		}
		if b = bytes.TrimSuffix(b, []byte{0}); len(b) > 0 {
			*into = strings.Split(string(b), "\x00")
		}
	}
	l.readRest()
	return nil
}

// readRest reads what makes the new process like the old one, and without
// which it still is an engine.
func (l *launch) readRest() {
	for i, fd := range []string{"fd/1", "fd/2"} {
		path, err := os.Readlink(procPath(l.Pid, fd))
		if info, serr := os.Stat(path); err == nil && serr == nil && info.Mode().IsRegular() {
			l.Output[i] = path
		}
	}
	if b, err := os.ReadFile(procPath(l.Pid, "oom_score_adj")); err == nil {
		l.OOM = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile(procPath(l.Pid, "cgroup")); err == nil {
		l.Cgroups = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	l.Limits = map[int][2]int64{}
	for which := unix.RLIMIT_CPU; which <= unix.RLIMIT_RTTIME; which++ { // 0 to 15, all that Linux has
		var lim unix.Rlimit
		if unix.Prlimit(l.Pid, which, nil, &lim) == nil {
			l.Limits[which] = [2]int64{int64(lim.Cur), int64(lim.Max)} // RLIM_INFINITY is all ones
		}
	}
}

func procPath(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

func sameNamespace(pid int, name string) (bool, error) {
	theirs, err := os.Readlink(procPath(pid, "ns/"+name))
	if err != nil {
		return false, err
	}
	ours, err := os.Readlink("/proc/self/ns/" + name)
	return theirs == ours, err
}

// netnsOf is the path of the network namespace of a process, "" if it is ours.
// Only one with a name outlives its last process: ip-netns(8).
func netnsOf(pid int) (string, error) {
	if same, err := sameNamespace(pid, "net"); err != nil || same {
		return "", err
	}
	theirs, err := os.Stat(procPath(pid, "ns/net"))
	if err != nil {
		return "", err
	}
	for _, dir := range []string{"/run/netns", "/run/docker/netns"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if info, err := os.Stat(path); err == nil && os.SameFile(info, theirs) {
				return path, nil
			}
		}
	}
	return "", lang.Errorf(lang.Text{
		En: "the engine lives in a network namespace without a name, which would end with it; give it one: ip netns attach NAME PID",
		Es: "el motor vive en un espacio de red sin nombre, que acabaría con él; déle uno: ip netns attach NOMBRE PID",
	})
}

// startOf is field 22 of /proc/PID/stat, the start in ticks after boot. A
// zombie is no process.
func startOf(pid int) (uint64, error) {
	s, err := procs.Read(pid)
	if err == nil && !s.Alive() {
		err = lang.Errorf(lang.Text{En: "process %d: %w", Es: "proceso %d: %w"}, pid, fs.ErrNotExist)
	}
	return s.Started, err
}

// alive reports whether the very process still runs.
func (l launch) alive() bool {
	started, err := startOf(l.Pid)
	return err == nil && started == l.Started
}

// writer is the engine that now is in the pid file, 0 if none. It may not
// listen yet.
func (l launch) writer() int {
	b, err := os.ReadFile(l.PidFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0
	}
	if _, err := startOf(pid); err != nil {
		return 0
	}
	if l.Exe != "" {
		if exe, err := os.Readlink(procPath(pid, "exe")); err != nil || strings.TrimSuffix(exe, " (deleted)") != l.Exe {
			return 0 // the number belongs to somebody else by now
		}
	}
	return pid
}

// spawn starts the engine as it was, free of us: a session of its own, its
// output appended to the files that it had. Gone is closed should it end
// before we do.
func (l launch) spawn() (gone <-chan struct{}, err error) {
	cmd := &exec.Cmd{
		Path: l.Exe, Args: l.Args, Env: l.Env, Dir: l.Dir,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil is ours
	}
	for i, stream := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		if l.Output[i] == "" {
			continue // os/exec gives /dev/null
		}
		out, err := os.OpenFile(l.Output[i], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, lang.Errorf(lang.Text{En: "log of the engine: %w", Es: "registro del motor: %w"}, err)
		}
		defer out.Close()
		*stream = out
	}
	if err := inNetNS(l.NetNS, cmd.Start); err != nil {
		return nil, lang.Errorf(lang.Text{En: "start %s: %w", Es: "iniciar %s: %w"}, l.Exe, err)
	}
	l.liken(cmd.Process.Pid)
	// It outlives us. Should it end first, somebody must take its status, or it
	// stays as a zombie and seems to run.
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return ended, nil
}

// liken gives the new process the limits and cgroups of the old one. Where
// that fails the engine runs all the same.
func (l launch) liken(pid int) {
	for which, lim := range l.Limits {
		unix.Prlimit(pid, which, &unix.Rlimit{Cur: uint64(lim[0]), Max: uint64(lim[1])}, nil)
	}
	if l.OOM != "" {
		os.WriteFile(procPath(pid, "oom_score_adj"), []byte(l.OOM), 0)
	}
	now, err := os.ReadFile(procPath(pid, "cgroup"))
	if err != nil {
		return
	}
	for _, line := range l.Cgroups {
		if bytes.Contains(now, []byte(line)) {
			continue
		}
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 {
			join(pid, parts[1], parts[2])
		}
	}
}

// join moves a process into a cgroup: cgroups(7). controllers is "" for the
// unified hierarchy.
func join(pid int, controllers, path string) {
	dirs := []string{filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(controllers, "name="), path)}
	if controllers == "" {
		dirs = []string{filepath.Join("/sys/fs/cgroup/unified", path), filepath.Join("/sys/fs/cgroup", path)}
	}
	for _, dir := range dirs {
		if os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0) == nil {
			return
		}
	}
}

// inNetNS runs f in the network namespace at path, so that what f starts is
// born there.
func inNetNS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	there, err := netns.GetFromPath(path)
	if err == nil {
		defer there.Close()
		var result error
		err = nsenter.Net(there, func() error {
			result = f()
			return nil
		})
		if err == nil {
			return result
		}
	}
	return lang.Errorf(lang.Text{En: "network namespace %s: %w", Es: "espacio de red %s: %w"}, path, err)
}

// withStderr adds what a program complained about.
func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

// logTail is the end of the engine's log from offset on: why it did not start.
func (l launch) logTail(offset int64) string {
	const enough = 8 << 10
	f, err := os.Open(l.Output[1])
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, enough)
	end, err := f.Seek(0, 2)
	if err != nil {
		return ""
	}
	n, _ := f.ReadAt(b, max(offset, end-enough))
	return complaint(string(b[:n]))
}

func (l launch) logSize() int64 {
	if info, err := os.Stat(l.Output[1]); err == nil {
		return info.Size()
	}
	return 0
}

// complaint picks the line of dockerd's output that says why it ended.
func complaint(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for _, mark := range []string{"failed to start daemon", "unable to configure the Docker daemon", "level=fatal", "level=error"} {
		for _, line := range slices.Backward(lines) {
			if i := strings.Index(line, mark); i >= 0 {
				return inventory.MaskText(strings.TrimSpace(line[i:]))
			}
		}
	}
	return inventory.MaskText(strings.TrimSpace(lines[len(lines)-1]))
}
