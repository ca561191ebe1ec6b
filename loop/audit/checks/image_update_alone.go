package checks

import (
	"slices"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageUpdateAlone = &audit.Check{
	ID:    "image-update-alone",
	Title: lang.Text{En: "Image has a layer with a package index and no installation", Es: "La imagen tiene una capa con índice de paquetes y sin instalación"},
	Why: lang.Text{
		En: "The builder keeps that layer; later builds install from an index that is weeks old and bring vulnerable packages back.",
		Es: "El constructor guarda esa capa; construcciones posteriores instalan con un índice de semanas y traen paquetes vulnerables.",
	},
	Remedy: lang.Text{
		En: "Put update and install into one RUN: apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*.",
		Es: "Ponga update e install en un solo RUN: apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImageFlaws.cis("4.7"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeHistory(o, judgeUpdate)
	},
}

// A packager is a program that keeps an index of packages: the verbs that
// refresh the index, and those that use it. valued are its options that take
// the next word.
type packager struct {
	names, refresh, use, valued []string
}

var packagers = []packager{
	{[]string{"apt-get", "apt", "aptitude"}, []string{"update"}, []string{"install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "reinstall", "download", "source", "satisfy"}, []string{"-o", "-c", "-t", "--option"}},
	{[]string{"apk"}, []string{"update"}, []string{"add", "upgrade", "fetch", "fix"}, []string{"-X", "--repository", "-p", "--root", "--keys-dir"}},
	{[]string{"yum", "dnf", "microdnf", "tdnf"}, []string{"makecache", "check-update"}, []string{"install", "update", "upgrade", "groupinstall", "localinstall", "reinstall", "builddep"}, []string{"-c", "-x"}},
	{[]string{"zypper"}, []string{"refresh", "ref"}, []string{"install", "in", "update", "up", "dup", "patch"}, []string{"-R", "--root", "-p"}},
	{[]string{"pacman"}, []string{"-Sy", "-Syy"}, nil, nil},
}

// judgeUpdate fails a RUN that refreshes an index and neither uses nor removes
// it. What a script that it calls does cannot be told.
func judgeUpdate(in instruction) (audit.Verdict, lang.Text) {
	if in.Word != "RUN" {
		return audit.Pass, lang.Text{}
	}
	return judgeIndex(shell.Parse(in.Rest))
}

// judgeIndex judges the commands of one layer.
func judgeIndex(cmds []shell.Command) (audit.Verdict, lang.Text) {
	verdict, why := audit.Pass, lang.Text{}
	for _, p := range packagers {
		refreshes, uses := p.does(cmds)
		if !refreshes || uses || slices.ContainsFunc(cmds, removesIndex) {
			continue
		}
		if !slices.ContainsFunc(cmds, runsScript) {
			return audit.Fail, lang.Text{}
		}
		verdict, why = audit.Unknown, lang.Text{
			En: "a script is called after the update; what it installs cannot be told",
			Es: "tras el update se llama a un script; no se puede saber qué instala",
		}
	}
	return verdict, why
}

func (p packager) does(cmds []shell.Command) (refreshes, uses bool) {
	for _, c := range cmds {
		if !slices.Contains(p.names, c.Name()) {
			continue
		}
		if c.Name() == "pacman" { // its verbs are options; more than the option is a package
			as := c.Args()
			sync := slices.ContainsFunc(as, func(a string) bool { return slices.Contains(p.refresh, a) })
			refreshes = refreshes || sync
			uses = uses || slices.ContainsFunc(as, func(a string) bool {
				return !strings.HasPrefix(a, "-") || strings.HasPrefix(a, "-S") && strings.Contains(a, "u")
			})
			continue
		}
		verb := c.Verb(p.valued...)
		refreshes = refreshes || slices.Contains(p.refresh, verb)
		uses = uses || slices.Contains(p.use, verb)
	}
	return refreshes, uses
}

// removesIndex reports whether c deletes the index: "rm -rf /var/lib/apt/lists/*".
func removesIndex(c shell.Command) bool {
	return c.Name() == "rm" && slices.ContainsFunc(c.Args(), func(a string) bool {
		return strings.HasPrefix(a, "/var/lib/apt") || strings.HasPrefix(a, "/var/cache/apk") || strings.HasPrefix(a, "/var/cache/yum") ||
			strings.HasPrefix(a, "/var/cache/dnf")
	})
}

// runsScript reports whether c is a program of the image's own.
func runsScript(c shell.Command) bool {
	program := c.Program().Text
	if shell.IsShell(program) {
		return !slices.ContainsFunc(c.Args(), func(a string) bool { return strings.HasPrefix(a, "-") && strings.HasSuffix(a, "c") })
	}
	return strings.Contains(program, "/") && !strings.HasPrefix(program, "/bin/") && !strings.HasPrefix(program, "/sbin/") &&
		!strings.HasPrefix(program, "/usr/bin/") && !strings.HasPrefix(program, "/usr/sbin/") ||
		slices.Contains([]string{"make", "ansible-playbook", "puppet", "chef-client", "python", "python3", "perl", ".", "source"}, c.Name())
}
