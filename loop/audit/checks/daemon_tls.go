package checks

import (
	"slices"
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
	Controls: rowEngineAccess.and("nist-800-190", "4.3.2", "nist-800-53-r5", "IA-3", "nist-800-53-r5", "SC-8", "pci-dss-4", "2.2.7").cis("2.8"),
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
	has := func(scheme string) bool {
		return slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, scheme) })
	}
	tcp := has("tcp://")
	unsure := false
	for _, l := range engineSockets(listeners) {
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
	case unsure, !live && (tcp || has("fd://")): // systemd may hand over a TCP socket
		return audit.Untold(evidence...).Because(lang.Text{
			En: "the engine listens on TCP, or may, and no probe could tell whether it asks for a certificate",
			Es: "el motor escucha en TCP, o quizá, y ninguna prueba pudo decir si pide un certificado",
		})
	case !live:
		return audit.Good(hostsFact)
	}
	return audit.Good(evidence[:2]...)
}

// engineSockets returns the TCP sockets on which the engine's API may answer:
// not those whose Role says that they are Swarm's, of metrics, or hold a port
// that a container publishes.
func engineSockets(listeners []any) (out []map[string]any) {
	for _, e := range listeners {
		l, _ := e.(map[string]any)
		role, _ := l["Role"].(string)
		if l["Proto"] == "tcp" && (role == "api" || role == "") {
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
