package dockerfile

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/inventory"
)

// A Cure is a Dockerfile with something mended: what it says now, and what that
// changes for who builds or runs it.
type Cure struct {
	Text    []byte
	Changes lang.Text
}

// ErrNoCure is the error of what no rule mends: a person must decide.
var ErrNoCure = lang.Errorf(lang.Text{En: "a person must decide", Es: "debe decidirlo una persona"})

// Mend mends in src, which is called name, what a check found at these places:
// all of them or nothing. Outside of the cure the file stays as it is, to the
// byte. It refuses rather than guesses; the error says why.
func Mend(name string, src []byte, check string, at []inventory.Position, opts Options) (Cure, error) {
	how, ok := cures[check]
	if !ok {
		return Cure{}, ErrNoCure
	}
	f, err := parse(name, src)
	if err != nil {
		return Cure{}, err
	}
	m := &mender{file: f, opts: opts}
	for _, p := range at {
		node := f.at(p)
		if node == nil {
			return Cure{}, ErrNoCure
		}
		if err := how.mend(m, node, f.starts[p.Line-1]+p.Column-1); err != nil {
			return Cure{}, err
		}
	}
	if err := m.goes(); err != nil {
		return Cure{}, err
	}
	text, err := m.edited()
	if err != nil {
		return Cure{}, err
	}
	if _, err := Read(name, text, opts); err != nil {
		return Cure{}, err
	}
	return Cure{text, how.changes}, nil
}

// Whole reports whether the places that a check finds are mended together or
// not at all.
func Whole(check string) bool { return cures[check].whole }

// cures are what can be mended by rule, by the check that finds it.
var cures = map[string]struct {
	mend    func(*mender, *parser.Node, int) error
	whole   bool
	changes lang.Text
}{
	"dockerfile-add-local": {(*mender).copyForAdd, false, lang.Text{
		En: "nothing: the file is no archive, and is copied as before", Es: "nada: el archivo no es un paquete, y se copia como antes",
	}},
	"dockerfile-tls-off": {(*mender).checkTLS, false, lang.Text{
		En: "a server whose certificate cannot be checked is refused: the build needs ca-certificates, or that of your own authority",
		Es: "se rechaza al servidor cuyo certificado no se pueda comprobar: la construcción necesita ca-certificates, o el de su propia autoridad",
	}},
	"dockerfile-unsigned-packages": {(*mender).checkSignatures, false, lang.Text{
		En: "a package without a signature that is trusted is refused: the build needs the key of its repository",
		Es: "se rechaza un paquete sin firma de confianza: la construcción necesita la clave de su repositorio",
	}},
	"dockerfile-sudo": {(*mender).withoutSudo, false, lang.Text{
		En: "nothing: the step runs as root already", Es: "nada: el paso ya corre como root",
	}},
	"dockerfile-world-writable": {(*mender).notForAll, false, lang.Text{
		En: "others than the owner and the group can no longer write there", Es: "nadie salvo el dueño y el grupo puede escribir ahí",
	}},
	"dockerfile-package-cache": {(*mender).dropIndex, false, lang.Text{
		En: "the index is not in the image: who installs more in it updates first", Es: "el índice no queda en la imagen: quien instale más en ella actualiza antes",
	}},
	"dockerfile-update-alone": {(*mender).joinUpdate, false, lang.Text{
		En: "two layers become one, which is built again when either changes", Es: "dos capas pasan a ser una, que se rehace cuando cambia cualquiera",
	}},
	"dockerfile-root-user": {(*mender).useUser, false, lang.Text{
		En: "the program runs as that user: what it writes must be that user's, and some ports below 1024 are refused",
		Es: "el programa corre como ese usuario: lo que escriba debe ser suyo, y se niegan algunos puertos menores de 1024",
	}},
	"dockerfile-ssh": {(*mender).withoutSSH, true, lang.Text{
		En: "nobody logs in to its containers over SSH any more: docker exec does it", Es: "nadie entra ya por SSH en sus contenedores: lo hace docker exec",
	}},
	"dockerfile-base-digest": {(*mender).pinBase, false, pinned},
	"dockerfile-base-latest": {(*mender).pinBase, false, pinned},
}

var pinned = lang.Text{
	En: "the base stays the one that the engine has: its updates come when the digest is changed", Es: "la base queda en la que tiene el motor: sus actualizaciones llegan al cambiar el digest",
}

// A mender gathers changes to a file.
type mender struct {
	*file
	opts  Options
	edits []change
	gone  map[*parser.Node]*list // see goes
}

type change struct {
	begin, end int
	text       string
}

func (m *mender) replace(begin, end int, text string) {
	m.edits = append(m.edits, change{begin, end, text})
}

// edited is the file with the changes; those of two cures may not meet.
func (m *mender) edited() ([]byte, error) {
	slices.SortFunc(m.edits, func(a, b change) int { return a.begin - b.begin })
	m.edits = slices.Compact(m.edits)
	var out []byte
	done := 0
	for _, e := range m.edits {
		if e.begin < done {
			return nil, lang.Errorf(lang.Text{En: "two changes meet in line %d", Es: "dos cambios coinciden en la línea %d"}, m.position(e.begin, e.end).Line)
		}
		out = append(append(out, m.src[done:e.begin]...), e.text...)
		done = e.end
	}
	return append(out, m.src[done:]...), nil
}

// at is the instruction in which a place is.
func (f *file) at(p inventory.Position) *parser.Node {
	for _, n := range f.ast.Children {
		if n.StartLine <= p.Line && p.Line <= n.EndLine && p.Line <= len(f.starts) {
			return n
		}
	}
	return nil
}

func (f *file) word(n *parser.Node) string { return strings.ToLower(n.Value) }

// spoken is the command of a RUN that begins at an offset of the file, and the
// script it is in with its own offset.
func (m *mender) spoken(n *parser.Node, at int) (c shell.Command, script string, begin int, err error) {
	if m.word(n) == command.Run && !n.Attributes["json"] {
		script, begin = m.script(n)
		for _, c := range shell.Parse(script) {
			if !c.Nested && begin+c.Words[0].Begin == at {
				return c, script, begin, nil
			}
		}
	}
	return c, "", 0, lang.Errorf(lang.Text{En: "the command does not stand by itself in a RUN", Es: "la orden no está por sí sola en un RUN"})
}

// drop takes words away, each with the space before it.
func (m *mender) drop(begin int, words ...shell.Word) {
	for _, w := range words {
		from := begin + w.Begin
		for from > 0 && (m.src[from-1] == ' ' || m.src[from-1] == '\t') {
			from--
		}
		if m.src[from-1] == '\n' { // the first of its line: the line's indentation stays, the space behind it goes
			from = begin + w.Begin
			end := begin + w.End
			for end < len(m.src) && m.src[end] == ' ' {
				end++
			}
			m.replace(from, end, "")
			continue
		}
		m.replace(from, begin+w.End, "")
	}
}

func refusal(t lang.Text, args ...any) error { return lang.Errorf(t, args...) }

var archiveMagic = []string{"\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd", "\x5d\x00\x00"}

// copyForAdd writes COPY where ADD unpacks nothing: the context must show it.
func (m *mender) copyForAdd(n *parser.Node, _ int) error {
	var words []string
	for w := n.Next; w != nil; w = w.Next {
		words = append(words, w.Value)
	}
	for _, f := range n.Flags {
		if !strings.HasPrefix(f, "--chown=") && !strings.HasPrefix(f, "--chmod=") && !strings.HasPrefix(f, "--link") && !strings.HasPrefix(f, "--exclude=") {
			return refusal(lang.Text{En: "COPY has no %s", Es: "COPY no tiene %s"}, f)
		}
	}
	if m.opts.Context == nil || len(words) < 2 {
		return refusal(lang.Text{En: "whether it is an archive is not known without the context", Es: "sin el contexto no se sabe si es un paquete"})
	}
	for _, src := range words[:len(words)-1] {
		if strings.HasPrefix(src, "<<") {
			continue
		}
		name := strings.TrimPrefix(path.Clean("/"+src), "/")
		if name == "" {
			name = "."
		}
		info, err := fs.Stat(m.opts.Context, name)
		if err != nil {
			return refusal(lang.Text{En: "%s is not in the context", Es: "%s no está en el contexto"}, src)
		}
		if info.IsDir() {
			continue
		}
		if archive, err := isArchive(m.opts.Context, name); err != nil || archive {
			return errors.Join(err, refusal(lang.Text{En: "%s is an archive, which ADD unpacks", Es: "%s es un paquete, que ADD desempaqueta"}, src))
		}
	}
	begin, _ := m.span(n.StartLine, n.EndLine)
	word := "COPY"
	if m.src[begin] == 'a' {
		word = "copy"
	}
	m.replace(begin, begin+len("ADD"), word)
	return nil
}

func isArchive(context fs.FS, name string) (bool, error) {
	f, err := context.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.Read(head) // an empty file gives io.EOF and is no archive
	head = head[:n]
	return n > 262 && string(head[257:262]) == "ustar" || slices.ContainsFunc(archiveMagic, func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }), nil
}

var insecureLetter = regexp.MustCompile(`^-[a-zA-Z0-9#]*k[a-zA-Z]*$`)

// checkTLS takes away the option that turns the check of a server off.
func (m *mender) checkTLS(n *parser.Node, at int) error {
	c, _, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	words := c.ArgWords()
	for i, w := range words {
		switch name := c.Name(); {
		case name == "curl" && w.Text == "-k", w.Text == "--insecure" && name == "curl", w.Text == "--no-check-certificate" && name == "wget":
			m.drop(begin, w)
		case name == "curl" && insecureLetter.MatchString(w.Text) && !strings.Contains(w.Text, "o"):
			m.replace(begin+w.Begin, begin+w.End, strings.Replace(w.Text, "k", "", 1))
		case strings.HasPrefix(w.Text, "--trusted-host="):
			m.drop(begin, w)
		case w.Text == "--trusted-host" && i+1 < len(words):
			m.drop(begin, w, words[i+1])
		default:
			continue
		}
		err = nil
	}
	if len(m.edits) == 0 {
		return ErrNoCure
	}
	return err
}

var unsignedOptions = []string{
	"--allow-unauthenticated", "--force-yes", "--allow-insecure-repositories", "--allow-untrusted", "--nogpgcheck", "--no-gpgchecks", "--no-gpg-checks", "--no-gpg-check", "--nosignature", "--nodigest",
}

// checkSignatures takes away the option that installs what nobody signed.
func (m *mender) checkSignatures(n *parser.Node, at int) error {
	c, _, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	for _, w := range c.ArgWords() {
		if slices.Contains(unsignedOptions, w.Text) {
			m.drop(begin, w)
		}
	}
	if len(m.edits) == 0 {
		return ErrNoCure
	}
	return nil
}

// withoutSudo takes sudo away from a step that runs as root.
func (m *mender) withoutSudo(n *parser.Node, at int) error {
	c, _, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	if c.Words[0].Text != "sudo" {
		return ErrNoCure
	}
	if user, known := m.userAt(n); !known || user != "" && user != "root" && user != "0" {
		return refusal(lang.Text{En: "it is not known that the step runs as root", Es: "no se sabe que el paso corra como root"})
	}
	next := 1
	for next < len(c.Words) && slices.Contains([]string{"-E", "-H", "-n", "-S"}, c.Words[next].Text) {
		next++
	}
	if next == len(c.Words) || strings.HasPrefix(c.Words[next].Text, "-") {
		return refusal(lang.Text{En: "sudo is given options that mean something", Es: "sudo lleva opciones que significan algo"})
	}
	m.replace(begin+c.Words[0].Begin, begin+c.Words[next].Begin, "")
	return nil
}

// userAt is who runs an instruction, as far as the file says.
func (m *mender) userAt(n *parser.Node) (user string, known bool) {
	o, err := Read(m.name, m.src, m.opts)
	if err != nil {
		return "", false
	}
	list, _, _ := inventory.DockerfileInstructions.Of(o)
	for _, e := range list {
		in, _ := e.(map[string]any)
		at, _ := inventory.ParsePosition(in["At"].(string))
		if at.Line == n.StartLine && in["OnBuild"] == false {
			user, known = in["User"].(string)
			return user, known
		}
	}
	return "", false
}

var octal = regexp.MustCompile(`^[0-7]{3,4}$`)

// notForAll takes the right of others to write out of a mode that is a number.
func (m *mender) notForAll(n *parser.Node, at int) error {
	fix := func(mode string) string {
		digits := []byte(mode)
		digits[len(digits)-1] &^= 2
		return string(digits)
	}
	if m.word(n) == command.Copy || m.word(n) == command.Add {
		begin, end := m.span(n.StartLine, n.EndLine)
		for _, f := range n.Flags {
			mode, is := strings.CutPrefix(f, "--chmod=")
			i := bytes.Index(m.src[begin:end], []byte(f))
			if is && octal.MatchString(mode) && i >= 0 {
				m.replace(begin+i, begin+i+len(f), "--chmod="+fix(mode))
				return nil
			}
		}
		return ErrNoCure
	}
	c, _, begin, err := m.spoken(n, at)
	if err != nil {
		return err
	}
	for _, w := range c.ArgWords() {
		if octal.MatchString(w.Text) {
			m.replace(begin+w.Begin, begin+w.End, fix(w.Text))
			return nil
		}
		if !strings.HasPrefix(w.Text, "-") {
			break
		}
	}
	return refusal(lang.Text{En: "a mode of letters says nothing of what it was before", Es: "un modo en letras no dice qué había antes"})
}
