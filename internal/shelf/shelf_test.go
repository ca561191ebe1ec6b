package shelf

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/internal/unixsock"
)

// TestSay: what is held is handed over with its descriptor, by a name that tells
// its path and which socket is there.
func TestSay(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", at)
	t.Setenv("LISTEN_FDS", "")
	s := New()
	l, err := unixsock.Listen(filepath.Join(dir, "door"), 0o700, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hear := func() (said string, rights int) {
		t.Helper()
		b, oob := make([]byte, 512), make([]byte, 64)
		systemd.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, r, _, _, err := systemd.ReadMsgUnix(b, oob)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n]), r
	}
	s.Put(l)
	if said, rights := hear(); !strings.HasPrefix(said, "FDSTORE=1\n") || !strings.HasSuffix(said, "FDNAME="+name(l)) || rights == 0 {
		t.Errorf("put: %q with %d bytes of rights", said, rights)
	}
	s.Again()
	if said, _ := hear(); !strings.HasPrefix(said, "FDSTORE=1\n") {
		t.Errorf("again: %q", said)
	}
	s.Drop(l)
	if said, _ := hear(); said != "FDSTOREREMOVE=1\nFDNAME="+name(l) {
		t.Errorf("dropped: %q", said)
	}
	if _, after, ok := strings.Cut(name(l), "@"); !ok || after != filepath.Join(dir, "door") {
		t.Errorf("its name is %q", name(l))
	}
	s.Put(l)
	hear()
	s.Stay()
	if err := l.Remove(); err != nil || !l.There() {
		t.Errorf("what is held is taken away: %v", err)
	}
	odd, err := unixsock.Listen(filepath.Join(dir, "a:b"), 0o700, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	if name(odd) != "" {
		t.Errorf("a path with a colon has the name %q", name(odd))
	}
}
