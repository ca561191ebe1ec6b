package daemonjson

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/plan"
)

// Undo implements apply.Hand. It brings back the bytes of the file, or its
// absence, and an engine that runs with what they say; an engine that is down
// is started.
func (h *Hand) Undo(ctx context.Context, st plan.Step, raw json.RawMessage) error {
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return lang.Errorf(lang.Text{En: "undo of %s: %w", Es: "deshacer %s: %w"}, st.Ref, err)
	}
	e := dial(u.Socket)
	up, err := h.settle(ctx, e, u)
	if err != nil {
		return err
	}
	changed, err := u.fileChanged()
	if err != nil {
		return err
	}
	switch {
	case up && !changed && marked(u, raw):
		// an Undo before this one came to its end
	case !up:
		if err := u.File.Restore(); err != nil {
			return err
		}
		h.log("starting the engine", "socket", u.Socket)
		err = u.Launch.start(ctx, e)
	case u.Restart && !u.Launch.alive() && !u.startedWithOld():
		err = h.restartKeeping(ctx, e, u)
	default:
		err = h.takeBack(ctx, e, u)
	}
	if err != nil {
		return err
	}
	if err := h.revive(ctx, e, u.Running); err != nil {
		return err
	}
	return mark(e, u, raw)
}

// restartKeeping restarts the engine with the old file. Where the change had
// switched live-restore on, the engine is stopped and started with it still
// on, and only then told to let go of it: dockerd ends the containers that it
// finds running if it starts without live-restore (measured).
func (h *Hand) restartKeeping(ctx context.Context, e *engine, u undo) error {
	h.log("restarting the engine", "socket", u.Socket)
	on := h.runsWith(ctx, e, map[string]any{"live-restore": true})
	if was, set := u.Was["live-restore"]; !set || was == true || !on {
		if err := u.File.Restore(); err != nil {
			return err
		}
		return u.Launch.restart(ctx, e)
	}
	kept, err := Edit(u.File.Data, Change{"live-restore", true})
	if err != nil {
		return errors.Join(u.File.Restore(), u.Launch.restart(ctx, e))
	}
	if err := atomicfile.Write(u.File.Path, kept, newMode); err != nil {
		return err
	}
	if err := u.Launch.restart(ctx, e); err != nil {
		return errors.Join(err, u.File.Restore(), u.Launch.start(ctx, e))
	}
	off := []Change{{"live-restore", false}}
	return errors.Join(h.reload(ctx, e, u, u.File.Data, off), u.File.Restore())
}

// The mark says that this very engine, by pid and start, was brought back by
// this very undo. It lives in /run: after a boot the engine has read the file
// anew.
const markDir = "/run/casco"

func markOf(u undo, raw json.RawMessage) (path string, undo string) {
	socket := sha256.Sum256([]byte(u.Socket))
	// Formatted alike, whatever JSON it has come through.
	canon, err := canonical(raw)
	if err != nil {
		canon = raw
	}
	sum := sha256.Sum256(canon)
	return filepath.Join(markDir, "daemon-json-"+hex.EncodeToString(socket[:8])), hex.EncodeToString(sum[:])
}

// who names the engine that listens now.
func who(e *engine, u undo) (string, error) {
	pid := u.Launch.writer()
	if pid == 0 {
		var err error
		if pid, err = e.peer(); err != nil {
			return "", err
		}
	}
	started, err := startOf(pid)
	return fmt.Sprint(pid, " ", started), err
}

func marked(u undo, raw json.RawMessage) bool {
	path, sum := markOf(u, raw)
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	now, err := who(dial(u.Socket), u)
	return err == nil && string(b) == now+" "+sum
}

func mark(e *engine, u undo, raw json.RawMessage) error {
	path, sum := markOf(u, raw)
	now, err := who(e, u)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(markDir, 0o700); err != nil {
		return err
	}
	sweepMarks(markDir)
	return atomicfile.Write(path, []byte(now+" "+sum), 0o600)
}

// sweepMarks removes the marks of engines that are no more: they say nothing.
func sweepMarks(dir string) {
	marks, _ := filepath.Glob(filepath.Join(dir, "daemon-json-*"))
	for _, path := range marks {
		var pid int
		var started uint64
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(b), &pid, &started); err == nil {
			if now, err := startOf(pid); err == nil && now == started {
				continue
			}
		}
		os.Remove(path)
	}
}

// settle waits for an engine that is on its way up or down, and reports
// whether one runs.
func (h *Hand) settle(ctx context.Context, e *engine, u undo) (up bool, err error) {
	_, err = wait(ctx, startTime, func() (bool, error) {
		up = e.answers(ctx)
		return up || !u.Launch.alive() && u.Launch.writer() == 0, nil
	})
	return up, err
}

// takeBack undoes what reloads did: the engine is told the old values, then
// the file gets its old bytes.
func (h *Hand) takeBack(ctx context.Context, e *engine, u undo) error {
	changed, err := u.fileChanged()
	if err != nil {
		return err
	}
	if len(u.Was) == 0 || !changed && h.runsWith(ctx, e, u.Was) {
		return u.File.Restore()
	}
	var say []Change
	for key, v := range u.Was {
		if v == nil {
			v = defaults[key]
		}
		if v != nil {
			say = append(say, Change{key, v})
		}
	}
	slices.SortFunc(say, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	// Also an engine that takes nothing gets its old file back.
	return errors.Join(h.reload(ctx, e, u, u.File.Data, say), u.File.Restore())
}

func (u undo) fileChanged() (bool, error) {
	now, err := atomicfile.Save(u.File.Path)
	return now.Exists != u.File.Exists || !bytes.Equal(now.Data, u.File.Data), err
}

// startedWithOld reports whether the engine that runs was started after the
// file got its old bytes back: then an Undo before this one did its work.
func (u undo) startedWithOld() bool {
	if changed, err := u.fileChanged(); err != nil || changed {
		return false
	}
	pid := u.Launch.writer()
	if pid == 0 {
		return false
	}
	var at unix.Stat_t
	path := u.File.Path
	if !u.File.Exists {
		path = dirOf(path) // its entry was removed then
	}
	if unix.Stat(path, &at) != nil {
		return false
	}
	began, err := startTimeOf(pid)
	return err == nil && began.UnixNano() > at.Ctim.Nano()
}

func dirOf(path string) string {
	i := strings.LastIndexByte(path, os.PathSeparator)
	return path[:max(i, 1)]
}
