package report

import (
	"strings"
	"testing"
	"time"

	"casco/lang"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// TestHostilePlan prints a plan whose every text wants to hide what an
// approver is about to sign, or to run when a line of it is pasted.
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
