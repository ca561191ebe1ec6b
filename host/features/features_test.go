package features

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/handtest"
)

// tree writes files under a root of the test's own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFilesOfTheKernel(t *testing.T) {
	const release = "proc/sys/kernel/osrelease"
	for _, c := range []struct {
		name  string
		works bool
		probe func(root string) error
		files map[string]string
	}{
		{"overlay is there", true, overlay, map[string]string{"proc/filesystems": "nodev\tproc\nnodev\toverlay\n"}},
		{"overlay is a module", true, overlay, map[string]string{
			"proc/filesystems": "nodev\tproc\n", release: "6.1\n", "lib/modules/6.1/modules.dep": "kernel/fs/overlayfs/overlay.ko.xz:\n",
		}},
		{"overlay of another kernel", false, overlay, map[string]string{
			"proc/filesystems": "nodev\tproc\n", release: "6.2\n", "lib/modules/6.1/modules.dep": "kernel/fs/overlayfs/overlay.ko:\n",
		}},
		{"no list of file systems", false, overlay, nil},
		{"seccomp", true, seccomp, map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill_process errno allow\n"}},
		{"seccomp of nothing", false, seccomp, map[string]string{"proc/sys/kernel/seccomp/actions_avail": "kill allow\n"}},
		{"no seccomp", false, seccomp, nil},
		{"user namespaces", true, userNamespaces, map[string]string{"proc/sys/user/max_user_namespaces": "1000\n"}},
		{"user namespaces are off", false, userNamespaces, map[string]string{"proc/sys/user/max_user_namespaces": "0\n"}},
		{"no user namespaces", false, userNamespaces, nil},
		{"nftables could be loaded", true, nftables, map[string]string{release: "6.1\n", "lib/modules/6.1/modules.dep": "kernel/net/netfilter/nf_tables.ko:\n"}},
	} {
		if err := c.probe(tree(t, c.files)); (err == nil) != c.works {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestReply(t *testing.T) {
	message := func(kind uint16, code int32) []byte {
		b := make([]byte, unix.SizeofNlMsghdr+4)
		binary.NativeEndian.PutUint16(b[4:], kind)
		binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr:], uint32(code))
		return b
	}
	for _, c := range []struct {
		msg  []byte
		want error
	}{
		{message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN, 0), nil},
		{message(unix.NLMSG_ERROR, 0), nil},
		{message(unix.NLMSG_ERROR, -int32(unix.EPERM)), unix.EPERM},
		{message(unix.NLMSG_ERROR, -int32(unix.EINVAL)), unix.EINVAL},
	} {
		if err := reply(c.msg); !errors.Is(err, c.want) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
	for _, short := range [][]byte{nil, make([]byte, 3), message(unix.NLMSG_ERROR, -1)[:unix.SizeofNlMsghdr]} {
		if err := reply(short); err == nil {
			t.Errorf("%d bytes were an answer", len(short))
		}
	}
}

// TestThisKernel: as root every trial ends, in a result or a reason, twice the
// same, and nothing stays open.
func TestThisKernel(t *testing.T) {
	handtest.NeedRoot(t)
	before := open(t)
	one, two := All(""), All("")
	if after := open(t); after != before {
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
	for i := range one {
		if (one[i].Err == nil) != (two[i].Err == nil) {
			t.Errorf("%s: %v, and then %v", one[i].Name, one[i].Err, two[i].Err)
		}
		if one[i].Name == "openat2" && one[i].Err != nil { // Go 1.26 needs a newer kernel than it does
			t.Error(one[i].Err)
		}
	}
}

func open(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
