package sysctl

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// HandName is the name of the hand that sets sysctls.
const HandName = "sysctl"

// Means says what the hand can set: the running value, which it makes last as
// well, and the value in the files alone.
func Means() []plan.Means {
	undo := lang.Text{
		En: "The running value and the line in /etc/sysctl.d/60-casco.conf go back to what they were.",
		Es: "El valor en curso y la línea de /etc/sysctl.d/60-casco.conf vuelven a ser los que eran.",
	}
	return []plan.Means{
		{
			Kind: inventory.Sysctl, Field: inventory.SysctlValue.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse,
			Reads: []string{inventory.SysctlFile.Path},
		},
		{
			Kind: inventory.Sysctl, Field: inventory.SysctlFile.Path, Hand: HandName, Cost: plan.Live, Undo: undo, Refuse: refuse,
			Reads: []string{inventory.SysctlValue.Path},
		},
	}
}

// oneWay are sysctls that the kernel does not let go back until it restarts,
// "" for any value, else for that one: the kernel's
// Documentation/admin-guide/sysctl/kernel.rst and LSM/Yama.rst.
var oneWay = map[string]string{
	"kernel.modules_disabled":          "",
	"kernel.kexec_load_disabled":       "",
	"kernel.unprivileged_bpf_disabled": "1",
	"kernel.yama.ptrace_scope":         "3",
}

var noWayBack = lang.Text{
	En: "The kernel does not take this back until the host restarts; set it by hand if that is wanted.",
	Es: "El núcleo no permite volver atrás hasta reiniciar el anfitrión; establézcalo a mano si así lo quiere.",
}

func refuse(_ *inventory.Snapshot, o *inventory.Object, _ string) lang.Text {
	if value, always := oneWay[o.Ref.Name]; always && value == "" {
		return noWayBack
	}
	if _, fact, ok := inventory.SysctlValue.Of(o); !ok {
		return lang.Text{En: "It cannot be read: " + fact.Err, Es: "No se puede leer: " + fact.Err}
	}
	return lang.Text{}
}

// Hand sets sysctls: in the running kernel, and in 60-casco.conf.
type Hand struct{ root string }

// NewHand returns a hand that works under root, "" for the host itself.
func NewHand(root string) *Hand { return &Hand{root} }

const ownFile = "/etc/sysctl.d/60-casco.conf"

func (h *Hand) file() atomicfile.Ours {
	return atomicfile.Ours{
		Path:   filepath.Join(h.root, ownFile),
		Header: "# Written by casco: parameters of the kernel. Lines below are set and taken back one by one.",
		Key: func(line string) (string, bool) {
			set, err := parse(strings.NewReader(line), "")
			if err != nil || len(set) != 1 || set[0].bare {
				return "", false
			}
			return set[0].name, true
		},
		Perm: 0o644,
	}
}

// before is the undo.
type before struct {
	Value string          `json:"value"` // the running one
	File  atomicfile.Edit `json:"file"`
}

// Prepare implements apply.Hand. It refuses what could not be taken back, and a
// value that would not last because a file that is read after ours sets
// another one.
func (h *Hand) Prepare(_ context.Context, st plan.Step) (json.RawMessage, error) {
	w, err := wanted(st)
	if err != nil {
		return nil, err
	}
	value, err := running(h.root, w.name)
	if err != nil {
		return nil, err
	}
	if only, one := oneWay[w.name]; w.running && one && (only == "" || same(only, w.value)) && !same(value, w.value) {
		return nil, lang.Errorf(lang.Text{
			En: "%s = %s: the kernel does not take this back until the host restarts",
			Es: "%s = %s: el núcleo no vuelve atrás hasta que se reinicie el anfitrión",
		}, w.name, w.value)
	}
	edit, err := h.file().Prepare(w.name, w.name+" = "+w.value)
	if err != nil {
		return nil, err
	}
	if err := h.lasts(w, edit); err != nil {
		return nil, err
	}
	return json.Marshal(before{value, edit})
}

// lasts says why the value would not be the one that the files set, once our
// line is in.
func (h *Hand) lasts(w want, edit atomicfile.Edit) error {
	files, err := load(h.root)
	if err != nil {
		return err
	}
	ours, err := parse(strings.NewReader(string(h.file().Preview(edit))), ownFile)
	if err != nil {
		return err
	}
	var then []setting
	placed := false
	for _, s := range files {
		switch file, _, _ := strings.Cut(s.from, ":"); {
		case file == ownFile:
			continue
		case !placed && (file == sysctlConf || filepath.Base(file) > filepath.Base(ownFile)):
			then, placed = append(then, ours...), true
		}
		then = append(then, s)
	}
	if !placed {
		then = append(then, ours...)
	}
	if s, _ := lookup(then, w.name); !same(s.value, w.value) {
		return lang.Errorf(lang.Text{
			En: "%s: %s is read after %s and sets it to %q; change it there",
			Es: "%s: %s se lee después de %s y lo pone en %q; cámbielo allí",
		}, w.name, s.from, ownFile, s.value)
	}
	return nil
}

// Do implements apply.Hand: the kernel first, because it is the one that may
// say no.
func (h *Hand) Do(ctx context.Context, st plan.Step, undo json.RawMessage) error {
	b, w, err := recall(st, undo)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.running {
		if err := h.set(w.name, w.value); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.file().Do(b.File)
}

// Undo implements apply.Hand.
func (h *Hand) Undo(_ context.Context, st plan.Step, undo json.RawMessage) error {
	b, w, err := recall(st, undo)
	if err != nil {
		return err
	}
	errs := []error{h.file().Undo(b.File)}
	if w.running {
		errs = append(errs, h.set(w.name, b.Value))
	}
	return errors.Join(errs...)
}

// Foreign implements apply.Watchful: the line in our file, if somebody has
// rewritten it.
func (h *Hand) Foreign(_ context.Context, st plan.Step, undo json.RawMessage) ([]apply.Conflict, error) {
	b, w, err := recall(st, undo)
	if err != nil {
		return nil, err
	}
	was, now, foreign, err := h.file().Foreign(b.File)
	if err != nil || !foreign {
		return nil, err
	}
	return []apply.Conflict{{What: "file/" + h.file().Path + " " + w.name, Before: was, Ours: b.File.Line, Now: now}}, nil
}

// set writes the running value, unless it is that already, and looks whether
// the kernel took it: it clamps some values without a word.
func (h *Hand) set(name, value string) error {
	if now, err := running(h.root, name); err == nil && same(now, value) {
		return nil
	}
	f, err := os.OpenFile(procPath(h.root, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return lang.Errorf(lang.Text{En: "set %s to %q: %w", Es: "poner %s en %q: %w"}, name, value, err)
	}
	now, err := running(h.root, name)
	if err != nil {
		return err
	}
	if !same(now, value) {
		return lang.Errorf(lang.Text{En: "set %s to %q: the kernel made it %q", Es: "poner %s en %q: el núcleo lo dejó en %q"}, name, value, now)
	}
	return nil
}

func recall(st plan.Step, undo json.RawMessage) (b before, w want, err error) {
	if err := json.Unmarshal(undo, &b); err != nil {
		return b, w, err
	}
	w, err = wanted(st)
	return b, w, err
}

// A want is what a step sets. The file is written in any case: a value that
// the next boot forgets hardens nothing.
type want struct {
	name, value string
	running     bool
}

func wanted(st plan.Step) (want, error) {
	w := want{name: st.Ref.Name}
	if !valid(w.name) || canonical(w.name) != w.name {
		return w, lang.Errorf(lang.Text{En: "%q is no name of a sysctl", Es: "%q no es el nombre de un sysctl"}, w.name)
	}
	if len(st.Sets) == 0 {
		return w, lang.Errorf(lang.Text{En: "%s: the step sets nothing", Es: "%s: el paso no ajusta nada"}, st.Ref)
	}
	for i, set := range st.Sets {
		value, ok := set.To.(string)
		value = strings.TrimSpace(value)
		switch {
		case set.Field != inventory.SysctlValue.Path && set.Field != inventory.SysctlFile.Path:
			return w, lang.Errorf(lang.Text{En: "%s: cannot set %s", Es: "%s: no se puede ajustar %s"}, st.Ref, set.Field)
		case !ok || value == "" || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			return w, lang.Errorf(lang.Text{En: "%s: %q is no value of one line", Es: "%s: %q no es un valor de una línea"}, st.Ref, set.To)
		case i > 0 && !same(value, w.value):
			return w, lang.Errorf(lang.Text{En: "%s: has one value, now and after a reboot", Es: "%s: tiene un solo valor, ahora y tras reiniciar"}, st.Ref)
		}
		w.value = value
		w.running = w.running || set.Field == inventory.SysctlValue.Path
	}
	return w, nil
}
