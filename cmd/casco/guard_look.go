package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"casco/guard/admission"
	"casco/host/docker"
	"casco/host/gate"
	"casco/host/inits"
	"casco/host/proc"
	"casco/host/spaces"
	"casco/keeper"
	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
	"casco/store"
)

// A looker judges containers by their final configuration: when a runtime is
// told to make one, and again, by what was mounted, before it starts. It asks no
// engine, which waits for it.
type looker struct {
	g     *guard
	files spaces.Files // of the engine
	root  string       // its data root
	roots []string     // of its runtimes' states
	net   uint64       // its network namespace
	letIn agreements   // what the doors knew

	judge  atomic.Pointer[admission.Judge]
	policy atomic.Pointer[policy.Policy]
	host   atomic.Pointer[inventory.Snapshot] // where there is no doorman who reads it

	mu   sync.Mutex // guards made
	made map[string]made
}

// What was made is kept until it starts, or another one takes its place.
type made struct {
	config [sha256.Size]byte
	look   admission.Look
}

// maxMade bounds what was made and never started.
const maxMade = 1024

// lookAnew is how often the engine is read for the looker where there is no
// doorman: it needs what the engine is, and volumes and networks by their names.
const lookAnew = 5 * time.Minute

func newLooker(g *guard, cfg keeper.Config) (*looker, error) {
	l := &looker{g: g, files: cfg.Files, root: filepath.Dir(string(cfg.Files)), roots: cfg.Roots, net: cfg.Host.ID, letIn: agreements{g.a.agreedDir()}, made: map[string]made{}}
	return l, l.setPolicy(cfg.Policy)
}

func (l *looker) setPolicy(p *policy.Policy) error {
	j, err := admission.NewJudge(p, loaded)
	if err == nil {
		l.judge.Store(j)
		l.policy.Store(p)
	}
	return err
}

// judgeNow is the judge that counts now: root may have broken the glass.
func (l *looker) judgeNow() *admission.Judge {
	if j := l.g.doorman.broken(); j != nil {
		return j
	}
	return l.judge.Load()
}

// enforces reports whether what cannot be looked at is held back.
func (l *looker) enforces() bool {
	return l.policy.Load().Admission.Mode == policy.Enforce && l.g.doorman.broken() == nil
}

// follow reads the engine from time to time until ctx ends.
func (l *looker) follow(ctx context.Context, h *host) error {
	for {
		wait := lookAnew
		switch {
		case l.g.doorman.reads():
			wait = rereadEvery
			if err := l.forgetGone(); err != nil {
				l.g.log.Error("what was let in is kept for containers that are gone", "err", err)
			}
		case h.engine == nil: // it did not answer when the guard began
			wait = rereadEvery
			if again, err := l.g.a.hostBy(h.judge); err == nil {
				h = again
			}
		default:
			s := inventory.Take(ctx, l.g.host, time.Now(), docker.NewSource(h.engine, docker.Options{}))
			l.host.Store(s.Share())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Start is a gate.Judge.
func (l *looker) Start(_ context.Context, s gate.Start) error {
	if !l.ours(s) {
		return nil
	}
	err := l.start(s)
	if _, refused := errors.AsType[refusal](err); err == nil || refused {
		return err
	}
	l.g.log.Error("a start cannot be looked at", "container", s.ID, "err", err)
	if !l.enforces() {
		return nil
	}
	return lang.Errorf(lang.Text{En: "%w: %w", Es: "%w: %w"}, gate.ErrUnjudged, err)
}

// ours reports whether a call of a runtime is for the engine that is guarded: for
// its containers, for those of other clients of its containerd, for the steps of
// its builds, or whatever its wrapper is called for. Of others the ledger says that
// their origin is unknown. Whoever is not root gives a container nothing of the
// host's that he has not himself.
func (l *looker) ours(s gate.Start) bool {
	switch {
	case s.Caller > 0 && !isRoot(s.Caller):
		return false
	case s.Way == "wrapper", slices.Contains(l.roots, filepath.Clean(s.Root)), strings.HasPrefix(s.Bundle, l.root+"/"):
		return true
	}
	return s.Caller > 0 && l.g.containerd != "" && realPath(inits.MakerOf(s.Caller).Containerd) == realPath(l.g.containerd)
}

// realPath is a socket's path without links: /var/run is one.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// A refusal is why a container does not start.
type refusal string

func (r refusal) Error() string { return string(r) }

func (l *looker) start(s gate.Start) error {
	st := admission.Start{ID: s.ID, At: time.Now().UTC(), Bundle: s.Bundle, DataRoot: l.root, Unified: unified()}
	var err error
	if st.Config, err = readBundle(s); err != nil {
		l.g.log.Warn("a bundle cannot be read", "container", s.ID, "err", err) // and is judged as an empty one
	}
	// What mounts show is seen when they are made; of what is made and started in
	// one, there is no time between.
	tree, err := proc.OpenTree(s.Caller, s.Verb != "create")
	if err != nil {
		return err
	}
	defer tree.Close()
	look, seen := l.take(s, st)
	if !seen {
		look = l.look(s, &st, tree)
	}
	if s.PID > 0 {
		if st.Shown, err = strange(tree, look, s.PID); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(st.Shown) > 0 {
			look, seen = l.look(s, &st, tree), false
		}
	}
	if s.Verb == "create" && look.Allow {
		l.keep(st, look)
	}
	if seen {
		return nil
	}
	l.note(s, st, look)
	if !look.Allow {
		return refusal(strings.Join(reasons(look.Decision, l.g.a.lang), "; "))
	}
	return nil
}

// look judges with what the engine's files say of the container.
func (l *looker) look(s gate.Start, st *admission.Start, tree *proc.Tree) admission.Look {
	if st.Kept == nil && slices.Contains(l.roots, filepath.Clean(s.Root)) {
		var err error
		if st.Kept, st.Volumes, err = l.files.Object(s.ID); err != nil {
			l.g.log.Warn("an engine's file cannot be read", "container", s.ID, "err", err)
		}
	}
	return l.judgeNow().Look(*st, sight{l, tree})
}

// take is what was seen of a container when it was made, if it has the same
// configuration still.
func (l *looker) take(s gate.Start, st admission.Start) (admission.Look, bool) {
	if s.PID == 0 {
		return admission.Look{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.made[s.ID]
	delete(l.made, s.ID)
	return m.look, ok && m.config == sha256.Sum256(st.Config)
}

func (l *looker) keep(st admission.Start, look admission.Look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.made) >= maxMade {
		clear(l.made) // what is forgotten is looked at anew
	}
	l.made[st.ID] = made{sha256.Sum256(st.Config), look}
}

// strange is what a container shows of the host that its configuration does not
// say: a path of it led elsewhere when it was mounted.
func strange(tree *proc.Tree, look admission.Look, pid int) ([]admission.Shown, error) {
	shown, err := tree.Shown(pid)
	var out []admission.Shown
	for _, s := range shown {
		if is := (admission.Shown{Target: s.Target, Path: s.Path, ReadOnly: s.ReadOnly}); !look.Shows(is, s.Type) {
			out = append(out, is)
		}
	}
	return out, err
}

// note writes down what a rule is against, and whether who let the container in
// did not know of it: then somebody was deceived.
func (l *looker) note(s gate.Start, st admission.Start, look admission.Look) {
	if len(look.Refusals) == 0 {
		return // nothing is wrong, or an exception lets it be
	}
	what := store.Observed
	if !look.Allow {
		what = store.Refused
	}
	text := fmt.Sprintf("%s of %s by %s", s.Verb, s.ID, s.Runtime)
	if st.Kept == nil {
		text += ", which no engine here made"
	}
	l.g.noted(store.Decision{Ref: short(look.Ref.String()), By: store.Admission, What: what, Call: &store.Call{
		At: st.At, Engine: l.g.engine, Request: short(text), ID: s.ID, Refusals: refusals(look.Refusals),
		Caller: store.Caller{UID: -1, GID: -1, LoginUID: -1, Via: store.ViaRuntime},
	}})
	l.g.log.Warn("admission", "what", what, "rules", strings.Join(look.Against, " "), "container", look.Ref.Name, "id", s.ID, "verb", s.Verb)
	if !look.Allow {
		l.g.happened(keeper.Event{Time: st.At, Kind: keeper.Refused, Container: look.Ref.Name, Text: lang.Text{
			En: "it was not started: %s", Es: "no se arrancó: %s",
		}.F(look.Rule)})
	}
	was, known := l.letIn.of(s.ID)
	if more := was.lacks(look, l.policy.Load().Digest); known && st.Kept != nil && len(more) > 0 {
		var found []string
		for _, r := range look.Refusals {
			found = append(found, r.Rule+": "+short(r.Reason.En))
		}
		l.g.happened(keeper.Event{Time: st.At, Kind: keeper.Disagree, Container: look.Ref.Name, Text: lang.Text{
			En: "the judges disagree: %s let it in with %s against it, and its final configuration has %s: %s",
			Es: "los jueces discrepan: %s lo dejó entrar con %s en contra, y su configuración final tiene %s: %s",
		}.F(was.By, ruleNames(was.Against), ruleNames(more), strings.Join(found, "; "))})
	}
}

// forgetGone drops what was let in and is no more.
func (l *looker) forgetGone() error {
	return l.letIn.forget(func(id string) bool {
		_, err := os.Stat(filepath.Join(string(l.files), id))
		return !errors.Is(err, fs.ErrNotExist)
	})
}

func ruleNames(rules []string) string {
	if len(rules) == 0 {
		return "-"
	}
	return strings.Join(rules, ", ")
}

// readBundle reads a bundle's config.json once, where the runtime will: an engine
// without root has mounts of its own.
func readBundle(s gate.Start) ([]byte, error) {
	const most = 4 << 20
	path := filepath.Join(s.Bundle, "config.json")
	if s.Caller > 0 {
		path = filepath.Join(fmt.Sprintf("/proc/%d/root", s.Caller), path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would wait for its writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, lang.Errorf(lang.Text{En: "%s: %v of %d bytes is not read", Es: "%s: no se lee %v de %d bytes"}, path, info.Mode(), info.Size())
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// isRoot reports whether a process has root's rights here; one that cannot be
// read may have.
func isRoot(pid int) bool {
	var st syscall.Stat_t
	err := syscall.Stat(fmt.Sprintf("/proc/%d", pid), &st) // its effective user, proc(5)
	return err != nil || st.Uid == 0
}

// unified reports whether the host has cgroup v2, cgroups(7).
var unified = sync.OnceValue(func() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
})

// A sight answers a judge what a configuration refers to, by what the kernel and
// the engine's files say now, and by the last reading of the engine.
type sight struct {
	*looker
	tree *proc.Tree
}

var nothingRead = &inventory.Snapshot{}

func (s sight) Snapshot() *inventory.Snapshot {
	if d := s.g.doorman; d.reads() {
		return d.host.Load()
	}
	if read := s.host.Load(); read != nil {
		return read
	}
	return nothingRead
}

// Signatures is a method of admission.World.
func (s sight) Signatures(digest string) [][]byte { return s.g.signatures(digest) }

func (s sight) find(kind inventory.Kind, name string) *inventory.Object {
	return s.Snapshot().Find(inventory.Ref{Kind: kind, Name: name})
}

func (s sight) Image(ref string) *inventory.Object    { return s.find(inventory.Image, ref) }
func (s sight) Network(name string) *inventory.Object { return s.find(inventory.Network, name) }
func (s sight) Volume(name string) *inventory.Object  { return s.find(inventory.Volume, name) }

// Get is for answers about callers, of whom none is known at a start.
func (sight) Get(string) any { return nil }

func (s sight) Container(idOrName string) *inventory.Object {
	if o := inventory.ContainerNamed(s.Snapshot(), idOrName); o != nil {
		return o
	}
	o, _, err := s.files.Object(idOrName)
	if err != nil {
		o, _, err = s.files.Object(s.files.Named(idOrName))
	}
	if err != nil {
		return nil
	}
	return o
}

func (s sight) Paths(source string) []string {
	if paths := s.tree.Paths(source); paths != nil {
		return paths
	}
	return []string{s.Resolve(source)}
}

func (sight) Resolve(path string) string { return resolve(path) }

// Seccomp is a method of admission.World.
func (sight) Seccomp(path string) ([]byte, error) { return readSeccomp(path) }

// HostNamespace takes one that cannot be read for the host's.
func (s sight) HostNamespace(file string) bool {
	for _, of := range []string{"net", "pid", "ipc", "uts", "cgroup", "user", "mnt"} {
		if proc.Same(file, "/proc/self/ns/"+of) {
			return true
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return st.Ino == s.net
}
