package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"casco/lang"
	"casco/signed"
)

// Kinds of documents.
const (
	kindPolicy    = "Policy"    // exactly one
	kindException = "Exception" // in a file of its own: it is signed by itself
	kindCheck     = "Check"
	kindAnswer    = "Answer"
)

// SignatureName is the file of a policy folder that holds its signature. That
// of a policy that is one file has the file's name and SignatureSuffix.
const (
	SignatureName   = "policy" + SignatureSuffix
	SignatureSuffix = ".sig"
)

// maxFiles bounds a policy folder.
const maxFiles = 1000

// ParseFile reads a policy that is one file. What is signed is the file. If a
// problem is an Error the policy is nil.
func ParseFile(name string, b []byte) (*Policy, []Problem) {
	return parse(map[string][]byte{name: b}, b)
}

// ParseFolder reads a policy that is a folder, by the names of its files below
// the folder. What is signed is its Manifest.
func ParseFolder(files map[string][]byte) (*Policy, []Problem) { return parse(files, nil) }

// ParseException reads one exception, which is how it is asked for and signed.
// Its signatures are not looked at.
func ParseException(name string, b []byte) (*Exception, []Problem) {
	f := &folder{p: &Policy{Lines: map[string]Pos{}}}
	f.read(name, b)
	if len(f.p.Granted) != 1 && !Refused(f.problems) {
		f.wrong(name, lang.Text{En: "not a document of kind Exception", Es: "no es un documento de clase Exception"})
	}
	sortProblems(f.problems)
	if Refused(f.problems) {
		return nil, f.problems
	}
	return &f.p.Granted[0], f.problems
}

// A folder is a policy being read.
type folder struct {
	p        *Policy
	first    Pos             // where the document of kind Policy is
	alone    map[string]bool // files that are signed by themselves
	problems []Problem
}

func (f *folder) wrong(name string, t lang.Text, args ...any) {
	f.problems = append(f.problems, Problem{Pos{File: name}, Error, t.F(args...)})
}

var fileName = regexp.MustCompile(`^` + filePart + `$`)

func parse(files map[string][]byte, message []byte) (*Policy, []Problem) {
	f := &folder{p: &Policy{Lines: map[string]Pos{}, Files: map[string][]byte{}}, alone: map[string]bool{}}
	single := message != nil
	if len(files) > maxFiles {
		return nil, []Problem{{Pos{}, Error, lang.Text{En: "the folder has more than %d files", Es: "la carpeta tiene más de %d archivos"}.F(maxFiles)}}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch {
		case !single && !fileName.MatchString(name):
			f.wrong(name, lang.Text{
				En: "a file of a policy has a name of letters, digits, - _ and ., and does not begin with a dot",
				Es: "un archivo de la política tiene un nombre de letras, cifras, - _ y ., y no empieza con punto",
			})
		case single || isYAML(name):
			f.read(name, files[name])
		case path.Ext(name) != SignatureSuffix:
			f.p.Files[name] = files[name]
		}
	}
	f.named()
	if f.first == (Pos{}) && !Refused(f.problems) {
		f.wrong("", lang.Text{En: "there is no document of kind Policy", Es: "no hay documento de clase Policy"})
	}
	sortProblems(f.problems)
	if Refused(f.problems) {
		return nil, f.problems
	}
	if !single {
		message = manifest(files, f.alone)
	}
	f.p.complete()
	f.p.Message = message
	sum := sha256.Sum256(message)
	f.p.Digest = hex.EncodeToString(sum[:])
	f.signatures(files)
	return f.p, f.problems
}

// named wants the files that the policy names to be in the folder.
func (f *folder) named() {
	for _, pattern := range slices.Sorted(maps.Keys(f.p.Registries.Keys)) {
		name := f.p.Registries.Keys[pattern]
		if _, ok := f.p.Files[name]; !ok {
			at := f.p.Where(join("registries.keys", pattern))
			f.problems = append(f.problems, Problem{at, Error, lang.Text{
				En: "there is no file %s in the policy folder", Es: "no hay archivo %s en la carpeta de la política",
			}.F(name)})
		}
	}
}

func isYAML(name string) bool { ext := path.Ext(name); return ext == ".yaml" || ext == ".yml" }

// manifest lists the files that a policy folder is signed with, as sha256sum
// prints them, sorted by name: all but signatures, and the exceptions, which
// have their own.
func manifest(files map[string][]byte, alone map[string]bool) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !alone[name] && path.Ext(name) != SignatureSuffix {
			fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(files[name]), name)
		}
	}
	return []byte(b.String())
}

// read takes in all documents of one file.
func (f *folder) read(name string, b []byte) {
	r := &reader{file: name, lines: f.p.Lines}
	docs := r.documents(b)
	for _, n := range docs {
		f.document(r, n, b, len(docs) == 1)
	}
	f.problems = append(f.problems, r.problems...)
}

func (f *folder) document(r *reader, n *yaml.Node, b []byte, only bool) {
	if !r.is(n, yaml.MappingNode, "") {
		return
	}
	head := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		head[n.Content[i].Value] = n.Content[i+1]
	}
	if v := head["apiVersion"]; v == nil || v.Value != APIVersion {
		r.wrong(r.pos(orNode(v, n)), lang.Text{En: "apiVersion: " + APIVersion + " is wanted", Es: "se quiere apiVersion: " + APIVersion})
		return
	}
	kind := head["kind"]
	if kind == nil {
		kind = n
	}
	at := r.pos(n)
	switch kind.Value {
	case kindPolicy:
		if f.first != (Pos{}) {
			r.wrong(at, lang.Text{En: "a second document of kind Policy; the first is in %s", Es: "un segundo documento de clase Policy; el primero está en %s"}, f.first)
			return
		}
		f.first = at
		fill(r, n, f.p, "")
	case kindException:
		if !only {
			r.wrong(at, lang.Text{
				En: "an exception stands in a file of its own, for it is signed by itself", Es: "una excepción va en un archivo propio, pues se firma sola",
			})
			return
		}
		if f.alone != nil {
			f.alone[r.file] = true
		}
		f.p.Granted = append(f.p.Granted, Exception{Pos: at, Bytes: b})
		fill(r, n, &f.p.Granted[len(f.p.Granted)-1], join("granted", fmt.Sprint(len(f.p.Granted)-1)))
	case kindCheck:
		f.p.Own = append(f.p.Own, OwnCheck{Pos: at})
		o := &f.p.Own[len(f.p.Own)-1]
		fill(r, n, o, join("own", fmt.Sprint(len(f.p.Own)-1)))
		o.WhenAt, o.PassAt = r.textAt(head["when"], b), r.textAt(head["pass"], b)
	case kindAnswer:
		f.p.Answers = append(f.p.Answers, Answer{Pos: at})
		fill(r, n, &f.p.Answers[len(f.p.Answers)-1], join("answers", fmt.Sprint(len(f.p.Answers)-1)))
	default:
		r.wrong(r.pos(kind), lang.Text{En: "kind is Policy, Exception, Check or Answer", Es: "kind es Policy, Exception, Check o Answer"})
	}
}

// textAt says where the text of a scalar begins in b: behind a quote, and of a
// block (| or >) in the next line.
func (r *reader) textAt(n *yaml.Node, b []byte) Pos {
	if n == nil {
		return Pos{}
	}
	at := r.pos(n)
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		at.Col++
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		lines := strings.SplitAfterN(string(b), "\n", at.Line+2)
		if len(lines) > at.Line {
			next := lines[at.Line]
			at.Line, at.Col = at.Line+1, 1+len(next)-len(strings.TrimLeft(next, " "))
		}
	}
	return at
}

func orNode(a, b *yaml.Node) *yaml.Node {
	if a != nil {
		return a
	}
	return b
}

// fill decodes the document n into v.
func fill(r *reader, n *yaml.Node, v any, path string) {
	r.lines[path] = r.pos(n)
	r.object(n, reflect.ValueOf(v).Elem(), path, rule{}, "apiVersion", "kind")
}

// signatures notes who signed each exception. A signature that does not fit is
// a problem; one by a key that is nobody's is noted without a person.
func (f *folder) signatures(files map[string][]byte) {
	for i := range f.p.Granted {
		e := &f.p.Granted[i]
		for _, name := range SignaturesOf(e.Pos.File, files) {
			who, k, err := f.p.SignedBy(files[name], signed.Exception, e.Bytes)
			switch {
			case who != nil:
				e.Signatures = append(e.Signatures, Signature{who.ID, k.Fingerprint()})
			case k.Fingerprint() != "":
				e.Signatures = append(e.Signatures, Signature{"", k.Fingerprint()})
			default:
				f.problems = append(f.problems, Problem{Pos{File: name}, Warning, lang.Text{
					En: "it is no signature of %s: %v", Es: "no es firma de %s: %v",
				}.F(e.Pos.File, err)})
			}
		}
	}
}

// SignaturesOf returns the names of the files that hold signatures of the file
// name: name.sig, and for several persons name.PERSON.sig.
func SignaturesOf(name string, files map[string][]byte) []string {
	var out []string
	for f := range files {
		middle, ok := strings.CutPrefix(f, name)
		if middle, ok2 := strings.CutSuffix(middle, SignatureSuffix); ok && ok2 && (middle == "" || middle[0] == '.' && !strings.Contains(middle[1:], ".")) {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}
