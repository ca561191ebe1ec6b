package checks

import (
	"regexp"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileSudo = &audit.Check{
	ID:    "dockerfile-sudo",
	Title: lang.Text{En: "sudo is installed or used", Es: "Se instala o usa sudo"},
	Why: lang.Text{
		En: "It is a setuid program whose flaws make anybody inside root, and a rule without a password makes USER mean nothing.",
		Es: "Es un programa setuid cuyos fallos hacen root a cualquiera dentro, y una regla sin contraseña deja USER sin sentido.",
	},
	Remedy: lang.Text{
		En: "Run what needs root before USER; to become another user use setpriv, su-exec or gosu in the entrypoint.",
		Es: "Ejecute lo que necesita root antes de USER; para cambiar de usuario use setpriv, su-exec o gosu en el entrypoint.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImages.and("nist-800-53-r5", "AC-6").cis("4.8"),
	Kind:     inventory.Dockerfile,
	Eval: judgeRuns(false, func(l dockerLine, cmds []dockerCommand, a *dockerAnswer) {
		for _, c := range cmds {
			switch {
			case c.Words[0].Text == "sudo", l.Kept && slices.Contains(installed(c.Command), "sudo"), strings.Contains(strings.Join(c.Texts(), " "), "NOPASSWD"):
				a.bad(c.fact)
			}
		}
	}),
}

var dockerfileWorldWritable = &audit.Check{
	ID:    "dockerfile-world-writable",
	Title: lang.Text{En: "Files are made writable for everybody", Es: "Se dan permisos de escritura a todos"},
	Why: lang.Text{
		En: "Whoever gets in as any user changes programs and settings that others, or root, then use.",
		Es: "Quien entre como cualquier usuario cambia programas y ajustes que luego usan otros, o root.",
	},
	Remedy: lang.Text{
		En: "Give the files to the user that needs them: COPY --chown=UID:GID, chown, chmod u+rwX,go-w.",
		Es: "Dé los archivos al usuario que los necesita: COPY --chown=UID:GID, chown, chmod u+rwX,go-w.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowImages.and("nist-800-53-r5", "AC-6").cis("4.1"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			switch {
			case !l.Kept:
			case l.Word == "COPY" || l.Word == "ADD":
				if forAll(l.text("Chmod")) {
					a.bad(l.fact)
				}
			case l.Word == "RUN":
				cmds, ok := l.commands()
				for _, c := range cmds {
					if c.Name() == "chmod" && slices.ContainsFunc(c.Args(), forAll) {
						a.bad(c.fact)
					}
				}
				if !ok {
					a.open(foreignShell, l.fact)
				}
			}
		})
	},
}

// A mode of chmod(1) that lets others write. One with the sticky bit is that of
// a directory for temporary files.
var forAllMode = regexp.MustCompile(`^(?:[0246]?[0-7]{2}[2367]|[ugoa]*[oa][ugoa]*[+=][rxXst]*w[rwxXst]*)$`)

func forAll(mode string) bool {
	return slices.ContainsFunc(strings.Split(mode, ","), forAllMode.MatchString)
}

var dockerfileEmptyPassword = &audit.Check{
	ID:    "dockerfile-empty-password",
	Title: lang.Text{En: "An account gets an empty password", Es: "Una cuenta queda con contraseña vacía"},
	Why: lang.Text{
		En: "Whoever is inside, or reaches a login, becomes that account without knowing anything.",
		Es: "Quien esté dentro, o alcance un inicio de sesión, pasa a esa cuenta sin saber nada.",
	},
	Remedy:   lang.Text{En: "Lock it (passwd -l, usermod -L); a service needs no password.", Es: "Bloquéela (passwd -l, usermod -L); un servicio no necesita contraseña."},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.1"),
	Kind:     inventory.Dockerfile,
	Eval: judgeEach(true, func(c dockerCommand) bool {
		as := c.Args()
		switch c.Name() {
		case "passwd":
			return slices.Contains(as, "-d") || slices.Contains(as, "--delete")
		case "useradd", "usermod":
			for i, a := range as {
				if (a == "-p" || a == "--password") && i+1 < len(as) && as[i+1] == "" {
					return true
				}
			}
		}
		return false
	}),
}

var dockerfileBuildRights = &audit.Check{
	ID:    "dockerfile-build-rights",
	Title: lang.Text{En: "A step of the build asks for the host's network or for all rights", Es: "Un paso de la construcción pide la red del anfitrión o todos los derechos"},
	Why: lang.Text{
		En: "With --security=insecure the step is root on the builder; with --network=host it reaches what listens only there.",
		Es: "Con --security=insecure el paso es root en el constructor; con --network=host alcanza lo que solo escucha allí.",
	},
	Remedy:   lang.Text{En: "Leave the flag out; do what needs the rights outside of the build.", Es: "Quite la opción; haga fuera de la construcción lo que necesita esos derechos."},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowIsolation.cis("5.10"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word == "RUN" && (l.text("Security") == "insecure" || l.text("Network") == "host") {
				a.bad(l.fact)
			}
		})
	},
}
