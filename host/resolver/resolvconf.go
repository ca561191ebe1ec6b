package resolver

import (
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"casco/lang"
)

// conf are the servers of a resolv.conf(5), which is read again when it has
// changed: DHCP and VPNs write it. A stub on loopback (127.0.0.53 of
// systemd-resolved) is a server like others, for we ask from the host.
type conf struct {
	path string

	mu      sync.Mutex // guards what follows
	looked  time.Time
	stamp   time.Time // the file's time of change
	servers []netip.AddrPort
}

const (
	confEvery   = 5 * time.Second // how often the file is looked at, while there are questions
	serversMost = 3               // MAXNS of resolv.h
)

// read returns the servers. A file that cannot be read any more leaves those
// that were there; one that never could is an error.
func (c *conf) read() ([]netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers != nil && time.Since(c.looked) < confEvery {
		return c.servers, nil
	}
	c.looked = time.Now()
	info, err := os.Stat(c.path)
	if err == nil && (c.servers == nil || !info.ModTime().Equal(c.stamp)) {
		var b []byte
		if b, err = os.ReadFile(c.path); err == nil {
			c.servers, c.stamp = parseConf(string(b)), info.ModTime()
		}
	}
	if c.servers == nil {
		return nil, lang.Errorf(lang.Text{En: "which name servers the host has: %w", Es: "qué servidores de nombres tiene el host: %w"}, err)
	}
	return c.servers, nil
}

// parseConf takes the first lines "nameserver ADDRESS"; without one it is the
// machine itself, as resolv.conf(5) says.
func parseConf(text string) []netip.AddrPort {
	var out []netip.AddrPort
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" || len(out) == serversMost {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	if len(out) == 0 {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53))
	}
	return out
}
