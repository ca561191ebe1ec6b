package accounts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mayConnect is the permission that a client of a socket needs: unix(7).
const mayConnect = 2 // write

// Tags of entries in the attribute system.posix_acl_access:
// linux/posix_acl_xattr.h and linux/posix_acl.h.
const (
	aclName    = "system.posix_acl_access"
	aclVersion = 2
	aclUser    = 0x02
	aclGroup   = 0x08
)

// socketReaches finds who may connect to an engine's socket beside root.
func (db *database) socketReaches(root, path string, reach func(account, way string)) error {
	path = filepath.Join(root, path)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("who reaches %s: %w", path, err)
	}
	if st.Uid != 0 && st.Mode>>6&mayConnect != 0 {
		for _, u := range db.users {
			if u.uid == int64(st.Uid) {
				reach(u.name, "socket owner")
			}
		}
	}
	acl, err := aclOf(path)
	if err != nil {
		return fmt.Errorf("who reaches %s: %w", path, err)
	}
	owners := st.Mode >> 3 & mayConnect // with an ACL these bits are its mask
	if owners != 0 {
		db.membersReach(db.group(int64(st.Gid)), reach)
	}
	for _, e := range acl {
		if uint32(e.perm)&owners == 0 {
			continue
		}
		switch e.tag {
		case aclUser:
			for _, u := range db.users {
				if u.uid == int64(e.id) {
					reach(u.name, "socket acl")
				}
			}
		case aclGroup:
			members, primary := db.inGroup(db.group(int64(e.id)))
			for _, m := range append(members[:len(members):len(members)], primary...) {
				reach(m, "socket acl")
			}
		}
	}
	return nil
}

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// aclOf reads the access ACL of a file, which is little-endian on every
// machine.
func aclOf(path string) ([]aclEntry, error) {
	buf := make([]byte, 1<<16) // XATTR_SIZE_MAX: linux/limits.h
	n, err := unix.Getxattr(path, aclName, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if buf = buf[:n]; n < 4 || binary.LittleEndian.Uint32(buf) != aclVersion {
		return nil, errors.New("its ACL is of an unknown form")
	}
	var entries []aclEntry
	for b := buf[4:]; len(b) >= 8; b = b[8:] {
		entries = append(entries, aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return entries, nil
}
