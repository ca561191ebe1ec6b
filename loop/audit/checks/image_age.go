package checks

import (
	"fmt"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// maxImageAge is how old an image may grow before it counts as not patched.
// The number is our choice: PCI DSS 4.0.1, 6.3.3 gives a month for critical
// patches, and a release may need another one.
const maxImageAge = 60 * 24 * time.Hour

var imageAge = &audit.Check{
	ID:    "image-age",
	Title: lang.Text{En: "Image is too old to hold current patches", Es: "La imagen es demasiado vieja para tener los parches actuales"},
	Why: lang.Text{
		En: "An image is good for weeks: what was found in its packages since it was built is open in every container of it.",
		Es: "Una imagen sirve unas semanas: lo hallado en sus paquetes desde que se construyó está abierto en todos sus contenedores.",
	},
	Remedy: lang.Text{
		En: "Build it again on a current base without cache, or pull the current one, and create its containers anew; do not patch inside a container.",
		Es: "Constrúyala de nuevo sin caché sobre una base actual, o baje la vigente, y recree sus contenedores; no parchee dentro de un contenedor.",
	},
	Severity: audit.Medium,
	Domains:  changes,
	Controls: rowImageFlaws.cis("4.4"),
	Kind:     inventory.Image,
	Policy:   []string{inventory.PolicyImageMaxAge.Path},
	Eval:     evalImageAge,
}

func evalImageAge(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	text, fact, ok := inventory.ImageCreated.Of(o)
	if !ok {
		return audit.Untold(fact)
	}
	age, what := ageOf(text, s.Taken)
	days := int(age / (24 * time.Hour))
	most, facts := imageAgeOf(s, fact)
	switch {
	case what == dateFuture:
		return audit.Bad(fact).Because(lang.Text{
			En: "its date lies in the future: it is forged, or a clock is wrong, and its age cannot be watched",
			Es: "su fecha está en el futuro: es falsa o un reloj está mal, y no se puede vigilar su edad",
		})
	case what != dateReal:
		return audit.Untold(fact).Because(lang.Text{
			En: "its date is none: the builder wrote a fixed one, or it is forged; look at the source of the image for its age",
			Es: "su fecha no es tal: el constructor puso una fija, o es falsa; busque la edad en el origen de la imagen",
		})
	case age > most:
		return audit.Bad(facts...).Because(lang.Text{
			En: fmt.Sprintf("%d days old, more than %d", days, int(most.Hours()/24)),
			Es: fmt.Sprintf("tiene %d días, más de %d", days, int(most.Hours()/24)),
		})
	}
	return audit.Good(facts...)
}

// imageAgeOf is how old an image may be, by the policy or else by us.
func imageAgeOf(s *inventory.Snapshot, created inventory.Fact) (time.Duration, []inventory.Fact) {
	text, line, ok := inventory.PolicyImageMaxAge.Of(s.Find(inventory.PolicyRef))
	if d, read := lasting(text); ok && read {
		return d, []inventory.Fact{created, line}
	}
	return maxImageAge, []inventory.Fact{created}
}

// A dating says what a date of the engine is worth.
type dating uint8

const (
	dateNone   dating = iota // no date, or one that a reproducible build wrote
	dateReal                 // a date that can be true
	dateFuture               // later than the snapshot
)

var (
	// Nothing is older than Docker's first release, 0.1.0 of 2013-03-23. Builders
	// that want equal bytes write 0001-01-01, 1970-01-01 or 1980-01-01.
	firstDocker = time.Date(2013, 3, 23, 0, 0, 0, 0, time.UTC)
	// Clocks of a build machine and of a host may differ by this much.
	clockSkew = time.Hour
)

// ageOf returns how old what is dated text (RFC 3339) was at now.
func ageOf(text string, now time.Time) (time.Duration, dating) {
	t, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil || t.Before(firstDocker) || now.IsZero():
		return 0, dateNone
	case t.After(now.Add(clockSkew)):
		return 0, dateFuture
	}
	return now.Sub(t), dateReal
}
