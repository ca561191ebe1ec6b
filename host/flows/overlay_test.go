package flows

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"casco/guard/network"
	"casco/internal/realdocker"
)

// marker is what is sent through an overlay, and looked for on the wire.
const marker = "casco-flows-marker-5d1f"

// TestOverlay: two engines of one swarm, with a wire between them. What passes
// in an overlay is seen in both containers, and on the wire as it is.
func TestOverlay(t *testing.T) { testOverlay(t, false) }

// TestEncryptedOverlay: on the wire it cannot be seen any more. The kernel
// needs ESP, so it runs in a guest of "make lsm".
func TestEncryptedOverlay(t *testing.T) {
	if guest := os.Getenv("CASCO_GUEST"); guest != "overlay" {
		t.Skip("runs in the guest overlay of make lsm")
	}
	testOverlay(t, true)
}

func testOverlay(t *testing.T, encrypted bool) {
	a, b := realdocker.Swarm(t)
	create := []string{"network", "create", "-d", "overlay", "--attachable", "over"}
	if encrypted {
		create = append(create, "--opt", "encrypted")
	}
	a.Docker(create...)
	for _, e := range []*realdocker.Engine{a, b} {
		e.Image("flows")
	}
	a.Attach("server", "--network", "over", "flows", "httpd", "-f", "-p", "8000")
	b.Attach("client", "--network", "over", "flows", "sleep", "3600")
	server, client := inside(t, a, "server"), inside(t, b, "client")
	at, from := addrIn(t, a, "server", "over"), addrIn(t, b, "client", "over")

	w := watch(t, Options{}, server, client)
	sniffed := a.Sniff()
	for n := 0; n < 10; n++ {
		for try := 0; ; try++ { // until both hosts know the way
			_, err := b.TryDocker("exec", "client", "wget", "-U", marker, "-q", "-O", "/dev/null", "http://"+at.String()+":8000/etc/passwd")
			if err == nil {
				break
			}
			if try == 20 {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
		}
	}

	of := func(s *spot, peer netip.Addr, out bool) (sum network.Flow) {
		for _, f := range read(t, w, s).Flows {
			if f.Peer == peer && f.Port == tcp(8000) && f.Out == out {
				sum = f
			}
		}
		return sum
	}
	fc, fs := of(client, at, true), of(server, from, false)
	if fc.Replied != 10 || fs.Replied != 10 || fs.Connections != 10 || fc.Connections < 10 {
		t.Errorf("client %+v\nserver %+v", fc, fs)
	}
	host, err := netns.GetFromName(a.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	outside, err := Read(host, "host")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range outside {
		if f.Peer == at || f.Peer == from {
			t.Errorf("the host sees what passes in the overlay: %+v", f)
		}
	}
	raw := sniffed()
	if len(raw) == 0 {
		t.Fatal("nothing was on the wire")
	}
	if seen := bytes.Contains(raw, []byte(marker)); seen == encrypted {
		t.Errorf("marker on the wire: %v, encrypted: %v\n%s", seen, encrypted, hex.Dump(raw[:min(len(raw), 400)]))
	}
	if esp := bytes.Count(raw, realdocker.ESPMark); (esp > 0) != encrypted {
		t.Errorf("%d packets of ESP on the wire, encrypted: %v", esp, encrypted)
	}
	t.Logf("%d bytes on the wire; client %d, server %d connections", len(raw), fc.Connections, fs.Connections)
}
