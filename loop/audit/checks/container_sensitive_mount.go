package checks

import (
	"path"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var whichMounts = lang.Text{
	En: "Which mounts does its work need, and which of them read-only?",
	Es: "¿Qué montajes necesita su trabajo y cuáles de ellos en solo lectura?",
}

// Paths of the host that give it away (CIS Docker 5.6 names the first eight;
// the others hold keys, code that root runs, or other containers' data).
var (
	// secretDirs: reading is enough, of any part.
	secretDirs = []string{"/etc", "/proc", "/sys", "/root", "/var/lib/docker", "/var/lib/containerd", "/var/spool/cron", "/run/systemd/private", "/run/dbus/system_bus_socket", "/var/lib/casco"}
	// codeDirs: a part of them must be writable to do harm; as a whole, read-only is too much as well.
	codeDirs = []string{"/boot", "/lib", "/lib64", "/usr", "/bin", "/sbin"}
	// wholeDirs: harmful as a whole only; what programs keep below is their own.
	wholeDirs = []string{"/dev", "/run", "/home"}
	// harmless parts that images are commonly given; writable they are not.
	harmless = []string{
		"/etc/localtime", "/etc/timezone", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/machine-id", "/etc/os-release",
		"/etc/ssl/certs", "/etc/ca-certificates", "/etc/pki/tls/certs", "/etc/pki/ca-trust",
	}
	// loginDirs of a user's home hold keys.
	loginDirs = []string{".ssh", ".docker", ".gnupg", ".aws", ".kube", ".config"}
)

var containerSensitiveMount = &audit.Check{
	ID:    "container-sensitive-mount",
	Title: lang.Text{En: "Container mounts a path that gives the host away", Es: "El contenedor monta una ruta que entrega el anfitrión"},
	Why: lang.Text{
		En: "Through it a process reads the host's keys and passwords, or writes a file that the host's root will run.",
		Es: "Por ella un proceso lee claves y contraseñas del anfitrión, o escribe un archivo que ejecutará el root del anfitrión.",
	},
	Remedy: lang.Text{
		En: "Create the container again without the mount, with a narrower path, or with a volume of its own.",
		Es: "Vuelva a crear el contenedor sin el montaje, con una ruta más estrecha o con un volumen propio.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowMounts.cis("5.6"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		secret := secretDirs
		if root, _, ok := inventory.DaemonRootDir.Of(inventory.EngineOf(s)); ok {
			secret = append(slices.Clip(secret), path.Clean(root))
		}
		return judgeMounts(s, o, func(m mount) bool {
			disk := m.typ == "volume" && within(m.path, "/dev") // the local driver mounts the file system on it
			return disk || m.path != "" && sensitive(m.path, m.readOnly, secret)
		})
	},
}

// sensitive judges a clean path. Above anything sensitive is sensitive.
func sensitive(p string, readOnly bool, secret []string) bool {
	if slices.ContainsFunc(harmless, func(h string) bool { return within(p, h) }) && readOnly {
		return false
	}
	for _, dir := range slices.Concat(secret, codeDirs, wholeDirs) {
		if within(dir, p) {
			return true
		}
	}
	below := func(dir string) bool { return within(p, dir) }
	switch {
	case slices.ContainsFunc(secret, below):
		return true
	case slices.ContainsFunc(codeDirs, below):
		return !readOnly
	}
	return p == "/var/log" && !readOnly ||
		within(p, "/home") && slices.ContainsFunc(loginDirs, func(d string) bool { return strings.Contains(p+"/", "/"+d+"/") })
}

// wellKnownSockets are where engines listen by default; who may write to one is
// root of the host. A path below /run/user belongs to a rootless engine.
var wellKnownSockets = []string{
	"/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock",
	"/run/buildkit/buildkitd.sock", "/run/cri-dockerd.sock", "/run/dockershim.sock", "/run/docker/containerd/containerd.sock",
}

var containerEngineSocket = &audit.Check{
	ID:    "container-engine-socket",
	Title: lang.Text{En: "Container reaches the socket of an engine", Es: "El contenedor llega al socket de un motor"},
	Why: lang.Text{
		En: "Whoever speaks to the engine starts a container with the host's root file system: the socket is root. Mounting it read-only changes nothing.",
		Es: "Quien habla con el motor arranca un contenedor con la raíz del anfitrión: el socket es root. Montarlo en solo lectura no cambia nada.",
	},
	Remedy: lang.Text{
		En: "Create the container again without the mount; what must look at the engine gets a filtering proxy with a list of allowed calls.",
		Es: "Vuelva a crear el contenedor sin el montaje; quien deba mirar el motor recibe un proxy que filtra según una lista de llamadas permitidas.",
	},
	Severity: audit.Critical,
	Domains:  secures,
	Controls: rowEngineAccess.and("nist-800-190", "4.4.3", "nist-800-190", "4.5.5").cis("5.32"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		sockets := slices.Clone(wellKnownSockets)
		for _, d := range s.Of(inventory.Daemon) {
			if strings.HasPrefix(d.Ref.Name, "/") {
				sockets = append(sockets, canonical(d.Ref.Name))
			}
		}
		return judgeMounts(s, o, func(m mount) bool {
			switch {
			case m.path == "":
				return false
			case m.looked: // the engine of a well-known path may only be stopped just now
				return len(m.sockets) > 0 || slices.Contains(sockets, m.path)
			case slices.Contains([]string{"docker.sock", "containerd.sock", "podman.sock"}, path.Base(m.path)):
				return true
			}
			return slices.ContainsFunc(sockets, func(sock string) bool { return within(sock, m.path) })
		})
	},
}

var containerMountPropagation = &audit.Check{
	ID:    "container-mount-propagation",
	Title: lang.Text{En: "Container's mounts appear on the host", Es: "Los montajes del contenedor aparecen en el anfitrión"},
	Why: lang.Text{
		En: "What it mounts below a shared mount appears on the host and in other containers, over their files.",
		Es: "Lo que monte bajo un montaje compartido aparece en el anfitrión y en otros contenedores, sobre sus archivos.",
	},
	Remedy: lang.Text{
		En: "Create the container again without the options shared and rshared.",
		Es: "Vuelva a crear el contenedor sin las opciones shared y rshared.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowMounts.cis("5.20"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		// Effective.SharedMounts does not decide: an init system inside makes its
		// own peer groups, which the host is not part of.
		return judgeMounts(s, o, func(m mount) bool { return m.propagation == "shared" || m.propagation == "rshared" })
	},
}

// plainDevices tell nothing and harm nothing; the engine gives most of them to
// every container.
var plainDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/log", "/dev/shm"}

var containerDevices = &audit.Check{
	ID:    "container-devices",
	Title: lang.Text{En: "Container has devices of the host", Es: "El contenedor tiene dispositivos del anfitrión"},
	Why: lang.Text{
		En: "A disk lets it read and write every file past all permissions; a GPU or USB device puts its driver in reach.",
		Es: "Un disco le deja leer y escribir todo archivo al margen de permisos; una GPU o un USB le pone el controlador al alcance.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --device, --gpus, --device-cgroup-rule, mounts below /dev and --privileged, or with the least permission (:r).",
		Es: "Vuelva a crear el contenedor sin --device, --gpus, --device-cgroup-rule, montajes bajo /dev ni --privileged, o con el permiso mínimo (:r).",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowIsolation.cis("5.18"),
	Kind:     inventory.Container,
	Eval:     evalDevices,
}

func evalDevices(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	devices, f1, ok1 := inventory.Devices.Of(o)
	priv, f2, ok2 := inventory.Privileged.Of(o)
	rules, f3, _ := inventory.DeviceCgroupRules.Of(o) // engines that do not send these two
	requests, f4, _ := inventory.DeviceRequests.Of(o) // do not know them either
	below := judgeMounts(s, o, func(m mount) bool {
		return m.path != "" && m.path != "/dev/pts" && within(m.path, "/dev") && !slices.Contains(plainDevices, m.path)
	})
	question := lang.Text{En: "Which devices does its work need, and with which permissions?", Es: "¿Qué dispositivos necesita su trabajo y con qué permisos?"}
	wants := append(unprivileged(o), below.Wants...)
	for field, n := range map[string]int{inventory.Devices.Path: len(devices), inventory.DeviceCgroupRules.Path: len(rules), inventory.DeviceRequests.Path: len(requests)} {
		if n > 0 {
			wants = append(wants, ask(o, field, question))
		}
	}
	slices.SortStableFunc(wants, func(a, b audit.Want) int { return strings.Compare(a.Field, b.Field) })
	evidence := append(known(f1, f2, f3, f4), known(below.Evidence...)...)
	switch {
	case priv, len(devices)+len(rules)+len(requests) > 0, below.Verdict == audit.Fail:
		return audit.Bad(evidence...).Because(below.Reason).Wanting(wants...)
	case !ok1, !ok2:
		return audit.Untold(f1, f2)
	case below.Verdict == audit.Unknown:
		return below
	}
	return audit.Good(evidence...)
}
