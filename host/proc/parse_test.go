package proc

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
)

// Recorded from a container of Docker 20.10.24 on kernel 6.18.
const (
	recordedStatus = `Name:	sleep
Umask:	0022
Pid:	9547
Uid:	1000	1001	1000	1000
NSpid:	9547	1
CapInh:	0000000000000000
CapPrm:	00000000a80425fb
CapEff:	0000000000000400
CapBnd:	80000200a80425fb
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`
	recordedLimits = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max open files            64                   128                  files     
Max msgqueue size         819200               819200               bytes     
Max nice priority         0                    0                    
Max something new         1                    2                    furlongs  
`
	id1 = "8ef4cc22836615646624e1b0bd0d4c7810543602c242857d7cfae201610492a8"
	id2 = "32a376348b9ca72b8698b4ef82a252746c5824fd0ef0c3ebcc2087787f35c104"
)

func TestStatus(t *testing.T) {
	st := parseStatus([]byte(recordedStatus))
	eff, err := st.caps("CapEff")
	if diff := cmp.Diff([]string{"NET_BIND_SERVICE"}, eff); diff != "" || err != nil {
		t.Errorf("CapEff: %v\n%s", err, diff)
	}
	bnd, err := st.caps("CapBnd")
	want := []string{
		"41", "63", "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
		"NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
	if diff := cmp.Diff(want, bnd); diff != "" || err != nil {
		t.Errorf("CapBnd, with two bits that have no name yet: %v\n%s", err, diff)
	}
	for _, c := range []struct {
		key  string
		i    int
		want int64
	}{{"Uid", 1, 1001}, {"Seccomp", 0, 2}, {"NoNewPrivs", 0, 1}} {
		if got, err := st.number(c.key, c.i); got != c.want || err != nil {
			t.Errorf("%s[%d] = %d, %v; want %d", c.key, c.i, got, err, c.want)
		}
	}
}

func TestStatusOfAnOldKernel(t *testing.T) {
	st := parseStatus([]byte("Name:\tsh\nCapEff:\tzz\nUid:\t0\n"))
	for name, err := range map[string]error{
		"no NoNewPrivs before 4.10": second(st.number("NoNewPrivs", 0)),
		"no CapBnd":                 second(st.caps("CapBnd")),
		"bad CapEff":                second(st.caps("CapEff")),
		"short Uid":                 second(st.number("Uid", 1)),
	} {
		if err == nil {
			t.Errorf("%s: taken for a value", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRootUID(t *testing.T) {
	for _, c := range []struct {
		name, text string
		uid        int64
		ok, bad    bool
	}{
		{"no user namespace", "         0          0 4294967295\n", 0, true, false},
		{"remapped", "         0     231072      65536\n", 231072, true, false},
		{"rootless, 0 in the second line", "1 100000 65536\n0 1000 1\n", 1000, true, false},
		{"0 is nobody outside", "1000 1000 1\n", 0, false, false},
		{"not mapped yet", "", 0, false, false},
		{"garbage", "0 0\n", 0, false, true},
	} {
		uid, ok, err := rootUID([]byte(c.text))
		if uid != c.uid || ok != c.ok || (err != nil) != c.bad {
			t.Errorf("%s: %d, %v, %v", c.name, uid, ok, err)
		}
	}
}

func TestLimits(t *testing.T) {
	got, err := parseLimits([]byte(recordedLimits))
	if err != nil {
		t.Fatal(err)
	}
	pair := func(soft, hard int64) map[string]any { return map[string]any{"Soft": soft, "Hard": hard} }
	want := map[string]any{
		"cpu": pair(-1, -1), "stack": pair(8388608, -1), "nofile": pair(64, 128),
		"msgqueue": pair(819200, 819200), "nice": pair(0, 0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "short\n", "Max open files            64\n", "Max open files            few                  many\n"} {
		if got, err := parseLimits([]byte(bad)); err == nil {
			t.Errorf("%q: taken for %v", bad, got)
		}
	}
}

func TestCutID(t *testing.T) {
	for _, c := range []struct{ path, id, want string }{
		{"/docker/" + id1, id1, "/docker/" + id1},
		{"/docker/" + id1 + "/init.scope", id1, "/docker/" + id1},
		{"/system.slice/docker-" + id1 + ".scope", id1, "/system.slice/docker-" + id1 + ".scope"},
		{"/system.slice/docker-" + id1 + ".scope/a/b", id1, "/system.slice/docker-" + id1 + ".scope"},
		{"/docker/" + id1 + "/docker/" + id2, id2, "/docker/" + id1 + "/docker/" + id2}, // Docker in Docker
		{"/docker/" + id1 + "/docker/" + id2, id1, "/docker/" + id1},
		{"/docker/" + id1, id2, ""},
		{"/", id1, ""},
		{"/docker/" + id1, "", ""},
		{"/docker/" + id1, "8ef4cc", ""}, // half an ID proves nothing
	} {
		got, ok := cutID(c.path, c.id)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("cutID(%s, %s) = %q, %v; want %q", c.path, c.id, got, ok, c.want)
		}
	}
}

func TestIDsIn(t *testing.T) {
	got := idsIn("/docker/" + id1 + "/system.slice/docker-" + id2 + ".scope/init.scope")
	if diff := cmp.Diff([]string{id2, id1}, got); diff != "" {
		t.Errorf("the innermost first:\n%s", diff)
	}
	if got := idsIn("/user.slice/user-1000.slice/session-2.scope"); got != nil {
		t.Errorf("a login session is container %v", got)
	}
}

func mountTable(t testing.TB, text string) []*mountinfo.Info {
	t.Helper()
	ms, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

func TestMounts(t *testing.T) {
	host := peersOf(mountTable(t, `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
42 27 254:0 /srv /srv rw,relatime shared:7 master:3 - ext4 /dev/vda rw
`))
	inside := mountTable(t, `76 50 0:39 / / ro,relatime master:4 - overlay overlay rw
77 76 0:42 / /proc rw,nosuid - proc proc rw
78 76 254:0 /srv /a\040b rw shared:7 - ext4 /dev/vda rw
79 76 0:50 / /run rw shared:99 - tmpfs tmpfs rw
80 76 254:0 /etc/hosts /etc/hosts rw master:1 - ext4 /dev/vda rw
`)
	if diff := cmp.Diff([]string{"/a b"}, sharedMounts(inside, host)); diff != "" {
		t.Errorf("only what the host is a peer of:\n%s", diff)
	}
	for _, c := range []struct {
		text         string
		readOnly, ok bool
	}{
		{"76 50 0:39 / / ro,relatime - overlay overlay rw\n", true, true},
		{"76 50 0:39 / / rw,relatime - squashfs /dev/sda ro\n", true, true},
		{"76 50 0:39 / / rw,relatime - overlay overlay rw,lowerdir=/ro\n", false, true},
		{"1 1 0:2 / / rw - rootfs rootfs rw\n76 1 0:39 / / ro - overlay overlay rw\n", true, true},
		{"77 76 0:42 / /proc ro - proc proc ro\n", false, false},
	} {
		if readOnly, ok := rootReadOnly(mountTable(t, c.text)); readOnly != c.readOnly || ok != c.ok {
			t.Errorf("%q: read-only %v, %v", c.text, readOnly, ok)
		}
	}
}

func TestHierarchies(t *testing.T) {
	hs := hierarchiesOf(mountTable(t, `31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /docker/`+id1+` /data/merged/sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 /x /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`))
	for _, c := range []struct{ controller, path, want string }{
		{"cpuacct", "/docker/a", "/sys/fs/cgroup/cpu,cpuacct/docker/a"},
		{"memory", "/docker/a", "/sys/fs/cgroup/memory/docker/a"},
		{"memory", "/", "/sys/fs/cgroup/memory"},
		{"", "/x/docker/a", "/sys/fs/cgroup/unified/docker/a"},
		{"", "/y/docker/a", ""},
		{"memory", "/../a", ""}, // outside our cgroup namespace
		{"pids", "/docker/a", ""},
	} {
		got, err := hs.dir(c.controller, c.path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("dir(%q, %s) = %q, %v; want %q", c.controller, c.path, got, err, c.want)
		}
	}
}

func TestNetFile(t *testing.T) {
	tcp := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:86C7 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15738 1 0
   1: 020011AC:0050 010011AC:C350 01 00000000:00000000 00:00000000 00000000     0        0 15739 1 0
`
	tcp6 := `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:08AE 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0
`
	for _, c := range []struct {
		text, proto string
		want        []socket
	}{
		{tcp, "tcp", []socket{{proto: "tcp", at: netip.MustParseAddrPort("127.0.0.11:34503"), inode: 15738}}},
		{tcp6, "tcp", []socket{{proto: "tcp", at: netip.MustParseAddrPort("[::1]:2222"), inode: 4711}}},
		{strings.ReplaceAll(tcp, " 0A ", " 07 "), "udp", []socket{{proto: "udp", at: netip.MustParseAddrPort("127.0.0.11:34503"), inode: 15738}}},
	} {
		got, err := parseNetFile([]byte(c.text), c.proto)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(socket{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{"0: 1 2\n", " 0: 0B00007F:XX 0:0 0A 0:0 0:0 0 0 0 1 1\n", " 0: 0B00007F:01 0:0 0A 0:0 0:0 0 0 0 x 1\n", " 0: 0B00007F:01 0:0 zz 0:0 0:0 0 0 0 1 1\n"} {
		if got, err := parseNetFile([]byte(bad), "tcp"); err == nil {
			t.Errorf("%q: taken for %v", bad, got)
		}
	}
}

func TestUnixFile(t *testing.T) {
	text := `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/docker.sock
0000000000000000: 00000002 00000000 00010000 0001 01 101 /run/with space.sock
0000000000000000: 00000002 00000000 00010000 0001 01 102 @abstract
0000000000000000: 00000003 00000000 00000000 0001 03 103 /run/docker.sock
0000000000000000: 00000002 00000000 00010000 0001 01 104
`
	want := map[uint64]string{100: "/run/docker.sock", 101: "/run/with space.sock"}
	if diff := cmp.Diff(want, parseUnix([]byte(text))); diff != "" {
		t.Error(diff)
	}
}

func TestProxyArgs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"docker-proxy\x00-proto\x00tcp\x00-host-ip\x000.0.0.0\x00-host-port\x008080\x00-container-ip\x00172.17.0.2\x00-container-port\x0080\x00", "172.17.0.2"},
		{"docker-proxy\x00-container-ip=fd00::2\x00", "fd00::2"},
		{"docker-proxy\x00-container-ip", ""},
		{"sleep\x00container-ip\x00172.17.0.2\x00", ""},
		{"", ""},
	} {
		want, _ := netip.ParseAddr(c.want)
		if got := parseProxy([]byte(c.args)); got.to != want {
			t.Errorf("%q: %v, want %v", c.args, got.to, want)
		}
	}
}

func TestCallee(t *testing.T) {
	for _, c := range []struct {
		at     string
		v6only bool
		want   string
	}{
		{"0.0.0.0:22", false, "127.0.0.1:22"},
		{"[::]:22", false, "127.0.0.1:22"},
		{"[::]:22", true, "[::1]:22"},
		{"172.17.0.2:80", false, "172.17.0.2:80"},
	} {
		if to := callee(socket{"tcp", netip.MustParseAddrPort(c.at), c.v6only, 1}); to.String() != c.want {
			t.Errorf("%s is called at %v, want %s", c.at, to, c.want)
		}
	}
}

func TestBannerLine(t *testing.T) {
	for _, c := range []struct{ heard, want string }{
		{"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2"},
		{"Welcome to the\nbig host\nSSH-2.0-dropbear\r\nrest", "SSH-2.0-dropbear"},
		{"220 mail ESMTP\r\n", "220 mail ESMTP"},
		{"\xff\xfd\x18login: ", "\uFFFD\x18login: "},
		{"", ""},
	} {
		c1 := call{heard: []byte(c.heard)}
		if got := c1.banner(); got != c.want {
			t.Errorf("%q: %q, want %q", c.heard, got, c.want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(recordedStatus))
	f.Fuzz(func(t *testing.T, text []byte) {
		st := parseStatus(text)
		if names, err := st.caps("CapEff"); err == nil && len(names) > 64 {
			t.Errorf("%d capabilities", len(names))
		}
		st.number("Uid", 1)
	})
}

func FuzzLimits(f *testing.F) {
	f.Add([]byte(recordedLimits))
	f.Fuzz(func(t *testing.T, text []byte) {
		if limits, err := parseLimits(text); err == nil && len(limits) == 0 {
			t.Error("no limits and no error")
		}
	})
}

func FuzzUIDMap(f *testing.F) {
	f.Add([]byte("         0     231072      65536\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if uid, ok, err := rootUID(text); !ok && uid != 0 || ok && err != nil {
			t.Errorf("%d, %v, %v", uid, ok, err)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("9:name=systemd:/px/"+id1+"\n4:cpu,cpuacct:/px/"+id1+"\n0::/px/"+id1+"/a\n"), id1)
	f.Fuzz(func(t *testing.T, text []byte, id string) {
		g, err := cgroupOf(text, id, hierarchies{"": {"/sys/fs/cgroup", "/"}, "memory": {"/sys/fs/cgroup/memory", "/"}})
		if err != nil {
			return
		}
		if !strings.Contains(g.path, id) {
			t.Errorf("cgroup %q is not of %q", g.path, id)
		}
		for _, c := range []string{"memory", "cpu"} {
			if dir := g.control(c).dir; dir != "" && !strings.HasPrefix(dir, "/sys/fs/cgroup") {
				t.Errorf("%s of %q is read at %q", c, text, dir)
			}
		}
	})
}

func FuzzNetFile(f *testing.F) {
	f.Add([]byte("   0: 0B00007F:86C7 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 15738 1 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		socks, err := parseNetFile(text, "tcp")
		for _, s := range socks {
			if err == nil && !s.at.IsValid() {
				t.Errorf("%v is no address", s.at)
			}
		}
	})
}

func FuzzUnixFile(f *testing.F) {
	f.Add([]byte("0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/docker.sock\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range parseUnix(text) {
			if !strings.HasPrefix(name, "/") {
				t.Errorf("%q is no path", name)
			}
		}
	})
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("76 50 0:39 / / rw,relatime shared:4 master:1 - overlay overlay rw,lowerdir=/a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ms, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
		if err != nil {
			return
		}
		if got := sharedMounts(ms, peersOf(ms)); len(got) > len(ms) {
			t.Errorf("%d of %d mounts are shared", len(got), len(ms))
		}
		hierarchiesOf(ms)
		rootReadOnly(ms)
	})
}
