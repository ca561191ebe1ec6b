package daemonjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// An undo is what Prepare saw and Undo needs, also in another process after a
// crash. It holds the engine's environment, which may have a proxy's password
// in it: it belongs into a file that only root reads.
type undo struct {
	Socket string           `json:"socket"`
	File   atomicfile.Saved `json:"file"`
	New    []byte           `json:"new"` // the file as Do leaves it
	// Was is what the engine ran with, of the keys that are set by a reload.
	Was    map[string]any `json:"was"`
	Launch launch         `json:"launch"`
	// Restart: a reload is not enough.
	Restart bool        `json:"restart"`
	Running []container `json:"running"` // before the change
}

// newMode is of a daemon.json that was not there: CIS Docker Benchmark 1.8.0,
// 3.18 wants 0644 or less.
const newMode = 0o644

// Prepare implements apply.Hand: it reads file and engine, makes the new file
// in memory, and proves it: by what can be judged without running anything, by
// the engine's own check, and by a trial.
func (h *Hand) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	socket := strings.TrimPrefix(st.Ref.Name, "unix://")
	o, err := h.Look(ctx, socket)
	if err != nil {
		return nil, err
	}
	changes, err := changesOf(o, st)
	if err != nil {
		return nil, err
	}
	u := undo{Socket: socket, Was: map[string]any{}}
	if u.File, err = fileOf(o); err != nil {
		return nil, err
	}
	if u.New, err = Edit(u.File.Data, changes...); err != nil {
		return nil, behind(u.File.Path+":", err)
	}
	if u.Launch, err = launchOf(ctx, o); err != nil {
		return nil, err
	}
	if u.Running, err = dial(socket).running(ctx); err != nil {
		return nil, err
	}
	for _, c := range changes {
		u.note(o, c)
	}
	if has(st, "icc") && keepsBridge(o) && len(u.Running) > 0 {
		return nil, lang.Errorf(keptBridge)
	}
	if u.Restart {
		if err := dial(socket).vanishing(ctx, u.Running); err != nil {
			return nil, err
		}
	}
	if err := h.prove(ctx, o, u); err != nil {
		return nil, placed(err, u.File)
	}
	return json.Marshal(u)
}

// changesOf turns the sets of a step into changes of the file, or says why it
// may not.
func changesOf(o *inventory.Object, st plan.Step) ([]Change, error) {
	var out []Change
	for _, s := range st.Sets {
		if why := refuse(nil, o, s.Field); !why.Empty() {
			return nil, lang.Errorf(lang.Text{En: "%s: %s", Es: "%s: %s"}, s.Field, why)
		}
		if err := judgeMasks(s.Field, s.To); err != nil {
			return nil, err
		}
		key, _ := keyOf(s.Field)
		out = append(out, Change{key, named(key, s.To)})
	}
	if len(out) == 0 {
		return nil, lang.Errorf(lang.Text{En: "the step sets nothing", Es: "el paso no ajusta nada"})
	}
	return out, nil
}

// named gives ulimits their Name, which dockerd wants inside them too.
func named(key string, v any) any {
	give := func(name string, v any) any {
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		m = maps.Clone(m)
		m["Name"] = name
		return m
	}
	if name, ok := strings.CutPrefix(key, "default-ulimits."); ok {
		return give(name, v)
	}
	all, ok := v.(map[string]any)
	if key != "default-ulimits" || !ok {
		return v
	}
	out := map[string]any{}
	for name, u := range all {
		out[name] = give(name, u)
	}
	return out
}

// note keeps what the engine runs with now, so that a reload can bring it back.
func (u *undo) note(o *inventory.Object, c Change) {
	key := topOf(c.Key)
	if !slices.Contains(reloadable, key) {
		u.Restart = true
		return
	}
	u.Was[key], _, _ = inventory.Lookup(o, prefix+key)
	if conf, err := decode(u.File.Data); err == nil && conf[key] != nil {
		u.Was[key] = conf[key] // as written: the engine's word may be masked
	}
}

// sameInside compares what is at path for us and for the process. Where there
// is no file yet, the nearest directory above must be the same.
func sameInside(pid int, path string) bool {
	for {
		ours, err1 := os.Stat(path)
		theirs, err2 := os.Stat(filepath.Join(procPath(pid, "root"), path))
		switch {
		case err1 == nil && err2 == nil:
			return os.SameFile(ours, theirs)
		case !errors.Is(err1, fs.ErrNotExist) || !errors.Is(err2, fs.ErrNotExist) || path == "/":
			return false
		}
		path = filepath.Dir(path)
	}
}

// writable refuses a file that the kernel would not let us replace: one made
// immutable or append-only with chattr(1), or on a file system that is mounted
// read-only. A directory that is not there yet is no hindrance.
func writable(path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// Not every file system has such flags: then there is no such hindrance.
		flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		f.Close()
		if err == nil && flags&(fsImmutable|fsAppend) != 0 {
			return hinder("%s is immutable or append-only: somebody protected it (lsattr %[1]s); take that off with: chattr -ia %[1]s",
				"%s es inmutable o de solo anexar: alguien lo protegió (lsattr %[1]s); quítelo con: chattr -ia %[1]s", p)
		}
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK); err != nil && !errors.Is(err, unix.ENOENT) {
		return hinder("%s: its directory cannot be written: %v", "%s: no se puede escribir en su directorio: %v", path, err)
	}
	return nil
}

// Flags of include/uapi/linux/fs.h: FS_IMMUTABLE_FL, FS_APPEND_FL.
const (
	fsImmutable = 0x10
	fsAppend    = 0x20
)

// prove makes sure that the engine would start with the new file. A run prepares
// each step twice: what the same engine, with the same flags, was seen to start
// with is not tried again.
func (h *Hand) prove(ctx context.Context, o *inventory.Object, u undo) error {
	conf, err := decode(u.New)
	if err != nil {
		return fmt.Errorf("%s: %w", u.File.Path, err)
	}
	if err := judge(conf, u.Socket); err != nil {
		return err
	}
	exe, args, env, err := program(u.Launch.Pid)
	if err != nil {
		return err
	}
	root, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: "DataRoot.Path"}.Of(o)
	settings := withFlags(o, conf)
	tried, err := json.Marshal([]any{u.Launch.Pid, u.Launch.Started, args, settings, root})
	if err != nil || bytes.Equal(tried, h.tried) {
		return err
	}
	if err := validateBytes(ctx, exe, args, env, u.New); err != nil {
		return err
	}
	h.log("trying the new settings on a second engine", "socket", u.Socket)
	if err := try(ctx, exe, env, settings, root); err != nil {
		return err
	}
	h.tried = tried
	return nil
}

func program(pid int) (exe string, args, env []string, err error) {
	if exe, err = os.Readlink(procPath(pid, "exe")); err != nil {
		return "", nil, nil, err
	}
	cmdline, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return "", nil, nil, err
	}
	environ, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return "", nil, nil, err
	}
	return strings.TrimSuffix(exe, " (deleted)"), words(cmdline), words(environ), nil
}

func words(b []byte) []string {
	if b = bytes.TrimSuffix(b, []byte{0}); len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

func validateBytes(ctx context.Context, exe string, args, env []string, file []byte) error {
	f, err := os.CreateTemp("", trialPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(file)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return validate(ctx, exe, args, env, f.Name())
}

// withFlags adds to the file what the command line says, under the names of
// the file: the trial gets all its settings by one file.
func withFlags(o *inventory.Object, conf map[string]any) map[string]any {
	out := maps.Clone(conf)
	from, _, _ := inventory.Field[map[string]any]{Kind: inventory.Daemon, Path: "EffectiveFrom"}.Of(o)
	for key, source := range from {
		if v, _, ok := inventory.Lookup(o, prefix+key); ok && source == "flag" {
			out[key] = v
		}
	}
	return out
}
