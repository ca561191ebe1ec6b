package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfileHealthcheck = &audit.Check{
	ID:       "dockerfile-healthcheck",
	Title:    lang.Text{En: "Image would have no health check that says anything", Es: "La imagen no tendría una prueba de salud que diga algo"},
	Why:      imageHealthcheck.Why,
	Remedy:   imageHealthcheck.Remedy,
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowHealth.and("nist-800-190", "4.1.2").cis("4.6"),
	Kind:     inventory.Dockerfile,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		check, fact, ok := inventory.DockerfileHealthcheck.Of(o)
		if !ok && fact.Err == inventory.Absent && o.Fields["Config"] != nil {
			fact.Err, ok = "", true
		}
		if !ok {
			return audit.Untold(fact)
		}
		return judgeProbe(check, fact)
	},
}
