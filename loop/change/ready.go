package change

import (
	"slices"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/plan"
	"casco/policy"
	"casco/signed"
)

// ErrRefused is wrapped by every reason for which a change may not be applied.
var ErrRefused = lang.Errorf(lang.Text{En: "refused", Es: "rechazado"})

// refuse gives a reason in both languages.
func refuse(t lang.Text, args ...any) error {
	return lang.Errorf(lang.Text{En: t.En + ": %w", Es: t.Es + ": %w"}, append(args, ErrRefused)...)
}

// Rules is what a host holds a change against.
type Rules struct {
	Host   string         // the host's name
	Now    time.Time      // the moment of use: windows and expiries are judged at it
	Policy *policy.Policy // in force on the host
	Signed bool           // the policy was signed by somebody whom the host trusts
	// Local holds the keys whose approval counts where the policy names no
	// persons: one operator, who then is author and approver.
	Local []signed.Key
}

// SingleOperator reports whether the policy names no persons, so that the one
// who plans may also approve.
func (r Rules) SingleOperator() bool { return len(r.Policy.People) == 0 }

// skew is how far a signature's time may lie ahead of the host's clock: two
// machines that keep time by NTP are within seconds of each other.
const skew = 2 * time.Minute

// Ready returns nil if c may be begun now under r. Otherwise the error is an
// ErrRefused, or says what is wrong with the file. Every signature in c must be
// good, also one that is not needed: a bad one is a sign of tampering.
func (c *Change) Ready(r Rules) error {
	if err := c.Intact(); err != nil {
		return err
	}
	if c.Plan.Host != r.Host {
		return refuse(lang.Text{En: "the plan is for host %q, this is %q", Es: "el plan es para el anfitrión %q, este es %q"}, c.Plan.Host, r.Host)
	}
	if err := c.requested(r); err != nil {
		return err
	}
	said, err := c.said(r)
	if err != nil {
		return err
	}
	if err := c.timely(r); err != nil {
		return err
	}
	if c.Request.Class == Standard {
		return c.standard(r)
	}
	if c.Request.Class == Emergency && strings.TrimSpace(c.Request.Reason) == "" {
		return refuse(lang.Text{En: "an emergency change must say why", Es: "un cambio de emergencia debe decir por qué"})
	}
	return c.agreed(r, said, Approve, c.quorum(r))
}

// quorum is who must agree to c before it may be begun.
func (c *Change) quorum(r Rules) quorum {
	if e := r.Policy.Changes.Emergency; c.Request.Class == Emergency {
		return quorum{e.Approvals, e.Roles, false}.filled()
	}
	return r.normal()
}

// normal is who must agree to a normal change, and ratify an emergency.
func (r Rules) normal() quorum {
	n := r.Policy.Changes.Normal
	return quorum{n.Approvals, n.Roles, n.AuthorMayApprove}.filled()
}

// requested checks who asks. With persons in the policy that is a person with
// the role of operator, by signature.
func (c *Change) requested(r Rules) error {
	q := c.Request
	if !slices.Contains([]Class{Standard, Normal, Emergency}, q.Class) {
		return refuse(lang.Text{En: "%q is no class of change", Es: "%q no es una clase de cambio"}, q.Class)
	}
	if q.At.After(r.Now.Add(skew)) {
		return refuse(lang.Text{En: "the request is from the future: %s", Es: "la solicitud viene del futuro: %s"}, stamp(q.At))
	}
	if r.SingleOperator() {
		return nil
	}
	if q.Signature == "" {
		return refuse(lang.Text{
			En: "nobody signed the request, so its author cannot be told from an approver",
			Es: "nadie firmó la solicitud, así que no se distingue a su autor de quien aprueba",
		})
	}
	p, _, err := r.Policy.SignedBy([]byte(q.Signature), signed.Request, c.Message())
	if err != nil {
		return refuse(lang.Text{En: "the request of %q: %v", Es: "la solicitud de %q: %v"}, q.By, err)
	}
	if p.ID != q.By {
		return refuse(lang.Text{En: "the request names %q and %q signed it", Es: "la solicitud nombra a %q y la firmó %q"}, q.By, p.ID)
	}
	if !p.Has(policy.Operator) {
		return refuse(lang.Text{En: "%q may not ask for changes: the policy gives no role of operator", Es: "%q no puede pedir cambios: la política no le da el rol de operador"}, p.ID)
	}
	return nil
}

// A voice is one person's last word on a change.
type voice struct {
	id       string
	by       string         // as the approval names them
	person   *policy.Person // nil for the single operator
	decision Decision
	until    time.Time
}

// holds reports whether v still counts then.
func (v voice) holds(now time.Time) bool { return v.until.IsZero() || now.Before(v.until) }

// said checks all signatures and returns each person's last word.
func (c *Change) said(r Rules) ([]voice, error) {
	var vs []voice
	for _, a := range c.Approvals {
		v, err := c.voice(r, a)
		if err != nil {
			return nil, err
		}
		vs = lastWord(vs, v)
	}
	return vs, nil
}

// lastWord is vs with v in the place of what the same person said before it. A
// ratification says nothing of an approval.
func lastWord(vs []voice, v voice) []voice {
	vs = slices.DeleteFunc(vs, func(o voice) bool { return o.id == v.id && (o.decision == Ratify) == (v.decision == Ratify) })
	if v.decision == Withdraw {
		return vs
	}
	return append(vs, v)
}

func (c *Change) voice(r Rules, a Approval) (voice, error) {
	bad := func(t lang.Text, args ...any) (voice, error) { return voice{}, refuse(t, args...) }
	if a.Change != c.Digest() {
		return bad(lang.Text{
			En: "the approval by %q is for another change (%.12s): the plan, its class, window or author is not what was approved",
			Es: "la aprobación de %q es de otro cambio (%.12s): el plan, su clase, ventana o autor no son los aprobados",
		}, a.By, a.Change)
	}
	if !slices.Contains([]Decision{Approve, Reject, Withdraw, Ratify}, a.Decision) {
		return bad(lang.Text{En: "%q said %q, which is no decision", Es: "%q dijo %q, que no es una decisión"}, a.By, a.Decision)
	}
	if a.At.After(r.Now.Add(skew)) {
		return bad(lang.Text{En: "the approval by %q is from the future: %s", Es: "la aprobación de %q viene del futuro: %s"}, a.By, stamp(a.At))
	}
	v := voice{by: a.By, decision: a.Decision, until: a.Until}
	if r.SingleOperator() {
		key, err := signed.Verify([]byte(a.Signature), signed.Approval, a.Message(), r.Local)
		if err != nil {
			return bad(lang.Text{En: "the approval by %q: %v", Es: "la aprobación de %q: %v"}, a.By, err)
		}
		v.id = key.Fingerprint()
		return v, nil
	}
	p, _, err := r.Policy.SignedBy([]byte(a.Signature), signed.Approval, a.Message())
	if err != nil {
		return bad(lang.Text{En: "the approval by %q: %v", Es: "la aprobación de %q: %v"}, a.By, err)
	}
	if p.ID != a.By {
		return bad(lang.Text{En: "the approval names %q and %q signed it", Es: "la aprobación nombra a %q y la firmó %q"}, a.By, p.ID)
	}
	v.id, v.person = p.ID, p
	return v, nil
}

// A quorum is how many different persons must agree, and which.
type quorum struct {
	n      int
	roles  []policy.Role
	author bool // the author counts too
}

// filled is q with what a policy that leaves it out means: one approver.
func (q quorum) filled() quorum {
	q.n = max(q.n, 1)
	if len(q.roles) == 0 {
		q.roles = []policy.Role{policy.Approver}
	}
	return q
}

// agreed counts who said want among those whom q lets count. One rejection by
// any of them stands against all.
func (c *Change) agreed(r Rules, said []voice, want Decision, q quorum) error {
	good, why := 0, lang.Text{}
	for _, v := range said {
		if t := c.uncounted(r, v, q); !t.Empty() {
			why = t
			continue
		}
		switch {
		case v.decision == Reject:
			return refuse(lang.Text{En: "%q rejected it", Es: "%q lo rechazó"}, v.id)
		case v.decision == want && v.holds(r.Now):
			good++
		}
	}
	if good >= q.n {
		return nil
	}
	t := lang.Text{
		En: "%d of %d approvals: %d more by persons with the role %s, other than the author",
		Es: "%d de %d aprobaciones: faltan %d de personas con el rol %s, que no sean quien lo pide",
	}.F(good, q.n, q.n-good, roles(q.roles))
	if r.SingleOperator() {
		t = lang.Text{En: "not approved by a key that this host trusts", Es: "no lo aprobó una clave en la que confíe este anfitrión"}
	}
	if !why.Empty() {
		t = lang.Text{En: t.En + "; " + why.En, Es: t.Es + "; " + why.Es}
	}
	return refuse(plain(t))
}

// plain is t as a format that says t.
func plain(t lang.Text) lang.Text {
	return lang.Text{En: strings.ReplaceAll(t.En, "%", "%%"), Es: strings.ReplaceAll(t.Es, "%", "%%")}
}

// uncounted says why v does not count towards q, or nothing.
func (c *Change) uncounted(r Rules, v voice, q quorum) lang.Text {
	switch {
	case r.SingleOperator():
		return lang.Text{}
	case v.person.ID == c.Request.By && !q.author:
		return lang.Text{En: "%q asked for it and may not approve it", Es: "%q lo pidió y no puede aprobarlo"}.F(v.id)
	case !v.person.HasAny(q.roles):
		return lang.Text{En: "%q has no role that may approve", Es: "%q no tiene un rol que pueda aprobar"}.F(v.id)
	}
	return lang.Text{}
}

// timely judges windows, freezes and the plan's age at r.Now.
func (c *Change) timely(r Rules) error {
	rules := r.Policy.Changes
	if !c.Request.Window.Contains(r.Now) {
		return refuse(lang.Text{En: "outside its window: from %s until %s, now it is %s", Es: "fuera de su ventana: de %s a %s, ahora son %s"},
			stamp(c.Request.Window.From), stamp(c.Request.Window.Until), stamp(r.Now))
	}
	if f := rules.Frozen(r.Now, string(c.Request.Class)); f != nil {
		return refuse(lang.Text{En: "changes are frozen until %s", Es: "los cambios están congelados hasta el %s"}, stamp(f.To.End()))
	}
	if valid := time.Duration(rules.Normal.PlanValidFor); valid > 0 && r.Now.After(c.Plan.Taken.Add(valid)) {
		return refuse(lang.Text{En: "the plan was good until %s", Es: "el plan valía hasta %s"}, stamp(c.Plan.Taken.Add(valid)))
	}
	if c.Request.Class == Normal && !rules.Normal.Window.Contains(r.Now) {
		return refuse(lang.Text{En: "outside the window of normal changes", Es: "fuera de la ventana de los cambios normales"})
	}
	return nil
}

// standard checks that every step is of a kind that was agreed to beforehand.
func (c *Change) standard(r Rules) error {
	s := r.Policy.Changes.Standard
	if len(s.Kinds) == 0 || !r.Signed && !r.SingleOperator() {
		return refuse(lang.Text{En: "no signed policy names standard changes", Es: "ninguna política firmada nombra cambios estándar"})
	}
	if !s.Expires.IsZero() && r.Now.After(s.Expires.End()) {
		return refuse(lang.Text{En: "standard changes were agreed to until %s", Es: "los cambios estándar se acordaron hasta el %s"}, stamp(s.Expires.End()))
	}
	if !s.Window.Contains(r.Now) {
		return refuse(lang.Text{En: "outside the window of standard changes", Es: "fuera de la ventana de los cambios estándar"})
	}
	if err := r.preapproved(s); err != nil {
		return err
	}
	var most plan.Disruption
	if s.MaxCost != "" {
		if err := most.UnmarshalText([]byte(s.MaxCost)); err != nil {
			return lang.Errorf(lang.Text{En: "policy: changes.standard.max_cost: %w", Es: "política: changes.standard.max_cost: %w"}, err)
		}
	}
	for i, st := range c.Plan.Steps {
		if !names(s, st) {
			return refuse(lang.Text{En: "step %d (%s on %s) is not of a standard kind", Es: "el paso %d (%s en %s) no es de un tipo estándar"}, i+1, st.Hand, st.Ref)
		}
		if st.Cost > most {
			return refuse(lang.Text{En: "step %d costs a %s, a standard change at most a %s", Es: "el paso %d cuesta un %s, un cambio estándar a lo más un %s"}, i+1, st.Cost, most)
		}
	}
	return nil
}

// preapproved checks that those in whose name standard changes are agreed to
// may agree to changes at all.
func (r Rules) preapproved(s policy.Standard) error {
	if r.SingleOperator() {
		return nil
	}
	for _, id := range s.PreapprovedBy {
		if p := r.Policy.Person(id); p == nil || !p.Has(policy.Approver) && !p.Has(policy.RiskOwner) {
			return refuse(lang.Text{En: "standard changes are agreed to by %q, who may not", Es: "los cambios estándar los acuerda %q, que no puede"}, id)
		}
	}
	if len(s.PreapprovedBy) == 0 {
		return refuse(lang.Text{En: "nobody agreed to standard changes", Es: "nadie acordó los cambios estándar"})
	}
	return nil
}

// names reports whether st is of a kind of s: its hand alone, or its hand with
// the check of every finding that it cures.
func names(s policy.Standard, st plan.Step) bool {
	if slices.Contains(s.Kinds, st.Hand) {
		return true
	}
	for _, cure := range st.For {
		if !slices.Contains(s.Kinds, st.Hand+":"+cure.Check) {
			return false
		}
	}
	return len(st.For) > 0
}

// Ratified returns nil if the emergency change c has been agreed to as a normal
// change would have been, by r.Now. It is done already, so that a signature that
// is not good any more, because who gave it left the policy, keeps nobody else
// from ratifying: it does not count.
func (c *Change) Ratified(r Rules) error {
	if err := c.Intact(); err != nil {
		return err
	}
	var said []voice
	for _, a := range c.Approvals {
		if a.Decision != Ratify {
			continue
		}
		if v, err := c.voice(r, a); err == nil {
			said = lastWord(said, v)
		}
	}
	return c.agreed(r, said, Ratify, r.normal())
}

// RatifyBy is when an emergency change that was begun at that time must have
// been ratified. Zero: never, or c is no emergency.
func (c *Change) RatifyBy(p *policy.Policy, begun time.Time) time.Time {
	within := time.Duration(p.Changes.Emergency.RatifyWithin)
	if c.Request.Class != Emergency || within <= 0 {
		return time.Time{}
	}
	return begun.UTC().Add(within)
}

// Approvers names those whose yes counts under r, in the order in which they
// said it.
func (c *Change) Approvers(r Rules) []string {
	said, err := c.said(r)
	if err != nil {
		return nil
	}
	var by []string
	for _, v := range said {
		if v.decision == Approve && v.holds(r.Now) && c.uncounted(r, v, c.quorum(r)).Empty() {
			by = append(by, v.by)
		}
	}
	return by
}

func roles(rs []policy.Role) string {
	var ss []string
	for _, r := range rs {
		ss = append(ss, string(r))
	}
	return strings.Join(ss, "/")
}
