package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/advisories"
	"casco/host/auditrules"
	"casco/host/compose"
	"casco/host/daemonjson"
	"casco/host/features"
	"casco/lang"
	"casco/loop/inventory"
	"casco/report"
)

// examine tries what casco lives on, on this host and with this engine; policy is
// what was found of that.
func (a *app) examine(ctx context.Context, h *host, policy ability) []ability {
	l := h.look(ctx)
	e := examination{ctx: ctx, app: a, h: h, s: l.snapshot, trouble: l.trouble, root: os.Geteuid() == 0}
	for _, d := range l.snapshot.Of(inventory.Daemon) {
		if l.snapshot.Another(d) == nil {
			e.engine = d
		}
	}
	return slices.Concat(e.ofEngine(), e.ofReading(), []ability{policy}, e.ofChanging(), e.ofKernel())
}

// policyAbility says whether the policy that casco is told to go by counts.
func (a *app) policyAbility(o orderedPolicy, err error) ability {
	b := ability{id: "policy", field: ofRead, what: lang.Text{En: "go by the policy", Es: "regirse por la política"}, is: works, main: true}
	mend := lang.Text{En: "casco policy load FILE: the one in force, or the next version of it, signed by a steward", Es: "casco policy load ARCHIVO: la que está en vigor, o su versión siguiente, firmada por un steward"}
	switch {
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		b.is, b.detail, b.remedy = fails, said(err), asRoot
	case err != nil:
		b.is, b.detail, b.remedy = fails, said(err), mend
	case o.lost():
		b.is, b.detail, b.remedy = fails, o.trouble.Text(o.Policy.Metadata), mend
	case o.trouble != nil:
		b.is, b.detail = partly, o.trouble.Why
		b.remedy = lang.Text{En: "a guard that starts makes the copy anew; who changed it?", Es: "una guardia que arranca hace la copia de nuevo; ¿quién la cambió?"}
	default:
		b.detail = plain("%s", o.Policy.Metadata)
	}
	return b
}

// An examination is one look at a host for its abilities.
type examination struct {
	ctx     context.Context
	app     *app
	h       *host
	s       *inventory.Snapshot
	engine  *inventory.Object // the one in use; nil if nothing of it was found
	trouble error
	root    bool
}

// plain is a detail that is the same in every language.
func plain(format string, args ...any) lang.Text {
	s := fmt.Sprintf(format, args...)
	return lang.Text{En: s, Es: s}
}

// said is an error as a detail: several that were joined are one line.
func said(err error) lang.Text {
	line := func(l lang.Lang) string { return strings.ReplaceAll(lang.Say(err, l), "\n", "; ") }
	return lang.Text{En: line(lang.English), Es: line(lang.Spanish)}
}

var asRoot = lang.Text{En: "run casco as root: sudo casco …", Es: "ejecute casco como root: sudo casco …"}

// field is a string field of the engine, "" if it was not read.
func (e examination) field(path string) string {
	v, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: path}.Of(e.engine)
	return v
}

func (e examination) ofEngine() []ability {
	reach := ability{id: "engine", field: ofEngine, what: lang.Text{En: "reach the engine", Es: "alcanzar el motor"}, is: works, main: true}
	switch {
	case e.trouble != nil:
		reach.is, reach.detail, reach.remedy = fails, said(e.trouble), reachRemedy(e.trouble, e.root)
	case e.h.engine != nil:
		reach.detail = plain("%s, Docker %s, API %s", e.h.engine.Host(), e.field("Version.Version"), e.h.engine.Version())
	}
	out := []ability{reach}
	if e.engine == nil {
		return out
	}
	return append(out, e.process(), e.store())
}

// reachRemedy is what helps against the commonest reasons.
func reachRemedy(err error, root bool) lang.Text {
	switch {
	case errors.Is(err, fs.ErrPermission) && !root:
		return asRoot
	case errors.Is(err, fs.ErrNotExist):
		return lang.Text{
			En: "start the engine (systemctl start docker), or say where it listens: casco -H unix:///path, DOCKER_HOST, docker context use",
			Es: "inicie el motor (systemctl start docker), o diga dónde escucha: casco -H unix:///ruta, DOCKER_HOST, docker context use",
		}
	case errors.Is(err, context.DeadlineExceeded):
		return lang.Text{
			En: "see whether it is stopped or stuck: ps -o pid,stat,wchan:20,args -C dockerd; journalctl -u docker",
			Es: "vea si está detenido o trabado: ps -o pid,stat,wchan:20,args -C dockerd; journalctl -u docker",
		}
	}
	return lang.Text{En: "see the engine's log: journalctl -u docker", Es: "vea el registro del motor: journalctl -u docker"}
}

// process says what runs behind the socket and who starts it.
func (e examination) process() ability {
	b := ability{id: "engine-process", field: ofEngine, what: lang.Text{En: "see the engine's process", Es: "ver el proceso del motor"}, is: works}
	pid, fact, ok := inventory.DaemonPid.Of(e.engine)
	if !ok {
		b.is, b.detail = fails, plain("%s", fact.Err)
		b.remedy = lang.Text{
			En: "its settings, files and listeners stay unknown: run casco as root on the engine's own machine, with the socket of dockerd itself",
			Es: "sus ajustes, archivos y puertos quedan sin conocer: ejecute casco como root en la máquina del motor, con el socket del propio dockerd",
		}
		return b
	}
	rootless, _, _ := inventory.DaemonRootless.Of(e.engine)
	as := lang.Text{En: "as root", Es: "como root"}
	if rootless {
		as = lang.Text{En: "rootless", Es: "rootless"}
	}
	starter := lang.Text{En: "no unit starts it", Es: "ninguna unidad lo inicia"}
	if unit := e.field("Unit.Name"); unit != "" {
		starter = lang.Text{En: "started by " + unit, Es: "lo inicia " + unit}
	}
	init := lang.Text{En: "systemd runs here", Es: "aquí corre systemd"}
	if _, err := os.Stat("/run/systemd/system"); err != nil { // sd_booted(3)
		init = lang.Text{En: "no systemd here", Es: "aquí no hay systemd"}
	}
	b.detail = lang.Text{
		En: fmt.Sprintf("process %d, %s, %s; %s", pid, as.En, starter.En, init.En),
		Es: fmt.Sprintf("proceso %d, %s, %s; %s", pid, as.Es, starter.Es, init.Es),
	}
	return b
}

// store says where images are, and how many of them have been looked into.
func (e examination) store() ability {
	b := ability{id: "image-layers", field: ofEngine, what: lang.Text{En: "look into images", Es: "mirar dentro de las imágenes"}, is: works}
	driver := e.field(inventory.DaemonStorageDriver.Path)
	images, known, why := e.s.Of(inventory.Image), 0, ""
	for _, i := range images {
		if _, fact, ok := inventory.ImageAccess.Of(i); ok {
			known++
		} else {
			why = fact.Err
		}
	}
	b.detail = lang.Text{En: "store %s, %d of %d images looked into", Es: "almacén %s, %d de %d imágenes miradas por dentro"}.F(driver, known, len(images))
	switch {
	case e.trouble != nil:
		b.is, b.detail = fails, lang.Text{En: "the engine did not say what it has", Es: "el motor no dijo qué tiene"}
	case known < len(images) && driver == "overlay2" && e.root:
		b.is, b.remedy = partly, lang.Text{En: "casco audit --deep looks into the rest, once", Es: "casco audit --deep mira el resto, una vez"}
	case known < len(images):
		b.is, b.remedy = partly, plain("%s", why)
	}
	return b
}

func (e examination) ofReading() []ability {
	rights := ability{
		id: "rights", field: ofRead, what: lang.Text{En: "read what only root may", Es: "leer lo que solo root puede"}, is: works,
		detail: plain("uid %d", os.Geteuid()),
	}
	if !e.root {
		rights.is, rights.remedy = fails, asRoot
	}
	return []ability{rights, e.containers(), e.advisories(), e.everything()}
}

// advisories says whether published vulnerabilities are known here, and since
// when no more.
func (e examination) advisories() ability {
	b := ability{id: "advisories", field: ofRead, what: lang.Text{En: "know published vulnerabilities", Es: "conocer las vulnerabilidades publicadas"}, is: works}
	d, err := e.app.advisories()
	switch {
	case errors.Is(err, advisories.ErrNone):
		b.is, b.detail, b.remedy = absent, lang.Text{En: "there is no database", Es: "no hay base"}, noAdvisories
		return b
	case err != nil:
		b.is, b.detail, b.remedy = fails, said(err), noAdvisories
		return b
	}
	defer d.Close()
	limit, err := e.app.advisoriesLimit()
	if err != nil {
		b.is, b.detail = fails, said(err)
		return b
	}
	info, now := d.Info(), time.Now()
	if info.At(advisories.OSV).IsZero() {
		b.is, b.detail, b.remedy = fails, lang.Text{En: "there is a database, of no ecosystem", Es: "hay base, de ningún ecosistema"}, noAdvisories
		return b
	}
	b.detail = lang.Text{En: "of %s; the oldest source %s", Es: "de %s; la fuente más vieja, %s"}.F(strings.Join(covered(info), ", "), report.Age(now.Sub(info.At(advisories.OSV))))
	if old := info.Old(limit, now); len(old) > 0 {
		b.is, b.remedy = partly, lang.Text{
			En: "what was published since is not known (the limit is %s): casco db update, or casco db import FILE",
			Es: "lo publicado desde entonces no se conoce (el límite es %s): casco db update, o casco db import ARCHIVO",
		}.F(report.Age(limit))
	}
	return b
}

// containers says of how many running containers the kernel's own view could be
// read: without it only what was declared is judged.
func (e examination) containers() ability {
	b := ability{id: "containers", field: ofRead, what: lang.Text{En: "see what containers really have", Es: "ver lo que los contenedores tienen de verdad"}, is: works, main: true}
	if e.trouble != nil {
		b.is, b.detail = fails, lang.Text{En: "the engine did not say what runs", Es: "el motor no dijo qué está en marcha"}
		return b
	}
	running, read, why := 0, 0, ""
	for _, c := range e.s.Of(inventory.Container) {
		if on, _, _ := inventory.Running.Of(c); !on {
			continue
		}
		running++
		if _, fact, ok := inventory.EffectiveSeccomp.Of(c); ok {
			read++
		} else {
			why = fact.Err
		}
	}
	b.detail = lang.Text{En: "%d of %d that run", Es: "%d de %d en marcha"}.F(read, running)
	if read == running {
		return b
	}
	b.is = partly
	if read == 0 {
		b.is = fails
	}
	b.detail = lang.Text{En: b.detail.En + ": " + why, Es: b.detail.Es + ": " + why}
	b.remedy = lang.Text{
		En: "run casco as root on the host itself, in its process namespace (not in a container without --pid host)",
		Es: "ejecute casco como root en el propio anfitrión, en su espacio de procesos (no en un contenedor sin --pid host)",
	}
	if !e.root {
		b.remedy = asRoot
	}
	return b
}

// everything lists what else was not read.
func (e examination) everything() ability {
	b := ability{id: "gaps", field: ofRead, what: lang.Text{En: "read all of the host", Es: "leer todo el anfitrión"}, is: works}
	var gaps []string
	for _, g := range e.s.Gaps {
		if e.trouble != nil && isEngine(g) { // said already
			continue
		}
		gaps = append(gaps, strings.TrimSpace(g.Ref.Name+" "+g.Source)+": "+g.Reason)
	}
	b.detail = lang.Text{En: "%d objects, no gap", Es: "%d objetos, ninguna laguna"}.F(len(e.s.Objects))
	if len(gaps) > 0 {
		b.is, b.detail = partly, plain("%s", strings.Join(gaps, "; "))
		b.remedy = lang.Text{
			En: "what was not read is Unknown in an audit, never a pass; the reason says what is missing",
			Es: "lo que no se leyó es desconocido en una auditoría, nunca cumple; la razón dice qué falta",
		}
	}
	return b
}

func (e examination) ofChanging() []ability {
	record := ability{
		id: "record", field: ofChange, what: lang.Text{En: "keep the record of changes", Es: "guardar el registro de cambios"}, is: works, main: true,
		detail: plain("%s", e.app.statePath),
	}
	if !writable(e.app.statePath) {
		record.is, record.remedy = fails, lang.Text{
			En: "no change is begun without its record: run as root, or name a directory of yours with --state",
			Es: "ningún cambio empieza sin su registro: ejecute como root, o indique un directorio suyo con --state",
		}
	}
	return []ability{record, e.recreate(), e.daemonJSON(), e.compose(), e.swarm(), e.files(), e.watches(), e.sysctls()}
}

// hand is the ability of a hand, which works unless it is told otherwise.
func hand(id string, what lang.Text) ability {
	return ability{id: id, field: ofChange, what: what, is: works}
}

func (e examination) recreate() ability {
	b := hand("docker-recreate", lang.Text{En: "create containers again, set limits live", Es: "recrear contenedores, ajustar límites en caliente"})
	if e.h.engine == nil || e.trouble != nil {
		b.is, b.detail = fails, lang.Text{En: "needs the engine", Es: "necesita el motor"}
		return b
	}
	b.detail = lang.Text{En: "over the engine's API", Es: "por la API del motor"}
	return b
}

func (e examination) daemonJSON() ability {
	b := hand("daemon-json", lang.Text{En: "change the engine's settings", Es: "cambiar los ajustes del motor"})
	if e.engine == nil {
		b.is, b.detail = fails, lang.Text{En: "no engine was found", Es: "no se encontró ningún motor"}
		return b
	}
	how, err := daemonjson.Able(e.ctx, e.engine)
	if err != nil {
		b.is, b.detail = fails, said(err)
		if !e.root {
			b.remedy = asRoot
		}
		return b
	}
	b.detail = how
	return b
}

func (e examination) compose() ability {
	b := hand("compose", lang.Text{En: "change Compose projects in their own files", Es: "cambiar proyectos Compose en sus propios archivos"})
	owned := 0
	for _, c := range e.s.Of(inventory.Container) {
		if inventory.OwnerOf(c) == inventory.OwnerCompose {
			owned++
		}
	}
	count := lang.Text{En: "%d containers are Compose's", Es: "%d contenedores son de Compose"}.F(owned)
	address := "unix://" + e.h.socket
	if e.h.engine != nil {
		address = e.h.engine.Host()
	}
	program, err := compose.Able(e.ctx, address)
	if err == nil {
		b.detail = lang.Text{En: program + "; " + count.En, Es: program + "; " + count.Es}
		return b
	}
	b.is, b.detail = absent, lang.Text{En: lang.Say(err, lang.English) + "; " + count.En, Es: lang.Say(err, lang.Spanish) + "; " + count.Es}
	if owned > 0 {
		b.is, b.remedy = fails, lang.Text{
			En: "install docker-compose-plugin (or docker-compose), so that their owner can change them",
			Es: "instale docker-compose-plugin (o docker-compose), para que pueda cambiarlos su dueño",
		}
	}
	return b
}

func (e examination) swarm() ability {
	b := hand("swarm-update", lang.Text{En: "change the settings of a swarm", Es: "cambiar los ajustes de un swarm"})
	state := e.field(inventory.DaemonSwarmState.Path)
	managers := e.s.Of(inventory.Swarm)
	switch {
	case len(managers) > 0:
		b.detail = lang.Text{En: "this node is a manager", Es: "este nodo es manager"}
	case state == "" || state == "inactive":
		b.is, b.detail = absent, lang.Text{En: "not in a swarm", Es: "no está en un swarm"}
	default:
		b.is, b.detail = fails, lang.Text{En: "this node is no manager (%s)", Es: "este nodo no es manager (%s)"}.F(state)
		b.remedy = lang.Text{En: "run casco on a manager: docker node ls shows them", Es: "ejecute casco en un manager: docker node ls los muestra"}
	}
	return b
}

func (e examination) files() ability {
	b := hand("file-mode", lang.Text{En: "change owner and mode of files", Es: "cambiar dueño y permisos de archivos"})
	b.detail = lang.Text{En: "of the engine's files, sockets and keys", Es: "de los archivos, sockets y claves del motor"}
	if !e.root {
		b.is, b.remedy = fails, asRoot
	}
	return b
}

func (e examination) watches() ability {
	b := hand("audit-rules", lang.Text{En: "have the kernel's audit watch files", Es: "hacer que la auditoría del núcleo vigile archivos"})
	detail, err := auditrules.Able("/")
	if b.detail = detail; err == nil {
		return b
	}
	b.is, b.detail = fails, said(err)
	switch {
	case !e.root:
		b.remedy = asRoot
	case errors.Is(err, fs.ErrNotExist):
		b.remedy = lang.Text{En: "install auditd (Debian, Ubuntu) or audit (Red Hat)", Es: "instale auditd (Debian, Ubuntu) o audit (Red Hat)"}
	default:
		b.remedy = lang.Text{
			En: "needs CAP_AUDIT_CONTROL in the first user and process namespace, and a kernel with CONFIG_AUDIT",
			Es: "necesita CAP_AUDIT_CONTROL en el primer espacio de usuarios y procesos, y un núcleo con CONFIG_AUDIT",
		}
	}
	return b
}

func (e examination) sysctls() ability {
	b := hand("sysctl", lang.Text{En: "set sysctls, now and at boot", Es: "ajustar sysctls, ahora y al arrancar"})
	b.detail = plain("/proc/sys, /etc/sysctl.d/60-casco.conf")
	if err := unix.Access("/proc/sys/kernel/kptr_restrict", unix.W_OK); err != nil {
		b.is, b.detail = fails, plain("/proc/sys/kernel/kptr_restrict: %v", err)
		b.remedy = asRoot
		if e.root {
			b.remedy = lang.Text{En: "/proc/sys is mounted read-only: run casco on the host itself", Es: "/proc/sys está montado de solo lectura: ejecute casco en el propio anfitrión"}
		}
	} else if !writable("/etc/sysctl.d") {
		b.is, b.detail = partly, lang.Text{En: "/etc/sysctl.d cannot be written: a value would not last", Es: "no se puede escribir en /etc/sysctl.d: un valor no duraría"}
	}
	return b
}

// writable reports whether dir, or the nearest one above it that exists, lets
// this user write. It makes nothing.
func writable(dir string) bool {
	for {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			return true
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return false
		}
		dir = up
	}
}

// featureWords say what a feature of the kernel is for.
var featureWords = map[string]lang.Text{
	"fanotify":        {En: "hold a program before it starts (fanotify)", Es: "retener un programa antes de que arranque (fanotify)"},
	"nftables":        {En: "filter packets (nftables)", Es: "filtrar paquetes (nftables)"},
	"overlay":         {En: "layers of images (overlay)", Es: "capas de imágenes (overlay)"},
	"bpf":             {En: "watch system calls (BPF)", Es: "observar llamadas al sistema (BPF)"},
	"btf":             {En: "run BPF programs built elsewhere (BTF)", Es: "ejecutar programas BPF compilados en otra parte (BTF)"},
	"seccomp":         {En: "filter system calls (seccomp)", Es: "filtrar llamadas al sistema (seccomp)"},
	"user-namespaces": {En: "root of a container is nobody outside (user namespaces)", Es: "el root de un contenedor no es nadie fuera (espacios de usuarios)"},
	"callers":         {En: "know for certain who asks at a socket (SO_PEERPIDFD)", Es: "saber con certeza quién pide en un socket (SO_PEERPIDFD)"},
	"openat2":         {En: "open paths of containers safely (openat2)", Es: "abrir rutas de contenedores sin riesgo (openat2)"},
}

func (e examination) ofKernel() []ability {
	out := []ability{e.kernelItself(), e.lsm(), e.bpfLSM()}
	for _, f := range features.All("") {
		b := ability{id: f.Name, field: ofKernel, what: featureWords[f.Name], is: works}
		if f.Err != nil {
			b.is, b.detail = fails, said(f.Err)
			switch {
			case errors.Is(f.Err, fs.ErrPermission) && !e.root:
				b.remedy = asRoot
			case errors.Is(f.Err, unix.ENOPROTOOPT): // before Linux 6.5
				b.is, b.detail = partly, lang.Text{En: "a caller is known by number and start of its process; Linux 6.5 names it for ever", Es: "a quien llama se le conoce por número y arranque de su proceso; Linux 6.5 lo nombra para siempre"}
			}
		}
		out = append(out, b)
	}
	return out
}

func (e examination) kernel() *inventory.Object {
	return e.s.Find(inventory.Ref{Kind: inventory.Kernel, Name: "kernel"})
}

func (e examination) kernelItself() ability {
	b := ability{id: "kernel", field: ofKernel, what: lang.Text{En: "the kernel", Es: "el núcleo"}, is: works}
	release, fact, ok := inventory.KernelRelease.Of(e.kernel())
	if !ok {
		b.is, b.detail = fails, plain("%s", fact.Err)
		return b
	}
	version, _, _ := inventory.KernelCgroup.Of(e.kernel())
	b.detail = plain("%s, cgroup v%d", release, version)
	if version == 1 {
		b.is, b.remedy = partly, lang.Text{
			En: "cgroup v2 has limits and their peaks in one place: where systemd runs, boot with systemd.unified_cgroup_hierarchy=1",
			Es: "cgroup v2 tiene los límites y sus picos en un solo lugar: donde corre systemd, arranque con systemd.unified_cgroup_hierarchy=1",
		}
	}
	return b
}

func (e examination) lsm() ability {
	b := ability{id: "lsm", field: ofKernel, what: lang.Text{En: "mandatory access control", Es: "control de acceso obligatorio"}, is: works}
	active, fact, ok := inventory.KernelLSMs.Of(e.kernel())
	if !ok {
		b.is, b.detail = fails, plain("%s", fact.Err)
		return b
	}
	b.detail = plain("%s", strings.Join(active, ","))
	mode, _, _ := inventory.KernelSELinux.Of(e.kernel())
	if mode != "" {
		b.detail = plain("%s; SELinux %s", b.detail.En, mode)
	}
	if !slices.Contains(active, "apparmor") && mode != "enforcing" {
		b.is, b.remedy = fails, lang.Text{
			En: "neither AppArmor nor an enforcing SELinux: a profile that a container asks for does nothing; boot with apparmor=1 security=apparmor, or install SELinux",
			Es: "ni AppArmor ni un SELinux que obligue: el perfil que pide un contenedor no hace nada; arranque con apparmor=1 security=apparmor, o instale SELinux",
		}
	}
	return b
}

// bpfLSM says whether programs may be attached to the kernel's security hooks:
// kernel 5.7, CONFIG_BPF_LSM, and "bpf" among the LSMs of the boot parameter.
func (e examination) bpfLSM() ability {
	b := ability{id: "bpf-lsm", field: ofKernel, what: lang.Text{En: "rules of casco's own in the kernel (BPF LSM)", Es: "reglas propias de casco en el núcleo (BPF LSM)"}, is: works}
	active, fact, ok := inventory.KernelLSMs.Of(e.kernel())
	if !ok {
		b.is, b.detail = fails, plain("%s", fact.Err)
		return b
	}
	if slices.Contains(active, "bpf") {
		return b
	}
	b.is = fails
	config, fact, ok := inventory.KernelConfig.Of(e.kernel())
	switch {
	case !ok:
		b.detail = lang.Text{En: "not active; whether the kernel has it cannot be told: %s", Es: "no activo; no se sabe si el núcleo lo tiene: %s"}.F(fact.Err)
	case config["CONFIG_BPF_LSM"] == "y":
		b.detail = lang.Text{En: "the kernel has it, and it is not switched on", Es: "el núcleo lo tiene y no está encendido"}
		b.remedy = lang.Text{
			En: "add it to the boot parameter: lsm=%s,bpf", Es: "añádalo al parámetro de arranque: lsm=%s,bpf",
		}.F(strings.Join(active, ","))
	default:
		b.detail = lang.Text{En: "the kernel was built without CONFIG_BPF_LSM", Es: "el núcleo se compiló sin CONFIG_BPF_LSM"}
	}
	return b
}
