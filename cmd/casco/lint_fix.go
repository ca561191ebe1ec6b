package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"casco/host/compose"
	"casco/host/dockerfile"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/report"
)

// A mend is one finding that was mended, or was not and why.
type mend struct {
	result  lint.Result
	changes []lang.Text // what it changes for who builds or runs it
	why     error       // nil: it is mended
}

// mostRounds bounds how often the files of one unit are mended and judged again.
const mostRounds = 200

// fix mends what can be mended by rule in these files, one finding at a time,
// and judges again after each. What it does not cure, or what makes something
// else worse, is taken back. The files are not written: what they say then is in
// l.instead.
func (l *linter) fix(ctx context.Context, files []string) (all []mend) {
	isCompose := func(f string) bool { return strings.HasSuffix(f, ".yml") || strings.HasSuffix(f, ".yaml") }
	seen := map[string]bool{}
	var units [][]string
	for _, p := range projects(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !isCompose(f) })) {
		units = append(units, p.Files)
	}
	for _, f := range files {
		if !isCompose(f) {
			units = append(units, []string{f})
		}
	}
	for _, unit := range units {
		if len(unit) == 1 && seen[filepath.ToSlash(unit[0])] {
			continue // a project builds it
		}
		ms, texts := l.fixUnit(ctx, unit)
		for name := range texts {
			seen[name] = true
		}
		all = append(all, ms...)
	}
	return all
}

func (l *linter) fixUnit(ctx context.Context, unit []string) (all []mend, texts map[string][]byte) {
	tried := map[string]bool{}
	round := l.again()
	d := round.judge(ctx, unit)
	for range mostRounds {
		i := slices.IndexFunc(d.Results, func(r lint.Result) bool {
			return r.Verdict == audit.Fail && r.Accepted == "" && r.At.File != "" && r.Ref.Kind != inventory.Pragma && !tried[r.Check.ID+" "+r.Key]
		})
		if i < 0 {
			break
		}
		r := d.Results[i]
		tried[r.Check.ID+" "+r.Key] = true
		name, text, changes, err := round.mended(d, r)
		if err == nil {
			before := l.instead[name]
			l.instead[name] = text
			next := l.again()
			after := next.judge(ctx, unit)
			if err = worse(d, after, r); err == nil {
				round, d = next, after
				// What was refused before may be possible now.
				all = slices.DeleteFunc(all, func(m mend) bool { return m.why != nil })
				clear(tried)
			} else if before != nil {
				l.instead[name] = before
			} else {
				delete(l.instead, name)
			}
		}
		all = append(all, mend{r, changes, err})
	}
	return all, round.texts
}

// again is a linter that has read nothing yet.
func (l *linter) again() *linter {
	n := newLinter(l.given)
	n.args, n.by, n.host, n.now, n.instead = l.args, l.by, l.host, l.now, l.instead
	return n
}

// worse is an error if after a mend the finding is still there, something fails
// that did not, or a file can no longer be read.
func worse(before, after report.Lint, r lint.Result) error {
	count := func(d report.Lint) map[string]int {
		n := map[string]int{}
		for _, r := range d.Results {
			if r.Verdict == audit.Fail {
				n[r.Check.ID+" "+r.Ref.String()]++
			}
		}
		return n
	}
	was, is := count(before), count(after)
	of := r.Check.ID + " " + r.Ref.String()
	for key, n := range is {
		if n > was[key] {
			return lang.Errorf(lang.Text{En: "mended, it would fail %s", Es: "remediado, fallaría %s"}, key)
		}
	}
	if is[of] >= was[of] || len(after.Snapshot.Gaps) > len(before.Snapshot.Gaps) {
		return lang.Errorf(lang.Text{En: "a change where it stands does not cure it", Es: "un cambio donde está no lo remedia"})
	}
	return nil
}

// mended is a file with r mended.
func (l *linter) mended(d report.Lint, r lint.Result) (name string, text []byte, changes []lang.Text, err error) {
	switch r.Ref.Kind {
	case inventory.Dockerfile:
		at := []inventory.Position{r.At}
		if dockerfile.Whole(r.Check.ID) {
			at = nil
			for _, o := range d.Results {
				if o.Check == r.Check && o.Ref == r.Ref && o.Verdict == audit.Fail && o.Accepted == "" {
					at = append(at, o.At)
				}
			}
		}
		c, err := dockerfile.Mend(r.At.File, l.texts[r.At.File], r.Check.ID, at, l.read[r.At.File])
		return r.At.File, c.Text, []lang.Text{c.Changes}, err
	case inventory.Container:
		return l.mendedService(r)
	}
	return "", nil, nil, dockerfile.ErrNoCure
}

// mendedService is the file in which a service stands, with what its container
// is wanted to have.
func (l *linter) mendedService(r lint.Result) (name string, text []byte, changes []lang.Text, err error) {
	s, o := l.services[r.Ref], l.containers[r.Ref]
	at, ok := inventory.ParsePosition(s.At)
	if !ok || len(r.Wants) == 0 || o == nil {
		return "", nil, nil, dockerfile.ErrNoCure
	}
	text = l.texts[at.File]
	o = o.Clone()
	for _, w := range r.Wants {
		if !w.Ask.Empty() || w.Ref != r.Ref {
			return "", nil, nil, dockerfile.ErrNoCure
		}
		was, _, _ := inventory.Lookup(o, w.Field)
		to := w.Apply(was)
		if text, err = compose.Edit(text, s.Service, plan.Set{Field: w.Field, From: was, To: to}); err != nil {
			return "", nil, nil, err
		}
		inventory.Put(o.Fields, w.Field, to)
		if !w.Breaks.Empty() && !slices.Contains(changes, w.Breaks) {
			changes = append(changes, w.Breaks)
		}
	}
	return at.File, text, changes, nil
}

// writeMended writes the files that say something else now.
func (l *linter) writeMended() error {
	for _, name := range slices.Sorted(maps.Keys(l.instead)) {
		if err := atomicfile.Write(filepath.FromSlash(name), l.instead[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// printMends says what was mended, or would be, and what it changes; and of what
// was not the reason, if there is one beside that no rule does it.
func (a *app) printMends(l *linter, ms []mend, dry bool) error {
	p := a.printer()
	if dry {
		for _, name := range slices.Sorted(maps.Keys(l.instead)) {
			was, err := os.ReadFile(filepath.FromSlash(name))
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, report.Diff(name, was, l.instead[name]))
		}
	}
	title := lang.Text{En: "Mended", Es: "Remediado"}
	if dry {
		title = lang.Text{En: "Would be mended", Es: "Se remediaría"}
	}
	heading := func(t lang.Text, is func(mend) bool, say func(mend) []string) {
		first := true
		for _, m := range ms {
			if !is(m) {
				continue
			}
			if first {
				p.Heading(t.In(a.lang))
				first = false
			}
			p.Item("", 2, fmt.Sprintf("%s:%d  %s  %s", report.Clean(m.result.At.File), m.result.At.Line, m.result.Check.ID, m.result.Check.Title.In(a.lang)))
			for _, line := range say(m) {
				p.Item("", 6, report.Clean(line))
			}
		}
		if !first {
			fmt.Fprintln(a.out)
		}
	}
	heading(title, func(m mend) bool { return m.why == nil }, func(m mend) (out []string) {
		for _, c := range m.changes {
			out = append(out, lang.Text{En: "changes: ", Es: "cambia: "}.In(a.lang)+c.In(a.lang))
		}
		return out
	})
	heading(lang.Text{En: "Left to you", Es: "Queda por su cuenta"}, func(m mend) bool { return m.why != nil && !errors.Is(m.why, dockerfile.ErrNoCure) }, func(m mend) []string {
		return []string{lang.Say(m.why, a.lang)}
	})
	return nil
}
