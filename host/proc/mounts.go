package proc

import (
	"bytes"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// mounts reads the mount table that p sees, proc_pid_mountinfo(5).
func (p *process) mounts() ([]*mountinfo.Info, error) {
	text, err := p.read("mountinfo")
	if err != nil {
		return nil, err
	}
	return mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
}

// peers are the numbers of the peer groups in which a host's mounts are,
// mount_namespaces(7). The kernel numbers groups for all namespaces together.
type peers map[string]bool

func peersOf(mounts []*mountinfo.Info) peers {
	ps := peers{}
	for _, m := range mounts {
		if group, ok := sharedGroup(m); ok {
			ps[group] = true
		}
	}
	return ps
}

func sharedGroup(m *mountinfo.Info) (group string, ok bool) {
	for tag := range strings.FieldsSeq(m.Optional) {
		if group, ok := strings.CutPrefix(tag, "shared:"); ok {
			return group, true
		}
	}
	return "", false
}

// sharedMounts returns where a container mounts what is in a peer group of the
// host: a mount made at or below it inside appears outside. A group that only
// the container has (systemd in a container makes its root shared) is not one.
func sharedMounts(inside []*mountinfo.Info, host peers) []string {
	shared := []string{}
	for _, m := range inside {
		if group, ok := sharedGroup(m); ok && host[group] {
			shared = append(shared, m.Mountpoint)
		}
	}
	slices.Sort(shared)
	return slices.Compact(shared)
}

// rootReadOnly tells whether nothing can be written to the root of a mount
// table: the mount is read-only or its file system is. ok is false if there is
// no root in it. The last mount on / is the one in sight.
func rootReadOnly(mounts []*mountinfo.Info) (readOnly, ok bool) {
	for _, m := range mounts {
		if m.Mountpoint == "/" {
			readOnly, ok = hasOption(m.Options, "ro") || hasOption(m.VFSOptions, "ro"), true
		}
	}
	return readOnly, ok
}

func hasOption(options, want string) bool {
	for opt := range strings.SplitSeq(options, ",") {
		if opt == want {
			return true
		}
	}
	return false
}
