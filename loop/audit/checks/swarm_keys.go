package checks

import (
	"fmt"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var swarmAutoLock = &audit.Check{
	ID:    "swarm-autolock",
	Title: lang.Text{En: "Swarm managers keep their keys readable on disk", Es: "Los gestores del swarm guardan sus claves legibles en disco"},
	Why: lang.Text{
		En: "A stolen disk or backup of a manager gives the cluster's key, its log and every secret in it.",
		Es: "Un disco o respaldo robado de un gestor da la clave del clúster, su registro y todos los secretos.",
	},
	Remedy: lang.Text{
		En: "docker swarm update --autolock=true, and keep the unlock key where a restart can be served.",
		Es: "docker swarm update --autolock=true, y guarde la clave de desbloqueo donde sirva ante un reinicio.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSwarm.and("nist-800-53-r5", "SC-28", "cis-controls-8", "3.11").cis("7.5"),
	Kind:     inventory.Daemon,
	Eval: inSwarm(managers, func(s *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
		a := audit.Must(inventory.SwarmAutoLock, true)(s, swarm)
		for i := range a.Wants {
			a.Wants[i].Breaks = lang.Text{
				En: "After each restart of its engine a manager waits for docker swarm unlock; without the key it is lost.",
				Es: "Tras cada reinicio de su motor un gestor espera docker swarm unlock; sin la clave se pierde.",
			}
		}
		return a
	}),
}

var swarmUnlockKey = &audit.Check{
	ID:    "swarm-unlock-key",
	Title: lang.Text{En: "Swarm unlock key may never have been rotated", Es: "La clave de desbloqueo del swarm quizá nunca se rotó"},
	Why: lang.Text{
		En: "Everybody who ever had the key can still open a manager's disk.",
		Es: "Todo el que alguna vez tuvo la clave aún puede abrir el disco de un gestor.",
	},
	Remedy: lang.Text{
		En: "docker swarm unlock-key --rotate on a schedule, and note the date; keep the old key until all managers have the new one.",
		Es: "docker swarm unlock-key --rotate con calendario, y anote la fecha; guarde la clave vieja hasta que todos los gestores tengan la nueva.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowSwarm.cis("7.6"),
	Kind:     inventory.Daemon,
	Eval: inSwarm(managers, func(_ *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
		locked, fact, ok := inventory.SwarmAutoLock.Of(swarm)
		switch {
		case !ok:
			return audit.Untold(fact)
		case !locked:
			return audit.Beside(lang.Text{En: "there is no key: the managers are not locked", Es: "no hay clave: los gestores no se bloquean"}, fact)
		}
		return audit.Question(lang.Text{
			En: "When was the unlock key last rotated, and who has it? The engine does not keep the date.",
			Es: "¿Cuándo se rotó por última vez la clave de desbloqueo y quién la tiene? El motor no guarda la fecha.",
		}, fact)
	}),
}

// maxCertLife is the engine's own default for a node's certificate (docker
// swarm update, --cert-expiry: 2160h). A node renews at half of its life.
const maxCertLife = 90 * 24 * time.Hour

var swarmCertExpiry = &audit.Check{
	ID:    "swarm-cert-expiry",
	Title: lang.Text{En: "Swarm node certificates live too long", Es: "Los certificados de nodo del swarm viven demasiado"},
	Why: lang.Text{
		En: "A certificate copied from a node opens the cluster until it expires; there is no list of revoked ones.",
		Es: "Un certificado copiado de un nodo abre el clúster hasta que expira; no hay lista de revocados.",
	},
	Remedy: lang.Text{
		En: "docker swarm update --cert-expiry 2160h or less; nodes renew by themselves.",
		Es: "docker swarm update --cert-expiry 2160h o menos; los nodos renuevan solos.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSwarm.cis("7.7"),
	Kind:     inventory.Daemon,
	Eval: inSwarm(managers, func(_ *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
		life, fact, ok := inventory.SwarmCertExpiry.Of(swarm)
		switch {
		case !ok:
			return audit.Untold(fact)
		case life <= int64(maxCertLife) && life > 0:
			return audit.Good(fact)
		}
		return audit.Bad(fact).Wanting(audit.Want{Ref: swarm.Ref, Field: inventory.SwarmCertExpiry.Path, Value: int64(maxCertLife)})
	}),
}

// maxCAAge is the longest use of a private signature key that NIST SP 800-57
// Part 1 Rev. 5, table 1, suggests: one to three years. Swarm's own CA is
// valid for twenty (swarmkit, RootCAExpiration).
const maxCAAge = 3 * 365 * 24 * time.Hour

var swarmCARotation = &audit.Check{
	ID:    "swarm-ca-rotation",
	Title: lang.Text{En: "Swarm's certificate authority is old", Es: "La autoridad de certificación del swarm es vieja"},
	Why: lang.Text{
		En: "Every manager that ever was, and every backup of one, has had the key that admits nodes.",
		Es: "Todo gestor que haya existido, y todo respaldo suyo, ha tenido la clave que admite nodos.",
	},
	Remedy: lang.Text{
		En: "docker swarm ca --rotate while all nodes are up.",
		Es: "docker swarm ca --rotate con todos los nodos en marcha.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowSwarm.cis("7.8"),
	Kind:     inventory.Daemon,
	Eval:     inSwarm(managers, evalSwarmCA),
}

func evalSwarmCA(s *inventory.Snapshot, _, swarm *inventory.Object) audit.Answer {
	born, fact, ok := inventory.SwarmCANotBefore.Of(swarm)
	if !ok {
		return audit.Untold(fact)
	}
	switch age, what := ageOf(born, s.Taken); {
	case what != dateReal:
		return audit.Untold(fact).Because(lang.Text{En: "its date cannot be true", Es: "su fecha no puede ser cierta"})
	case age > maxCAAge:
		return audit.Bad(fact).Because(lang.Text{
			En: fmt.Sprintf("%d days old", int(age.Hours()/24)),
			Es: fmt.Sprintf("tiene %d días", int(age.Hours()/24)),
		})
	}
	return audit.Good(fact)
}
