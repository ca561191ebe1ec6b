package resolver

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"casco/lang"
)

// A Why is the reason of an Event. Its words do not change.
type Why string

// Reasons. After the first three the container gets an answer that says that
// there is nothing; after the others it may ask again.
const (
	NotAllowed Why = "name"      // no rule allows the name
	Search     Why = "search"    // an allowed name with something behind it: the search list of a libc
	Reverse    Why = "reverse"   // the name of an address, RFC 1035 section 3.5
	Type       Why = "type"      // an allowed name, and a type that is not forwarded: a way to carry data
	Rebinding  Why = "rebinding" // an allowed name with addresses where it may have none
	Upstream   Why = "upstream"  // no server of the host answered
	Uncommit   Why = "commit"    // the addresses could not be committed, and so were not answered
	Flood      Why = "flood"     // more questions at once, or in a second, than the limit
	Full       Why = "full"      // more names, or addresses of a name, than the limit
)

var whys = map[Why]lang.Text{
	NotAllowed: {En: "the policy does not name it", Es: "la política no lo nombra"},
	Search:     {En: "the search list made it of a name that is allowed", Es: "la lista de búsqueda lo formó de un nombre permitido"},
	Reverse:    {En: "names of addresses are not looked up", Es: "no se buscan nombres de direcciones"},
	Type:       {En: "of an allowed name only addresses are answered", Es: "de un nombre permitido solo se responden direcciones"},
	Rebinding:  {En: "it leads to an address inside, which the policy does not allow", Es: "lleva a una dirección interna, que la política no permite"},
	Upstream:   {En: "no name server of the host answered", Es: "ningún servidor de nombres del host respondió"},
	Uncommit:   {En: "its addresses could not be let through", Es: "no se pudo dar paso a sus direcciones"},
	Flood:      {En: "the container asks more than it may", Es: "el contenedor pregunta más de lo que puede"},
	Full:       {En: "it has more names or addresses than it may", Es: "tiene más nombres o direcciones de los que puede"},
}

// Text says the reason to people.
func (w Why) Text() lang.Text { return whys[w] }

// An Event is a question that was not answered as it was asked.
type Event struct {
	ID     string    // of the listener
	Time   time.Time // UTC
	Name   string    // as asked, in lower case; what is no letter, digit, "-" or "_" is \DDD, RFC 1035 section 5.1
	Type   string    // "A", "AAAA", "TXT"; "65400" if it has no name here
	Why    Why
	Err    string // of Upstream and Uncommit: what went wrong
	Missed uint64 // events of this listener that were left out before this one: a container cannot flood a log
}

// Events of a listener: as many at once, and then in a second.
const (
	eventBurst = 50
	eventRate  = 10
)

// escape makes a name harmless wherever it is printed.
func escape(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}

// typeName is what dnsmessage calls a type, without "Type".
func typeName(t dnsmessage.Type) string { return strings.TrimPrefix(t.String(), "Type") }

// A bucket lets through burst at once and rate in a second.
type bucket struct {
	burst, rate float64

	mu    sync.Mutex // guards what follows
	spent float64    // of burst
	last  time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-b.rate*now.Sub(b.last).Seconds())
	b.last = now
	if b.spent+1 > b.burst {
		return false
	}
	b.spent++
	return true
}
