package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"casco/api"
	"casco/host/daemon"
	"casco/host/daemonjson"
	"casco/internal/doorway"
	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// doorRef is the object that stands for the guard's door.
var doorRef = inventory.Ref{Kind: inventory.Guard, Name: "door"}

// doorHand is the name of the hand that puts an engine behind the door.
const doorHand = "door"

// pluginName is the name of the plugin of the engine whose public socket that
// is, without links: each engine of a host has a guard of its own.
func pluginName(socket string) string {
	if socket == "/run/docker.sock" {
		return "casco"
	}
	sum := sha256.Sum256([]byte(socket))
	return "casco-" + hex.EncodeToString(sum[:4])
}

// plainSocket is the path without links: /var/run is /run.
func plainSocket(path string) string {
	if at, err := filepath.EvalSymlinks(path); err == nil && path != "" {
		return at
	}
	if at, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil && path != "" {
		return filepath.Join(at, filepath.Base(path))
	}
	return path
}

func doorMeans() []plan.Means {
	var out []plan.Means
	for _, field := range []string{inventory.GuardDoor.Path, inventory.GuardPlugin.Path} {
		out = append(out, plan.Means{
			Kind: inventory.Guard, Field: field, Hand: doorHand, Cost: plan.Reload,
			Undo: lang.Text{
				En: "The engine gets its socket back and daemon.json its bytes; nothing restarts.", Es: "El motor recupera su socket y daemon.json sus bytes; nada se reinicia.",
			},
			Reads: []string{inventory.GuardRunning.Path},
			Refuse: func(s *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
				if running, _, _ := inventory.GuardRunning.Of(o); !running {
					return lang.Text{
						En: "No guard is at work: start it first, casco guard units | sh.", Es: "No hay ninguna guardia en marcha: arránquela antes, casco guard units | sh.",
					}
				}
				if d := askedEngine(s); d != nil {
					return daemonjson.RefuseDoor(d)
				}
				return lang.Text{En: "No engine was asked.", Es: "No se consultó ningún motor."}
			},
			Shows: func(s *inventory.Snapshot, _ *inventory.Object) []plan.Set { return doorDiff(askedEngine(s)) },
		})
	}
	return out
}

// askedEngine is the engine that the snapshot is of, nil if none answered.
func askedEngine(s *inventory.Snapshot) *inventory.Object {
	for _, d := range s.Of(inventory.Daemon) {
		if _, _, asked := inventory.DaemonVersion.Of(d); asked {
			return d
		}
	}
	return nil
}

func doorDiff(engine *inventory.Object) []plan.Set {
	socket := plainSocket(doorway.Name(engine.Ref.Name))
	return daemonjson.DoorDiff(engine, socket, pluginName(socket))
}

// doorObject is what there is to say of the door: what is wanted, by the file,
// and what a request meets that is sent to see. A door that a guard was only told
// on its command line is one beside the engine's socket, and not before it.
func (g guardSource) doorObject(ctx context.Context, s *inventory.Snapshot, st api.Status, running bool) (*inventory.Object, error) {
	want, err := api.ReadDoor(g.door)
	if err != nil {
		return nil, err
	}
	o := &inventory.Object{Ref: doorRef, Source: g.door, Read: time.Now().UTC(), Fields: map[string]any{
		inventory.GuardRunning.Path: running, inventory.GuardDoor.Path: want.Socket != "", inventory.GuardPlugin.Path: want.Plugin != "",
	}}
	if st.Door != nil {
		glass := ""
		if st.Door.Glass != nil {
			glass = st.Door.Glass.Until.Format(time.RFC3339)
		}
		o.Fields[inventory.GuardGlass.Path] = glass
	}
	if !running || want.Socket == "" {
		return o, nil
	}
	judged, err := probeDoor(ctx, g.client, want)
	if err != nil {
		o.Unread = map[string]string{"Judged": err.Error()}
		return o, nil
	}
	o.Sources = map[string]string{"Judged": "requests that were sent to see", "Past": "/proc/PID/root", "Glass": "GET /v1/status"}
	o.Fields["Judged"] = judged
	o.Fields[inventory.GuardPast.Path] = past(s, want.Socket)
	o.Fields[inventory.GuardOthers.Path] = others(s)
	return o, nil
}

// probeDoor sends requests to see which are judged. A whole URL in the first line
// is refused by the door and answered by an engine, so whose answer it is does
// not rest on anybody's word; that the plugin was asked, the guard counts.
func probeDoor(ctx context.Context, client *api.Client, at api.Door) (map[string]any, error) {
	st, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	door := false
	if at.Socket != "" {
		pid, err := doorway.Peer(at.Socket)
		if err != nil {
			return nil, err
		}
		status, err := askWhole(ctx, at.Socket)
		if err != nil {
			return nil, err
		}
		door = pid == st.ProcessID && status == http.StatusBadRequest
		if reached, err := reachable(doorway.Behind(at.Socket), at.GID); err != nil {
			return nil, err
		} else if reached {
			door = false // whoever is in the group need not pass it
		}
	}
	plugin, err := pluginAsked(ctx, client, at.Socket)
	return map[string]any{"Door": door, "Plugin": plugin}, err
}

// askWhole sends a request whose line has a whole URL, and returns the status of
// the answer.
func askWhole(ctx context.Context, socket string) (int, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprint(c, "GET http://engine.invalid/_ping HTTP/1.1\r\nHost: engine.invalid\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	var status int
	_, err = fmt.Fscanf(c, "HTTP/1.1 %d", &status)
	return status, err
}

// pluginAsked has the engine asked past the door, and says whether it asked the
// plugin.
func pluginAsked(ctx context.Context, client *api.Client, socket string) (bool, error) {
	asked := func() (uint64, error) {
		st, err := client.Status(ctx)
		if err != nil || st.Door == nil {
			return 0, err
		}
		return st.Door.AtPlugin, nil
	}
	before, err := asked()
	if err != nil {
		return false, err
	}
	if err := ping(ctx, doorway.Socket(socket)); err != nil {
		return false, err
	}
	after, err := asked()
	return after > before, err
}

// ping asks the engine at exactly that socket whether it is there.
func ping(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return lang.Errorf(lang.Text{En: "the engine answers %s", Es: "el motor responde %s"}, res.Status)
	}
	return nil
}

// nobody is the user that owns nothing (Debian policy 9.2.2).
const nobody = 65534

// reachable tries whether a user who is only in that group could connect to
// socket. It takes the rights of the thread alone: credentials(7), and the thread
// ends with it.
func reachable(socket string, gid int) (bool, error) {
	type said struct {
		reached bool
		err     error
	}
	out := make(chan said, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no other use
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
			out <- said{err: os.NewSyscallError("setgroups", e)}
			return
		}
		if err := errors.Join(unix.Setfsgid(gid), unix.Setfsuid(nobody)); err != nil {
			out <- said{err: err}
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			out <- said{err: os.NewSyscallError("socket", err)}
			return
		}
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		switch {
		case err == nil || errors.Is(err, unix.EAGAIN):
			out <- said{reached: true}
		case errors.Is(err, unix.EACCES):
			out <- said{}
		default:
			out <- said{err: &os.PathError{Op: "connect", Path: socket, Err: err}}
		}
	}()
	s := <-out
	return s.reached, s.err
}

// past are the running containers that hold the engine's own socket: they were
// given it before the door was there, and reach the engine past it until they
// are started again. The plugin judges them.
func past(s *inventory.Snapshot, socket string) []any {
	out := []any{}
	engine, err := os.Stat(doorway.Behind(socket))
	if err != nil {
		return out
	}
	for _, c := range s.Of(inventory.Container) {
		pid, _, ok := inventory.Pid.Of(c)
		if !ok || pid == 0 {
			continue
		}
		mounts, _, _ := inventory.Mounts.Of(c)
		if slices.ContainsFunc(mounts, func(m any) bool {
			at, _ := m.(map[string]any)["Destination"].(string)
			from, _ := m.(map[string]any)["Source"].(string)
			inside := filepath.Join("/proc", fmt.Sprint(pid), "root", at)
			if rest, under := strings.CutPrefix(doorway.Behind(socket), strings.TrimSuffix(from, "/")+"/"); under {
				inside = filepath.Join(inside, rest)
			}
			held, err := os.Stat(inside)
			return err == nil && os.SameFile(engine, held)
		}) {
			out = append(out, c.Ref.Name)
		}
	}
	return out
}

// others are the addresses of the engine's API over TCP: what comes there passes
// no door, and is judged by the plugin.
func others(s *inventory.Snapshot) []any {
	out := []any{}
	for _, d := range s.Of(inventory.Daemon) {
		if _, _, asked := inventory.DaemonVersion.Of(d); !asked {
			continue
		}
		ls, _, _ := inventory.DaemonListeners.Of(d)
		for _, l := range ls {
			if m, ok := l.(map[string]any); ok && m["Proto"] == "tcp" && m["Role"] == "api" {
				out = append(out, fmt.Sprintf("tcp %v", net.JoinHostPort(fmt.Sprint(m["Addr"]), fmt.Sprint(m["Port"]))))
			}
		}
	}
	return out
}

// A doorSetter is the hand that puts an engine behind the guard's door, and has
// it ask the guard as its plugin.
type doorSetter struct {
	client *api.Client
	file   string // of the door
	socket string // the engine's public one
	wiring *daemonjson.Hand
}

type doorUndo struct {
	Wiring daemonjson.Wiring `json:"wiring"`
	Was    api.Door          `json:"was"`
}

func (a *app) doorSetter(socket string) doorSetter {
	socket = plainSocket(socket)
	return doorSetter{api.NewClient(a.runPath), api.DoorFile(a.statePath), socket, daemonjson.New(daemon.Look)}
}

// Prepare reads how the engine is started and what its files say.
func (d doorSetter) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	if _, err := d.client.Status(ctx); err != nil {
		return nil, err
	}
	if err := d.asShown(ctx, st); err != nil {
		return nil, err
	}
	var u doorUndo
	var err error
	if u.Was, err = api.ReadDoor(d.file); err != nil {
		return nil, err
	}
	if u.Wiring, err = d.wiring.PrepareDoor(ctx, d.socket, pluginName(d.socket)); err != nil {
		return nil, err
	}
	return json.Marshal(u)
}

// asShown wants what was approved to be what it comes to now.
func (d doorSetter) asShown(ctx context.Context, st plan.Step) error {
	o, err := daemon.Look(ctx, d.socket)
	if err != nil {
		return err
	}
	is, err1 := json.Marshal(daemonjson.DoorDiff(o, d.socket, pluginName(d.socket)))
	shown, err2 := json.Marshal(st.Shows)
	if err := errors.Join(err1, err2); err != nil || bytes.Equal(is, shown) {
		return err
	}
	return lang.Errorf(lang.Text{En: "what it takes is not what was approved any more: plan anew", Es: "lo que hace falta ya no es lo que se aprobó: planifique de nuevo"})
}

// Do opens door and plugin, tells the engine of them, and tries whether requests
// are judged. The engine need not be restarted.
func (d doorSetter) Do(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var u doorUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return err
	}
	at := api.Door{Socket: d.socket, Plugin: u.Wiring.Plugin}
	info, err := os.Stat(d.socket)
	if err != nil {
		return err
	}
	at.GID = int(info.Sys().(*syscall.Stat_t).Gid)
	if err := api.WriteDoor(d.file, at); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.client.Reload(ctx); err != nil {
		return err
	}
	asked := func(ctx context.Context) (bool, error) { return pluginAsked(ctx, d.client, d.socket) }
	if err := d.wiring.Wire(ctx, u.Wiring, asked); err != nil {
		return err
	}
	judged, err := probeDoor(ctx, d.client, at)
	if err == nil && judged["Door"] != true {
		err = lang.Errorf(lang.Text{En: "a request at %s is not judged", Es: "una petición en %s no se juzga"}, d.socket)
	}
	if err != nil {
		return err
	}
	return ping(ctx, d.socket)
}

// Undo brings the files back, and gives the engine its socket. The guard may be
// dead, and so may the engine.
func (d doorSetter) Undo(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	var u doorUndo
	if err := json.Unmarshal(undo, &u); err != nil {
		return err
	}
	_, err := u.Wiring.Unwire(ctx)
	return errors.Join(err, d.leave(ctx, u.Was))
}

// leave closes the doors, except those that were open before.
func (d doorSetter) leave(ctx context.Context, was api.Door) error {
	if err := api.WriteDoor(d.file, was); err != nil {
		return err
	}
	var err error
	if was.Socket == "" {
		err = doorway.Return(d.socket)
	}
	ctx, cancel := context.WithTimeout(ctx, guardTime)
	defer cancel()
	if reload := d.client.Reload(ctx); reload != nil && !errors.Is(reload, api.ErrNoGuard) {
		err = errors.Join(err, reload)
	}
	if was.Plugin == "" {
		err = errors.Join(err, noPlugin(pluginName(d.socket)))
	}
	return err
}

// noPlugin removes the socket of a plugin that nobody asks any more, if its guard
// has not: on every engine of the host "docker volume ls" waits 15 s for one that
// does not answer.
func noPlugin(name string) error {
	err := os.Remove(daemonjson.PluginSocket(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// guardTime is how long a guard may take that is told to close its doors: one
// that is stopped would take for ever.
const guardTime = 5 * time.Second

// printDoor says where requests are judged, and before all if they are let
// through.
func (a *app) printDoor(d *api.DoorStatus) {
	if d == nil {
		return
	}
	if g := d.Glass; g != nil {
		fmt.Fprintln(a.out, lang.Text{
			En: "BREAK-GLASS: until %s requests are observed and NOT refused, by %s: %s", Es: "CRISTAL ROTO: hasta %s las peticiones se observan y NO se rechazan, por %s: %s",
		}.F(g.Until.Format("2006-01-02 15:04:05Z"), clean(g.By), clean(g.Why)).In(a.lang))
	}
	fmt.Fprintln(a.out, lang.Text{
		En: "requests are judged at %s (%d) and as plugin %s (%d)", Es: "las peticiones se juzgan en %s (%d) y como complemento %s (%d)",
	}.F(d.Socket, d.AtDoor, d.Plugin, d.AtPlugin).In(a.lang))
	if d.Full > 0 {
		fmt.Fprintln(a.out, lang.Text{
			En: "%d requests were refused because they, or those before them, take too much room", Es: "%d peticiones se rechazaron porque ellas, o las de antes, ocupan demasiado",
		}.F(d.Full).In(a.lang))
	}
}
