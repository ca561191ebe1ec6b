package spaces

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netns"

	"casco/guard/network"
	"casco/internal/handtest"
	"casco/policy"
)

const someID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// engineFiles writes what an engine keeps of a container.
func engineFiles(t testing.TB, config, host string) Files {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, someID), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"config.v2.json": config, "hostconfig.json": host} {
		if err := os.WriteFile(filepath.Join(dir, someID, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Files(dir)
}

const someConfig = `{"ID": "` + someID + `", "Name": "/web", "Config": {"Image": "app:1", "Labels": {"a": "b"}}, "NetworkSettings": {"Networks": {"n2": {}, "n1": null}}}`

func TestFiles(t *testing.T) {
	plain := policy.Workload{Name: "web", Image: "app:1", Labels: map[string]string{"a": "b"}, Networks: []string{"n1", "n2"}}
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	web := network.Port{Number: 80, Proto: network.TCP}
	for _, c := range []struct {
		name, config, host string
		want               *Described
		err                string
	}{
		{"plain", someConfig, `{"NetworkMode": "n1"}`, &Described{Workload: network.Workload{ID: someID, Workload: plain}}, ""},
		{"on the host", someConfig, `{"NetworkMode": "host"}`, &Described{Workload: network.Workload{ID: someID, Workload: plain, OnHost: true}}, ""},
		{"shares", someConfig, `{"NetworkMode": "container:db"}`, &Described{Workload: network.Workload{ID: someID, Workload: plain}, Shares: "db"}, ""},
		{
			"published", someConfig, `{"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "81"}], "53/udp": [{"HostPort": ""}]}}`,
			&Described{Workload: network.Workload{ID: someID, Workload: plain, Published: []network.Published{
				{Host: any4, HostPort: 8080, Port: web}, {Host: netip.MustParseAddr("127.0.0.1"), HostPort: 81, Port: web}, {Host: any6, HostPort: 8080, Port: web},
			}}}, "",
		},
		{"no name", `{"ID": "x"}`, `{}`, nil, "no name"},
		{"cut off", `{"ID": "x", "Na`, `{}`, nil, "config.v2.json"},
		{"another type", someConfig, `{"NetworkMode": 7}`, nil, "hostconfig.json"},
	} {
		got, err := engineFiles(t, c.config, c.host).Read(someID)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want an error with %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for _, id := range []string{"", "../../etc", strings.Repeat("g", 64), someID + "/"} {
		if _, err := engineFiles(t, someConfig, `{}`).Read(id); err == nil {
			t.Errorf("%q was taken for an ID", id)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add(someConfig, `{"NetworkMode": "container:x", "PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "1"}]}}`)
	f.Add(`{}`, `null`)
	f.Fuzz(func(t *testing.T, config, host string) {
		d, err := engineFiles(t, config, host).Read(someID)
		if err == nil && d.Workload.Workload.Name == "" {
			t.Error("a container without a name")
		}
	})
}

func TestNetworkJSON(t *testing.T) {
	n := NetworkJSON{ID: "0123456789abcdef", Name: "n", Driver: "bridge", Internal: true}
	n.IPAM.Config = []struct{ Subnet, Gateway string }{{"10.1.2.3/16", "10.1.0.1/16"}, {"fd00::/64", ""}, {"nonsense", "nonsense"}}
	got := n.Segment()
	want := network.Segment{
		Name: "n", Driver: "bridge", Bridge: "br-0123456789ab", Internal: true,
		Subnets:  []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/64")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.1.0.1")},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(network.Segment{}, "Options")); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{strings.Repeat("x", 16), ""} {
		n.Options = map[string]string{"com.docker.network.bridge.name": name}
		if b := n.Segment().Bridge; len(b) > 15 {
			t.Errorf("%q is no name of an interface", b)
		}
	}
}

// TestEndpoints reads a namespace as a container has it, beside one whose other
// end is not on the host.
func TestEndpoints(t *testing.T) {
	handtest.NeedRoot(t)
	tag := fmt.Sprintf("cs%x", os.Getpid())
	host, box, far := tag+"h", tag+"b", tag+"f"
	for _, args := range []string{
		"netns add " + host, "netns add " + box, "netns add " + far,
		"-n " + host + " link add br0 type bridge",
		"-n " + host + " addr add 10.1.0.1/16 dev br0",
		"-n " + host + " link add vh type veth peer name eth0 netns " + box,
		"-n " + host + " link set vh up master br0",
		"-n " + far + " link add vfar type veth peer name eth1 netns " + box,
		"-n " + box + " addr add 10.1.0.2/16 dev eth0",
		"-n " + box + " addr add 10.9.0.2/16 dev eth1",
		"-n " + box + " link set eth0 up",
		// What somebody with CAP_NET_ADMIN in there would like to be taken for: an
		// address outside, one of another network, and the other end of another's
		// interface.
		"-n " + box + " addr add 192.0.2.8/32 dev eth0",
		"-n " + box + " addr add 10.2.0.5/32 dev eth0",
		"-n " + box + " link add brx type bridge",
		"-n " + box + " addr add 10.1.0.9/32 dev brx",
		"-n " + host + " link add name vv index 77 type veth peer name vw index 78",
		"-n " + box + " link add name forged index 78 type veth peer name forged2 index 77",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		for _, ns := range []string{host, box, far} {
			exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	hostNS, err := netns.GetFromName(host)
	if err != nil {
		t.Fatal(err)
	}
	defer hostNS.Close()
	h, err := OpenHost(hostNS)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := open("/run/netns/" + box)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again, err := s.Again()
	if err != nil || again.ID != s.ID {
		t.Fatal(again, err)
	}
	again.Close()
	addrs, err := h.Addrs()
	if err != nil || len(addrs) != 1 || addrs[0].String() != "10.1.0.1" {
		t.Errorf("addresses of the host: %v, %v", addrs, err)
	}
	segs, err := h.Bridges()
	if err != nil || len(segs) != 1 || segs[0].Bridge != "br0" || segs[0].Subnets[0].String() != "10.1.0.0/16" {
		t.Errorf("bridges: %+v, %v", segs, err)
	}
	segs = append([]network.Segment{{Name: "other", Bridge: "br9", Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}}, segs...)
	ends, err := h.Endpoints(s, segs)
	if err != nil || len(ends) != 5 {
		t.Fatalf("endpoints: %+v, %v", ends, err)
	}
	for _, e := range ends {
		of := slices.DeleteFunc(e.Addrs, netip.Addr.IsLinkLocalUnicast)
		if want := e.Iface == "eth0"; want != (e.Peer != "") || want != (e.Network != "") || want && (len(of) != 1 || of[0].String() != "10.1.0.2") || !want && len(of) > 0 {
			t.Errorf("%s is taken for %+v", e.Iface, e)
		}
	}
	ends = slices.DeleteFunc(ends, func(e network.Endpoint) bool { return !strings.HasPrefix(e.Iface, "eth") })
	if e := ends[0]; e.Iface != "eth0" || e.Peer != "vh" || e.Network != "br0" || e.MAC == [6]byte{} || e.Gateways[0].String() != "10.1.0.1" {
		t.Errorf("eth0: %+v", e)
	}
	if e := ends[1]; e.Iface != "eth1" || e.Peer != "" || e.Network != "" {
		t.Errorf("eth1, whose other end is elsewhere: %+v", e)
	}
	if own, err := Of(os.Getpid()); err != nil || own.ID == s.ID {
		t.Errorf("the process's own: %+v, %v", own, err)
	} else {
		own.Close()
	}
}
