package resolver

import (
	"net/netip"
	"strings"

	"casco/lang"
)

// A Rule allows names to be asked for.
type Rule struct {
	// Name is a host name in ASCII, in any case, with or without the last dot.
	// "*.example" stands for any one label under example and not for example
	// itself; "**.example" for one label or more. A name that is not ASCII is
	// written as its A-labels, "xn--…", RFC 5890.
	Name string
	// Private allows answers in private ranges (RFC 1918, RFC 4193, RFC 6598
	// and others, see addr.go) and in the Zone's local ones. Loopback,
	// link-local and such are never allowed.
	Private bool
}

// A Zone is what one network namespace may ask for. The zero value is nothing.
// A Zone does not change, and may be shared.
type Zone struct {
	exact, one, deep map[string]bool // name, or what follows the stars: whether private
	local            []netip.Prefix
}

// NewZone returns the Zone of rules. local are the subnets of the host's own
// containers, whatever their range: an address in one of them is private. If
// two rules have the same name, the one that allows private addresses holds.
// An error says which rule cannot be, and why.
func NewZone(rules []Rule, local []netip.Prefix) (Zone, error) {
	z := Zone{map[string]bool{}, map[string]bool{}, map[string]bool{}, nil}
	for _, r := range rules {
		name := strings.TrimSuffix(lower(r.Name), ".")
		to := z.exact
		if rest, ok := strings.CutPrefix(name, "**."); ok {
			name, to = rest, z.deep
		} else if rest, ok := strings.CutPrefix(name, "*."); ok {
			name, to = rest, z.one
		}
		if why := notHost(name); why != nil {
			return Zone{}, lang.Errorf(lang.Text{En: "rule %q: %w", Es: "regla %q: %w"}, r.Name, why)
		}
		to[name] = to[name] || r.Private
	}
	for _, p := range local {
		z.local = append(z.local, p.Masked())
	}
	return z, nil
}

// match finds the closest rule for a name in lower case without a last dot.
func (z Zone) match(name string) (private, ok bool) {
	if private, ok = z.exact[name]; ok {
		return private, true
	}
	_, rest, more := strings.Cut(name, ".")
	if !more || notHost(name) != nil {
		return false, false
	}
	if private, ok = z.one[rest]; ok {
		return private, true
	}
	for more {
		if private, ok = z.deep[rest]; ok {
			return private, true
		}
		_, rest, more = strings.Cut(rest, ".")
	}
	return false, false
}

// search reports whether a name is one that the Zone allows with something
// behind it, as a libc makes it of the search list of resolv.conf(5).
func (z Zone) search(name string) bool {
	for i := range len(name) {
		if name[i] == '.' {
			if _, ok := z.match(name[:i]); ok {
				return true
			}
		}
	}
	return false
}

// Sizes of names, RFC 1035 section 2.3.4; 255 octets on the wire are 253
// characters.
const (
	nameMost  = 253
	labelMost = 63
)

var (
	errLong  = lang.Errorf(lang.Text{En: "longer than a host name can be (253 characters, 63 between dots)", Es: "más largo de lo que puede ser un nombre (253 caracteres, 63 entre puntos)"})
	errEmpty = lang.Errorf(lang.Text{En: "nothing between two dots", Es: "nada entre dos puntos"})
	errStar  = lang.Errorf(lang.Text{
		En: `a star stands alone and first: "*.example", or "**.example" for every depth`,
		Es: `un asterisco va solo y primero: "*.example", o "**.example" para toda profundidad`,
	})
	errASCII = lang.Errorf(lang.Text{
		En: `a host name has letters, digits, "-" and "_"; others are written as "xn--…"`,
		Es: `un nombre de host tiene letras, dígitos, "-" y "_"; los demás se escriben como "xn--…"`,
	})
)

// notHost says why a name in lower case is not that of a host, RFC 1123
// section 2.1; "_" is let pass, for there are hosts with it.
func notHost(name string) error {
	if len(name) > nameMost {
		return errLong
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return errEmpty
		case len(label) > labelMost:
			return errLong
		case strings.Contains(label, "*"):
			return errStar
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return errASCII
			}
		}
	}
	return nil
}

// lower is s with ASCII letters in lower case, RFC 4343; other bytes stay.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// allows reports whether a name may have address a; inside
// is what its rule says of private ones.
func (z Zone) allows(a netip.Addr, inside bool) bool {
	c := classOf(a, z.local)
	return c == public || c == private && inside
}

// whyNot is why a name that no rule allows is not allowed.
func (z Zone) whyNot(name string) Why {
	switch {
	case strings.HasSuffix(name, ".in-addr.arpa") || strings.HasSuffix(name, ".ip6.arpa"):
		return Reverse
	case z.search(name):
		return Search
	}
	return NotAllowed
}
