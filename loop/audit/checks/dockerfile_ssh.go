package checks

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileSSH = &audit.Check{
	ID:    "dockerfile-ssh",
	Title: lang.Text{En: "Image would bring an SSH server", Es: "La imagen traería un servidor SSH"},
	Why:   containerSSH.Why,
	Remedy: lang.Text{
		En: "Take the server, its keys and EXPOSE 22 out; manage containers from the host with docker exec. casco lint --fix does it where that is all.",
		Es: "Quite el servidor, sus claves y EXPOSE 22; administre los contenedores desde el anfitrión con docker exec. casco lint --fix lo hace donde eso es todo.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSSH.cis("5.7"),
	Kind:     inventory.Dockerfile,
	Policy:   []string{inventory.PolicySSHInContainers.Path},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		answer := judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if !l.Kept {
				return
			}
			switch l.Word {
			case "RUN", "CMD", "ENTRYPOINT":
				cmds, ok := l.commands()
				for _, c := range cmds {
					if servesSSH(c.Command) {
						a.bad(c.fact)
					}
				}
				if !ok {
					a.open(foreignShell, l.fact)
				}
			case "EXPOSE":
				if slices.ContainsFunc(l.list("Ports"), func(p string) bool { return p == "22" || p == "22/tcp" }) {
					a.bad(l.fact)
				}
			case "COPY", "ADD":
				if sshConfig.MatchString(path.Clean(l.text("Dest"))) || slices.ContainsFunc(l.list("Sources"), func(src string) bool { return path.Base(src) == "sshd_config" }) {
					a.bad(l.fact)
				}
			}
		})
		if answer.Verdict == audit.Fail {
			return ruled(s, inventory.PolicySSHInContainers, answer)
		}
		return answer
	},
}

var (
	sshConfig = regexp.MustCompile(`^/etc/ssh/(?:sshd_config|ssh_host_)`)
	// Packages that hold an SSH server: Debian, Alpine, Fedora, SUSE, Arch.
	sshPackages = []string{"openssh-server", "openssh-server-pam", "openssh-sftp-server", "openssh", "ssh", "dropbear", "dropbear-bin", "dropbear-run", "tinyssh"}
)

// servesSSH reports whether c installs, prepares or starts an SSH server. A
// client and its keys are none.
func servesSSH(c shell.Command) bool {
	as := c.Args()
	switch c.Name() {
	case "sshd", "dropbear", "dropbearkey":
		return true
	case "ssh-keygen":
		return slices.Contains(as, "-A") || slices.ContainsFunc(as, func(a string) bool { return strings.Contains(a, "/etc/ssh/ssh_host_") })
	case "service", "systemctl", "rc-service", "rc-update", "update-rc.d", "dpkg-reconfigure", "chkconfig":
		return slices.ContainsFunc(as, func(a string) bool {
			return slices.Contains([]string{"ssh", "sshd", "ssh.service", "sshd.service", "openssh-server", "dropbear"}, a)
		})
	case "mkdir":
		return slices.ContainsFunc(as, func(a string) bool { return a == "/run/sshd" || a == "/var/run/sshd" })
	case "sed", "tee", "cp", "install":
		return slices.ContainsFunc(as, sshConfig.MatchString)
	}
	return slices.ContainsFunc(installed(c), func(p string) bool { return slices.Contains(sshPackages, p) })
}
