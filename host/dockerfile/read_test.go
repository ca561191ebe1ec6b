package dockerfile

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

func read(t *testing.T, src string, opts Options) *inventory.Object {
	t.Helper()
	o, err := Read("Dockerfile", []byte(src), opts)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// commands are those of all instructions: where each begins, | if it is piped,
// and its words.
func commands(o *inventory.Object) []string {
	var out []string
	for _, in := range o.Fields["Instructions"].([]any) {
		list, _ := in.(map[string]any)["Commands"].([]any)
		for _, c := range list {
			m := c.(map[string]any)
			at, _ := inventory.ParsePosition(m["At"].(string))
			piped := ""
			if m["Piped"].(bool) {
				piped = "|"
			}
			out = append(out, fmt.Sprintf("%d:%d-%d:%d %s%s", at.Line, at.Column, at.EndLine, at.EndColumn, piped, strings.Join(texts(m["Words"]), " ")))
		}
	}
	return out
}

// TestCommands: each command of a RUN has its place in the file, whatever stands
// between its words.
func TestCommands(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"one":          {"FROM a\nRUN apt-get update && apt-get install -y x\n", []string{"2:5-2:19 apt-get update", "2:23-2:43 apt-get install -y x"}},
		"lines":        {"FROM a\nRUN a \\\n  # why\n\n  && b \\\n    c | d\n", []string{"2:5-2:6 a", "5:6-6:6 b c", "6:9-6:10 |d"}},
		"trailing":     {"FROM a\nRUN a \\  \n  b\n", []string{"2:5-3:4 a b"}},
		"crlf":         {"FROM a\r\nRUN a \\\r\n  b && c\r\n", []string{"2:5-3:4 a b", "3:8-3:9 c"}},
		"escape":       {"# escape=`\nFROM a\nRUN a `\n  b\n", []string{"3:5-4:4 a b"}},
		"flags":        {"FROM a\nRUN --mount=type=cache,target=/x \\\n --network=none a b\n", []string{"3:17-3:20 a b"}},
		"heredoc":      {"FROM a\nRUN <<EOF\na b\nc | d\nEOF\nRUN e\n", []string{"3:1-3:4 a b", "4:1-4:2 c", "4:5-4:6 |d", "6:5-6:6 e"}},
		"heredoc tab":  {"FROM a\nRUN <<-EOF\n\ta b\n\tEOF\n", []string{"3:2-3:5 a b"}},
		"heredoc fed":  {"FROM a\nRUN bash -e <<EOF\na b\nEOF\n", []string{"2:5-2:12 bash -e", "3:1-3:4 a b"}},
		"heredoc file": {"FROM a\nCOPY <<EOF /x\na b\nEOF\nRUN c\n", []string{"5:5-5:6 c"}},
		"python":       {"FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nimport os\nEOF\n", []string{"2:1-5:4 python3"}},
		"exec":         {"FROM a\nRUN [\"sh\", \"-c\", \"a | b\"]\n", []string{"2:1-2:26 a", "2:1-2:26 |b", "2:1-2:26 sh -c a | b"}},
		"powershell":   {"FROM a\nSHELL [\"powershell\", \"-Command\"]\nRUN a; b\n", nil},
		"windows":      {"FROM mcr.example.com/windows/servercore\nRUN a & b\n", nil},
		"secret":       {"FROM a\nRUN mysql --password hunter22secret -u x\n", []string{"2:5-2:41 mysql --password ***0333 -u x"}},
		"start":        {"FROM a\nCMD /usr/sbin/sshd -D\nENTRYPOINT [\"x\", \"y\"]\n", []string{"2:1-2:22 /usr/sbin/sshd -D", "3:1-3:22 x y"}},
		"onbuild":      {"FROM a\nONBUILD RUN a b\n", []string{"2:1-2:16 a b"}},
		"mark":         {"\ufeffFROM a\nRUN b\n", []string{"2:5-2:6 b"}},
	} {
		if d := cmp.Diff(c.want, commands(read(t, c.src, Options{}))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestConfig: what the image would have, what of it cannot be told, and the
// line that says so.
func TestConfig(t *testing.T) {
	base := &inventory.Object{Fields: map[string]any{"Config": map[string]any{
		"User": "app", "Env": []any{"U=from-base"}, "OnBuild": []any{"USER late"}, "Healthcheck": map[string]any{"Test": []any{"CMD", "x"}},
	}}}
	for name, c := range map[string]struct {
		src    string
		opts   Options
		user   string // or, with ? before it, a part of why it is not known
		line   int
		health string
	}{
		"none":                    {"FROM scratch\n", Options{}, "", 1, "[]"},
		"arg":                     {"FROM scratch\nARG U=root\nUSER ${U}\n", Options{}, "root", 3, "[]"},
		"arg that is given":       {"FROM scratch\nARG U=root\nUSER ${U}\n", Options{Args: map[string]string{"U": "app"}}, "app", 3, "[]"},
		"arg without a value":     {"FROM scratch\nARG U\nUSER ${U}\n", Options{}, "?no value is known here for U", 3, "[]"},
		"nobody's variable":       {"FROM scratch\nUSER ${U}app\n", Options{}, "app", 2, "[]"},
		"default in place":        {"FROM scratch\nARG U\nUSER ${U:-app}\n", Options{}, "app", 3, "[]"},
		"env over arg":            {"FROM scratch\nENV U=app\nARG U=root\nUSER $U\n", Options{}, "app", 4, "[]"},
		"meta arg":                {"ARG U=app\nFROM scratch\nARG U\nUSER $U\n", Options{}, "app", 4, "[]"},
		"meta arg unseen":         {"ARG U=app\nFROM scratch\nUSER ${U}x\n", Options{}, "x", 3, "[]"},
		"last stage":              {"FROM scratch AS b\nUSER nobody\nHEALTHCHECK CMD x\nFROM scratch\n", Options{}, "", 4, "[]"},
		"stage on a stage":        {"FROM scratch AS b\nUSER nobody\nHEALTHCHECK CMD x\nFROM b\n", Options{}, "nobody", 2, "[CMD-SHELL x]"},
		"target":                  {"FROM scratch AS b\nUSER nobody\nFROM scratch\n", Options{Target: "b"}, "nobody", 2, "[]"},
		"target by number":        {"FROM scratch AS b\nUSER nobody\nFROM scratch\n", Options{Target: "0"}, "nobody", 2, "[]"},
		"unknown base":            {"FROM debian:12\n", Options{}, "?the base image debian:12 is not known here", 1, "?"},
		"unknown base overridden": {"FROM debian:12\nUSER 0:0\nHEALTHCHECK NONE\n", Options{}, "0:0", 2, "[NONE]"},
		"known base":              {"FROM debian:12\nUSER x$U\n", Options{Base: func(string) *inventory.Object { return base }}, "xfrom-base", 2, "[CMD x]"},
		"base's own ONBUILD":      {"FROM debian:12\n", Options{Base: func(string) *inventory.Object { return base }}, "late", 1, "[CMD x]"},
		"own ONBUILD is later":    {"FROM scratch\nONBUILD USER app\n", Options{}, "", 1, "[]"},
		"ONBUILD of a stage":      {"FROM scratch AS b\nONBUILD USER app\nFROM b\n", Options{}, "app", 3, "[]"},
		"variable of the base":    {"FROM debian:12\nUSER $APP\n", Options{}, "?for APP", 2, "?"},
	} {
		o := read(t, c.src, c.opts)
		user, fact, ok := inventory.DockerfileUser.Of(o)
		if why, unknown := strings.CutPrefix(c.user, "?"); unknown && (ok || !strings.Contains(fact.Err, why)) || !unknown && user != c.user {
			t.Errorf("%s: user %q %s, want %s", name, user, fact.Err, c.user)
		}
		if at, _ := inventory.ParsePosition(fact.Source); at.Line != c.line {
			t.Errorf("%s: line %d, want %d", name, at.Line, c.line)
		}
		health, fact, ok := inventory.DockerfileHealthcheck.Of(o)
		if got := fmt.Sprint(texts(health["Test"])); c.health == "?" == (ok || fact.Err == inventory.Absent) || c.health != "?" && got != c.health {
			t.Errorf("%s: health check %s %v, want %s", name, got, fact.Err, c.health)
		}
	}
}

// TestBrings: what COPY would take out of a context, .dockerignore considered.
func TestBrings(t *testing.T) {
	tree := func(ignore string) fstest.MapFS {
		fs := fstest.MapFS{}
		for _, p := range []string{".env", ".env.example", "app/main.go", "app/id_rsa", "deploy/tls.key", "certs/public.key", ".git/config", "x/.npmrc"} {
			fs[p] = &fstest.MapFile{}
		}
		if ignore != "" {
			fs[".dockerignore"] = &fstest.MapFile{Data: []byte(ignore)}
		}
		return fs
	}
	for name, c := range map[string]struct {
		ignore, copy string
		want         []string
	}{
		"all":          {"", "COPY . /", []string{".env", ".git", "app/id_rsa", "deploy/tls.key", "x/.npmrc"}},
		"a directory":  {"", "COPY app ./", []string{"app/id_rsa"}},
		"a pattern":    {"", "ADD dep* /", []string{"deploy/tls.key"}},
		"a file":       {"", "COPY app/main.go /", nil},
		"ignored":      {".env\n.git\n**/*.key\n**/.npmrc\n", "COPY . /", []string{"app/id_rsa"}},
		"all but":      {"*\n!app\n", "COPY . /", []string{"app/id_rsa"}},
		"excluded":     {"", "COPY --exclude=**/.* --exclude=deploy . /", []string{"app/id_rsa"}},
		"other stages": {"", "COPY --from=x . /", nil},
	} {
		o := read(t, "FROM scratch\n"+c.copy+"\n", Options{Context: tree(c.ignore)})
		in := o.Fields["Instructions"].([]any)[1].(map[string]any)
		if d := cmp.Diff(c.want, texts(in["Brings"])); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// FuzzRead: no file makes it fail otherwise than with an error, and every place
// is within the file and on what it says.
func FuzzRead(f *testing.F) {
	f.Add([]byte("# escape=`\r\nFROM a AS b\r\nRUN <<EOF\na\nEOF\nARG x=1\nUSER $x\nONBUILD RUN x `\n #\n y\n"))
	f.Add([]byte("FROM scratch\nCOPY --from=0 a b\nRUN --mount=type=bind,from=x [\"sh\",\"-c\",\"a\"]\nHEALTHCHECK NONE"))
	f.Fuzz(func(t *testing.T, src []byte) {
		o, err := Read("D", src, Options{})
		if err != nil {
			return
		}
		lines := strings.Split(string(src), "\n")
		for _, in := range o.Fields["Instructions"].([]any) {
			m := in.(map[string]any)
			places := []any{m["At"]}
			list, _ := m["Commands"].([]any)
			for _, c := range list {
				places = append(places, c.(map[string]any)["At"])
			}
			for _, at := range places {
				p, ok := inventory.ParsePosition(at.(string))
				if !ok || p.Line < 1 || p.EndLine > len(lines) || p.Column > len(lines[p.Line-1])+1 || p.EndColumn > len(lines[p.EndLine-1])+1 || p.EndLine < p.Line {
					t.Errorf("%q: %v", src, at)
				}
			}
		}
	})
}
