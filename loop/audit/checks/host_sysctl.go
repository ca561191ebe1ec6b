package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A kernelSetting is a sysctl and the values that it should have.
type kernelSetting struct {
	name     string   // as in sysctl(8)
	good     []string // values that pass; the first is wanted of the others
	severity audit.Severity
	controls row
	loose    lang.Text // what is so when it is not so: the title
	why      lang.Text
	breaks   lang.Text // what may stop working
}

// kernelSettings are those of the kernel that containers share and of the networks
// that they cross. Sources: Documentation/admin-guide/sysctl of the kernel,
// the Kernel Self Protection Project, networking/ip-sysctl.rst.
var kernelSettings = []kernelSetting{
	{
		"kernel.unprivileged_bpf_disabled",
		[]string{"1", "2"},
		audit.Medium, rowKernel,
		lang.Text{En: "Any process may load BPF programs", Es: "Cualquier proceso puede cargar programas BPF"},
		lang.Text{En: "The BPF verifier has been one of the most used ways from a plain user to the kernel.", Es: "El verificador de BPF ha sido una de las vías más usadas de un usuario común al núcleo."},
		lang.Text{En: "Tools of plain users that load socket filters in BPF stop working; 1 cannot be taken back without a reboot.", Es: "Dejan de funcionar las herramientas de usuarios comunes que cargan filtros BPF; 1 no se deshace sin reiniciar."},
	},
	{
		"kernel.kptr_restrict",
		[]string{"1", "2"},
		audit.Low, rowKernel,
		lang.Text{En: "Kernel addresses are shown to everybody", Es: "Las direcciones del núcleo se muestran a todos"},
		lang.Text{En: "An exploit needs to know where the kernel lies in memory; /proc tells it.", Es: "Un ataque necesita saber dónde está el núcleo en memoria; /proc se lo dice."},
		lang.Text{},
	},
	{
		"kernel.dmesg_restrict",
		[]string{"1"},
		audit.Low, rowKernel,
		lang.Text{En: "Everybody reads the kernel's log", Es: "Cualquiera lee el registro del núcleo"},
		lang.Text{En: "It is not namespaced: a container reads addresses, devices and denials of the whole host.", Es: "No tiene espacio de nombres: un contenedor lee direcciones, dispositivos y denegaciones de todo el anfitrión."},
		lang.Text{},
	},
	{
		"kernel.randomize_va_space",
		[]string{"2"},
		audit.Medium, rowKernel,
		lang.Text{En: "Addresses of programs are not fully random", Es: "Las direcciones de los programas no son del todo aleatorias"},
		lang.Text{En: "Every memory error in every container becomes easier to exploit.", Es: "Todo error de memoria en todo contenedor se explota más fácilmente."},
		lang.Text{},
	},
	{
		"kernel.perf_event_paranoid",
		[]string{"2", "3", "4"},
		audit.Low, rowKernel,
		lang.Text{En: "Plain users may profile the kernel", Es: "Los usuarios comunes pueden perfilar el núcleo"},
		lang.Text{En: "perf_event_open has a long line of holes and shows what others compute.", Es: "perf_event_open tiene una larga serie de fallos y muestra lo que otros calculan."},
		lang.Text{},
	},
	{
		"kernel.yama.ptrace_scope",
		[]string{"1", "2", "3"},
		audit.Low, rowKernel,
		lang.Text{En: "A process may trace every other of its user", Es: "Un proceso puede rastrear a todo otro de su usuario"},
		lang.Text{En: "One process taken over reads keys and sessions out of all others of the same user.", Es: "Un proceso tomado lee claves y sesiones de todos los demás del mismo usuario."},
		lang.Text{En: "Debuggers attach only to their own children.", Es: "Los depuradores solo se conectan a sus propios hijos."},
	},
	{
		"fs.protected_symlinks",
		[]string{"1"},
		audit.Medium, rowKernel,
		lang.Text{En: "Links of others in /tmp are followed", Es: "Se siguen enlaces ajenos en /tmp"},
		lang.Text{En: "A user leads a program of root through a link to a file that it should not write.", Es: "Un usuario lleva a un programa de root por un enlace a un archivo que no debería escribir."},
		lang.Text{},
	},
	{
		"fs.protected_hardlinks",
		[]string{"1"},
		audit.Medium, rowKernel,
		lang.Text{En: "Users may link to files that are not theirs", Es: "Los usuarios pueden enlazar archivos ajenos"},
		lang.Text{En: "A link keeps a setuid program with a hole after its update, or gives a file away at the next chown.", Es: "Un enlace conserva un programa setuid con fallo tras actualizarlo, o regala un archivo en el próximo chown."},
		lang.Text{},
	},
	{
		"fs.protected_fifos",
		[]string{"1", "2"},
		audit.Low, rowKernel,
		lang.Text{En: "Pipes of others in /tmp are opened", Es: "Se abren tuberías ajenas en /tmp"},
		lang.Text{En: "A program that means to create a file talks to a pipe that somebody else laid there.", Es: "Un programa que cree crear un archivo habla con una tubería que otro dejó allí."},
		lang.Text{},
	},
	{
		"fs.protected_regular",
		[]string{"1", "2"},
		audit.Low, rowKernel,
		lang.Text{En: "Files of others in /tmp are opened for writing", Es: "Se abren para escribir archivos ajenos en /tmp"},
		lang.Text{En: "A program that means to create a file writes into one that somebody else owns.", Es: "Un programa que cree crear un archivo escribe en uno que es de otro."},
		lang.Text{},
	},
	{
		"fs.suid_dumpable",
		[]string{"0"},
		audit.Low, rowKernel,
		lang.Text{En: "Setuid programs leave core dumps", Es: "Los programas setuid dejan volcados"},
		lang.Text{En: "The dump holds what only root should see, and lands where a user may read it.", Es: "El volcado contiene lo que solo root debe ver, y queda donde un usuario puede leerlo."},
		lang.Text{},
	},
	{
		"net.ipv4.conf.all.rp_filter",
		[]string{"1", "2"},
		audit.Medium, rowSegments,
		lang.Text{En: "Packets with a forged source are let in", Es: "Se admiten paquetes con origen falsificado"},
		lang.Text{En: "A container or a neighbour sends as an address that rules trust.", Es: "Un contenedor o un vecino envía con una dirección en que las reglas confían."},
		lang.Text{En: "Hosts with asymmetric routes need 2 (loose).", Es: "Los anfitriones con rutas asimétricas necesitan 2 (laxo)."},
	},
	{"net.ipv4.conf.all.accept_redirects", []string{"0"}, audit.Low, rowSegments, textRedirects, textRedirectsWhy, lang.Text{}},
	{"net.ipv4.conf.all.secure_redirects", []string{"0"}, audit.Low, rowSegments, textRedirects, textRedirectsWhy, lang.Text{}},
	{"net.ipv6.conf.all.accept_redirects", []string{"0"}, audit.Low, rowSegments, textRedirects, textRedirectsWhy, lang.Text{}},
	{
		"net.ipv4.conf.all.send_redirects",
		[]string{"0"},
		audit.Low, rowSegments,
		lang.Text{En: "The host tells others to route elsewhere", Es: "El anfitrión indica a otros que encaminen por otra vía"},
		lang.Text{En: "Containers learn of routes past the bridge on which their traffic is filtered.", Es: "Los contenedores conocen rutas que eluden el puente donde se filtra su tráfico."},
		lang.Text{},
	},
	{
		"net.ipv4.conf.all.accept_source_route",
		[]string{"0"},
		audit.Medium, rowSegments,
		lang.Text{En: "Senders may choose the way of their packets", Es: "Los remitentes pueden elegir el camino de sus paquetes"},
		lang.Text{En: "Source routing leads packets around the filters between two networks.", Es: "El encaminamiento de origen lleva paquetes alrededor de los filtros entre dos redes."},
		lang.Text{},
	},
	{
		"net.ipv4.tcp_syncookies",
		[]string{"1", "2"},
		audit.Low, rowFlood,
		lang.Text{En: "A flood of connections stops the host's services", Es: "Una avalancha de conexiones detiene los servicios"},
		lang.Text{En: "Without SYN cookies, half-open connections fill the queue and nobody else gets in.", Es: "Sin SYN cookies, las conexiones a medio abrir llenan la cola y nadie más entra."},
		lang.Text{},
	},
	{"net.bridge.bridge-nf-call-iptables", []string{"1"}, audit.High, rowSegments, textBridge, textBridgeWhy, textBridgeBreaks},
	{"net.bridge.bridge-nf-call-ip6tables", []string{"1"}, audit.High, rowSegments, textBridge, textBridgeWhy, textBridgeBreaks},
}

var (
	textRedirects    = lang.Text{En: "The host lets others change its routes", Es: "El anfitrión deja que otros cambien sus rutas"}
	textRedirectsWhy = lang.Text{En: "An ICMP redirect from a container or a neighbour makes the host send traffic through them.", Es: "Un redirect ICMP de un contenedor o un vecino hace que el anfitrión envíe tráfico por ellos."}
	textBridge       = lang.Text{En: "Traffic inside a bridge passes no filter", Es: "El tráfico dentro de un puente no pasa por ningún filtro"}
	// Measured on kernel 6.18: with 0, packets between two containers of one
	// bridge bypass iptables and inet tables wholly.
	textBridgeWhy    = lang.Text{En: "Rules between containers of one network, icc=false among them, are then written and never asked.", Es: "Las reglas entre contenedores de una red, como icc=false, quedan entonces escritas y nunca consultadas."}
	textBridgeBreaks = lang.Text{En: "Bridges of virtual machines on this host are filtered too.", Es: "También se filtran los puentes de máquinas virtuales de este anfitrión."}
)

// Sysctls returns the names of the sysctls that checks judge, so that a reader
// knows which to read.
func Sysctls() []string {
	names := []string{userNamespaces}
	for _, t := range kernelSettings {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

func (t kernelSetting) check() *audit.Check {
	return &audit.Check{
		ID:    "sysctl-" + strings.NewReplacer(".", "-", "_", "-").Replace(t.name),
		Title: t.loose,
		Why:   t.why,
		Remedy: lang.Text{
			En: "sysctl -w " + t.name + "=" + t.good[0] + ", and the same line in a file of /etc/sysctl.d.",
			Es: "sysctl -w " + t.name + "=" + t.good[0] + ", y la misma línea en un archivo de /etc/sysctl.d.",
		},
		Severity: t.severity,
		Domains:  []audit.Domain{audit.Security},
		Controls: t.controls.and("nist-800-53-r5", "CM-6"),
		Kind:     inventory.Sysctl,
		About:    func(_ *inventory.Snapshot, o *inventory.Object) bool { return o.Ref.Name == t.name },
		Eval:     t.judge,
	}
}

// judge goes by the running value. What the files say is shown beside: if they
// differ, the value is pending until, or only until, the next boot.
func (t kernelSetting) judge(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	running, fact, ok := inventory.SysctlValue.Of(o)
	file, fileFact, set := inventory.SysctlFile.Of(o)
	evidence := []inventory.Fact{fact}
	if set {
		evidence = append(evidence, fileFact)
	}
	running, file = strings.TrimSpace(running), strings.TrimSpace(file)
	switch {
	case !ok:
		return audit.Untold(fact)
	case slices.Contains(t.good, running):
		a := audit.Good(evidence...)
		if set && !slices.Contains(t.good, file) {
			a = a.Because(lang.Text{
				En: "pending: a file of sysctl.d sets " + file + " at the next boot",
				Es: "pendiente: un archivo de sysctl.d pone " + file + " en el próximo arranque",
			})
		}
		return a
	}
	want := t.good[0]
	lasting := set && slices.Contains(t.good, file)
	if lasting {
		want = file // what the files say may be better than the least that is good
	}
	a := audit.Bad(evidence...).Wanting(audit.Want{Ref: o.Ref, Field: inventory.SysctlValue.Path, Value: want, Breaks: t.breaks})
	if !lasting {
		a = a.Wanting(audit.Want{Ref: o.Ref, Field: inventory.SysctlFile.Path, Value: want})
	} else {
		a = a.Because(lang.Text{
			En: "the files of sysctl.d are right; somebody changed the running value, or they were not loaded",
			Es: "los archivos de sysctl.d están bien; alguien cambió el valor en marcha, o no se cargaron",
		})
	}
	return a
}

// userNamespaces is how many of them may exist, 0 to forbid them (namespaces(7)).
const userNamespaces = "user.max_user_namespaces"

var sysctlUserNamespaces = &audit.Check{
	ID:    "sysctl-user-max-user-namespaces",
	Title: lang.Text{En: "Plain users may make user namespaces", Es: "Los usuarios comunes pueden crear espacios de nombres de usuario"},
	Why: lang.Text{
		En: "In a user namespace of their own everybody is root towards nf_tables, overlayfs and the like, where most of the kernel's holes of the last years were reached.",
		Es: "En un espacio de nombres propio cualquiera es root ante nf_tables, overlayfs y demás, donde se alcanzó la mayoría de los fallos del núcleo de los últimos años.",
	},
	Remedy: lang.Text{
		En: "If no rootless engine, browser or sandbox needs them: sysctl -w user.max_user_namespaces=0, and in /etc/sysctl.d. Userns-remap needs them too.",
		Es: "Si ningún motor sin root, navegador o caja de arena los necesita: sysctl -w user.max_user_namespaces=0, y en /etc/sysctl.d. También userns-remap los necesita.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowKernel,
	Kind:     inventory.Sysctl,
	About:    func(_ *inventory.Snapshot, o *inventory.Object) bool { return o.Ref.Name == userNamespaces },
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		value, fact, ok := inventory.SysctlValue.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case strings.TrimSpace(value) == "0":
			return audit.Good(fact)
		}
		return audit.Question(lang.Text{
			En: "Does a rootless engine, userns-remap, a browser or a sandbox on this host need user namespaces?",
			Es: "¿Necesita espacios de nombres de usuario algún motor sin root, userns-remap, navegador o caja de arena de este anfitrión?",
		}, fact)
	},
}
