package checks

import (
	"cmp"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Checks of what registries answered. They are asked on demand: a question to a
// registry tells it what this host runs.

var notAsked = lang.Text{En: "registries are asked by casco audit --registries", Es: "a los registros les pregunta casco audit --registries"}

// unasked is the answer where a registry did not say.
func unasked(fact inventory.Fact, o *inventory.Object) audit.Answer {
	a := audit.Untold(fact)
	field, _, _ := strings.Cut(fact.Field, ".")
	if o.Unread[field] == "" {
		return a.Because(notAsked)
	}
	return a
}

var registryIdentity = &audit.Check{
	ID:    "registry-identity",
	Title: lang.Text{En: "A registry does not prove who it is", Es: "Un registro no prueba quién es"},
	Why: lang.Text{
		En: "Whoever takes its address, or sits on the way to it, can hand out images in its name; an engine that insists refuses to pull, and fixes do not arrive.",
		Es: "Quien tome su dirección, o esté en el camino, puede repartir imágenes en su nombre; un motor que lo exige se niega a descargar, y los arreglos no llegan.",
	},
	Remedy: lang.Text{
		En: "Give it a certificate in date, for the name that images use, of a CA that is in /etc/docker/certs.d/HOST:PORT/ca.crt or in the system's store.",
		Es: "Déle un certificado vigente, con el nombre que usan las imágenes, de una CA que esté en /etc/docker/certs.d/HOST:PUERTO/ca.crt o en el almacén del sistema.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		state, fact, ok := inventory.RegistryCertState.Of(o)
		pull, pullFact, _ := inventory.RegistryPull.Of(o)
		if !ok {
			return unasked(fact, o)
		}
		_, cert, _ := inventory.RegistryCertificate.Of(o)
		loopback, loopbackFact, _ := inventory.RegistryLoopback.Of(o)
		switch {
		case state == "good":
			return audit.Good(cert, pullFact)
		case state == "none" && loopback:
			return audit.Beside(lang.Text{En: "it is on this machine; see registry-plain", Es: "está en esta máquina; vea registry-plain"}, cert, loopbackFact, pullFact)
		}
		reason, _, _ := inventory.Field[string]{Kind: inventory.Registry, Path: "Certificate.Reason"}.Of(o)
		return audit.Bad(cert, pullFact).Because(lang.Text{
			En: cmp.Or(reason, state) + ": " + pulls[pull].En, Es: cmp.Or(reason, state) + ": " + pulls[pull].Es,
		})
	},
}

// pulls say how an engine would fetch.
var pulls = map[string]lang.Text{
	"":               {En: "how this engine would pull is not known", Es: "no se sabe cómo descargaría este motor"},
	"refused":        {En: "this engine refuses to pull from it", Es: "este motor se niega a descargar de él"},
	"plain":          {En: "this engine pulls from it without TLS", Es: "este motor descarga de él sin TLS"},
	"tls-unverified": {En: "this engine pulls from whoever answers", Es: "este motor descarga de quien responda"},
	"tls":            {En: "this engine pulls from it", Es: "este motor descarga de él"},
}

var registryAnonymousPush = &audit.Check{
	ID:    "registry-anonymous-push",
	Title: lang.Text{En: "Anybody may publish images in a registry in use", Es: "Cualquiera puede publicar imágenes en un registro en uso"},
	Why: lang.Text{
		En: "Whoever reaches the registry can put another image under a tag that this host pulls, and it runs here.",
		Es: "Quien llegue al registro puede poner otra imagen bajo una etiqueta que este anfitrión descarga, y corre aquí.",
	},
	Remedy: lang.Text{
		En: "Demand a login to push, let only the pipeline have one, and name images by digest.",
		Es: "Exija credenciales para publicar, que solo las tenga la línea de construcción, y nombre las imágenes por digest.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		open, fact, ok := inventory.RegistryAnonymousPush.Of(o)
		_, login, _ := inventory.RegistryLogin.Of(o)
		switch {
		case !ok:
			return unasked(fact, o)
		case open:
			return audit.Bad(fact, login)
		}
		return audit.Good(fact, login)
	},
}

var registryRedirect = &audit.Check{
	ID:    "registry-redirect",
	Title: lang.Text{En: "A registry sends engines on to an address without TLS", Es: "Un registro remite a los motores a una dirección sin TLS"},
	Why: lang.Text{
		En: "The engine follows, and what comes from there can be read and changed on the way.",
		Es: "El motor la sigue, y lo que viene de allí se puede leer y cambiar en el camino.",
	},
	Remedy: lang.Text{
		En: "Let it redirect to https only, or name the place that it redirects to in the images.",
		Es: "Que solo remita a https, o nombre en las imágenes el lugar al que remite.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		to, fact, ok := inventory.RegistryRedirects.Of(o)
		if !ok {
			return unasked(fact, o)
		}
		for _, u := range to {
			if strings.HasPrefix(u, "http://") {
				return audit.Bad(fact)
			}
		}
		return audit.Good(fact)
	},
}

var registryFalseDigest = &audit.Check{
	ID:    "registry-false-digest",
	Title: lang.Text{En: "A registry gives something else than the digest that it names", Es: "Un registro da otra cosa que el digest que nombra"},
	Why: lang.Text{
		En: "A digest is what an image is. A registry that gives other bytes for it was changed behind its back, or is somebody else.",
		Es: "Un digest es lo que una imagen es. Un registro que da otros bytes fue alterado por detrás, o es otro.",
	},
	Remedy: lang.Text{
		En: "Pull nothing from it. Compare its storage with a copy, and publish the images again from their sources.",
		Es: "No descargue nada de él. Compare su almacén con una copia, y publique de nuevo las imágenes desde sus fuentes.",
	},
	Severity: audit.Critical,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry,
	Kind:     inventory.Registry,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		tags, fact, ok := inventory.RegistryFalse.Of(o)
		switch {
		case !ok:
			return unasked(fact, o)
		case len(tags) > 0:
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}
