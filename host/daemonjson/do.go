package daemonjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/plan"
)

// Do implements apply.Hand. When the engine does not come back with the new
// file, Do itself puts the old one back and starts it again: an engine that is
// down should not have to wait for its caller.
func (h *Hand) Do(ctx context.Context, st plan.Step, raw json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return lang.Errorf(lang.Text{En: "undo of %s: %w", Es: "deshacer %s: %w"}, st.Ref, err)
	}
	now, err := atomicfile.Save(u.File.Path)
	if err != nil {
		return err
	}
	if now.Exists != u.File.Exists || !bytes.Equal(now.Data, u.File.Data) {
		return lang.Errorf(lang.Text{En: "%s was changed since it was prepared", Es: "%s cambió desde que se preparó"}, u.File.Path)
	}
	path, _ := markOf(u, raw)
	if err := atomicfile.Remove(path); err != nil { // an Undo before this Do is no longer the last word
		return err
	}
	if err := h.do(ctx, st, u); err != nil {
		if ctx.Err() == nil && !dial(u.Socket).answers(ctx) {
			back := h.Undo(context.WithoutCancel(ctx), st, raw)
			return errors.Join(err, putBack(back))
		}
		return err
	}
	return nil
}

// putBack says that the old file was put back, and how the engine took it.
func putBack(err error) error {
	if err != nil {
		return lang.Errorf(lang.Text{
			En: "the old daemon.json was put back, and the engine is still not well: %w",
			Es: "se repuso el daemon.json anterior, y el motor sigue sin estar bien: %w",
		}, err)
	}
	return lang.Errorf(lang.Text{
		En: "the old daemon.json was put back, and the engine runs as before",
		Es: "se repuso el daemon.json anterior, y el motor corre como antes",
	})
}

func (h *Hand) do(ctx context.Context, st plan.Step, u undo) error {
	e := dial(u.Socket)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !u.Restart {
		if err := h.reload(ctx, e, u, u.New, explicit(st)); err != nil {
			return err
		}
		return h.verify(ctx, e, st, u)
	}
	// Containers survive the restart if live-restore is on before it. But
	// dockerd changes icc only when none runs.
	early := u.keepsContainers(st)
	if early {
		if err := h.reload(ctx, e, u, u.New, nil); err != nil {
			return err
		}
	} else if err := atomicfile.Write(u.File.Path, u.New, newMode); err != nil {
		return err
	}
	h.log("restarting the engine", "socket", u.Socket, "by", u.Launch.By, "containers", len(u.Running), "live-restore", early)
	if err := u.Launch.restart(ctx, e); err != nil {
		return err
	}
	if err := h.revive(ctx, e, u.Running); err != nil {
		return err
	}
	return h.verify(ctx, e, st, u)
}

// keepsContainers: live-restore can be switched on before the restart.
func (u undo) keepsContainers(st plan.Step) bool {
	return wants(st, "live-restore", true) && len(u.Running) > 0 && !has(st, "icc")
}

func has(st plan.Step, key string) bool {
	_, ok := st.To(prefix + key)
	return ok
}

func wants(st plan.Step, key string, v any) bool {
	to, ok := st.To(prefix + key)
	return ok && to == v
}

// defaults are those of the reloadable keys, for one that is removed: dockerd
// keeps the last value of a key that is gone from the file.
var defaults = map[string]any{
	"allow-nondistributable-artifacts": []any{}, "authorization-plugins": []any{}, "debug": false, "default-runtime": "runc",
	"default-shm-size": "64M", "insecure-registries": []any{}, "labels": []any{}, "live-restore": false,
	"max-concurrent-downloads": 3, "max-concurrent-uploads": 5, "max-download-attempts": 5, "registry-mirrors": []any{},
	"shutdown-timeout": 15,
}

// explicit are the values that must be written out for a moment, so that the
// engine lets go of keys that the step removes.
func explicit(st plan.Step) (out []Change) {
	for _, s := range st.Sets {
		if key, _ := keyOf(s.Field); s.To == nil && defaults[key] != nil {
			out = append(out, Change{key, defaults[key]})
		}
	}
	return out
}

// reload makes final the file and the engine take it. With say, the file says
// more for as long as the engine reads it.
func (h *Hand) reload(ctx context.Context, e *engine, u undo, final []byte, say []Change) error {
	spoken, err := Edit(final, say...)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := atomicfile.Write(u.File.Path, spoken, newMode); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := h.hup(ctx, e, u); err != nil {
		return err
	}
	if bytes.Equal(spoken, final) || final == nil { // no file is not an empty file
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return atomicfile.Write(u.File.Path, final, newMode)
}

// hup sends SIGHUP to the engine and waits until it says that it has taken the
// file. It says nothing when it refuses.
func (h *Hand) hup(ctx context.Context, e *engine, u undo) error {
	pid, err := u.pid(ctx, h)
	if err != nil {
		return err
	}
	r, err := e.reloads(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	offset := u.Launch.logSize()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return lang.Errorf(lang.Text{En: "process %d: %w", Es: "proceso %d: %w"}, pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGHUP, nil, 0); err != nil {
		return lang.Errorf(lang.Text{En: "reload the engine, process %d: %w", Es: "recargar el motor, proceso %d: %w"}, pid, err)
	}
	if _, ok := <-r.events; ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return lang.Errorf(lang.Text{
		En: "the engine did not take %s on SIGHUP: %s",
		Es: "el motor no tomó %s con SIGHUP: %s",
	}, u.File.Path, u.Launch.logTail(offset))
}

// pid is the engine now: the one of Prepare, or one that came after it.
func (u undo) pid(ctx context.Context, h *Hand) (int, error) {
	if u.Launch.alive() {
		return u.Launch.Pid, nil
	}
	o, err := h.Look(ctx, u.Socket)
	if err != nil {
		return 0, err
	}
	l, err := launchOf(ctx, o)
	return l.Pid, err
}

// revive starts the containers of list that do not run. One that was created
// again since, by another step of the same change or by its owner, is known by
// its name; one that is gone is somebody's wish. One that needs another (its
// network namespace, a link) succeeds once that runs; so it goes over the list
// until a round brings nothing.
func (h *Hand) revive(ctx context.Context, e *engine, list []container) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, err := e.running(ctx)
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(list), func(c container) bool {
			return slices.ContainsFunc(now, c.is)
		})
		if len(missing) == 0 {
			return h.pause(ctx, e, list, now)
		}
		var errs []error
		started := 0
		for _, c := range missing {
			err := e.start(ctx, c)
			switch {
			case errors.Is(err, errGone):
				h.log("container is gone", "container", c.Name)
			case err != nil:
				errs = append(errs, lang.Errorf(lang.Text{
					En: "container %s ran before and does not start: %w",
					Es: "el contenedor %s corría antes y no arranca: %w",
				}, c.Name, err))
			default:
				started++
				h.log("container started again", "container", c.Name)
			}
		}
		if started == 0 {
			return errors.Join(append(errs, h.pause(ctx, e, list, now))...)
		}
	}
}

// pause: a container that was paused is not after a restart.
func (h *Hand) pause(ctx context.Context, e *engine, list, now []container) error {
	for _, c := range list {
		if i := slices.IndexFunc(now, c.is); c.Paused && i >= 0 && !now[i].Paused {
			if err := e.call(ctx, http.MethodPost, "/containers/"+now[i].ID+"/pause", nil, nil); err != nil {
				return lang.Errorf(lang.Text{En: "container %s was paused before: %w", Es: "el contenedor %s estaba en pausa antes: %w"}, c.Name, err)
			}
		}
	}
	return nil
}
