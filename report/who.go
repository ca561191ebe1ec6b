package report

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/store"
)

// WhoSchema is the format of what "casco who" prints as JSON.
const WhoSchema = "casco.who/1"

// A Who is what the ledger says of the objects that have, or had, one name.
type Who struct {
	Schema string `json:"schema"`
	Ref    string `json:"ref"`
	Lives  []Life `json:"objects"` // oldest first
	// Asked are requests about the name that came to nothing: refused, or answered
	// with an error, before there was one.
	Asked []Act `json:"asked"`
}

// A Life is one object: of the same name there may have been others before.
type Life struct {
	ID     string    `json:"id,omitempty"` // the engine's, or the runtime's
	Names  []string  `json:"names"`        // all that it was called
	There  *bool     `json:"there"`        // null if no engine was asked
	Made   time.Time `json:"made,omitzero"`
	Origin Origin    `json:"origin"`
	Acts   []Act     `json:"acts"` // oldest first
}

// An Origin says who made an object.
type Origin struct {
	Known bool `json:"known"`
	// By is how it is known: call (that is an Act), change (one of casco's own),
	// service (of a swarm).
	By   string `json:"by,omitempty"`
	What string `json:"what,omitempty"` // the change, the service
	// Why is why it is not known: before-guard, guard-away, past-door, past-engine,
	// no-record.
	Why   string       `json:"why,omitempty"`
	Rogue *store.Rogue `json:"rogue,omitempty"` // what was seen of it when it was met
}

// An Act is one request.
type Act struct {
	Index    int64  `json:"index"` // in the ledger
	Decision string `json:"decision"`
	Ref      string `json:"ref"`
	store.Call
}

// acts are what requests do, by their endpoints.
var acts = map[string]lang.Text{
	"POST /containers/create":                   {En: "created", Es: "creado"},
	"POST /containers/{id}/exec":                {En: "command made", Es: "orden creada"},
	"POST /exec/{id}/start":                     {En: "command run", Es: "orden ejecutada"},
	"POST /containers/{id}/attach":              {En: "attached", Es: "conectado"},
	"GET /containers/{id}/attach/ws":            {En: "attached", Es: "conectado"},
	"PUT /containers/{id}/archive":              {En: "copied into", Es: "copiado dentro"},
	"GET /containers/{id}/archive":              {En: "copied out", Es: "copiado fuera"},
	"GET /containers/{id}/export":               {En: "exported", Es: "exportado"},
	"POST /containers/{id}/start":               {En: "started", Es: "arrancado"},
	"POST /containers/{id}/stop":                {En: "stopped", Es: "parado"},
	"POST /containers/{id}/restart":             {En: "restarted", Es: "rearrancado"},
	"POST /containers/{id}/kill":                {En: "sent a signal", Es: "se envió señal"},
	"POST /containers/{id}/pause":               {En: "paused", Es: "pausado"},
	"POST /containers/{id}/unpause":             {En: "unpaused", Es: "reanudado"},
	"POST /containers/{id}/rename":              {En: "renamed", Es: "renombrado"},
	"POST /containers/{id}/update":              {En: "changed", Es: "cambiado"},
	"DELETE /containers/{id}":                   {En: "removed", Es: "borrado"},
	"POST /networks/{id}/connect":               {En: "connected", Es: "puesto en red"},
	"POST /networks/{id}/disconnect":            {En: "disconnected", Es: "sacado de red"},
	"POST /commit":                              {En: "committed", Es: "hecho imagen"},
	"POST /images/create":                       {En: "pulled", Es: "traída"},
	"POST /images/{name}/tag":                   {En: "tagged", Es: "etiquetada"},
	"POST /images/{name}/push":                  {En: "pushed", Es: "publicada"},
	"GET /images/{name}/get":                    {En: "saved", Es: "guardada"},
	"DELETE /images/{name}":                     {En: "removed", Es: "borrada"},
	"POST /build":                               {En: "built", Es: "construida"},
	"POST /networks/create":                     {En: "created", Es: "creada"},
	"DELETE /networks/{id}":                     {En: "removed", Es: "borrada"},
	"POST /volumes/create":                      {En: "created", Es: "creado"},
	"PUT /volumes/{id}":                         {En: "changed", Es: "cambiado"},
	"DELETE /volumes/{id}":                      {En: "removed", Es: "borrado"},
	"POST /services/create":                     {En: "created", Es: "creado"},
	"POST /services/{id}/update":                {En: "changed", Es: "cambiado"},
	"DELETE /services/{id}":                     {En: "removed", Es: "borrado"},
	"POST /containers/{id}/checkpoints":         {En: "checkpointed", Es: "volcado"},
	"DELETE /containers/{id}/checkpoints/{sub}": {En: "dump removed", Es: "volcado borrado"},
}

// undone are what requests do not do that were refused, or answered with an
// error, where that is not the verb with a "not" before it.
var undone = map[string]lang.Text{
	"POST /containers/{id}/exec":                {En: "command not made", Es: "orden no creada"},
	"POST /exec/{id}/start":                     {En: "command not run", Es: "orden no ejecutada"},
	"POST /containers/{id}/kill":                {En: "no signal sent", Es: "no se envió señal"},
	"DELETE /containers/{id}/checkpoints/{sub}": {En: "dump not removed", Es: "volcado no borrado"},
}

// verb says what a request did, or did not do; named reports whether there is a
// word of its own for it.
func (a Act) verb() (verb lang.Text, named bool) {
	did := a.Decision != store.Refused && a.Status < 400
	verb, named = acts[a.Endpoint]
	if !named {
		verb = lang.Text{En: "done", Es: "hecho"}
		if method, _, _ := strings.Cut(firstNonEmpty(a.Endpoint, a.Request), " "); method == "GET" || method == "HEAD" {
			verb = lang.Text{En: "shown", Es: "mostrado"}
		}
	}
	if not, ok := undone[a.Endpoint]; ok && !did {
		return not, named
	}
	if !did {
		verb = lang.Text{En: "not " + verb.En, Es: "no " + verb.Es}
	}
	return verb, named
}

// unknowns say why nobody knows who made something.
var unknowns = map[string]lang.Text{
	"before-guard": {En: "it was made before requests were judged here", Es: "se hizo antes de que aquí se juzgaran peticiones"},
	"guard-away":   {En: "it was made while no guard judged requests", Es: "se hizo mientras ninguna guardia juzgaba peticiones"},
	"past-door":    {En: "the engine was asked for it past the door: at its own socket, over TCP, or by a program that uses them", Es: "se pidió al motor sin pasar por la puerta: en su propio socket, por TCP, o con un programa que los usa"},
	"past-engine":  {En: "it was made past the engine: by another one, by containerd, or by a runtime", Es: "se hizo sin pasar por el motor: por otro, por containerd o por un runtime"},
	"no-record":    {En: "no request for it is in the ledger", Es: "ninguna petición suya está en el registro"},
}

// UnknownWhy says in words why nobody knows who made something.
func UnknownWhy(why string) lang.Text { return unknowns[why] }

// whoColumn is where what is said of an act begins.
const whoColumn = 18

// Who prints who did what to an object.
func (p Printer) Who(w Who) {
	for i, l := range w.Lives {
		if i > 0 {
			p.Item("", 0, "")
		}
		p.life(w.Ref, l)
	}
	if len(w.Asked) > 0 {
		if len(w.Lives) > 0 {
			p.Item("", 0, "")
		}
		p.Heading(lang.Text{En: "came to nothing", Es: "no llegó a nada"}.In(p.Lang))
		for _, a := range w.Asked {
			p.act(a)
		}
	}
}

func (p Printer) life(ref string, l Life) {
	title := Clean(ref)
	if l.ID != "" {
		title += "  " + Clean(l.ID[:min(len(l.ID), 12)])
	}
	if l.There != nil && !*l.There {
		title += "  " + lang.Text{En: "(gone)", Es: "(ya no está)"}.In(p.Lang)
	}
	p.Heading(title)
	if others := slices.DeleteFunc(slices.Clone(l.Names), func(n string) bool { return n == ref }); len(others) > 0 {
		p.Item(lang.Text{En: "  also called", Es: "  también"}.In(p.Lang), whoColumn, Clean(strings.Join(others, ", ")))
	}
	p.origin(l.Origin, l.Made)
	for _, a := range l.Acts {
		p.act(a)
	}
}

func (p Printer) origin(o Origin, made time.Time) {
	at := ""
	if !made.IsZero() {
		at = made.UTC().Format(whoTime) + " "
	}
	name := lang.Text{En: "  origin", Es: "  origen"}.In(p.Lang)
	switch {
	case o.Known && o.By == "change":
		p.Item(name, whoColumn, at+lang.Text{En: "change %s of casco", Es: "cambio %s de casco"}.F(o.What).In(p.Lang))
	case o.Known && o.By == "service":
		p.Item(name, whoColumn, at+lang.Text{En: "a task of %s, says its label: casco who %[1]s", Es: "una tarea de %s, dice su etiqueta: casco who %[1]s"}.F(Clean(o.What)).In(p.Lang))
	case !o.Known:
		p.Item(name, whoColumn, at+lang.Text{En: "origin unknown: %s", Es: "origen desconocido: %s"}.F(unknowns[o.Why].In(p.Lang)).In(p.Lang))
		if o.Rogue != nil {
			p.Item("", whoColumn, p.rogue(*o.Rogue))
		}
	}
}

const whoTime = "2006-01-02 15:04:05Z"

func (p Printer) rogue(r store.Rogue) string {
	parts := []string{lang.Text{En: "met %s", Es: "visto %s"}.F(r.Seen.UTC().Format(whoTime)).In(p.Lang)}
	for _, f := range []struct {
		name lang.Text
		is   string
	}{
		{lang.Text{En: "at %s", Es: "en %s"}, r.Engine},
		{lang.Text{En: "namespace %s", Es: "espacio %s"}, r.Namespace},
		{lang.Text{En: "runtime %s", Es: "runtime %s"}, r.Runtime},
		{lang.Text{En: "bundle %s", Es: "paquete %s"}, r.Bundle},
		{lang.Text{En: "program %s", Es: "programa %s"}, r.Program},
		{lang.Text{En: "called by %s", Es: "llamado por %s"}, strings.Join(r.Parents, " < ")},
	} {
		if f.is != "" {
			parts = append(parts, f.name.F(Clean(f.is)).In(p.Lang))
		}
	}
	if r.PID != 0 {
		parts = append(parts, fmt.Sprint("pid ", r.PID))
	}
	if r.UID >= 0 {
		parts = append(parts, p.userText(r.UID, r.LoginUID))
	}
	return strings.Join(parts, ", ")
}

// userText names a user, and who logged in if that is another.
func (p Printer) userText(uid, login int64) string {
	text := "uid " + named(uid)
	if login >= 0 && login != uid {
		text += lang.Text{En: ", logged in as %s", Es: ", entró como %s"}.F(named(login)).In(p.Lang)
	}
	return text
}

// named is a user's number with the name that it has on this machine.
func named(uid int64) string {
	n := strconv.FormatInt(uid, 10)
	if u, err := user.LookupId(n); err == nil {
		return n + " (" + Clean(u.Username) + ")"
	}
	return n
}

func (p Printer) act(a Act) {
	verb, named := a.verb()
	name, who := verb.In(p.Lang), p.caller(a.Caller)
	if !named && a.Caller.Via == store.ViaRuntime {
		name, who = lang.Text{En: "last look", Es: "última mirada"}.In(p.Lang), lang.Text{En: "at its final configuration", Es: "a su configuración final"}.In(p.Lang)
	}
	p.Item("  "+name, whoColumn, a.At.UTC().Format(whoTime)+" "+who)
	if !named || a.With != "" {
		p.Item("", whoColumn, Clean(firstNonEmpty(a.With, a.Request)))
	}
	for _, line := range p.decided(a) {
		p.Item("", whoColumn, line)
	}
}

func firstNonEmpty(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

func (p Printer) caller(c store.Caller) string {
	var parts []string
	if c.UID >= 0 {
		parts = append(parts, p.userText(c.UID, c.LoginUID), fmt.Sprint("pid ", c.PID))
	}
	for _, f := range []struct {
		name lang.Text
		is   string
	}{
		{lang.Text{En: "container/%s", Es: "container/%s"}, c.Container},
		{lang.Text{En: "%s", Es: "%s"}, c.Unit},
		{lang.Text{En: "in a user namespace of user %s", Es: "en un espacio de usuarios del usuario %s"}, c.Userns},
		{lang.Text{En: "certificate %s", Es: "certificado %s"}, c.Certificate},
	} {
		if f.is != "" {
			parts = append(parts, f.name.F(Clean(f.is)).In(p.Lang))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, lang.Text{En: "somebody past the door", Es: "alguien sin pasar por la puerta"}.In(p.Lang))
	}
	via := lang.Text{En: "via %s", Es: "por %s"}.F(Clean(c.Via))
	if c.Via == "authz" {
		via = lang.Text{En: "seen by the engine's plugin", Es: "visto por el complemento del motor"}
	}
	return strings.Join(append(parts, via.In(p.Lang)), ", ")
}

// decided says what was decided and what came of it; nothing where it was
// allowed and done.
func (p Printer) decided(a Act) (lines []string) {
	for _, r := range a.Refusals {
		text := lang.Text{En: "refused by %s: %s", Es: "rechazado por %s: %s"}
		if r.Observed {
			text = lang.Text{En: "let through against %s: %s", Es: "se dejó pasar contra %s: %s"}
		}
		lines = append(lines, text.F(r.Rule, Clean(lang.Text{En: r.Reason, Es: firstNonEmpty(r.ReasonEs, r.Reason)}.In(p.Lang))).In(p.Lang))
	}
	if len(a.Excepted) > 0 {
		lines = append(lines, lang.Text{En: "by the exception %s", Es: "por la excepción %s"}.F(Clean(strings.Join(a.Excepted, ", "))).In(p.Lang))
	}
	for _, m := range a.Added {
		lines = append(lines, lang.Text{En: "added %s (%s)", Es: "añadido %s (%s)"}.F(Clean(m.Value), m.Path).In(p.Lang))
	}
	switch {
	case a.Decision == store.Refused && len(a.Refusals) > 0: // that is why, and what was answered
	case a.Status >= 400:
		lines = append(lines, lang.Text{En: "the engine answered %d: it was not done", Es: "el motor respondió %d: no se hizo"}.F(a.Status).In(p.Lang))
	case a.Trouble != "":
		lines = append(lines, Clean(a.Trouble))
	}
	return lines
}
