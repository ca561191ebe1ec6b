package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var guardDoor = &audit.Check{
	ID:    "guard-door",
	Title: lang.Text{En: "Requests to the engine are not judged", Es: "Las peticiones al motor no se juzgan"},
	Why: lang.Text{
		En: "Whoever reaches the engine's socket may start a container that is the host. What the policy says of admission holds only where " +
			"each request is judged before the engine does it: at its public socket, and by its plugin for all other ways.",
		Es: "Quien llega al socket del motor puede arrancar un contenedor que es el anfitrión. Lo que la política dice de la admisión rige solo donde " +
			"cada petición se juzga antes de que el motor la cumpla: en su socket público, y por su complemento para las demás vías.",
	},
	Remedy: lang.Text{
		En: "Start the guard (casco guard units | sh), then put the engine behind its door: casco plan --check guard-door. The way out, when all else is dead: casco guard off.",
		Es: "Arranque la guardia (casco guard units | sh) y luego ponga el motor tras su puerta: casco plan --check guard-door. La salida, cuando todo lo demás ha muerto: casco guard off.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security, audit.Risk},
	Controls: rowEngineAccess,
	Kind:     inventory.Guard,
	Policy:   []string{"admission.mode"},
	About: func(s *inventory.Snapshot, o *inventory.Object) bool {
		if _, _, door := inventory.GuardDoor.Of(o); !door {
			return false
		}
		_, said := admissionMode(s)
		return said
	},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		running, there, ok := inventory.GuardRunning.Of(o)
		if !ok {
			return audit.Untold(there)
		}
		door, wanted, _ := inventory.GuardDoor.Of(o)
		plugin, asked, ok := inventory.GuardPlugin.Of(o)
		if !ok {
			return audit.Untold(asked)
		}
		mode, _ := admissionMode(s)
		evidence := []inventory.Fact{wanted, asked, there, mode}
		if !door || !plugin {
			return audit.Bad(evidence...).Wanting(
				audit.Want{Ref: o.Ref, Field: inventory.GuardDoor.Path, Value: true}, audit.Want{Ref: o.Ref, Field: inventory.GuardPlugin.Path, Value: true})
		}
		if !running {
			return audit.Bad(evidence...).Because(lang.Text{
				En: "no guard is at work, and the engine refuses what its plugin does not judge: start it, or casco guard off",
				Es: "no hay ninguna guardia en marcha, y el motor rechaza lo que su complemento no juzga: arránquela, o casco guard off",
			})
		}
		for _, f := range []struct {
			field inventory.Field[bool]
			not   lang.Text
		}{
			{inventory.GuardJudgedDoor, lang.Text{En: "a request at the public socket was not judged", Es: "una petición al socket público no se juzgó"}},
			{inventory.GuardJudgedPlugin, lang.Text{En: "the engine does not ask its plugin", Es: "el motor no pregunta a su complemento"}},
		} {
			judged, fact, ok := f.field.Of(o)
			if !ok && o.Unread["Judged"] != "" {
				return audit.Untold(fact)
			}
			if !ok { // nothing was wanted of it yet
				continue
			}
			if evidence = append(evidence, fact); !judged {
				return audit.Bad(evidence...).Because(f.not)
			}
		}
		if until, fact, ok := inventory.GuardGlass.Of(o); ok && until != "" {
			return audit.Bad(append(evidence, fact)...).Because(lang.Text{
				En: "root broke the glass: until %s nothing is refused", Es: "root rompió el cristal: hasta %s nada se rechaza",
			}.F(until))
		}
		for _, f := range []inventory.Field[[]string]{inventory.GuardPast, inventory.GuardOthers} {
			if list, fact, ok := f.Of(o); ok && len(list) > 0 {
				evidence = append(evidence, fact)
			}
		}
		return audit.Good(evidence...)
	},
}

// admissionMode is what the policy says of requests, if it does.
func admissionMode(s *inventory.Snapshot) (inventory.Fact, bool) {
	for _, p := range s.Of(inventory.Policy) {
		if mode, fact, ok := inventory.PolicyAdmission.Of(p); ok && mode != "" {
			return fact, true
		}
	}
	return inventory.Fact{}, false
}
