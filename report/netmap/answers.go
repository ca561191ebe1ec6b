package netmap

import (
	"fmt"
	"io"
	"strings"

	"casco/guard/network"
	"casco/lang"
	"casco/policy"
)

// wayWords say how a hop gets there.
var wayWords = map[network.Way]lang.Text{
	network.Direct:          {En: "on network", Es: "por la red"},
	network.AcrossBridges:   {En: "across, to its own address", Es: "cruzando, a su propia dirección"},
	network.OwnGateway:      {En: "published port, at its own gateway", Es: "puerto publicado, en su propia pasarela"},
	network.OtherGateway:    {En: "published port, at another gateway", Es: "puerto publicado, en otra pasarela"},
	network.HostAddress:     {En: "published port, at the host's address", Es: "puerto publicado, en la dirección del anfitrión"},
	network.HostLoopback:    {En: "port published on 127.0.0.1", Es: "puerto publicado en 127.0.0.1"},
	network.HostService:     {En: "service of the host", Es: "servicio del anfitrión"},
	network.FromTheHost:     {En: "from the host, on network", Es: "desde el anfitrión, por la red"},
	network.SharedNamespace: {En: "same network namespace", Es: "mismo espacio de red"},
	network.HostNetwork:     {En: "on the host's network", Es: "en la red del anfitrión"},
	network.PublishedPort:   {En: "published port", Es: "puerto publicado"},
	network.OnTheLAN:        {En: "on the host's own network, by", Es: "en la red propia del anfitrión, por"},
	network.ToOutside:       {En: "out of the host", Es: "hacia fuera del anfitrión"},
}

// layerWords are where a packet is dropped.
var layerWords = map[network.Layer]lang.Text{
	network.OwnOut:    {En: "the rules of who sends, outwards", Es: "las reglas de quien envía, hacia fuera"},
	network.SourcePin: {En: "the pin of addresses on its interface", Es: "la fijación de direcciones en su interfaz"},
	network.HostTable: {En: "the rules of the host", Es: "las reglas del anfitrión"},
	network.PeerIn:    {En: "the rules of who is sent to, inwards", Es: "las reglas de quien recibe, hacia dentro"},
}

// WritePaths writes the ways from one to another, those with the rules in force
// first. Where says where a line of the policy stands.
func WritePaths(w io.Writer, from, to string, paths []network.Path, where func(string) policy.Pos, l lang.Lang) error {
	p := newPage(w, l)
	for i, enforced := range []bool{true, false} {
		if i > 0 {
			p.printf("\n")
		}
		title := lang.Text{En: "With the rules in force: %s → %s", Es: "Con las reglas en vigor: %s → %s"}
		if !enforced {
			title = lang.Text{En: "Without them, as Docker leaves it: %s → %s", Es: "Sin ellas, como lo deja Docker: %s → %s"}
		}
		p.wrap("", "  ", title.F(from, to).In(l))
		n := 0
		for _, path := range paths {
			if path.Enforced != enforced {
				continue
			}
			n++
			p.path(n, path, where)
		}
		if n == 0 {
			p.printf("  %s\n", lang.Text{En: "no path", Es: "no hay camino"}.In(l))
		}
	}
	return p.w.Flush()
}

// path writes one: its ends, what it is, and each hop.
func (p *page) path(n int, path network.Path, where func(string) policy.Pos) {
	names := []string{path.Hops[0].From}
	for _, h := range path.Hops {
		names = append(names, h.To)
	}
	head := strings.Join(names, " → ")
	if path.Conduit() {
		head += lang.Text{En: " (conduit: through what is broken into on the way)", Es: " (conducto: a través de lo que se quiebra en el camino)"}.In(p.l)
	}
	if !path.Sure() {
		head += lang.Text{En: " (possible)", Es: " (posible)"}.In(p.l)
	}
	p.wrap(fmt.Sprintf("  %2d  ", n), "      ", head)
	for _, h := range path.Hops {
		said := wayWords[h.Way].In(p.l)
		if len(h.Via) > 0 {
			said += " " + list(h.Via, 4)
		}
		if len(path.Hops) > 1 {
			said = h.From + " → " + h.To + ": " + said
		}
		p.wrap("      ", "        ", said+p.hop(h, where))
		if h.Doubt != (lang.Text{}) {
			p.wrap("        ? ", "          ", h.Doubt.In(p.l))
		}
	}
}

// hop is to which ports it leads, and which lines let it pass.
func (p *page) hop(h network.Hop, where func(string) policy.Pos) string {
	var ports, lines []string
	for _, port := range h.Ports {
		ports = append(ports, port.String())
	}
	for _, r := range h.Reasons {
		lines = append(lines, fmt.Sprintf("%s (%s)", r.Path, where(r.Path)))
	}
	said := lang.Text{En: "; all that listens", Es: "; todo lo que escucha"}.In(p.l)
	if len(ports) > 0 {
		said = "; " + list(ports, 8)
	}
	if len(lines) > 0 {
		said += lang.Text{En: "; by %s", Es: "; por %s"}.F(list(lines, 4)).In(p.l)
	}
	return said
}

// WriteExplanation writes why something passes or is dropped.
func WriteExplanation(w io.Writer, x network.Explanation, l lang.Lang) error {
	p := newPage(w, l)
	head := lang.Text{En: "%s → %s %s passes", Es: "%s → %s %s pasa"}
	if !x.Passes {
		head = lang.Text{En: "%s → %s %s is dropped", Es: "%s → %s %s se descarta"}
	}
	p.wrap("", "  ", head.F(x.From, x.To, x.Port).In(l))
	for _, line := range x.Lines {
		id := line.Path
		if line.Flow != "" {
			id = line.Flow
		}
		p.wrap("  ", "    ", lang.Text{En: "by %s (%s)", Es: "por %s (%s)"}.F(id, line.At).In(l))
	}
	if len(x.Lines) == 0 {
		p.wrap("  ", "    ", lang.Text{En: "no line of the policy lets it pass", Es: "ninguna línea de la política lo deja pasar"}.In(l))
	}
	for _, n := range x.Notes {
		p.wrap("  · ", "    ", n.In(l))
	}
	if len(x.Routes) > 0 {
		p.printf("\n")
		p.routes(x.Routes)
	}
	if x.Add != nil {
		p.printf("\n")
		p.wrap("", "", lang.Text{En: "A flow that would let it pass, under flows: in the policy:", Es: "Un flujo que lo dejaría pasar, bajo flows: en la política:"}.In(l))
		for _, line := range x.Add.Lines(l) {
			p.printf("%s\n", network.Printable(line))
		}
	}
	return p.w.Flush()
}

// routes writes each way with what becomes of a packet on it.
func (p *page) routes(routes []network.Route) {
	var rows [][]string
	for _, r := range routes {
		fate := lang.Text{En: "passes", Es: "pasa"}.In(p.l)
		if at := r.Drops(); at != "" {
			fate = lang.Text{En: "dropped: %s", Es: "descartado: %s"}.F(layerWords[at].In(p.l)).In(p.l)
		}
		rows = append(rows, []string{wayWords[r.Way].In(p.l), p.dash(r.From), r.To, fate})
	}
	p.table([]lang.Text{{En: "way", Es: "camino"}, {En: "from", Es: "de"}, {En: "to", Es: "a"}, {En: "what becomes of it", Es: "qué pasa"}}, rows)
}

// WriteLearned writes what flows teach: the proposals as lines of a policy, and
// behind # what was left out of them. Head is as of Learned.Lines.
func WriteLearned(w io.Writer, learned network.Learned, head bool, l lang.Lang) error {
	p := newPage(w, l)
	said := lang.Text{
		En: "%d crossings were seen that the policy does not declare; %d that it does; %d flows left out.", Es: "Se vieron %d cruces que la política no declara; %d que sí; %d flujos se dejaron fuera.",
	}.F(len(learned.Proposals), len(learned.Known), len(learned.LeftOut)).In(l)
	p.wrap("# ", "# ", said)
	p.wrap("# ", "# ", lang.Text{
		En: "Take the mark #? away from what has its place, and write why, owner and review; delete the rest.",
		Es: "Quite la marca #? a lo que tenga su lugar, y escriba why, owner y review; borre el resto.",
	}.In(l))
	if _, err := p.w.Write(learned.Lines(l, head)); err != nil {
		return err
	}
	if len(learned.LeftOut) > 0 {
		p.wrap("# ", "# ", lang.Text{En: "Left out:", Es: "Se dejó fuera:"}.In(l))
	}
	for _, o := range learned.LeftOut {
		arrow := "→"
		if !o.Flow.Out {
			arrow = "←"
		}
		peer := "*"
		if o.Flow.Peer.IsValid() {
			peer = o.Flow.Peer.String()
		}
		who := o.Flow.Workload
		if who == "" {
			who = fmt.Sprint(o.Flow.Namespace)
		}
		p.wrap("#   ", "#     ", fmt.Sprintf("%s %s %s %s (%d): %s", who, arrow, peer, o.Flow.Port, o.Flow.Connections, o.Why.In(l)))
	}
	return p.w.Flush()
}
