package policy

import (
	"slices"

	"casco/lang"
	"casco/signed"
)

// Has reports whether p may act in role r. An auditor is nothing else,
// whatever other roles are listed: who approves what they audit is no auditor.
func (p Person) Has(r Role) bool {
	if slices.Contains(p.Roles, Auditor) {
		return r == Auditor
	}
	return slices.Contains(p.Roles, r)
}

// HasAny reports whether p may act in one of the roles.
func (p Person) HasAny(roles []Role) bool { return slices.ContainsFunc(roles, p.Has) }

// Person returns the person with that ID, or nil.
func (p *Policy) Person(id string) *Person {
	for i := range p.People {
		if p.People[i].ID == id {
			return &p.People[i]
		}
	}
	return nil
}

// Who returns the persons who may act in one of the roles, in their order.
func (p *Policy) Who(roles ...Role) []*Person {
	var out []*Person
	for i := range p.People {
		if p.People[i].HasAny(roles) {
			out = append(out, &p.People[i])
		}
	}
	return out
}

// Owner returns the person whose key k is, or nil. A key of two persons is
// nobody's: it cannot say which of them signed.
func (p *Policy) Owner(k signed.Key) *Person {
	var owner *Person
	for i := range p.People {
		for _, line := range p.People[i].Keys {
			own, _, err := signed.ParseKey(line)
			if err != nil || !own.Equal(k) || owner == &p.People[i] {
				continue
			}
			if owner != nil {
				return nil
			}
			owner = &p.People[i]
		}
	}
	return owner
}

// SignedBy returns the person who signed message for the purpose ns, and the
// key. A signature that does not fit, or by a key that is no person's, is an
// error.
func (p *Policy) SignedBy(armored []byte, ns signed.Namespace, message []byte) (*Person, signed.Key, error) {
	claim, err := signed.Parse(armored)
	if err != nil {
		return nil, signed.Key{}, err
	}
	k, err := signed.Verify(armored, ns, message, []signed.Key{claim.Key})
	if err != nil {
		return nil, signed.Key{}, err
	}
	if owner := p.Owner(k); owner != nil {
		return owner, k, nil
	}
	return nil, k, lang.Errorf(lang.Text{En: "signed with %s: %w", Es: "firmado con %s: %w"}, k.Fingerprint(), errNobody)
}

var errNobody = lang.Errorf(lang.Text{En: "the policy names nobody with this key, or two persons", Es: "la política no nombra a nadie con esta clave, o a dos personas"})
