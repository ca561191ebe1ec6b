// Package inventory says what is on a host.
//
// A host is a set of objects: containers, images, files, the daemon, the
// kernel. An object is kept as its source gave it: a container's fields carry
// the names of the Docker Engine API, a sysctl carries the name of the sysctl.
// Nothing is renamed on the way, so a word found in a report can be searched
// for, as it is, in this code and in the manual of its source.
//
// Reading can fail in part. What could not be read is a Gap, an entry in
// Object.Unread, or a Fact with Err set. It is never a zero value, and a field
// that an older engine does not send is absent, not false.
//
// The package decides nothing and touches nothing: sources live under host/.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"casco/lang"
)

// A Kind is a class of objects that have the same fields. See kinds.go.
type Kind string

// A Ref names one object of a host by what it is called, not by an ID, so that
// it survives a re-creation: container/web1, file//etc/docker/daemon.json.
type Ref struct {
	Kind Kind
	Name string
}

func (r Ref) String() string { return string(r.Kind) + "/" + r.Name }

// ParseRef is the inverse of Ref.String.
func ParseRef(s string) (Ref, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || kind == "" || name == "" {
		return Ref{}, lang.Errorf(lang.Text{En: "%q is not KIND/NAME, for example container/web1", Es: "%q no es KIND/NAME, por ejemplo container/web1"}, s)
	}
	return Ref{Kind(kind), name}, nil
}

// MarshalText makes a Ref a JSON string.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Ref) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRef(string(b))
	return err
}

// An Object is one thing on the host, as its source described it.
type Object struct {
	Ref    Ref            `json:"ref"`
	Source string         `json:"source"` // how it was read: "GET /v1.41/containers/web1/json"
	Read   time.Time      `json:"read"`   // when, UTC
	Fields map[string]any `json:"fields"` // decoded JSON (numbers are json.Number), names untouched

	// Sources names, for a field that did not come from Source, where it did
	// come from: {"Effective": "/proc/4711"}. It holds for all below the path.
	Sources map[string]string `json:"sources,omitempty"`
	// Unread says, for a top-level field that should be there and is not, why;
	// or for a path, where a part of one is missing: "Effective.Label".
	Unread map[string]string `json:"unread,omitempty"`
}

// A Fact is one field of one object: the smallest thing that can be evidence.
type Fact struct {
	Ref    Ref       `json:"ref"`
	Field  string    `json:"field"` // "HostConfig.Privileged"
	Value  any       `json:"value,omitempty"`
	Err    string    `json:"err,omitempty"` // why there is no value
	Source string    `json:"source"`
	Read   time.Time `json:"read"`
}

func (f Fact) String() string {
	if f.Err != "" {
		return fmt.Sprintf("%s %s: %s", f.Ref, f.Field, f.Err)
	}
	return fmt.Sprintf("%s %s = %v", f.Ref, f.Field, f.Value)
}

// Absent is the Err of a fact whose object simply lacks the field.
const Absent = "absent"

// Present is what a Difference says of an object that is there.
const Present = "present"

// A Gap is a part of the host that could not be read.
type Gap struct {
	Ref    Ref    `json:"ref,omitzero"` // zero if the gap is not about one object
	Source string `json:"source"`
	Reason string `json:"reason"`
}

// A Source reads one part of a host into s. Sources run in the order in which
// they are wired, and a later one may look at what the earlier ones read (the
// processes of a container need the container). An error becomes a Gap; what
// was added before it stays.
type Source interface {
	Name() string
	Read(ctx context.Context, s *Snapshot) error
}

// A Snapshot is one reading of one host.
type Snapshot struct {
	Host    string // the host's name
	Taken   time.Time
	Objects []*Object // sorted by kind, then name, once Take has returned
	Gaps    []Gap

	// What objects are asked for by. index and kinds are nil until asked for and
	// follow what is added; guests are nil after that.
	index  map[Ref]*Object
	kinds  map[Kind][]*Object
	guests map[string][]*Object // containers by the ID or name of the one whose network they use
}

// Sort puts objects and gaps into their order, so that equal hosts give equal
// bytes.
func (s *Snapshot) Sort() {
	s.index, s.kinds, s.guests = nil, nil, nil
	slices.SortFunc(s.Objects, func(a, b *Object) int { return a.Ref.compare(b.Ref) })
	slices.SortFunc(s.Gaps, func(a, b Gap) int {
		return cmp.Or(a.Ref.compare(b.Ref), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
	})
}

func (r Ref) compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Name, o.Name))
}

// Add puts o into s. A second object with the same Ref replaces the first.
func (s *Snapshot) Add(o *Object) {
	s.init()
	s.guests = nil
	if old, ok := s.index[o.Ref]; ok {
		*old = *o
		return
	}
	s.Objects = append(s.Objects, o)
	s.index[o.Ref] = o
	s.kinds[o.Ref.Kind] = append(s.kinds[o.Ref.Kind], o)
}

// Find returns the object named r, or nil. The caller may not change it.
func (s *Snapshot) Find(r Ref) *Object {
	if s == nil {
		return nil
	}
	s.init()
	return s.index[r]
}

// Of returns the objects of one kind, in order. The caller may not change the
// slice.
func (s *Snapshot) Of(k Kind) []*Object {
	if s == nil {
		return nil
	}
	s.init()
	return s.kinds[k]
}

// Guests returns the containers that were told to use the network of container
// o (--network container:NAME), in order.
func (s *Snapshot) Guests(o *Object) []*Object {
	if s == nil {
		return nil
	}
	byName := s.Share().guests[o.Ref.Name]
	id, _, ok := ContainerID.Of(o)
	if !ok {
		return byName
	}
	return slices.Concat(s.guests[id], byName)
}

// Share makes s ready to be read by several goroutines at once, until it is
// changed. It returns s.
func (s *Snapshot) Share() *Snapshot {
	s.init()
	if s.guests != nil {
		return s
	}
	s.guests = map[string][]*Object{}
	for _, o := range s.kinds[Container] {
		mode, _, _ := NetworkMode.Of(o)
		if target, ok := strings.CutPrefix(mode, "container:"); ok {
			s.guests[target] = append(s.guests[target], o)
		}
	}
	return s
}

func (s *Snapshot) init() {
	if s.index != nil {
		return
	}
	s.index = make(map[Ref]*Object, len(s.Objects))
	s.kinds = map[Kind][]*Object{}
	for _, o := range s.Objects {
		s.index[o.Ref] = o
		s.kinds[o.Ref.Kind] = append(s.kinds[o.Ref.Kind], o)
	}
}

// Clone returns a copy of o whose Fields may be changed.
func (o *Object) Clone() *Object {
	c := *o
	c.Fields, _ = cloneValue(o.Fields).(map[string]any)
	return &c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = cloneValue(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = cloneValue(e)
		}
		return l
	}
	return v
}
