package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/guard/admission"
	"casco/host/compose"
	"casco/host/dockerfile"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/lint"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/report"
)

// lintFlags are those of casco lint alone.
type lintFlags struct {
	threshold, baseline, writeBaseline, target, context string
	args                                                []string
	all, fix, dry                                       bool
}

func lintCmd(a *app) *cobra.Command {
	var given lintFlags
	cmd := a.manual.verb(&cobra.Command{
		Use:  "lint",
		RunE: func(cmd *cobra.Command, paths []string) error { return a.lint(cmd.Context(), given, paths) },
	}, lang.Text{
		En: "Judge Dockerfiles and Compose files before anything runs",
		Es: "Juzga Dockerfiles y archivos Compose antes de que nada se ejecute",
	}, lang.Text{
		En: "Judge Dockerfiles and Compose files before anything is built or runs. A folder is searched for Dockerfile*, Containerfile*, compose*.yaml and docker-compose*.yml.\n" +
			"Each service of a Compose file is judged as the container that it would be. What only a base image could tell is unknown, unless -H names an engine that has it. A line \"# casco:ignore CHECK reason: why\" before what is found accepts it; it stays shown.\n\n" +
			"Exit codes: 0 no finding at or above the threshold that is not accepted or known, 1 a file could not be read, 3 findings, 5 --fix --dry-run would change something.",
		Es: "Juzga Dockerfiles y archivos Compose antes de que nada se construya o ejecute. En una carpeta se buscan Dockerfile*, Containerfile*, compose*.yaml y docker-compose*.yml.\n" +
			"Cada servicio de un archivo Compose se juzga como el contenedor que sería. Lo que solo diría una imagen base es desconocido, salvo que -H nombre un motor que la tenga. Una línea \"# casco:ignore COMPROBACIÓN reason: por qué\" antes de lo hallado lo acepta; sigue mostrándose.\n\n" +
			"Códigos de salida: 0 ningún hallazgo desde el umbral sin aceptar ni conocer, 1 un archivo no se pudo leer, 3 hallazgos, 5 --fix --dry-run cambiaría algo.",
	}, somePaths)
	f := cmd.Flags()
	f.StringVar(&given.threshold, "threshold", "low", "")
	f.StringVar(&given.baseline, "baseline", "", "")
	f.StringVar(&given.writeBaseline, "write-baseline", "", "")
	f.StringVar(&given.target, "target", "", "")
	f.StringVar(&given.context, "context", "", "")
	f.StringArrayVar(&given.args, "build-arg", nil, "")
	f.BoolVar(&given.all, "all", false, "")
	f.BoolVar(&given.fix, "fix", false, "")
	f.BoolVar(&given.dry, "dry-run", false, "")
	a.manual.flag(f, "fix", lang.Text{En: "mend in the files what can be mended by rule, say what that changes, and judge again", Es: "remedia en los archivos lo que se puede por regla, dice qué cambia y vuelve a juzgar"})
	a.manual.flag(f, "dry-run", lang.Text{En: "with --fix: show what would be changed, and change nothing; ends with 5 if there is something", Es: "con --fix: muestra qué se cambiaría y no cambia nada; acaba con 5 si hay algo"})
	a.manual.flag(f, "threshold", lang.Text{En: "lowest `SEVERITY` that counts: low, medium, high, critical", Es: "`SEVERIDAD` mínima que cuenta: low, medium, high, critical"})
	a.manual.flag(f, "baseline", lang.Text{En: "findings in this `FILE` are shown and fail nothing", Es: "los hallazgos de este `ARCHIVO` se muestran y no hacen fallar"})
	a.manual.flag(f, "write-baseline", lang.Text{En: "write what is found now to this `FILE`", Es: "escribe lo hallado ahora en este `ARCHIVO`"})
	a.manual.flag(f, "target", lang.Text{En: "`STAGE` of a Dockerfile that makes the image; else the last", Es: "`ETAPA` del Dockerfile que hace la imagen; si no, la última"})
	a.manual.flag(f, "context", lang.Text{En: "`DIR` that a build would be given; else that of the Dockerfile", Es: "`DIR` que recibiría la construcción; si no, el del Dockerfile"})
	a.manual.flag(f, "build-arg", lang.Text{En: "`NAME=VALUE` that a build would be given; more than once", Es: "`NOMBRE=VALOR` que recibiría la construcción; repetible"})
	a.manual.flag(f, "all", lang.Text{En: "show what is of low severity, or could not be told, one by one too", Es: "muestra también uno a uno lo de severidad baja y lo que no se pudo saber"})
	complete(cmd, "threshold", severities)
	a.moreFormats(cmd, report.LintFormats...)
	return cmd
}

// moreFormats adds to what --format takes for cmd.
func (a *app) moreFormats(cmd *cobra.Command, more ...string) {
	if a.formats == nil {
		a.formats = map[*cobra.Command][]string{}
	}
	for _, f := range more {
		if !slices.Contains(formats, f) {
			a.formats[cmd] = append(a.formats[cmd], f)
		}
	}
	complete(cmd, "format", slices.Concat(formats, a.formats[cmd]))
}

func (a *app) lint(ctx context.Context, given lintFlags, paths []string) error {
	min, ok := audit.ParseSeverity(given.threshold)
	if !ok {
		return usage(lang.Errorf(lang.Text{
			En: "--threshold is low, medium, high or critical, not %q", Es: "--threshold es low, medium, high o critical, no %q",
		}, given.threshold))
	}
	known, err := readBaseline(given.baseline)
	if err != nil {
		return err
	}
	if given.dry && !given.fix {
		return usage(lang.Errorf(lang.Text{En: "--dry-run goes with --fix", Es: "--dry-run va con --fix"}))
	}
	l, err := a.linter(ctx, given)
	if err != nil {
		return err
	}
	files, err := lintable(paths)
	if err != nil {
		return err
	}
	if given.fix {
		mends := l.fix(ctx, files)
		if !given.dry {
			if err := l.writeMended(); err != nil {
				return err
			}
		}
		if a.format == "text" {
			if err := a.printMends(l, mends, given.dry); err != nil {
				return err
			}
		}
		if given.dry {
			if len(l.instead) > 0 {
				return quiet(exitPending)
			}
			return nil
		}
		l.instead = map[string][]byte{}
	}
	d := l.judge(ctx, files)
	known.Mark(d.Results)
	if given.writeBaseline != "" {
		b, err := lint.NewBaseline(d.Results).Bytes()
		if err != nil {
			return err
		}
		if err := atomicfile.Write(given.writeBaseline, b, 0o644); err != nil {
			return err
		}
	}
	if a.format == "text" {
		a.printer().Lint(d, shown(min, given.all), given.all)
	} else if err := d.Write(a.out, a.format, a.lang); err != nil {
		return err
	}
	switch {
	case len(d.Snapshot.Gaps) > 0:
		return lang.Errorf(lang.Text{En: "%d files or parts of them could not be read", Es: "%d archivos o partes de ellos no se pudieron leer"}, len(d.Snapshot.Gaps))
	case len(d.Files) == 0:
		return lang.Errorf(lang.Text{En: "there is no Dockerfile and no Compose file in %s", Es: "no hay ningún Dockerfile ni archivo Compose en %s"}, strings.Join(paths, ", "))
	case slices.ContainsFunc(d.Results, func(r lint.Result) bool { return r.Fails(min) }):
		return quiet(exitFindings)
	}
	return nil
}

func readBaseline(file string) (lint.Baseline, error) {
	if file == "" {
		return lint.Baseline{}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return lint.Baseline{}, err
	}
	known, err := lint.ReadBaseline(b)
	if err != nil {
		return known, lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, file, err)
	}
	return known, nil
}

// A linter judges files by a policy, with what an engine has beside them if one
// was named.
type linter struct {
	given lintFlags
	args  map[string]string
	by    *judge
	host  *inventory.Snapshot // nil: none was named
	now   time.Time
	texts map[string][]byte
	gaps  []inventory.Gap
	// Of services: where each stands as a whole, and its elements.
	whole    map[inventory.Ref]string
	services map[inventory.Ref]compose.Asked
	// instead is what files would say, mended, by their names; read is how each
	// Dockerfile was read.
	instead    map[string][]byte
	read       map[string]dockerfile.Options
	containers map[inventory.Ref]*inventory.Object
	// accepting are the Compose files whose pragmas have been taken.
	accepting map[string]bool
}

func newLinter(given lintFlags) *linter {
	return &linter{
		given: given, args: map[string]string{}, now: time.Now().UTC(), texts: map[string][]byte{}, instead: map[string][]byte{}, read: map[string]dockerfile.Options{},
		whole: map[inventory.Ref]string{}, services: map[inventory.Ref]compose.Asked{}, containers: map[inventory.Ref]*inventory.Object{}, accepting: map[string]bool{},
	}
}

// linter is a linter by the policy in force, with what the engine has that was
// named.
func (a *app) linter(ctx context.Context, given lintFlags) (*linter, error) {
	l := newLinter(given)
	for _, arg := range given.args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			value, ok = os.LookupEnv(name) // docker build
		}
		if !ok {
			return nil, usage(lang.Errorf(lang.Text{En: "--build-arg is NAME=VALUE, not %q", Es: "--build-arg es NOMBRE=VALOR, no %q"}, arg))
		}
		l.args[name] = value
	}
	if a.host == "" && a.snapshot == "" {
		var err error
		l.by, err = a.judgeNow()
		return l, err
	}
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if look.trouble != nil {
		return nil, look.trouble
	}
	l.by, l.host = look.judge, look.read
	return l, nil
}

// Files that are Dockerfiles by their names. Templates and the lists of what to
// leave out are none.
var (
	dockerfileName = regexp.MustCompile(`^(?:Dockerfile|Containerfile)(?:[._-].*)?$|\.(?i:dockerfile|containerfile)$`)
	notDockerfile  = regexp.MustCompile(`(?i)\.(?:dockerignore|containerignore|j2|jinja2?|tmpl|tpl|template|erb|md|txt|sh|py|go|js|ts|bak|orig|swp)$|~$`)
)

// lintable are the files to judge: those that are named, and those that are
// found in folders that are.
func lintable(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, filepath.Clean(p))
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != p && (d.Name() == ".git" || d.Name() == "node_modules"):
				return fs.SkipDir
			case d.Type().IsRegular() && (composeName.MatchString(d.Name()) || dockerfileName.MatchString(d.Name()) && !notDockerfile.MatchString(d.Name())):
				out = append(out, filepath.Clean(path))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// judge reads and judges files: first the projects, for what they build is read
// as they build it.
func (l *linter) judge(ctx context.Context, files []string) report.Lint {
	var results []lint.Result
	var pragmas []*lint.Pragma
	add := func(rs []lint.Result, ps []*lint.Pragma) {
		results, pragmas = append(results, rs...), append(pragmas, ps...)
	}
	isCompose := func(f string) bool { return strings.HasSuffix(f, ".yml") || strings.HasSuffix(f, ".yaml") }
	for _, p := range projects(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !isCompose(f) })) {
		add(l.compose(ctx, p))
	}
	for _, f := range files {
		name := filepath.ToSlash(f)
		if _, seen := l.texts[name]; seen || isCompose(f) {
			continue
		}
		src, err := l.file(f)
		if err != nil {
			l.gap(f, err)
			continue
		}
		l.texts[name] = src
		add(l.dockerfile(name, src))
	}
	if objects := lint.Accept(results, pragmas, l.now); len(objects) > 0 {
		_, fs := l.findings(objects)
		fs = slices.DeleteFunc(fs, func(f audit.Finding) bool { return f.Verdict != audit.Fail })
		results = append(results, l.placed(fs)...)
	}
	lint.Sort(results)
	s := &inventory.Snapshot{Host: hostName(), Taken: l.now, Gaps: append(slices.Clone(l.by.gaps), l.gaps...)}
	d := report.NewLint(report.Audit{Snapshot: s, Policy: l.by.report()}, results)
	d.Files, d.Texts, d.Version = slices.Sorted(maps.Keys(l.texts)), l.texts, version
	return d
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func (l *linter) gap(file string, err error) {
	l.gaps = append(l.gaps, inventory.Gap{Source: filepath.ToSlash(file), Reason: err.Error()})
}

// file is what a file says, or would say mended.
func (l *linter) file(path string) ([]byte, error) {
	if text, ok := l.instead[filepath.ToSlash(path)]; ok {
		return text, nil
	}
	return os.ReadFile(path)
}

// placed gives findings their places: of a service the element of the list or map
// that is wrong, where it is known.
func (l *linter) placed(fs []audit.Finding) []lint.Result {
	rs := lint.Results(fs, l.whole)
	for i := range rs {
		if s, ok := l.services[rs[i].Ref]; ok && rs[i].Verdict == audit.Fail {
			refine(&rs[i], s)
		}
	}
	return rs
}

// findings judges objects beside what is known of a host.
func (l *linter) findings(objects []*inventory.Object) (*inventory.Snapshot, []audit.Finding) {
	s := &inventory.Snapshot{Taken: l.now}
	if l.host != nil {
		s.Host = l.host.Host
		for _, o := range l.host.Objects {
			s.Add(o)
		}
	}
	for _, o := range objects {
		s.Add(o)
	}
	judged := l.by.declared.With(s)
	judged.Sort()
	var out []audit.Finding
	for _, o := range objects {
		out = append(out, audit.Of(l.by.checks, judged, judged.Find(o.Ref))...)
	}
	return judged, out
}

// dockerfile judges one Dockerfile by itself.
func (l *linter) dockerfile(name string, src []byte) ([]lint.Result, []*lint.Pragma) {
	dir := firstSet(l.given.context, filepath.Dir(filepath.FromSlash(name)))
	o, err := l.readDockerfile(name, src, dir, l.given.target, l.args)
	if err != nil {
		l.gap(name, err)
		return nil, nil
	}
	_, found := l.findings([]*inventory.Object{o})
	return l.placed(found), lint.Pragmas(name, src, endsOf(o))
}

func (l *linter) readDockerfile(name string, src []byte, dir, target string, args map[string]string) (*inventory.Object, error) {
	own, err := filepath.Rel(dir, filepath.FromSlash(name)+".dockerignore")
	if err != nil || !filepath.IsLocal(own) {
		own = ""
	}
	opts := dockerfile.Options{Target: target, Args: args, Context: os.DirFS(dir), Ignore: filepath.ToSlash(own), Base: l.image, Now: l.now}
	l.read[name] = opts
	return dockerfile.Read(name, src, opts)
}

// endsOf says where the instructions of a Dockerfile end.
func endsOf(o *inventory.Object) func(line int) int {
	ends := map[int]int{}
	list, _, _ := inventory.DockerfileInstructions.Of(o)
	for _, in := range list {
		m, _ := in.(map[string]any)
		at, _ := m["At"].(string)
		if p, ok := inventory.ParsePosition(at); ok {
			ends[p.Line] = p.EndLine
		}
	}
	return func(line int) int { return ends[line] }
}

// image is the image of the engine that a reference names, or nil.
func (l *linter) image(ref string) *inventory.Object {
	if l.host == nil {
		return nil
	}
	tag := admission.TaggedImage(ref)
	name, digest, _ := strings.Cut(ref, "@")
	for _, o := range l.host.Of(inventory.Image) {
		tags, _, _ := inventory.ImageTags.Of(o)
		digests, _, _ := inventory.ImageDigests.Of(o)
		if slices.Contains(tags, tag) || digest != "" && slices.ContainsFunc(digests, func(d string) bool { return strings.HasSuffix(d, "@"+digest) && name != "" }) {
			return o
		}
	}
	return nil
}
