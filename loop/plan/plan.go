// Package plan says what to do about what package audit found.
//
// Checks want values; a plan gathers the wants of an object that one hand can
// fulfil into one step, so that a container with five defects is created again
// once, not five times. A plan is a value: making one reads and changes
// nothing. What it cannot cure stands in Left, with the reason.
//
// The zero Disruption is Live.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/inventory"
)

// Schema is the version of the plan file's format.
const Schema = "casco/plan/v1"

// A Disruption is what a step does to running work, from least to most.
type Disruption uint8

const (
	Live     Disruption = iota // nothing stops
	Reload                     // the engine reads its configuration again
	Restart                    // the engine restarts; containers too without live-restore
	Recreate                   // the container stops and a new one takes its place
	Reboot                     // the host restarts
)

var disruptions = [...]string{"live", "reload", "restart", "recreate", "reboot"}

func (d Disruption) String() string { return disruptions[d] }

// MarshalText makes a Disruption its word in JSON.
func (d Disruption) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Disruption) UnmarshalText(b []byte) error {
	i := slices.Index(disruptions[:], string(b))
	if i < 0 {
		return lang.Errorf(lang.Text{En: "%q is not one of %s", Es: "%q no es ninguno de %s"}, b, strings.Join(disruptions[:], ", "))
	}
	*d = Disruption(i)
	return nil
}

// Means says that a hand can set a field, and at what price. Each package
// under host/ that has a hand lists its means.
type Means struct {
	Kind  inventory.Kind
	Field string // a field's path; one that ends in a dot stands for all below it
	Owner inventory.Owner
	Hand  string // name of an apply.Hand
	Cost  Disruption
	Undo  lang.Text // how the step is taken back, for people
	// Leaves says what of o is not to the byte as before once a change of the
	// field was taken back, or nothing. It may be nil: all of it is. It is pure.
	Leaves func(o *inventory.Object, field string) lang.Text
	// Reads names fields that the hand builds on without setting them; if one
	// of them changes, the plan is stale.
	Reads []string
	// Refuse says why the hand cannot do it for this object after all, or
	// nothing. It may be nil. It is pure.
	Refuse func(s *inventory.Snapshot, o *inventory.Object, field string) lang.Text
	// Shows is what a step of it changes beneath the fields that it sets: lines of
	// files, sockets. It may be nil. It is pure.
	Shows func(s *inventory.Snapshot, o *inventory.Object) []Set
}

func (m Means) leaves(o *inventory.Object, field string) lang.Text {
	if m.Leaves == nil {
		return lang.Text{}
	}
	return m.Leaves(o, field)
}

func (m Means) can(kind inventory.Kind, owner inventory.Owner, field string) bool {
	return m.Kind == kind && m.Owner == owner &&
		(m.Field == field || strings.HasSuffix(m.Field, ".") && strings.HasPrefix(field, m.Field))
}

// A Set changes one field. From is nil if the object lacks it.
type Set struct {
	Field string `json:"field"`
	From  any    `json:"from"`
	To    any    `json:"to"`
}

// A Step is one act of one hand on one object.
type Step struct {
	Ref    inventory.Ref   `json:"ref"`
	Hand   string          `json:"hand"`
	Cost   Disruption      `json:"cost"`
	Sets   []Set           `json:"sets"`
	Shows  []Set           `json:"shows,omitempty"`  // what that comes to: lines of files, sockets
	For    []Cure          `json:"for"`              // the findings that it cures
	With   []inventory.Ref `json:"with,omitempty"`   // dependents that go through it too
	Breaks []lang.Text     `json:"breaks,omitempty"` // what may stop working
	Undo   lang.Text       `json:"undo"`
}

// A Cure names a finding that a step promises to turn into a pass.
type Cure struct {
	Check string        `json:"check"`
	Ref   inventory.Ref `json:"ref"`
}

// Severing reports whether st may cut off who made it: it changes the engine,
// a swarm, a network, or how the kernel forwards and filters. Such a change
// takes itself back unless somebody confirms in time that the host still
// answers.
func (st Step) Severing() bool {
	switch st.Ref.Kind {
	case inventory.Daemon, inventory.Swarm, inventory.Network, inventory.Guard:
		return true
	case inventory.Sysctl:
		return strings.HasPrefix(st.Ref.Name, "net.")
	}
	return false
}

// To returns the value that the step gives field. ok is false if it gives none.
func (st Step) To(field string) (v any, ok bool) {
	for _, s := range st.Sets {
		if s.Field == field {
			return s.To, true
		}
	}
	return nil, false
}

// A Left is a failed finding that the plan does not cure.
type Left struct {
	Check  string        `json:"check"`
	Ref    inventory.Ref `json:"ref"`
	Reason lang.Text     `json:"reason"`
	Remedy lang.Text     `json:"remedy"`
	// Asks are the values that a person must give before it can be planned.
	Asks []Ask `json:"asks,omitempty"`
}

// An Ask is a question that stands between a finding and its cure.
type Ask struct {
	Ref        inventory.Ref `json:"ref"`
	Field      string        `json:"field"`
	Question   lang.Text     `json:"question"`
	Suggestion any           `json:"suggestion,omitempty"`
}

// A Plan takes a host from one snapshot to a better one.
type Plan struct {
	Schema string    `json:"schema"`
	Host   string    `json:"host"`
	Engine string    `json:"engine,omitempty"` // address of the engine that it is for; a snapshot file does not say
	Taken  time.Time `json:"taken"`            // when the snapshot was
	Steps  []Step    `json:"steps"`
	Left   []Left    `json:"left,omitempty"`
	// Reads is the read-set: the facts on which the plan rests. It is stale
	// once one of them has changed, and only then.
	Reads []Read `json:"reads"`
}

// A Read is one fact of the read-set. Value is nil if the object lacks the field.
type Read struct {
	Ref   inventory.Ref `json:"ref"`
	Field string        `json:"field"`
	Value any           `json:"value"`
}

// ID is a SHA-256 over the plan in canonical JSON, in hex: who approves an ID
// approves these bytes and no others.
func (p *Plan) ID() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // a plan holds only decoded JSON and our own types
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Stale returns the facts of the read-set that have another value in s.
func (p *Plan) Stale(s *inventory.Snapshot) []Read {
	var out []Read
	for _, r := range p.Reads {
		var now any
		if o := s.Find(r.Ref); o != nil {
			now, _, _ = inventory.Lookup(o, r.Field)
		}
		if !inventory.Equal(now, r.Value) {
			out = append(out, Read{r.Ref, r.Field, now})
		}
	}
	return out
}
