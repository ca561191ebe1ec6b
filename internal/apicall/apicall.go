// Package apicall is a call of the Engine API on its way to the engine: who
// makes it, what for, and what was decided about it. The door (host/door) and
// the engine's plugin (host/authz) are its two users; they see the same calls
// and ask the same judge, and host packages do not know each other.
//
// The zero Verdict refuses. Ask turns a judge that is late or that panics into
// a refusal, so nothing passes because somebody failed to decide.
package apicall

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"casco/lang"
)

// NoID is the user and group of a caller that has none here: one that came over
// TCP, or that the engine's plugin cannot see. It is (uid_t)-1, which no user
// has (chown(2)).
const NoID = ^uint32(0)

// Unknown stands in Caller.Unit, Caller.Container and Caller.Userns where they could not be
// read: the process had ended, or hides in a PID namespace of no container that
// is known. Somebody who trusts the host's own processes must not trust it.
const Unknown = "unknown"

// A Caller is who makes a call, as the kernel and the TLS library say.
type Caller struct {
	UID, GID  uint32   // at the time of connect(2): SO_PEERCRED, unix(7); NoID if there are none
	Groups    []uint32 // its further groups then: SO_PEERGROUPS
	PID       int      // in our PID namespace; 0 if there is none
	LoginUID  int64    // who logged in, whatever sudo made of them since: /proc/PID/loginuid; -1 if nobody did
	Unit      string   // of systemd: "cron.service", "session-3.scope"; "" if it is in none
	Container string   // its full ID, if the process is in one; "" if it is the host's own
	// Userns is the user of this host who made the user namespace that it is in,
	// where UID may be one of many that they were given (subuid(5)); "" if that is
	// the host's own.
	Userns  string
	TLSName string // common name of a client certificate that was verified
	Via     string // the door's name, which is its address if it was given none; ViaPlugin
}

// ViaPlugin is Caller.Via of what the engine's plugin sees.
const ViaPlugin = "authz"

// A Request is one call.
type Request struct {
	Caller
	Method      string // "POST"
	URI         string // as it was sent, not cleaned: "/v1.41/containers/create?name=web1"
	ContentType string // as it was sent; "" if it was not
	// Pass is what the door wrote into the field PassField of a request that it
	// let through: the engine's plugin sees neither the caller nor, otherwise,
	// that the door was passed.
	Pass string
}

// Path is the URI without its query, in which clients put arguments of builds and
// other secrets: what a log may hold.
func (r Request) Path() string {
	path, _, _ := strings.Cut(r.URI, "?")
	return path
}

// PassField is the field of a request's head that only the door may write.
const PassField = "Casco-Pass"

// A Verdict is what becomes of a call.
type Verdict struct {
	Allow   bool
	Status  int    // of a refusal; 0 is 403
	Message string // of a refusal, for the person who asked
	// URI is what the engine is asked for instead: the judge's reading of what
	// was sent. "" leaves it.
	URI string
	// Stream lets the body through as it is. Without it, a Head that allows
	// wants to see the body, up to Limit bytes; a longer one is refused.
	Stream bool
	Limit  int64
	// NeedsBody says that there must be one: where it cannot be seen, the call is
	// refused.
	NeedsBody bool
	// Body is what a judge of the body wants to be sent instead, as
	// application/json; an empty one is no body. nil leaves what came.
	Body []byte
	// Keep is how many bytes of the body of a good answer (2xx) the record of the
	// call shall have, for who must know what was made: its ID.
	Keep int
	// Note is the judge's own: it finds it in the record of the call.
	Note any
	// Edit changes what the engine answers on its way to the caller; nil leaves it.
	// Only a door can do so: who cannot must refuse.
	Edit *Edit
}

// An Edit changes an answer in JSON that is a success (2xx).
type Edit struct {
	// Lines: the answer is a stream of JSON values, one a line, and Do is given each
	// as it comes, without the end of its line. Elements: it is one list, and Do is
	// given each element as it comes; null stays. Otherwise Do is given all of it.
	Lines, Elements bool
	// Do returns what the caller gets instead; of a line or an element, nothing is
	// none. It is called one at a time, for one answer, and keeps nothing of what it
	// is given.
	Do func([]byte) ([]byte, error)
}

// Apply is Do, and takes a panic for an error.
func (e *Edit) Apply(b []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("edit: panic: %v\n%s", p, debug.Stack())
		}
	}()
	return e.Do(b)
}

// A Judge decides about calls, several at the same time.
type Judge interface {
	// Head decides by all but the body: it refuses, lets pass, or wants to see
	// the body.
	Head(ctx context.Context, r Request) Verdict
	// Body decides about a call of which Head wanted the body. It is given all of
	// it, and may keep the slice.
	Body(ctx context.Context, r Request, body []byte) Verdict
}

// Judging is how many bytes it may take to judge a body of n, measured with bodies
// made for it: guard/admission, TestWeight.
func Judging(n int) int64 { return 256<<10 + 128*int64(n) }

// Refuse is a refusal for a reason.
func Refuse(status int, message string) Verdict { return Verdict{Status: status, Message: message} }

// Ask asks, and answers itself if no verdict comes within d, or judge panics:
// the call is refused, and err says why. A judge that is late is left to end by
// itself; its context is over.
func Ask(ctx context.Context, d time.Duration, l lang.Lang, judge func(context.Context) Verdict) (v Verdict, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	type answer struct {
		verdict Verdict
		err     error
	}
	c := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				c <- answer{refused(l, broken), fmt.Errorf("judge: panic: %v\n%s", p, debug.Stack())}
			}
		}()
		c <- answer{verdict: judge(ctx)}
	}()
	select {
	case a := <-c:
		v, err = a.verdict, a.err
	case <-ctx.Done():
		v, err = refused(l, late), fmt.Errorf("judge: no verdict in %v: %w", d, ctx.Err())
	}
	if !v.Allow && v.Status == 0 {
		v.Status = http.StatusForbidden
	}
	return v, err
}

var (
	broken = lang.Text{
		En: "casco could not judge this request and refuses it; its log says why",
		Es: "casco no pudo juzgar esta petición y la rechaza; su registro dice por qué",
	}
	late = lang.Text{
		En: "casco did not judge this request in time and refuses it; try again",
		Es: "casco no juzgó esta petición a tiempo y la rechaza; inténtelo de nuevo",
	}
)

func refused(l lang.Lang, t lang.Text) Verdict {
	return Refuse(http.StatusInternalServerError, t.In(l))
}
