package auditrules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// HandName is the name of the hand that adds audit rules.
const HandName = "audit-rules"

// ruleKey marks our rules for ausearch(8); CIS Docker Benchmark 1.8.0 1.1.3 ff.
// uses the same.
const ruleKey = "docker"

// Means says what the hand can set: what is watched now, and after a reboot.
func Means() []plan.Means {
	undo := lang.Text{
		En: "The rule is taken out of the kernel and of casco's file in /etc/audit/rules.d; other rules stay.",
		Es: "La regla se quita del núcleo y del fichero de casco en /etc/audit/rules.d; las demás reglas quedan.",
	}
	return []plan.Means{
		{Kind: inventory.Watch, Field: inventory.WatchLoaded.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse},
		{Kind: inventory.Watch, Field: inventory.WatchPersistent.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse},
	}
}

func refuse(_ *inventory.Snapshot, o *inventory.Object, field string) lang.Text {
	if there, _, ok := inventory.WatchExists.Of(o); ok && !there {
		return lang.Text{En: "The path does not exist.", Es: "La ruta no existe."}
	}
	if n, _, ok := inventory.WatchEnabled.Of(o); ok && n == locked && field == inventory.WatchLoaded.Path {
		return lang.Text{
			En: "The kernel's audit rules are locked until the next reboot (auditctl -e 2).",
			Es: "Las reglas de auditoría del núcleo están bloqueadas hasta el próximo reinicio (auditctl -e 2).",
		}
	}
	return lang.Text{}
}

// Hand adds watches: to the kernel, and to 50-casco.rules.
type Hand struct{ root string }

// NewHand returns a hand that writes its file under root, "" for the host's
// own place.
func NewHand(root string) *Hand { return &Hand{root} }

func (h *Hand) file() atomicfile.Ours {
	return atomicfile.Ours{
		Path:   filepath.Join(h.root, rulesDir, "50-casco.rules"),
		Header: "## Written by casco: watches of Docker's files. Lines below are set and taken back one by one.",
		Key: func(text string) (string, bool) {
			l, ok := parseLine(strings.TrimSpace(text))
			return l.rule.Path, ok && l.op == 'w'
		},
		Perm: 0o640, // as auditd's own
	}
}

// before is the undo.
type before struct {
	Rule Rule             `json:"rule"`
	Had  bool             `json:"had,omitempty"`  // the kernel had the very rule before
	File *atomicfile.Edit `json:"file,omitempty"` // nil if the step does not set Persistent
}

// Prepare implements apply.Hand.
func (h *Hand) Prepare(_ context.Context, st plan.Step) (json.RawMessage, error) {
	want, err := wanted(st)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", st.Ref, err)
	}
	if _, err := os.Stat(st.Ref.Name); err != nil {
		return nil, err
	}
	target, isDir := resolve(st.Ref.Name)
	if strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`'"\#`, c) }) {
		return nil, fmt.Errorf("%q cannot be written in a file of audit rules", target)
	}
	b := before{Rule: Rule{Path: target, Dir: isDir, Perm: want.perm, Key: ruleKey, Arch: Both, Exact: true}}
	if want.loaded {
		if b.Had, err = canLoad(b.Rule); err != nil {
			return nil, err
		}
	}
	if want.persistent {
		e, err := h.edit(target, want.perm)
		if err != nil {
			return nil, err
		}
		b.File = &e
	}
	return json.Marshal(b)
}

// canLoad reports whether the kernel has the very rule r already. It fails if
// the kernel takes none, or would not heed it.
func canLoad(r Rule) (had bool, err error) {
	rules, enabled, err := kernelRules()
	if err != nil {
		return false, err
	}
	if enabled == locked {
		return false, errors.New("the kernel's audit rules are locked until the next reboot (auditctl -e 2)")
	}
	if i := slices.IndexFunc(rules, func(o Rule) bool { return o.Task && o.Never && o.Exact }); i >= 0 {
		return false, errors.New(`the rule "-a never,task" is loaded: with it the kernel watches nothing; remove it first`)
	}
	return slices.Contains(rules, r), nil
}

// edit prepares the line in our file. What our line there watches already
// stays watched.
func (h *Hand) edit(target string, perm Perm) (atomicfile.Edit, error) {
	f := h.file()
	dir := filepath.Dir(f.Path)
	if _, err := os.Stat(dir); err != nil {
		return atomicfile.Edit{}, fmt.Errorf("%w; nothing would load the rule at boot: install auditd", err)
	}
	rules, err := ReadDir(dir)
	if err != nil {
		return atomicfile.Edit{}, err
	}
	for _, r := range rules {
		if r.Path == target && strings.HasPrefix(r.From, filepath.Base(f.Path)+":") {
			perm |= r.Perm
		}
	}
	return f.Prepare(target, fmt.Sprintf("-w %s -p %s -k %s", target, perm, ruleKey))
}

// Do implements apply.Hand: the kernel first, because it is the one that may
// say no.
func (h *Hand) Do(ctx context.Context, st plan.Step, undo json.RawMessage) error {
	b, want, err := recall(st, undo)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if want.loaded {
		if err := tell(func(c *client) error { return c.add(b.Rule) }); err != nil {
			return fmt.Errorf("load the audit rule for %s: %w", b.Rule.Path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.File != nil {
		return h.file().Do(*b.File)
	}
	return nil
}

// Undo implements apply.Hand. A rule that was loaded before stays loaded.
func (h *Hand) Undo(_ context.Context, st plan.Step, undo json.RawMessage) error {
	b, want, err := recall(st, undo)
	if err != nil {
		return err
	}
	var errs []error
	if b.File != nil {
		errs = append(errs, h.file().Undo(*b.File))
	}
	if want.loaded && !b.Had {
		if err := tell(func(c *client) error { return c.remove(b.Rule) }); err != nil {
			errs = append(errs, fmt.Errorf("take out the audit rule for %s: %w", b.Rule.Path, err))
		}
	}
	return errors.Join(errs...)
}

// Foreign implements apply.Watchful: the line in our file, if somebody has
// rewritten it.
func (h *Hand) Foreign(_ context.Context, st plan.Step, undo json.RawMessage) ([]apply.Conflict, error) {
	b, _, err := recall(st, undo)
	if err != nil || b.File == nil {
		return nil, err
	}
	was, now, foreign, err := h.file().Foreign(*b.File)
	if err != nil || !foreign {
		return nil, err
	}
	return []apply.Conflict{{What: "file/" + h.file().Path + " " + b.Rule.Path, Before: was, Ours: b.File.Line, Now: now}}, nil
}

func recall(st plan.Step, undo json.RawMessage) (b before, w want, err error) {
	if err := json.Unmarshal(undo, &b); err != nil {
		return b, w, err
	}
	w, err = wanted(st)
	return b, w, err
}

func tell(do func(*client) error) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

// A want is what a step sets.
type want struct {
	perm               Perm
	loaded, persistent bool
}

func wanted(st plan.Step) (w want, err error) {
	for _, set := range st.Sets {
		text, _ := set.To.(string)
		perm, ok := ParsePerm(text)
		switch {
		case !ok || perm == 0:
			return w, fmt.Errorf("%s: %v is not what a file can be watched for (letters of %s)", set.Field, set.To, letters)
		case set.Field == inventory.WatchLoaded.Path:
			w.loaded = true
		case set.Field == inventory.WatchPersistent.Path:
			w.persistent = true
		default:
			return w, fmt.Errorf("cannot set %s", set.Field)
		}
		if w.perm != 0 && w.perm != perm {
			return w, errors.New("a file is watched for the same now and after a reboot")
		}
		w.perm = perm
	}
	if w.perm == 0 {
		return w, errors.New("the step sets nothing")
	}
	return w, nil
}
