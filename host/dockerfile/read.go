// Package dockerfile reads what a Dockerfile says, without building it.
//
// The grammar is BuildKit's own: its parser, its instructions and its rules of
// variables. Read goes through the stages in their order as a build would, each
// on what its base left, and gives one object of kind Dockerfile: every
// instruction, every command of each RUN with its place in the file, and the
// configuration that the image would have. What only an image that is not known
// here could tell is unread, and says so.
package dockerfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	lexer "github.com/moby/buildkit/frontend/dockerfile/shell"

	"casco/lang"
	"casco/loop/inventory"
)

// Options are what a build would be told beside the file.
type Options struct {
	Target string            // stage, by name or index; "" is the last
	Args   map[string]string // --build-arg
	// Context holds the files that a build would be given; nil: not known.
	Context fs.FS
	// Ignore is where in Context the file's own list of files to leave out stands
	// ("Dockerfile.dockerignore"); .dockerignore counts where there is none.
	Ignore string
	// Base returns the image that a reference names, nil if it is not known here.
	Base func(ref string) *inventory.Object
	Now  time.Time
}

// Read reads the Dockerfile src, which is called name.
func Read(name string, src []byte, opts Options) (*inventory.Object, error) {
	f, err := parse(name, src)
	if err != nil {
		return nil, err
	}
	b := &build{file: f, opts: opts, meta: map[string]string{}}
	if opts.Context != nil {
		if b.private, err = privateFiles(opts.Context, opts.Ignore); err != nil {
			return nil, err
		}
	}
	if err := b.run(); err != nil {
		return nil, err
	}
	return b.object()
}

// A file is a Dockerfile as it is written.
type file struct {
	name   string
	src    []byte
	starts []int // of each line, in bytes
	escape rune
	ast    *parser.Node
	nodes  map[int]*parser.Node // by the line on which they begin
	meta   []instructions.ArgCommand
	stages []instructions.Stage
}

func parse(name string, src []byte) (*file, error) {
	f := &file{name: name, src: src, starts: []int{0}, nodes: map[int]*parser.Node{}}
	for i, c := range src {
		if c == '\n' {
			f.starts = append(f.starts, i+1)
		}
	}
	res, err := parser.Parse(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f.escape, f.ast = res.EscapeToken, res.AST
	for _, n := range res.AST.Children {
		f.nodes[n.StartLine] = n
	}
	f.stages, f.meta, err = instructions.Parse(res.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(f.stages) == 0 {
		return nil, lang.Errorf(lang.Text{En: "%s: no FROM", Es: "%s: sin FROM"}, name)
	}
	return f, nil
}

// position of the bytes begin to end of the file.
func (f *file) position(begin, end int) inventory.Position {
	l1, c1 := f.lineColumn(begin)
	l2, c2 := f.lineColumn(end)
	return inventory.Position{File: f.name, Line: l1, Column: c1, EndLine: l2, EndColumn: c2}
}

func (f *file) lineColumn(at int) (line, column int) {
	i, found := slices.BinarySearch(f.starts, at)
	if !found {
		i--
	}
	column = at - f.starts[i] + 1
	if i == 0 && bytes.HasPrefix(f.src, bom) {
		column = max(1, column-len(bom))
	}
	return i + 1, column
}

var bom = []byte("\xef\xbb\xbf")

// span is where the lines from first to last begin and end, without the space
// around them.
func (f *file) span(first, last int) (begin, end int) {
	begin, end = f.starts[first-1], len(f.src)
	if last < len(f.starts) {
		end = f.starts[last]
	}
	for end > begin && strings.IndexByte(" \t\r\n", f.src[end-1]) >= 0 {
		end--
	}
	if begin == 0 && bytes.HasPrefix(f.src, bom) {
		begin = len(bom)
	}
	for begin < end && strings.IndexByte(" \t", f.src[begin]) >= 0 {
		begin++
	}
	return begin, end
}

// A build is one way through the file.
type build struct {
	file    *file
	opts    Options
	private []string          // of the context, by their paths
	meta    map[string]string // ARG before the first FROM
	stages  []*stage
	bases   []any // external images: see the kind Dockerfile
}

// A stage is what a FROM begins.
type stage struct {
	index   int
	of      *instructions.Stage
	base    *stage // nil if it begins with an external image, or with none
	ref     string // the image, its variables resolved
	at      string // of its FROM
	vars    map[string]string
	env     []string
	shell   []string
	config  map[string]any
	unread  map[string]string // keys of config that only the base knows, and why
	places  map[string]string // key of config -> what set it
	blind   string            // why variables may have values that are not known here
	blank   map[string]bool   // ARG without a value
	said    []map[string]any  // its instructions
	onbuild []string
	needs   []*stage // COPY --from, RUN --mount=from=
}

func (b *build) run() error {
	for _, a := range b.file.meta {
		for _, kv := range a.Args {
			if v, given := b.opts.Args[kv.Key]; given {
				b.meta[kv.Key] = v
			} else if kv.Value != nil {
				v, _, err := b.expand(*kv.Value, b.meta)
				if err != nil {
					return err
				}
				b.meta[kv.Key] = v
			}
		}
	}
	for i := range b.file.stages {
		if err := b.stage(i, &b.file.stages[i]); err != nil {
			return err
		}
	}
	return nil
}

// expand resolves the variables of a word as a build does, and names those that
// had no value.
func (b *build) expand(word string, vars map[string]string) (string, []string, error) {
	env := make([]string, 0, len(vars))
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	out, unmatched, err := lexer.NewLex(b.file.escape).ProcessWord(word, lexer.EnvsFromSlice(env))
	return out, slices.Sorted(maps.Keys(unmatched)), err
}

// open are the words that a build resolves at its own time: the platform.
var open = []string{"TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"}

func (b *build) stage(index int, of *instructions.Stage) error {
	begin, end := b.file.span(of.Location[0].Start.Line, of.Location[len(of.Location)-1].End.Line)
	s := &stage{
		index: index, of: of, at: b.file.position(begin, end).String(), vars: map[string]string{}, shell: []string{"/bin/sh", "-c"},
		config: map[string]any{}, unread: map[string]string{}, places: map[string]string{}, blank: map[string]bool{},
	}
	ref, missing, err := b.expand(of.BaseName, b.meta)
	if err != nil {
		return fmt.Errorf("%s: FROM: %w", b.file.name, err)
	}
	s.ref = ref
	b.stages = append(b.stages, s)
	from := map[string]any{"Word": "FROM", "Text": inventory.MaskText(of.SourceCode), "Stage": json(index), "At": s.at}
	if len(missing) > 0 {
		from["Unresolved"] = listed(missing)
	}
	s.said = append(s.said, from)
	switch base := b.find(ref); {
	case base != nil:
		s.from(base)
	case ref == "scratch":
		from["Base"] = "scratch"
	default:
		from["Base"], from["Image"] = "image", ref
		if err := b.external(s, ref, missing); err != nil {
			return err
		}
		b.bases = append(b.bases, map[string]any{"Image": ref, "At": s.at, "Text": from["Text"], "Unresolved": listed(missing)})
	}
	for _, line := range s.onbuild {
		if err := b.trigger(s, line); err != nil {
			return err
		}
	}
	s.onbuild = nil
	for _, c := range of.Commands {
		if err := b.instruction(s, c, "", false); err != nil {
			return err
		}
	}
	return nil
}

// find is the stage before this one that has the name.
func (b *build) find(name string) *stage {
	for _, s := range b.stages[:max(0, len(b.stages)-1)] {
		if s.of.Name != "" && strings.EqualFold(s.of.Name, name) {
			return s
		}
	}
	return nil
}

// from begins s where another stage ended.
func (s *stage) from(base *stage) {
	s.base = base
	s.config, s.unread, s.places = deep(base.config), maps.Clone(base.unread), maps.Clone(base.places)
	s.env, s.shell, s.blind = slices.Clone(base.env), base.shell, base.blind
	s.onbuild = slices.Clone(base.onbuild)
	for _, e := range s.env {
		k, v, _ := strings.Cut(e, "=")
		s.vars[k] = v
	}
}

// external begins s with an image.
func (b *build) external(s *stage, ref string, missing []string) error {
	var img *inventory.Object
	if b.opts.Base != nil && len(missing) == 0 {
		img = b.opts.Base(ref)
	}
	if img == nil {
		why := "the base image " + ref + " is not known here"
		if len(missing) > 0 {
			why = "the base image has a variable without a value: " + strings.Join(missing, ", ")
		}
		for _, k := range []string{"User", "Healthcheck", "Env", "ExposedPorts", "Labels", "Entrypoint", "Cmd"} {
			s.unread[k] = why
		}
		s.blind = why
		if strings.Contains(ref, "windows/") {
			s.shell = []string{"cmd", "/S", "/C"}
		}
		return nil
	}
	config, _ := img.Fields["Config"].(map[string]any)
	s.config = deep(config)
	for k := range s.config {
		s.places[k] = s.at
	}
	for _, e := range texts(config["Env"]) {
		s.setenv(e)
	}
	s.onbuild = texts(config["OnBuild"])
	return nil
}

func (s *stage) setenv(e string) {
	k, v, _ := strings.Cut(e, "=")
	s.vars[k] = v
	s.env = slices.DeleteFunc(s.env, func(old string) bool { return strings.HasPrefix(old, k+"=") })
	s.env = append(s.env, e)
}

// trigger runs what a base left with ONBUILD.
func (b *build) trigger(s *stage, line string) error {
	res, err := parser.Parse(strings.NewReader(line))
	if err != nil || len(res.AST.Children) != 1 {
		return fmt.Errorf("%s: ONBUILD %s: %w", b.file.name, inventory.MaskText(line), err)
	}
	cmd, err := instructions.ParseCommand(res.AST.Children[0])
	if err != nil {
		return fmt.Errorf("%s: ONBUILD: %w", b.file.name, err)
	}
	return b.instruction(s, cmd, s.at, false)
}

// target is the stage that the image is made of.
func (b *build) target() (*stage, error) {
	if b.opts.Target == "" {
		return b.stages[len(b.stages)-1], nil
	}
	for _, s := range b.stages {
		if strings.EqualFold(s.of.Name, b.opts.Target) || strconv.Itoa(s.index) == b.opts.Target {
			return s, nil
		}
	}
	return nil, lang.Errorf(lang.Text{En: "%s: no stage is called %q", Es: "%s: ninguna etapa se llama %q"}, b.file.name, b.opts.Target)
}

// object is what was read.
func (b *build) object() (*inventory.Object, error) {
	target, err := b.target()
	if err != nil {
		return nil, err
	}
	kept := map[*stage]bool{}
	for s := target; s != nil; s = s.base {
		kept[s] = true
	}
	last := map[any]map[string]any{} // what decides is the last of its word
	var all []any
	for _, s := range b.stages {
		for _, in := range s.said {
			in["Kept"] = kept[s]
			switch w := in["Word"]; {
			case !kept[s]:
			case w == "CMD" || w == "ENTRYPOINT" || w == "USER" || w == "HEALTHCHECK":
				if before := last[w]; before != nil {
					before["Kept"] = false
				}
				last[w] = in
			}
			all = append(all, in)
		}
	}
	config := deep(target.config)
	config["Env"] = listed(inventory.MaskEnv(target.env))
	o := &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Dockerfile, Name: b.file.name}, Source: target.at, Read: b.opts.Now,
		Fields: map[string]any{
			"Target": target.of.Name, "TargetAt": target.at, "Config": config, "Instructions": all, "Bases": append([]any{}, b.bases...),
			"ContextKnown": b.opts.Context != nil,
		},
		Sources: map[string]string{}, Unread: map[string]string{},
	}
	for k, why := range target.unread {
		if _, set := config[k]; !set || k == "Env" || k == "Labels" || k == "ExposedPorts" {
			o.Unread["Config."+k] = why
		}
	}
	for k, at := range target.places {
		o.Sources["Config."+k] = at
	}
	return o, nil
}

func json(n int) any { return int64(n) }

func listed[T any](l []T) []any {
	out := make([]any, 0, len(l))
	for _, e := range l {
		out = append(out, e)
	}
	return out
}

func texts(v any) []string {
	var out []string
	switch l := v.(type) {
	case []any:
		for _, e := range l {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
	case []string:
		out = slices.Clone(l)
	}
	return out
}

// deep copies a configuration so that it may be changed.
func deep(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	o := inventory.Object{Fields: m}
	return o.Clone().Fields
}
