package checks

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// securityOption looks for name among the security options that the engine
// reports. An option is "name=seccomp,profile=builtin" (GET /info,
// SecurityOptions); value is what stands behind "profile=". ok is false if the
// engine's report was not read.
func securityOption(o *inventory.Object, name string) (value string, on bool, fact inventory.Fact, ok bool) {
	options, fact, ok := inventory.DaemonSecurityOptions.Of(o)
	for _, option := range options {
		got, rest, _ := strings.Cut(strings.TrimPrefix(option, "name="), ",")
		if got == name {
			return strings.TrimPrefix(rest, "profile="), true, fact, ok
		}
	}
	return "", false, fact, ok
}

// rootless reports whether the engine runs without root, and on what grounds.
func rootless(o *inventory.Object) (is bool, fact inventory.Fact, ok bool) {
	if is, fact, ok = inventory.DaemonRootless.Of(o); ok {
		return is, fact, true
	}
	_, is, fact, ok = securityOption(o, "rootless")
	return is, fact, ok
}

// swarmActive reports whether the engine is a member of a swarm.
func swarmActive(o *inventory.Object) (is bool, fact inventory.Fact) {
	state, fact, ok := inventory.DaemonSwarmState.Of(o)
	return ok && state != "" && state != "inactive", fact
}

// onlyAsked reports whether o is the one engine of s whose API was asked: a
// network does not say whose it is, and then it can only be o's.
func onlyAsked(s *inventory.Snapshot, o *inventory.Object) bool {
	asked := 0
	for _, d := range s.Of(inventory.Daemon) {
		if _, _, ok := inventory.DaemonInfo.Of(d); ok {
			asked++
		}
	}
	_, _, ok := inventory.DaemonInfo.Of(o)
	return ok && asked == 1
}

// A heard is a switch of the engine as the engine itself reports it.
type heard struct {
	on   bool
	fact inventory.Fact
	ok   bool
}

// inForce returns the state of a switch: as the engine reports it, or else as
// it is configured. Both are evidence. pending is set if they differ: the
// engine has not read its configuration since.
func inForce(o *inventory.Object, said heard, key inventory.Field[bool]) (on bool, evidence []inventory.Fact, pending, ok bool) {
	set, fact, has := key.Of(o)
	switch {
	case said.ok && has:
		return said.on, []inventory.Fact{said.fact, fact}, said.on != set, true
	case said.ok:
		return said.on, []inventory.Fact{said.fact}, false, true
	case has:
		return set, []inventory.Fact{fact}, false, true
	}
	return false, []inventory.Fact{said.fact, fact}, false, false
}

// mustBe judges a switch of the engine that must be as want says.
func mustBe(o *inventory.Object, said heard, key inventory.Field[bool], want bool, breaks lang.Text) audit.Answer {
	on, evidence, pending, ok := inForce(o, said, key)
	switch {
	case !ok:
		return audit.Untold(evidence...)
	case on == want:
		return audit.Good(evidence...)
	}
	a := audit.Bad(evidence...).Wanting(audit.Want{Ref: o.Ref, Field: key.Path, Value: want, Breaks: breaks})
	if pending {
		a = a.Because(textPending)
	}
	return a
}

var textPending = lang.Text{
	En: "the configuration says otherwise, but the engine has not taken it up: it needs a reload or a restart",
	Es: "la configuración dice otra cosa, pero el motor no la ha tomado: necesita recargar o reiniciar",
}

var textRootless = lang.Text{
	En: "the engine runs without root, where this works in another way",
	Es: "el motor corre sin root, y allí esto funciona de otro modo",
}

// New containers only: measured on Docker 20.10.24 and 29.7.2.
var textOnlyNew = lang.Text{
	En: "Holds for containers created after the engine's restart; those that exist must be created again.",
	Es: "Vale para los contenedores creados tras reiniciar el motor; los que existen deben crearse de nuevo.",
}
