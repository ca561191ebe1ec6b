package checks

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// lists are two fields of the policy that tell what is wanted from what is not.
type lists struct{ allow, forbid inventory.Field[[]string] }

var (
	packageLists = lists{inventory.PolicyAllowPackages, inventory.PolicyForbidPackages}
	serviceLists = lists{inventory.PolicyAllowServices, inventory.PolicyForbidServices}
	accountLists = lists{inventory.PolicyAllowAccounts, inventory.PolicyForbidAccounts}
	portLists    = lists{inventory.PolicyAllowPorts, inventory.PolicyForbidPorts}
)

// A saying is what the policy says of one thing.
type saying uint8

const (
	unsaid saying = iota
	allowed
	forbidden
)

// of returns what the policy says of a thing that has one of the names, with
// the entry that says it. The most exact entry counts: a whole name before one
// that ends in *, a longer one before a shorter; of equals, forbid.
func (l lists) of(s *inventory.Snapshot, names ...string) (saying, inventory.Fact) {
	allow, exact := entry(s, l.allow, names)
	forbid, exactForbid := entry(s, l.forbid, names)
	switch {
	case exact < 0 && exactForbid < 0:
		return unsaid, inventory.Fact{}
	case exact > exactForbid:
		return allowed, allow
	}
	return forbidden, forbid
}

// entry returns the most exact entry of a list for the names, and how exact it
// is; -1 if none fits.
func entry(s *inventory.Snapshot, f inventory.Field[[]string], names []string) (fact inventory.Fact, exact int) {
	exact = -1
	list, fact, _ := f.Of(s.Find(inventory.PolicyRef))
	for i, pattern := range list {
		if n := fit(pattern, names); n > exact {
			exact, fact = n, entryFact(s, f, i, pattern)
		}
	}
	return fact, exact
}

// entryFact is the fact that entry i of a list of the policy is there.
func entryFact(s *inventory.Snapshot, f inventory.Field[[]string], i int, value string) inventory.Fact {
	p := s.Find(inventory.PolicyRef)
	return inventory.Fact{Ref: p.Ref, Field: f.Path, Value: value, Source: p.SourceOf(f.Path + "." + strconv.Itoa(i)), Read: p.Read}
}

// fit says how exactly pattern fits one of the names; -1 if it does not.
func fit(pattern string, names []string) int {
	if slices.Contains(names, pattern) {
		return 1 << 20
	}
	head, star := strings.CutSuffix(pattern, "*")
	if star && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, head) }) {
		return len(head)
	}
	return -1
}

// Why an answer is what it is, where the policy decides.
var (
	policyForbids = lang.Text{En: "the policy forbids it", Es: "la política lo prohíbe"}
	policyAllows  = lang.Text{En: "the policy allows it", Es: "la política lo permite"}
)

// mode returns what the policy wants of something that is there: "allow",
// "warn", "deny", or "" where it says nothing. Of warn and deny the finding is
// the same; they differ where something is asked for.
func mode(s *inventory.Snapshot, f inventory.Field[string]) (string, []inventory.Fact) {
	v, fact, ok := f.Of(s.Find(inventory.PolicyRef))
	if !ok {
		return "", nil
	}
	return v, []inventory.Fact{fact}
}

const modeAllow = "allow"

// ruled is an answer that found something wrong, as the policy wants it taken.
func ruled(s *inventory.Snapshot, f inventory.Field[string], bad audit.Answer) audit.Answer {
	m, facts := mode(s, f)
	bad.Evidence = append(bad.Evidence[:len(bad.Evidence):len(bad.Evidence)], facts...)
	if m == modeAllow {
		return audit.Good(bad.Evidence...).Because(policyAllows)
	}
	return bad
}

// lasting reads a length of time of the policy: 90d, 24h.
func lasting(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}
