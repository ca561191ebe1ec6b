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

// Means says what the hand can set: what is watched now and after a reboot,
// and whether the kernel audits at all.
func Means() []plan.Means {
	undo := lang.Text{
		En: "The rule is taken out of the kernel and of casco's file in /etc/audit/rules.d; other rules stay.",
		Es: "La regla se quita del núcleo y del fichero de casco en /etc/audit/rules.d; las demás reglas quedan.",
	}
	return []plan.Means{
		{Kind: inventory.Watch, Field: inventory.WatchLoaded.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse},
		{Kind: inventory.Watch, Field: inventory.WatchPersistent.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse},
		{Kind: inventory.Watch, Field: inventory.WatchEnabled.Path, Hand: HandName, Cost: plan.Live, Refuse: refuse, Undo: lang.Text{
			En: "The kernel's audit is switched off again if it was off before and nobody has locked it since.",
			Es: "La auditoría del núcleo se apaga de nuevo si antes estaba apagada y nadie la ha bloqueado desde entonces.",
		}},
	}
}

func refuse(_ *inventory.Snapshot, o *inventory.Object, field string) lang.Text {
	if there, _, ok := inventory.WatchExists.Of(o); ok && !there {
		return lang.Text{En: "The path does not exist.", Es: "La ruta no existe."}
	}
	if n, _, ok := inventory.WatchEnabled.Of(o); ok && n == locked && field != inventory.WatchPersistent.Path {
		return lang.Text{
			En: "The kernel's audit rules are locked until the next reboot (auditctl -e 2).",
			Es: "Las reglas de auditoría del núcleo están bloqueadas hasta el próximo reinicio (auditctl -e 2).",
		}
	}
	return lang.Text{}
}

// Hand adds watches, to the kernel and to 50-casco.rules, and switches the
// kernel's audit on.
//
// There is one switch for all watches. Of several steps that want it on, the
// one that finds it off remembers that, and only its Undo switches it off; the
// others found it on and leave it. One thing stays behind: the kernel remembers
// until reboot that its audit was ever on (kernel/audit.c, audit_ever_enabled)
// and gives new processes the memory for it.
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
	Rule Rule             `json:"rule"`           // zero if the step only switches audit on
	Had  bool             `json:"had,omitempty"`  // the kernel had the very rule before
	File *atomicfile.Edit `json:"file,omitempty"` // nil if the step does not set Persistent
	Off  bool             `json:"off,omitempty"`  // the kernel's audit was off, and the step switches it on
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
	var b before
	if want.enabled {
		if b.Off, err = canEnable(); err != nil {
			return nil, err
		}
	}
	if want.perm != 0 {
		if err := h.prepareRule(&b, st.Ref.Name, want); err != nil {
			return nil, err
		}
	}
	return json.Marshal(b)
}

// prepareRule fills in what undo needs to know of the rule for path.
func (h *Hand) prepareRule(b *before, path string, want want) (err error) {
	target, isDir := resolve(path)
	if strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`'"\#`, c) }) {
		return lang.Errorf(lang.Text{
			En: "%q cannot be written in a file of audit rules",
			Es: "%q no se puede escribir en un archivo de reglas de auditoría",
		}, target)
	}
	b.Rule = Rule{Path: target, Dir: isDir, Perm: want.perm, Key: ruleKey, Arch: Both, Exact: true}
	if want.loaded {
		if b.Had, err = canLoad(b.Rule); err != nil {
			return err
		}
	}
	if want.persistent {
		e, err := h.edit(target, want.perm)
		if err != nil {
			return err
		}
		b.File = &e
	}
	return nil
}

var errLocked = lang.Errorf(lang.Text{
	En: "the kernel's audit rules are locked until the next reboot (auditctl -e 2)",
	Es: "las reglas de auditoría del núcleo están bloqueadas hasta el próximo reinicio (auditctl -e 2)",
})

// canLoad reports whether the kernel has the very rule r already. It fails if
// the kernel takes none, or would not heed it.
func canLoad(r Rule) (had bool, err error) {
	rules, enabled, err := kernelRules()
	if err != nil {
		return false, err
	}
	if enabled == locked {
		return false, errLocked
	}
	if i := slices.IndexFunc(rules, func(o Rule) bool { return o.Task && o.Never && o.Exact }); i >= 0 {
		return false, lang.Errorf(lang.Text{
			En: "the rule \"-a never,task\" is loaded: with it the kernel watches nothing; remove it first",
			Es: "la regla \"-a never,task\" está cargada: con ella el núcleo no vigila nada; quítela primero",
		})
	}
	return slices.Contains(rules, r), nil
}

// edit prepares the line in our file. What our line there watches already
// stays watched.
func (h *Hand) edit(target string, perm Perm) (atomicfile.Edit, error) {
	f := h.file()
	dir := filepath.Dir(f.Path)
	if _, err := os.Stat(dir); err != nil {
		return atomicfile.Edit{}, lang.Errorf(lang.Text{
			En: "%w; nothing would load the rule at boot: install auditd",
			Es: "%w; nada cargaría la regla al arrancar: instale auditd",
		}, err)
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
			return lang.Errorf(lang.Text{En: "load the audit rule for %s: %w", Es: "cargar la regla de auditoría de %s: %w"}, b.Rule.Path, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if want.enabled {
		if err := tell(func(c *client) error { return c.enable(on) }); err != nil {
			return lang.Errorf(lang.Text{En: "switch the kernel's audit on: %w", Es: "encender la auditoría del núcleo: %w"}, err)
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

// Undo implements apply.Hand. A rule that was loaded before stays loaded, and
// audit that was on before stays on.
func (h *Hand) Undo(_ context.Context, st plan.Step, undo json.RawMessage) error {
	b, want, err := recall(st, undo)
	if err != nil {
		return err
	}
	var errs []error
	if b.File != nil {
		errs = append(errs, h.file().Undo(*b.File))
	}
	if b.Off {
		if err := disable(); err != nil {
			errs = append(errs, lang.Errorf(lang.Text{En: "switch the kernel's audit off: %w", Es: "apagar la auditoría del núcleo: %w"}, err))
		}
	}
	if want.loaded && !b.Had {
		if err := tell(func(c *client) error { return c.remove(b.Rule) }); err != nil {
			errs = append(errs, lang.Errorf(lang.Text{
				En: "take out the audit rule for %s: %w",
				Es: "quitar la regla de auditoría de %s: %w",
			}, b.Rule.Path, err))
		}
	}
	return errors.Join(errs...)
}

// Foreign implements apply.Watchful: the line in our file, if somebody has
// rewritten it, and audit that we switched on, if somebody has locked it.
func (h *Hand) Foreign(_ context.Context, st plan.Step, undo json.RawMessage) ([]apply.Conflict, error) {
	b, _, err := recall(st, undo)
	if err != nil {
		return nil, err
	}
	var cs []apply.Conflict
	if b.File != nil {
		was, now, foreign, err := h.file().Foreign(*b.File)
		if err != nil {
			return nil, err
		}
		if foreign {
			cs = append(cs, apply.Conflict{What: "file/" + h.file().Path + " " + b.Rule.Path, Before: was, Ours: b.File.Line, Now: now})
		}
	}
	if b.Off {
		now, err := enabledNow()
		if err != nil {
			return nil, err
		}
		if now == locked {
			cs = append(cs, apply.Conflict{What: st.Ref.String() + " " + inventory.WatchEnabled.Path, Before: off, Ours: on, Now: locked})
		}
	}
	return cs, nil
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
	perm               Perm // 0 if it sets no rule
	loaded, persistent bool
	enabled            bool
}

func wanted(st plan.Step) (w want, err error) {
	for _, set := range st.Sets {
		if set.Field == inventory.WatchEnabled.Path {
			if !inventory.Equal(set.To, on) {
				return w, lang.Errorf(lang.Text{
					En: "%s: %v: casco only switches audit on (%d)",
					Es: "%s: %v: casco solo enciende la auditoría (%d)",
				}, set.Field, set.To, on)
			}
			w.enabled = true
			continue
		}
		text, _ := set.To.(string)
		perm, ok := ParsePerm(text)
		switch {
		case !ok || perm == 0:
			return w, lang.Errorf(lang.Text{
				En: "%s: %v is not what a file can be watched for (letters of %s)",
				Es: "%s: %v no es algo por lo que se pueda vigilar un archivo (letras de %s)",
			}, set.Field, set.To, letters)
		case set.Field == inventory.WatchLoaded.Path:
			w.loaded = true
		case set.Field == inventory.WatchPersistent.Path:
			w.persistent = true
		default:
			return w, lang.Errorf(lang.Text{En: "cannot set %s", Es: "no se puede ajustar %s"}, set.Field)
		}
		if w.perm != 0 && w.perm != perm {
			return w, lang.Errorf(lang.Text{
				En: "a file is watched for the same now and after a reboot",
				Es: "un archivo se vigila por lo mismo ahora y tras reiniciar",
			})
		}
		w.perm = perm
	}
	if w.perm == 0 && !w.enabled {
		return w, lang.Errorf(lang.Text{En: "the step sets nothing", Es: "el paso no ajusta nada"})
	}
	return w, nil
}
