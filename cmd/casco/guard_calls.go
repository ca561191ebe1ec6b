package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"casco/guard/admission"
	"casco/host/authz"
	"casco/host/door"
	"casco/internal/apicall"
	"casco/keeper"
	"casco/lang"
	"casco/loop/inventory"
	"casco/store"
)

// A weighed is what the judge of a call leaves for who writes it down.
type weighed struct {
	admission.Decision                // without its body
	met                map[string]met // containers that were read for it, by what the request calls them
}

// A met is a container that was read.
type met struct{ name, id string }

// weigh keeps of a decision what is written down: it may wait for long.
func weigh(out admission.Decision, w world) *weighed {
	out.Forward, out.Edit = nil, nil
	kept := &weighed{out, map[string]met{}}
	for named, o := range w.met {
		id, _, _ := inventory.ContainerID.Of(o)
		kept.met[named] = met{o.Ref.Name, id}
	}
	return kept
}

// An outcome is what became of a call, at the door or behind it.
type outcome struct {
	request apicall.Request
	allowed bool
	note    any // a *weighed, or nil if nobody judged in time or nothing is to be noted
	began   time.Time
	status  int
	answer  []byte
	trouble error
	full    bool // it was refused for want of room, and not judged
}

// atDoor is told what became of a request at the door. One that took over its
// connection is written down when it did: it may last for days.
func (d *doorman) atDoor(r door.Record) {
	d.g.lose(r.Lost)
	if w, ok := r.Verdict.Note.(*weighed); ok && (r.Over || !r.Switched) {
		d.memory.ends(w)
	}
	if r.Lost > 0 {
		d.memory.ends(nil)
	}
	if r.Switched && r.Over {
		return
	}
	d.note(outcome{r.Request, r.Verdict.Allow, r.Verdict.Note, r.Began, r.Status, r.Answer, r.Err, r.Full})
}

// atPlugin is told what became of a request that the engine asked about. What
// the door let through, the door writes down: it knows who asked.
func (d *doorman) atPlugin(r authz.Record) {
	w, ok := r.Verdict.Note.(*weighed)
	if ok {
		d.memory.ends(w)
	}
	if ok && r.Verdict.Allow && r.Request.Pass == d.pass {
		d.roll.count(w, -1)
		return
	}
	if ok && !r.Verdict.Allow && r.Request.Pass == d.pass {
		d.g.happened(keeper.Event{Time: r.Began.UTC(), Kind: keeper.Disagree, Text: lang.Text{
			En: "the judges disagree: the door let %s pass, and the engine's plugin refuses it: %s", Es: "los jueces discrepan: la puerta dejó pasar %s, y el complemento del motor lo rechaza: %s",
		}.F(short(w.Route.Text()), w.Rule)})
	}
	d.note(outcome{r.Request, r.Verdict.Allow, r.Verdict.Note, r.Began, r.Status, r.Answer, r.Err, r.Full})
}

// keepAnswer is how much of an answer says what was made: an ID, and for a
// volume all that it is.
const keepAnswer = 4 << 10

// note writes down a call that asks for a change or for contents, and every
// refusal.
func (d *doorman) note(o outcome) {
	w, _ := o.note.(*weighed)
	if o.full {
		d.full.Add(1)
	}
	if w == nil {
		w = &weighed{}
		if o.allowed && !o.full || o.trouble == nil || o.status == 0 || o.request.Method == "" {
			return // nothing was asked, or its client left before it was
		}
		w.Status = o.status
	} else if w.Allow && w.Rule == "" && !w.changes() {
		return
	}
	e := d.decision(o, w)
	d.roll.done(w, e)
	if !d.g.tally.takes(e, time.Now()) {
		return
	}
	d.g.noted(e)
	if l := d.g.looker.Load(); l != nil && e.Call.Made && w.Route.Endpoint.Class == admission.Create {
		if err := l.letIn.put(e.Call.ID, agreement{l.policy.Load().Digest, o.request.Via, w.Against}); err != nil {
			d.g.log.Error("what was let in is not kept", "container", e.Call.ID, "err", err)
		}
	}
	if e.What != store.Allowed {
		d.g.log.Warn("admission", "what", e.What, "rule", w.Rule, "request", e.Call.Request, "by", callerText(o.request.Caller))
	}
}

func (w *weighed) changes() bool { return w.Route.Endpoint != nil && w.Route.Endpoint.Changes() }

// decision is a call as the ledger has it.
func (d *doorman) decision(o outcome, w *weighed) store.Decision {
	c := &store.Call{At: o.began.UTC(), Caller: d.caller(o.request.Caller), Excepted: w.Excepted}
	e := store.Decision{By: store.Admission, What: store.Allowed, Call: c}
	switch {
	case !w.Allow:
		e.What = store.Refused
	case w.Observed:
		e.What = store.Observed
	}
	if w.Allow {
		c.Status = o.status
	}
	if o.trouble != nil {
		c.Trouble = short(lang.Say(o.trouble, lang.English))
	}
	if of := w.Route.Endpoint; of != nil {
		c.Endpoint, c.Request = of.String(), short(w.Route.Text())
	} else {
		path, _, _ := strings.Cut(o.request.URI, "?")
		c.Request = short(o.request.Method + " " + path)
	}
	c.Refusals = refusals(w.Refusals)
	for _, m := range w.Mutations {
		c.Added = append(c.Added, store.Addition{Field: m.Field, Value: short(m.Value), Path: m.Path})
	}
	d.name(&e, o, w)
	return e
}

// refusals are what rules have against something, as the ledger has it.
func refusals(all []admission.Refusal) (out []store.Refusal) {
	for _, r := range all[:min(len(all), mostRefusals)] {
		out = append(out, store.Refusal{Rule: r.Rule, Reason: short(r.Reason.En), ReasonEs: short(r.Reason.Es), Path: r.Path, Observed: r.Observed})
	}
	return out
}

// An entry of the ledger has 64 KiB, and whoever asks chooses what is in it.
const (
	mostText     = 300 // bytes
	mostRefusals = 20
)

// short is the beginning of a text that somebody else wrote.
func short(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= mostText {
		return s
	}
	cut := mostText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func (d *doorman) caller(c apicall.Caller) store.Caller {
	number := func(n uint32) int64 {
		if n == apicall.NoID {
			return -1
		}
		return int64(n)
	}
	out := store.Caller{
		UID: number(c.UID), GID: number(c.GID), LoginUID: c.LoginUID, PID: c.PID, Unit: short(c.Unit), Container: c.Container, Userns: c.Userns, Certificate: short(c.TLSName), Via: c.Via,
	}
	if c.Container != "" && c.Container != apicall.Unknown {
		out.ContainerID = c.Container
		if name := d.roll.name(c.Container); name != "" {
			out.Container = name
		}
	}
	return out
}

// name says what a call is about and what it made.
func (d *doorman) name(e *store.Decision, o outcome, w *weighed) {
	c, engine := e.Call, inventory.Ref{Kind: inventory.Daemon, Name: d.g.engine}
	ref := w.Object
	switch {
	case ref.Kind == inventory.Container:
		ref.Name, c.ID = d.container(ref.Name, w)
	case w.Route.Endpoint != nil && strings.HasPrefix(w.Route.Endpoint.Path, "/exec/{id}"):
		c.Exec = w.Route.ID
		if c.ID = d.execOf(c.Exec); c.ID != "" {
			ref = inventory.Ref{Kind: inventory.Container}
			ref.Name, c.ID = d.container(c.ID, w)
		}
	}
	if made := madeIn(o.answer); w.Allow && w.Route.Endpoint != nil && o.status/100 == 2 && made != "" {
		switch w.Route.Endpoint.Path {
		case "/containers/{id}/exec":
			c.Exec = made
		case "/volumes/create":
			ref, c.ID, c.Made = inventory.Ref{Kind: inventory.Volume, Name: made}, made, true
		case "/containers/create":
			c.ID, c.Made = made, true
			if ref = (inventory.Ref{Kind: inventory.Container, Name: w.Object.Name}); ref.Name == "" {
				ref.Name = d.given(made)
			}
		case "/networks/create", "/services/create", "/commit":
			c.ID, c.Made = made, true
		}
	}
	if w.Other != (inventory.Ref{}) {
		if w.Other.Kind == inventory.Container {
			w.Other.Name, _ = d.container(w.Other.Name, w)
		}
		c.With = short(w.Other.String())
	}
	if e.Ref = short(ref.String()); ref.Name == "" {
		e.Ref = engine.String()
	} else {
		c.Engine = d.g.engine
	}
}

// madeIn is the ID in an answer of the engine, "" if there is none. A volume has
// its name (Engine API 1.41: ContainerCreateResponse, IdResponse, Volume, …).
func madeIn(answer []byte) string {
	var a struct{ ID, Name string } // encoding/json takes Id for ID
	if len(answer) == 0 || json.Unmarshal(answer, &a) != nil {
		return ""
	}
	if a.ID == "" {
		return short(a.Name)
	}
	return short(a.ID)
}

// container is what a container is called that a request names by a name, an
// ID or the beginning of one, and its full ID; as it was named if it is not
// known.
func (d *doorman) container(named string, w *weighed) (name, id string) {
	if m, has := w.met[named]; has {
		return m.name, m.id
	}
	return d.roll.find(named)
}

// lookTime is how long the engine may take to say what something is called.
const lookTime = 2 * time.Second

// given is the name that the engine gave a container, or the beginning of its
// ID if that is all that is known of it.
func (d *doorman) given(id string) string {
	if name := d.roll.name(id); name != "" {
		return name
	}
	var c struct{ Name string }
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if err := d.client.Call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &c); err != nil || c.Name == "" {
		return id[:min(len(id), 12)]
	}
	return strings.TrimPrefix(c.Name, "/")
}

// execOf is the container that a command was made for; "" if nobody knows any
// more.
func (d *doorman) execOf(exec string) string {
	if id := d.roll.exec(exec); id != "" {
		return id
	}
	var e struct{ ContainerID string }
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if err := d.client.Call(ctx, http.MethodGet, "/exec/"+exec+"/json", nil, &e); err != nil {
		return ""
	}
	return e.ContainerID
}
