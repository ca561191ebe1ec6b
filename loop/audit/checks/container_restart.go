package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// restartTries is the bound of CIS Docker 5.15.
const restartTries = 5

var containerRestart = &audit.Check{
	ID:    "container-restart",
	Title: lang.Text{En: "Container is restarted without end", Es: "El contenedor se reinicia sin fin"},
	Why: lang.Text{
		En: "A service that keeps crashing burns the host and hides the fault, or the attack, that makes it crash.",
		Es: "Un servicio que no deja de caerse consume el anfitrión y oculta el fallo, o el ataque, que lo tumba.",
	},
	Remedy: lang.Text{
		En: "docker update --restart on-failure:5 — but read what may break first; a supervisor such as systemd can bound the attempts and still start it at boot.",
		Es: "docker update --restart on-failure:5 — pero lea antes qué puede romperse; un supervisor como systemd puede acotar los intentos y aun así arrancarlo con el sistema.",
	},
	Severity: audit.Low,
	Domains:  operates,
	Controls: rowResources.cis("5.15"),
	Kind:     inventory.Container,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		if inventory.OwnerOf(o) == inventory.OwnerSwarm {
			_, labels, _ := inventory.Labels.Of(o)
			return audit.Beside(lang.Text{
				En: "Swarm restarts it, by the policy of its service",
				Es: "lo reinicia Swarm, según la política de su servicio",
			}, labels)
		}
		name, fact, ok := inventory.RestartName.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		tries, count, ok := inventory.RestartRetries.Of(o)
		switch {
		case name == "" || name == "no":
			return audit.Good(fact)
		case name == "on-failure" && !ok:
			return audit.Untold(count, fact)
		case name == "on-failure" && 0 < tries && tries <= restartTries:
			return audit.Good(fact, count)
		}
		question := lang.Text{
			En: "May it stay down after an ordinary stop? on-failure:5 restarts it only after a failure.",
			Es: "¿Puede quedar parado tras una parada ordinaria? on-failure:5 solo lo reinicia tras un fallo.",
		}
		hazard := lang.Text{
			En: "Measured: a service that exits 0 on SIGTERM stays down after the next restart of the engine or the host.",
			Es: "Medido: un servicio que sale con 0 ante SIGTERM queda parado tras el próximo reinicio del motor o del anfitrión.",
		}
		return audit.Bad(append([]inventory.Fact{fact}, known(count)...)...).Wanting(
			audit.Want{Ref: o.Ref, Field: inventory.RestartName.Path, Ask: question, Breaks: hazard},
			audit.Want{Ref: o.Ref, Field: inventory.RestartRetries.Path, Ask: question, Breaks: hazard})
	},
}

var containerHealthcheck = &audit.Check{
	ID:    "container-healthcheck",
	Title: lang.Text{En: "Container's health is not checked", Es: "No se comprueba la salud del contenedor"},
	Why: lang.Text{
		En: "A service that hangs counts as running; nobody is told, and no change to it can be verified.",
		Es: "Un servicio colgado cuenta como en marcha; nadie se entera y ningún cambio en él se puede verificar.",
	},
	Remedy: lang.Text{
		En: "Give the image a HEALTHCHECK, or the Compose service a healthcheck, that asks the service for something only a working one can answer.",
		Es: "Dé a la imagen un HEALTHCHECK, o al servicio de Compose un healthcheck, que pida al servicio algo que solo uno sano responde.",
	},
	Severity: audit.Low,
	Domains:  operates,
	Controls: rowHealth.cis("5.27"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		check, fact, ok := inventory.Healthcheck.Of(o)
		if test, _ := stringsIn(check["Test"]); !settled(o) && len(test) == 0 { // a request without a test takes the image's
			img := imageNamed(s, o)
			if img == nil {
				return audit.Untold(inventory.Fact{Ref: o.Ref, Field: fact.Field, Source: o.Source, Read: o.Read, Err: "the request has none, and its image was not read"})
			}
			check, fact, ok = inventory.ImageHealthcheck.Of(img)
		}
		want := ask(o, inventory.Healthcheck.Path, lang.Text{
			En: "Which command tells that the service works?",
			Es: "¿Qué orden dice que el servicio funciona?",
		})
		if !ok { // the engine leaves it out where there is none
			if _, config, has := inventory.ImageName.Of(o); !has {
				return audit.Untold(config)
			}
			fact.Err, fact.Value = "", "none"
			return audit.Bad(fact).Wanting(want)
		}
		test, _ := stringsIn(check["Test"])
		switch {
		case len(test) == 0, test[0] == "NONE":
			return audit.Bad(fact).Wanting(want)
		case slices.Contains(vacuous, strings.Join(test[1:], " ")):
			return audit.Bad(fact).Because(lang.Text{En: "the test never fails", Es: "la prueba nunca falla"}).Wanting(want)
		}
		return audit.Good(fact)
	},
}

// vacuous tests succeed whatever state the service is in.
var vacuous = []string{"", "true", "/bin/true", "/usr/bin/true", ":", "exit 0", "exit", "test -e /proc/1/stat", "test -e /proc/1", "echo ok"}

func stringsIn(v any) ([]string, bool) {
	switch l := v.(type) {
	case []string:
		return l, true
	case []any:
		out := make([]string, 0, len(l))
		for _, e := range l {
			out = append(out, asString(e))
		}
		return out, true
	}
	return nil, false
}
