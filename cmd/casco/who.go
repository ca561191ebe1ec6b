package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/api"
	"casco/guard/admission"
	"casco/host/docker"
	"casco/lang"
	"casco/loop/inventory"
	"casco/report"
	"casco/store"
)

func whoCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "who",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.whoUnknown(cmd.Context())
			}
			ref, err := inventory.ParseRef(args[0])
			if err != nil {
				return usage(err)
			}
			if !slices.Contains(whoKinds, ref.Kind) {
				return usage(lang.Errorf(lang.Text{En: "who made a %s is not known to the engine: %v", Es: "de un %s no sabe el motor quién lo hizo: %v"}, ref.Kind, whoKinds))
			}
			return a.who(cmd.Context(), ref)
		},
	}, lang.Text{
		En: "Say who made, started, changed, entered or copied into an object of the engine, and what was decided",
		Es: "Dice quién hizo, arrancó, cambió, entró o copió en un objeto del motor, y qué se decidió",
	}, lang.Text{
		En: "Say who made a container, image, network, volume or service, and who started, stopped, changed, entered or copied into it: when, which user, process, " +
			"unit, container or certificate, by which way, what was decided and by which rule, and what the policy added. It reads the ledger and needs no guard at work; " +
			"the engine, if it answers, says what is there now. Of what nobody was seen to make it says \"origin unknown\", and why.\n\n" +
			"Without an object it lists all containers whose origin is unknown.\n\n" +
			"Exit codes: 0 it is known who made it, 1 trouble or no such object, 3 its origin is unknown.",
		Es: "Dice quién hizo un contenedor, imagen, red, volumen o servicio, y quién lo arrancó, paró, cambió, entró o copió en él: cuándo, qué usuario, proceso, " +
			"unidad, contenedor o certificado, por qué vía, qué se decidió y por qué regla, y qué añadió la política. Lee el registro y no necesita guardia en marcha; " +
			"el motor, si responde, dice qué hay ahora. De lo que no se vio hacer a nadie dice «origen desconocido», y por qué.\n\n" +
			"Sin objeto lista todos los contenedores de origen desconocido.\n\n" +
			"Códigos de salida: 0 se sabe quién lo hizo, 1 problema o no hay tal objeto, 3 su origen es desconocido.",
	}, lang.Text{En: "[KIND/NAME]", Es: "[TIPO/NOMBRE]"})
}

// whoKinds are the kinds of objects that requests to an engine make.
var whoKinds = []inventory.Kind{inventory.Container, inventory.Image, inventory.Network, inventory.Volume, inventory.Service}

// A trail is what the ledger and the engine say of all objects.
type trail struct {
	calls  []store.Recorded[store.Decision]
	rogues []store.Recorded[store.Alert]
	steps  []store.Recorded[store.Step]
	judged []store.Recorded[store.Control]
	engine *docker.Client // nil if it does not answer
}

func (a *app) trail(ctx context.Context) (*trail, error) {
	if _, err := a.ledgerTrust(nil); err != nil {
		return nil, err
	}
	b, err := a.book(ctx)
	if err != nil {
		return nil, err
	}
	t := &trail{}
	var err1, err2, err3, err4 error
	t.calls, err1 = b.store.Calls(ctx)
	t.rogues, err2 = b.store.Rogues(ctx)
	t.steps, err3 = store.All[store.Step](ctx, b.store, store.Period{}, "")
	t.judged, err4 = store.All[store.Control](ctx, b.store, store.Period{}, "")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	h, err := a.openHost()
	if err != nil {
		return nil, err
	}
	if h.trouble != nil {
		a.tell(lang.Text{En: "the engine does not answer, so this is what the ledger says alone: %v", Es: "el motor no responde, así que esto es lo que dice solo el registro: %v"}, h.trouble)
	} else {
		t.engine = h.engine
	}
	return t, nil
}

func (a *app) who(ctx context.Context, ref inventory.Ref) error {
	if ref.Kind == inventory.Image {
		ref.Name = admission.TaggedImage(ref.Name)
	}
	t, err := a.trail(ctx)
	if err != nil {
		return err
	}
	var now *here
	if t.engine != nil {
		if now, err = t.now(ctx, ref); err != nil {
			return err
		}
	}
	w := t.gather(ref, now)
	if len(w.Lives)+len(w.Asked) == 0 {
		return notFound(ref)
	}
	if a.format == "json" {
		err = a.json(w)
	} else {
		a.printer().Who(w)
	}
	if n := len(w.Lives); err == nil && n > 0 && !w.Lives[n-1].Origin.Known {
		return quiet(exitFindings)
	}
	return err
}

// A here is an object as the engine has it now.
type here struct {
	id, name string
	made     time.Time
	labels   map[string]string
}

// now asks the engine for an object; nil if there is none.
func (t *trail) now(ctx context.Context, ref inventory.Ref) (*here, error) {
	path := map[inventory.Kind]string{
		inventory.Container: "/containers/%/json", inventory.Image: "/images/%/json", inventory.Network: "/networks/%", inventory.Volume: "/volumes/%", inventory.Service: "/services/%",
	}[ref.Kind]
	escaped := url.PathEscape(ref.Name)
	if ref.Kind == inventory.Image { // the engine's router takes its slashes
		escaped = (&url.URL{Path: ref.Name}).EscapedPath()
	}
	var o struct {
		ID, Name           string // encoding/json takes Id for ID
		Created, CreatedAt string
		Config             struct{ Labels map[string]string }
		Spec               struct{ Name string }
	}
	err := t.engine.Call(ctx, http.MethodGet, strings.Replace(path, "%", escaped, 1), nil, &o)
	if refusal, ok := errors.AsType[*docker.Error](err); ok && (refusal.Status == http.StatusNotFound || refusal.Status == http.StatusServiceUnavailable) {
		return nil, nil // 503: the engine is in no swarm
	}
	if err != nil {
		return nil, err
	}
	h := &here{id: o.ID, name: strings.TrimPrefix(o.Name, "/"), labels: o.Config.Labels}
	switch ref.Kind {
	case inventory.Volume:
		h.id = o.Name
	case inventory.Service:
		h.name = o.Spec.Name
	case inventory.Image: // when it was built says nothing of when it came here
		return &here{name: ref.Name}, nil
	}
	if at := firstSet(o.Created, o.CreatedAt); at != "" {
		if h.made, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// gather takes together what is known of all objects that have, or had, a name
// or an ID. Now is what the engine has by it, nil if there is nothing, or nobody
// was asked.
func (t *trail) gather(ref inventory.Ref, now *here) report.Who {
	w := report.Who{Schema: report.WhoSchema, Ref: ref.String(), Lives: []report.Life{}, Asked: []report.Act{}}
	for _, id := range t.ids(ref, now) {
		w.Lives = append(w.Lives, t.life(ref, id, now))
	}
	for _, c := range t.calls {
		if isAbout(c.Event, ref) && c.Event.Call.ID == "" && failed(c.Event) {
			w.Asked = append(w.Asked, actOf(c))
		}
	}
	return w
}

// ids are those of all objects that have, or had, a name, oldest first. "" is
// one of which no ID is known, and every image: its ID says what is in it, and
// it is the name that was brought here.
func (t *trail) ids(ref inventory.Ref, now *here) (ids []string) {
	meet := func(id string) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, c := range t.calls {
		e := c.Event
		switch {
		case !isAbout(e, ref) || failed(e) && e.Call.ID == "":
		case ref.Kind == inventory.Image:
			meet("")
		case e.Call.ID != "" && e.Call.With != ref.String():
			meet(e.Call.ID)
		case t.of(ref, e.Call.At) == "" && now == nil:
			meet("")
		}
	}
	for _, r := range t.rogues {
		if of := r.Event; of.Ref == ref.String() || ref.Kind == inventory.Container && isID(of.Rogue.ID, ref.Name) {
			meet(firstSet(of.Rogue.ID, of.Ref))
		}
	}
	if now != nil {
		ids = append(slices.DeleteFunc(ids, func(id string) bool { return id == now.id }), now.id)
	}
	return ids
}

// isAbout reports whether a call is about an object by its name or its ID.
func isAbout(d store.Decision, ref inventory.Ref) bool {
	return d.Ref == ref.String() || d.Call.With == ref.String() || strings.HasPrefix(d.Ref, string(ref.Kind)+"/") && isID(d.Call.ID, ref.Name)
}

// failed reports whether a call came to nothing.
func failed(d store.Decision) bool {
	return d.What == store.Refused || d.Call.Status >= http.StatusBadRequest || d.Call.Status == 0 && d.Call.Trouble != ""
}

// isID reports whether text is an ID, or enough of its beginning.
func isID(id, text string) bool { return text == id || len(text) >= 12 && strings.HasPrefix(id, text) }

func actOf(c store.Recorded[store.Decision]) report.Act {
	return report.Act{Index: c.Index, Decision: c.Event.What, Ref: c.Event.Ref, Call: *c.Event.Call}
}

// of is the ID of what a name stood for at a time, by the call that made it; ""
// if no call did.
func (t *trail) of(ref inventory.Ref, at time.Time) (id string) {
	for _, c := range t.calls {
		if e := c.Event; e.Ref == ref.String() && e.Call.Made && !e.Call.At.After(at) {
			id = e.Call.ID
		}
	}
	return id
}

// life is what is known of one object.
func (t *trail) life(ref inventory.Ref, id string, now *here) report.Life {
	l := report.Life{ID: id, Names: []string{}, Acts: []report.Act{}}
	if t.engine != nil {
		there := now != nil && now.id == id
		if l.There = &there; there {
			l.Made = now.made
		}
	}
	byCall := slices.ContainsFunc(t.calls, func(c store.Recorded[store.Decision]) bool {
		return id != "" && c.Event.Call.ID == id && makes(c.Event, ref)
	})
	for _, c := range t.calls {
		e := c.Event
		if e.Call.ID != id || id == "" {
			// One that gives a name alone is about what the name stood for then.
			if !isAbout(e, ref) || e.Call.ID != "" && e.Call.With != ref.String() && ref.Kind != inventory.Image || failed(e) {
				continue
			}
			if of := t.of(ref, e.Call.At); ref.Kind != inventory.Image && of != id && (of != "" || byCall) {
				continue
			}
		}
		l.Acts = append(l.Acts, actOf(c))
		if strings.HasPrefix(e.Ref, string(ref.Kind)+"/") && !slices.Contains(l.Names, e.Ref) {
			l.Names = append(l.Names, e.Ref)
		}
		if makes(e, ref) {
			l.Origin = report.Origin{Known: true, By: "call"}
			if l.Made.IsZero() {
				l.Made = e.Call.At
			}
		}
	}
	if !l.Origin.Known {
		l.Origin = t.origin(ref, id, now)
	}
	return l
}

// makes reports whether a call made the object.
func makes(d store.Decision, ref inventory.Ref) bool {
	if ref.Kind != inventory.Image {
		return d.Call.Made && strings.HasPrefix(d.Ref, string(ref.Kind)+"/")
	}
	if d.What == store.Refused || d.Call.Status >= http.StatusBadRequest || d.Ref != ref.String() {
		return false
	}
	return slices.Contains([]string{"POST /images/create", "POST /build", "POST /commit", "POST /images/{name}/tag"}, d.Call.Endpoint)
}

// nearTime is how far the engine's clock for what it made and that of the ledger
// may be apart.
const nearTime = 10 * time.Second

// origin is how an object came to be that no call in the ledger made.
func (t *trail) origin(ref inventory.Ref, id string, now *here) report.Origin {
	for _, r := range t.rogues {
		if r.Event.Rogue.ID == id && id != "" || r.Event.Ref == firstSet(id, ref.String()) {
			return report.Origin{Why: r.Event.Rogue.Why, Rogue: r.Event.Rogue}
		}
	}
	if now == nil || now.id != id {
		return report.Origin{Why: "no-record"}
	}
	for _, s := range t.steps {
		if s.Event.Ref == ref.String() && s.Event.State == "done" && !s.At.Before(now.made) && s.At.Sub(now.made) < time.Hour {
			return report.Origin{Known: true, By: "change", What: s.Event.Change}
		}
	}
	if service := now.labels["com.docker.swarm.service.name"]; service != "" {
		return report.Origin{Known: true, By: "service", What: inventory.Ref{Kind: inventory.Service, Name: service}.String()}
	}
	return report.Origin{Why: t.whyUnknown(now.made)}
}

// whyUnknown says what judged requests when something was made.
func (t *trail) whyUnknown(made time.Time) string {
	switch {
	case made.IsZero():
		return "no-record"
	case len(t.judged) == 0 || made.Before(t.judged[0].At.Add(-nearTime)):
		return "before-guard"
	}
	at := map[string]bool{}
	for _, c := range t.judged {
		if c.At.After(made) {
			break
		}
		at[c.Event.Name] = c.Event.State == store.Begun
	}
	if at["door"] || at["plugin"] {
		return "past-door"
	}
	return "guard-away"
}

// A nobodys is a container whose origin is unknown, as "casco who" lists it.
type nobodys struct {
	Ref  string    `json:"ref"`
	ID   string    `json:"id,omitempty"`
	Made time.Time `json:"made,omitzero"`
	Seen time.Time `json:"seen,omitzero"`
	Why  string    `json:"why"`
	At   string    `json:"at,omitempty"`
}

// whoUnknown lists the containers whose origin is unknown: of the engine by the
// ledger, of others by what the guard sees.
func (a *app) whoUnknown(ctx context.Context) error {
	t, err := a.trail(ctx)
	if err != nil {
		return err
	}
	out := []nobodys{}
	if t.engine != nil {
		var all []listed
		if err := t.engine.Call(ctx, http.MethodGet, "/containers/json?all=1", nil, &all); err != nil {
			return err
		}
		for _, c := range all {
			ref := inventory.Ref{Kind: inventory.Container, Name: c.ID}
			if len(c.Names) > 0 {
				ref.Name = strings.TrimPrefix(c.Names[0], "/")
			}
			h := &here{id: c.ID, name: ref.Name, made: time.Unix(c.Created, 0).UTC(), labels: c.Labels}
			if l := t.life(ref, c.ID, h); !l.Origin.Known {
				out = append(out, nobodys{Ref: ref.String(), ID: c.ID, Made: h.made, Why: l.Origin.Why})
			}
		}
	}
	st, err := api.NewClient(a.runPath).Status(ctx)
	switch {
	case errors.Is(err, api.ErrNoGuard):
		a.tell(lang.Text{En: "%v: containers that were made past the engine are not seen", Es: "%v: los contenedores hechos sin pasar por el motor no se ven"}, err)
	case err != nil:
		return err
	}
	for _, u := range st.Unknown {
		if !slices.ContainsFunc(out, func(n nobodys) bool { return n.ID == u.ID && u.ID != "" }) {
			out = append(out, nobodys{Ref: u.Ref, ID: u.ID, Seen: u.Seen, Why: u.Why, At: u.Engine})
		}
	}
	if a.format == "json" {
		err = a.json(map[string]any{"origin_unknown": out})
	} else {
		a.printNobodys(out)
	}
	if err == nil && len(out) > 0 {
		return quiet(exitFindings)
	}
	return err
}

func (a *app) printNobodys(all []nobodys) {
	var rows [][]string
	for _, n := range all {
		at := n.Made
		if at.IsZero() {
			at = n.Seen
		}
		rows = append(rows, []string{n.Ref, n.ID[:min(len(n.ID), 12)], at.UTC().Format("2006-01-02 15:04:05Z"), report.UnknownWhy(n.Why).In(a.lang), n.At})
	}
	if len(rows) == 0 {
		return
	}
	a.table([]lang.Text{
		{En: "ORIGIN UNKNOWN", Es: "ORIGEN DESCONOCIDO"},
		{En: "ID", Es: "ID"},
		{En: "SINCE", Es: "DESDE"},
		{En: "WHY", Es: "POR QUÉ"},
		{En: "AT", Es: "EN"},
	}, rows)
}
