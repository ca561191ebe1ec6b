package daemonjson

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"casco/lang"
)

// restart stops the engine and starts it again, by whoever runs it. It comes
// back when the engine answers. The context is looked at before each act.
func (l launch) restart(ctx context.Context, e *engine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.By != byHand {
		before, _ := e.peer()
		if err := l.order(ctx, "restart"); err != nil {
			return err
		}
		return l.back(ctx, e, before, nil)
	}
	pid := l.writer()
	if l.alive() {
		pid = l.Pid
	}
	if err := l.stop(ctx, pid); err != nil {
		return err
	}
	return l.start(ctx, e)
}

// stop ends the engine with process pid as its unit would: SIGTERM, and time
// for its containers.
func (l launch) stop(ctx context.Context, pid int) error {
	if pid == 0 {
		return nil
	}
	// Bound to the process, not to its number, which could be another's soon.
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return lang.Errorf(lang.Text{En: "process %d: %w", Es: "proceso %d: %w"}, pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return lang.Errorf(lang.Text{En: "stop the engine, process %d: %w", Es: "detener el motor, proceso %d: %w"}, pid, err)
	}
	ok, err := wait(ctx, stopTime, func() (bool, error) {
		_, err := startOf(pid)
		return err != nil, nil
	})
	if err == nil && !ok {
		err = lang.Errorf(lang.Text{
			En: "the engine, process %d, has not ended %v after SIGTERM",
			Es: "el motor, proceso %d, no ha terminado %v después de SIGTERM",
		}, pid, stopTime)
	}
	return err
}

// start starts the engine unless it runs, and waits until it answers.
func (l launch) start(ctx context.Context, e *engine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.By != byHand {
		if err := l.order(ctx, "start"); err != nil {
			return err
		}
		return l.back(ctx, e, 0, nil)
	}
	offset := l.logSize()
	if l.writer() != 0 { // somebody who watches over it was faster
		return l.back(ctx, e, 0, nil)
	}
	// An engine that was killed leaves its pid file, and dockerd does not start
	// while anything has that number, be it a zombie.
	if err := os.Remove(l.PidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	gone, err := l.spawn()
	if err != nil {
		return err
	}
	err = l.back(ctx, e, 0, gone)
	if why := l.logTail(offset); err != nil && why != "" {
		err = fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// order tells systemd or the init script.
func (l launch) order(ctx context.Context, verb string) error {
	name, args := "systemctl", []string{verb, "--", l.Unit}
	if l.By == byScript {
		name, args = initScript, []string{verb}
	} else {
		// A unit that failed too often in short time would not be started again.
		exec.CommandContext(ctx, "systemctl", "reset-failed", "--", l.Unit).Run()
	}
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// back waits until the engine answers, and no longer as process not. It gives
// up when gone is closed.
func (l launch) back(ctx context.Context, e *engine, not int, gone <-chan struct{}) error {
	ok, err := wait(ctx, startTime, func() (bool, error) {
		select {
		case <-gone:
			if l.writer() == 0 {
				return false, lang.Errorf(lang.Text{En: "the engine does not start", Es: "el motor no arranca"})
			}
			gone = nil // a second one gave way to the one that somebody who watches over it had started
		default:
		}
		// Of a socket that systemd made, systemd is the peer before and after.
		pid, err := e.peer()
		return err == nil && (pid != not || l.By == bySystemd) && e.answers(ctx), nil
	})
	if err == nil && !ok {
		err = lang.Errorf(lang.Text{
			En: "the engine has not answered %v after its start",
			Es: "el motor no ha respondido %v después de arrancar",
		}, startTime)
	}
	return err
}
