package policy

import "time"

const day = Duration(24 * time.Hour)

// Builtin is what holds on a host whose organisation has said nothing: one
// operator, who may agree to their own changes, and rules that a check does not
// make stricter than it is by itself. Its name is "builtin", its version 0, so
// that every policy comes after it.
//
// The numbers: treatment in 3, 14, 30 and 180 days, for the due dates of CISA's
// list of exploited vulnerabilities are 21 days since 2024 and PCI DSS 4.0.1,
// 6.3.3 wants critical patches within a month. Evidence is kept for 400 days,
// a yearly audit and its delay. Rollback after 10 minutes without a
// confirmation is the custom of routers. They are judgement, and an
// organisation's own policy stands over them.
func Builtin() *Policy {
	return &Policy{
		Metadata: Metadata{Name: "builtin"},
		Tiers:    []Tier{{ID: "default", Impact: 1}},
		Assign:   []Assign{{Default: "default"}},
		SLA:      SLA{Immediate: 3 * day, OutOfCycle: 14 * day, Scheduled: 30 * day, Defer: 180 * day},
		Changes: Changes{
			Normal: Normal{Approvals: 1, Roles: []Role{Approver}, AuthorMayApprove: true, PlanValidFor: 3 * day},
			Emergency: Emergency{
				Approvals: 1, Roles: []Role{Approver}, RatifyWithin: day, IfNotRatified: "propose-rollback",
			},
			ConfirmWithin: Duration(10 * time.Minute),
		},
		Exceptions: ExceptionRules{
			MaxDuration: 180 * day, Roles: []Role{RiskOwner}, RequesterMayApprove: true,
			// Who reaches the engine owns the host: no reason outweighs that.
			MayNeverExcept: []string{"container-engine-socket", "daemon-tls", "listener-engine-port"},
		},
		Evidence:   Evidence{Keep: 400 * day, FreshFor: day},
		Operations: Operations{Every: day, SilentAfter: 2},
		Digest:     "builtin",
	}
}

// complete gives p what Builtin says where p says nothing. Where p names
// persons, nobody agrees to their own changes or exceptions unless p says so.
func (p *Policy) complete() {
	b := Builtin()
	said := func(path string) bool { _, ok := p.Lines[path]; return ok }
	if len(p.Tiers) == 0 && len(p.Assign) == 0 {
		p.Tiers, p.Assign = b.Tiers, b.Assign
	}
	or(&p.SLA.Immediate, b.SLA.Immediate)
	or(&p.SLA.OutOfCycle, b.SLA.OutOfCycle)
	or(&p.SLA.Scheduled, b.SLA.Scheduled)
	or(&p.SLA.Defer, b.SLA.Defer)

	alone := len(p.People) == 0
	n, e := &p.Changes.Normal, &p.Changes.Emergency
	or(&n.Approvals, b.Changes.Normal.Approvals)
	or(&n.PlanValidFor, b.Changes.Normal.PlanValidFor)
	or(&e.Approvals, b.Changes.Emergency.Approvals)
	or(&e.RatifyWithin, b.Changes.Emergency.RatifyWithin)
	or(&e.IfNotRatified, b.Changes.Emergency.IfNotRatified)
	or(&p.Changes.ConfirmWithin, b.Changes.ConfirmWithin)
	n.Roles, e.Roles = orRoles(n.Roles, Approver), orRoles(e.Roles, Approver)
	if !said("changes.normal.author_may_approve") {
		n.AuthorMayApprove = alone
	}

	x := &p.Exceptions
	or(&x.MaxDuration, b.Exceptions.MaxDuration)
	x.Roles = orRoles(x.Roles, RiskOwner)
	if !said("exceptions.requester_may_approve") {
		x.RequesterMayApprove = alone
	}
	if !said("exceptions.may_never_except") {
		x.MayNeverExcept = b.Exceptions.MayNeverExcept
	}
	or(&p.Evidence.Keep, b.Evidence.Keep)
	or(&p.Evidence.FreshFor, b.Evidence.FreshFor)
	or(&p.Operations.Every, b.Operations.Every)
	or(&p.Operations.SilentAfter, b.Operations.SilentAfter)
}

// or sets *v to def if it has its zero value.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
