package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"casco/lang"
)

// TestManual: the help has something to say of every verb and every flag, in
// both languages, and its exit codes where it can end in more ways than one.
func TestManual(t *testing.T) {
	a := &app{}
	root := newRoot(a)
	verbs, flags := 0, 0
	both := func(what string, text lang.Text) {
		t.Helper()
		if text.Empty() || text.En == text.Es {
			t.Errorf("%s: %q, %q", what, text.En, text.Es)
		}
		if strings.Count(text.En, "`") != strings.Count(text.Es, "`") {
			t.Errorf("%s: its value has a name in one language only", what)
		}
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if !cmd.Hidden && cmd.Name() != "completion" { // cobra's own, for shells
			verbs++
			e := a.manual.verbs[cmd]
			both(cmd.CommandPath()+", short", e.short)
			both(cmd.CommandPath()+", long", firstOf(e.long, e.short))
			for _, o := range e.operands {
				if o.Empty() {
					t.Errorf("%s: an operand in one language", cmd.CommandPath())
				}
			}
			if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Name() != "help" && (!strings.Contains(e.long.En, "Exit codes: 0 ") || !strings.Contains(e.long.Es, "Códigos de salida: 0 ")) {
				t.Errorf("%s: its help has no exit codes", cmd.CommandPath())
			}
			for _, set := range []*pflag.FlagSet{cmd.LocalNonPersistentFlags(), cmd.PersistentFlags()} {
				set.VisitAll(func(f *pflag.Flag) {
					if f.Name != "help" && f.Name != "version" {
						flags++
						both(cmd.CommandPath()+" --"+f.Name, a.manual.flags[f])
					}
				})
			}
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	if verbs < 13 || flags < 20 {
		t.Errorf("saw %d verbs and %d flags", verbs, flags)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"container-priv": "container-privileged", "privlieged": "container-privileged", "container-shh": "container-ssh", "setuid": "image-setuid",
		"zzzzzz": "", "": "",
	} {
		if got := nearest(word, checkIDs()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"abc", "abc", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestLangOf(t *testing.T) {
	for args, want := range map[string]lang.Lang{
		"audit": lang.English, "--lang es audit": lang.Spanish, "audit --lang=es": lang.Spanish, "audit --lang": lang.English,
		"--lang fr": lang.English, "--lang es --lang en": lang.English,
	} {
		if got := langOf(strings.Fields(args), lang.English); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
