package daemonjson

import (
	"testing"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// TestRefusesInBothLanguages: what is refused, and why, behind the place where
// it stands.
func TestRefusesInBothLanguages(t *testing.T) {
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}, Fields: map[string]any{
		"Process": map[string]any{"Pid": int64(1), "Rootless": true},
	}}
	_, sets := changesOf(o, plan.Step{Ref: o.Ref, Sets: []plan.Set{{Field: "Effective.icc", To: false}}})
	_, none := changesOf(o, plan.Step{Ref: o.Ref})
	_, comma := parse([]byte("{\"icc\": false,}"))
	for _, c := range []struct {
		err    error
		en, es string
	}{
		{sets, "Effective.icc: the engine is rootless: its own user changes it", "Effective.icc: el motor es rootless: lo cambia su propio usuario"},
		{none, "the step sets nothing", "el paso no ajusta nada"},
		{behind("/etc/docker/daemon.json:", comma), "/etc/docker/daemon.json:1:14: a comma after the last key", "/etc/docker/daemon.json:1:14: una coma tras la última clave"},
		{putBack(errEnded), "the old daemon.json was put back, and the engine is still not well: the trial engine ended", "se repuso el daemon.json anterior, y el motor sigue sin estar bien: el motor de ensayo terminó"},
	} {
		if en, es := lang.Say(c.err, lang.English), lang.Say(c.err, lang.Spanish); en != c.en || es != c.es {
			t.Errorf("got %q, %q\nwant %q, %q", en, es, c.en, c.es)
		}
	}
}
