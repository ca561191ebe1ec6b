package checks

import (
	"net/netip"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonDNS = &audit.Check{
	ID:    "daemon-dns",
	Title: lang.Text{En: "Names of containers are asked for past the guard", Es: "Los nombres de los contenedores se preguntan sin pasar por la guardia"},
	Why: lang.Text{
		En: "The host's /etc/resolv.conf names the host itself. The engine then asks for the names of containers from the host's own network, where no rule of a container holds: " +
			"names that the policy does not allow are answered, and any name carries data out.",
		Es: "El /etc/resolv.conf del anfitrión nombra al propio anfitrión. Entonces el motor pregunta por los nombres de los contenedores desde la red del anfitrión, donde no rige ninguna regla de un contenedor: " +
			"se responden nombres que la política no permite, y cualquier nombre saca datos.",
	},
	Remedy: lang.Text{
		En: `Give the engine servers of its own in daemon.json: "dns": ["ADDRESS"], an address of the network and not of loopback. Containers that are started afterwards use it.`,
		Es: `Dé al motor servidores propios en daemon.json: "dns": ["DIRECCIÓN"], una dirección de la red y no de loopback. La usan los contenedores que arranquen después.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowTiers,
	Kind:     inventory.Daemon,
	Policy:   []string{"tiers", "network.enforce"},
	About:    keepsApart,
	Eval:     evalDaemonDNS,
}

// evalDaemonDNS goes by what libnetwork does (moby, libnetwork/sandbox_dns_unix.go
// and resolvconf, 20.10): servers that the engine is told are asked from the
// container's namespace, those of the host's file that are on loopback from the
// host's. A file that names nothing but the stub of systemd-resolved is not
// gone by, but that one's own list.
func evalDaemonDNS(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	told, fact, known := inventory.DaemonDNS.Of(o)
	if !known {
		return audit.Untold(fact)
	}
	if len(told) > 0 {
		return audit.Good(fact)
	}
	servers, has, known := inventory.HostNameservers.Of(inventory.Only(s, inventory.Host))
	if !known {
		return audit.Untold(has)
	}
	if len(servers) == 1 && servers[0] == "127.0.0.53" {
		return audit.Good(fact, has)
	}
	for _, server := range servers {
		bare, _, _ := strings.Cut(server, "%")
		if a, err := netip.ParseAddr(bare); err == nil && a.IsLoopback() {
			return audit.Bad(fact, has).Because(lang.Text{En: "it asks %s of the host", Es: "pregunta a %s del anfitrión"}.F(server))
		}
	}
	return audit.Good(fact, has)
}
