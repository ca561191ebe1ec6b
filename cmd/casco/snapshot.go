package main

import (
	"bytes"
	"errors"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
	"casco/lang"
)

func snapshotCmd(a *app) *cobra.Command {
	var out string
	cmd := a.manual.verb(&cobra.Command{
		Use: "snapshot",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := l.read.Write(&b); err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = b.WriteTo(a.out)
			} else {
				err = atomicfile.Write(out, b.Bytes(), 0o600)
			}
			return errors.Join(err, l.trouble)
		},
	}, lang.Text{
		En: "Write what was read to a file that every reading verb takes in place of a host",
		Es: "Escribe lo leído en un archivo que todo verbo que lee acepta en lugar de un anfitrión",
	}, lang.Text{
		En: "Write what was read to a file that every reading verb takes in place of a host (--snapshot). Nothing is changed. Secrets are masked in it.\n\n" +
			"Exit codes: 0 written, 1 trouble: an engine that could not be read is a gap in what was written.",
		Es: "Escribe lo leído en un archivo que todo verbo que lee acepta en lugar de un anfitrión (--snapshot). No cambia nada. Los secretos van enmascarados.\n\n" +
			"Códigos de salida: 0 escrito, 1 problema: un motor que no se pudo leer es una laguna en lo escrito.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write; else standard output", Es: "`ARCHIVO` que escribir; si no, la salida estándar"})
	a.deepFlag(cmd)
	return cmd
}
