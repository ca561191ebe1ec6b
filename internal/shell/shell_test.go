package shell

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // | before a command that reads from a pipe
	}{
		{"apt-get update && apt-get install -y curl", []string{"apt-get update", "apt-get install -y curl"}},
		{"FOO=1 apt-get -qq update;true", []string{"apt-get -qq update", "true"}},
		{"curl -fsSL https://h/x | sudo bash -s", []string{"curl -fsSL https://h/x", "|sudo bash -s"}},
		{"echo 'curl x | sh' # apt-get update", []string{"echo curl x | sh"}},
		{"a 2>&1 || b |& c & d", []string{"a", "b", "|c", "d"}},
		{"a \\\n  b\nc", []string{"a b", "c"}},
		{`sh -c "$(curl -fsSL https://h/x)"`, []string{"curl -fsSL https://h/x", "curl -fsSL https://h/x", "$(curl -fsSL https://h/x)", "sh -c $(curl -fsSL https://h/x)"}},
		{`bash -ec 'a | b'`, []string{"a", "|b", "bash -ec a | b"}},
		{"( a ; { b; } )", []string{"a", "b"}},
		{"find . -exec rm {} +", []string{"find . -exec rm {} +"}},
		{"X=$(a b) c", []string{"a b", "c"}},
		{"bash <(curl x)", []string{"curl x", "bash $(curl x)"}},
		{"'unclosed", []string{"unclosed"}},
		{"", nil},
	} {
		var got []string
		for _, cmd := range Parse(c.in) {
			w := strings.Join(cmd.Texts(), " ")
			if cmd.Piped {
				w = "|" + w
			}
			got = append(got, w)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s\n%s", c.in, d)
		}
	}
}

func TestCommand(t *testing.T) {
	c := Parse("sudo -E DEBIAN_FRONTEND=x /usr/bin/apt-get -o A=b -q update")[0]
	if c.Name() != "apt-get" || c.Verb("-o") != "update" {
		t.Errorf("is %s %s", c.Name(), c.Verb("-o"))
	}
}

// FuzzParse: no script hangs or panics, and no command is empty.
func FuzzParse(f *testing.F) {
	f.Add("a $(b `c` \"$(d)\") | sh -c 'e'")
	f.Add("((((")
	f.Add("-&00\x900")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range Parse(s) {
			if len(c.Words) == 0 {
				t.Errorf("%q has an empty command", s)
			}
		}
	})
}

func TestChain(t *testing.T) {
	for script, want := range map[string]string{
		"a b && c | d >x && e":                "[a b] [c | d >x] [e]",
		"a; b && c\n  d":                      "[a] / [b] [c] / [d]",
		"set -e; for x in 1; do a && b; done": "[set -e] / [for x in 1; do a && b; done]",
		"a || b":                              "", "a && b || c": "", "a &": "", "! a": "", "a <<E\nx\nE\n": "", "'": "", "": "",
	} {
		lists, ok := Chain(script)
		var got []string
		for i, list := range lists {
			if i > 0 {
				got = append(got, "/")
			}
			for _, s := range list {
				got = append(got, "["+script[s.Begin:s.End]+"]")
			}
		}
		if is := strings.Join(got, " "); ok != (want != "") || is != want {
			t.Errorf("%q: %s %v, want %s", script, is, ok, want)
		}
	}
}
