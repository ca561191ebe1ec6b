package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/api"
	hostdaemon "casco/host/daemon"
	"casco/host/daemonjson"
	"casco/host/gate"
	"casco/host/nft"
	"casco/internal/doorway"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/store"
)

func guardOffCmd(a *app) *cobra.Command {
	var network bool
	cmd := a.manual.verb(&cobra.Command{
		Use:  "off",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.guardOff(cmd.Context(), network) },
	}, lang.Text{
		En: "Give the engine its socket back and take the plugin out, with everything else dead; for root",
		Es: "Devuelve al motor su socket y quita el complemento, aunque todo lo demás haya muerto; para root",
	}, lang.Text{
		En: "The way out. Give the engine its public socket back, and take door and plugin out of daemon.json and systemd's drop-in: to the byte, as the " +
			"change recorded it, or without its record by what can be known. It asks neither the guard nor the policy nor the engine, needs no ledger and no room on " +
			"the disk, and nothing restarts. What it cannot do it says, with the command that remains. It stands in the ledger; if that cannot be written to, as soon as it can.\n\n" +
			"With --network the network rules go too, of this engine's host and containers; a guard that does not answer is ended for it.\n\n" +
			"Exit codes: 0 off, 1 something remains, 4 you are not root.",
		Es: "La salida. Devuelve al motor su socket público y quita puerta y complemento de daemon.json y del archivo de systemd: al byte, como lo registró el " +
			"cambio, o sin su registro por lo que se pueda saber. No pregunta a la guardia, ni a la política, ni al motor, no necesita el registro ni espacio en " +
			"disco, y nada se reinicia. Lo que no puede hacer lo dice, con la orden que queda. Consta en el registro; si no se puede escribir en él, en cuanto se pueda.\n\n" +
			"Con --network se van también las reglas de red, del anfitrión y de los contenedores de este motor; para ello se termina una guardia que no responde.\n\n" +
			"Códigos de salida: 0 apagada, 1 queda algo, 4 usted no es root.",
	})
	cmd.Flags().BoolVar(&network, "network", false, "")
	a.manual.flag(cmd.Flags(), "network", lang.Text{En: "take the network rules away too", Es: "quita también las reglas de red"})
	return cmd
}

// offTime bounds all of it: an engine that was told to read its file is waited
// for.
const offTime = time.Minute

// guardOff does everything that it can, whatever of it fails.
func (a *app) guardOff(ctx context.Context, network bool) error {
	if os.Geteuid() != 0 {
		return refused(lang.Errorf(lang.Text{En: "only root may", Es: "solo puede root"}), "")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), offTime)
	defer cancel()
	address, err := engineAddress(a.host)
	if err != nil {
		return err
	}
	d := a.doorSetter(socketOf(address))
	rec, wiring := a.wired(ctx, d)
	open := a.doorOpen(d, wiring)
	// The file first: a guard that wakes up takes its socket again as long as that
	// wants it.
	errs := []error{api.WriteDoor(d.file, api.Door{}), api.WriteGlass(api.GlassFile(a.statePath), api.Glass{}), doorway.Return(d.socket)}
	down, err := wiring.Unwire(ctx)
	errs = append(errs, err, noPlugin(wiring.Plugin))
	answered := a.tellGuard(ctx, d)
	rules := false
	if network {
		rules, err = a.networkOff(ctx, d.socket, answered)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		a.loud(ctx, "off", fmt.Sprintf("by %s %s, not all of it: %v", operator(), terminal(), err))
		return err
	}
	a.closeRecord(ctx, rec)
	var what []string
	if open {
		what = append(what, "door and plugin")
	}
	if rules {
		what = append(what, "network rules")
	}
	if len(what) == 0 {
		fmt.Fprintln(a.out, lang.Text{En: "nothing was to be done: all was off already", Es: "no había nada que hacer: todo estaba ya apagado"}.In(a.lang))
	} else {
		a.loud(ctx, "off", fmt.Sprintf("%s, by %s %s", strings.Join(what, ", "), operator(), terminal()))
	}
	return a.sayOff(ctx, d.socket, down)
}

// doorOpen reports whether there is anything of a door to be taken away, or it
// cannot be told.
func (a *app) doorOpen(d doorSetter, w daemonjson.Wiring) bool {
	door, doorErr := api.ReadDoor(d.file)
	glass, glassErr := api.ReadGlass(api.GlassFile(a.statePath))
	if doorErr != nil || glassErr != nil || door != (api.Door{}) || glass != (api.Glass{}) || w.Wired() {
		return true
	}
	for _, path := range []string{doorway.Behind(d.socket), daemonjson.PluginSocket(w.Plugin)} {
		if _, err := os.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

func (a *app) sayOff(ctx context.Context, socket string, down bool) error {
	switch err := ping(ctx, socket); {
	case err == nil:
		fmt.Fprintln(a.out, lang.Text{
			En: "off: the engine answers at %s itself, and asks no plugin of casco's", Es: "apagada: el motor responde él mismo en %s, y no pregunta a ningún complemento de casco",
		}.F(socket).In(a.lang))
		return nil
	case down:
		fmt.Fprintln(a.out, lang.Text{
			En: "off: the engine is down, and will start without casco; what remains: systemctl start docker", Es: "apagada: el motor está caído, y arrancará sin casco; lo que queda: systemctl start docker",
		}.In(a.lang))
		return nil
	default:
		return coded{exitTrouble, lang.Errorf(lang.Text{
			En: "door and plugin are off, and the engine at %s does not answer: %w", Es: "puerta y complemento están apagados, y el motor en %s no responde: %w",
		}, socket, err), "systemctl restart docker"}
	}
}

// wired is the change that put the engine behind the door, nil if its record
// cannot be read, and what there is to take back.
func (a *app) wired(ctx context.Context, d doorSetter) (*apply.Record, daemonjson.Wiring) {
	dirs, _ := os.ReadDir(filepath.Join(a.statePath, "changes"))
	var found *apply.Record
	var wiring daemonjson.Wiring
	var begun time.Time
	for _, dir := range dirs {
		rec, err := a.state().Record(dir.Name())
		if err != nil || rec.Begun.Before(begun) {
			continue // one that cannot be read may not be ours
		}
		for _, done := range rec.Done {
			var u doorUndo
			if done.Undone || rec.Plan.Steps[done.Step].Hand != doorHand || json.Unmarshal(done.Undo, &u) != nil || u.Wiring.Socket != d.socket {
				continue
			}
			found, wiring, begun = rec, u.Wiring, rec.Begun
		}
	}
	if found == nil {
		wiring = d.wiring.Found(ctx, d.socket, pluginName(d.socket))
	}
	return found, wiring
}

// closeRecord keeps the change from going back once more by itself. Whether it
// can be saved, and told to the ledger, matters to nobody who needs the way out.
func (a *app) closeRecord(ctx context.Context, rec *apply.Record) {
	if rec == nil || !rec.Reversible() || len(rec.Plan.Steps) > 1 {
		return
	}
	for i := range rec.Done {
		rec.Done[i].Undone = true
	}
	rec.State, rec.Why, rec.Ended = apply.RolledBack, "casco guard off by "+operator(), time.Now().UTC()
	_ = a.state().Save(rec)
	_ = a.noteWithin(ctx, a.changed(rec, rec.Why))
}

// tellGuard has a guard that answers close its doors, and reports whether it
// did. One that does not has lost them all the same.
func (a *app) tellGuard(ctx context.Context, d doorSetter) bool {
	ctx, cancel := context.WithTimeout(ctx, guardTime)
	defer cancel()
	err := d.client.Reload(ctx)
	if err != nil && !errors.Is(err, api.ErrNoGuard) {
		a.tell(lang.Text{
			En: "the guard does not answer; its sockets are used no more, and it may be ended: %v", Es: "la guardia no responde; sus sockets ya no se usan, y se la puede terminar: %v",
		}, err)
	}
	return err == nil
}

// networkOff takes the rules out of the kernel: those of the host and of each
// container of the engine at a socket, and reports whether there were any. A guard that answers lets go of them itself,
// for rules that a process owns nobody else may remove; one that does not is
// ended.
func (a *app) networkOff(ctx context.Context, socket string, answered bool) (some bool, err error) {
	mode, modeErr := api.ReadMode(api.ModeFile(a.statePath))
	some = mode.Enforce || modeErr != nil
	err = os.Remove(api.ModeFile(a.statePath)) // no file is: count, drop nothing
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if answered {
		return some, errors.Join(err, api.NewClient(a.runPath).Reload(ctx))
	}
	if pid, perr := doorway.Peer(api.Socket(a.runPath)); perr == nil && pid != os.Getpid() {
		a.tell(lang.Text{En: "the guard, process %d, is ended", Es: "se termina la guardia, proceso %d"}, pid)
		unix.Kill(pid, unix.SIGKILL)
		for range 100 { // its descriptors, and with them its rules, are freed as it ends
			if _, serr := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "fd")); serr != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	spaces, serr := a.spacesOf(socket)
	errs := []error{err, serr}
	seen := map[uint64]bool{}
	for _, path := range spaces {
		var st unix.Stat_t
		var fsys unix.Statfs_t
		if unix.Stat(path, &st) != nil || unix.Statfs(path, &fsys) != nil || fsys.Type != unix.NSFS_MAGIC || seen[st.Ino] {
			continue // it has ended, or is known
		}
		seen[st.Ino] = true
		made, err := noRules(path)
		some, errs = some || made, append(errs, err)
	}
	return some, errors.Join(errs...)
}

// spacesOf are the network namespaces that are of the engine at a socket: where
// its process is, or this one if it has none; those of its containers by their
// runtime's states; and those that it keeps. Where nobody ever wrote down where
// that is, a process of the engine is asked for.
func (a *app) spacesOf(socket string) ([]string, error) {
	pid := os.Getpid()
	var at layout
	b, err := os.ReadFile(a.layoutFile())
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err == nil && at.Address != "unix://"+plainSocket(socket) {
		err = lang.Errorf(lang.Text{En: "%s is of the engine at %s", Es: "%s es del motor en %s"}, a.layoutFile(), at.Address)
	}
	if d, derr := hostdaemon.Settings(doorway.Socket(socket)); derr == nil {
		if p, _, ok := inventory.DaemonPid.Of(d); ok {
			pid = int(p)
		}
		if root, _, ok := inventory.DaemonExecRoot.Of(d); ok && err != nil {
			at.under(root)
			err = nil
		}
	}
	if err != nil || at.Sandboxes == "" {
		return nil, lang.Errorf(lang.Text{
			En: "where the containers of the engine at %s are is not known, so network rules stay; what remains, in each namespace: nft delete table inet casco; nft delete table netdev casco: %w",
			Es: "no se sabe dónde están los contenedores del motor en %s, así que las reglas de red quedan; lo que queda, en cada espacio: nft delete table inet casco; nft delete table netdev casco: %w",
		}, socket, cmp.Or(err, errNotYet))
	}
	out := []string{netOf(pid)}
	for _, root := range at.Roots {
		running, err := gate.Running(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return out, err
		}
		for _, s := range running {
			out = append(out, netOf(s.PID))
		}
	}
	kept, _ := filepath.Glob(filepath.Join(at.Sandboxes, "*"))
	return append(out, kept...), nil
}

func netOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "ns/net") }

// noRules takes our rules out of a namespace, if there are any. The host's are of
// one guard, though there be several engines in its namespace: those that the
// guard of another one holds, and lives, stay (EPERM).
func noRules(path string) (made bool, err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return false, nil // its last process has ended
	}
	defer ns.Close()
	h, err := nft.OpenHost(ns)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	defer h.Close()
	made, err = h.Made()
	if err == nil && made {
		err = h.Remove()
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return false, nil
	case err != nil:
		return made, fmt.Errorf("%s: %w", path, err)
	}
	return made, nil
}

// unsaidName is the file of what the ledger could not be told. It lies in the
// state directory, or, if that cannot be written to, in that of the sockets,
// which is in memory.
const unsaidName = "unsaid.jsonl"

func (a *app) unsaidFiles() []string {
	return []string{filepath.Join(a.statePath, unsaidName), filepath.Join(a.runPath, unsaidName)}
}

// noteWithin writes into the ledger, and does not wait for one that is held by
// who is stopped.
func (a *app) noteWithin(ctx context.Context, e store.Event) error {
	done := make(chan error, 1)
	go func() {
		own := &app{in: a.in, out: a.out, err: a.err, lang: a.lang, statePath: a.statePath, runPath: a.runPath}
		err := own.note(ctx, e)
		done <- errors.Join(err, own.close())
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return lang.Errorf(lang.Text{En: "the ledger is held by another process", Es: "otro proceso retiene el registro"})
	}
}

// leaveMark keeps an event for the ledger.
func (a *app) leaveMark(e store.Alert) error {
	e.Text += " (at " + time.Now().UTC().Format(time.RFC3339) + ", written down later)"
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range a.unsaidFiles() {
		err := appendLine(path, b)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func appendLine(path string, line []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := f.Write(append(line, '\n'))
	if err == nil {
		err = f.Sync()
	} else if n > 0 {
		_ = f.Truncate(0) // half a line is none, and the disk is full
	}
	return errors.Join(err, f.Close())
}

// catchUp tells the ledger what it could not be told.
func (a *app) catchUp(ctx context.Context, b *book) error {
	for _, path := range a.unsaidFiles() {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var events []store.Event
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			var e store.Alert
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = store.Alert{Ref: doorRef.String(), What: "break-glass unread", Text: strings.ToValidUTF8(lines.Text(), "?")}
			}
			events = append(events, e)
		}
		if _, err := b.store.Write(context.WithoutCancel(ctx), operator(), slices.Clip(events)...); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
