package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A namespace of the host that a container may be given instead of its own.
type namespace struct {
	name     string // as in /proc/PID/ns
	mode     inventory.Field[string]
	own      any // the mode that gives the container its own; nil: a person must say
	number   string
	severity audit.Severity
	title    lang.Text
	why      lang.Text
	flag     string // of docker run
	ask      lang.Text
	breaks   lang.Text
}

var hostNamespaces = []namespace{
	{
		name: "net", mode: inventory.NetworkMode, number: "5.10", severity: audit.High, flag: "--network host",
		title: lang.Text{En: "Container uses the host's network", Es: "El contenedor usa la red del anfitrión"},
		why: lang.Text{
			En: "It listens on every address of the host, reaches services on the loopback and abstract sockets, and no network keeps it apart.",
			Es: "Escucha en todas las direcciones del anfitrión, llega a servicios del loopback y a sockets abstractos, y ninguna red lo separa.",
		},
		ask: lang.Text{En: "Which network should it join, and which of its ports must be published?", Es: "¿A qué red debe unirse y cuáles de sus puertos hay que publicar?"},
	},
	{
		name: "pid", mode: inventory.PidMode, own: "", number: "5.16", severity: audit.High, flag: "--pid host",
		title: lang.Text{En: "Container sees the host's processes", Es: "El contenedor ve los procesos del anfitrión"},
		why: lang.Text{
			En: "It sees every process of the host with its arguments and environment, may signal them, and with ptrace may enter them.",
			Es: "Ve cada proceso del anfitrión con sus argumentos y su entorno, puede enviarles señales y, con ptrace, entrar en ellos.",
		},
		breaks: lang.Text{En: "Monitoring that looks at the host's processes no longer sees them.", Es: "El monitoreo que mira los procesos del anfitrión deja de verlos."},
	},
	{
		name: "ipc", mode: inventory.IpcMode, own: "private", number: "5.17", severity: audit.Medium, flag: "--ipc host",
		title: lang.Text{En: "Container shares the host's IPC", Es: "El contenedor comparte el IPC del anfitrión"},
		why: lang.Text{
			En: "It reads and writes the shared memory, semaphores and message queues of processes of the host.",
			Es: "Lee y escribe la memoria compartida, los semáforos y las colas de mensajes de procesos del anfitrión.",
		},
		breaks: lang.Text{En: "Programs that share memory with the host lose it.", Es: "Los programas que comparten memoria con el anfitrión la pierden."},
	},
	{
		name: "uts", mode: inventory.UTSMode, own: "", number: "5.21", severity: audit.Medium, flag: "--uts host",
		title: lang.Text{En: "Container shares the host's name", Es: "El contenedor comparte el nombre del anfitrión"},
		why: lang.Text{
			En: "With CAP_SYS_ADMIN it can rename the host, which misleads logs and whatever trusts that name.",
			Es: "Con CAP_SYS_ADMIN puede renombrar el anfitrión, lo que engaña a los registros y a quien confíe en ese nombre.",
		},
		breaks: lang.Text{En: "Inside, the host name becomes the container's own.", Es: "Dentro, el nombre de host pasa a ser el del contenedor."},
	},
}

var namespaceChecks = func() (cs []*audit.Check) {
	for _, ns := range hostNamespaces {
		cs = append(cs, &audit.Check{
			ID: "container-host-" + ns.name, Title: ns.title, Why: ns.why, Severity: ns.severity,
			Remedy: lang.Text{
				En: "Create the container again without " + ns.flag + ".",
				Es: "Vuelva a crear el contenedor sin " + ns.flag + ".",
			},
			Domains: secures, Controls: rowIsolation.cis(ns.number), Kind: inventory.Container, Eval: ns.eval,
		})
	}
	return cs
}()

// eval finds what nothing declares in /proc/PID/ns. What is declared counts all
// the same: where the engine itself lives in a namespace (rootless, or a
// machine in a machine), its own is what it calls the host's, and its other
// containers and sockets are in there.
func (ns namespace) eval(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	shares, asked, ok := ns.declares(s, o, nil)
	if in, fact, read := inventory.EffectiveHostNamespaces.Of(o); read {
		is := slices.Contains(in, ns.name)
		a := audit.Good(append([]inventory.Fact{fact}, known(asked)...)...)
		if is || shares {
			a.Verdict = audit.Fail
			a = a.Wanting(ns.wants(o)...)
		}
		switch {
		case is && ok && !shares:
			a.Reason = contradicted(asked.Value, "the host's")
		case shares && !is:
			a.Reason = lang.Text{
				En: "the engine runs in a namespace of its own, and the container shares that one",
				Es: "el motor corre en un espacio propio, y el contenedor comparte ese",
			}
		}
		return a
	}
	switch {
	case !ok:
		return audit.Untold(asked)
	case shares:
		return declared(o, audit.Bad(asked).Wanting(ns.wants(o)...))
	}
	return declared(o, audit.Good(asked))
}

// declares follows "container:NAME" to the container that has a mode of its
// own. ok is false if the mode, or that container, was not read.
func (ns namespace) declares(s *inventory.Snapshot, o *inventory.Object, seen []inventory.Ref) (host bool, fact inventory.Fact, ok bool) {
	mode, fact, ok := ns.mode.Of(o)
	if !ok || mode == "host" {
		return mode == "host", fact, ok
	}
	name, other := inventory.Joined(s, mode)
	switch {
	case name == "" || slices.Contains(seen, o.Ref):
		return false, fact, true
	case other == nil:
		fact.Value, fact.Err = nil, "shares it with a container that was not read: "+quoted([]string{name})
		return false, fact, false
	}
	host, from, ok := ns.declares(s, other, append(seen, o.Ref))
	if !ok {
		return false, from, false
	}
	return host, fact, true
}

// wants is empty where the container's own mode is not what shares it.
func (ns namespace) wants(o *inventory.Object) []audit.Want {
	mode, _, ok := ns.mode.Of(o)
	name, _ := inventory.Joined(nil, mode)
	switch {
	case !ok || mode != "host" && name == "":
		return nil
	case ns.own == nil:
		return []audit.Want{ask(o, ns.mode.Path, ns.ask)}
	}
	return []audit.Want{{Ref: o.Ref, Field: ns.mode.Path, Value: ns.own, Breaks: ns.breaks}}
}

var containerHostUserns = &audit.Check{
	ID:    "container-host-userns",
	Title: lang.Text{En: "Container opts out of user namespaces", Es: "El contenedor renuncia a los espacios de usuarios"},
	Why: lang.Text{
		En: "Where the engine remaps users, this container's root is still the host's root.",
		Es: "Aunque el motor reasigne usuarios, el root de este contenedor sigue siendo el root del anfitrión.",
	},
	Remedy: lang.Text{
		En: "Create the container again without --userns host.",
		Es: "Vuelva a crear el contenedor sin --userns host.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowIsolation.cis("5.31"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		mode, fact, ok := inventory.UsernsMode.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case mode != "host":
			return audit.Good(fact)
		}
		return audit.Bad(fact).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.UsernsMode.Path, Value: "",
			Breaks: lang.Text{
				En: "Where users are remapped, files that it owns as root belong to another user afterwards.",
				Es: "Donde se reasignan usuarios, los archivos que posee como root pasan a ser de otro usuario.",
			},
		})
	},
}

var containerUserNamespace = &audit.Check{
	ID:    "container-user-namespace",
	Title: lang.Text{En: "Root in the container is root on the host", Es: "El root del contenedor es el root del anfitrión"},
	Why: lang.Text{
		En: "Without a user namespace, a process that escapes as root owns the host at once.",
		Es: "Sin espacio de usuarios, un proceso que escapa como root es dueño del anfitrión al instante.",
	},
	Remedy: lang.Text{
		En: "Run the engine rootless or with userns-remap. Either is a migration: images, containers and volumes start empty under the new root.",
		Es: "Ejecute el motor sin root o con userns-remap. Ambos son una migración: imágenes, contenedores y volúmenes empiezan vacíos bajo la nueva raíz.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowIsolation.cis("2.10"),
	Kind:     inventory.Container,
	CausedBy: "daemon-userns-remap",
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		yes, fact, ok := remapped(s, o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case yes:
			return audit.Good(fact)
		}
		return audit.Bad(fact)
	},
}

var containerHostCgroup = &audit.Check{
	ID:    "container-host-cgroup",
	Title: lang.Text{En: "Container sees the host's control groups", Es: "El contenedor ve los grupos de control del anfitrión"},
	Why: lang.Text{
		En: "It learns the names and paths of everything that runs beside it, and a writable mount of the hierarchy reaches all of it.",
		Es: "Conoce nombres y rutas de todo lo que corre a su lado, y un montaje escribible de la jerarquía lo alcanza todo.",
	},
	Remedy: lang.Text{
		En: "Create the container again with --cgroupns private.",
		Es: "Vuelva a crear el contenedor con --cgroupns private.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowIsolation,
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		mode, fact, ok := inventory.CgroupnsMode.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case mode != "host":
			return audit.Good(fact)
		}
		version, kernel, ok := inventory.KernelCgroup.Of(inventory.Only(s, inventory.Kernel))
		switch {
		case !ok:
			return audit.Untold(kernel, fact)
		case version == 1: // Engine API 1.41, CgroupnsMode: the default is host on v1
			return audit.Beside(lang.Text{
				En: "on cgroup v1 the engine gives every container the host's",
				Es: "con cgroup v1 el motor da a todo contenedor los del anfitrión",
			}, kernel, fact)
		}
		return audit.Bad(fact, kernel).Wanting(audit.Want{Ref: o.Ref, Field: inventory.CgroupnsMode.Path, Value: "private"})
	},
}
