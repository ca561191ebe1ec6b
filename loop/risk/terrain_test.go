package risk

import (
	"strings"
	"testing"

	"casco/loop/inventory"
	"casco/policy"
)

// TestTierOf: an assignment of the policy comes first, then the tier's own
// networks, then labels, then the default.
func TestTierOf(t *testing.T) {
	pol := tiered()
	pol.Assign = append([]policy.Assign{
		{Match: policy.Match{Label: map[string]string{"data": "card*"}}, Tier: "restricted"},
		{Match: policy.Match{ComposeProject: "shop", ComposeService: "front|edge"}, Tier: "public"},
		{Match: policy.Match{Image: "pay:*"}, Tier: "restricted"},
		{Match: policy.Match{Network: "dmz"}, Tier: "public"},
		{Match: policy.Match{Name: "odd"}, Tier: "nosuch"},
	}, pol.Assign...)
	shop := func(service string) map[string]any {
		return map[string]any{"com.docker.compose.project": "shop", "com.docker.compose.service": service}
	}
	for _, c := range []struct {
		what string
		o    *inventory.Object
		want Tier
	}{
		{"name", box("web1"), Tier{"public", 0.2, true}},
		{"an alternative of the name", box("proxy"), Tier{"public", 0.2, true}},
		{"label", box("x", "Config.Labels", map[string]any{"data": "cards"}), Tier{"restricted", 1, true}},
		{"label of another value", box("x", "Config.Labels", map[string]any{"data": "none"}), Tier{"internal", 0.5, true}},
		{"project and service", box("x", "Config.Labels", shop("edge")), Tier{"public", 0.2, true}},
		{"project alone does not match both", box("x", "Config.Labels", shop("api")), Tier{"internal", 0.5, true}},
		{"image", box("x", "Config.Image", "pay:7"), Tier{"restricted", 1, true}},
		{"network", box("x", "NetworkSettings.Networks", on("dmz")), Tier{"public", 0.2, true}},
		{"network of a tier", box("x", "NetworkSettings.Networks", on("apps", "vault")), Tier{"restricted", 1, true}},
		{"its own label casco.tier", box("x", "Config.Labels", map[string]any{policy.TierLabel: "restricted"}), Tier{"restricted", 1, true}},
		{"its label does not undo an assignment", box("db1", "Config.Labels", map[string]any{policy.TierLabel: "public"}), Tier{"restricted", 1, true}},
		{"nothing", box("x"), Tier{"internal", 0.5, true}},
		{"a tier that the policy does not declare is the worst", box("odd"), Tier{"", 1, false}},
	} {
		s := hostOf(c.o)
		if got := tierOf(s, pol, c.o); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
	if got := tierOf(hostOf(), &policy.Policy{}, box("x")); got.Known || got.Impact != worst {
		t.Errorf("without a policy: %+v", got)
	}
}

func TestExposureOfContainer(t *testing.T) {
	other := func(name string, nets ...string) *inventory.Object {
		return box(name, "NetworkSettings.Networks", on(nets...))
	}
	for _, c := range []struct {
		what    string
		objects []*inventory.Object // the first is asked about
		want    Level
		known   bool
		says    string
	}{
		{"alone on its network", []*inventory.Object{box("a")}, HostLocal, true, "host"},
		{"published on all addresses", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "", "8080"))}, Internet, true, "0.0.0.0:8080/tcp"},
		{"published on all addresses of IPv6", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "::", "8080"))}, Internet, true, "[::]:8080/tcp"},
		{"published on a public address", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "203.0.113.7", "8080"))}, Internet, true, "203.0.113.7:8080/tcp"},
		{"published on a private address", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "10.1.2.3", "8080"))}, OtherTier, true, "10.1.2.3"},
		{"published on a carrier's address", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "100.64.1.1", "8080"))}, OtherTier, true, "100.64.1.1"},
		{"published on the loopback", []*inventory.Object{box("a", "HostConfig.PortBindings", publish("80/tcp", "127.0.0.1", "8080"))}, HostLocal, true, "host"},
		{"a neighbour of its tier", []*inventory.Object{box("a"), box("b")}, SameTier, true, "network apps with b"},
		{"a neighbour of another tier", []*inventory.Object{box("a"), box("web")}, OtherTier, true, "web (public)"},
		{"the neighbour does not run", []*inventory.Object{box("a"), box("web", "State.Running", false)}, HostLocal, true, "host"},
		{"neighbours that are kept apart", []*inventory.Object{box("a"), box("web"), thing(inventory.Network, "apps", "Driver", "bridge", "Options", map[string]any{optionICC: "false"})}, HostLocal, true, "host"},
		{"a network outside the host", []*inventory.Object{box("a"), thing(inventory.Network, "apps", "Driver", "macvlan")}, OtherTier, true, "outside"},
		{"a network across hosts", []*inventory.Object{box("a"), thing(inventory.Network, "apps", "Driver", "overlay")}, SameTier, true, "spans"},
		{"no network", []*inventory.Object{box("a", "HostConfig.NetworkMode", "none", "NetworkSettings.Networks", on("none")), box("web")}, HostLocal, true, "host"},
		{"shares the network of one that is published", []*inventory.Object{
			box("a", "HostConfig.NetworkMode", "container:b", "NetworkSettings.Networks", map[string]any{}),
			box("b", "HostConfig.PortBindings", publish("80/tcp", "", "8080")),
		}, Internet, true, "0.0.0.0:8080/tcp"},
		{"on the host's network, listens on all addresses", []*inventory.Object{box("a", "HostConfig.NetworkMode", "host", "NetworkSettings.Networks", on("host"),
			"Listeners", []any{map[string]any{"Proto": "tcp6", "Addr": "::", "Port": int64(9000)}})}, Internet, true, "[::]:9000/tcp"},
		{"on the host's network, and nobody heard where it listens", []*inventory.Object{box("a", "HostConfig.NetworkMode", "host", "NetworkSettings.Networks", on("host"))}, Internet, false, "could not be read"},
		{"bindings not read", []*inventory.Object{without(box("a"), "PortBindings")}, Internet, false, "could not be read"},
		{"does not run", []*inventory.Object{box("a", "State.Running", false, "HostConfig.PortBindings", publish("80/tcp", "", "8080"))}, NotRunning, true, "run"},
		{"nobody knows whether it runs", []*inventory.Object{without2(box("a", "HostConfig.PortBindings", publish("80/tcp", "", "8080")), "State")}, Internet, true, "8080"},
		{"a service that Swarm publishes", []*inventory.Object{
			box("a", "Config.Labels", map[string]any{"com.docker.swarm.service.name": "shop"}),
			thing(inventory.Service, "shop", "Endpoint.Ports", []any{map[string]any{"PublishMode": "ingress", "Protocol": "tcp", "TargetPort": int64(80), "PublishedPort": int64(30080)}}),
		}, Internet, true, "0.0.0.0:30080/tcp"},
		{"the second of two networks is the wider", []*inventory.Object{other("a", "apps", "mix"), other("web", "mix"), other("b", "apps")}, OtherTier, true, "mix"},
	} {
		tr := surveyed(hostOf(c.objects...), tiered())
		got := tr.Exposure(c.objects[0].Ref, Nature{Layer, Escape, false})
		if got.Level != c.want || got.Known != c.known || got.Value != exposures[c.want] || !strings.Contains(got.Because.En, c.says) {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

func without(o *inventory.Object, key string) *inventory.Object {
	delete(o.Fields["HostConfig"].(map[string]any), key)
	return o
}

func without2(o *inventory.Object, key string) *inventory.Object {
	delete(o.Fields, key)
	return o
}

func TestExposureOfOthers(t *testing.T) {
	engine := func(listeners ...any) *inventory.Object {
		return thing(inventory.Daemon, "/run/docker.sock", "Info.Driver", "overlay2", "Listeners", append([]any{}, listeners...))
	}
	tcp := func(addr, role string) any {
		return map[string]any{"Proto": "tcp", "Addr": addr, "Port": int64(2375), "TLS": "none", "Role": role}
	}
	open := box("web", "HostConfig.PortBindings", publish("80/tcp", "", "8080"))
	image := func(used ...any) *inventory.Object {
		return thing(inventory.Image, "web:1", "Id", "sha256:1", "UsedBy", append([]any{}, used...))
	}
	for _, c := range []struct {
		what    string
		objects []*inventory.Object
		ref     inventory.Ref
		n       Nature
		want    Level
	}{
		{"an image that a public container uses", []*inventory.Object{open, image("web")}, inventory.Ref{Kind: inventory.Image, Name: "web:1"}, Nature{Layer, Supply, false}, Internet},
		{"an image that nothing uses", []*inventory.Object{open, image()}, inventory.Ref{Kind: inventory.Image, Name: "web:1"}, Nature{Layer, Supply, false}, NotRunning},
		{"a network", []*inventory.Object{open}, inventory.Ref{Kind: inventory.Network, Name: "apps"}, Nature{Layer, Spread, false}, Internet},
		{"a volume", []*inventory.Object{open}, inventory.Ref{Kind: inventory.Volume, Name: "v"}, Nature{Layer, Escape, false}, NotRunning},
		{"the engine by its socket", []*inventory.Object{open, engine()}, inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Nature{Takeover, Command, true}, HostLocal},
		{"the engine on all addresses", []*inventory.Object{engine(tcp("0.0.0.0", "api"))}, inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Nature{Takeover, Command, true}, Internet},
		{"the engine on a private address", []*inventory.Object{engine(tcp("192.168.0.4", "api"))}, inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Nature{Takeover, Command, true}, OtherTier},
		{"a published port of the engine is not its API", []*inventory.Object{engine(tcp("0.0.0.0", "published"))}, inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Nature{Takeover, Command, true}, HostLocal},
		{"a default of the engine, through its containers", []*inventory.Object{open, engine()}, inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Nature{Escalation, Escape, false}, Internet},
		{"the kernel, through the containers", []*inventory.Object{open}, inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}, Nature{Layer, Escape, false}, Internet},
		{"the kernel without containers", nil, inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}, Nature{Layer, Escape, false}, HostLocal},
		{"a sysctl for users of the host", []*inventory.Object{open}, inventory.Ref{Kind: inventory.Sysctl, Name: "fs.x"}, Nature{Layer, Foothold, false}, HostLocal},
		{"a file", []*inventory.Object{open}, inventory.Ref{Kind: inventory.File, Name: "/x"}, Nature{Takeover, Command, false}, HostLocal},
		{"a listener on the loopback", []*inventory.Object{thing(inventory.Listener, "l", "Proto", "tcp", "Addr", "127.0.0.1", "Port", int64(5))}, inventory.Ref{Kind: inventory.Listener, Name: "l"}, Nature{Layer, Entry, true}, HostLocal},
		{"a listener on all addresses", []*inventory.Object{thing(inventory.Listener, "l", "Proto", "tcp", "Addr", "*", "Port", int64(5))}, inventory.Ref{Kind: inventory.Listener, Name: "l"}, Nature{Layer, Entry, true}, Internet},
		{"a registry on this machine", []*inventory.Object{thing(inventory.Registry, "localhost:5000", "Loopback", true)}, inventory.Ref{Kind: inventory.Registry, Name: "localhost:5000"}, Nature{Layer, Supply, false}, HostLocal},
		{"a registry elsewhere", []*inventory.Object{thing(inventory.Registry, "r:5000", "Loopback", false)}, inventory.Ref{Kind: inventory.Registry, Name: "r:5000"}, Nature{Layer, Supply, false}, Internet},
	} {
		if got := surveyed(hostOf(c.objects...), tiered()).Exposure(c.ref, c.n); got.Level != c.want || !got.Known {
			t.Errorf("%s: %+v, want %s", c.what, got, c.want)
		}
	}
	if got := surveyed(hostOf(thing(inventory.Image, "web:1", "Id", "x")), tiered()).Exposure(inventory.Ref{Kind: inventory.Image, Name: "web:1"}, Nature{}); got.Known || got.Level != Internet {
		t.Errorf("an image whose users were not read: %+v", got)
	}
}

// TestBlastRadius: a container with the engine's socket is worth what the worst
// container on its host is worth, and no more once that one has moved away.
func TestBlastRadius(t *testing.T) {
	socket := box("web", "HostConfig.Binds", []any{"/var/run/docker.sock:/s"}, "HostConfig.PortBindings", publish("80/tcp", "", "8080"))
	db := box("db", "NetworkSettings.Networks", on("back"), "State.Running", false)
	rate := func(objects ...*inventory.Object) Member {
		s := hostOf(objects...)
		rs := Register(Input{Snapshot: s, Findings: judged(s), Policy: tiered(), At: now})
		return riskOf(t, rs, ctr("web"), Escape).Findings[0]
	}
	together, apart := rate(socket, db), rate(socket)
	if together.Inputs.Impact.Tier != "restricted" || together.Inputs.Impact.Of != ctr("db") || together.Priority != Immediate {
		t.Errorf("together: %+v, %v", together.Inputs.Impact, together.Priority)
	}
	if apart.Inputs.Impact.Tier != "public" || apart.Current.R >= together.Current.R || apart.Priority >= together.Priority {
		t.Errorf("apart: %+v, R %v after %v, %v", apart.Inputs.Impact, apart.Current.R, together.Current.R, apart.Priority)
	}
}

func TestBlastOfContainers(t *testing.T) {
	layer := Nature{Layer, Escape, false}
	vol := func(name string, rw bool) []any {
		return []any{map[string]any{"Type": "volume", "Name": name, "Destination": "/d", "RW": rw}}
	}
	back := func(name string, set ...any) *inventory.Object {
		return box(name, append([]any{"NetworkSettings.Networks", on("back")}, set...)...)
	}
	for _, c := range []struct {
		what    string
		n       Nature
		objects []*inventory.Object // the first is asked about
		want    string
	}{
		{"itself", layer, []*inventory.Object{box("web")}, "public"},
		{"another network", layer, []*inventory.Object{box("web"), back("db")}, "public"},
		{"a shared network", layer, []*inventory.Object{box("web"), box("db")}, "restricted"},
		{"one step only", layer, []*inventory.Object{box("web"), box("app", "NetworkSettings.Networks", on("apps", "back")), back("db")}, "internal"},
		{"a door of another network", layer, []*inventory.Object{box("web"), back("db", "HostConfig.PortBindings", publish("5432/tcp", "", "15432"))}, "restricted"},
		{"a door on the loopback is for the host", layer, []*inventory.Object{box("web"), back("db", "HostConfig.PortBindings", publish("5432/tcp", "127.0.0.1", "15432"))}, "public"},
		{"no network, no doors", layer, []*inventory.Object{
			box("web", "HostConfig.NetworkMode", "none", "NetworkSettings.Networks", on("none")),
			back("db", "HostConfig.PortBindings", publish("5432/tcp", "", "15432")),
		}, "public"},
		{"the host's network reaches all", layer, []*inventory.Object{box("web", "HostConfig.NetworkMode", "host", "NetworkSettings.Networks", on("host")), back("db")}, "restricted"},
		{"the network of another", layer, []*inventory.Object{box("web", "HostConfig.NetworkMode", "container:db", "NetworkSettings.Networks", map[string]any{}), back("db")}, "restricted"},
		{"a volume that the other writes", layer, []*inventory.Object{box("web", "Mounts", vol("v", false)), back("db", "Mounts", vol("v", true))}, "restricted"},
		{"a volume that it writes", layer, []*inventory.Object{box("web", "Mounts", vol("v", true)), back("db", "Mounts", vol("v", false))}, "restricted"},
		{"a volume that both only read", layer, []*inventory.Object{box("web", "Mounts", vol("v", false)), back("db", "Mounts", vol("v", false))}, "public"},
		{"what starves does not travel", Nature{Layer, Exhaustion, false}, []*inventory.Object{box("web"), box("db")}, "public"},
		{"who gets the host gets all", Nature{Escalation, Escape, false}, []*inventory.Object{box("web"), back("db", "State.Running", false)}, "restricted"},
	} {
		_, im, missing := surveyed(hostOf(c.objects...), tiered()).Blast(c.objects[0].Ref, c.n)
		if im.Tier != c.want || missing != nil {
			t.Errorf("%s: %+v, missing %v", c.what, im, missing)
		}
	}
	_, im, missing := surveyed(hostOf(box("web"), box("db")), &policy.Policy{}).Blast(ctr("web"), layer)
	if im.Value != worst || len(missing) == 0 {
		t.Errorf("without tiers: %+v, missing %v: not the worst, or not said", im, missing)
	}
}
