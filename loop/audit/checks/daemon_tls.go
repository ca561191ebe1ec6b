package checks

import (
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonTLS = &audit.Check{
	ID:    "daemon-tls",
	Title: lang.Text{En: "Engine answers on TCP without asking for a client certificate", Es: "El motor responde por TCP sin pedir certificado de cliente"},
	Why: lang.Text{
		En: "Who reaches the port starts a privileged container and owns the host. On loopback that is every local user, every container of the host's network, and a web page that the browser of one of them opens.",
		Es: "Quien alcanza el puerto inicia un contenedor privilegiado y es dueño del anfitrión. En loopback lo alcanzan todo usuario local, todo contenedor en la red del anfitrión y una página que abra el navegador de uno de ellos.",
	},
	Remedy: lang.Text{
		En: `Drop the tcp:// entry from "hosts" (and from -H in the unit) and use DOCKER_HOST=ssh://; if TCP must stay, set tlsverify, tlscacert, tlscert and tlskey.`,
		Es: `Quite la entrada tcp:// de "hosts" (y de -H en la unidad) y use DOCKER_HOST=ssh://; si TCP debe quedar, ponga tlsverify, tlscacert, tlscert y tlskey.`,
	},
	Severity: audit.Critical,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowEngineAccess.cis("2.8"),
	Kind:     inventory.Daemon,
	Eval:     evalTLS,
}

// Two witnesses: what a probe found on the sockets that listen, and what the
// engine is told to listen on. One that fails is enough to fail; to pass, what
// listens was probed, or nothing listens.
func evalTLS(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	listeners, listenFact, live := inventory.DaemonListeners.Of(o)
	hosts, hostsFact, declared := inventory.DaemonHosts.Of(o)
	verify, verifyFact, _ := inventory.DaemonTLSVerify.Of(o)
	evidence := []inventory.Fact{listenFact, hostsFact, verifyFact}
	if !live && !declared {
		return audit.Untold(evidence...)
	}
	tcp := slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, "tcp://") })
	unsure := false
	for _, l := range engineSockets(o, listeners) {
		switch l["TLS"] {
		case "mutual":
		case "none", "server":
			return audit.Bad(evidence...).Wanting(wantTLS(o)...)
		default:
			unsure = true
		}
	}
	switch {
	case tcp && !verify:
		return audit.Bad(evidence...).Wanting(wantTLS(o)...)
	case unsure, !live && tcp:
		return audit.Untold(evidence...).Because(lang.Text{
			En: "the engine listens on TCP and no probe could tell whether it asks for a certificate",
			Es: "el motor escucha en TCP y ninguna prueba pudo decir si pide un certificado",
		})
	case !live:
		return audit.Good(hostsFact)
	}
	return audit.Good(evidence[:2]...)
}

// engineSockets returns the TCP sockets of the engine on which its API may
// answer: not those of Swarm (2377 for the managers, mutual TLS by itself,
// 7946 for gossip; docs.docker.com, "Getting started with swarm mode"), nor
// the one of its metrics.
func engineSockets(o *inventory.Object, listeners []any) (out []map[string]any) {
	swarm, _ := swarmActive(o)
	metrics, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: "Effective.metrics-addr"}.Of(o)
	for _, e := range listeners {
		l, _ := e.(map[string]any)
		port, _, ok := inventory.Field[int64]{Kind: inventory.Daemon, Path: "Port"}.Of(&inventory.Object{Fields: l})
		switch {
		case l["Proto"] != "tcp":
		case swarm && (port == 2377 || port == 7946):
		case ok && metrics != "" && strings.HasSuffix(metrics, ":"+strconv.FormatInt(port, 10)):
		default:
			out = append(out, l)
		}
	}
	return out
}

func wantTLS(o *inventory.Object) []audit.Want {
	ask := func(f inventory.Field[string], en, es string) audit.Want {
		return audit.Want{Ref: o.Ref, Field: f.Path, Ask: lang.Text{En: en, Es: es}}
	}
	return []audit.Want{
		{Ref: o.Ref, Field: inventory.DaemonTLSVerify.Path, Value: true, Breaks: lang.Text{
			En: "Clients that use the TCP port need a certificate signed by the CA named here.",
			Es: "Los clientes que usan el puerto TCP necesitan un certificado firmado por la CA aquí nombrada.",
		}},
		ask(inventory.DaemonTLSCA, "Path of the CA that signs the clients' certificates?", "¿Ruta de la CA que firma los certificados de los clientes?"),
		ask(inventory.DaemonTLSCert, "Path of the engine's certificate?", "¿Ruta del certificado del motor?"),
		ask(inventory.DaemonTLSKey, "Path of the engine's private key?", "¿Ruta de la clave privada del motor?"),
	}
}
