package daemonjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/internal/doorway"
	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// A Wiring is how an engine is told of casco's door and of its plugin: what is
// written, and what was there before. It survives JSON.
//
// The plugin goes into daemon.json, and the engine takes it on SIGHUP. That the
// engine is to listen behind the door from its next start on goes there too
// (hosts), or, where systemd makes its socket, into a drop-in of that socket
// unit. Its socket of now is moved by who opens the door; nothing restarts.
type Wiring struct {
	Socket string           `json:"socket"` // the public one
	Plugin string           `json:"plugin"` // name
	File   atomicfile.Saved `json:"file"`
	New    []byte           `json:"new"` // the file with it
	DropIn atomicfile.Saved `json:"drop_in,omitzero"`
	Unit   []byte           `json:"unit,omitempty"` // the drop-in; nil for none
	Launch launch           `json:"launch"`
}

// pluginDir is where an engine looks for plugins: moby, pkg/plugins, socketsPath.
const pluginDir = "/run/docker/plugins"

// PluginSocket is where the engine asks the plugin of that name.
func PluginSocket(name string) string { return filepath.Join(pluginDir, name+".sock") }

// dropInHeader is the first line of our drop-in.
const dropInHeader = `# File of casco: the engine listens behind its door. "casco guard off" takes it away.`

// dropIn is for a socket unit: ListenStream stays as it is, for systemd gives a
// socket up whose address is no longer in its unit; it is moved once it is made.
// Until then root alone may connect.
func dropIn(socket string) []byte {
	behind := doorway.Behind(socket)
	return fmt.Appendf(nil, `%s
[Socket]
SocketMode=0600
ExecStartPost=/bin/mkdir -p -m 0700 %s
ExecStartPost=/bin/mv -f -T %s %s
`, dropInHeader, filepath.Dir(behind), socket, behind)
}

func dropInPath(unit string) string {
	return filepath.Join("/etc/systemd/system", unit+".d", "casco.conf")
}

// RefuseDoor says why engine o cannot be put behind a door, or nothing. It is
// pure.
func RefuseDoor(o *inventory.Object) lang.Text {
	if why := refuseEngine(o); !why.Empty() {
		return why
	}
	from, _, _ := inventory.Field[map[string]any]{Kind: inventory.Daemon, Path: "EffectiveFrom"}.Of(o)
	if from["authorization-plugins"] == "flag" {
		return onCommandLine(o, "authorization-plugins")
	}
	if from["hosts"] == "flag" && socketUnit(o) == "" {
		return onCommandLine(o, "hosts")
	}
	return lang.Text{}
}

// socketUnit is the name of the systemd unit that makes the socket of o, "" if
// it makes it itself.
func socketUnit(o *inventory.Object) string {
	unit, _, _ := inventory.DaemonUnit.Of(o)
	path, _ := unit["SocketPath"].(string)
	hosts, _, _ := inventory.Field[[]string]{Kind: inventory.Daemon, Path: "Effective.hosts"}.Of(o)
	if path == "" || !slices.Contains(hosts, "fd://") {
		return ""
	}
	return filepath.Base(path)
}

// DoorDiff is what putting engine o, which is known by socket, behind a door
// changes: keys of its daemon.json, a drop-in of the unit that makes its socket,
// and who listens where. It is pure.
func DoorDiff(o *inventory.Object, socket, plugin string) []plan.Set {
	file, _, _ := inventory.DaemonConfigFile.Of(o)
	from, _, _ := inventory.Field[map[string]any]{Kind: inventory.Daemon, Path: "EffectiveFrom"}.Of(o)
	key := func(name string, to func(list any) []any) plan.Set {
		var is any
		if from[name] == "file" {
			is, _, _ = inventory.Lookup(o, "Effective."+name)
		}
		return plan.Set{Field: file + ": " + name, From: is, To: to(is)}
	}
	out := []plan.Set{key("authorization-plugins", func(l any) []any { return with(l, plugin) })}
	if unit := socketUnit(o); unit != "" {
		out = append(out, plan.Set{Field: dropInPath(unit), To: string(dropIn(socket))})
	} else {
		out = append(out, key("hosts", func(l any) []any { return hostsBehind(l, socket) }))
	}
	return append(
		out, plan.Set{Field: "engine", From: socket, To: doorway.Behind(socket)},
		plan.Set{Field: "door", To: socket}, plan.Set{Field: "plugin", To: PluginSocket(plugin)},
	)
}

// PrepareDoor reads what it takes to put the engine at socket behind a door and
// have it ask plugin, and proves what can be proved without doing it.
func (h *Hand) PrepareDoor(ctx context.Context, socket, plugin string) (Wiring, error) {
	w := Wiring{Socket: socket, Plugin: plugin}
	o, err := h.Look(ctx, socket)
	if err != nil {
		return w, err
	}
	if why := RefuseDoor(o); !why.Empty() {
		return w, lang.Errorf(why)
	}
	if w.File, err = fileOf(o); err != nil {
		return w, err
	}
	if w.Launch, err = launchOf(ctx, o); err != nil {
		return w, err
	}
	conf, err := decode(w.File.Data)
	if err != nil {
		return w, fmt.Errorf("%s: %w", w.File.Path, err)
	}
	changes := []Change{{"authorization-plugins", with(conf["authorization-plugins"], plugin)}}
	if unit := socketUnit(o); unit != "" {
		w.Unit = dropIn(socket)
		if w.DropIn, err = atomicfile.Save(dropInPath(unit)); err != nil {
			return w, err
		}
		if w.DropIn.Exists && !bytes.HasPrefix(w.DropIn.Data, []byte(dropInHeader)) {
			return w, lang.Errorf(lang.Text{En: "%s: is not casco's", Es: "%s: no es de casco"}, w.DropIn.Path)
		}
	} else {
		changes = append(changes, Change{"hosts", hostsBehind(conf["hosts"], socket)})
	}
	if w.New, err = Edit(w.File.Data, changes...); err != nil {
		return w, behind(w.File.Path+":", err)
	}
	exe, args, env, err := program(w.Launch.Pid)
	if err != nil {
		return w, err
	}
	return w, placed(validateBytes(ctx, exe, args, env, w.New), w.File)
}

// with is a list of daemon.json with one more entry.
func with(list any, entry string) []any {
	l, _ := listOf(list)
	if slices.Contains(l, any(entry)) {
		return l
	}
	return append(slices.Clone(l), entry)
}

// hostsBehind are the hosts of a daemon.json with the public socket's place
// taken by the one behind. Without the key an engine listens on its default one.
func hostsBehind(list any, socket string) []any {
	l, _ := listOf(list)
	out := []any{"unix://" + doorway.Behind(socket)}
	for _, h := range l {
		if path, ok := strings.CutPrefix(fmt.Sprint(h), "unix://"); !ok || !sameSocket(path, socket) && path != doorway.Behind(socket) {
			out = append(out, h)
		}
	}
	return out
}

// Wire does it. The plugin must answer already: an engine that is told of one
// that is not there ends itself (measured on 20.10). Asked reports whether the
// engine has begun to ask it.
func (h *Hand) Wire(ctx context.Context, w Wiring, asked func(context.Context) (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, err := atomicfile.Save(w.File.Path)
	if err != nil {
		return err
	}
	if now.Exists != w.File.Exists || !bytes.Equal(now.Data, w.File.Data) {
		return lang.Errorf(lang.Text{En: "%s was changed since it was prepared", Es: "%s cambió desde que se preparó"}, w.File.Path)
	}
	if err := activate(ctx, w.Plugin); err != nil {
		return err
	}
	if w.Unit != nil {
		if err := os.MkdirAll(filepath.Dir(w.DropIn.Path), 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(w.DropIn.Path, w.Unit, newMode); err != nil {
			return err
		}
		if err := reloadUnits(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := atomicfile.Write(w.File.Path, w.New, newMode); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	offset := w.Launch.logSize()
	if err := signalEngine(w.Socket, w.Launch.writer()); err != nil {
		return err
	}
	ok, err := wait(ctx, reloadTime, func() (bool, error) { return asked(ctx) })
	if err == nil && !ok {
		err = lang.Errorf(lang.Text{
			En: "the engine does not ask the plugin %s after SIGHUP: %s", Es: "el motor no pregunta al complemento %s después de SIGHUP: %s",
		}, w.Plugin, w.Launch.logTail(offset))
	}
	return err
}

// activate calls the plugin as an engine does that meets it.
func activate(ctx context.Context, plugin string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	path := PluginSocket(plugin)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/Plugin.Activate", nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err == nil {
		defer res.Body.Close()
		var said struct{ Implements []string }
		if err = json.NewDecoder(res.Body).Decode(&said); err == nil && slices.Contains(said.Implements, "authz") {
			return nil
		}
	}
	return lang.Errorf(lang.Text{
		En: "the plugin does not answer at %s, and an engine that is told of it would end: %v",
		Es: "el complemento no responde en %s, y un motor al que se le diga terminaría: %v",
	}, path, err)
}

func reloadUnits(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "systemctl", "daemon-reload").CombinedOutput(); err != nil {
		return lang.Errorf(lang.Text{En: "systemctl daemon-reload: %w: %s", Es: "systemctl daemon-reload: %w: %s"}, err, bytes.TrimSpace(out))
	}
	return nil
}

// signalEngine sends SIGHUP to the engine at socket. It asks the engine nothing,
// which may be waiting for a plugin that is dead. Otherwise is the process that
// its pid file names: of a socket that systemd made, systemd is the peer.
func signalEngine(socket string, otherwise int) error {
	pid := otherwise
	if pid == 0 {
		peer, err := doorway.Peer(doorway.Socket(socket))
		if err != nil {
			return lang.Errorf(lang.Text{En: "engine at %s: %w", Es: "motor en %s: %w"}, socket, err)
		}
		pid = peer
	}
	comm, err := os.ReadFile(procPath(pid, "comm"))
	if err != nil {
		return err
	}
	if name := strings.TrimSpace(string(comm)); !strings.HasPrefix(name, "dockerd") {
		return lang.Errorf(lang.Text{
			En: "process %d at %s is %s, not dockerd", Es: "el proceso %d en %s es %s, no dockerd",
		}, pid, socket, name)
	}
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		return lang.Errorf(lang.Text{En: "reload the engine, process %d: %w", Es: "recargar el motor, proceso %d: %w"}, pid, err)
	}
	return nil
}

// Wired reports whether any of it is in the files, or they cannot be read.
func (w Wiring) Wired() bool {
	if b, err := os.ReadFile(w.DropIn.Path); err == nil && bytes.HasPrefix(b, []byte(dropInHeader)) {
		return true
	}
	now, err := os.ReadFile(w.File.Path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	_, ours, err := without(now, w.Socket, w.Plugin)
	return ours || err != nil
}

// Unwire brings back the files as they were, to the byte, and has the engine
// read them; what somebody changed since stays, without what is ours. It asks
// nobody but the kernel, so it works when guard and engine are dead; then it has
// nobody to signal, and Down is true. It may be called twice.
func (w Wiring) Unwire(ctx context.Context) (down bool, err error) {
	var errs []error
	if w.Unit != nil {
		errs = append(errs, giveBack(w.DropIn, func(now []byte) ([]byte, bool, error) {
			return w.DropIn.Data, bytes.HasPrefix(now, []byte(dropInHeader)), nil
		}))
		_ = os.Remove(filepath.Dir(w.DropIn.Path)) // if nothing else is in it
		if _, err := os.Stat("/run/systemd/system"); err == nil {
			errs = append(errs, reloadUnits(ctx))
		}
	}
	errs = append(errs, giveBack(w.File, func(now []byte) ([]byte, bool, error) {
		if bytes.Equal(now, w.New) {
			return w.File.Data, true, nil
		}
		return without(now, w.Socket, w.Plugin)
	}))
	down, err = reread(ctx, w.Socket, w.Launch.writer())
	return down, errors.Join(append(errs, err)...)
}

// reread has the engine read its file again, and waits until it answers. One
// that is down reads it when it starts.
func reread(ctx context.Context, socket string, pid int) (down bool, err error) {
	if pid == 0 && !doorway.Listens(doorway.Socket(socket)) {
		return true, nil
	}
	if err := signalEngine(socket, pid); err != nil {
		return false, err
	}
	e := dial(socket)
	ok, err := wait(ctx, reloadTime, func() (bool, error) { return e.answers(ctx), nil })
	if err == nil && !ok {
		err = lang.Errorf(lang.Text{
			En: "the engine was told to read its file (SIGHUP) and does not answer within %v; what remains: restart it",
			Es: "se le dijo al motor que leyera su archivo (SIGHUP) y no responde en %v; lo que queda: reinícielo",
		}, reloadTime)
	}
	return false, err
}

// giveBack makes the file what it was if change says so of what it is now. A
// disk that is full keeps nobody out: then the old bytes are written over the
// new ones, which were more.
func giveBack(was atomicfile.Saved, change func(now []byte) (to []byte, ours bool, err error)) error {
	now, err := os.ReadFile(was.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to, ours, err := change(now)
	if err != nil || !ours {
		return err
	}
	if was.Exists && bytes.Equal(to, was.Data) || !was.Exists && to == nil {
		err = was.Restore()
	} else {
		err = atomicfile.Write(was.Path, to, newMode)
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return overwrite(was.Path, to)
	}
	return err
}

// overwrite needs no new block where to is no longer than the file.
func overwrite(path string, to []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(to, 0)
	return errors.Join(err, f.Truncate(int64(len(to))), f.Sync(), f.Close())
}

// without is a daemon.json without what puts its engine behind a door; ours
// reports whether there was any of it. Whether a key with nothing but the
// default was there before nobody can know: it goes.
func without(now []byte, socket, plugin string) (to []byte, ours bool, err error) {
	conf, err := decode(now)
	if err != nil {
		return nil, false, err
	}
	var changes []Change
	plugins, _ := listOf(conf["authorization-plugins"])
	if i := slices.Index(plugins, any(plugin)); i >= 0 {
		changes = append(changes, Change{"authorization-plugins", orNone(slices.Delete(slices.Clone(plugins), i, i+1))})
	}
	hosts, _ := listOf(conf["hosts"])
	if i := slices.Index(hosts, any("unix://"+doorway.Behind(socket))); i >= 0 {
		hosts = slices.Clone(hosts)
		if hosts[i] = "unix://" + socket; len(hosts) == 1 && isDefault(socket) {
			hosts = nil
		}
		changes = append(changes, Change{"hosts", orNone(hosts)})
	}
	if changes == nil {
		return now, false, nil
	}
	to, err = Edit(now, changes...)
	return to, true, err
}

func orNone(l []any) any {
	if len(l) == 0 {
		return nil
	}
	return l
}

// isDefault: where an engine listens that is told nothing; /var/run is /run.
func isDefault(socket string) bool {
	return socket == "/run/docker.sock" || socket == "/var/run/docker.sock"
}

// Found is what can be known of a Wiring that nobody has the record of: the
// daemon.json that the engine at socket names, or else the usual one, and the
// drop-in of the usual unit if it is ours.
func (h *Hand) Found(ctx context.Context, socket, plugin string) Wiring {
	w := Wiring{Socket: socket, Plugin: plugin, File: atomicfile.Saved{Path: "/etc/docker/daemon.json"}}
	unit := "docker.socket"
	if o, err := h.Look(ctx, socket); err == nil {
		if path, _, ok := inventory.DaemonConfigFile.Of(o); ok {
			w.File.Path = path
		}
		w.Launch.PidFile, _, _ = inventory.Field[string]{Kind: inventory.Daemon, Path: "Effective.pidfile"}.Of(o)
		if name := socketUnit(o); name != "" {
			unit = name
		}
	}
	w.DropIn.Path = dropInPath(unit)
	if b, err := os.ReadFile(w.DropIn.Path); err == nil && bytes.HasPrefix(b, []byte(dropInHeader)) {
		w.Unit = b
	}
	return w
}
