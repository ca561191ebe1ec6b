package auditrules

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"casco/lang"
)

// Able says whether this hand could add a watch now, to the kernel and to the
// rules' files under root. An error says why not. Nothing is changed.
func Able(root string) (lang.Text, error) {
	dir := filepath.Join(root, rulesDir)
	_, enabled, err := kernelRules()
	if err == nil && enabled == locked {
		err = errLocked
	}
	_, statErr := os.Stat(dir)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		err = errors.Join(err, lang.Errorf(lang.Text{
			En: "%w; nothing would load the rule at boot: install auditd",
			Es: "%w; nada cargaría la regla al arrancar: instale auditd",
		}, statErr))
	case statErr != nil:
		err = errors.Join(err, statErr)
	}
	if err != nil {
		return lang.Text{}, err
	}
	if enabled == off {
		return lang.Text{
			En: "kernel by netlink, files in %s; the kernel's audit is off now",
			Es: "núcleo por netlink, archivos en %s; la auditoría del núcleo está apagada ahora",
		}.F(dir), nil
	}
	return lang.Text{En: "kernel by netlink, files in %s", Es: "núcleo por netlink, archivos en %s"}.F(dir), nil
}
