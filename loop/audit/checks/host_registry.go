package checks

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var registryInsecure = &audit.Check{
	ID:    "registry-insecure",
	Title: lang.Text{En: "A registry in use need not prove who it is", Es: "Un registro en uso no tiene que probar quién es"},
	Why: lang.Text{
		En: "Images named with this registry come over a connection that anybody on the way can read and change.",
		Es: "Las imágenes de este registro llegan por una conexión que cualquiera en el camino puede leer y cambiar.",
	},
	Remedy: lang.Text{
		En: "Give it a certificate of a CA in /etc/docker/certs.d and drop it from insecure-registries; name images by digest until then.",
		Es: "Déle un certificado de una CA en /etc/docker/certs.d y quítelo de insecure-registries; hasta entonces nombre las imágenes por digest.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	CausedBy: "daemon-insecure-registries",
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		insecure, fact, ok := inventory.RegistryInsecure.Of(o)
		loopback, loopbackFact, known := inventory.RegistryLoopback.Of(o)
		_, from, _ := inventory.RegistryFrom.Of(o)
		switch {
		case ok && !insecure:
			return audit.Good(fact)
		case !ok || !known:
			return audit.Untold(fact, loopbackFact)
		case loopback:
			return audit.Beside(lang.Text{En: "it is on this machine; see registry-plain", Es: "está en esta máquina; vea registry-plain"}, fact, loopbackFact)
		}
		return audit.Bad(fact, from)
	},
}

var registryPlain = &audit.Check{
	ID:    "registry-plain",
	Title: lang.Text{En: "A registry on this machine answers without TLS", Es: "Un registro en esta máquina responde sin TLS"},
	Why: lang.Text{
		En: "The engine trusts every registry on loopback. When this one is down, any local user who takes its port hands out images that root then runs.",
		Es: "El motor confía en todo registro de loopback. Cuando este cae, cualquier usuario local que tome su puerto reparte imágenes que luego ejecuta root.",
	},
	Remedy: lang.Text{
		En: "Give it TLS under the host's name, or name images by digest; keep its port below 1024, which users cannot take.",
		Es: "Déle TLS con el nombre del anfitrión, o nombre las imágenes por digest; déle un puerto por debajo de 1024, que los usuarios no pueden tomar.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		loopback, loopbackFact, known := inventory.RegistryLoopback.Of(o)
		if known && !loopback {
			return audit.Beside(lang.Text{En: "only registries on this machine are asked", Es: "solo se pregunta a los registros de esta máquina"}, loopbackFact)
		}
		plain, fact, ok := inventory.RegistryPlain.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case plain:
			return audit.Bad(fact, loopbackFact)
		}
		return audit.Good(fact)
	},
}

var registryCredentials = &audit.Check{
	ID:    "registry-credentials",
	Title: lang.Text{En: "Logins to registries lie readable in a file", Es: "Hay credenciales de registros legibles en un archivo"},
	Why: lang.Text{
		En: "The file holds name and password in base64, which is no encryption: who reads it, or a backup of it, can push images.",
		Es: "El archivo guarda nombre y contraseña en base64, que no cifra: quien lo lee, o lee un respaldo, puede subir imágenes.",
	},
	Remedy: lang.Text{
		En: "docker logout REGISTRY, set \"credsStore\" to a credential helper, log in again with a token that may only pull; revoke the old login.",
		Es: "docker logout REGISTRO, ponga en \"credsStore\" un ayudante de credenciales, entre de nuevo con un token que solo pueda descargar; revoque el anterior.",
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowCredentials,
	Kind:     inventory.Credential,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		inline, fact, ok := inventory.CredentialRegistries.Of(o)
		_, store, _ := inventory.CredentialStore.Of(o)
		_, user, _ := inventory.CredentialUser.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case len(inline) > 0:
			list := strings.Join(inline, ", ")
			return audit.Bad(fact, store, user).Because(lang.Text{En: "readable logins to " + list, Es: "credenciales legibles de " + list})
		}
		return audit.Good(fact, store)
	},
}
