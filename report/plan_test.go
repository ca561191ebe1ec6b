package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// TestHostilePlan prints a plan whose every text wants to hide what an
// approver is about to sign, or to run when a line of it is pasted.
func TestWord(t *testing.T) {
	for in, want := range map[string]string{
		"unix:///run/docker.sock": "unix:///run/docker.sock", "-H": "-H", "a b": "'a b'", "": "''", "x;reboot": "'x;reboot'",
		"it's": `'it'\''s'`, "$(id)": "'$(id)'", "~root": "'~root'", "ñ": "'ñ'",
	} {
		if got := Word(in); got != want {
			t.Errorf("Word(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestConflicts: what is said of a thing as a whole is said in the reader's
// language, and what somebody wrote cannot colour the terminal.
func TestConflicts(t *testing.T) {
	cs := []apply.Conflict{
		{What: "container/web", Before: lang.Text{En: "there", Es: "está"}, Ours: lang.Text{En: "there", Es: "está"}, Now: lang.Text{En: "gone", Es: "ya no está"}},
		{What: "file//etc/x\x1b[2J", Before: nil, Ours: 64, Now: "b\x1b[2J"},
	}
	for l, want := range map[lang.Lang]string{
		lang.English: "  container/web\n    before: there\n    ours:   there\n    now:    gone\n" + `  file//etc/x\x1b[2J` + "\n    before: -\n    ours:   64\n" + `    now:    b\x1b[2J` + "\n",
		lang.Spanish: "  container/web\n    antes:   está\n    nuestro: está\n    ahora:   ya no está\n" + `  file//etc/x\x1b[2J` + "\n    antes:   -\n    nuestro: 64\n" + `    ahora:   b\x1b[2J` + "\n",
	} {
		var b strings.Builder
		Printer{W: &b, Lang: l}.Conflicts(cs)
		if d := cmp.Diff(want, b.String()); d != "" {
			t.Errorf("%s:\n%s", l, d)
		}
	}
}

// TestDifference: an object that came or went, in both languages.
func TestDifference(t *testing.T) {
	var b strings.Builder
	d := inventory.Difference{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}, Was: inventory.Absent, Now: inventory.Present}
	Printer{W: &b, Lang: lang.Spanish}.Difference(d, "")
	if want := "  container/web   sin cambio\n    - ausente\n    + presente\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestHostilePlan(t *testing.T) {
	const evil = "a\x1b[2J\u202e'; reboot '"
	text := lang.Text{En: evil, Es: evil}
	ref := inventory.Ref{Kind: evil, Name: evil}
	st := plan.Step{Ref: ref, Hand: evil, Sets: []plan.Set{{Field: evil, From: evil, To: evil}}, For: []plan.Cure{{Check: evil, Ref: ref}}, Breaks: []lang.Text{text}, Undo: text}
	one := st
	one.With = []inventory.Ref{ref}
	pl := &plan.Plan{Host: evil, Steps: []plan.Step{st, st, one}, Left: []plan.Left{
		{Check: evil, Ref: ref, Reason: text, Remedy: text},
		{Check: evil, Ref: ref, Reason: text, Asks: []plan.Ask{{Ref: ref, Field: evil, Question: text, Suggestion: evil}, {Ref: ref, Field: evil, Question: text}}},
	}}
	var b strings.Builder
	Printer{W: &b}.Plan(change.New(pl, "op", time.Time{}))
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("control characters get through:\n%q", b.String())
	}
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "--set ") && strings.Contains(strings.ReplaceAll(line, `'\''`, ""), "'; reboot") {
			t.Errorf("a line to paste runs a command: %s", line)
		}
	}
}
