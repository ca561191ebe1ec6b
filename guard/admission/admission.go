// Package admission judges what is asked of a Docker engine before the engine
// does it, with the same checks that judge what runs.
//
// A request goes three steps. ParseURI reads where it goes, in the one way in
// which the engine's router reads it. Decode reads its body as the engine's own
// types would be filled from it, and writes it again in one canonical form. A
// Judge weighs the result. What was judged is what is passed on: a path or a
// body that a second reader could take otherwise is refused, and neither the
// path nor the body that came is ever sent.
//
// The package is pure: whoever owns the socket reads the request, says who
// asks, and answers the questions about the host that World puts.
package admission

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/declared"
	"casco/loop/inventory"
	"casco/loop/risk"

	"casco/guard/network"
	"casco/policy"
)

// A Caller is who asks, as far as the socket told.
type Caller struct {
	UID, GID  uint32   // of the process at the other end (SO_PEERCRED)
	Groups    []uint32 // its further groups (SO_PEERGROUPS)
	PID       int
	LoginUID  int64  // /proc/PID/loginuid; -1 none
	Unit      string // systemd unit that it runs in
	Container string // name of the container that it runs in
	Userns    string // user who made the user namespace that it is in; "" the host's own
	TLSName   string // common name of its certificate
	Via       string // which door: a path, an address, "authz"
	Passed    bool   // the door has let the request pass, by who asked there; of Via "authz"
}

// An Asked is one request. Body is all of it, unless the Route streams.
type Asked struct {
	Caller      Caller
	At          time.Time // UTC: exceptions begin and end
	Method, URI string    // URI is what stood in the request line
	ContentType string    // of all such headers, joined with ", "
	Body        []byte
}

// A World answers what a request refers to, as it is now. Objects are those of
// package inventory and are not changed. nil: there is no such thing, or it
// could not be read.
type World interface {
	Image(ref string) *inventory.Object
	Container(idOrName string) *inventory.Object
	Network(idOrName string) *inventory.Object
	Volume(name string) *inventory.Object
	// Get is what the engine answers to GET path, decoded; nil if it refuses.
	Get(path string) any
	// Seccomp reads the profile at a path of the host.
	Seccomp(hostPath string) ([]byte, error)
	// Signatures are those that this host has for an image with that digest
	// ("sha256:…"): armored SSHSIG. Whose they are is not looked at.
	Signatures(digest string) [][]byte
	// Resolve follows the symlinks of a path of the host. Of a path that is not
	// there it resolves what is, and leaves the rest.
	Resolve(hostPath string) string
	// Snapshot is the host as it was last read. While it is the same pointer, it
	// has not changed.
	Snapshot() *inventory.Snapshot
}

// A Decision is what becomes of a request.
type Decision struct {
	Allow    bool
	Observed bool   // it is let through although a rule is against it, whose mode is observe
	Rule     string // of the first refusal
	Refusals []Refusal
	Status   int // of HTTP, where it is refused
	// Says is what to tell the caller of a refusal, and nothing of Refusals: it is
	// what the engine says of what it has not. "" otherwise.
	Says string

	// Object is what the request makes or is about, by the name that it gives, and
	// Other what it is about beside that: the network that a container is put on.
	// They are zero where it names none.
	Object, Other inventory.Ref
	// Route is where it goes: Route.URI() is what to ask of the engine. Its
	// Endpoint is nil if that could not be told; in mode observe the request is
	// then passed on as it came.
	Route Route
	// Forward is the body to send, with Content-Type application/json. It is nil
	// if the body is to be passed on as it came: a stream, or what could not be
	// read in mode observe. Where it is empty no body is sent.
	Forward []byte
	Stream  bool
	// Edit takes out of the answer what is not for this caller; nil: it may have
	// all of it. Who cannot have an answer changed must refuse.
	Edit      *Edit
	Mutations []Mutation // what Forward has that the request had not
	// Excepted are the IDs of exceptions without which it would be refused.
	Excepted []string
	// Against are the rules that are against it, whatever becomes of that: refused,
	// observed or excepted.
	Against []string
}

// A Mutation is a setting that the policy put into a request.
type Mutation struct {
	Field string // "HostConfig.SecurityOpt"
	Value string // what was added there, in short: "no-new-privileges:true"
	Path  string // of the policy: "admission.add.no_new_privileges"
}

// A Judge decides by one policy. It may be used by several goroutines.
type Judge struct {
	policy   *policy.Policy
	declared *declared.Declared
	places   *network.Judge
	verify   risk.Verify
	checks   []*audit.Check // of containers
	optional map[string]bool
	path     pathChecks
	volume   *audit.Check
	imageAge *audit.Check

	mu   sync.Mutex
	seen *inventory.Snapshot // the World's last
	with *inventory.Snapshot // the same with what the policy says

	claimed claims
}

// NewJudge takes a policy that was parsed and linted. verify says who signed an
// exception; own are the organisation's own checks, which are asked where the
// policy names them under admission.rules.
func NewJudge(p *policy.Policy, verify risk.Verify, own ...*audit.Check) (*Judge, error) {
	places, err := network.NewJudge(p)
	if err != nil {
		return nil, err
	}
	j := &Judge{policy: p, declared: declared.By(p), places: places, verify: verify, optional: map[string]bool{}, volume: checks.Find("volume-host-path"), imageAge: checks.Find("image-age")}
	for _, c := range checks.All() {
		if slices.Contains(strict, c.ID) || slices.Contains(optional, c.ID) {
			j.checks = append(j.checks, c)
		}
	}
	for _, r := range Rules() {
		j.optional[r.ID] = r.Optional
	}
	for _, c := range own {
		if c.Kind == inventory.Container {
			j.checks = append(j.checks, c)
			j.optional[c.ID] = true
		}
	}
	j.path = pathChecks{checks.Find("container-sensitive-mount"), checks.Find("container-engine-socket"), checks.Find("container-devices")}
	return j, nil
}

// A question is one request on its way through the rules.
type question struct {
	view
	Asked
	route Route
	body  map[string]any // nil if there is none
	tier  string         // of the container that it is about
	mine  bool           // the label AddedLabel was put there here
	start bool           // it is no request but a container that starts: see Look
	out   Decision
}

// Decide judges one request.
func (j *Judge) Decide(a Asked, w World) Decision {
	q := &question{view: view{Judge: j, world: w}, Asked: a}
	var err error
	if q.route, err = ParseURI(a.Method, a.URI); err != nil {
		return q.unread(err)
	}
	q.out.Route, q.out.Stream = q.route, q.route.Streams()
	q.out.Object, q.out.Other = q.objects()
	body, err := Decode(q.route, a.ContentType, a.Body)
	if err != nil {
		return q.unread(err)
	}
	q.out.Forward = body.JSON
	q.body, _ = body.Value.(map[string]any)
	q.out.Object, q.out.Other = q.objects()
	q.caller()
	if q.owned() {
		q.weigh()
	}
	return q.decided()
}

// Before decides what can be decided of a request before its body is read:
// whether its caller may ask for such a thing at all. Where it allows, the body is
// to be seen, and Decide says all of it.
func (j *Judge) Before(a Asked, w World) Decision {
	q := &question{view: view{Judge: j, world: w}, Asked: a}
	var err error
	if q.route, err = ParseURI(a.Method, a.URI); err != nil {
		return q.unread(err)
	}
	q.out.Route = q.route
	q.out.Object, q.out.Other = q.objects()
	if _, err := mediaType(a.ContentType); err != nil {
		return q.unread(err)
	}
	q.caller()
	q.ownedBefore()
	switch q.route.Endpoint.Class {
	case Plugin, Swarm, Prune: // by what they are
		q.weigh()
	}
	return q.decided()
}

// unread is the decision about what could not be read.
func (q *question) unread(err error) Decision {
	r := &Refusal{}
	if !errors.As(err, &r) {
		r = malformed(lang.Text{En: err.Error(), Es: err.Error()})
	}
	q.add(*r)
	// What cannot be read cannot be answered in part either.
	if q.mayOnlyLook() {
		q.out.Refusals = append(q.out.Refusals, Refusal{Rule: "caller-read-only", Status: 403, Reason: unreadText, Fix: askOther})
	}
	if q.entries() != nil {
		q.mayNot(unreadText)
	}
	return q.decided()
}

var unreadText = lang.Text{En: "this caller may have a part of what the engine answers, and it cannot be told what this asks for", Es: "quien llama puede tener parte de lo que responde el motor, y no se sabe qué pide esto"}

func (q *question) decided() Decision {
	d := &q.out
	d.Allow = true
	for _, r := range d.Refusals {
		if !r.Observed {
			d.Allow, d.Rule, d.Status = false, r.Rule, r.Status
			break
		}
	}
	switch {
	case !d.Allow:
		d.Forward, d.Mutations, d.Edit = nil, nil, nil
	case len(d.Refusals) > 0:
		d.Observed, d.Rule = true, d.Refusals[0].Rule
	}
	return *d
}

// refuse notes that a rule is against the request, as the policy wants it
// taken.
func (q *question) refuse(rule string, reason, fix lang.Text) {
	q.add(Refusal{Rule: rule, Reason: reason, Fix: fix, Status: 403})
}

func (q *question) add(r Refusal) {
	mode, path := q.mode(r.Rule, q.tier)
	if mode == policy.Ignore {
		return
	}
	r.Observed = mode == policy.Observe
	if r.Path == "" {
		r.Path = path
	}
	q.keep(r)
	q.against(r.Rule)
}

// keep notes a refusal. Whoever asks chooses how much is wrong with it, and how
// long that is to tell; the first that refuses is always kept.
func (q *question) keep(r Refusal) {
	refuses := func(r Refusal) bool { return !r.Observed }
	if len(q.out.Refusals) < maxRefusals || refuses(r) && !slices.ContainsFunc(q.out.Refusals, refuses) {
		r.Reason = lang.Text{En: brief(r.Reason.En), Es: brief(r.Reason.Es)}
		q.out.Refusals = append(q.out.Refusals, r)
	}
}

const (
	maxRefusals = 50   // that a decision has
	maxReason   = 2000 // bytes of a reason
)

// brief is the beginning of a reason.
func brief(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + "…"
}

// against notes that a rule is.
func (q *question) against(rule string) {
	if !slices.Contains(q.out.Against, rule) {
		q.out.Against = append(q.out.Against, rule)
	}
}

// caller judges who asks.
func (q *question) caller() {
	if q.mayOnlyLook() {
		q.readOnly()
		return
	}
	if name := q.Caller.Container; name != "" && q.route.Endpoint.Class != Ping && q.route.Endpoint.Class != Read {
		if o := q.world.Container(name); o != nil {
			q.tier = q.tierOf(o)
		}
		q.refuse("caller-container", lang.Text{
			En: "container %q asks for %s: who takes the container would have the host", Es: "el contenedor %q pide %s: quien tome el contenedor tendría el anfitrión",
		}.F(name, q.route.Endpoint), askOther)
		q.tier = ""
	}
}

var askOther = lang.Text{En: "ask as another user, or change admission.read_only or admission.rules in the policy", Es: "pida como otro usuario, o cambie admission.read_only o admission.rules en la política"}

func (q *question) mayOnlyLook() bool {
	return q.among(q.policy.Admission.ReadOnly) || q.obscured(q.policy.Admission.ReadOnly)
}

// weigh asks the rules that speak of such a request.
func (q *question) weigh() {
	e := q.route.Endpoint
	switch e.Class {
	case Create:
		q.create()
	case Update:
		q.update()
	case Exec:
		q.exec()
	case Attach:
		q.attach()
	case Archive:
		q.archive()
	case Lifecycle:
		q.lifecycle()
	case Build:
		q.build()
	case Image:
		q.image()
	case Network:
		q.network()
	case Volume:
		q.volumes()
	case Service:
		q.service()
	case Plugin:
		q.refuse("plugin", lang.Text{En: "%s changes what runs inside the engine, as root", Es: "%s cambia lo que corre dentro del motor, como root"}.F(e), byHand)
	case Swarm:
		q.refuse("swarm", lang.Text{En: "%s hands the engine to a cluster, or changes who rules it", Es: "%s entrega el motor a un clúster, o cambia quién lo gobierna"}.F(e), byHand)
	case Prune:
		q.refuse("prune", lang.Text{En: "%s deletes whatever is not used now", Es: "%s borra lo que no se use ahora"}.F(e), lang.Text{En: "delete by name", Es: "borre por nombre"})
	case Delete:
		if strings.HasPrefix(e.Path, "/containers/") {
			q.about(q.route.ID)
		}
		q.refuse("object-delete", lang.Text{En: "%s deletes %q", Es: "%s borra %q"}.F(e, q.route.ID), byHand)
	}
}

var byHand = lang.Text{En: "a change with an approval (casco plan, casco approve), or admission.rules in the policy", Es: "un cambio con aprobación (casco plan, casco approve), o admission.rules en la política"}

// about takes the tier of an existing container, where the request is about
// one.
func (q *question) about(idOrName string) *inventory.Object {
	o := q.world.Container(idOrName)
	if o != nil {
		q.tier = q.tierOf(o)
	}
	return o
}
