package dockerfile

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/inventory"
)

// Cures that take whole commands or instructions out, or put some in.

// next is the instruction after n in the same stage, nil at its end.
func (m *mender) next(n *parser.Node) *parser.Node {
	i := slices.Index(m.ast.Children, n)
	if i < 0 || i+1 == len(m.ast.Children) || m.word(m.ast.Children[i+1]) == command.From {
		return nil
	}
	return m.ast.Children[i+1]
}

// plainRun reports whether n is a RUN of the shell without flags and documents.
func (m *mender) plainRun(n *parser.Node) bool {
	return n != nil && m.word(n) == command.Run && !n.Attributes["json"] && len(n.Flags) == 0 && len(n.Heredocs) == 0
}

// dropIndex has a RUN remove the index that it fetched, unless a later step
// installs with it.
func (m *mender) dropIndex(n *parser.Node, at int) error {
	c, script, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	if c.Name() == "apk" {
		for _, w := range c.ArgWords() {
			if w.Text == "-U" || w.Text == "--update" || w.Text == "--update-cache" {
				m.replace(begin+w.Begin, begin+w.End, "--no-cache")
				return nil
			}
		}
		return ErrNoCure
	}
	after := " && rm -rf /var/lib/apt/lists/*"
	if c.Name() != "apt-get" && c.Name() != "apt" && c.Name() != "aptitude" {
		after = " && " + c.Name() + " clean all"
	}
	lists, ok := shell.Chain(script)
	if !ok || len(n.Heredocs) > 0 {
		return refusal(lang.Text{En: "the step is more than a list of commands", Es: "el paso es más que una lista de órdenes"})
	}
	for later := m.next(n); later != nil; later = m.next(later) {
		if m.word(later) == command.Run && m.installsUnasked(later) {
			return refusal(lang.Text{En: "the step in line %d installs with this index", Es: "el paso de la línea %d instala con este índice"}, later.StartLine)
		}
	}
	last := lists[len(lists)-1]
	end := begin + last[len(last)-1].End
	m.replace(end, end, after)
	return nil
}

// installsUnasked reports whether a step installs without updating first, or may.
func (m *mender) installsUnasked(n *parser.Node) bool {
	if n.Attributes["json"] {
		return true
	}
	script, _ := m.script(n)
	for _, c := range shell.Parse(script) {
		switch verb := c.Verb("-o", "-c", "-t", "-x"); {
		case c.Name() != "apt-get" && c.Name() != "apt" && c.Name() != "aptitude":
		case verb == "update":
			return false
		case verb == "install" || verb == "build-dep" || verb == "satisfy":
			return true
		}
	}
	return false
}

// joinUpdate puts the update and the step that follows it into one, if that one
// installs.
func (m *mender) joinUpdate(n *parser.Node, at int) error {
	if _, _, _, err := m.spoken(n, at); err != nil {
		return err
	}
	next := m.next(n)
	script, _ := m.script(n)
	lists, ok := shell.Chain(script)
	if !ok || !m.plainRun(n) || !m.plainRun(next) || !m.installsUnasked(next) {
		return refusal(lang.Text{En: "the next step is none that installs with it", Es: "el paso siguiente no es uno que instale con él"})
	}
	_, end := m.span(n.StartLine, n.EndLine)
	begin, last := m.span(next.StartLine, next.EndLine)
	if len(bytes.TrimSpace(m.src[end:begin])) > 0 {
		return refusal(lang.Text{En: "something stands between the two steps", Es: "hay algo entre los dos pasos"})
	}
	if len(lists) > 1 { // set -e; apt-get update
		return refusal(lang.Text{En: "the step is more than a list of commands", Es: "el paso es más que una lista de órdenes"})
	}
	rest := bytes.TrimLeft(m.src[begin+len("RUN"):last], " \t")
	m.replace(end, last-len(rest), " && "+string(m.escape)+m.newline()+"    ")
	return nil
}

func (m *mender) newline() string {
	if bytes.Contains(m.src, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// useUser has the image run as the one user that the file itself makes.
func (m *mender) useUser(n *parser.Node, _ int) error {
	o, err := Read(m.name, m.src, m.opts)
	if err != nil {
		return err
	}
	var users []string
	lines := 0
	list, _, _ := inventory.DockerfileInstructions.Of(o)
	for _, e := range list {
		in, _ := e.(map[string]any)
		if in["Kept"] != true && in["Word"] != "USER" || in["OnBuild"] == true {
			continue
		}
		at, _ := inventory.ParsePosition(in["At"].(string))
		if target, _ := inventory.ParsePosition(o.Fields["TargetAt"].(string)); at.Line >= target.Line {
			lines = max(lines, at.EndLine)
		}
		commands, _ := in["Commands"].([]any)
		for _, c := range commands {
			c, _ := c.(map[string]any)
			if name := userMade(texts(c["Words"])); name != "" && !slices.Contains(users, name) {
				users = append(users, name)
			}
		}
	}
	switch {
	case len(users) == 0:
		return refusal(lang.Text{En: "the file makes no user", Es: "el archivo no crea ningún usuario"})
	case len(users) > 1:
		return refusal(lang.Text{En: "the file makes more than one user: %s", Es: "el archivo crea más de un usuario: %s"}, strings.Join(users, ", "))
	case lines == 0:
		return ErrNoCure
	}
	_, end := m.span(lines, lines)
	m.replace(end, end, m.newline()+"USER "+users[0])
	return nil
}

// userMade is the name that useradd(8), or BusyBox's or Debian's adduser, makes
// a user of; "" if there is none, or it is not certain which.
func userMade(words []string) string {
	if len(words) < 2 || !slices.Contains([]string{"useradd", "adduser"}, path.Base(words[0])) {
		return ""
	}
	valued := []string{
		"-u", "--uid", "-g", "--gid", "-G", "--groups", "-h", "-d", "--home", "--home-dir", "-s", "--shell", "-c", "--comment", "--gecos", "-k", "--skel", "-b", "--base-dir", "-e", "-f", "-p", "-K", "--ingroup",
	}
	var names []string
	for i := 1; i < len(words); i++ {
		switch {
		case slices.Contains(valued, words[i]):
			i++
		case !strings.HasPrefix(words[i], "-"):
			names = append(names, words[i])
		}
	}
	if len(names) != 1 || names[0] == "root" || strings.ContainsAny(names[0], "$`*\"'(") {
		return ""
	}
	return names[0]
}

// pinBase names the base of a FROM by the digest under which the engine has it.
func (m *mender) pinBase(n *parser.Node, _ int) error {
	if m.word(n) != command.From || n.Next == nil || m.opts.Base == nil {
		return ErrNoCure
	}
	ref := n.Next.Value
	img := m.opts.Base(ref)
	if img == nil || strings.Contains(ref, "$") || strings.Contains(ref, "@") {
		return refusal(lang.Text{En: "no engine was named that has %s", Es: "no se nombró ningún motor que tenga %s"}, ref)
	}
	name := ref
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	digests, _, _ := inventory.ImageDigests.Of(img)
	for _, d := range digests {
		of, digest, _ := strings.Cut(d, "@")
		if short(of) != short(name) {
			continue
		}
		begin, end := m.span(n.StartLine, n.EndLine)
		i := bytes.Index(m.src[begin:end], []byte(ref))
		if i < 0 {
			return ErrNoCure
		}
		m.replace(begin+i+len(ref), begin+i+len(ref), "@"+digest)
		return nil
	}
	return refusal(lang.Text{En: "the engine has no digest of a registry for %s", Es: "el motor no tiene digest de un registro para %s"}, ref)
}

// short is a repository without what stands for Docker Hub.
func short(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "index.docker.io/"), "docker.io/"), "library/")
}

// sshServer are the packages of an SSH server; taking one out takes the server.
var sshServer = []string{"openssh-server", "openssh-server-pam", "openssh-sftp-server", "openssh", "ssh", "dropbear", "dropbear-bin", "dropbear-run", "tinyssh"}

// withoutSSH takes out one part of what makes an SSH server: a package from a
// list, a command, a port, a configuration.
func (m *mender) withoutSSH(n *parser.Node, at int) error {
	switch m.word(n) {
	case command.Expose:
		return m.withoutPort(n)
	case command.Copy, command.Add:
		return m.withoutLines(n)
	case command.Run:
	default:
		return refusal(lang.Text{En: "the container is started as an SSH server (line %d): what is it to run?", Es: "el contenedor arranca como servidor SSH (línea %d): ¿qué debe ejecutar?"}, n.StartLine)
	}
	c, script, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	var server []shell.Word
	others := 0
	for _, w := range c.ArgWords() {
		name, _, _ := strings.Cut(w.Text, "=")
		switch {
		case slices.Contains(sshServer, name):
			server = append(server, w)
		case !strings.HasPrefix(w.Text, "-") && w.Text != "install" && w.Text != "add":
			others++
		}
	}
	if slices.Contains([]string{"apt-get", "apt", "apk", "yum", "dnf", "microdnf", "zypper"}, c.Name()) && others > 0 {
		m.drop(begin, server...)
		return nil
	}
	return m.withoutCommand(n, c, script, begin)
}

// withoutPort takes port 22 out of an EXPOSE.
func (m *mender) withoutPort(n *parser.Node) error {
	begin, end := m.span(n.StartLine, n.EndLine)
	var words []string
	for w := n.Next; w != nil; w = w.Next {
		words = append(words, w.Value)
	}
	if len(words) == 1 {
		return m.withoutLines(n)
	}
	pos := begin
	for _, w := range words {
		i := bytes.Index(m.src[pos:end], []byte(w))
		if i < 0 {
			return ErrNoCure
		}
		if w == "22" || w == "22/tcp" {
			m.drop(0, shell.Word{Text: w, Begin: pos + i, End: pos + i + len(w)})
			return nil
		}
		pos += i + len(w)
	}
	return refusal(lang.Text{En: "the port is a variable's", Es: "el puerto es de una variable"})
}

// withoutLines takes an instruction out, whose lines are its own.
func (m *mender) withoutLines(n *parser.Node) error {
	from, end := m.starts[n.StartLine-1], len(m.src)
	if n.EndLine < len(m.starts) {
		end = m.starts[n.EndLine]
	}
	m.replace(from, end, "")
	return nil
}

// withoutCommand notes that a command is to go out of a list that && joins.
func (m *mender) withoutCommand(n *parser.Node, c shell.Command, script string, begin int) error {
	lists, ok := shell.Chain(script)
	if !ok || len(lists) > 1 {
		return refusal(lang.Text{En: "the step in line %d is more than a list of commands", Es: "el paso de la línea %d es más que una lista de órdenes"}, n.StartLine)
	}
	for i, s := range lists[0] {
		if c.Words[0].Begin >= s.Begin && c.Words[0].Begin < s.End {
			if m.gone == nil {
				m.gone = map[*parser.Node]*list{}
			}
			if m.gone[n] == nil {
				m.gone[n] = &list{script, begin, lists[0], map[int]bool{}}
			}
			m.gone[n].gone[i] = true
			return nil
		}
	}
	return ErrNoCure
}

// A list is a script of commands that && joins, some of which go.
type list struct {
	script string
	begin  int // in the file
	spans  []shell.Span
	gone   map[int]bool
}

// goes takes the commands of lists out: all of a step if what is left of it only
// fetches an index and removes it.
func (m *mender) goes() error {
	for n, l := range m.gone {
		idle := true
		for i, s := range l.spans {
			idle = idle && (l.gone[i] || keepsHouse(l.script[s.Begin:s.End]))
		}
		if idle {
			if err := m.withoutLines(n); err != nil {
				return err
			}
			continue
		}
		for i := 0; i < len(l.spans); i++ {
			if !l.gone[i] {
				continue
			}
			last := i
			for last+1 < len(l.spans) && l.gone[last+1] {
				last++
			}
			from, to := l.spans[i].Begin, l.spans[last].End
			if i > 0 {
				from = l.spans[i-1].End
			} else {
				to = l.spans[last+1].Begin
			}
			if bytes.Contains(m.src[l.begin+from:l.begin+to], []byte("#")) {
				return refusal(lang.Text{En: "a comment stands beside it", Es: "hay un comentario al lado"})
			}
			m.replace(l.begin+from, l.begin+to, "")
			i = last
		}
	}
	return nil
}

// keepsHouse reports whether a command only fetches or removes an index.
func keepsHouse(script string) bool {
	for _, c := range shell.Parse(script) {
		as := strings.Join(c.Args(), " ")
		update := slices.Contains([]string{"apt-get", "apt", "apk"}, c.Name()) && slices.Contains([]string{"update", "clean", "autoremove", "autoclean"}, c.Verb("-o"))
		sweep := c.Name() == "rm" && (strings.Contains(as, "/var/lib/apt/lists") || strings.Contains(as, "/var/cache/apk") || strings.Contains(as, "/var/cache/apt"))
		if !update && !sweep {
			return false
		}
	}
	return true
}
