package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/vuln"
)

// ImageSchema names the format of an image's report in JSON. It is a contract:
// fields are added, never renamed or removed.
const ImageSchema = "casco/image/v1"

// An Image is what was read of one image, and how it was judged.
type Image struct {
	Object   *inventory.Object
	Packages []vuln.Package
	Matches  []vuln.Ranked
	Unjudged []vuln.Unjudged
	Findings []audit.Finding
	Unseen   []string // why there may be more packages
	At       time.Time
	Policy   Policy
	Version  string // of this program
}

// ImageFormats are those that Write takes.
var ImageFormats = []string{"json", "sarif", "github", "gitlab"}

// Write writes i in a form for programs.
func (i Image) Write(w io.Writer, format string, l lang.Lang) error {
	if format == "json" {
		return i.JSON(w, l)
	}
	var rs []lint.Result
	for _, f := range i.apart() {
		r := lint.Result{Finding: f, Key: f.Fingerprint()}
		if format == "gitlab" { // which takes no result without a file
			r.At = inventory.Position{File: i.Object.Ref.Name, Line: 1, EndLine: 1}
		}
		rs = append(rs, r)
	}
	s := &inventory.Snapshot{Host: i.Object.Ref.Name, Taken: i.At}
	s.Add(i.Object)
	d := NewLint(Audit{Snapshot: s, Policy: i.Policy}, rs)
	d.Version = i.Version
	return d.Write(w, format, l)
}

// apart are the findings of i with each vulnerability as one of its own, so that
// who keeps results by rule and place can follow it.
func (i Image) apart() []audit.Finding {
	out := slices.DeleteFunc(slices.Clone(i.Findings), func(f audit.Finding) bool {
		return f.Verdict == audit.Fail && slices.Contains(Vulnerable, f.Check.ID)
	})
	made := map[string]*audit.Check{}
	for _, m := range i.Matches {
		if m.VEX.Silent() {
			continue
		}
		c := made[m.ID]
		if c == nil {
			rating := map[string]audit.Severity{"low": audit.Low, "none": audit.Low, "medium": audit.Medium, "critical": audit.Critical}
			severity, rated := rating[m.CVSS.Severity()]
			if !rated {
				severity = audit.High
			}
			title := cmp.Or(m.Summary, m.ID)
			c = &audit.Check{ID: m.ID, Title: lang.Text{En: title, Es: title}, Severity: severity, Kind: inventory.Image, Why: lang.Text{En: title, Es: title}, Remedy: cure(m)}
			made[m.ID] = c
		}
		line := m.Package.Name + " " + m.Package.Version
		fact := inventory.Fact{Ref: i.Object.Ref, Field: inventory.ImageFlaws.Path, Value: line, Source: strings.Join(m.Sources, ", ")}
		out = append(out, audit.Finding{Check: c, Ref: i.Object.Ref, Answer: audit.Bad(fact).Because(i.place(m)).At(m.ID + " " + m.Package.Name)})
	}
	return out
}

// Vulnerable are the checks of vulnerabilities.
var Vulnerable = []string{"image-vulnerable", "image-vulnerable-less"}

func cure(m vuln.Ranked) lang.Text {
	if m.Fixed == "" {
		return lang.Text{En: "no fix is published", Es: "no hay arreglo publicado"}
	}
	return lang.Text{En: "%s of %s", Es: "%s de %s"}.F(m.Fixed, cmp.Or(m.Package.Source, m.Package.Name))
}

// place says which package of which layer a match is about, and what fixes it.
func (i Image) place(m vuln.Ranked) lang.Text {
	layer := vuln.LayerOf(i.Object, m.Package.Layer)
	if m.Fixed == "" {
		return lang.Text{En: "%s %s, layer %d; no fix is published", Es: "%s %s, capa %d; no hay arreglo publicado"}.F(m.Package.Name, m.Package.Version, layer)
	}
	return lang.Text{En: "%s %s, layer %d; fixed in %s", Es: "%s %s, capa %d; arreglado en %s"}.F(m.Package.Name, m.Package.Version, layer, m.Fixed)
}

// A layerJSON is one layer of an image, the lowest first.
type layerJSON struct {
	Layer    int    `json:"layer"`
	Digest   string `json:"digest"`
	By       string `json:"by,omitempty"` // the line of the history that made it
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
	Wasted   int64  `json:"wasted"`
	Packages int64  `json:"packages"`
}

// layers joins what each layer holds with the line of the history that made it.
func (i Image) layers() []layerJSON {
	sheets, _, _ := inventory.ImageSheets.Of(i.Object)
	lines, _, _ := inventory.ImageHistory.Of(i.Object)
	var made []string
	for _, l := range slices.Backward(lines) {
		m, _ := l.(map[string]any)
		size, sized := integer(m["Size"])
		if by, _ := m["CreatedBy"].(string); m["Empty"] != true && (!sized || size > 0) {
			made = append(made, by)
		}
	}
	out := make([]layerJSON, 0, len(sheets))
	for n, s := range sheets {
		m, _ := s.(map[string]any)
		l := layerJSON{Layer: n + 1}
		l.Digest, _ = m["Digest"].(string)
		l.Files, _ = integer(m["Files"])
		l.Bytes, _ = integer(m["Bytes"])
		l.Wasted, _ = integer(m["Wasted"])
		l.Packages, _ = integer(m["Packages"])
		if len(made) == len(sheets) { // else the history does not say which line made which
			l.By = made[n]
		}
		out = append(out, l)
	}
	return out
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

func (i Image) text(path string) string {
	s, _, _ := inventory.Field[string]{Kind: inventory.Image, Path: path}.Of(i.Object)
	return s
}

// JSON writes i as one document of ImageSchema, its texts in language l.
func (i Image) JSON(w io.Writer, l lang.Lang) error {
	type imageJSON struct {
		Name    string         `json:"name"`
		ID      string         `json:"id"`
		Source  string         `json:"source"`
		Created string         `json:"created"`
		Tags    []string       `json:"tags"`
		Digests []string       `json:"digests"`
		Release map[string]any `json:"release"`
		User    string         `json:"user"`
	}
	type findingOf struct {
		Check    string           `json:"check"`
		Title    string           `json:"title"`
		Ref      inventory.Ref    `json:"ref"`
		Verdict  audit.Verdict    `json:"verdict"`
		Severity audit.Severity   `json:"severity"`
		Reason   string           `json:"reason"`
		Evidence []inventory.Fact `json:"evidence"`
	}
	tags, _, _ := inventory.ImageTags.Of(i.Object)
	digests, _, _ := inventory.ImageDigests.Of(i.Object)
	release, _, _ := inventory.ImageRelease.Of(i.Object)
	out := struct {
		Schema   string         `json:"schema"`
		Image    imageJSON      `json:"image"`
		Layers   []layerJSON    `json:"layers"`
		Packages []vuln.Package `json:"packages"`
		Unseen   []string       `json:"unseen"`

		Vulnerabilities []vuln.Ranked   `json:"vulnerabilities"`
		Unjudged        []vuln.Unjudged `json:"unjudged"`
		Findings        []findingOf     `json:"findings"`
	}{
		Schema: ImageSchema,
		Image: imageJSON{
			i.Object.Ref.Name, i.text("Id"), i.Object.Source, i.text("Created"), append([]string{}, tags...), append([]string{}, digests...), release, i.text("Config.User"),
		},
		Layers: i.layers(), Packages: append([]vuln.Package{}, i.Packages...), Unseen: append([]string{}, i.Unseen...),
		Vulnerabilities: append([]vuln.Ranked{}, i.Matches...), Unjudged: append([]vuln.Unjudged{}, i.Unjudged...), Findings: []findingOf{},
	}
	for _, f := range i.Findings {
		out.Findings = append(out.Findings, findingOf{f.Check.ID, f.Check.Title.In(l), f.Ref, f.Verdict, f.Check.Severity, f.Reason.In(l), f.Evidence})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// Image prints i: what it is, what each layer adds, what is wrong with it from
// min on, and what could not be seen.
func (p Printer) Image(i Image, min audit.Severity) {
	release, _, _ := inventory.ImageRelease.Of(i.Object)
	name, _ := release["Name"].(string)
	layers := i.layers()
	var bytes, files, wasted int64
	for _, l := range layers {
		bytes, files, wasted = bytes+l.Bytes, files+l.Files, wasted+l.Wasted
	}
	p.Heading(lang.Text{En: "casco image %s · %s · %s", Es: "casco image %s · %s · %s"}.F(Clean(i.Object.Ref.Name), Clean(shortID(i.text("Id"))), Clean(i.Object.Source)).In(p.Lang))
	p.say(lang.Text{
		En: "%s · created %s · user %q · %d layers, %s in %d files, %s of it wasted · %d packages",
		Es: "%s · creada %s · usuario %q · %d capas, %s en %d archivos, %s desperdiciados · %d paquetes",
	}, cmp.Or(name, lang.Text{En: "no release named", Es: "sin nombre de distribución"}.In(p.Lang)), i.text("Created"), i.text("Config.User"), len(layers), size(bytes), files, size(wasted), len(i.Packages))
	p.printf("\n")
	for _, l := range layers {
		what := fmt.Sprintf("%9s %8d  %s", size(l.Bytes), l.Files, lang.Text{En: "files", Es: "archivos"}.In(p.Lang))
		if l.Packages > 0 {
			what += lang.Text{En: ", %d packages", Es: ", %d paquetes"}.F(l.Packages).In(p.Lang)
		}
		if l.Wasted > 0 {
			what += lang.Text{En: ", %s wasted", Es: ", %s desperdiciados"}.F(size(l.Wasted)).In(p.Lang)
		}
		by := []rune(Clean(strings.Join(strings.Fields(l.By), " ")))
		if len(by) > 60 {
			by = append(by[:59], '…')
		}
		p.printf("%3d %s  %s\n", l.Layer, what, p.dim(string(by)))
	}
	p.printf("\n")
	p.imageFindings(i.Findings, min)
	p.matches(i)
	if len(i.Unseen) > 0 {
		p.Heading(lang.Text{En: "not all packages can be seen:", Es: "no se ven todos los paquetes:"}.In(p.Lang))
		for _, why := range i.Unseen {
			p.wrap(2, why)
		}
	}
}

// imageFindings prints failures with their evidence, the worst first, and then
// what could not be told.
func (p Printer) imageFindings(all []audit.Finding, min audit.Severity) {
	fs := slices.Clone(all)
	slices.SortStableFunc(fs, func(a, b audit.Finding) int {
		return cmp.Or(cmp.Compare(b.Check.Severity, a.Check.Severity), strings.Compare(a.Check.ID, b.Check.ID))
	})
	for _, f := range fs {
		if !f.Fails(min) {
			continue
		}
		p.printf("%s  %s  %s\n", p.severity(f.Check.Severity), p.bold(f.Check.Title.In(p.Lang)), p.dim(f.Check.ID))
		if r := f.Reason.In(p.Lang); r != "" {
			p.wrap(10, r)
		}
		if slices.Contains(Vulnerable, f.Check.ID) {
			continue // they are shown one by one
		}
		for _, e := range f.Evidence {
			p.evidence(e)
		}
	}
	for _, f := range fs {
		if f.Verdict == audit.Unknown {
			var why string
			for _, e := range f.Evidence {
				why = cmp.Or(why, e.Err)
			}
			p.printf("%s  %s  %s\n", p.verdict(f.Verdict), f.Check.Title.In(p.Lang), p.dim(f.Check.ID))
			p.wrap(10, cmp.Or(f.Reason.In(p.Lang), why))
		}
	}
	c := audit.Conform(fs)
	p.say(lang.Text{
		En: "%d pass, %d fail, %d unknown, %d for a person to answer; %d not applicable",
		Es: "%d cumplen, %d fallan, %d desconocidos, %d por responder; %d no aplican",
	}, c.Pass, c.Fail, c.Unknown, c.Manual, c.NotApplicable)
}

// matchesShown is how many vulnerabilities are printed one by one; JSON has all.
const matchesShown = 40

// matches prints the vulnerabilities, the worst first.
func (p Printer) matches(i Image) {
	if len(i.Matches) == 0 {
		return
	}
	fixed, silent := 0, 0
	for _, m := range i.Matches {
		if m.VEX.Silent() {
			silent++
		} else if m.Fixed != "" {
			fixed++
		}
	}
	p.printf("\n")
	p.Heading(lang.Text{
		En: "%d vulnerabilities, %d of them with a fix, %d that concern nobody by VEX; the first first:",
		Es: "%d vulnerabilidades, %d con arreglo, %d que según VEX no conciernen; primero lo primero:",
	}.F(len(i.Matches), fixed, silent).In(p.Lang))
	for _, m := range i.Matches[:min(len(i.Matches), matchesShown)] {
		word := cmp.Or(m.CVSS.Severity(), lang.Text{En: "not rated", Es: "sin nota"}.In(p.Lang))
		if m.KEV != nil {
			word = lang.Text{En: "exploited", Es: "explotada"}.In(p.Lang)
		}
		line := i.place(m).In(p.Lang)
		if m.EPSS != nil {
			line += fmt.Sprintf("; EPSS %.3f", m.EPSS.Probability)
		}
		if m.VEX != nil {
			line += "; VEX: " + m.VEX.Status
		}
		p.Item(fmt.Sprintf("  %-10s %s", word, Clean(m.ID)), 31, line)
	}
	if more := len(i.Matches) - matchesShown; more > 0 {
		p.wrap(2, lang.Text{En: "and %d more: --format json", Es: "y %d más: --format json"}.F(more).In(p.Lang))
	}
	p.cures(i)
}

// cures says, layer by layer, how many vulnerabilities a new build would close,
// and who runs the image.
func (p Printer) cures(i Image) {
	fixed := map[int]int{}
	for _, m := range i.Matches {
		if m.Fixed != "" && !m.VEX.Silent() {
			fixed[vuln.LayerOf(i.Object, m.Package.Layer)]++
		}
	}
	if len(fixed) == 0 {
		return
	}
	p.printf("\n")
	p.Heading(lang.Text{En: "what a new build would close:", Es: "qué cerraría una construcción nueva:"}.In(p.Lang))
	for _, l := range i.layers() {
		n := fixed[l.Layer]
		switch {
		case n == 0:
		case l.Layer == 1:
			p.say(lang.Text{
				En: "  %d in layer 1, the base's: a newer base in FROM, or docker build --pull --no-cache",
				Es: "  %d en la capa 1, de la base: una base más nueva en FROM, o docker build --pull --no-cache",
			}, n)
		default:
			p.say(lang.Text{En: "  %d in layer %d: docker build --no-cache runs it again: %s", Es: "  %d en la capa %d: docker build --no-cache la ejecuta de nuevo: %s"}, n, l.Layer, Clean(l.By))
		}
	}
	if used, _, _ := inventory.ImageUsedBy.Of(i.Object); len(used) > 0 {
		p.say(lang.Text{En: "  then create anew, from the new digest: %s", Es: "  luego vuelva a crear, desde el nuevo digest: %s"}, strings.Join(used, ", "))
	}
}

// evidence prints a fact of an image, a list one entry a line.
func (p Printer) evidence(e inventory.Fact) {
	const most = 12
	switch v := e.Value.(type) {
	case []string:
		for _, s := range v[:min(len(v), most)] {
			p.wrap(10, s)
		}
		if more := len(v) - most; more > 0 {
			p.wrap(10, lang.Text{En: "and %d more", Es: "y %d más"}.F(more).In(p.Lang))
		}
	default:
		p.wrap(10, e.Field+" = "+p.value(e.Value))
	}
}

func shortID(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 12)]
}

// size writes bytes in units of 1,000, as docker does.
func size(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if f < 1000 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + unit
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}
