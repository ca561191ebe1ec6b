package daemon

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

func self(t *testing.T) process {
	t.Helper()
	p, err := readProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadProcess(t *testing.T) {
	p := self(t)
	if p.ppid != os.Getppid() || p.uid != int64(os.Geteuid()) || len(p.args) == 0 || p.args[0] != os.Args[0] || p.comm == "" {
		t.Errorf("read %+v of this very process", p)
	}
	began, err := p.started()
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(began); age < 0 || age > 10*time.Minute {
		t.Errorf("this test has run for %v", age)
	}
	if p.isDockerd() {
		t.Error("a test was taken for dockerd")
	}
}

func TestBehindNamesAProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pid, err := peer(path)
	if err != nil || pid != os.Getpid() {
		t.Errorf("peer of our own socket: %d, %v; want %d", pid, err, os.Getpid())
	}
	if inodes, err := listeningAt(os.Getpid(), path); err != nil || len(inodes) != 1 {
		t.Errorf("listeningAt found %v, %v", inodes, err)
	}
	_, err = behind(path, nil)
	if err == nil || !strings.Contains(err.Error(), "not dockerd") {
		t.Errorf("a socket of a test: got error %v", err)
	}
	o := newObject(path)
	s := &inventory.Snapshot{}
	s.Add(o)
	if err := New("").Read(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, field := range measured {
		if _, fact, ok := inventory.Lookup(o, field); ok || !strings.Contains(fact.Err, "proxy") {
			t.Errorf("%s: %v", field, fact)
		}
	}
}

func TestBehindNobody(t *testing.T) {
	_, err := behind(filepath.Join(t.TempDir(), "none.sock"), nil)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got error %v", err)
	}
	o := newObject("tcp://10.0.0.1:2376")
	if _, err := processOf(o, nil); err == nil || !strings.Contains(err.Error(), "over a network") {
		t.Errorf("got error %v", err)
	}
}

func TestListenersOfThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want := l.Addr().(*net.TCPAddr).AddrPort()
	ls, _, err := self(t).listeners()
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range ls {
		if got.proto == "tcp" && got.addr == want {
			return
		}
	}
	t.Errorf("%v is not among %+v", want, ls)
}

func TestParseTCP(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5012 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0947 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 5013 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000001000000:0948 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 5014 1 0 100
`
	ls, err := parseTCP([]byte(table))
	if err != nil || len(ls) != 2 || ls[0].addr.String() != "127.0.0.1:2375" || ls[1].addr.String() != "[::1]:2376" || ls[1].inode != 5014 {
		t.Errorf("got %+v, %v", ls, err)
	}
}

func TestParseUnix(t *testing.T) {
	const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 21345 /run/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03    77 /run/a b.sock
0000000000000000: 00000002 00000000 00010000 0001 01    78
0000000000000000: 00000002 00000000 00010000 0001 01    79 @abstract
`
	ls, err := parseUnix([]byte(table))
	if err != nil || len(ls) != 2 || ls[0].path != "/run/a b.sock" || ls[0].inode != 21345 || ls[1].path != "@abstract" {
		t.Errorf("got %+v, %v", ls, err)
	}
}

// TestProbe asks servers that behave as an engine, with TLS of each kind, and
// others that do not.
func TestProbe(t *testing.T) {
	engine := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		io.WriteString(w, "OK")
	})
	start := func(h http.Handler, conf *tls.Config) netip.AddrPort {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if conf == nil {
			s.Start()
		} else {
			s.TLS = conf
			s.StartTLS()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().(*net.TCPAddr).AddrPort()
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	for _, tt := range []struct {
		name string
		addr netip.AddrPort
		want string
		api  bool
	}{
		{"plain", start(engine, nil), tlsNone, true},
		{"tls", start(engine, &tls.Config{}), tlsServer, true},
		{"mutual, TLS 1.3", start(engine, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}), tlsMutual, false},
		{"mutual, TLS 1.2", start(engine, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: tls.VersionTLS12}), tlsMutual, false},
		{"a web page", start(http.NotFoundHandler(), nil), tlsUnread, false},
		{"a web page over TLS", start(http.NotFoundHandler(), &tls.Config{}), tlsUnread, false},
		{"silence", mute.Addr().(*net.TCPAddr).AddrPort(), tlsUnread, false},
	} {
		got, api, err := self(t).probe(context.Background(), tt.addr)
		if got != tt.want || api != tt.api || err != nil {
			t.Errorf("%s: %q, api %v, %v; want %q, %v", tt.name, got, api, err, tt.want, tt.api)
		}
	}
	if _, _, err := self(t).probe(context.Background(), netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		t.Error("a closed port gave no error")
	}
}

func TestAPIPort(t *testing.T) {
	for _, tt := range []struct {
		addr string
		tls  bool
		want string
	}{{"0.0.0.0:2375", false, "2375"}, {"[::]:99", false, "99"}, {"host", false, "2375"}, {"host", true, "2376"}, {"host:88", true, "88"}, {"[::1]", true, "2376"}} {
		if got := apiPort(tt.addr, tt.tls); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.addr, got, tt.want)
		}
	}
}

func TestMountOf(t *testing.T) {
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /var rw - xfs /dev/sda2 rw
31 30 8:3 / /var/lib/doc\040ker rw - ext4 /dev/sda3 rw
32 31 8:4 / /var/lib/doc\040ker rw - btrfs /dev/sda4 rw
`
	for path, want := range map[string][2]string{
		"/var/lib/docker":      {"/var", "xfs"},
		"/var/lib/doc ker/x":   {"/var/lib/doc ker", "btrfs"},
		"/variable/lib/docker": {"/", "ext4"},
	} {
		at, fstype := mountOf(table, path)
		if at != want[0] || fstype != want[1] {
			t.Errorf("%s: %s %s, want %v", path, at, fstype, want)
		}
	}
}

func TestUnit(t *testing.T) {
	for cgroups, want := range map[string]string{
		"0::/system.slice/docker.service\n":                                                             "docker.service",
		"12:pids:/x.service\n1:name=systemd:/system.slice/docker.service\n0::/\n":                       "docker.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service\n":                   "docker.service user",
		"0::/user.slice/user-0.slice/session-3.scope\n":                                                 "",
		"4:memory:/docker/0123\n0::/\n":                                                                 "",
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/podman-1.scope\n":                  "",
		"0::/system.slice/system-dockerd.slice/dockerd@two.service/containerd\n1:name=systemd:/other\n": "dockerd@two.service",
	} {
		name, user := unitOf([]byte(cgroups))
		if user {
			name += " user"
		}
		if name != want {
			t.Errorf("%q: %q, want %q", cgroups, name, want)
		}
	}
	etc, lib := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		lib + "/docker.service":               "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n",
		lib + "/docker.socket":                "[Socket]\n",
		lib + "/docker.service.d/10-a.conf":   "",
		etc + "/docker.service.d/10-a.conf":   "",
		etc + "/docker.service.d/05-b.conf":   "",
		etc + "/docker.service.d/ignored.txt": "",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := unitFiles([]string{etc, lib}, "docker.service", false)
	want := map[string]any{
		"Name": "docker.service", "User": false, "FragmentPath": lib + "/docker.service", "SocketPath": lib + "/docker.socket",
		"DropIns": []any{etc + "/docker.service.d/05-b.conf", etc + "/docker.service.d/10-a.conf"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !startsEngine(got) || startsEngine(unitFiles([]string{etc}, "cron.service", false)) {
		t.Error("a unit that does not start dockerd was taken for its own")
	}
}

func TestMaskedKeepsNoSecret(t *testing.T) {
	got := masked("", map[string]any{
		"proxies":  map[string]any{"http-proxy": "http://ana:geheim12@proxy:3128"},
		"log-opts": map[string]any{"splunk-token": "a1b2c3d4-e5f6-7890"},
	}).(map[string]any)
	for _, v := range []any{got["proxies"].(map[string]any)["http-proxy"], got["log-opts"].(map[string]any)["splunk-token"]} {
		if s := v.(string); !inventory.Masked(s) || strings.Contains(s, "geheim12") || strings.Contains(s, "e5f6") {
			t.Errorf("%q", s)
		}
	}
}
