package daemonjson

import (
	"context"
	"fmt"

	"casco/lang"
	"casco/loop/inventory"
)

// Able says how this hand would change the settings of engine o: in which file,
// and how the engine would take it up. An error says why it could not. Nothing
// is changed.
func Able(ctx context.Context, o *inventory.Object) (lang.Text, error) {
	if why := refuseEngine(o); !why.Empty() {
		return lang.Text{}, lang.Errorf(lang.Text{En: "%s", Es: "%s"}, why)
	}
	file, err := fileOf(o)
	if err != nil {
		return lang.Text{}, err
	}
	l, err := launchOf(ctx, o)
	if err != nil {
		return lang.Text{}, err
	}
	where := lang.Text{En: file.Path, Es: file.Path}
	if !file.Exists {
		where = lang.Text{En: "%s (not there yet)", Es: "%s (aún no existe)"}.F(file.Path)
	}
	how := lang.Text{
		En: "starting the same command again (no unit starts it)", Es: "lanzando de nuevo la misma orden (ninguna unidad lo inicia)",
	}
	switch l.By {
	case bySystemd:
		how = lang.Text{En: "systemctl restart %s", Es: "systemctl restart %s"}.F(l.Unit)
	case byScript:
		how = lang.Text{En: "%s restart", Es: "%s restart"}.F(initScript)
	}
	return lang.Text{
		En: fmt.Sprintf("%s; reload by SIGHUP to process %d, restart by %s", where.En, l.Pid, how.En),
		Es: fmt.Sprintf("%s; recarga con SIGHUP al proceso %d, reinicio con: %s", where.Es, l.Pid, how.Es),
	}, nil
}
