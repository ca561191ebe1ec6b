package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"casco/advisories"
	"casco/internal/columns"
	"casco/lang"
)

// An Advisories is a database of advisories as it is shown.
type Advisories struct {
	Path     string
	Info     advisories.Info
	SignedBy string        // fingerprint; "" if it was built here
	Limit    time.Duration // how old a source may be
	Now      time.Time
}

// Advisories prints what a database is made of and how old that is.
func (p Printer) Advisories(a Advisories) {
	p.Heading(Clean(a.Path))
	if a.SignedBy != "" {
		p.say(lang.Text{En: "made %s, signed by %s\n", Es: "hecha %s, firmada por %s\n"}, a.Info.Made.Format(time.RFC3339), a.SignedBy)
	} else {
		p.say(lang.Text{En: "made %s, not signed\n", Es: "hecha %s, sin firma\n"}, a.Info.Made.Format(time.RFC3339))
	}
	t := columns.Table{Width: p.width(), Least: 8, Right: []int{3, 4}}
	for _, h := range []lang.Text{{En: "source", Es: "fuente"}, {En: "kind", Es: "tipo"}, {En: "as of", Es: "al"}, {En: "age", Es: "edad"}, {En: "records", Es: "registros"}} {
		t.Heads = append(t.Heads, h.In(p.Lang))
	}
	for _, s := range a.Info.Sources {
		t.Rows = append(t.Rows, []string{Clean(s.Name), string(s.Kind), s.At.Format("2006-01-02"), Age(a.Now.Sub(s.At)), strconv.Itoa(s.Records)})
	}
	fmt.Fprintln(p.W)
	t.Print(p.W)
	var names []string
	for _, s := range a.Info.Old(a.Limit, a.Now) {
		names = append(names, Clean(s.Name))
	}
	if len(names) > 0 {
		fmt.Fprintln(p.W)
		p.wrap(0, lang.Text{
			En: "older than %s, the limit: %s. What is not found in it may have been found since.",
			Es: "más de %s, el límite: %s. Lo que no se halla en ella puede haberse hallado después.",
		}.F(Age(a.Limit), strings.Join(names, ", ")).In(p.Lang))
	}
}

// Age is how old something is, in hours or days, the same in every language.
func Age(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d h", max(0, int(d.Hours())))
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}
