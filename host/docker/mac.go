package docker

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// desiredMACs returns the MAC addresses that somebody chose for a container, by
// network; nil if that cannot be told, as of another machine's engine.
//
// No answer of the API tells a chosen MAC from one that the engine made. The
// engine's own file does, since 25.0 (API 1.44): daemon/network/settings.go of
// moby, EndpointSettings.DesiredMacAddress, kept in
// DATA-ROOT/containers/ID/config.v2.json.
func (c *Client) desiredMACs(container map[string]any) map[string]string {
	at := str(container, "HostnamePath") // beside it; "" of one that was never started
	if c.socket == "" || c.minor < 44 || at == "" {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(at), "config.v2.json"))
	if err != nil {
		return nil
	}
	var file struct {
		ID              string
		NetworkSettings struct {
			Networks map[string]struct{ DesiredMacAddress *string }
		}
	}
	if json.Unmarshal(b, &file) != nil || file.ID != str(container, "Id") {
		return nil
	}
	macs := map[string]string{}
	for name, e := range file.NetworkSettings.Networks {
		if e.DesiredMacAddress == nil {
			return nil // this engine keeps it elsewhere
		}
		macs[name] = *e.DesiredMacAddress
	}
	return macs
}

// mac is the MAC address that the endpoint of m on a network shall have, ""
// for whatever the engine makes. Where it cannot be told whether it was chosen,
// the one that is there stays: a new one might be unknown to a DHCP server or a
// licence.
func (m member) mac(network string, endpoint map[string]any) string {
	if m.MACs != nil {
		return m.MACs[network]
	}
	if mac := str(endpoint, "MacAddress"); mac != madeMAC(str(endpoint, "IPAddress")) {
		return mac
	}
	return ""
}

// madeMAC is the MAC that engines before 28 make of an IPv4 address: 02:42 and
// its four bytes. To pin such a one would make it collide with whoever gets the
// address next. Newer engines make random ones.
func madeMAC(address string) string {
	ip := net.ParseIP(address).To4()
	if ip == nil {
		return ""
	}
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3])
}
