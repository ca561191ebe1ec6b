package checks

import (
	"net/netip"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// forbid judges each door of o. Rule is what the policy says of such doors; it
// may allow single ones.
func forbid(s *inventory.Snapshot, o *inventory.Object, rule inventory.Field[string], bad func(inventory.Port) bool, question lang.Text) audit.Answer {
	ports, facts, ok := inventory.Published(s, o)
	if !ok {
		return audit.Untold(facts...)
	}
	var wrong []inventory.Port
	for _, p := range ports {
		if !bad(p) {
			continue
		}
		if line, ok := publishAllowed(s, o, p); ok && rule != atAll {
			facts = append(facts, line)
			continue
		}
		wrong = append(wrong, p)
	}
	if wrong == nil {
		return audit.Good(facts...)
	}
	return ruled(s, rule, shut(o, audit.Bad(facts...), wrong, question))
}

// atAll is the rule of who asks what is open, whatever the policy allows.
var atAll = inventory.Field[string]{}

// publishAllowed returns the entry of ports.allow that lets container o take
// the host's port of p: "443/tcp", or "proxy:443/tcp" of one container.
func publishAllowed(s *inventory.Snapshot, o *inventory.Object, p inventory.Port) (inventory.Fact, bool) {
	list, _, _ := inventory.PolicyPublishAllowed.Of(s.Find(inventory.PolicyRef))
	_, proto, ok := strings.Cut(p.Inner, "/")
	if !ok {
		proto = "tcp" // a socket on the host's own network that is listened on
	}
	is := strconv.FormatInt(p.Host, 10) + "/" + protocol(proto)
	for i, entry := range list {
		name, port, one := strings.Cut(entry, ":")
		if !one {
			name, port = "*", entry
		}
		if port == is && fit(name, []string{o.Ref.Name}) >= 0 {
			return entryFact(s, inventory.PolicyPublishAllowed, i, entry), true
		}
	}
	return inventory.Fact{}, false
}

// shut names the wrong doors and asks about each port behind them; who owns o
// may keep each port in a place of its own, so each is a field of its own.
func shut(o *inventory.Object, a audit.Answer, wrong []inventory.Port, question lang.Text) audit.Answer {
	bindings, _, _ := inventory.PortBindings.Of(o)
	var names, loci []string
	var wants []audit.Want
	asked := map[string]bool{}
	byAll := false
	for _, p := range wrong { // there may be thousands
		names, loci = append(names, p.String()), append(loci, p.Locus())
		if p.Inner != "" && !asked[p.Inner] {
			asked[p.Inner] = true
			byAll = byAll || bindings[p.Inner] == nil
			wants = append(wants, ask(o, inventory.PortBindings.Path+"."+p.Inner, question))
		}
	}
	if byAll {
		wants = append(wants, ask(o, inventory.PublishAllPorts.Path, publishAll))
	}
	return a.At(loci...).Wanting(wants...).Because(plain(quoted(names)))
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
	Policy:   []string{inventory.PolicyPrivilegedPublish.Path, inventory.PolicyPublishAllowed.Path},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return forbid(s, o, inventory.PolicyPrivilegedPublish, func(p inventory.Port) bool { return 0 < p.Host && p.Host < 1024 }, lang.Text{
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
	Policy:   []string{inventory.PolicyPublishEverywhere.Path, inventory.PolicyPublishAllowed.Path},
	Eval:     publishedEverywhere(inventory.PolicyPublishEverywhere),
}

func publishedEverywhere(rule inventory.Field[string]) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return forbid(s, o, rule, inventory.Port.Everywhere, lang.Text{
			En: "On which address of the host must it be reached?",
			Es: "¿En qué dirección del anfitrión hay que alcanzarlo?",
		})
	}
}

// openToAll is containerPublishedEverywhere whatever the policy allows: for what
// lies behind an open door it does not matter that the door may be open.
var openToAll = &audit.Check{ID: containerPublishedEverywhere.ID, Eval: publishedEverywhere(atAll)}

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
	Policy:   []string{inventory.PolicyRandomPublish.Path},
	Eval:     evalRandomPort,
}

func evalRandomPort(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	bindings, bound, ok := inventory.PortBindings.Of(o)
	all, allFact, okAll := inventory.PublishAllPorts.Of(o)
	if !ok || !okAll {
		return audit.Untold(bound, allFact)
	}
	_, live, _ := inventory.LivePorts.Of(o)
	_, span, _ := inventory.HostPortRange.Of(inventory.Only(s, inventory.Host))
	facts := append([]inventory.Fact{bound, allFact}, known(live, span)...)
	var random []inventory.Port
	for _, inner := range sortedKeys(bindings) {
		for _, b := range asList(bindings[inner]) {
			if p := inventory.PortOf(inner, b); p.Host == 0 {
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
	a.Loci = nil // a port that nobody chose has no name
	if all {
		a = a.Wanting(ask(o, inventory.PublishAllPorts.Path, publishAll))
	}
	return ruled(s, inventory.PolicyRandomPublish, a)
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
	ports, facts, ok := inventory.Published(s, o)
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
	var idle []inventory.Port
	for _, p := range ports {
		// Only TCP has sockets that listen; a UDP service may open its own at any time.
		if strings.HasSuffix(p.Inner, "/tcp") && !open[p.Inner] {
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
