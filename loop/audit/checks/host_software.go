package checks

import (
	"maps"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// unneeded is why a package or a unit has no place on a host of containers.
// ask is set where some hosts do need it.
type unneeded struct {
	why lang.Text
	ask bool
}

var (
	clearText = unneeded{why: lang.Text{
		En: "it carries passwords and data unencrypted; ssh does the same work", Es: "lleva contraseñas y datos sin cifrar; ssh hace lo mismo",
	}}
	oldServer = unneeded{why: lang.Text{
		En: "it starts services of the 1980s on demand of the network", Es: "inicia servicios de los años 80 a petición de la red",
	}}
	oldLookup = unneeded{why: lang.Text{
		En: "it hands out accounts and their hashes to the network", Es: "reparte cuentas y sus hashes por la red",
	}}
	chatter = unneeded{ask: true, why: lang.Text{
		En: "it announces the host to its network and answers everybody there", Es: "anuncia el anfitrión en su red y responde a todos allí",
	}}
	fileServer = unneeded{ask: true, why: lang.Text{
		En: "it serves files of the host to the network", Es: "sirve archivos del anfitrión a la red",
	}}
	server = unneeded{ask: true, why: lang.Text{
		En: "it is a network service that could run in a container", Es: "es un servicio de red que podría correr en un contenedor",
	}}
	desktop = unneeded{ask: true, why: lang.Text{
		En: "it belongs to a desktop, with much setuid and many services", Es: "es de un escritorio, con mucho setuid y muchos servicios",
	}}
)

// unneededPackages by their names in Debian and Red Hat.
var unneededPackages = map[string]unneeded{
	"telnetd": clearText, "inetutils-telnetd": clearText, "telnetd-ssl": clearText, "telnet-server": clearText, "krb5-telnet-server": clearText,
	"rsh-server": clearText, "rsh-redone-server": clearText, "rsh-client": clearText, "rsh": clearText, "rlinetd": oldServer,
	"ftpd": clearText, "ftpd-ssl": clearText, "inetutils-ftpd": clearText, "tftpd": clearText, "tftpd-hpa": clearText, "atftpd": clearText, "tftp-server": clearText,
	"talk": oldServer, "talkd": oldServer, "inetutils-talkd": oldServer, "fingerd": oldServer, "finger-server": oldServer, "talk-server": oldServer,
	"xinetd": oldServer, "openbsd-inetd": oldServer, "inetutils-inetd": oldServer,
	"nis": oldLookup, "ypserv": oldLookup, "ypbind": oldLookup,
	"avahi-daemon": chatter, "avahi": chatter, "snmpd": chatter, "net-snmp": chatter, "rpcbind": chatter,
	"nfs-kernel-server": fileServer, "samba": fileServer, "vsftpd": fileServer, "proftpd-core": fileServer, "proftpd-basic": fileServer, "rsync-daemon": fileServer,
	"apache2": server, "httpd": server, "nginx": server, "bind9": server, "bind": server, "dnsmasq": server, "squid": server, "slapd": server,
	"mysql-server": server, "mariadb-server": server, "postgresql": server, "redis-server": server, "dovecot-core": server, "isc-dhcp-server": server,
	"cups": desktop, "cups-daemon": desktop, "xserver-xorg": desktop, "xorg-x11-server-Xorg": desktop, "gdm3": desktop, "gdm": desktop,
}

// unneededUnits by their names without the suffix.
var unneededUnits = map[string]unneeded{
	"telnet": clearText, "rsh": clearText, "rlogin": clearText, "rexec": clearText, "tftp": clearText, "tftpd-hpa": clearText, "atftpd": clearText,
	"inetd": oldServer, "xinetd": oldServer, "openbsd-inetd": oldServer, "inetutils-inetd": oldServer, "ypserv": oldLookup, "ypbind": oldLookup,
	"avahi-daemon": chatter, "snmpd": chatter, "rpcbind": chatter, "rpc-statd": chatter,
	"nfs-server": fileServer, "nfs-kernel-server": fileServer, "smbd": fileServer, "nmbd": fileServer, "smb": fileServer, "vsftpd": fileServer, "proftpd": fileServer, "rsync": fileServer, "rsyncd": fileServer,
	"apache2": server, "httpd": server, "nginx": server, "named": server, "bind9": server, "dnsmasq": server, "squid": server, "slapd": server,
	"mysql": server, "mysqld": server, "mariadb": server, "postgresql": server, "redis-server": server, "redis": server, "dovecot": server,
	"isc-dhcp-server": server, "dhcpd": server, "cups": desktop, "cups-browsed": desktop, "gdm": desktop, "gdm3": desktop, "lightdm": desktop,
}

var packageUnneeded = &audit.Check{
	ID:    "package-unneeded",
	Title: lang.Text{En: "Software is installed that a container host does not need", Es: "Hay software que un anfitrión de contenedores no necesita"},
	Why: lang.Text{
		En: "What is not there has no hole: every package more is more to patch and more for an intruder to use.",
		Es: "Lo que no está no tiene fallos: cada paquete de más hay que actualizarlo y puede servir a un intruso.",
	},
	Remedy:   lang.Text{En: "apt-get purge NAME, or dnf remove NAME.", Es: "apt-get purge NOMBRE, o dnf remove NOMBRE."},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowLeastFunction,
	Kind:     inventory.Package,
	Policy:   []string{"host.packages"},
	About: func(s *inventory.Snapshot, o *inventory.Object) bool {
		_, is := unneededPackages[o.Ref.Name]
		says, _ := packageLists.of(s, o.Ref.Name)
		return is || says == forbidden
	},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, fact, _ := inventory.PackageVersion.Of(o)
		u, is := unneededPackages[o.Ref.Name]
		says, line := packageLists.of(s, o.Ref.Name)
		switch {
		case says == forbidden:
			return audit.Bad(fact, line).Because(policyForbids)
		case says == allowed && is:
			return audit.Good(fact, line).Because(policyAllows)
		case !is:
			return audit.Good(fact)
		case u.ask:
			return audit.Question(u.question(), fact)
		}
		return audit.Bad(fact).Because(u.why)
	},
}

// Packages returns the names of the packages that checks judge whatever the
// policy says, so that a reader knows which to read.
func Packages() []string { return slices.Sorted(maps.Keys(unneededPackages)) }

var unitUnneeded = &audit.Check{
	ID:    "unit-unneeded",
	Title: lang.Text{En: "A service starts at boot that a container host does not need", Es: "Arranca un servicio que un anfitrión de contenedores no necesita"},
	Why: lang.Text{
		En: "A service on the host is reached from every network of its containers and runs outside all that confines them.",
		Es: "Un servicio en el anfitrión se alcanza desde toda red de sus contenedores y corre fuera de lo que los confina.",
	},
	Remedy:   lang.Text{En: "systemctl disable --now UNIT; run the service in a container if it is needed.", Es: "systemctl disable --now UNIDAD; si hace falta, córralo en un contenedor."},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security, audit.Operations},
	Controls: rowLeastFunction,
	Kind:     inventory.Unit,
	Policy:   []string{"host.services"},
	About: func(s *inventory.Snapshot, o *inventory.Object) bool {
		_, is := unneededUnits[unitName(o)]
		says, _ := serviceLists.of(s, o.Ref.Name, unitName(o))
		return is || says == forbidden
	},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		enabled, fact, ok := inventory.UnitEnabled.Of(o)
		u, is := unneededUnits[unitName(o)]
		says, line := serviceLists.of(s, o.Ref.Name, unitName(o))
		off := audit.Want{
			Ref: o.Ref, Field: inventory.UnitEnabled.Path, Value: false,
			Breaks: lang.Text{En: "Who still uses the service loses it.", Es: "Quien aún usa el servicio lo pierde."},
		}
		switch {
		case ok && !enabled, !is && says != forbidden:
			return audit.Good(fact)
		case !ok:
			return audit.Untold(fact)
		case says == forbidden:
			return audit.Bad(fact, line).Because(policyForbids).Wanting(off)
		case says == allowed:
			return audit.Good(fact, line).Because(policyAllows)
		case u.ask:
			return audit.Question(u.question(), fact)
		}
		return audit.Bad(fact).Because(u.why).Wanting(off)
	},
}

// unitName is "cups" of "cups.socket" and "postgresql" of "postgresql@15-main.service".
func unitName(o *inventory.Object) string {
	name, _, _ := strings.Cut(o.Ref.Name, "@")
	for _, suffix := range []string{".service", ".socket"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

func (u unneeded) question() lang.Text {
	return lang.Text{En: "Who needs it on this host? " + u.why.En + ".", Es: "¿Quién lo necesita en este anfitrión? " + u.why.Es + "."}
}
