package checks

import (
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageHealthcheck = &audit.Check{
	ID:    "image-healthcheck",
	Title: lang.Text{En: "Image has no health check that says anything", Es: "La imagen no tiene una prueba de salud que diga algo"},
	Why: lang.Text{
		En: "A service that hangs looks alive; nothing restarts it, and a change that broke it is not noticed.",
		Es: "Un servicio colgado parece vivo; nada lo reinicia y no se nota un cambio que lo rompió.",
	},
	Remedy: lang.Text{
		En: "Add a HEALTHCHECK that asks the service something it answers only when it works.",
		Es: "Añada un HEALTHCHECK que pregunte al servicio algo que solo responde cuando funciona.",
	},
	Severity: audit.Low,
	Domains:  []audit.Domain{audit.Operations},
	Controls: rowHealth.and("nist-800-190", "4.1.2").cis("4.6"),
	Kind:     inventory.Image,
	Eval:     evalImageHealthcheck,
}

// Test is empty (none, or "inherit", of which nothing is left in a built
// image), ["NONE"], ["CMD", args…] or ["CMD-SHELL", script]: Engine API,
// HealthConfig.
func evalImageHealthcheck(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	check, fact, ok := configKey(o, inventory.ImageHealthcheck)
	if !ok {
		return audit.Untold(fact)
	}
	return judgeProbe(check, fact)
}

// judgeProbe judges a health check as an image or a Dockerfile has it.
func judgeProbe(check map[string]any, fact inventory.Fact) audit.Answer {
	var test []string
	for _, w := range asList(check["Test"]) {
		test = append(test, asString(w))
	}
	switch {
	case len(test) == 0:
		return audit.Bad(fact).Because(lang.Text{En: "no HEALTHCHECK", Es: "sin HEALTHCHECK"})
	case test[0] == "NONE":
		return audit.Bad(fact).Because(lang.Text{En: "HEALTHCHECK NONE turns the one of the base image off", Es: "HEALTHCHECK NONE apaga el de la imagen base"})
	case alwaysTrue(test):
		return audit.Bad(fact).Because(lang.Text{En: "the probe cannot fail", Es: "la prueba no puede fallar"})
	}
	return audit.Good(fact)
}

// alwaysTrue reports whether a probe succeeds whatever the service does, such
// as "true" or "test -e /proc/1/stat".
func alwaysTrue(test []string) bool {
	cmds := shell.Parse(strings.Join(test[1:], " "))
	for _, c := range cmds {
		as := strings.Join(c.Args(), " ")
		switch n := c.Name(); {
		case n == "true" || n == ":" || n == "echo":
		case n == "exit" && (as == "" || as == "0"):
		case (n == "test" || n == "[") && strings.Contains(as, "/proc/1"):
		default:
			return false
		}
	}
	return true
}
