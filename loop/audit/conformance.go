package audit

import "casco/loop/inventory"

// Conformance is the share of answered questions that passed, as the interval
// in which the truth lies: what could not be told might be either. It is never
// one grade, and what a risk decision accepts stays a fail in it.
type Conformance struct {
	Pass, Fail, Unknown, NotApplicable, Manual int
	// Aside is how many of NotApplicable are so because the policy set the
	// check aside.
	Aside int
}

// Conform counts the findings about the engine in use and its host. NotApplicable
// ones are no questions; a Manual one without an answer is as open as an Unknown.
// What is found about exceptions is not counted: it is about decisions, which
// change no number of the host.
func Conform(fs []Finding) (c Conformance) {
	for _, f := range fs {
		if f.Other != (inventory.Ref{}) || f.Ref.Kind == inventory.Exception {
			continue
		}
		switch f.Verdict {
		case Pass:
			c.Pass++
		case Fail:
			c.Fail++
		case Unknown:
			c.Unknown++
		case NotApplicable:
			c.NotApplicable++
			if f.Check.Aside() {
				c.Aside++
			}
		case Manual:
			c.Manual++
		}
	}
	return c
}

// N is the number of questions.
func (c Conformance) N() int { return c.Pass + c.Fail + c.open() }

func (c Conformance) open() int { return c.Unknown + c.Manual }

// Low is the share that passed for certain: pass / n. Zero if n is.
func (c Conformance) Low() float64 { return c.share(c.Pass) }

// High is the share that may have passed: (pass + unknown + manual) / n.
func (c Conformance) High() float64 { return c.share(c.Pass + c.open()) }

// Coverage is the share that could be told: (pass + fail) / n.
func (c Conformance) Coverage() float64 { return c.share(c.Pass + c.Fail) }

func (c Conformance) share(k int) float64 {
	if c.N() == 0 {
		return 0
	}
	return float64(k) / float64(c.N())
}
