package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var volumeSecrets = &audit.Check{
	ID:    "volume-secrets",
	Title: lang.Text{En: "Volume shows a password in its options", Es: "El volumen muestra una contraseña en sus opciones"},
	Why: lang.Text{
		En: "docker volume inspect prints the login of the file server to everybody who reaches the engine.",
		Es: "docker volume inspect enseña la cuenta del servidor de archivos a quien llegue al motor.",
	},
	Remedy: lang.Text{
		En: "Mount the share on the host with a credentials file (mount.cifs(8), credentials=) and bind it, then change the password.",
		Es: "Monte el recurso en el anfitrión con un archivo de credenciales (mount.cifs(8), credentials=), enlácelo y cambie la contraseña.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSecrets,
	Kind:     inventory.Volume,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		options, fact, ok := inventory.VolumeOptions.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		if in := secretLabels(options); len(in) > 0 {
			return audit.Bad(with(fact, in))
		}
		return audit.Good(fact)
	},
}

var volumeHostPath = &audit.Check{
	ID:    "volume-host-path",
	Title: lang.Text{En: "Volume is a path of the host in disguise", Es: "El volumen es una ruta del anfitrión disfrazada"},
	Why: lang.Text{
		En: "A volume can be made of any directory or disk of the host, and looks harmless in whatever allows volumes and forbids binds.",
		Es: "Un volumen puede hacerse de cualquier directorio o disco del anfitrión y parece inofensivo donde se permiten volúmenes y no enlaces.",
	},
	Remedy: lang.Text{
		En: "Remove the volume; if the directory is needed, bind it openly, narrow and read-only.",
		Es: "Quite el volumen; si hace falta el directorio, enlácelo a la vista, lo más estrecho posible y de solo lectura.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowMounts.cis("5.6"),
	Kind:     inventory.Volume,
	Eval:     evalVolumeHostPath,
}

func evalVolumeHostPath(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	options, fact, ok := inventory.VolumeOptions.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	ro := slices.Contains(strings.Split(asString(options["o"]), ","), "ro")
	device, typ := devicePath(options), asString(options["type"])
	switch driver, _, _ := inventory.VolumeDriver.Of(o); {
	case binds(options):
		if device != "" && sensitive(canonical(device), ro, secretDirs) {
			return audit.Bad(fact)
		}
	case within(canonical(device), "/dev") && device != "":
		return audit.Bad(fact).Because(lang.Text{
			En: "it mounts a disk of the host, past all of its permissions",
			Es: "monta un disco del anfitrión, por encima de todos sus permisos",
		})
	case typ != "" && (driver == "" || driver == "local") && !slices.Contains(ownFileSystems, typ):
		return audit.Bad(fact).Because(lang.Text{
			En: "a file system of type %s shows what the host holds",
			Es: "un sistema de archivos de tipo %s muestra lo que tiene el anfitrión",
		}.F(typ))
	}
	return audit.Good(fact)
}

// ownFileSystems are the types that a local volume may have without showing
// anything of the host: those that come over the network, and memory. Others do
// without naming a path: proc, sysfs, devtmpfs, overlay with lowerdir=/.
var ownFileSystems = []string{"nfs", "nfs4", "cifs", "smb3", "tmpfs", "none"}
