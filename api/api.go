// Package api is how the guard of a host is spoken to: HTTP with JSON on a
// unix socket that root alone may open. The command line is a client like any
// other.
package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"casco/guard/network"
	"casco/internal/atomicfile"
	"casco/internal/unixsock"
	"casco/keeper"
	"casco/lang"
	"casco/policy"
)

// DefaultRun is the directory of the sockets of a running guard.
const DefaultRun = "/run/casco"

// Socket is the file of the guard's socket in its directory.
func Socket(run string) string { return filepath.Join(run, "guard.sock") }

// A Status is what a guard says of itself.
type Status struct {
	Version   string         `json:"version"`
	Since     time.Time      `json:"since"`
	Engine    string         `json:"engine"`
	Policy    string         `json:"policy"`  // digest of the one that it goes by
	Enforce   bool           `json:"enforce"` // else what would be dropped is only counted
	Start     string         `json:"start"`   // how starts are held: "fanotify", "runtime"
	Keeper    keeper.Report  `json:"network"`
	Door      *DoorStatus    `json:"door,omitempty"`   // nil if no requests are judged
	Events    []keeper.Event `json:"events,omitempty"` // the last ones, oldest first
	ProcessID int            `json:"pid"`
	// PolicyTrouble is why it does not go by the policy that it is told to; nil if
	// it does.
	PolicyTrouble *PolicyTrouble `json:"policy_trouble,omitempty"`
	// Unknown are the containers of this host of which nobody knows who made them.
	Unknown []Unknown `json:"origin_unknown,omitempty"`
}

// A PolicyTrouble is why a guard goes by the last policy that was in order, and
// not by the one that it is told to.
type PolicyTrouble struct {
	What  string    `json:"what"`
	Why   lang.Text `json:"why"`
	Since time.Time `json:"since"`
}

// What of a PolicyTrouble, and, with "policy-" before them, of alerts in the
// ledger.
const (
	PolicyGone   = "gone"   // the policy that was in force is no longer there
	PolicyBroken = "broken" // it cannot be read, or is not in order
	PolicyForged = "forged" // it, or its signature, is not what may follow the last one
	PolicyOlder  = "older"  // its version is lower
	PolicyCopy   = "copy"   // it is in order; the copy of the last one was not as it was left
	PolicyGood   = "good"   // the trouble is over
)

// Text says the trouble, with the policy that is gone by.
func (t *PolicyTrouble) Text(by policy.Metadata) lang.Text {
	return lang.Text{
		En: "POLICY %s: the last good one goes on, %s; what is wrong: %s", Es: "POLÍTICA %s: sigue la última buena, %s; lo que está mal: %s",
	}.F(t.Word(), by, t.Why)
}

// Word is What for people.
func (t *PolicyTrouble) Word() lang.Text { return policyWords[t.What] }

var policyWords = map[string]lang.Text{
	PolicyGone: {En: "GONE", Es: "PERDIDA"}, PolicyBroken: {En: "BROKEN", Es: "ROTA"},
	PolicyForged: {En: "FORGED", Es: "FALSIFICADA"}, PolicyOlder: {En: "TOO OLD", Es: "ANTERIOR"},
}

// An Unknown is a container of which nobody knows who made it.
type Unknown struct {
	Ref       string    `json:"ref"`
	ID        string    `json:"id,omitempty"`
	Seen      time.Time `json:"seen"`
	Why       string    `json:"why"`                 // past-engine, past-door, guard-away
	Engine    string    `json:"engine"`              // where it is: address of an engine or containerd, directory of a runtime's states
	Namespace string    `json:"namespace,omitempty"` // of containerd
	PID       int       `json:"pid,omitempty"`       // of its first process
}

// A World is what runs, and the policy that it is judged by.
type World struct {
	network.World
	Policy *policy.Policy `json:"policy"`
	// Lines says where what stands in the policy, which no Policy says in JSON.
	Lines map[string]policy.Pos `json:"lines,omitempty"`
}

// A Guard answers.
type Guard interface {
	Status(ctx context.Context) (Status, error)
	World(ctx context.Context) (World, error)
	Flows(ctx context.Context) ([]network.Flow, error)
	// Probe tries what may be reached and what may not.
	Probe(ctx context.Context) ([]keeper.Probe, error)
	// Reload reads policy, mode, door and break-glass again and goes by them when
	// it returns.
	Reload(ctx context.Context) error
	// Upgrade has a new process take over, of the program as it is on the disk
	// now. It returns once that one is at work.
	Upgrade(ctx context.Context) error
}

// An answer is the body of a reply: what was asked for, or why not.
type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *lang.Text      `json:"error,omitempty"`
}

// Handler serves a guard.
func Handler(g Guard, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	reply := func(f func(context.Context) (any, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r.Context())
			var a answer
			if err == nil {
				a.Value, err = json.Marshal(v)
			}
			w.Header().Set("Content-Type", "application/json")
			if err != nil {
				log.Warn("request failed", "path", r.URL.Path, "err", err)
				a.Error = &lang.Text{En: lang.Say(err, lang.English), Es: lang.Say(err, lang.Spanish)}
				w.WriteHeader(http.StatusInternalServerError)
			}
			if err := json.NewEncoder(w).Encode(a); err != nil {
				log.Warn("reply failed", "path", r.URL.Path, "err", err)
			}
		}
	}
	mux.HandleFunc("GET /v1/status", reply(func(ctx context.Context) (any, error) { return g.Status(ctx) }))
	mux.HandleFunc("GET /v1/world", reply(func(ctx context.Context) (any, error) { return g.World(ctx) }))
	mux.HandleFunc("GET /v1/flows", reply(func(ctx context.Context) (any, error) { return g.Flows(ctx) }))
	mux.HandleFunc("POST /v1/probe", reply(func(ctx context.Context) (any, error) { return g.Probe(ctx) }))
	mux.HandleFunc("POST /v1/reload", reply(func(ctx context.Context) (any, error) { return nil, g.Reload(ctx) }))
	mux.HandleFunc("POST /v1/upgrade", reply(func(ctx context.Context) (any, error) { return nil, g.Upgrade(ctx) }))
	return mux
}

// Serve answers at path until ctx ends. Another guard that answers there is an
// error; what a dead one left is replaced.
func Serve(ctx context.Context, path string, h http.Handler) error {
	l, err := unixsock.Listen(path, 0o700, 0)
	if err != nil {
		return err
	}
	return ServeAt(ctx, l, h)
}

// ServeAt is Serve at a socket that is there. Where another has taken its path
// meanwhile, that one stays.
func ServeAt(ctx context.Context, l *unixsock.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		l.Remove() // before others may take the place
		s.Close()
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A Client asks a guard.
type Client struct {
	http *http.Client
	path string
}

// NewClient is one of the guard whose directory is run.
func NewClient(run string) *Client {
	path := Socket(run)
	return &Client{
		path: path,
		http: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}},
	}
}

// ErrNoGuard is why nobody answers.
var ErrNoGuard = lang.Errorf(lang.Text{En: "no guard is at work here", Es: "no hay ninguna guardia en marcha aquí"})

func (c *Client) call(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://guard"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, c.path, ErrNoGuard)
		}
		return err
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(&a); err != nil {
		return lang.Errorf(lang.Text{En: "%s: reply: %w", Es: "%s: respuesta: %w"}, c.path, err)
	}
	if a.Error != nil {
		return lang.Errorf(lang.Text{En: "guard: %s", Es: "guardia: %s"}, *a.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Value, out)
}

// Status asks how the guard is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "/v1/status", &s)
}

// World asks what runs.
func (c *Client) World(ctx context.Context) (w World, err error) {
	if err := c.call(ctx, http.MethodGet, "/v1/world", &w); err != nil {
		return w, err
	}
	w.Policy.Lines = w.Lines
	return w, nil
}

// Flows asks who talked to whom.
func (c *Client) Flows(ctx context.Context) (fs []network.Flow, err error) {
	return fs, c.call(ctx, http.MethodGet, "/v1/flows", &fs)
}

// Probe has the guard try what may be reached and what may not.
func (c *Client) Probe(ctx context.Context) (ps []keeper.Probe, err error) {
	return ps, c.call(ctx, http.MethodPost, "/v1/probe", &ps)
}

// Proof holds what was reached after a change against what was before: nothing
// may be reached that the policy does not let pass, and what it does and was
// reached must still be.
func Proof(before, after []keeper.Probe) error {
	reached := map[keeper.Attempt]bool{}
	for _, p := range before {
		reached[p.Attempt] = p.Reached
	}
	var errs []error
	for _, p := range after {
		switch {
		case p.Reached && !p.May:
			errs = append(errs, lang.Errorf(lang.Text{En: "%s still reaches %s", Es: "%s todavía llega a %s"}, p.From, p.At))
		case !p.Reached && p.May && reached[p.Attempt]:
			errs = append(errs, lang.Errorf(lang.Text{En: "%s no longer reaches %s, which the policy lets it", Es: "%s ya no llega a %s, y la política lo permite"}, p.From, p.At))
		}
	}
	return errors.Join(errs...)
}

// Upgrade has a new process take over from the guard.
func (c *Client) Upgrade(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/upgrade", nil)
}

// Reload makes the guard go by what the files say now.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/reload", nil)
}

// A Mode says whether rules are enforced. It is kept in a file, so that a
// guard which starts goes by what was approved before.
type Mode struct {
	Enforce bool `json:"enforce"`
}

// ModeFile is the file of the mode in a state directory.
func ModeFile(state string) string { return filepath.Join(state, "network.json") }

// ReadMode reads the mode; no file is the zero Mode.
func ReadMode(path string) (m Mode, err error) { return m, read(path, &m) }

// WriteMode replaces the mode in one act.
func WriteMode(path string, m Mode) error { return write(path, m) }

// read leaves v alone if there is no file.
func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func write(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(b, '\n'), 0o600)
}

// A Drop is how many packets were dropped by the rules of one namespace, or of
// the host, for one reason.
type Drop struct {
	Who     string // "" is the host
	Class   lang.Text
	Packets uint64
}

// Dropped lists what was dropped, most first.
func (s Status) Dropped() []Drop {
	var out []Drop
	for who, classes := range s.Keeper.Drops {
		for class, n := range classes {
			out = append(out, Drop{who, keeper.Class(class), n.Packets})
		}
	}
	slices.SortFunc(out, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Who, b.Who), cmp.Compare(a.Class.En, b.Class.En))
	})
	return out
}
