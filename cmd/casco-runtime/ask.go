package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"casco/internal/ocicall"
)

// ask puts a question to the gate, in cfg.TimeoutMS altogether. It uses plain
// system calls: package net would cost 0.25 ms at each call of the runtime.
func ask(cfg config, q ocicall.Question) (ocicall.Answer, error) {
	var a ocicall.Answer
	deadline := time.Now().Add(time.Duration(cfg.TimeoutMS) * time.Millisecond)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return a, err
	}
	defer syscall.Close(fd)
	gone := func(err error) error {
		if errors.Is(err, syscall.EAGAIN) {
			return fmt.Errorf("the gate at %s did not answer in %d ms", cfg.Gate, cfg.TimeoutMS)
		}
		return fmt.Errorf("the gate at %s does not answer: %w", cfg.Gate, err)
	}
	// SO_SNDTIMEO also bounds connect(2) while the gate's queue is full, unix(7).
	if err := allow(fd, syscall.SO_SNDTIMEO, deadline); err != nil {
		return a, gone(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: cfg.Gate}); err != nil {
		return a, gone(err)
	}
	peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return a, gone(err)
	}
	if peer.Uid != 0 {
		return a, fmt.Errorf("the gate at %s is of user %d, not of root", cfg.Gate, peer.Uid)
	}
	line, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	for line = append(line, '\n'); len(line) > 0; {
		n, err := syscall.Write(fd, line)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return a, gone(err)
		}
		line = line[max(n, 0):]
	}
	line, err = readLine(fd, deadline)
	if err != nil {
		return a, gone(err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("the answer of the gate at %s: %w", cfg.Gate, err)
	}
	return a, nil
}

// readLine reads from fd up to a line feed, which must come before deadline.
func readLine(fd int, deadline time.Time) ([]byte, error) {
	var line []byte
	buf := make([]byte, 1024)
	for len(line) < ocicall.MaxLine {
		if err := allow(fd, syscall.SO_RCVTIMEO, deadline); err != nil {
			return nil, err
		}
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return nil, errors.New("it hung up")
		}
		line = append(line, buf[:n]...)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			return line[:i], nil
		}
	}
	return nil, errors.New("its answer has no end")
}

// allow sets how long a call on the socket may wait; EAGAIN if no time is left.
func allow(fd, option int, deadline time.Time) error {
	left := time.Until(deadline)
	if left <= 0 {
		return syscall.EAGAIN
	}
	tv := syscall.NsecToTimeval(max(left, time.Microsecond).Nanoseconds())
	return syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, option, &tv)
}

// stopPatience is how long the runtime's own kill may take, and how long the
// init may take to be gone after it.
const stopPatience = 2 * time.Second

// stopInit ends the init of a container whose start is refused, in the words
// of the runtime that made it. Its failure changes nothing: the start stays
// refused. Nothing was made before "create", "run" and "restore".
func stopInit(cfg config, call ocicall.Call, args []string) {
	if call.Verb != "start" || !ocicall.ValidID(call.ID) {
		return
	}
	argv := append([]string{cfg.Runtime}, args[:call.Globals]...)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	p, err := os.StartProcess(cfg.Runtime, append(argv, "kill", call.ID, "KILL"), &os.ProcAttr{Files: []*os.File{null, null, null}})
	if err != nil {
		return
	}
	late := time.AfterFunc(stopPatience, func() { p.Kill() })
	p.Wait()
	late.Stop()
	awaitEnd(call.ID)
}

// settle is how long the shim is given between reaping the init and hearing of
// the failed start. It holds a lock during the start, on which the goroutine
// that will note the init's end must be waiting by then; else the engine may
// delete the container before, "task must be stopped before deletion", and leave
// the shim (containerd 1.6, pkg/process/init.go; without a pause 1 refusal of 12).
const settle = 20 * time.Millisecond

// awaitEnd waits until the init is reaped by the shim. Its process ID is in the
// bundle (the shim has the runtime write init.pid), in which we were called.
func awaitEnd(id string) {
	dir, err := os.Getwd()
	if err != nil || filepath.Base(dir) != id {
		return
	}
	b, err := os.ReadFile("init.pid")
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || convErr != nil || pid <= 1 {
		return
	}
	for end := time.Now().Add(stopPatience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			time.Sleep(settle)
			return
		}
	}
}
