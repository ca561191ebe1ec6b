package features

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program that returns 0, in the instructions of linux/bpf.h: BPF_ALU64|
// BPF_MOV|BPF_K to r0, and BPF_EXIT, eight bytes each. The kernel is given their
// addresses as numbers, so they must not be where the runtime moves them.
var (
	program = [2][8]byte{{0xb7}, {0x95}}
	license = [...]byte{'G', 'P', 'L', 0}
)

// loadNothing loads the program.
func loadNothing() (fd int, err error) {
	// The head of union bpf_attr for BPF_PROG_LOAD; the kernel takes what is
	// left out for zero.
	attr := struct {
		kind, count       uint32
		program, license  uint64
		level, size       uint32
		log               uint64
		version, flagBits uint32
	}{
		kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(program)),
		program: uint64(uintptr(unsafe.Pointer(&program))), license: uint64(uintptr(unsafe.Pointer(&license))),
	}
	r, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
