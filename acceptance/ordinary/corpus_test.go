package ordinary

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// A composeFile is one of the corpus.
type composeFile struct {
	name    string // of its project: "wordpress-home"
	text    string // with {dir} and {sock} in it
	images  []string
	options []string
	breaks  []string // rules of admission
	starts  bool     // its containers are to be started, not only made
}

// An option is one thing that a service may say.
type option struct {
	name   string
	breaks []string
	keys   []key
}

// A key of a service, or with / before it of the file, and all that is below
// it, as YAML.
type key struct{ name, text string }

// corpus makes all files of the tables in testdata.
func corpus(t testing.TB) (files []composeFile) {
	t.Helper()
	options := readOptions(t)
	ways := rows(t, "testdata/ways.txt")
	for i, stack := range rows(t, "testdata/stacks.txt") {
		for _, way := range ways {
			f := composeFile{name: stack[0] + "-" + way[0], starts: way[0] == "plain"}
			f.write(t, options, stack[1:], way[1:], i)
			files = append(files, f)
		}
	}
	return files
}

// rows are the lines of a table, each cut at its bars.
func rows(t testing.TB, file string) (out [][]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		row := strings.Split(line, "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		out = append(out, row)
	}
	return out
}

// in is the file's text for a directory and an engine.
func (f composeFile) in(dir, socket string) string {
	return strings.NewReplacer("{dir}", dir, "{sock}", socket).Replace(f.text)
}

func readOptions(t testing.TB) map[string]*option {
	t.Helper()
	b, err := os.ReadFile("testdata/options.txt")
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]*option{}
	var o *option
	for line := range strings.Lines(string(b)) {
		head, isHead := strings.CutPrefix(line, "== ")
		switch {
		case line[0] == '#' || strings.TrimSpace(line) == "":
		case isHead:
			words := strings.Fields(head)
			o = &option{name: words[0], breaks: words[1:]}
			options[o.name] = o
		case line[0] != ' ':
			name, _, _ := strings.Cut(line, ":")
			o.keys = append(o.keys, key{name, line})
		default:
			o.keys[len(o.keys)-1].text += line
		}
	}
	return options
}

// write makes the file: of each service its own options, then one of each group
// of the way, in turns.
func (f *composeFile) write(t testing.TB, options map[string]*option, services, groups []string, turn int) {
	t.Helper()
	last := strings.Fields(services[len(services)-1])[0]
	var body strings.Builder
	var top []key
	for n, s := range services {
		words := strings.Fields(s)
		name, image, names := words[0], words[1], words[2:]
		for g, group := range groups {
			choice := strings.Fields(group)
			names = append(names, choice[(turn+n*(g+1)+g)%len(choice)])
		}
		put := strings.NewReplacer("{svc}", name, "{last}", last, "{n}", string(rune('0'+n)))
		keys := []key{{"image", "image: " + image + "\n"}}
		var said []*option
		for _, o := range names {
			o := options[o]
			if o == nil {
				t.Fatalf("%s: an option that is not in options.txt: %v", f.name, names)
			}
			if name == last && o.alone() {
				continue
			}
			here := &option{name: o.name, breaks: o.breaks}
			said = append(said, here)
			for _, k := range o.keys {
				k.text = put.Replace(k.text)
				here.keys = append(here.keys, k)
				if strings.HasPrefix(k.name, "/") {
					top = add(top, key{k.name[1:], k.text[1:]})
				} else {
					keys = add(keys, k)
				}
			}
		}
		keys = together(keys)
		off := slices.ContainsFunc(keys, func(k key) bool { return k.name == "profiles" && strings.Contains(k.text, "debug") })
		for _, o := range said {
			f.options = append(f.options, o.name)
			if !off && o.stands(keys) {
				f.breaks = append(f.breaks, o.breaks...)
			}
		}
		f.images = append(f.images, image)
		body.WriteString("  " + name + ":\n")
		for _, k := range keys {
			body.WriteString("    " + strings.ReplaceAll(strings.TrimSuffix(k.text, "\n"), "\n", "\n    ") + "\n")
		}
	}
	var head, tail strings.Builder
	for _, k := range top { // anchors stand before what refers to them
		if strings.HasPrefix(k.name, "x-") {
			head.WriteString(k.text)
		} else {
			tail.WriteString(k.text)
		}
	}
	f.text = head.String() + "services:\n" + body.String() + tail.String()
}

// stands reports whether what an option says is in a service after all.
func (o *option) stands(keys []key) bool {
	return !slices.ContainsFunc(o.keys, func(k key) bool {
		return !strings.HasPrefix(k.name, "/") && !slices.ContainsFunc(keys, func(have key) bool { return have.name == k.name && strings.Contains(have.text, k.items()) })
	})
}

// items is all of a key but its name.
func (k key) items() string {
	if _, items, _ := strings.Cut(k.text, "\n"); items != "" {
		return items
	}
	return k.text
}

// alone reports whether an option is not for the service that the others need:
// it would need itself, or be left out.
func (o *option) alone() bool {
	return o.name == "profiles" || slices.ContainsFunc(o.keys, func(k key) bool { return strings.Contains(k.text, "{last}") && k.name != "environment" })
}

// joined are the maps of a file that are lists of things in truth; others say
// one thing together.
var joined = []string{"environment", "labels", "networks", "volumes", "secrets", "configs", "ulimits", "sysctls", "deploy"}

// add puts a key to others. Where it is there, lists and maps are joined if they
// say nothing twice; otherwise what came first stands.
func add(keys []key, k key) []key {
	i := slices.IndexFunc(keys, func(have key) bool { return have.name == k.name })
	if i < 0 {
		return append(keys, k)
	}
	have, more := keys[i].below(), k.below()
	isList := func(items []string) bool { return strings.HasPrefix(items[0], "-") }
	if len(have) == 0 || len(more) == 0 || isList(have) != isList(more) || !isList(have) && !slices.Contains(joined, k.name) ||
		slices.ContainsFunc(more, func(m string) bool { return slices.Contains(have, m) }) {
		return keys
	}
	_, text, _ := strings.Cut(k.text, "\n")
	keys[i].text += text
	return keys
}

// below are the items of a list, or the names in a map, that is written in lines
// of its own.
func (k key) below() (out []string) {
	for line := range strings.Lines(k.text) {
		if rest, ok := strings.CutPrefix(line, "  "); ok && rest[0] != ' ' {
			if rest[0] != '-' {
				rest, _, _ = strings.Cut(rest, ":")
			}
			out = append(out, rest)
		}
	}
	return out
}

// together leaves out what Compose does not take beside something else.
func together(keys []key) []key {
	has := func(name string) bool { return slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) }
	var not []string
	if has("network_mode") {
		not = append(not, "networks", "ports", "expose", "links", "hostname", "domainname", "dns", "dns_search", "dns_opt", "extra_hosts", "mac_address", "scale", "sysctls")
	}
	if has("deploy") {
		not = append(not, "scale")
	}
	if has("scale") || has("deploy") {
		not = append(not, "container_name", "mac_address")
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return slices.Contains(not, k.name) })
}

// most are the n files that between them have the most options.
func most(files []composeFile, n int) (out []composeFile) {
	seen := map[string]bool{}
	for len(out) < n {
		best, news := 0, -1
		for i, f := range files {
			k := 0
			for _, o := range f.options {
				if !seen[o] {
					k++
				}
			}
			if k > news {
				best, news = i, k
			}
		}
		for _, o := range files[best].options {
			seen[o] = true
		}
		out = append(out, files[best])
		files = slices.Delete(slices.Clone(files), best, best+1)
	}
	return out
}

// TestCorpus: there are two hundred, all different, and half of them and more
// are such that nothing is against them.
func TestCorpus(t *testing.T) {
	files, unused, texts, harmless := corpus(t), readOptions(t), map[string]bool{}, 0
	for _, f := range files {
		if err := yaml.Unmarshal([]byte(f.in("/tmp", "/run/docker.sock")), new(map[string]any)); err != nil {
			t.Errorf("%s: %v\n%s", f.name, err, f.text)
		}
		for _, o := range f.options {
			delete(unused, o)
		}
		if len(f.breaks) == 0 {
			harmless++
		}
		texts[f.text] = true
	}
	if len(texts) != 200 || harmless < 100 {
		t.Errorf("%d files are different, %d of them harmless", len(texts), harmless)
	}
	for name := range unused {
		t.Errorf("the option %s is in no file", name)
	}
}
