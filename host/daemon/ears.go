package daemon

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"casco/loop/inventory"
)

// What a listener of dockerd is there for. Up to 27, dockerd itself listens on
// each published port when it runs without a userland proxy, only to hold the
// port; who calls it is sent on to the container by the firewall. A probe there
// would ask the container, and take its web page for an open API.
const (
	roleAPI       = "api"
	roleSwarm     = "swarm"
	roleMetrics   = "metrics"
	rolePublished = "published"
	roleUnknown   = ""
)

// Ports of a swarm manager and of its gossip: docker swarm init --help.
const (
	swarmPort  = 2377
	gossipPort = 7946
)

// listeners reads the sockets that the engine listens on, and probes the TCP
// ones that may be its API.
func (r *reader) listeners(ctx context.Context, s *inventory.Snapshot) {
	ls, source, err := r.p.listeners()
	if err != nil {
		r.unread("Listeners", err)
		return
	}
	roles := r.roles(s)
	out := []any{}
	for _, l := range ls {
		out = append(out, r.listener(ctx, l, roles))
	}
	r.put("Listeners", source, out)
}

func (r *reader) listener(ctx context.Context, l listener, roles map[string]string) map[string]any {
	if l.proto == "unix" {
		return map[string]any{"Proto": "unix", "Addr": l.path, "TLS": "", "Role": roles[l.path]}
	}
	role, found := roles[strconv.Itoa(int(l.addr.Port()))], tlsUnread
	if role == roleAPI || role == roleUnknown {
		tls, api, err := r.p.probe(ctx, l.addr)
		if found = tls; err == nil && api {
			role = roleAPI
		}
	}
	return map[string]any{
		"Proto": "tcp", "Addr": l.addr.Addr().String(), "Port": int64(l.addr.Port()),
		"TLS": found, "Loopback": l.addr.Addr().IsLoopback(), "Role": role,
	}
}

// roles says by port, or by path, what listens there as far as the settings
// and the containers tell.
func (r *reader) roles(s *inventory.Snapshot) map[string]string {
	roles := map[string]string{}
	for port := range publishedPorts(s) {
		roles[port] = rolePublished
	}
	if state, _, _ := inventory.DaemonSwarmState.Of(r.o); state != "" && state != "inactive" {
		roles[strconv.Itoa(swarmPort)], roles[strconv.Itoa(gossipPort)] = roleSwarm, roleSwarm
	}
	if addr, _ := r.effective["metrics-addr"].(string); addr != "" {
		roles[addr[strings.LastIndexByte(addr, ':')+1:]] = roleMetrics
	}
	hosts, _ := r.effective["hosts"].([]any)
	for _, h := range hosts {
		h, _ := h.(string)
		scheme, addr, _ := strings.Cut(h, "://")
		switch scheme {
		case "unix":
			roles[addr] = roleAPI
		case "tcp":
			roles[apiPort(addr, r.effective["tls"] == true)] = roleAPI
		}
	}
	roles[strings.TrimPrefix(r.o.Ref.Name, "unix://")] = roleAPI
	return roles
}

// apiPort is the port of a tcp:// host: 2375, or 2376 with TLS, if it names none.
func apiPort(addr string, tls bool) string {
	addr, _, _ = strings.Cut(addr, "/")
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return strconv.Itoa(int(ap.Port()))
	}
	if i := strings.LastIndexByte(addr, ':'); i >= 0 && !strings.HasSuffix(addr, "]") && i+1 < len(addr) {
		return addr[i+1:]
	}
	if tls {
		return "2376"
	}
	return "2375"
}

// publishedPorts are the host ports of all containers of s.
func publishedPorts(s *inventory.Snapshot) map[string]bool {
	out := map[string]bool{}
	for _, c := range s.Of(inventory.Container) {
		raw, _, _ := inventory.Lookup(c, "NetworkSettings.Ports")
		ports, _ := raw.(map[string]any)
		for _, bindings := range ports {
			list, _ := bindings.([]any)
			for _, b := range list {
				if m, ok := b.(map[string]any); ok {
					if port, _ := m["HostPort"].(string); port != "" {
						out[port] = true
					}
				}
			}
		}
	}
	return out
}
