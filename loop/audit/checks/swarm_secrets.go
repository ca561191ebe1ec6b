package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var swarmSecrets = &audit.Check{
	ID:    "swarm-secrets",
	Title: lang.Text{En: "Services get secrets through their environment", Es: "Los servicios reciben secretos por su entorno"},
	Why: lang.Text{
		En: "The environment of a service can be read by everybody who may inspect it, and by each process it starts.",
		Es: "El entorno de un servicio lo lee quien pueda inspeccionarlo y cada proceso que arranca.",
	},
	Remedy: lang.Text{
		En: "docker secret create, docker service update --secret-add … --env-rm …; the application reads /run/secrets/NAME.",
		Es: "docker secret create, docker service update --secret-add … --env-rm …; la aplicación lee /run/secrets/NOMBRE.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("7.4"),
	Kind:     inventory.Daemon,
	Eval:     inSwarm(managers, evalSwarmSecrets),
}

func evalSwarmSecrets(s *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
	_, secrets, _ := inventory.SwarmSecrets.Of(swarm)
	for _, g := range s.Gaps {
		if g.Ref.Kind == inventory.Service {
			return audit.Untold(inventory.Fact{Ref: g.Ref, Field: inventory.ServiceEnv.Path, Err: g.Reason, Source: g.Source})
		}
	}
	services := s.Of(inventory.Service)
	var found []inventory.Fact
	for _, svc := range services {
		env, fact, _ := inventory.ServiceEnv.Of(svc) // left out when empty
		if in := slices.DeleteFunc(inventory.MaskEnv(env), isClean); len(in) > 0 {
			found = append(found, with(fact, in))
		}
	}
	switch {
	case len(found) > 0:
		return audit.Bad(append(found, secrets)...)
	case len(services) == 0:
		return audit.Beside(lang.Text{En: "there is no service", Es: "no hay servicios"}, secrets)
	}
	return audit.Good(secrets)
}
