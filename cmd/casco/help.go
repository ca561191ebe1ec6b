package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"casco/lang"
	"casco/report"
)

// A manual is what the help says, in both languages. cobra keeps one language
// of each text, and is asked for none.
type manual struct {
	verbs map[*cobra.Command]entry
	flags map[*pflag.Flag]lang.Text
}

// An entry is what the help says of one verb.
type entry struct {
	short, long lang.Text
	operands    []lang.Text
}

// The operands of verbs.
var (
	aFile         = lang.Text{En: "FILE", Es: "ARCHIVO"}
	aDir          = lang.Text{En: "DIR", Es: "DIR"}
	aChange       = lang.Text{En: "CHANGE", Es: "CAMBIO"}
	aCheck        = lang.Text{En: "CHECK", Es: "COMPROBACIÓN"}
	anObject      = lang.Text{En: "KIND/NAME", Es: "TIPO/NOMBRE"}
	anException   = lang.Text{En: "EXCEPTION", Es: "EXCEPCIÓN"}
	aRisk         = lang.Text{En: "RISK", Es: "RIESGO"}
	aRiskOrObject = lang.Text{En: "RISK|KIND/NAME", Es: "RIESGO|TIPO/NOMBRE"}
	anIndex       = lang.Text{En: "INDEX", Es: "ÍNDICE"}
	maybeACheck   = lang.Text{En: "[CHECK]", Es: "[COMPROBACIÓN]"}
	somePaths     = lang.Text{En: "PATH…", Es: "RUTA…"}
	aPath         = lang.Text{En: "PATH", Es: "RUTA"}
	aDigest       = lang.Text{En: "SHA256", Es: "SHA256"}
)

// verb gives cmd its texts and wants exactly these operands of it. Of the last
// one there may be more if it ends in "…".
func (m *manual) verb(cmd *cobra.Command, short, long lang.Text, operands ...lang.Text) *cobra.Command {
	if m.verbs == nil {
		m.verbs = map[*cobra.Command]entry{}
	}
	m.verbs[cmd] = entry{short, long, operands}
	cmd.Short, cmd.Long = short.En, long.En
	for _, o := range operands {
		cmd.Use += " " + o.En
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error { return m.wants(cmd, operands, given) }
	return cmd
}

// flag gives a flag its text. What stands in backquotes is what its value is
// called: "`FILE` to write".
func (m *manual) flag(flags *pflag.FlagSet, name string, text lang.Text) {
	if m.flags == nil {
		m.flags = map[*pflag.Flag]lang.Text{}
	}
	f := flags.Lookup(name)
	f.Usage = text.En
	m.flags[f] = text
}

// wants refuses what is no verb, and operands that a verb does not want.
func (m *manual) wants(cmd *cobra.Command, operands []lang.Text, given []string) error {
	path := strings.Fields(cmd.CommandPath())[1:]
	switch {
	case cmd.HasAvailableSubCommands() && len(given) > 0:
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		hint := command(append(path, firstSet(nearest(given[0], names), "--help"))...)
		return coded{exitUsage, lang.Errorf(lang.Text{En: "there is no verb %q", Es: "no existe el verbo %q"}, given[0]), hint}
	case len(given) > len(operands) && !(len(operands) > 0 && strings.HasSuffix(operands[len(operands)-1].En, "…")):
		return coded{exitUsage, lang.Errorf(lang.Text{En: "%s does not take %q", Es: "%s no admite %q"}, cmd.Name(), given[len(operands)]), command(append(path, "--help")...)}
	case len(given) < len(operands) && !strings.HasPrefix(operands[len(given)].En, "["): // that one may be left out
		missing := operands[len(given)]
		return coded{exitUsage, lang.Errorf(lang.Text{En: "%s needs a %s", Es: "a %s le falta %s"}, cmd.Name(), missing), command(append(path, "--help")...)}
	}
	return nil
}

// flagError says in both languages what pflag says of a flag in one.
func flagError(cmd *cobra.Command, err error) error {
	help := command(append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
	var (
		unknown *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		wrong   *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		err = lang.Errorf(lang.Text{En: "there is no flag %s", Es: "no existe la opción %s"}, spelt(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames()))
	case errors.As(err, &empty):
		err = lang.Errorf(lang.Text{En: "%s needs a value", Es: "a %s le falta un valor"}, spelt(empty.GetFlag().Name, ""))
	case errors.As(err, &wrong):
		err = lang.Errorf(lang.Text{En: "%s does not take %q", Es: "%s no admite %q"}, spelt(wrong.GetFlag().Name, ""), wrong.GetValue())
	}
	return coded{exitUsage, err, help}
}

func spelt(name, short string) string {
	if short != "" {
		return "-" + short[:1]
	}
	return "--" + name
}

// help prints what a verb does, in the language that was asked for.
func (a *app) help(cmd *cobra.Command) {
	_ = a.checkFlags(cmd) // takes up --lang; whatever is wrong with the flags, help is help
	p := a.printer()
	e := a.manual.verbs[cmd]
	line := cmd.CommandPath()
	for _, o := range e.operands {
		line += " " + o.In(a.lang)
	}
	if cmd.HasAvailableSubCommands() {
		line += " " + lang.Text{En: "VERB", Es: "VERBO"}.In(a.lang)
	}
	p.Heading(line)
	fmt.Fprintln(a.out)
	for par := range strings.SplitSeq(firstOf(e.long, e.short).In(a.lang), "\n") {
		p.Item("", 0, par)
	}
	a.helpVerbs(p, cmd)
	a.helpFlags(p, lang.Text{En: "Flags", Es: "Opciones"}, cmd.LocalNonPersistentFlags())
	if cmd.HasParent() {
		a.helpFlags(p, lang.Text{En: "Flags of every verb", Es: "Opciones de todo verbo"}, cmd.InheritedFlags())
	} else {
		a.helpFlags(p, lang.Text{En: "Flags of every verb", Es: "Opciones de todo verbo"}, cmd.PersistentFlags())
	}
}

func firstOf(texts ...lang.Text) lang.Text {
	for _, t := range texts {
		if !t.Empty() {
			return t
		}
	}
	return lang.Text{}
}

func (a *app) helpVerbs(p report.Printer, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	fmt.Fprintln(a.out)
	p.Heading(lang.Text{En: "Verbs", Es: "Verbos"}.In(a.lang))
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			name := c.Name()
			for _, o := range a.manual.verbs[c].operands {
				name += " " + o.In(a.lang)
			}
			p.Item("  "+name, 20, a.manual.verbs[c].short.In(a.lang))
		}
	}
}

func (a *app) helpFlags(p report.Printer, title lang.Text, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		text, ok := a.manual.flags[f]
		if !ok || f.Hidden {
			return
		}
		if first {
			fmt.Fprintln(a.out)
			p.Heading(title.In(a.lang))
			first = false
		}
		usage, value := named(text.In(a.lang))
		name := "  --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			name += " " + value
		}
		switch f.DefValue {
		case "", "false", "[]":
		default:
			usage += lang.Text{En: " (default: %s)", Es: " (por defecto: %s)"}.F(f.DefValue).In(a.lang)
		}
		p.Item(name, 26, usage)
	})
}

// named takes the backquotes off the word that a text has in them.
func named(text string) (plain, word string) {
	before, rest, ok := strings.Cut(text, "`")
	word, after, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return text, ""
	}
	return before + word + after, word
}
