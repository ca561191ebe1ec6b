package checks

import (
	"regexp"
	"slices"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileSetuid = &audit.Check{
	ID:       "dockerfile-setuid",
	Title:    lang.Text{En: "Image keeps or makes setuid programs", Es: "La imagen conserva o crea programas setuid"},
	Why:      imageSetuid.Why,
	Remedy:   imageSetuid.Remedy,
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImages.cis("4.8"),
	Kind:     inventory.Dockerfile,
	Eval:     evalDockerfileSetuid,
}

// evalDockerfileSetuid fails what sets the bit and is not taken back by a later
// "find … -exec chmod a-s". What a base image brings is told by the image only.
func evalDockerfileSetuid(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	swept, based := false, inventory.Fact{}
	a := judgeLines(o, func(l dockerLine, a *dockerAnswer) {
		if !l.Kept {
			return
		}
		switch l.Word {
		case "FROM":
			if l.text("Base") == "image" {
				based = l.fact
			}
		case "COPY", "ADD":
			if setsID(l.text("Chmod")) {
				swept = false
				a.bad(l.fact)
			}
		case "RUN":
			cmds, ok := l.commands()
			for _, c := range cmds {
				switch {
				case sweeps(c.Command):
					swept = true
					*a = dockerAnswer{}
				case givesSetID(c.Command):
					swept = false
					a.bad(c.fact)
				}
			}
			if !ok {
				a.open(foreignShell, l.fact)
			}
		}
	})
	if a.Verdict == audit.Pass && !swept && based.Source != "" {
		return audit.Untold(based).Because(lang.Text{
			En: "what its base has is not in this file, and nothing takes it away (image-setuid judges the image)",
			Es: "lo que trae su base no está en este archivo, y nada lo quita (image-setuid juzga la imagen)",
		})
	}
	return a
}

var setIDMode = regexp.MustCompile(`^(?:0?[4567][0-7]{3}|[ugoa]*[+=][rwxXt]*s[rwxXst]*)$`)

// setsID reports whether a mode of chmod(1) gives the setuid bit, or by letters
// the setgid bit; a number with only that is usual for directories.
func setsID(mode string) bool {
	return slices.ContainsFunc(strings.Split(mode, ","), setIDMode.MatchString)
}

func givesSetID(c shell.Command) bool {
	as := c.Args()
	switch c.Name() {
	case "chmod":
		return slices.ContainsFunc(as, setsID)
	case "install", "mkdir":
		for i, a := range as {
			if mode, joined := strings.CutPrefix(a, "--mode="); joined && setsID(mode) || (a == "-m" || a == "--mode") && i+1 < len(as) && setsID(as[i+1]) {
				return true
			}
		}
	}
	return false
}

// sweeps reports whether c takes the bits off whatever has them.
func sweeps(c shell.Command) bool {
	as := c.Args()
	line := strings.Join(as, " ")
	return c.Name() == "find" && len(as) > 0 && as[0] == "/" && strings.Contains(line, "-perm") &&
		(strings.Contains(line, "a-s") || strings.Contains(line, "u-s") || strings.Contains(line, "ug-s") || slices.Contains(as, "-delete"))
}
