package report

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Lint is what was found in files. Its Audit has the gaps, the time and the
// policy; the findings are those of the results.
type Lint struct {
	Audit
	Results []lint.Result
	Files   []string          // that were judged, sorted
	Texts   map[string][]byte // what stands in them, for excerpts
	Version string            // of this program
}

// NewLint takes the findings of an audit from results.
func NewLint(a Audit, rs []lint.Result) Lint {
	a.Findings = nil
	for _, r := range rs {
		a.Findings = append(a.Findings, r.Finding)
	}
	return Lint{Audit: a, Results: rs}
}

type placedJSON struct {
	findingJSON
	Position *inventory.Position  `json:"position,omitempty"`
	Also     []inventory.Position `json:"also,omitempty"`     // other places that it rests on
	Accepted *acceptedJSON        `json:"accepted,omitempty"` // by a line of the file; the verdict stays
	Known    bool                 `json:"known,omitempty"`    // by the baseline
	Key      string               `json:"key"`                // for a baseline; holds when lines move
}

type acceptedJSON struct {
	Reason string             `json:"reason"`
	By     inventory.Position `json:"by"`
}

// JSON writes d as a document of AuditSchema whose findings have a position.
func (d Lint) JSON(w io.Writer, l lang.Lang) error {
	causes := Causes(d.Findings)
	return d.document(w, l, len(d.Results), func(i int) any {
		r := d.Results[i]
		out := placedJSON{findingJSON: findingOf(r.Finding, causes, l), Also: r.Also, Known: r.Known, Key: r.Key}
		if r.At.File != "" {
			out.Position = &r.At
		}
		if r.Accepted != "" {
			out.Accepted = &acceptedJSON{r.Accepted, r.By}
		}
		return out
	})
}

// Lint prints what fails, file by file, with the lines that it is about, then
// the numbers. All shows what could not be told too.
func (p Printer) Lint(d Lint, min audit.Severity, all bool) {
	file, cured := "", map[string]bool{}
	n := map[audit.Verdict]int{}
	count := map[audit.Severity]int{}
	accepted, known, below := 0, 0, 0
	for _, r := range d.Results {
		n[r.Verdict]++
		if r.Verdict == audit.Fail {
			switch {
			case r.Accepted != "":
				accepted++
			case r.Known:
				known++
			default:
				count[r.Check.Severity]++
			}
		}
		if r.Verdict == audit.Fail && r.Check.Severity < min {
			below++
			continue
		}
		if r.Verdict != audit.Fail && (!all || r.Verdict != audit.Unknown && r.Verdict != audit.Manual) {
			continue
		}
		if at := cmp.Or(r.At.File, r.Ref.String()); at != file {
			if file != "" {
				p.printf("\n")
			}
			file = at
			p.Heading(Clean(file))
		}
		p.result(d, r, !cured[r.Check.ID])
		cured[r.Check.ID] = true
	}
	if file != "" {
		p.printf("\n")
	}
	p.lintNumbers(d, n, count, accepted, known, below)
	p.tailored(d.Policy.Tailored)
	p.gaps(d.Snapshot.Gaps)
}

func (p Printer) lintNumbers(d Lint, n map[audit.Verdict]int, count map[audit.Severity]int, accepted, known, below int) {
	found := lang.Text{En: "nothing found", Es: "nada hallado"}.In(p.Lang)
	var words []string
	for _, s := range slices.Backward(severityOrder) {
		if count[s] > 0 {
			words = append(words, fmt.Sprintf("%d %s", count[s], severityWords[s].In(p.Lang)))
		}
	}
	if words != nil {
		found = strings.Join(words, ", ")
	}
	p.say(lang.Text{En: "files: %d · %s", Es: "archivos: %d · %s"}, len(d.Files), found)
	if below > 0 {
		p.say(lang.Text{En: "only counted, for their severity: %d; --all shows them", Es: "solo contados, por su severidad: %d; --all los muestra"}, below)
	}
	if accepted+known > 0 {
		p.say(lang.Text{En: "accepted in the files: %d · known to the baseline: %d", Es: "aceptados en los archivos: %d · conocidos por la línea base: %d"}, accepted, known)
	}
	if open := n[audit.Unknown] + n[audit.Manual]; open > 0 {
		p.say(lang.Text{
			En: "could not be told from the files alone: %d; --all shows them, and -H ENGINE may know",
			Es: "no se puede saber solo con los archivos: %d; --all los muestra, y -H MOTOR puede saberlos",
		}, open)
	}
}

var severityOrder = []audit.Severity{audit.Low, audit.Medium, audit.High, audit.Critical}

// result prints one finding: what, where, the lines, why, and the cure if it was
// not said before.
func (p Printer) result(d Lint, r lint.Result, cure bool) {
	title := r.Check.Title.In(p.Lang)
	if r.Verdict != audit.Fail {
		title += " — " + verdictWords[r.Verdict].In(p.Lang)
	}
	where := "     "
	if r.At.Line > 0 {
		where = fmt.Sprintf("%d:%d", r.At.Line, r.At.Column)
	}
	head := fmt.Sprintf("%-8s", where)
	pad := max(2, p.width()-22-utf8.RuneCountInString(title+r.Check.ID))
	p.printf("  %s  %s  %s%s%s\n", head, p.severity(r.Check.Severity), p.bold(title), strings.Repeat(" ", pad), p.dim(r.Check.ID))
	p.excerpt(d.Texts[r.At.File], r.At)
	if k := r.Ref.Kind; k != inventory.Dockerfile && k != inventory.Compose && k != inventory.Pragma {
		p.wrap(12, Clean(r.Ref.String()))
	}
	if v := said(d.Texts[r.At.File], r); v != "" {
		p.wrap(12, v)
	}
	if why := r.Reason.In(p.Lang); why != "" {
		p.wrap(12, Clean(why))
	}
	switch {
	case r.Accepted != "":
		p.wrap(12, lang.Text{En: "accepted in line %d: %s", Es: "aceptado en la línea %d: %s"}.F(r.By.Line, Clean(r.Accepted)).In(p.Lang))
	case r.Known:
		p.wrap(12, lang.Text{En: "known to the baseline", Es: "conocido por la línea base"}.In(p.Lang))
	case r.Verdict == audit.Fail && cure:
		p.wrap(12, "→ "+r.Check.Remedy.In(p.Lang))
	}
}

// said is the value that a Dockerfile's finding rests on, where it does not stand
// there as it is: a variable's, or the files that a COPY brings.
func said(text []byte, r lint.Result) string {
	if r.Ref.Kind != inventory.Dockerfile || len(r.Evidence) == 0 || r.Evidence[0].Value == nil {
		return ""
	}
	v := value(r.Evidence[0].Value)
	lines := strings.Split(string(text), "\n")
	if r.At.Line < 1 || r.At.EndLine > len(lines) || inventory.Masked(v) {
		return ""
	}
	there := strings.Join(strings.Fields(strings.Join(lines[r.At.Line-1:r.At.EndLine], " ")), " ")
	if v == `""` || strings.Contains(there, v) || r.At.Line != r.At.EndLine && !strings.Contains(v, "←") {
		return ""
	}
	return r.Evidence[0].Field + ": " + v
}

// shownLines is how many lines of a place are shown.
const shownLines = 4

// excerpt prints the lines of a place, secrets masked, and marks it.
func (p Printer) excerpt(text []byte, at inventory.Position) {
	lines := strings.Split(string(text), "\n")
	if at.Line < 1 || at.Line > len(lines) {
		return
	}
	last := min(at.EndLine, len(lines), at.Line+shownLines-1)
	for n := at.Line; n <= last; n++ {
		raw := strings.TrimRight(lines[n-1], "\r")
		line := MaskLine(raw)
		p.printf("    %s %s %s\n", p.dim(fmt.Sprintf("%5d", n)), p.dim("│"), Clean(strings.ReplaceAll(line, "\t", "    ")))
		if line != raw || at.Line != at.EndLine || at.Column > len(raw) {
			continue
		}
		before := strings.ReplaceAll(raw[:at.Column-1], "\t", "    ")
		marked := strings.ReplaceAll(raw[at.Column-1:min(at.EndColumn-1, len(raw))], "\t", "    ")
		if len(raw) <= 200 {
			p.printf("    %s %s %s%s\n", "     ", p.dim("│"), strings.Repeat(" ", utf8.RuneCountInString(before)), p.paint("31", strings.Repeat("^", max(1, utf8.RuneCountInString(marked)))))
		}
	}
	if last < min(at.EndLine, len(lines)) {
		p.printf("    %s %s …\n", "     ", p.dim("│"))
	}
}

// aSetting is a name in YAML with its value, in a line of its own or among others
// in braces.
var aSetting = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.-]*)(["']?\s*:\s+)("[^"]*"|'[^']*'|[^"'#\s,{}\[\]][^,}\]\r\n]*)`)

// MaskLine masks the secrets in a line of a Dockerfile or a Compose file.
func MaskLine(line string) string {
	return inventory.MaskText(aSetting.ReplaceAllStringFunc(line, func(found string) string {
		m := aSetting.FindStringSubmatch(found)
		value, comment, _ := strings.Cut(m[3], " #")
		bare := strings.Trim(strings.TrimRight(value, " "), `"'`)
		masked := inventory.MaskValue(m[1], bare)
		if masked == bare {
			return found
		}
		if comment != "" {
			comment = " #" + comment
		}
		return m[1] + m[2] + strings.Replace(value, bare, masked, 1) + comment
	}))
}

// Diff is a unified diff of a file, with the secrets in its lines masked.
func Diff(name string, was, now []byte) string {
	diff := udiff.Unified(name, name, string(was), string(now))
	lines := strings.SplitAfter(diff, "\n")
	for i, line := range lines {
		if body := strings.TrimRight(line, "\r\n"); body != "" && strings.IndexByte(" +-", body[0]) >= 0 {
			lines[i] = body[:1] + printable(MaskLine(body[1:])) + "\n"
		}
	}
	return strings.Join(lines, "")
}
