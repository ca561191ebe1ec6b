package risk

import (
	"slices"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// Formula is the version of the arithmetic below. Values of one version are
// compared with no other: a new one begins a new series, and what was stored
// stays as it was reckoned.
//
//	R = 100 · L · I
//	L = base × exposure × max(0.2, Π(1−e))
//
// base      how likely an attacker who is there makes use of it (bases, BaseOfCVE)
// exposure  how many can be there (exposures)
// e         what each defence takes away, of those whose check passed in the
// .         last run (controls); all of them together at most four fifths
// I         the impact of the worst tier within the blast radius, as the policy
// .         declares it, in (0, 1]
//
// The numbers are judgement, not measurement. They order risks inside one
// priority and do nothing else; due dates come from the decision table.
const Formula = "risk/1"

// atLeast is what is left of a likelihood whatever defends: controls are
// dependent on one another, and all of them have had holes.
const atLeast = 0.2

// bases of a configuration, by its class.
var bases = map[Class]float64{Takeover: 0.90, Escalation: 0.50, Layer: 0.25, Hygiene: 0.05}

// Bases of a published vulnerability: known to be exploited (CISA's KEV
// catalogue), or the probability that it will be within 30 days (FIRST's EPSS),
// which is never zero.
const (
	baseKEV  = 0.95
	leastCVE = 0.02
)

// staleAfter is how old data about exploitation may be. EPSS is reckoned anew
// every day, KEV grows every few.
const staleAfter = 7 * 24 * time.Hour

// A Value is what formula risk/1 makes of inputs.
type Value struct {
	L float64 `json:"likelihood"` // in [0, 1]
	I float64 `json:"impact"`     // in [0, 1]
	R float64 `json:"risk"`       // in [0, 100]
}

// Inputs are all that a value rests on. Every number of the formula stands in
// them, so that a later version of this program reckons the same from them.
type Inputs struct {
	Formula  string    `json:"formula"`
	Class    Class     `json:"class"`
	Base     Base      `json:"base"`
	Exposure Exposure  `json:"exposure"`
	Controls []Control `json:"controls,omitempty"`
	Floor    float64   `json:"floor"` // atLeast
	Impact   Impact    `json:"impact"`
	CVE      *CVE      `json:"cve,omitempty"`
	// Missing names what was not known, or is too old, and was taken as the
	// worst it could be: "exposure", "tier of container/web", "epss".
	Missing []string `json:"missing,omitempty"`
}

// A Base is where a likelihood begins.
type Base struct {
	Value float64 `json:"value"`
	From  string  `json:"from"` // "class takeover", "kev", "epss"
}

// A Control is a defence that would make the scenario less likely.
type Control struct {
	Check   string        `json:"check"`
	Ref     inventory.Ref `json:"ref"`
	Verdict audit.Verdict `json:"verdict"` // of the last run; unknown if it was not put
	E       float64       `json:"e"`       // the share that it takes away
	Counts  bool          `json:"counts"`  // it passed
}

// A CVE is what is known of a published vulnerability. Nil means not known.
type CVE struct {
	ID     string    `json:"id"`
	KEV    *bool     `json:"kev,omitempty"`
	EPSS   *float64  `json:"epss,omitempty"` // in [0, 1]
	PoC    bool      `json:"poc,omitempty"`  // a program that uses it is public
	Remote bool      `json:"remote,omitempty"`
	DataAt time.Time `json:"data_at,omitzero"` // how old the older of the two catalogues is
}

// baseOfCVE gives the base of c and names what was missing at that time.
// Without a catalogue the worst of the range counts.
func baseOfCVE(c CVE, at time.Time) (b Base, missing []string) {
	if c.DataAt.IsZero() || at.Sub(c.DataAt) > staleAfter {
		missing = append(missing, "fresh exploitation data")
	}
	switch {
	case c.KEV != nil && *c.KEV:
		return Base{baseKEV, "kev"}, missing
	case c.KEV == nil:
		return Base{baseKEV, "kev"}, append(missing, "kev")
	case c.EPSS == nil:
		return Base{baseKEV, "epss"}, append(missing, "epss")
	}
	return Base{min(max(*c.EPSS, leastCVE), baseKEV), "epss"}, missing
}

// Inherent is the value without any defence.
func (in Inputs) Inherent() Value { return in.value(nil) }

// Current is the value with the defences that passed in the last run.
func (in Inputs) Current() Value {
	return in.value(func(c Control) bool { return c.Counts })
}

// Residual is the value once the checks in planned pass too.
func (in Inputs) Residual(planned []string) Value {
	return in.value(func(c Control) bool { return c.Counts || slices.Contains(planned, c.Check) })
}

// value is the formula. It reads numbers from in alone.
func (in Inputs) value(counts func(Control) bool) Value {
	left := 1.0
	for _, c := range in.Controls {
		if counts != nil && counts(c) {
			left *= 1 - c.E
		}
	}
	l := in.Base.Value * in.Exposure.Value * max(in.Floor, left)
	return Value{L: l, I: in.Impact.Value, R: 100 * l * in.Impact.Value}
}

// Confidence is low as soon as one input was missing.
func (in Inputs) Confidence() Confidence {
	if len(in.Missing) > 0 {
		return Low
	}
	return Good
}

// A defence is a check that, where it passes, makes the failure of others less
// likely to be used. Of is where it must pass: on the object itself, or on the
// engine.
type defence struct {
	check   string
	e       float64
	against string // check IDs
	why     lang.Text
}

// defences is the table of what counts against what. It lists only what the
// kernel or the engine enforces and casco measures; a rule on paper is worth
// nothing. Seccomp is not listed against capabilities: the engine's profile
// opens with each capability that is added (moby profiles/seccomp).
var defences = []defence{
	{
		"container-user-namespace", 0.7,
		"container-dangerous-capabilities container-sensitive-mount container-devices container-engine-socket container-system-paths container-root-user container-host-pid container-seccomp volume-host-path image-root-user",
		lang.Text{En: "root inside is an ordinary user of the host", Es: "el root interior es un usuario corriente del anfitrión"},
	},
	{
		"container-root-user", 0.5,
		"container-privileged container-dangerous-capabilities container-sensitive-mount container-devices container-engine-socket container-system-paths container-combination container-host-pid container-host-ipc container-seccomp container-capabilities container-user-namespace volume-host-path engine-known-holes",
		lang.Text{En: "an intruder must become root inside first", Es: "un intruso debe volverse root dentro primero"},
	},
	{
		"container-no-new-privileges", 0.3,
		"image-setuid container-capabilities container-exec-root",
		lang.Text{En: "setuid programs give nothing", Es: "los programas setuid no dan nada"},
	},
	{
		"container-capabilities", 0.5,
		"container-root-user container-user-namespace container-seccomp container-no-new-privileges container-host-ipc container-host-uts container-host-cgroup image-root-user image-setuid",
		lang.Text{En: "root inside has no capability to use", Es: "el root interior no tiene capacidades que usar"},
	},
	{
		"container-seccomp", 0.7,
		"kernel-cpu-vulnerabilities sysctl-kernel-unprivileged-bpf-disabled sysctl-user-max-user-namespaces container-root-user container-user-namespace",
		lang.Text{En: "the system calls that most exploits of the kernel need are refused", Es: "se niegan las llamadas que necesita la mayoría de los exploits del núcleo"},
	},
	{
		"container-apparmor", 0.3,
		"container-dangerous-capabilities container-system-paths container-host-cgroup container-seccomp container-selinux",
		lang.Text{En: "the profile refuses mounts and writes to /proc and /sys", Es: "el perfil niega montajes y escrituras en /proc y /sys"},
	},
	{
		"container-selinux", 0.6,
		"container-sensitive-mount container-engine-socket container-dangerous-capabilities container-system-paths container-devices container-seccomp container-apparmor volume-host-path",
		lang.Text{En: "files and sockets of the host carry a label it may not touch", Es: "archivos y sockets del anfitrión llevan una etiqueta que no puede tocar"},
	},
	{
		"container-read-only-root", 0.3,
		"container-published-everywhere container-ssh container-random-port",
		lang.Text{En: "what gets in cannot settle", Es: "lo que entra no puede instalarse"},
	},
	{
		"daemon-authorization-plugin", 0.3,
		"daemon-tls docker-accounts container-engine-socket listener-engine-port",
		lang.Text{En: "each request to the engine is judged", Es: "se juzga cada petición al motor"},
	},
	{
		"daemon-icc", 0.5,
		"container-default-bridge",
		lang.Text{En: "neighbours on the default bridge do not reach it", Es: "los vecinos del puente por defecto no lo alcanzan"},
	},
}
