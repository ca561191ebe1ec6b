package checks

import (
	"net/netip"
	"slices"
	"strconv"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// enginePorts are those on which engines answer without TLS by custom: 2375
// (IANA: docker), 4243 (Docker before 1.0, still in old guides). Swarm's and
// 2376, where TLS is the custom, are left to daemon-tls.
var enginePorts = []int64{2375, 4243}

var listenerEnginePort = &audit.Check{
	ID:    "listener-engine-port",
	Title: lang.Text{En: "A port known for the open engine API is reachable", Es: "Un puerto conocido por la API abierta del motor es alcanzable"},
	Why: lang.Text{
		En: "The whole Internet is searched for these ports all day; an engine, or a proxy in front of one, that answers there without a certificate is taken within hours.",
		Es: "Toda Internet se rastrea a diario en busca de estos puertos; un motor, o un proxy ante uno, que responda allí sin certificado cae en horas.",
	},
	Remedy: lang.Text{
		En: "Stop what listens there, or bind it to loopback or a unix socket; reach engines by DOCKER_HOST=ssh://.",
		Es: "Detenga lo que escucha allí, o átelo a loopback o a un socket unix; acceda a los motores con DOCKER_HOST=ssh://.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowHostPorts.and("nist-800-190", "4.3.2"),
	Kind:     inventory.Listener,
	About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
		port, _, ok := inventory.ListenerPort.Of(o)
		return !ok || slices.Contains(enginePorts, port)
	},
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		port, portFact, portOK := inventory.ListenerPort.Of(o)
		loopback, _, addrFact, addrOK := listensOn(o)
		_, exe, _ := inventory.ListenerExe.Of(o)
		switch {
		case !portOK, !addrOK:
			return audit.Untold(portFact, addrFact)
		case slices.Contains(enginePorts, port) && !loopback:
			return audit.Bad(addrFact, portFact, exe)
		}
		return audit.Good(addrFact, portFact)
	},
}

var listenerAllAddresses = &audit.Check{
	ID:    "listener-all-addresses",
	Title: lang.Text{En: "A service of the host listens on every address", Es: "Un servicio del anfitrión escucha en todas las direcciones"},
	Why: lang.Text{
		En: "It is reached from every network of the host, those of its containers among them, even from an --internal one.",
		Es: "Se alcanza desde toda red del anfitrión, incluidas las de sus contenedores, aun desde una --internal.",
	},
	Remedy: lang.Text{
		En: "Stop it if nobody needs it; else bind it to the address that it serves, and let the host's firewall refuse it to the containers' networks.",
		Es: "Deténgalo si nadie lo necesita; si no, átelo a la dirección que sirve, y que el cortafuegos lo niegue a las redes de contenedores.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowHostPorts,
	Kind:     inventory.Listener,
	Policy:   []string{"host.ports"},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, everywhere, addrFact, ok := listensOn(o)
		owner, ownerFact, owned := inventory.ListenerOwner.Of(o)
		_, port, _ := inventory.ListenerPort.Of(o)
		_, exe, _ := inventory.ListenerExe.Of(o)
		switch {
		case owner != "":
			return audit.Beside(lang.Text{En: "a container owns it; its own checks judge it", Es: "es de un contenedor; lo juzgan sus propias comprobaciones"}, ownerFact)
		case !ok:
			return audit.Untold(addrFact)
		case !everywhere:
			return audit.Good(addrFact, port)
		case !owned:
			return audit.Untold(ownerFact, addrFact)
		}
		switch says, line := portLists.of(s, portName(o)); says {
		case allowed:
			return audit.Good(addrFact, port, exe, line).Because(policyAllows)
		case forbidden:
			return audit.Beside(lang.Text{En: "the policy forbids it: see listener-forbidden", Es: "la política lo prohíbe: vea listener-forbidden"}, addrFact, port, line)
		}
		return audit.Question(lang.Text{
			En: "Who needs this service, and from which networks?", Es: "¿Quién necesita este servicio, y desde qué redes?",
		}, addrFact, port, exe)
	},
}

var listenerForbidden = &audit.Check{
	ID:    "listener-forbidden",
	Title: lang.Text{En: "A port of the host is open that the policy forbids", Es: "Está abierto un puerto del anfitrión que la política prohíbe"},
	Why: lang.Text{
		En: "Somebody decided that nothing serves there: what does was forgotten, or was put there by somebody else.",
		Es: "Alguien decidió que nada sirva ahí: lo que sirve se olvidó, o lo puso otro.",
	},
	Remedy: lang.Text{
		En: "Stop the program that listens, and what starts it; or allow the port in the policy, host.ports.allow.",
		Es: "Detenga el programa que escucha, y lo que lo inicia; o permita el puerto en la política, host.ports.allow.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowPorts,
	Kind:     inventory.Listener,
	Policy:   []string{"host.ports"},
	About: func(s *inventory.Snapshot, _ *inventory.Object) bool {
		_, _, said := inventory.PolicyForbidPorts.Of(s.Find(inventory.PolicyRef))
		return said
	},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, port, okPort := inventory.ListenerPort.Of(o)
		_, proto, okProto := inventory.ListenerProto.Of(o)
		owner, ownerFact, owned := inventory.ListenerOwner.Of(o)
		_, exe, _ := inventory.ListenerExe.Of(o)
		_, pid, _ := inventory.ListenerPid.Of(o)
		if owner != "" {
			return audit.Beside(lang.Text{En: "a container owns it; its own checks judge it", Es: "es de un contenedor; lo juzgan sus propias comprobaciones"}, ownerFact)
		}
		if !okPort || !okProto {
			return audit.Untold(port, proto)
		}
		says, line := portLists.of(s, portName(o))
		switch {
		case says == unsaid:
			return audit.Good(port)
		case says == allowed:
			return audit.Good(port, line).Because(policyAllows)
		case !owned:
			return audit.Untold(ownerFact, port)
		}
		return audit.Bad(port, exe, pid, line).Because(policyForbids)
	},
}

// portName is the port of a listener as a policy names it: "22/tcp".
func portName(o *inventory.Object) string {
	port, _, _ := inventory.ListenerPort.Of(o)
	proto, _, _ := inventory.ListenerProto.Of(o)
	return strconv.FormatInt(port, 10) + "/" + protocol(proto)
}

// listensOn reads the address of a listener: on loopback, or on every address.
func listensOn(o *inventory.Object) (loopback, everywhere bool, fact inventory.Fact, ok bool) {
	text, fact, ok := inventory.ListenerAddr.Of(o)
	if !ok {
		return false, false, fact, false
	}
	if text == "*" {
		return false, true, fact, true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		fact.Err = "is no address: " + text
		return false, false, fact, false
	}
	return addr.Unmap().IsLoopback(), addr.IsUnspecified(), fact, true
}
