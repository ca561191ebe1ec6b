package columns

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestFold(t *testing.T) {
	for _, c := range []struct {
		s    string
		w    int
		want []string
	}{
		{"", 5, []string{""}},
		{"one  two", 8, []string{"one two"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"a niños-y-niñas", 6, []string{"a", "niños-", "y-niña", "s"}},
		{"ab", 0, []string{"a", "b"}},
	} {
		if diff := cmp.Diff(c.want, Fold(c.s, c.w)); diff != "" {
			t.Errorf("%q, %d: -want +got\n%s", c.s, c.w, diff)
		}
	}
}

func TestPrint(t *testing.T) {
	tab := Table{
		Heads: []string{"name", "n", "what"},
		Rows:  [][]string{{"á", "7", "a few words that are too long"}, {"bc", "12", "x"}},
		Right: []int{1}, Width: 24, Least: 4,
	}
	var b strings.Builder
	tab.Print(&b)
	want := `  name   n  what
  ······················
  á      7  a few words
            that are too
            long
  bc    12  x
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// No column gets narrower than the least, and the rule no longer than a line.
	tab.Width = 10
	b.Reset()
	tab.Print(&b)
	if rule := strings.Split(b.String(), "\n")[1]; utf8.RuneCountInString(rule) != 10 || !strings.Contains(b.String(), "name") {
		t.Errorf("%q in\n%s", rule, b.String())
	}
}
