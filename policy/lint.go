package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/signed"
	"casco/signed/image"
)

// A Catalogue is what a policy may name of this program.
type Catalogue struct {
	Checks     []string // IDs
	Rules      []string // IDs of what admission rules on; nil: they are not looked at
	Frameworks []string // IDs
	Kinds      []string // of objects
	Hands      []string
}

// Lint says what is wrong with a policy whose files are in order: what its
// parts say of each other, and of the program. at is the moment at which dates
// are judged. An Error is what would make a rule mean nothing, or could never
// be met.
func Lint(p *Policy, c Catalogue, at time.Time) []Problem {
	l := &linter{p: p, c: c, at: at}
	for _, o := range p.Own {
		l.c.Checks = append(l.c.Checks[:len(l.c.Checks):len(l.c.Checks)], o.ID)
	}
	l.own(c.Checks)
	l.people()
	l.agreement()
	l.tiers()
	l.flows()
	l.lists()
	l.admission()
	l.checks()
	l.changes()
	l.exceptions()
	l.answers()
	l.rest()
	sortProblems(l.problems)
	return slices.Compact(l.problems)
}

type linter struct {
	p        *Policy
	c        Catalogue
	at       time.Time
	problems []Problem
}

func (l *linter) add(s Severity, path string, t lang.Text, args ...any) {
	l.problems = append(l.problems, Problem{l.p.Where(path), s, t.F(args...)})
}

func (l *linter) wrong(path string, t lang.Text, args ...any) { l.add(Error, path, t, args...) }
func (l *linter) odd(path string, t lang.Text, args ...any)   { l.add(Warning, path, t, args...) }

// known wants word to be one of those, and says which is nearest.
func (l *linter) known(path, word string, those []string, what lang.Text) {
	if word == "" || slices.Contains(those, word) {
		return
	}
	best, near := "", 4
	for _, t := range those {
		if d := distance(word, t); d < near {
			best, near = t, d
		}
	}
	if best != "" {
		l.wrong(path, lang.Text{
			En: "there is no " + what.En + " %s; did you mean %s?", Es: "no hay " + what.Es + " %s; ¿quiso decir %s?",
		}, word, best)
		return
	}
	l.wrong(path, lang.Text{En: "there is no " + what.En + " %s", Es: "no hay " + what.Es + " %s"}, word)
}

var (
	aCheckThere  = lang.Text{En: "check", Es: "comprobación"}
	aRuleThere   = lang.Text{En: "rule", Es: "regla"}
	aTierThere   = lang.Text{En: "tier", Es: "nivel"}
	aPersonThere = lang.Text{En: "person", Es: "persona"}
)

func (l *linter) check(path, id string) { l.known(path, id, l.c.Checks, aCheckThere) }

func (l *linter) tier(path, id string) {
	var ids []string
	for _, t := range l.p.Tiers {
		ids = append(ids, t.ID)
	}
	l.known(path, id, ids, aTierThere)
}

// person wants id to be a person of the policy, if it names any.
func (l *linter) person(path, id string) {
	var ids []string
	for _, p := range l.p.People {
		ids = append(ids, p.ID)
	}
	if len(ids) > 0 {
		l.known(path, id, ids, aPersonThere)
	}
}

// unique wants each ID of a list once.
func unique[T any](l *linter, list string, all []T, id func(T) string) {
	seen := map[string]int{}
	for i, v := range all {
		if first, twice := seen[id(v)]; twice {
			l.wrong(item(list, i), lang.Text{En: "%s is there already, in %s", Es: "%s ya está, en %s"}, id(v), l.p.Where(item(list, first)))
			continue
		}
		seen[id(v)] = i
	}
}

func item(list string, i int, keys ...string) string {
	return strings.Join(append([]string{list, strconv.Itoa(i)}, keys...), ".")
}

func (l *linter) own(catalogue []string) {
	unique(l, "own", l.p.Own, func(o OwnCheck) string { return o.ID })
	for i, o := range l.p.Own {
		if slices.Contains(catalogue, o.ID) {
			l.wrong(item("own", i, "id"), lang.Text{En: "casco has a check %s of its own; choose another ID", Es: "casco tiene una comprobación %s propia; elija otro ID"}, o.ID)
		}
		l.known(item("own", i, "object"), o.Kind, l.c.Kinds, lang.Text{En: "kind of object", Es: "clase de objeto"})
	}
}

func (l *linter) people() {
	unique(l, "people", l.p.People, func(p Person) string { return p.ID })
	type place struct{ person, path string }
	keys := map[string]place{}
	for i, p := range l.p.People {
		if len(p.Keys) == 0 && slices.ContainsFunc(p.Roles, func(r Role) bool { return r != Auditor }) {
			l.wrong(item("people", i), lang.Text{En: "%s has a role and no key, and cannot sign", Es: "%s tiene un papel y ninguna clave, y no puede firmar"}, p.ID)
		}
		if len(p.Roles) > 1 && slices.Contains(p.Roles, Auditor) {
			l.odd(item("people", i, "roles"), lang.Text{En: "%s is an auditor: the other roles do not count", Es: "%s es auditor: los otros papeles no cuentan"}, p.ID)
		}
		for j, line := range p.Keys {
			k, _, err := signed.ParseKey(line)
			if err != nil {
				continue // the parser has refused it
			}
			path, print := item("people", i, "keys", strconv.Itoa(j)), k.Fingerprint()
			switch first, twice := keys[print]; {
			case twice && first.person == p.ID:
				l.odd(path, lang.Text{En: "%s has this key twice", Es: "%s tiene esta clave dos veces"}, p.ID)
			case twice:
				l.wrong(path, lang.Text{
					En: "this key is %s's too (%s): it could not say who signed", Es: "esta clave es también de %s (%s): no podría decir quién firmó",
				}, first.person, l.p.Where(first.path))
			default:
				keys[print] = place{p.ID, path}
			}
		}
	}
}

// agreement wants that what must be agreed to can be. Without persons there is
// one operator, and nothing to count.
func (l *linter) agreement() {
	p := l.p
	if len(p.People) == 0 {
		return
	}
	if len(p.Who(Steward)) == 0 {
		l.odd("people", lang.Text{En: "nobody is a steward: nobody can sign this policy, nor the next", Es: "nadie es steward: nadie puede firmar esta política, ni la siguiente"})
	}
	l.quorum("changes.normal", p.Changes.Normal.Approvals, p.Changes.Normal.Roles, p.Changes.Normal.AuthorMayApprove)
	l.quorum("changes.emergency", p.Changes.Emergency.Approvals, p.Changes.Emergency.Roles, false)
	if roles := orRoles(p.Exceptions.Roles, RiskOwner); len(p.Who(roles...)) == 0 {
		l.wrong("exceptions.roles", lang.Text{En: "nobody may grant an exception: no person is %s", Es: "nadie puede conceder una excepción: ninguna persona es %s"}, words(roles))
	}
}

func orRoles(roles []Role, def Role) []Role {
	if len(roles) == 0 {
		return []Role{def}
	}
	return roles
}

// quorum wants so many persons in one of the roles, beside the author.
func (l *linter) quorum(path string, approvals int, roles []Role, author bool) {
	roles, need := orRoles(roles, Approver), max(1, approvals)
	able, authors := l.p.Who(roles...), l.p.Who(Operator)
	if len(authors) == 0 {
		l.wrong("people", lang.Text{En: "nobody is an operator: nobody may plan a change", Es: "nadie es operator: nadie puede planear un cambio"})
		return
	}
	var never []string
	for _, a := range authors {
		n := len(able)
		if !author && slices.Contains(able, a) {
			n--
		}
		if n < need {
			never = append(never, a.ID)
		}
	}
	switch {
	case len(never) == len(authors):
		l.wrong(path, lang.Text{
			En: "%s can never be met: %d approvals of %s are wanted, and there are too few beside the author",
			Es: "%s no se puede cumplir nunca: se quieren %d aprobaciones de %s, y hay muy pocos además del autor",
		}, path, need, words(roles))
	case never != nil:
		l.odd(path, lang.Text{
			En: "%s: a change of %s can never have its %d approvals: too few others are %s",
			Es: "%s: un cambio de %s no puede tener nunca sus %d aprobaciones: muy pocos más son %s",
		}, path, strings.Join(never, ", "), need, words(roles))
	}
}

func words(roles []Role) string {
	var s []string
	for _, r := range roles {
		s = append(s, string(r))
	}
	return strings.Join(s, ", ")
}

func (l *linter) tiers() {
	p := l.p
	unique(l, "tiers", p.Tiers, func(t Tier) string { return t.ID })
	networks := map[string]string{}
	for i, t := range p.Tiers {
		for j, n := range t.Networks {
			path := item("tiers", i, "networks", strconv.Itoa(j))
			if other, twice := networks[n]; twice {
				l.wrong(path, lang.Text{En: "network %s carries tier %s already: one network, one level", Es: "la red %s ya lleva el nivel %s: una red, un nivel"}, n, other)
			}
			networks[n] = t.ID
		}
	}
	var def []int
	for i, a := range p.Assign {
		l.tier(item("assign", i, "tier"), a.Tier)
		l.tier(item("assign", i, "default"), a.Default)
		if a.Default != "" {
			def = append(def, i)
		}
	}
	switch {
	case len(p.Tiers) > 0 && len(def) == 0:
		l.wrong("assign", lang.Text{
			En: "assign has no default: a workload that nothing matches would be in no tier", Es: "assign no tiene default: una carga que nada cumple no estaría en ningún nivel",
		})
	case len(def) > 1:
		l.wrong(item("assign", def[1]), lang.Text{En: "a second default; only the first counts", Es: "un segundo default; solo cuenta el primero"})
	case len(def) == 1 && def[0] != len(p.Assign)-1:
		l.odd(item("assign", def[0]), lang.Text{En: "the default counts last; put it last", Es: "el default cuenta al final; póngalo al final"})
	}
	for _, id := range slices.Sorted(maps.Keys(p.Runtime.Tiers)) {
		l.tier("runtime.tiers."+id, id)
	}
}

// Ends returns the tiers of a flow: "" for an end that is in none. Crossing
// reports whether it leaves a tier, so that somebody must answer for it.
func (f Flow) Ends() (from, to string, crossing bool) {
	from, to = tierPart(f.From), tierPart(f.To)
	return from, to, from != to || from == ""
}

func tierPart(end string) string {
	tier, _, ok := strings.Cut(end, "/")
	if !ok || strings.HasPrefix(end, "egress:") {
		return ""
	}
	return tier
}

func (l *linter) flows() {
	p := l.p
	unique(l, "flows", p.Flows, func(f Flow) string { return f.ID })
	pairs := map[[2]string]int{}
	seen := map[Flow]string{}
	for i, f := range p.Flows {
		from, to, crossing := f.Ends()
		l.tier(item("flows", i, "from"), from)
		l.tier(item("flows", i, "to"), to)
		l.person(item("flows", i, "owner"), f.Owner)
		same := Flow{From: f.From, To: f.To, Port: f.Port}
		if other, twice := seen[same]; twice {
			l.odd(item("flows", i), lang.Text{En: "flow %s says the same as %s", Es: "el flujo %s dice lo mismo que %s"}, f.ID, other)
		}
		seen[same] = f.ID
		if from == "" && to == "" {
			l.wrong(item("flows", i), lang.Text{
				En: "flow %s is between %s and %s: casco rules what goes into containers or out of them", Es: "el flujo %s es entre %s y %s: casco rige lo que entra en contenedores o sale de ellos",
			}, f.ID, f.From, f.To)
		}
		if !crossing {
			continue
		}
		var missing []string
		for key, is := range map[string]bool{"why": f.Why != "", "owner": f.Owner != "", "review": !f.Review.IsZero()} {
			if !is {
				missing = append(missing, key)
			}
		}
		if slices.Sort(missing); missing != nil {
			l.wrong(item("flows", i), lang.Text{En: "crossing %s needs %s", Es: "el cruce %s necesita %s"}, f.ID, strings.Join(missing, ", "))
		}
		if !f.Review.IsZero() && l.at.After(f.Review.End()) {
			l.odd(item("flows", i, "review"), lang.Text{En: "the review of crossing %s was due on %s", Es: "la revisión del cruce %s vencía el %s"}, f.ID, f.Review)
		}
		if from == "" || to == "" {
			continue
		}
		pair := [2]string{min(from, to), max(from, to)}
		pairs[pair]++
		if most := p.Limits.CrossingsPerTierPair; most > 0 && pairs[pair] == most+1 {
			l.wrong(item("flows", i), lang.Text{
				En: "crossing %s is one too many between %s and %s: the limit is %d", Es: "el cruce %s es uno de más entre %s y %s: el límite es %d",
			}, f.ID, pair[0], pair[1], most)
		}
	}
}

func (l *linter) lists() {
	for _, c := range []struct {
		path string
		AllowForbid
	}{
		{"host.packages", l.p.Host.Packages},
		{"host.services", l.p.Host.Services},
		{"host.accounts", l.p.Host.Accounts},
		{"host.ports", l.p.Host.Ports},
	} {
		for i, name := range c.Forbid {
			if slices.Contains(c.Allow, name) {
				l.wrong(item(c.path+".forbid", i), lang.Text{En: "%s is allowed too", Es: "%s también está permitido"}, name)
			}
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(l.p.Registries.Keys)) {
		if text, has := l.p.Files[l.p.Registries.Keys[pattern]]; has {
			if _, err := image.ParseKeys(text); err != nil {
				l.wrong(join("registries.keys", pattern), lang.Text{En: "not all of %s are keys: %v", Es: "no todo en %s son claves: %v"}, l.p.Registries.Keys[pattern], err)
			}
		}
	}
	if slices.Contains(l.p.Registries.Require, "signature") && len(l.p.Registries.Keys) == 0 {
		l.odd("registries.require", lang.Text{
			En: "signatures are wanted and registries.keys names no key: no image could show one", Es: "se quieren firmas y registries.keys no nombra clave: ninguna imagen podría mostrar una",
		})
	}
}

func (l *linter) admission() {
	a := l.p.Admission
	own := slices.Concat(l.c.Rules, ids(l.p.Own))
	for _, id := range slices.Sorted(maps.Keys(a.Rules)) {
		path, r := "admission.rules."+id, a.Rules[id]
		if l.c.Rules != nil {
			l.known(path, id, own, aRuleThere)
		}
		for i, tier := range r.Tiers {
			l.tier(item(path+".tiers", i), tier)
		}
		if r.Mode != Enforce && slices.Contains(l.p.Exceptions.MayNeverExcept, id) {
			l.odd(path, lang.Text{
				En: "%s may never be excepted (%s), and here requests that fail it are let through", Es: "%s no se puede exceptuar nunca (%s), y aquí se dejan pasar peticiones que la incumplen",
			}, id, l.p.Where("exceptions.may_never_except"))
		}
	}
	l.readable()
	l.owners()
	if a.Mode != Enforce && !reflect.ValueOf(a.Add).IsZero() {
		l.odd("admission.add", lang.Text{
			En: "nothing is added while mode is observe", Es: "no se añade nada mientras mode sea observe",
		})
	}
}

// readable wants what cannot be read to be refused where something is: such a
// request is let through as it came, and no rule has seen what is in it.
func (l *linter) readable() {
	a := l.p.Admission
	strictest, at := a.Mode, "admission.mode"
	for _, id := range slices.Sorted(maps.Keys(a.Rules)) {
		// Whom these two keep from something is refused what cannot be read.
		own := id == "caller-owner" || id == "caller-read-only"
		if a.Rules[id].Mode == Enforce && !strings.HasPrefix(id, unreadable) && !own {
			strictest, at = Enforce, "admission.rules."+id
			break
		}
	}
	if strictest != Enforce {
		return
	}
	for _, id := range l.c.Rules {
		if !strings.HasPrefix(id, unreadable) {
			continue
		}
		mode, path := a.Mode, at
		if r, has := a.Rules[id]; has {
			mode, path = r.Mode, "admission.rules."+id
		}
		if mode != Enforce {
			l.odd(path, lang.Text{
				En: "%s is not enforced: whoever breaks it gets past every rule that is (%s); say enforce for all of %s*", Es: "%s no se aplica: quien la incumple pasa por delante de toda regla que sí (%s); diga enforce para todas las %s*",
			}, id, l.p.Where(at), unreadable)
			return
		}
	}
}

// unreadable begins the rules of package admission about what cannot be read.
const unreadable = "request-"

func (l *linter) owners() {
	a := l.p.Admission
	unique(l, "admission.owners", a.Owners, func(o Owner) string { return o.ID })
	creators := map[string]int{}
	for i, o := range a.Owners {
		path := item("admission.owners", i)
		seen := map[string]bool{}
		for j, who := range o.Who {
			at := item(path+".who", j)
			creator, creates := creators[who]
			switch {
			case seen[who]:
				l.wrong(at, lang.Text{En: "%s stands there twice", Es: "%s está dos veces"}, who)
				continue
			case o.Has(Create) && creates:
				l.wrong(at, lang.Text{
					En: "%s may create as %s already: what they create has one owner (leave create out of may)", Es: "%s ya puede crear como %s: lo que crea tiene un dueño (quite create de may)",
				}, who, a.Owners[creator].ID)
			case who == "uid:0":
				l.odd(at, lang.Text{En: "root of the host gets past the door", Es: "root del anfitrión pasa sin la puerta"})
			}
			if seen[who] = true; o.Has(Create) && !creates {
				creators[who] = i
			}
			if slices.Contains(a.ReadOnly, who) && slices.ContainsFunc(Verbs, func(v string) bool { return o.Has(v) && v != List && v != Inspect && v != Logs }) {
				l.odd(at, lang.Text{En: "%s may only look (admission.read_only): of may only list, inspect and logs count", Es: "%s solo puede mirar (admission.read_only): de may solo cuentan list, inspect y logs"}, who)
			}
		}
		for j, things := range o.Of {
			l.tier(item(path+".of", j, "tier"), things.Tier)
			for k, other := range o.Of[:j] {
				if reflect.DeepEqual(things, other) {
					l.odd(item(path+".of", j), lang.Text{En: "it says the same as %s", Es: "dice lo mismo que %s"}, l.p.Where(item(path+".of", k)))
					break
				}
			}
		}
		for j, verb := range o.May {
			if slices.Contains(o.May[:j], verb) {
				l.odd(item(path+".may", j), lang.Text{En: "%s stands there twice", Es: "%s está dos veces"}, verb)
			}
			if slices.Contains([]string{Logs, Exec, Attach, Copy}, verb) && !o.Has(Inspect) {
				l.odd(item(path+".may", j), lang.Text{En: "the docker client inspects before it does %s, and inspect is not in may", Es: "el cliente docker inspecciona antes de %s, e inspect no está en may"}, verb)
			}
		}
	}
	if len(a.Owners) > 0 && a.Mode != Enforce && a.Rules["caller-owner"].Mode != Enforce {
		l.odd("admission.owners", lang.Text{En: "nobody is kept from what is not theirs while mode is observe", Es: "a nadie se le niega lo ajeno mientras mode sea observe"})
	}
}

func ids(own []OwnCheck) (out []string) {
	for _, o := range own {
		out = append(out, o.ID)
	}
	return out
}

func (l *linter) checks() {
	for _, id := range slices.Sorted(maps.Keys(l.p.Checks)) {
		path, t := "checks."+id, l.p.Checks[id]
		l.check(path, id)
		switch {
		case t.Applicable != nil && !*t.Applicable && slices.Contains(l.p.Exceptions.MayNeverExcept, id):
			l.wrong(path, lang.Text{
				En: "%s may never be excepted (%s), so it cannot be set aside here", Es: "%s no se puede exceptuar nunca (%s), así que aquí no se puede apartar",
			}, id, l.p.Where("exceptions.may_never_except"))
		case t.Applicable != nil && *t.Applicable && t.Severity == "":
			l.odd(path, lang.Text{En: "applicable: true changes nothing", Es: "applicable: true no cambia nada"})
		}
	}
	for i, id := range l.p.Exceptions.MayNeverExcept {
		l.check(item("exceptions.may_never_except", i), id)
	}
	l.known("baseline.framework", l.p.Baseline.Framework, l.c.Frameworks, lang.Text{En: "catalogue", Es: "catálogo"})
	if l.p.Baseline.Level > 0 && l.p.Baseline.Framework == "" {
		l.wrong("baseline.level", lang.Text{En: "level of which framework?", Es: "¿nivel de qué catálogo (framework)?"})
	}
}

func (l *linter) changes() {
	s := l.p.Changes.Standard
	for i, kind := range s.Kinds {
		hand, check, _ := strings.Cut(kind, ":")
		l.known(item("changes.standard.kinds", i), hand, l.c.Hands, lang.Text{En: "hand", Es: "mano"})
		l.check(item("changes.standard.kinds", i), check)
	}
	for i, id := range s.PreapprovedBy {
		l.person(item("changes.standard.preapproved_by", i), id)
		if p := l.p.Person(id); p != nil && !p.HasAny([]Role{Approver, RiskOwner}) {
			l.wrong(item("changes.standard.preapproved_by", i), lang.Text{En: "%s is neither approver nor risk-owner", Es: "%s no es ni approver ni risk-owner"}, id)
		}
	}
	if len(s.Kinds) > 0 {
		if len(s.PreapprovedBy) == 0 && len(l.p.People) > 0 {
			l.wrong("changes.standard", lang.Text{En: "nobody has agreed to the standard changes: name who did in preapproved_by", Es: "nadie ha aprobado los cambios estándar: diga quién en preapproved_by"})
		}
		switch {
		case s.Expires.IsZero():
			l.wrong("changes.standard", lang.Text{En: "standard changes need an end: expires", Es: "los cambios estándar necesitan un fin: expires"})
		case l.at.After(s.Expires.End()):
			l.odd("changes.standard.expires", lang.Text{En: "no standard change is possible any more since %s", Es: "desde el %s ya no es posible ningún cambio estándar"}, s.Expires)
		}
	}
	for i, f := range l.p.Changes.Freeze {
		if f.To.End().Before(f.From.Time) {
			l.wrong(item("changes.freeze", i), lang.Text{En: "the freeze ends before it begins", Es: "el congelamiento acaba antes de empezar"})
		}
	}
}

func (l *linter) exceptions() {
	rules := l.p.Exceptions
	unique(l, "granted", l.p.Granted, func(e Exception) string { return e.ID })
	for i, e := range l.p.Granted {
		path := item("granted", i)
		l.check(path+".check", e.Check)
		for j, c := range e.Compensating {
			l.check(item(path+".compensating", j, "check"), c.Check)
		}
		l.person(path+".requester", e.Requester)
		if slices.Contains(rules.MayNeverExcept, e.Check) {
			l.wrong(path+".check", lang.Text{En: "%s may never be excepted: %s", Es: "%s no se puede exceptuar nunca: %s"}, e.Check, l.p.Where("exceptions.may_never_except"))
		}
		switch lasts := e.Expires.End().Sub(e.Starts.Time); {
		case lasts < 0:
			l.wrong(path+".expires", lang.Text{En: "it ends before it starts", Es: "acaba antes de empezar"})
		case rules.MaxDuration > 0 && lasts > time.Duration(rules.MaxDuration+day): // the last day is whole
			l.wrong(path+".expires", lang.Text{En: "it lasts longer than the %s that are allowed", Es: "dura más que los %s permitidos"}, rules.MaxDuration)
		case l.at.After(e.Expires.End()):
			l.odd(path+".expires", lang.Text{En: "it ended on %s", Es: "acabó el %s"}, e.Expires)
		}
		if e.Renews != "" && !slices.ContainsFunc(l.p.Granted, func(o Exception) bool { return o.ID == e.Renews }) {
			l.odd(path+".renews", lang.Text{En: "%s is not among the exceptions here", Es: "%s no está entre las excepciones de aquí"}, e.Renews)
		}
		l.granted(path, e)
	}
}

// granted looks whether somebody who may has agreed to e.
func (l *linter) granted(path string, e Exception) {
	if len(l.p.People) == 0 {
		return
	}
	roles := orRoles(l.p.Exceptions.Roles, RiskOwner)
	for _, s := range e.Signatures {
		p := l.p.Person(s.Person)
		switch {
		case p == nil:
			l.odd(path, lang.Text{En: "signed with %s, which is nobody's key", Es: "firmada con %s, que no es clave de nadie"}, s.Key)
		case !p.HasAny(roles):
			l.odd(path, lang.Text{En: "%s signed it, and is not %s", Es: "%s la firmó, y no es %s"}, p.ID, words(roles))
		case p.ID == e.Requester && !l.p.Exceptions.RequesterMayApprove:
			l.odd(path, lang.Text{En: "%s asked for it and cannot grant it", Es: "%s la pidió y no puede concederla"}, p.ID)
		default:
			return
		}
	}
	l.odd(path, lang.Text{En: "exception %s is not granted: nobody who may has signed it", Es: "la excepción %s no está concedida: no la firmó nadie que pueda"}, e.ID)
}

func (l *linter) answers() {
	for i, a := range l.p.Answers {
		path := item("answers", i)
		l.check(path+".check", a.Check)
		l.person(path+".by", a.By)
		switch {
		case a.Date().After(l.at):
			l.wrong(path+".date", lang.Text{En: "it was given in the future", Es: "se dio en el futuro"})
		case !a.Valid(l.at):
			l.odd(path+".valid_for", lang.Text{En: "the answer no longer counts: %s after %s", Es: "la respuesta ya no cuenta: %s después del %s"}, a.ValidFor, a.On)
		}
	}
}

// Date is the moment from which a counts.
func (a Answer) Date() time.Time { return a.On.Time }

// Valid reports whether a counts at t.
func (a Answer) Valid(t time.Time) bool {
	return !t.Before(a.On.Time) && t.Before(a.On.Add(time.Duration(a.ValidFor)))
}

func (l *linter) rest() {
	s := l.p.SLA
	last, lastKey := Duration(0), ""
	for _, c := range []struct {
		key string
		d   Duration
	}{{"immediate", s.Immediate}, {"out-of-cycle", s.OutOfCycle}, {"scheduled", s.Scheduled}, {"defer", s.Defer}} {
		if c.d == 0 {
			continue
		}
		if c.d < last {
			l.wrong("sla."+c.key, lang.Text{En: "%s is due sooner than %s", Es: "%s vence antes que %s"}, c.key, lastKey)
		}
		last, lastKey = c.d, c.key
	}
	for i, w := range l.p.Log.Witnesses {
		if id, ok := strings.CutPrefix(w, "key:"); ok {
			l.person(item("log.witnesses", i), id)
		}
	}
	if n := len(l.p.Log.Witnesses); l.p.Log.MinWitnesses > n {
		l.wrong("log.min_witnesses", lang.Text{En: "%d witnesses are wanted and %s are named", Es: "se quieren %d testigos y se nombran %s"}, l.p.Log.MinWitnesses, fmt.Sprint(n))
	}
}
