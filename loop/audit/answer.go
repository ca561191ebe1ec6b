package audit

import (
	"casco/lang"
	"casco/loop/inventory"
)

// Must is the commonest check: field f must have the value want.
func Must[T comparable](f inventory.Field[T], want T) func(*inventory.Snapshot, *inventory.Object) Answer {
	return func(_ *inventory.Snapshot, o *inventory.Object) Answer {
		got, fact, ok := f.Of(o)
		switch {
		case !ok:
			return Untold(fact)
		case got == want:
			return Good(fact)
		}
		return Bad(fact).Wanting(Want{Ref: o.Ref, Field: f.Path, Value: want})
	}
}

// Good is a Pass on these grounds.
func Good(evidence ...inventory.Fact) Answer { return Answer{Verdict: Pass, Evidence: evidence} }

// Bad is a Fail on these grounds.
func Bad(evidence ...inventory.Fact) Answer { return Answer{Verdict: Fail, Evidence: evidence} }

// Untold is an Unknown: the evidence could not be read.
func Untold(evidence ...inventory.Fact) Answer {
	a := Answer{Verdict: Unknown, Evidence: evidence}
	for _, f := range evidence {
		if f.Err != "" {
			return a.Because(lang.Text{En: f.Field + ": " + f.Err, Es: f.Field + ": " + f.Err})
		}
	}
	return a
}

// Beside is a NotApplicable: the question does not arise, because of the evidence.
func Beside(reason lang.Text, evidence ...inventory.Fact) Answer {
	return Answer{Verdict: NotApplicable, Evidence: evidence, Reason: reason}
}

// Question is a Manual: a person must answer, with the evidence in hand.
func Question(q lang.Text, evidence ...inventory.Fact) Answer {
	return Answer{Verdict: Manual, Evidence: evidence, Reason: q}
}

// Wanting returns a with the wants added.
func (a Answer) Wanting(ws ...Want) Answer {
	a.Wants = append(a.Wants[:len(a.Wants):len(a.Wants)], ws...)
	return a
}

// Because returns a with a reason.
func (a Answer) Because(reason lang.Text) Answer {
	a.Reason = reason
	return a
}

// At returns a with the parts that it is about.
func (a Answer) At(loci ...string) Answer {
	a.Loci = append(a.Loci[:len(a.Loci):len(a.Loci)], loci...)
	return a
}

// Apply returns what value becomes when w is fulfilled. A value that is not a
// list counts as an empty one for Add and Remove.
func (w Want) Apply(value any) any {
	if w.Op == Set {
		return w.Value
	}
	list := []any{}
	switch l := value.(type) {
	case []any:
		list = append(list, l...)
	case []string:
		for _, s := range l {
			list = append(list, s)
		}
	}
	kept := list[:0:0]
	found := false
	for _, e := range list {
		same := inventory.Equal(e, w.Value)
		found = found || same
		if same && w.Op == Remove {
			continue
		}
		kept = append(kept, e)
	}
	if w.Op == Add && !found {
		kept = append(kept, w.Value)
	}
	return kept
}

// Fulfil returns a copy of s in which every want of ws holds. It is how a plan
// judges its own result before anything is done, and how a test proves that
// what a check wants cures what it found.
func Fulfil(s *inventory.Snapshot, ws []Want) *inventory.Snapshot {
	out := &inventory.Snapshot{Host: s.Host, Taken: s.Taken, Gaps: s.Gaps}
	touched := map[inventory.Ref]*inventory.Object{}
	touch := func(ref inventory.Ref) {
		if o := s.Find(ref); o != nil && touched[ref] == nil {
			touched[ref] = o.Clone()
		}
	}
	bridge := inventory.Ref{Kind: inventory.Network, Name: "bridge"}
	for _, w := range ws {
		touch(w.Ref)
		if w.Field == inventory.DaemonICC.Path {
			touch(bridge)
		}
	}
	for _, w := range ws {
		if o := touched[w.Ref]; o != nil {
			was, _, _ := inventory.Lookup(o, w.Field)
			inventory.Put(o.Fields, w.Field, w.Apply(was))
			forget(o, w.Field)
		}
		if o := touched[bridge]; o != nil && w.Field == inventory.DaemonICC.Path {
			inventory.Put(o.Fields, inventory.NetworkOptions.Path, nil) // the engine makes its bridge anew
		}
	}
	for _, o := range s.Objects {
		if c := touched[o.Ref]; c != nil {
			// What the kernel said of the old state, and the label that the
			// engine gave the old one, do not speak for the new.
			if c.Ref.Kind == inventory.Container {
				delete(c.Fields, "Effective")
				delete(c.Fields, inventory.ProcessLabel.Path)
			}
			o = c
		}
		out.Add(o)
	}
	return out
}

// reported names, for a key of an engine's configuration, the field in which
// the engine or a probe says what is in force (GET /info and /version).
var reported = map[string]string{
	"Effective.authorization-plugins": "Info.Plugins.Authorization",
	"Effective.experimental":          "Info.ExperimentalBuild",
	"Effective.hosts":                 "Listeners",
	"Effective.insecure-registries":   "Info.RegistryConfig",
	"Effective.live-restore":          "Info.LiveRestoreEnabled",
	"Effective.log-driver":            "Info.LoggingDriver",
	"Effective.no-new-privileges":     "Info.SecurityOptions",
	"Effective.seccomp-profile":       "Info.SecurityOptions",
	"Effective.selinux-enabled":       "Info.SecurityOptions",
	"Effective.tlsverify":             "Listeners",
	"Effective.userland-proxy":        "Proxies",
	"Effective.userns-remap":          "Info.SecurityOptions",
}

// forget drops what was reported of field before it was changed: it does not
// speak for the new state.
func forget(o *inventory.Object, field string) {
	if said := reported[field]; said != "" && o.Ref.Kind == inventory.Daemon {
		inventory.Put(o.Fields, said, nil)
	}
}
