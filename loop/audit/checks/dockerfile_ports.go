package checks

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfilePorts = &audit.Check{
	ID:    "dockerfile-ports",
	Title: lang.Text{En: "Image says that it listens on a port for root", Es: "La imagen dice que escucha en un puerto para root"},
	Why: lang.Text{
		En: "A service behind a port below 1024 is usually started as root, and -P publishes every port that is named.",
		Es: "Un servicio tras un puerto menor de 1024 suele arrancar como root, y -P publica todo puerto que se nombre.",
	},
	Remedy: lang.Text{
		En: "Listen on a port from 1024 up and publish it as the one that is wanted: -p 443:8443.",
		Es: "Escuche en un puerto desde 1024 y publíquelo como el deseado: -p 443:8443.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowPorts.cis("5.8"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word != "EXPOSE" || !l.Kept {
				return
			}
			if missing := l.list("Unresolved"); missing != nil {
				a.open(noValue(missing), l.fact)
			} else if slices.ContainsFunc(l.list("Ports"), privilegedPort) {
				a.bad(l.fact)
			}
		})
	},
}

// privilegedPort reports whether PORT[-PORT][/PROTO] begins below 1024. That of
// SSH has a check of its own.
func privilegedPort(p string) bool {
	p, _, _ = strings.Cut(p, "/")
	first, _, isRange := strings.Cut(p, "-")
	n, err := strconv.Atoi(first)
	return err == nil && n > 0 && n < 1024 && (n != 22 || isRange)
}

var dockerfileVolume = &audit.Check{
	ID:    "dockerfile-volume",
	Title: lang.Text{En: "VOLUME lies over the system's own directories", Es: "VOLUME cae sobre directorios del propio sistema"},
	Why: lang.Text{
		En: "Each container then keeps a writable copy of programs or settings that outlives the image's fixes and read-only roots.",
		Es: "Cada contenedor guarda entonces una copia escribible de programas o ajustes que sobrevive a los arreglos de la imagen y a raíces de solo lectura.",
	},
	Remedy:   lang.Text{En: "Name the directory of the data only: VOLUME /var/lib/app.", Es: "Nombre solo el directorio de los datos: VOLUME /var/lib/app."},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowMounts.cis("5.6"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeLines(o, func(l dockerLine, a *dockerAnswer) {
			if l.Word != "VOLUME" || !l.Kept {
				return
			}
			if missing := l.list("Unresolved"); missing != nil {
				a.open(noValue(missing), l.fact)
			} else if slices.ContainsFunc(l.list("Paths"), systemPath) {
				a.bad(l.fact)
			}
		})
	},
}

// systemPath reports whether a path is one that the system's own programs and
// settings are in (Filesystem Hierarchy Standard 3.0, 3 and 4).
func systemPath(p string) bool {
	p = path.Clean("/" + p)
	for _, dir := range []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin", "/run/docker.sock", "/var/run/docker.sock"} {
		if p == dir || strings.HasPrefix(p, dir+"/") && dir != "/etc" && dir != "/usr/lib" {
			return true
		}
	}
	return p == "/" || p == "/usr" || p == "/root"
}
