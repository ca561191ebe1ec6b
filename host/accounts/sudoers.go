package accounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// engineTools are the programs that give who may run them as root the host.
var engineTools = []string{"docker", "docker-compose", "dockerd", "containerd", "ctr", "nerdctl", "podman", "runc", "crictl"}

// toolDirs is where they may be, for patterns and directories in sudoers.
var toolDirs = []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin", "/snap/bin"}

// sudoReaches finds who may run an engine's tool, or anything, as root by sudo
// without a password. Rules that ask for one are left out: they are how
// administrators work.
func (db *database) sudoReaches(root, host string, reach func(account, way string)) error {
	p := &sudoers{root: root, host: host, aliases: map[string][]string{}}
	if _, err := os.Stat(filepath.Join(root, "/etc/sudoers")); errors.Is(err, fs.ErrNotExist) {
		return nil // no sudo here
	}
	err := p.file("/etc/sudoers", 0)
	for _, rule := range p.rules {
		if !p.matches(rule.hosts, p.isHost) {
			continue
		}
		for _, way := range p.free(rule) {
			for _, u := range p.who(db, rule.users) {
				reach(u, "sudo NOPASSWD "+way)
			}
		}
	}
	return err
}

// sudoers is what sudoers(5) files say.
type sudoers struct {
	root, host string
	aliases    map[string][]string // of users, hosts, runas and commands alike
	rules      []sudoRule
	never      bool // Defaults !authenticate: nobody is asked for a password
}

// A sudoRule is one "users hosts = commands".
type sudoRule struct {
	users, hosts []string
	commands     []string // with their (runas) and TAGS:
}

// deepest is how far files may nest: sudoers(5), "Including other files".
const deepest = 128

// alias hands what name stands for to use, and reports whether it stands for
// something. While it does, the name means nothing: one that stands for itself
// comes to an end.
func (p *sudoers) alias(name string, use func(list []string)) bool {
	list, ok := p.aliases[name]
	if ok {
		delete(p.aliases, name)
		use(list)
		p.aliases[name] = list
	}
	return ok
}

func (p *sudoers) file(name string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: includes nest too deep", name)
	}
	b, err := os.ReadFile(filepath.Join(p.root, name))
	if err != nil {
		return err
	}
	var errs []error
	text := strings.ReplaceAll(string(b), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "#include", "@include":
			errs = append(errs, p.file(p.included(name, rest), depth+1))
		case "#includedir", "@includedir":
			errs = append(errs, p.dir(p.included(name, rest), depth+1))
		default:
			p.line(uncomment(line))
		}
	}
	return errors.Join(errs...)
}

// included resolves the name of an included file: relative to the file that
// names it, %h is the host's short name.
func (p *sudoers) included(from, name string) string {
	name = strings.Trim(strings.TrimSpace(name), `"`)
	short, _, _ := strings.Cut(p.host, ".")
	name = strings.ReplaceAll(name, "%h", short)
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	return name
}

// dir reads the files of a directory in the order of their names, without
// those that sudo takes for backups: with a dot in the name, or ~ at its end.
func (p *sudoers) dir(name string, depth int) error {
	es, err := os.ReadDir(filepath.Join(p.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range es {
		if !e.IsDir() && !strings.Contains(e.Name(), ".") && !strings.HasSuffix(e.Name(), "~") {
			errs = append(errs, p.file(filepath.Join(name, e.Name()), depth))
		}
	}
	return errors.Join(errs...)
}

// uncomment cuts a line at #, which is no comment before a digit: #0 is a uid.
func uncomment(line string) string {
	for i, c := range line {
		if c == '#' && (i == 0 || line[i-1] != '\\') && (i+1 == len(line) || line[i+1] < '0' || line[i+1] > '9') {
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}

var aroundCommas = regexp.MustCompile(`\s*,\s*`)

func (p *sudoers) line(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "":
	case strings.HasSuffix(word, "_Alias"):
		for _, def := range split(rest, ':') {
			if name, list, ok := cut(def, '='); ok {
				p.aliases[strings.TrimSpace(name)] = split(list, ',')
			}
		}
	case strings.HasPrefix(word, "Defaults"):
		p.never = p.never || word == "Defaults" && slices.Contains(split(rest, ','), "!authenticate")
	default:
		p.rule(line)
	}
}

// rule reads "users hosts = commands : hosts = commands".
func (p *sudoers) rule(line string) {
	left, right, ok := cut(line, '=')
	if !ok {
		return
	}
	words := fields(aroundCommas.ReplaceAllString(strings.TrimSpace(left), ","))
	if len(words) != 2 {
		return // sudo would not take it
	}
	r := sudoRule{users: split(words[0], ','), hosts: split(words[1], ',')}
	for {
		more := anotherHost.FindStringSubmatchIndex(right)
		if more == nil || slices.Contains(options, right[more[2]:more[3]]) {
			break
		}
		r.commands = split(right[:more[0]], ',')
		p.rules = append(p.rules, r)
		r.hosts, right = split(right[more[2]:more[3]], ','), right[more[1]:]
	}
	r.commands = split(right, ',')
	p.rules = append(p.rules, r)
}

// anotherHost begins the next "hosts = commands". The colon of a tag has no
// blank before it.
var anotherHost = regexp.MustCompile(`\s+:\s*([^\s:=]+)\s*=`)

// options are the words before "=" in a command's prefix: sudoers(5), Option_Spec.
var options = []string{"CWD", "CHROOT", "ROLE", "TYPE", "TIMEOUT", "NOTBEFORE", "NOTAFTER", "APPARMOR_PROFILE", "PRIVS", "LIMITPRIVS"}

var (
	runasForm  = regexp.MustCompile(`^\(([^):]*)(?::[^)]*)?\)\s*`)
	tagForm    = regexp.MustCompile(`^([A-Z_]+)\s*:\s*`)
	optionForm = regexp.MustCompile(`^[A-Z_]+\s*=\s*\S+\s+`)
)

// free lists what a rule lets run as root without a password: "ALL", "docker".
// (runas) and tags hold for the commands after them as well.
func (p *sudoers) free(r sudoRule) []string {
	asRoot, noPassword := true, p.never
	var ways []string
	for _, c := range r.commands {
		c = strings.TrimSpace(c)
		for {
			if m := runasForm.FindStringSubmatch(c); m != nil {
				asRoot, c = p.matches(split(m[1], ','), isRoot), c[len(m[0]):]
			} else if m := tagForm.FindStringSubmatch(c); m != nil {
				switch m[1] {
				case "NOPASSWD":
					noPassword = true
				case "PASSWD":
					noPassword = false
				}
				c = c[len(m[0]):]
			} else if m := optionForm.FindString(c); m != "" {
				c = c[len(m):]
			} else {
				break
			}
		}
		if asRoot && noPassword {
			ways = append(ways, p.reaches(c)...)
		}
	}
	return ways
}

// reaches says which engine's tool a command is or holds. One with arguments
// that are fixed, or with none allowed, is left out: it does that one thing.
func (p *sudoers) reaches(command string) (ways []string) {
	if p.alias(command, func(list []string) {
		for _, c := range list {
			ways = append(ways, p.reaches(c)...)
		}
	}) {
		return ways
	}
	words := fields(command)
	if len(words) > 1 && strings.HasPrefix(words[0], "sha") && strings.Contains(words[0], ":") {
		words = words[1:] // a digest
	}
	switch {
	case len(words) == 0 || words[0][0] == '!':
		return nil
	case words[0] == "ALL":
		return []string{"ALL"}
	case len(words) > 1 && !strings.ContainsAny(strings.Join(words[1:], " "), "*?[^"):
		return nil
	}
	dirs := toolDirs
	if !strings.HasSuffix(words[0], "/") { // wherever a program of that name is
		dirs = append(dirs[:len(dirs):len(dirs)], path.Dir(words[0]))
	}
	for _, tool := range engineTools {
		for _, dir := range dirs {
			if commandIs(words[0], path.Join(dir, tool)) {
				return []string{tool}
			}
		}
	}
	return nil
}

// commandIs: a command is a path, a directory with a slash at its end, a
// pattern of glob(7), or a regular expression from ^ to $.
func commandIs(command, program string) bool {
	switch {
	case strings.HasPrefix(command, "^"):
		re, err := regexp.Compile(command)
		return err == nil && re.MatchString(program)
	case strings.HasSuffix(command, "/"):
		return path.Dir(program) == path.Clean(command)
	}
	ok, err := path.Match(command, program)
	return err == nil && ok
}

// matches reports whether a list names something: its last element that is
// about it decides, ! denies.
func (p *sudoers) matches(list []string, is func(string) bool) (yes bool) {
	for _, name := range list {
		name = strings.TrimSpace(name)
		bare := strings.TrimLeft(name, "!")
		hit := bare == "ALL" || is(bare)
		p.alias(bare, func(list []string) { hit = p.matches(list, is) })
		if hit {
			yes = (len(name)-len(bare))%2 == 0
		}
	}
	return yes
}

func isRoot(name string) bool { return name == "root" || name == "#0" }

// isHost takes an address or a netgroup for this host: we cannot tell, and
// would rather name an account too many.
func (p *sudoers) isHost(name string) bool {
	short, _, _ := strings.Cut(p.host, ".")
	return name == p.host || name == short || strings.HasPrefix(name, "+") || strings.ContainsAny(name, "/:*") ||
		name != "" && name[0] >= '0' && name[0] <= '9'
}

// who lists the accounts that a list of users names.
func (p *sudoers) who(db *database, list []string) []string {
	in := map[string]bool{}
	var order []string
	for _, name := range list {
		name = strings.Trim(strings.TrimSpace(name), `"`)
		bare := strings.TrimLeft(name, "!")
		var named []string
		if !p.alias(bare, func(list []string) { named = p.who(db, list) }) {
			named = db.named(bare)
		}
		for _, u := range named {
			in[u] = (len(name)-len(bare))%2 == 0
			order = append(order, u)
		}
	}
	return slices.DeleteFunc(order, func(u string) bool { return !in[u] })
}

// named lists the accounts behind one word of a list of users.
func (db *database) named(word string) []string {
	var out []string
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	switch {
	case word == "ALL":
		for _, u := range db.users {
			out = append(out, u.name)
		}
	case strings.HasPrefix(word, "%"):
		for _, g := range db.groups {
			if g.name == word[1:] || strings.HasPrefix(word, "%#") && g.gid == number(word[2:]) {
				members, primary := db.inGroup(g)
				out = append(append(out, members...), primary...)
			}
		}
	case strings.HasPrefix(word, "#"):
		for _, u := range db.users {
			if u.uid == number(word[1:]) {
				out = append(out, u.name)
			}
		}
	case word != "" && word[0] != '+': // a netgroup
		out = append(out, strings.ReplaceAll(word, `\`, ""))
	}
	return out
}

// split cuts s at sep where no backslash, quote or parenthesis protects it.
func split(s string, sep byte) []string {
	var out []string
	for {
		head, tail, more := cut(s, sep)
		out = append(out, strings.TrimSpace(head))
		if !more {
			return out
		}
		s = tail
	}
}

// cut is strings.Cut that respects backslashes, quotes and parentheses.
func cut(s string, sep byte) (before, after string, found bool) {
	quoted, depth := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == sep && depth == 0:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// fields is strings.Fields that respects the same.
func fields(s string) []string {
	return slices.DeleteFunc(split(s, ' '), func(w string) bool { return w == "" })
}
