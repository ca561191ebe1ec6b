package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/risk"
	"casco/supervision"
)

// A canvas is what charts are drawn on: SVG, or a page of a PDF. Lengths are in
// units of which the width of a chart has 100; y grows downwards.
type canvas interface {
	line(x1, y1, x2, y2 float64, ink ink, dashed bool)
	rect(x, y, w, h float64, fill ink)
	text(x, y float64, s string, at anchor)
}

// An ink is a colour by what it means; in print it is a grey of its own too.
type ink uint8

const (
	axis ink = iota
	good
	bad
	doubt
	quiet
	mark
	agreed // good, under a text
)

// inks as red, green and blue. They differ in lightness as well, so that they
// are told apart in grey.
var inks = [...][3]int{axis: {90, 90, 90}, good: {46, 125, 50}, bad: {183, 28, 28}, doubt: {251, 192, 45}, quiet: {224, 224, 224}, mark: {21, 101, 192}, agreed: {165, 214, 167}}

type anchor uint8

const (
	start anchor = iota
	middle
	end
)

// historyChart draws posture over time: the interval of conformance as a band,
// a dashed line where another policy came into force, a gap where nothing ran.
func (d *Dossier) historyChart(l lang.Lang) picture {
	p := picture{title: lang.Text{En: "Posture over time", Es: "Postura en el tiempo"}.In(l), h: 40}
	first, last := d.History[0].At, d.History[len(d.History)-1].At
	span := math.Max(1, last.Sub(first).Seconds())
	x := func(t time.Time) float64 { return 8 + 88*t.Sub(first).Seconds()/span }
	y := func(share float64) float64 { return 34 - 30*share }
	p.text = d.historySaid(l)
	p.draw = func(c canvas) {
		for _, share := range []float64{0, 0.5, 1} {
			c.line(8, y(share), 96, y(share), quiet, false)
			c.text(7, y(share)+1, fmt.Sprintf("%.0f", 100*share), end)
		}
		policy := ""
		for i, pt := range d.History {
			if pt.Missed { // and the band has a hole
				c.text(x(pt.At), 34, "×", middle)
				continue
			}
			until := 96.0
			if i+1 < len(d.History) {
				until = x(d.History[i+1].At)
			}
			c.rect(x(pt.At), y(high(pt)), math.Max(0.6, until-x(pt.At)), math.Max(0.4, y(low(pt))-y(high(pt))), doubt)
			c.line(x(pt.At), y(low(pt)), until, y(low(pt)), good, false)
			if policy != "" && pt.Policy != policy {
				c.line(x(pt.At), 4, x(pt.At), 34, mark, true)
			}
			policy = pt.Policy
		}
		c.text(8, 38, day(first), start)
		c.text(96, 38, day(last), end)
	}
	return p
}

// historySaid says the curve in words: where it began and where it ended, how
// often nothing ran, how often the policy changed.
func (d *Dossier) historySaid(l lang.Lang) string {
	at := func(pt Point) string {
		return fmt.Sprintf("%s %s–%s (n = %d)", day(pt.At), percent(l, low(pt)), percent(l, high(pt)), questions(pt))
	}
	var looked []Point
	missed, policies := 0, 0
	for _, pt := range d.History {
		if pt.Missed {
			missed++
			continue
		}
		if len(looked) > 0 && looked[len(looked)-1].Policy != pt.Policy {
			policies++
		}
		looked = append(looked, pt)
	}
	if len(looked) == 0 {
		return lang.Text{En: "nothing was measured", Es: "no se midió nada"}.In(l)
	}
	return lang.Text{
		En: "%d runs, from %s to %s; the band is what could not be told; missed: %d (×); changes of policy: %d (dashed)",
		Es: "%d ejecuciones, de %s a %s; la banda es lo que no se supo; faltaron: %d (×); cambios de política: %d (línea discontinua)",
	}.F(len(looked), at(looked[0]), at(looked[len(looked)-1]), missed, policies).In(l)
}

func questions(p Point) int {
	return p.Counts.Pass + p.Counts.Fail + p.Counts.Unknown + p.Counts.Manual
}

func low(p Point) float64  { return share(p.Counts.Pass, p) }
func high(p Point) float64 { return share(p.Counts.Pass+p.Counts.Unknown+p.Counts.Manual, p) }

func share(k int, p Point) float64 {
	n := questions(p)
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// prioritiesChart draws the open risks by priority.
func (d *Dossier) prioritiesChart(l lang.Lang) picture {
	p := picture{title: lang.Text{En: "Open risks by priority", Es: "Riesgos abiertos por prioridad"}.In(l), h: 4 + 7*float64(len(d.Posture.Priorities))}
	most := 1
	var said []string
	for _, c := range d.Posture.Priorities {
		most = max(most, c.N)
		said = append(said, fmt.Sprintf("%s %d", priorityOf(c.Key).In(l), c.N))
	}
	p.text = strings.Join(said, ", ")
	p.draw = func(c canvas) {
		fill := map[string]ink{risk.Immediate.String(): bad, risk.OutOfCycle.String(): doubt, risk.Scheduled.String(): mark, risk.Defer.String(): quiet}
		for i, n := range d.Posture.Priorities {
			y := 2 + 7*float64(i)
			w := 66 * float64(n.N) / float64(most)
			c.text(24, y+4, priorityOf(n.Key).In(l), end)
			c.rect(26, y, w, 5, fill[n.Key])
			c.text(27+w, y+4, fmt.Sprint(n.N), start)
		}
	}
	return p
}

// matrixChart draws the tiers against each other: green where a flow is
// declared, red where something is open that nobody declared.
func (d *Dossier) matrixChart(l lang.Lang) picture {
	tiers := d.Segmentation.Tiers
	p := picture{title: lang.Text{En: "Tiers: declared and open", Es: "Niveles: declarado y abierto"}.In(l), h: 10 + 8*float64(len(tiers))}
	var open []string
	for _, x := range d.Segmentation.Pairs {
		if len(x.Declared) == 0 && len(x.Shared)+len(x.Published) > 0 {
			open = append(open, x.From+" → "+x.To)
		}
	}
	p.text = lang.Text{
		En: "from the tier of the row to that of the column; green with its flows is declared, red is open though not declared: %s",
		Es: "del nivel de la fila al de la columna; verde con sus flujos es declarado, rojo es abierto sin declararse: %s",
	}.F(dash(strings.Join(open, ", "))).In(l)
	p.draw = func(c canvas) {
		at := map[string]int{}
		w := 70 / float64(len(tiers))
		for i, t := range tiers {
			at[t] = i
			c.text(24, 13+8*float64(i), t, end)
			c.text(26+w*(float64(i)+0.5), 6, t, middle)
			c.rect(26+w*float64(i), 8+8*float64(i), w-1, 7, axis)
		}
		for _, x := range d.Segmentation.Pairs {
			fill := quiet
			switch {
			case len(x.Shared)+len(x.Published) > 0 && len(x.Declared) == 0:
				fill = bad
			case len(x.Declared) > 0:
				fill = agreed
			}
			px, py := 26+w*float64(at[x.To]), 8+8*float64(at[x.From])
			c.rect(px, py, w-1, 7, fill)
			if len(x.Declared) > 0 {
				c.text(px+w/2, py+5, strings.Join(x.Declared, " "), middle)
			}
		}
	}
	return p
}

// controlsChart draws when each control held: green, red where it failed, yellow
// where it was not told, grey where nobody measured.
func (d *Dossier) controlsChart(l lang.Lang, hs []supervision.Held) picture {
	p := picture{title: lang.Text{En: "Controls over the period", Es: "Controles durante el período"}.In(l), h: 8 + 4*float64(len(hs))}
	p.text = lang.Text{
		En: "controls that held only for a part of it: %d; green held, red failed, yellow could not be told, grey was not measured",
		Es: "controles que se sostuvieron sólo una parte: %d; verde se sostuvo, rojo falló, amarillo no se supo, gris no se midió",
	}.F(len(hs)).In(l)
	from, span := d.Cover.From, d.Cover.Until.Sub(d.Cover.From).Seconds()
	p.draw = func(c canvas) {
		fills := map[string]ink{"pass": good, "fail": bad, "unknown": doubt, "manual": doubt, "not-applicable": quiet}
		x := func(t time.Time) float64 { return 42 + 56*t.Sub(from).Seconds()/span }
		for i, h := range hs {
			y := 1 + 4*float64(i)
			c.text(41, y+2.5, short40(h.Check+" "+h.Ref), end)
			for _, s := range h.Stretches {
				fill, is := fills[s.Verdict]
				if !is {
					fill = quiet
				}
				c.rect(x(s.From), y, x(s.To)-x(s.From), 3, fill)
			}
		}
		bottom := 5 + 4*float64(len(hs))
		c.text(42, bottom, day(from), start)
		c.text(98, bottom, day(d.Cover.Until), end)
	}
	return p
}

func short40(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return s
}
