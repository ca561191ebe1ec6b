package checks

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A port is a door of the host that leads into a container.
type port struct {
	inner string // "80/tcp" as the engine writes it; "" for a socket on the host's own network
	addr  string // the host's address; "" if nobody said
	host  int64  // the host's port; 0 if the engine picks one
}

func (p port) String() string {
	s := strings.Trim(p.addr, "[]")
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	s += ":" + strconv.FormatInt(p.host, 10)
	if p.inner != "" {
		s += "->" + p.inner
	}
	return s
}

// published returns the doors of o: what it publishes or, on the host's own
// network, what it listens on. It is built on what is declared; what the
// engine filled in by itself is taken from NetworkSettings.Ports where o runs.
// ok is false if it could not be read; the last fact says why.
func published(s *inventory.Snapshot, o *inventory.Object) (ports []port, facts []inventory.Fact, ok bool) {
	mode, fact, hasMode := inventory.NetworkMode.Of(o)
	if name, _ := joined(nil, mode); mode == "none" || name != "" {
		return nil, []inventory.Fact{fact}, true // the engine ignores what it publishes
	}
	if hasMode && mode == "host" {
		return onHost(s, o, fact)
	}
	bindings, bound, ok := inventory.PortBindings.Of(o)
	if !ok {
		return nil, []inventory.Fact{bound}, false
	}
	all, allFact, ok := inventory.PublishAllPorts.Of(o)
	if !ok {
		return nil, []inventory.Fact{allFact}, false
	}
	live, liveFact, _ := inventory.LivePorts.Of(o)
	facts = append(facts, bound, allFact)
	if len(live) > 0 {
		facts = append(facts, liveFact)
	}
	for _, inner := range sortedKeys(bindings) {
		for _, b := range asList(bindings[inner]) {
			ports = append(ports, filledIn(portOf(inner, b), asList(live[inner]), defaultAddr(s, o))...)
		}
	}
	if all {
		exposed, _, _ := inventory.ExposedPorts.Of(o)
		for _, inner := range sortedKeys(exposed) {
			if bindings[inner] == nil {
				ports = append(ports, filledIn(port{inner: inner}, asList(live[inner]), defaultAddr(s, o))...)
			}
		}
	}
	return ports, facts, true
}

// portOf reads {"HostIp": "", "HostPort": "8080"}. Of a range it is the lowest.
func portOf(inner string, binding any) port {
	b := asMap(binding)
	first, _, _ := strings.Cut(asString(b["HostPort"]), "-")
	n, _ := strconv.ParseInt(first, 10, 64)
	return port{inner, asString(b["HostIp"]), n}
}

// filledIn replaces what p leaves to the engine by what the engine did.
func filledIn(p port, live []any, def string) []port {
	if p.addr != "" && p.host != 0 {
		return []port{p}
	}
	var out []port
	for _, l := range live {
		is := portOf(p.inner, l)
		if (p.host == 0 || p.host == is.host) && (p.addr == "" || p.addr == is.addr) {
			out = append(out, is)
		}
	}
	if out == nil {
		if p.addr == "" {
			p.addr = def
		}
		out = []port{p}
	}
	return out
}

// defaultAddr is where the engine binds a port that names no address: as an
// option of the bridge network says, or else key "ip" of its configuration.
func defaultAddr(s *inventory.Snapshot, o *inventory.Object) string {
	mode, _, _ := inventory.NetworkMode.Of(o)
	if mode == "" || mode == "default" {
		mode = "bridge"
	}
	opts, _, _ := inventory.NetworkOptions.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: mode}))
	if addr := asString(opts["com.docker.network.bridge.host_binding_ipv4"]); addr != "" {
		return addr
	}
	addr, _, _ := inventory.DaemonDefaultIP.Of(engineOf(s))
	return addr
}

// onHost returns the sockets of o that listen on the host's own network.
func onHost(s *inventory.Snapshot, o *inventory.Object, mode inventory.Fact) ([]port, []inventory.Fact, bool) {
	missing := func(why string) ([]port, []inventory.Fact, bool) {
		return nil, []inventory.Fact{mode, {Ref: o.Ref, Field: "Listeners", Err: why, Source: o.Source, Read: o.Read}}, false
	}
	if on, _, ok := inventory.Running.Of(o); !ok || !on {
		return missing("on the host's network, and does not run: what it will listen on cannot be told")
	}
	if list, heard, ok := inventory.Listeners.Of(o); ok { // its own sockets, told from the host's
		var ports []port
		for _, l := range list {
			n, _ := asInt(asMap(l)["Port"])
			ports = append(ports, port{addr: asString(asMap(l)["Addr"]), host: n})
		}
		return ports, []inventory.Fact{mode, heard}, true
	}
	all := s.Of(inventory.Listener)
	if len(all) == 0 {
		return missing("on the host's network, and the host's listening sockets were not read")
	}
	facts := []inventory.Fact{mode}
	var ports []port
	for _, l := range all {
		owner, fact, _ := inventory.ListenerOwner.Of(l)
		if owner != o.Ref.Name {
			continue
		}
		addr, _, _ := inventory.ListenerAddr.Of(l)
		n, _, _ := inventory.ListenerPort.Of(l)
		ports, facts = append(ports, port{addr: addr, host: n}), append(facts, fact)
	}
	return ports, facts, true
}

// everywhere reports whether the host listens on all its addresses, of IPv4 or
// of IPv6, however that is written.
func (p port) everywhere() bool {
	addr, err := netip.ParseAddr(strings.Trim(p.addr, "[]"))
	return p.addr == "" || p.addr == "*" || err == nil && addr.IsUnspecified()
}

// forbid judges each door of o.
func forbid(s *inventory.Snapshot, o *inventory.Object, bad func(port) bool, question lang.Text) audit.Answer {
	ports, facts, ok := published(s, o)
	if !ok {
		return audit.Untold(facts...)
	}
	var wrong []port
	for _, p := range ports {
		if bad(p) {
			wrong = append(wrong, p)
		}
	}
	if wrong == nil {
		return audit.Good(facts...)
	}
	return shut(o, audit.Bad(facts...), wrong, question)
}

// shut names the wrong doors and asks about each port behind them; who owns o
// may keep each port in a place of its own, so each is a field of its own.
func shut(o *inventory.Object, a audit.Answer, wrong []port, question lang.Text) audit.Answer {
	bindings, _, _ := inventory.PortBindings.Of(o)
	var names, asked []string
	byAll := false
	for _, p := range wrong {
		names = append(names, p.String())
		if p.inner != "" && !slices.Contains(asked, p.inner) {
			asked = append(asked, p.inner)
			byAll = byAll || bindings[p.inner] == nil
			a = a.Wanting(ask(o, inventory.PortBindings.Path+"."+p.inner, question))
		}
	}
	if byAll {
		a = a.Wanting(ask(o, inventory.PublishAllPorts.Path, publishAll))
	}
	return a.Because(plain(quoted(names)))
}

var publishAll = lang.Text{
	En: "Publish all exposed ports? Say false once each port that is needed is listed by itself.",
	Es: "¿Publicar todos los puertos expuestos? Diga false cuando cada puerto necesario conste por separado.",
}

var containerPrivilegedPort = &audit.Check{
	ID:    "container-privileged-port",
	Title: lang.Text{En: "Container takes a port of the host below 1024", Es: "El contenedor toma un puerto del anfitrión menor de 1024"},
	Why: lang.Text{
		En: "These ports stand for services that root vouches for; the engine gives them to anybody who may start a container.",
		Es: "Esos puertos representan servicios que root avala; el motor los da a cualquiera que pueda crear un contenedor.",
	},
	Remedy: lang.Text{
		En: "Publish on a port from 1024 up, or record an exception for the one proxy that serves 80 and 443.",
		Es: "Publique en un puerto desde 1024, o registre una excepción para el único proxy que sirve 80 y 443.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowPorts.cis("5.8"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return forbid(s, o, func(p port) bool { return 0 < p.host && p.host < 1024 }, lang.Text{
			En: "On which port from 1024 up should it be published?",
			Es: "¿En qué puerto desde 1024 debe publicarse?",
		})
	},
}

var containerPublishedEverywhere = &audit.Check{
	ID:    "container-published-everywhere",
	Title: lang.Text{En: "Container is published on all addresses of the host", Es: "El contenedor se publica en todas las direcciones del anfitrión"},
	Why: lang.Text{
		En: "Every network of the host reaches it, IPv6 too, and the engine's rules let it past ufw and firewalld.",
		Es: "Lo alcanza toda red del anfitrión, también por IPv6, y las reglas del motor lo dejan pasar por delante de ufw y firewalld.",
	},
	Remedy: lang.Text{
		En: "Publish on one address, for example 127.0.0.1:8080:80 behind a proxy, or set key ip of the engine's configuration.",
		Es: "Publique en una dirección, por ejemplo 127.0.0.1:8080:80 tras un proxy, o ponga la clave ip de la configuración del motor.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowPorts.cis("5.14"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return forbid(s, o, port.everywhere, lang.Text{
			En: "On which address of the host must it be reached?",
			Es: "¿En qué dirección del anfitrión hay que alcanzarlo?",
		})
	},
}

var containerRandomPort = &audit.Check{
	ID:    "container-random-port",
	Title: lang.Text{En: "Container is published on a port that nobody chose", Es: "El contenedor se publica en un puerto que nadie eligió"},
	Why: lang.Text{
		En: "The engine takes any free port of the host's ephemeral range; it changes with each start, so no firewall or proxy rule can name it.",
		Es: "El motor toma un puerto libre del rango efímero del anfitrión; cambia en cada arranque, y ninguna regla de cortafuegos o proxy puede nombrarlo.",
	},
	Remedy: lang.Text{
		En: "Create the container again without -P and with a host port in each -p.",
		Es: "Vuelva a crear el contenedor sin -P y con un puerto del anfitrión en cada -p.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowPorts.cis("5.9"),
	Kind:     inventory.Container,
	Eval:     evalRandomPort,
}

func evalRandomPort(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	bindings, bound, ok := inventory.PortBindings.Of(o)
	all, allFact, okAll := inventory.PublishAllPorts.Of(o)
	if !ok || !okAll {
		return audit.Untold(bound, allFact)
	}
	_, live, _ := inventory.LivePorts.Of(o)
	_, span, _ := inventory.HostPortRange.Of(only(s, inventory.Host))
	facts := append([]inventory.Fact{bound, allFact}, known(live, span)...)
	var random []port
	for _, inner := range sortedKeys(bindings) {
		for _, b := range asList(bindings[inner]) {
			if p := portOf(inner, b); p.host == 0 {
				random = append(random, p)
			}
		}
	}
	if random == nil && !all {
		return audit.Good(facts...)
	}
	a := shut(o, audit.Bad(facts...), random, lang.Text{
		En: "On which address and port of the host must it be reached?",
		Es: "¿En qué dirección y puerto del anfitrión hay que alcanzarlo?",
	})
	if all {
		a = a.Wanting(ask(o, inventory.PublishAllPorts.Path, publishAll))
	}
	return a
}

var containerUnusedPort = &audit.Check{
	ID:    "container-unused-port",
	Title: lang.Text{En: "Published port has no service behind it", Es: "Un puerto publicado no tiene servicio detrás"},
	Why: lang.Text{
		En: "It is open for nobody's benefit: the first program that listens there, wanted or planted, is reached from outside.",
		Es: "Está abierto sin provecho: el primer programa que escuche ahí, querido o implantado, se alcanza desde fuera.",
	},
	Remedy: lang.Text{
		En: "Create the container again without publishing it; containers of one network reach each other without.",
		Es: "Vuelva a crear el contenedor sin publicarlo; los contenedores de una red se alcanzan sin ello.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowPorts.cis("5.9"),
	Kind:     inventory.Container,
	Eval:     evalUnusedPort,
}

func evalUnusedPort(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if mode, fact, _ := inventory.NetworkMode.Of(o); mode == "host" {
		return audit.Beside(lang.Text{En: "on the host's network nothing is published", Es: "en la red del anfitrión nada se publica"}, fact)
	}
	ports, facts, ok := published(s, o)
	if !ok {
		return audit.Untold(facts...)
	}
	if len(ports) == 0 {
		return audit.Good(facts...)
	}
	open, heard, ok := openPorts(s, o)
	facts = append(facts, heard...)
	if !ok {
		return audit.Untold(facts...)
	}
	var idle []port
	for _, p := range ports {
		// Only TCP has sockets that listen; a UDP service may open its own at any time.
		if strings.HasSuffix(p.inner, "/tcp") && !open[p.inner] {
			idle = append(idle, p)
		}
	}
	if idle == nil {
		return audit.Good(facts...)
	}
	return shut(o, audit.Bad(facts...), idle, lang.Text{
		En: "Nothing listened behind it when it was read. Where must it be published all the same?",
		Es: "Nada escuchaba detrás al leerlo. ¿Dónde debe publicarse de todos modos?",
	})
}

// openPorts returns what can be reached on the network of o ("80/tcp"), whose
// sockets may be those of other containers that share it.
func openPorts(s *inventory.Snapshot, o *inventory.Object) (open map[string]bool, facts []inventory.Fact, ok bool) {
	open = map[string]bool{}
	for _, c := range append([]*inventory.Object{o}, s.Guests(o)...) {
		list, fact, ok := inventory.Listeners.Of(c)
		facts = append(facts, fact)
		if on, _, told := inventory.Running.Of(c); !ok && (c == o || !told || on) {
			return nil, facts, false
		}
		for _, l := range list {
			if n, ok := asInt(asMap(l)["Port"]); ok && !loopback(asString(asMap(l)["Addr"])) {
				open[strconv.FormatInt(n, 10)+"/"+protocol(asString(asMap(l)["Proto"]))] = true
			}
		}
	}
	return open, facts, true
}

func protocol(s string) string { return strings.TrimRight(strings.ToLower(s), "46") }

func loopback(addr string) bool {
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	return err == nil && ip.IsLoopback()
}
