package checks

import (
	"slices"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A dockerLine is one instruction of a Dockerfile: see the kind Dockerfile.
type dockerLine struct {
	Word, At string
	Kept     bool // it makes the image, not only a stage that files are taken from
	fields   map[string]any
	fact     inventory.Fact // the instruction as evidence, at its place
}

func (l dockerLine) list(key string) []string {
	var out []string
	for _, e := range asList(l.fields[key]) {
		out = append(out, asString(e))
	}
	return out
}

func (l dockerLine) text(key string) string { return asString(l.fields[key]) }

// A dockerCommand is one command of a RUN, CMD or ENTRYPOINT.
type dockerCommand struct {
	shell.Command
	fact inventory.Fact
}

// commands are those of l; ok is false if its shell is none that is read.
func (l dockerLine) commands() (cmds []dockerCommand, ok bool) {
	list, ok := l.fields["Commands"].([]any)
	for _, e := range list {
		m := asMap(e)
		c := dockerCommand{fact: l.fact}
		for _, w := range asList(m["Words"]) {
			c.Words = append(c.Words, shell.Word{Text: asString(w)})
		}
		c.Piped = m["Piped"] == true
		if len(c.Words) == 0 {
			continue
		}
		c.fact.Value = shortened(inventory.MaskText(strings.Join(c.Texts(), " ")))
		if at := asString(m["At"]); at != "" {
			c.fact.Source = at
		}
		cmds = append(cmds, c)
	}
	return cmds, ok
}

func bare(cmds []dockerCommand) []shell.Command {
	out := make([]shell.Command, 0, len(cmds))
	for _, c := range cmds {
		out = append(out, c.Command)
	}
	return out
}

// dockerLines are the instructions of o in their order. fact counts them.
func dockerLines(o *inventory.Object) (lines []dockerLine, fact inventory.Fact, ok bool) {
	list, fact, ok := inventory.DockerfileInstructions.Of(o)
	if !ok {
		return nil, fact, false
	}
	fact.Value = len(list)
	for _, e := range list {
		m := asMap(e)
		l := dockerLine{Word: asString(m["Word"]), At: asString(m["At"]), Kept: m["Kept"] == true, fields: m}
		l.fact = inventory.Fact{Ref: o.Ref, Field: l.Word, Value: shortened(inventory.MaskText(asString(m["Text"]))), Source: l.At, Read: o.Read}
		lines = append(lines, l)
	}
	return lines, fact, true
}

// shortened cuts a line that is shown: see lineShown.
func shortened(line string) string {
	if len(line) > lineShown {
		return strings.ToValidUTF8(line[:lineShown], "") + "…"
	}
	return line
}

// A dockerAnswer gathers what a check says of a Dockerfile: each fact of a Fail
// is one place that is wrong.
type dockerAnswer struct {
	wrong, untold []inventory.Fact
	reason        lang.Text // of what could not be told
}

func (a *dockerAnswer) bad(f inventory.Fact) {
	if !slices.ContainsFunc(a.wrong, func(had inventory.Fact) bool { return had.Source == f.Source && had.Value == f.Value }) {
		a.wrong = append(a.wrong, f)
	}
}

func (a *dockerAnswer) open(why lang.Text, f inventory.Fact) {
	if a.untold = append(a.untold, f); a.reason.Empty() {
		a.reason = why
	}
}

var foreignShell = lang.Text{
	En: "its shell is none that is read here", Es: "su intérprete no es de los que se leen aquí",
}

// judgeLines puts a question to each instruction of a Dockerfile.
func judgeLines(o *inventory.Object, ask func(dockerLine, *dockerAnswer)) audit.Answer {
	lines, fact, ok := dockerLines(o)
	if !ok {
		return audit.Untold(fact)
	}
	a := &dockerAnswer{}
	for _, l := range lines {
		ask(l, a)
	}
	return a.of(fact)
}

func (a *dockerAnswer) of(all inventory.Fact) audit.Answer {
	switch {
	case a.wrong != nil:
		return audit.Bad(a.wrong...)
	case a.untold != nil:
		return audit.Untold(a.untold...).Because(a.reason)
	}
	return audit.Good(all)
}

// judgeRuns puts a question to the commands of each RUN. kept leaves out stages
// that files are only taken from.
func judgeRuns(kept bool, ask func(dockerLine, []dockerCommand, *dockerAnswer)) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word != "RUN" || kept && !l.Kept {
				return
			}
			cmds, ok := l.commands()
			if !ok {
				a.open(foreignShell, l.fact)
				return
			}
			ask(l, cmds, a)
		})
	}
}

// judgeEach puts a question to each command of each RUN by itself.
func judgeEach(kept bool, bad func(dockerCommand) bool) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return judgeRuns(kept, func(_ dockerLine, cmds []dockerCommand, a *dockerAnswer) {
		for _, c := range cmds {
			if bad(c) {
				a.bad(c.fact)
			}
		}
	})
}

// installed are the packages that c names to a package manager that installs
// them, without their versions.
func installed(c shell.Command) []string {
	for _, p := range packagers {
		if !slices.Contains(p.names, c.Name()) {
			continue
		}
		if p.use == nil && !slices.ContainsFunc(c.Args(), func(a string) bool { return strings.HasPrefix(a, "-S") }) {
			return nil // pacman
		}
		verb := c.Verb(p.valued...)
		if p.use != nil && !slices.Contains(p.use, verb) {
			return nil
		}
		var out []string
		as := c.Args()
		for i := 0; i < len(as); i++ {
			switch {
			case slices.Contains(p.valued, as[i]):
				i++
			case strings.HasPrefix(as[i], "-") || as[i] == verb && p.use != nil:
			default:
				name, _, _ := strings.Cut(as[i], "=")
				out = append(out, strings.TrimRight(strings.TrimSuffix(name, ":"), "~<>"))
			}
		}
		return out
	}
	return nil
}
