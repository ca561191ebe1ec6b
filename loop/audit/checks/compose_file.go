package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// judgeKeys fails each key that a reader of Compose files noted in a list.
func judgeKeys(f inventory.Field[[]any]) func(*inventory.Snapshot, *inventory.Object) audit.Answer {
	return func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		list, fact, ok := f.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		a := &dockerAnswer{}
		for _, e := range list {
			m := asMap(e)
			a.bad(inventory.Fact{Ref: o.Ref, Field: asString(m["Key"]), Value: inventory.MaskText(asString(m["Text"])), Source: asString(m["At"]), Read: o.Read})
		}
		fact.Value = len(list)
		return a.of(fact)
	}
}

var composeSecrets = &audit.Check{
	ID:    "compose-secrets",
	Title: lang.Text{En: "Compose file holds a secret", Es: "El archivo Compose contiene un secreto"},
	Why: lang.Text{
		En: "It is in the file and its versions, and as an argument, a label or a command also in what the engine tells whoever may ask.",
		Es: "Está en el archivo y sus versiones, y como argumento, etiqueta u orden también en lo que el motor dice a quien pueda preguntar.",
	},
	Remedy: lang.Text{
		En: "Change the secret; give the new one as a file (secrets: with file:), a build's with build.secrets, or as ${NAME} from an environment that is in no repository.",
		Es: "Cambie el secreto; entregue el nuevo como archivo (secrets: con file:), el de una construcción con build.secrets, o como ${NOMBRE} desde un entorno que no esté en ningún repositorio.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.10"),
	Kind:     inventory.Compose,
	Eval:     judgeKeys(inventory.ComposeSecrets),
}

var composeBuildRights = &audit.Check{
	ID:       "compose-build-rights",
	Title:    lang.Text{En: "Build of a service asks for the host's network or for all rights", Es: "La construcción de un servicio pide la red del anfitrión o todos los derechos"},
	Why:      dockerfileBuildRights.Why,
	Remedy:   lang.Text{En: "Leave privileged, entitlements and network: host out of build.", Es: "Quite privileged, entitlements y network: host de build."},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowIsolation.cis("5.10"),
	Kind:     inventory.Compose,
	Eval:     judgeKeys(inventory.ComposeBuildRights),
}
