package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonAuthorizationPlugin = &audit.Check{
	ID:    "daemon-authorization-plugin",
	Title: lang.Text{En: "Requests to the engine pass no authorization", Es: "Las peticiones al motor no pasan por una autorización"},
	Why: lang.Text{
		En: "Without an authorization plugin, who reaches the engine may ask it for anything: all or nothing.",
		Es: "Sin un complemento de autorización, quien llega al motor puede pedirle cualquier cosa: todo o nada.",
	},
	Remedy: lang.Text{
		En: `Start casco's guard (or another plugin), see that its socket answers, then name it in "authorization-plugins". An engine that is told of a plugin that does not answer dies.`,
		Es: `Inicie el guardián de casco (u otro complemento), vea que su socket responde y nómbrelo en "authorization-plugins". Un motor al que se le nombra un complemento que no responde muere.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowEngineAccess.cis("2.13"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		said, saidFact, saidOK := inventory.DaemonAuthorization.Of(o)
		set, setFact, setOK := inventory.DaemonAuthzPlugins.Of(o)
		switch {
		case !saidOK && !setOK:
			return audit.Untold(saidFact, setFact)
		case saidOK && len(said) > 0, !saidOK && len(set) > 0:
			return audit.Good(saidFact, setFact)
		}
		return audit.Bad(saidFact, setFact).Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonAuthzPlugins.Path,
			Ask: lang.Text{
				En: "Which authorization plugins, by name, run on this host and answer?",
				Es: "¿Qué complementos de autorización, por nombre, corren en este anfitrión y responden?",
			},
			Breaks: lang.Text{
				En: "When the plugin is down every request to the engine fails; running containers go on.",
				Es: "Cuando el complemento cae falla toda petición al motor; los contenedores en marcha siguen.",
			},
		})
	},
}
