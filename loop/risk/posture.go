package risk

import (
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Posture is how far a host conforms, and what of its failures somebody has
// accepted. Accepted is a part of Fail, shown beside it: to accept more changes
// no other number.
type Posture struct {
	audit.Conformance
	Accepted int
}

// PostureOf counts findings as audit.Conform does.
func PostureOf(fs []audit.Finding, x Exceptions) Posture {
	p := Posture{Conformance: audit.Conform(fs)}
	for _, f := range fs {
		if _, ok := x.Of(f); ok && f.Other == (inventory.Ref{}) {
			p.Accepted++
		}
	}
	return p
}

// AcceptedShare is the share of the questions whose failure is accepted.
func (p Posture) AcceptedShare() float64 {
	if p.N() == 0 {
		return 0
	}
	return float64(p.Accepted) / float64(p.N())
}
