package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A guardedFile is one of the files that the engine's safety rests on: CIS
// Docker 1.8.0, section 3.
type guardedFile struct {
	role        string // of inventory.FileRoles
	owner, mode string // numbers in CIS Docker
	allowed     int64  // permission bits that it may have
	severity    audit.Severity
	what        lang.Text // "the engine's service unit"
	gain        lang.Text // what who holds it does: "stands in for the engine"
}

const (
	commands = "starts any container, or a process of root, at the next restart"
	ordenes  = "inicia cualquier contenedor, o un proceso de root, en el próximo reinicio"
)

var guardedFiles = []guardedFile{
	{
		"unit", "3.1", "3.2", 0o644, audit.High,
		lang.Text{En: "the engine's service unit", Es: "la unidad de servicio del motor"},
		lang.Text{En: commands, Es: ordenes},
	},
	{
		"socket-unit", "3.3", "3.4", 0o644, audit.High,
		lang.Text{En: "the engine's socket unit", Es: "la unidad de socket del motor"},
		lang.Text{En: "opens the engine's socket to whom they like", Es: "abre el socket del motor a quien quiera"},
	},
	{
		"config-dir", "3.5", "3.6", 0o755, audit.High,
		lang.Text{En: "the engine's configuration directory", Es: "el directorio de configuración del motor"},
		lang.Text{En: "replaces the engine's configuration and trusts any registry", Es: "reemplaza la configuración del motor y confía en cualquier registro"},
	},
	{
		"registry-cert", "3.7", "3.8", 0o444, audit.Low,
		lang.Text{En: "a registry's certificate", Es: "el certificado de un registro"},
		lang.Text{En: "passes a registry of their own off as this one", Es: "hace pasar un registro propio por este"},
	},
	{
		"registry-key", "3.7", "3.8", 0o400, audit.High,
		lang.Text{En: "the key of a client certificate for a registry", Es: "la clave de un certificado de cliente para un registro"},
		lang.Text{En: "acts as this host at the registry", Es: "actúa como este anfitrión ante el registro"},
	},
	{
		"tls-ca", "3.9", "3.10", 0o444, audit.Medium,
		lang.Text{En: "the CA that signs the engine's clients", Es: "la CA que firma a los clientes del motor"},
		lang.Text{En: "lets in whom they like through a CA of their own", Es: "deja entrar a quien quiera con una CA propia"},
	},
	{
		"tls-cert", "3.11", "3.12", 0o444, audit.Low,
		lang.Text{En: "the engine's certificate", Es: "el certificado del motor"},
		lang.Text{En: "takes the engine's TCP port out of service", Es: "deja fuera de servicio el puerto TCP del motor"},
	},
	{
		"tls-key", "3.13", "3.14", 0o400, audit.High,
		lang.Text{En: "the engine's private key", Es: "la clave privada del motor"},
		lang.Text{En: "stands in for the engine towards its clients", Es: "suplanta al motor ante sus clientes"},
	},
	{
		"docker-socket", "3.15", "3.16", 0o660, audit.Critical,
		lang.Text{En: "the engine's socket", Es: "el socket del motor"},
		lang.Text{En: "starts a privileged container and owns the host", Es: "inicia un contenedor privilegiado y es dueño del anfitrión"},
	},
	{
		"daemon-json", "3.17", "3.18", 0o644, audit.High,
		lang.Text{En: "the engine's configuration file", Es: "el archivo de configuración del motor"},
		lang.Text{En: commands, Es: ordenes},
	},
	{
		"default-docker", "3.19", "3.20", 0o644, audit.High,
		lang.Text{En: "the file of the engine's options (Debian)", Es: "el archivo de opciones del motor (Debian)"},
		lang.Text{En: commands, Es: ordenes},
	},
	{
		"sysconfig-docker", "3.22", "3.21", 0o644, audit.High,
		lang.Text{En: "the file of the engine's options (Red Hat)", Es: "el archivo de opciones del motor (Red Hat)"},
		lang.Text{En: commands, Es: ordenes},
	},
	{
		"containerd-socket", "3.23", "3.24", 0o660, audit.Critical,
		lang.Text{En: "containerd's socket", Es: "el socket de containerd"},
		lang.Text{En: "starts a process as root past the engine and all its checks", Es: "inicia un proceso como root eludiendo el motor y todas sus comprobaciones"},
	},
}

// group is the group, beside root's, that may own the file.
func (g guardedFile) group() string {
	if g.role == "docker-socket" {
		return "docker"
	}
	return ""
}

func (g guardedFile) about(_ *inventory.Snapshot, o *inventory.Object) bool {
	roles, _, _ := inventory.FileRoles.Of(o)
	return slices.Contains(roles, g.role)
}

// absentFile answers for a file of another role, or one that is not there or
// cannot be told to be.
func (g guardedFile) absentFile(o *inventory.Object) (a audit.Answer, done bool) {
	roles, rolesFact, ok := inventory.FileRoles.Of(o)
	if !ok {
		return audit.Untold(rolesFact), true
	}
	if !slices.Contains(roles, g.role) {
		return audit.Beside(lang.Text{En: "this file has another role", Es: "este archivo tiene otra función"}, rolesFact), true
	}
	exists, fact, ok := inventory.FileExists.Of(o)
	switch {
	case !ok:
		return audit.Untold(fact), true
	case !exists:
		return audit.Beside(lang.Text{En: "there is no such file", Es: "no existe tal archivo"}, fact), true
	}
	return a, false
}

func (g guardedFile) ownerCheck() *audit.Check {
	owner := "root:root"
	if g.group() != "" {
		owner = "root:" + g.group()
	}
	return &audit.Check{
		ID:       "file-" + g.role + "-owner",
		Title:    lang.Text{En: capital(g.what.En) + " is not root's", Es: capital(g.what.Es) + " no es de root"},
		Why:      lang.Text{En: "Who owns it " + g.gain.En + ".", Es: "Su dueño " + g.gain.Es + "."},
		Remedy:   lang.Text{En: "chown " + owner + " FILE", Es: "chown " + owner + " ARCHIVO"},
		Severity: g.severity,
		Domains:  []audit.Domain{audit.Security},
		Controls: rowFiles.cis(g.owner),
		Kind:     inventory.File,
		About:    g.about,
		Eval:     g.judgeOwner,
	}
}

func (g guardedFile) judgeOwner(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if a, done := g.absentFile(o); done {
		return a
	}
	uid, uidFact, uidOK := inventory.FileUID.Of(o)
	gid, gidFact, gidOK := inventory.FileGID.Of(o)
	name, nameFact, _ := inventory.FileGroup.Of(o)
	if !uidOK || !gidOK {
		return audit.Untold(uidFact, gidFact)
	}
	evidence := []inventory.Fact{uidFact, gidFact, nameFact}
	if user, fact, ok := rootlessOwner(s, o); ok { // all that is its user's is its user's own risk
		if uid == user || uid == 0 {
			return audit.Good(append(evidence, fact)...)
		}
		return audit.Bad(append(evidence, fact)...).Wanting(audit.Want{Ref: o.Ref, Field: inventory.FileUID.Path, Value: user})
	}
	var wants []audit.Want
	if uid != 0 {
		wants = append(wants, audit.Want{Ref: o.Ref, Field: inventory.FileUID.Path, Value: int64(0)})
	}
	switch {
	case gid == 0, g.group() != "" && name == g.group():
	case g.group() != "":
		wants = append(wants, audit.Want{
			Ref: o.Ref, Field: inventory.FileGroup.Path, Value: g.group(),
			Breaks: lang.Text{
				En: "Members of the group that has it now no longer reach the engine.",
				Es: "Los miembros del grupo que lo tiene ahora dejan de llegar al motor.",
			},
		})
	default:
		wants = append(wants, audit.Want{Ref: o.Ref, Field: inventory.FileGID.Path, Value: int64(0)})
	}
	if len(wants) == 0 {
		return audit.Good(evidence...)
	}
	return audit.Bad(evidence...).Wanting(wants...)
}

// rootlessOwner finds the user of the rootless engine that o belongs to: its
// socket, or a file under the same home or runtime directory as its
// configuration and socket.
func rootlessOwner(s *inventory.Snapshot, o *inventory.Object) (uid int64, fact inventory.Fact, ok bool) {
	for _, d := range s.Of(inventory.Daemon) {
		is, _, _ := rootless(d)
		if !is {
			continue
		}
		config, _, _ := inventory.DaemonConfigFile.Of(d)
		containerd, _, _ := inventory.DaemonContainerdSocket.Of(d)
		unit, _, _ := inventory.DaemonUnit.Of(d)
		if slices.Contains([]any{d.Ref.Name, config, parent(config), containerd, unit["FragmentPath"]}, any(o.Ref.Name)) {
			return inventory.DaemonUID.Of(d)
		}
	}
	return 0, fact, false
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)]
}

func (g guardedFile) modeCheck() *audit.Check {
	return &audit.Check{
		ID:       "file-" + g.role + "-mode",
		Title:    lang.Text{En: capital(g.what.En) + " is open wider than it needs", Es: capital(g.what.Es) + " tiene permisos de más"},
		Why:      lang.Text{En: "Who gets in by its mode " + g.gain.En + ".", Es: "Quien entra por sus permisos " + g.gain.Es + "."},
		Remedy:   lang.Text{En: "Take away what exceeds mode %04o (chmod).", Es: "Quite lo que exceda el modo %04o (chmod)."}.F(g.allowed),
		Severity: g.severity,
		Domains:  []audit.Domain{audit.Security},
		Controls: rowFiles.cis(g.mode),
		Kind:     inventory.File,
		About:    g.about,
		Eval:     g.judgeMode,
	}
}

// judgeMode tests bits, not numbers: 0604 is tighter than 0644 though less is
// 0577, and a setuid bit is too much whatever the rest.
func (g guardedFile) judgeMode(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	if a, done := g.absentFile(o); done {
		return a
	}
	mode, fact, ok := inventory.FileMode.Of(o)
	switch {
	case !ok:
		return audit.Untold(fact)
	case mode&^g.allowed == 0:
		return audit.Good(fact)
	}
	return audit.Bad(fact).Wanting(audit.Want{Ref: o.Ref, Field: inventory.FileMode.Path, Value: mode & g.allowed})
}

// capital makes the first letter of an ASCII word a capital.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
