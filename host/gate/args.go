package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxArgs and maxArg bound what is read of a caller's memory; the shim's
	// arguments are a dozen, the longest a path.
	maxArgs = 256
	maxArg  = 8 << 10

	// fallAsleep is how long the caller may take from asking us to sleeping:
	// until then the kernel says that it is "running". With twenty starts at a
	// time on two cores 20 ms were not enough.
	fallAsleep = time.Second
)

var errArgs = errors.New("the arguments of an exec cannot be read")

// readable reports whether the kernel tells a process's system call while it is
// in execve. Up to 5.7 that takes cred_guard_mutex, which the caller holds while
// it waits for us: reading would wait for ourselves. Since then it is a lock of
// its own (2db9dbf71bf9, "proc: Use new infrastructure to fix deadlocks in
// execve"). 5.8 leaves a margin for the kernels of distributions.
var readable = sync.OnceValue(func() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && atLeast(unix.ByteSliceToString(u.Release[:]), 5, 8)
})

func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// execArgs returns the arguments of the execve or execveat in which thread tid
// sleeps, the program's name first: /proc/TID/syscall has its registers
// (proc_pid_syscall(5)), and they point into the caller's memory.
func execArgs(tid int) ([]string, error) {
	if !readable() {
		return nil, fmt.Errorf("%w: Linux is older than 5.8", errArgs)
	}
	path := "/proc/" + strconv.Itoa(tid) + "/syscall"
	wait := 50 * time.Microsecond
	for end := time.Now().Add(fallAsleep); ; time.Sleep(wait) {
		wait = min(2*wait, 5*time.Millisecond)
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		argv, running, err := parseSyscall(string(b))
		switch {
		case err != nil:
			return nil, err
		case !running:
			return readArgs(tid, argv)
		case time.Now().After(end):
			return nil, fmt.Errorf("%w: thread %d does not sleep", errArgs, tid)
		}
	}
}

// parseSyscall finds where argv is in a line of /proc/TID/syscall: the call's
// number, six arguments, the stack and instruction pointers; or "running".
func parseSyscall(line string) (argv uint64, running bool, err error) {
	f := strings.Fields(line)
	if len(f) == 1 && f[0] == "running" {
		return 0, true, nil
	}
	if len(f) < 7 {
		return 0, false, fmt.Errorf("%w: %q", errArgs, line)
	}
	at := map[string]int{strconv.Itoa(unix.SYS_EXECVE): 2, strconv.Itoa(unix.SYS_EXECVEAT): 3}[f[0]]
	if at == 0 { // a 32-bit program's numbers are others
		return 0, false, fmt.Errorf("%w: it is in system call %s", errArgs, f[0])
	}
	argv, err = strconv.ParseUint(f[at], 0, 64)
	return argv, false, err
}

// readArgs reads a list of strings that ends with a null pointer.
func readArgs(tid int, argv uint64) ([]string, error) {
	const word = 8
	var args []string
	for i := range uint64(maxArgs) {
		var p [word]byte
		if _, err := readMemory(tid, argv+i*word, p[:]); err != nil {
			return nil, err
		}
		at := binary.NativeEndian.Uint64(p[:])
		if at == 0 {
			return args, nil
		}
		s, err := readString(tid, at)
		if err != nil {
			return nil, err
		}
		args = append(args, s)
	}
	return nil, fmt.Errorf("%w: more than %d", errArgs, maxArgs)
}

// readString reads a string that ends with a null byte, no page further than
// it goes.
func readString(tid int, at uint64) (string, error) {
	const page = 4096
	var s []byte
	for len(s) <= maxArg {
		b := make([]byte, page-at%page)
		n, err := readMemory(tid, at, b)
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b[:n], 0); i >= 0 && len(s)+i <= maxArg {
			return string(append(s, b[:i]...)), nil
		} else if i >= 0 {
			break
		}
		s = append(s, b[:n]...)
		at += uint64(n)
	}
	return "", fmt.Errorf("%w: one is longer than %d bytes", errArgs, maxArg)
}

func readMemory(tid int, at uint64, b []byte) (int, error) {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
	if err == nil && n == 0 {
		err = errArgs
	}
	return n, err
}
