package admission

import (
	"strconv"

	"casco/lang"
)

// A Refusal is one reason why a request is not passed on, with what would make
// it pass.
type Refusal struct {
	Rule   string    // ID of a check, or of a rule of this package: see Rules
	Reason lang.Text // what is wrong with it
	Fix    lang.Text // the flag or line that would make it pass
	Path   string    // what of the policy says so: "admission.mode", "registries.allow"
	// Observed: it is only noted, for its mode is observe.
	Observed bool
	Status   int // of HTTP: 400, 403, 404, 413, 415
}

func (r *Refusal) Error() string { return r.Rule + ": " + r.Reason.En }

func refused(rule string, status int, reason, fix lang.Text) *Refusal {
	return &Refusal{Rule: rule, Reason: reason, Fix: fix, Status: status}
}

// printable shows a text that came from a client.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
