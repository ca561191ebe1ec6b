package netmap

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"casco/guard/network"
	"casco/internal/columns"
	"casco/lang"
)

// width is how wide a text is at most.
const width = 100

// A page is a text for a terminal.
type page struct {
	w *bufio.Writer
	l lang.Lang
}

func newPage(w io.Writer, l lang.Lang) *page { return &page{bufio.NewWriter(w), l} }

func (p *page) printf(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

// head begins a part.
func (p *page) head(t lang.Text) { p.printf("\n%s\n", t.In(p.l)) }

// wrap prints s in lines that fit, the later ones further in.
func (p *page) wrap(first, rest, s string) {
	in := first
	for _, line := range columns.Fold(network.Printable(s), width-utf8.RuneCountInString(first)) {
		p.printf("%s%s\n", in, line)
		in = rest
	}
}

// table prints rows in columns under their heads.
func (p *page) table(heads []lang.Text, rows [][]string) {
	t := columns.Table{Width: width, Least: 1}
	for _, h := range heads {
		t.Heads = append(t.Heads, h.In(p.l))
	}
	for _, r := range rows {
		var cells []string
		for _, c := range r {
			cells = append(cells, network.Printable(c))
		}
		t.Rows = append(t.Rows, cells)
	}
	t.Print(p.w)
}

// list is names on one line, so many at most.
func list(names []string, n int) string {
	if len(names) > n {
		return fmt.Sprintf("%s … (%d)", strings.Join(names[:n], ", "), len(names))
	}
	return strings.Join(names, ", ")
}

// WriteText writes m for a terminal, in at most 100 columns.
func WriteText(w io.Writer, m network.Map, l lang.Lang) error {
	p := newPage(w, l)
	p.wrap("", "", lang.Text{En: "Networks and tiers, policy %s, version %d, %s", Es: "Redes y niveles, política %s, versión %d, %s"}.
		F(m.Policy, m.Version, m.At.Format("2006-01-02 15:04Z")).In(l))
	p.tiers(m)
	p.networks(m)
	p.crossings(m)
	p.exposure(m)
	p.head(lang.Text{En: "To look at", Es: "Para mirar"})
	ps := problems(m)
	for _, t := range ps {
		p.wrap("  ! ", "    ", t.In(l))
	}
	if len(ps) == 0 {
		p.printf("  %s\n", lang.Text{En: "nothing", Es: "nada"}.In(l))
	}
	return p.w.Flush()
}

func (p *page) dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (p *page) tiers(m network.Map) {
	p.head(lang.Text{En: "Tiers, from the lowest impact", Es: "Niveles, desde el menor impacto"})
	var rows [][]string
	row := func(name, impact, inside, id string) {
		var names []string
		for _, x := range m.Workloads {
			if x.Tier == id {
				names = append(names, p.workload(x))
			}
		}
		rows = append(rows, []string{name, impact, inside, fmt.Sprint(len(names)), p.dash(strings.Join(names, ", "))})
	}
	for _, t := range m.Tiers {
		name := t.Name().In(p.l)
		if name != t.ID {
			name += " (" + t.ID + ")"
		}
		row(name, fmt.Sprintf("%.2g", t.Impact), t.Inside, t.ID)
	}
	if slices.ContainsFunc(m.Workloads, func(x network.MapWorkload) bool { return x.Tier == "" }) {
		row("("+noTierWord.In(p.l)+")", "–", "–", "")
	}
	p.table([]lang.Text{{En: "tier", Es: "nivel"}, {En: "impact", Es: "impacto"}, {En: "inside", Es: "dentro"}, {En: "n", Es: "n"}, {En: "workloads", Es: "cargas"}}, rows)
}

// workload is a container with what is odd about it.
func (p *page) workload(x network.MapWorkload) string {
	var odd []string
	if x.ByDefault {
		odd = append(odd, lang.Text{En: "by default", Es: "por omisión"}.In(p.l))
	}
	if x.OnHost {
		odd = append(odd, lang.Text{En: "on the host", Es: "en el anfitrión"}.In(p.l))
	}
	if len(x.Shares) > 0 {
		odd = append(odd, lang.Text{En: "with %s", Es: "con %s"}.F(list(x.Shares, 3)).In(p.l))
	}
	if len(odd) == 0 {
		return x.Name
	}
	return x.Name + " (" + strings.Join(odd, "; ") + ")"
}

func (p *page) networks(m network.Map) {
	p.head(lang.Text{En: "Networks", Es: "Redes"})
	var rows [][]string
	for _, n := range m.Networks {
		kind := p.dash(n.Driver)
		if n.Internal {
			kind += lang.Text{En: ", internal", Es: ", interna"}.In(p.l)
		}
		tiers := p.dash(strings.Join(n.Tiers, ", "))
		if n.Mixed() {
			tiers += " " + lang.Text{En: "(mixed)", Es: "(mezclada)"}.In(p.l)
		}
		rows = append(rows, []string{n.Name, kind, p.dash(n.Tier), tiers, p.dash(list(n.Workloads, 12))})
	}
	p.table([]lang.Text{
		{En: "network", Es: "red"}, {En: "driver", Es: "controlador"}, {En: "carries", Es: "lleva"}, {En: "has tiers", Es: "tiene niveles"}, {En: "workloads", Es: "cargas"},
	}, rows)
}

func (p *page) crossings(m network.Map) {
	p.head(lang.Text{En: "Flows that the policy declares", Es: "Flujos que declara la política"})
	var rows [][]string
	for _, c := range m.Crossings {
		review := p.dash("")
		if !c.Review.IsZero() {
			review = c.Review.String()
		}
		if c.Overdue {
			review += " " + lang.Text{En: "(overdue)", Es: "(vencida)"}.In(p.l)
		}
		row := []string{c.ID, c.From + " → " + c.To, c.Port.String(), p.dash(c.Owner), review, p.dash(c.Why)}
		if m.Flowed {
			row = append(row, p.used(c))
		}
		rows = append(rows, row)
	}
	heads := []lang.Text{
		{En: "flow", Es: "flujo"}, {En: "from → to", Es: "de → a"}, {En: "port", Es: "puerto"}, {En: "owner", Es: "dueño"}, {En: "review", Es: "revisión"}, {En: "why", Es: "porqué"},
	}
	if m.Flowed {
		heads = append(heads, lang.Text{En: "seen", Es: "visto"})
	}
	p.table(heads, rows)
}

// used says what was seen of a crossing.
func (p *page) used(c network.Crossing) string {
	switch {
	case c.Connections > 0:
		return fmt.Sprintf("%d, %s", c.Connections, c.Last.Format("2006-01-02"))
	case c.Idle():
		return lang.Text{En: "nobody runs", Es: "nadie corre"}.In(p.l)
	}
	return lang.Text{En: "never", Es: "nunca"}.In(p.l)
}

func (p *page) exposure(m network.Map) {
	if len(m.Exposure) == 0 {
		return
	}
	p.head(lang.Text{En: "What the host publishes, and who reaches it", Es: "Lo que publica el anfitrión, y quién lo alcanza"})
	var rows [][]string
	for _, e := range m.Exposure {
		rows = append(rows, []string{e.Workload, e.Tier, doorOf(e), p.reached(e.Today), p.reached(e.Enforced)})
	}
	p.table([]lang.Text{
		{En: "workload", Es: "carga"}, {En: "tier", Es: "nivel"}, {En: "where", Es: "dónde"}, {En: "without rules", Es: "sin reglas"}, {En: "rules in force", Es: "reglas en vigor"},
	}, rows)
}

func (p *page) reached(r network.Reached) string {
	if r.Nobody() {
		return nobodyWord.In(p.l)
	}
	var who []string
	if r.Outside {
		who = append(who, outsideWord.In(p.l))
	}
	if r.Host {
		who = append(who, hostWord.In(p.l))
	}
	if len(r.Containers) > 0 {
		who = append(who, list(r.Containers, 4))
	}
	return strings.Join(who, ", ")
}
