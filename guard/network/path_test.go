package network

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write what the tests give as what they want")

// shownPath is a path on one line: "enforced web =direct front 5432/tcp flows.0=> db".
func shownPath(p Path) string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: "enforced ", false: "today    "}[p.Enforced])
	for i, h := range p.Hops {
		if i == 0 {
			b.WriteString(h.From)
		}
		fmt.Fprintf(&b, " =%s", h.Way)
		for _, v := range h.Via {
			b.WriteString(" " + v)
		}
		for _, port := range h.Ports {
			b.WriteString(" " + port.String())
		}
		for _, r := range h.Reasons {
			b.WriteString(" " + r.Path)
		}
		if h.Doubt.En != "" {
			b.WriteString(" (" + h.Doubt.En + ")")
		}
		b.WriteString("=> " + h.To)
	}
	return b.String()
}

// TestPaths: testdata/paths has worlds, questions and all their answers.
func TestPaths(t *testing.T) {
	files, err := filepath.Glob("testdata/paths/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatal(err, files)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := func(name string) string {
				i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
				if i < 0 {
					return ""
				}
				return string(a.Files[i].Data)
			}
			w, p := worldOf(t, part("world")), policyOf(t, part("policy"))
			var got strings.Builder
			for ask := range strings.Lines(part("asks")) {
				f := strings.Fields(ask)
				paths, err := Paths(w, p, f[0], f[1])
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&got, "%s -> %s\n", f[0], f[1])
				for _, enforced := range []bool{true, false} {
					n := 0
					for _, p := range paths {
						if p.Enforced == enforced {
							fmt.Fprintf(&got, "  %s\n", shownPath(p))
							n++
						}
					}
					if n == 0 {
						fmt.Fprintf(&got, "  %s no path\n", map[bool]string{true: "enforced", false: "today   "}[enforced])
					}
				}
			}
			if *update {
				a.Files = append(slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "paths" }), txtar.File{Name: "paths", Data: []byte(got.String())})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(part("paths"), got.String()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestPathsNames: who is not there has no "no path".
func TestPathsNames(t *testing.T) {
	w, p := worldOf(t, learnWorld), policyOf(t, learnPolicy)
	for _, c := range [][2]string{{"nobody", "db"}, {"db", "public/nobody"}, {"", "db"}} {
		if _, err := Paths(w, p, c[0], c[1]); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	for _, c := range [][2]string{{"web", "db"}, {"public/web", "restricted/*"}, {"public/shop*", "db"}, {"cache+side", "db"}} {
		if paths, err := Paths(w, p, c[0], c[1]); err != nil || len(paths) == 0 {
			t.Errorf("%v: %v %v", c, paths, err)
		}
	}
}

// TestPathsMissNothing: what the rules let pass has a path, in any world. A
// false "no path" is the worst that this package can say.
func TestPathsMissNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policyOf(t, fmt.Sprintf(statePolicy, rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "hairpin")))
		j, err := NewJudge(p)
		if err != nil {
			t.Fatal(err)
		}
		w := World{Host: someHosts, Segments: []Segment{{Name: "n", Driver: "bridge", Bridge: "br"}, {Name: "m", Driver: "bridge", Bridge: "br2"}}}
		s := NewState(j)
		for i, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(someNames), 2, 5, rapid.ID).Draw(t, "names") {
			n := drawNamespace(t)
			n.ID, n.Members, n.Remote, n.Service = uint64(i+1), n.Members[:1], false, ""
			n.Members[0].Workload.Name, n.Members[0].OnHost = name, false
			if len(n.Endpoints) == 0 {
				n.Endpoints = []Endpoint{{}}
			}
			for k := range n.Endpoints {
				n.Endpoints[k].Network = rapid.SampledFrom([]string{"n", "m"}).Draw(t, "network")
			}
			s.Put(n)
		}
		w.Namespaces = s.Namespaces()
		r, err := Rules(w, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range open(w, r, append(slices.Clone(somePorts), Port{53, UDP}, Port{443, TCP})) {
			f := strings.Fields(line)
			from, to := f[0], f[2]
			switch {
			case from == "outside":
				from = Internet
			case strings.ContainsAny(to, "./"):
				to = Internet
			}
			paths, err := Paths(w, p, from, to)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(paths, func(p Path) bool { return p.Enforced && len(p.Hops) == 1 }) && !ownDoor(w, f) {
				t.Fatalf("%s passes, and there is no path from %s to %s: %v", line, from, to, paths)
			}
		}
	})
}

// ownDoor reports whether a line about the host is about a port that is
// published: the path is one to who published it.
func ownDoor(w World, f []string) bool {
	if f[2] != TheHost {
		return false
	}
	port, err := ParsePort(f[len(f)-1])
	if err != nil {
		return false
	}
	return slices.ContainsFunc(w.Namespaces, func(n Namespace) bool {
		return slices.ContainsFunc(n.Members, func(m Workload) bool {
			return slices.ContainsFunc(m.Published, func(p Published) bool { return p.HostPort == port.Number })
		})
	})
}
