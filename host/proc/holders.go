package proc

import (
	"bytes"
	"errors"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A holder is a process that has a socket open.
type holder struct {
	pid  int
	comm string // the command's name, at most 15 bytes, as the process set it
}

// holders finds which of pids have the wanted sockets open: inode to the first
// one in the order of pids. The kernel keeps no such table; every descriptor
// of every process must be asked, so at most budget are, and the search ends
// when all are found. A process that has ended meanwhile is no error. With no
// inode wanted, every socket that is found counts.
func (fs procfs) holders(pids []int, want map[uint64]bool, budget int) (map[uint64]holder, error) {
	found := map[uint64]holder{}
	var errs error
	for _, pid := range pids {
		if want != nil && len(found) == len(want) || budget <= 0 {
			break
		}
		inodes, n, err := fs.sockets(pid, budget)
		budget -= n
		if err != nil && !gone(err) {
			errs = err
			continue
		}
		var comm string
		for _, inode := range inodes {
			if _, done := found[inode]; done || want != nil && !want[inode] {
				continue
			}
			if comm == "" {
				comm = fs.comm(pid)
			}
			found[inode] = holder{pid, comm}
		}
	}
	if budget <= 0 {
		errs = errors.Join(errs, errors.New("too many open files to ask them all whose a socket is"))
	}
	return found, errs
}

// gone reports whether a process has ended while it was being read.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// sockets returns the inodes of the sockets that pid has open, after asking n
// descriptors, at most limit.
func (fs procfs) sockets(pid, limit int) (inodes []uint64, n int, err error) {
	d, err := os.Open(path.Join(string(fs), strconv.Itoa(pid), "fd"))
	if err != nil {
		return nil, 0, err
	}
	defer d.Close()
	names, err := d.Readdirnames(limit)
	if len(names) == 0 {
		return nil, 0, ignoreGone(err)
	}
	var buf [64]byte
	for _, name := range names {
		size, err := unix.Readlinkat(int(d.Fd()), name, buf[:])
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := socketInode(buf[:size]); ok {
			inodes = append(inodes, inode)
		}
	}
	return inodes, len(names), nil
}

// socketInode reads "socket:[4711]".
func socketInode(link []byte) (uint64, bool) {
	digits, ok := bytes.CutPrefix(link, []byte("socket:["))
	if !ok || len(digits) == 0 {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(digits[:len(digits)-1]), 10, 64)
	return inode, err == nil
}

// comm returns the command name of pid, "" if it is gone.
func (fs procfs) comm(pid int) string {
	b, _ := readFile(path.Join(string(fs), strconv.Itoa(pid), "comm"))
	return strings.TrimSuffix(string(b), "\n")
}

// inodesOf returns the sockets' inodes as a set.
func inodesOf(socks []socket) map[uint64]bool {
	set := make(map[uint64]bool, len(socks))
	for _, s := range socks {
		set[s.inode] = true
	}
	return set
}

// compareSockets orders by port, protocol and address.
func compareSockets(a, b socket) int {
	switch {
	case a.at.Port() != b.at.Port():
		return int(a.at.Port()) - int(b.at.Port())
	case a.proto != b.proto:
		return strings.Compare(a.proto, b.proto)
	case a.at != b.at:
		return a.at.Addr().Compare(b.at.Addr())
	}
	return int(min(max(int64(a.inode)-int64(b.inode), -1), 1))
}

func sortSockets(socks []socket) { slices.SortFunc(socks, compareSockets) }
