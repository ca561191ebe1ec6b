package checks

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A watched path is one that the kernel's audit should watch: CIS Docker
// 1.8.0, 1.1.3 to 1.1.18.
type watched struct {
	role   string // of inventory.WatchRole
	number string
	need   string // permissions without which the watch misses its point
	want   string // permissions that casco sets
	what   lang.Text
}

// Writes and changes of attributes are what matters everywhere, executions for
// programs. CIS asks for rwxa; for the two trees that containers write to all
// the time that would drown the log, so there it is wa.
const (
	changed = "wa"
	ran     = "wxa"
	all     = "rwxa"
)

var watchedPaths = []watched{
	{"dockerd", "1.1.3", ran, all, lang.Text{En: "the engine's program", Es: "el programa del motor"}},
	{"run-containerd", "1.1.4", changed, changed, lang.Text{En: "containerd's state", Es: "el estado de containerd"}},
	{"data-root", "1.1.5", changed, changed, lang.Text{En: "the engine's data", Es: "los datos del motor"}},
	{"etc-docker", "1.1.6", changed, all, lang.Text{En: "the engine's configuration directory", Es: "el directorio de configuración del motor"}},
	{"docker-service", "1.1.7", changed, all, lang.Text{En: "the engine's service unit", Es: "la unidad de servicio del motor"}},
	{"containerd-sock", "1.1.8", changed, all, lang.Text{En: "containerd's socket", Es: "el socket de containerd"}},
	{"docker-sock", "1.1.9", changed, all, lang.Text{En: "the engine's socket", Es: "el socket del motor"}},
	{"default-docker", "1.1.10", changed, all, lang.Text{En: "the file of the engine's options (Debian)", Es: "el archivo de opciones del motor (Debian)"}},
	{"daemon-json", "1.1.11", changed, all, lang.Text{En: "the engine's configuration file", Es: "el archivo de configuración del motor"}},
	{"containerd-config", "1.1.12", changed, all, lang.Text{En: "containerd's configuration file", Es: "el archivo de configuración de containerd"}},
	{"sysconfig-docker", "1.1.13", changed, all, lang.Text{En: "the file of the engine's options (Red Hat)", Es: "el archivo de opciones del motor (Red Hat)"}},
	{"containerd", "1.1.14", ran, all, lang.Text{En: "containerd's program", Es: "el programa de containerd"}},
	{"shim", "1.1.15", ran, all, lang.Text{En: "containerd's old shim", Es: "el shim antiguo de containerd"}},
	{"shim-runc-v1", "1.1.16", ran, all, lang.Text{En: "containerd's shim for runc, version 1", Es: "el shim de containerd para runc, versión 1"}},
	{"shim-runc-v2", "1.1.17", ran, all, lang.Text{En: "containerd's shim for runc, version 2", Es: "el shim de containerd para runc, versión 2"}},
	{"runc", "1.1.18", ran, all, lang.Text{En: "runc's program", Es: "el programa runc"}},
}

func (w watched) check() *audit.Check {
	return &audit.Check{
		ID:    "watch-" + w.role,
		Title: lang.Text{En: "The kernel does not record access to " + w.what.En, Es: "El núcleo no registra el acceso a " + w.what.Es},
		Why: lang.Text{
			En: "Who changes it leaves no trace of who, when and with which program; a rule in a file that is not loaded records nothing.",
			Es: "Quien lo cambia no deja rastro de quién, cuándo y con qué programa; una regla en un archivo que no está cargada no registra nada.",
		},
		Remedy: lang.Text{
			En: "Put \"-w PATH -p %s -k docker\" in a file of /etc/audit/rules.d and run augenrules --load.",
			Es: "Ponga \"-w RUTA -p %s -k docker\" en un archivo de /etc/audit/rules.d y ejecute augenrules --load.",
		}.F(w.want),
		Severity: audit.Low,
		Domains:  []audit.Domain{audit.Supervision},
		Controls: rowLog.cis(w.number),
		Kind:     inventory.Watch,
		About: func(_ *inventory.Snapshot, o *inventory.Object) bool {
			role, _, _ := inventory.WatchRole.Of(o)
			return role == w.role
		},
		Eval: w.judge,
	}
}

var (
	textAuditOff = lang.Text{
		En: "the kernel's audit is switched off: auditctl -e 1, or start auditd",
		Es: "la auditoría del núcleo está apagada: auditctl -e 1, o inicie auditd",
	}
	// Without auditd the kernel prints what it records: kernel/audit.c,
	// kauditd_hold_skb. A process that began before audit was ever on has no
	// audit context and is not recorded: kernel/auditsc.c, audit_alloc.
	textAuditOn = lang.Text{
		En: "Without auditd the records go to the kernel log (dmesg, kern.log) and crowd it. If audit was never on since boot, processes that run already are recorded only once they have started again.",
		Es: "Sin auditd los registros van al registro del núcleo (dmesg, kern.log) y lo llenan. Si la auditoría nunca estuvo encendida desde el arranque, los procesos que ya corren solo se registran cuando arrancan de nuevo.",
	}
	textAuditLocked = lang.Text{
		En: "the kernel's rules are locked (-e 2): a new rule is loaded only at a reboot",
		Es: "las reglas del núcleo están bloqueadas (-e 2): una regla nueva solo se carga al reiniciar",
	}
)

// judge wants the rule both in the kernel, where it acts, and in the files,
// where it outlives a reboot.
func (w watched) judge(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if role, fact, _ := inventory.WatchRole.Of(o); role != "" && role != w.role {
		return audit.Beside(lang.Text{En: "this path has another role", Es: "esta ruta tiene otra función"}, fact)
	}
	exists, fact, ok := inventory.WatchExists.Of(o)
	switch {
	case !ok:
		return audit.Untold(fact)
	case !exists:
		return audit.Beside(lang.Text{En: "there is no such path on this host", Es: "no existe tal ruta en este anfitrión"}, fact)
	}
	loaded, loadedFact, loadedOK := inventory.WatchLoaded.Of(o)
	files, filesFact, filesOK := inventory.WatchPersistent.Of(o)
	enabled, enabledFact, enabledOK := inventory.WatchEnabled.Of(o)
	evidence := []inventory.Fact{loadedFact, filesFact, enabledFact}
	off := enabledOK && enabled == 0
	switch {
	case w.covers(loaded) && w.covers(files) && !off:
		return audit.Good(evidence...)
	case !off && (!loadedOK || w.covers(loaded)) && (!filesOK || w.covers(files)):
		return audit.Untold(evidence...)
	}
	a := audit.Bad(evidence...)
	if !w.covers(loaded) {
		a = a.Wanting(w.wanting(o, inventory.WatchLoaded))
	}
	if !w.covers(files) {
		a = a.Wanting(w.wanting(o, inventory.WatchPersistent))
	}
	switch {
	case off:
		a = a.Wanting(audit.Want{Ref: o.Ref, Field: inventory.WatchEnabled.Path, Value: int64(1), Breaks: textAuditOn}).Because(textAuditOff)
	case enabled == 2:
		a = a.Because(textAuditLocked)
	}
	return a
}

func (w watched) covers(perms string) bool {
	for _, p := range w.need {
		if !strings.ContainsRune(perms, p) {
			return false
		}
	}
	return true
}

func (w watched) wanting(o *inventory.Object, f inventory.Field[string]) audit.Want {
	return audit.Want{Ref: o.Ref, Field: f.Path, Value: w.want, Breaks: lang.Text{
		En: "The audit log grows with every access; see that it is rotated and shipped.",
		Es: "El registro de auditoría crece con cada acceso; cuide que rote y se envíe.",
	}}
}
