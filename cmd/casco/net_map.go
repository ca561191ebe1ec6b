package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/guard/network"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/report/netmap"
)

func netMapCmd(a *app) *cobra.Command {
	var out string
	cmd := a.manual.verb(&cobra.Command{
		Use: "map",
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, err := a.mapWriter(out)
			if err != nil {
				return err
			}
			sc, err := a.scene(cmd.Context(), true)
			if err != nil {
				return err
			}
			m, err := network.MapOf(sc.world, sc.policy, time.Now(), sc.flows)
			if err != nil {
				return err
			}
			if out == "" {
				return write(a.out, m)
			}
			var b bytes.Buffer
			if err := write(&b, m); err != nil {
				return err
			}
			if err := atomicfile.Write(out, b.Bytes(), 0o644); err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "map written to %s", Es: "mapa escrito en %s"}.F(out).In(a.lang))
			return nil
		},
	}, lang.Text{
		En: "Show tiers, networks, crossings and who really reaches what is published",
		Es: "Muestra niveles, redes, cruces y quién alcanza de verdad lo publicado",
	}, lang.Text{
		En: "Show tiers, networks, crossings and who really reaches what is published, on IPv4 and IPv6, as it is and with the policy " +
			"enforced. With -o it is drawn: FILE.svg, FILE.png; or FILE.txt, FILE.json.\n\n" +
			"Exit codes: 0 shown, 1 trouble, 2 no such kind of file.",
		Es: "Muestra niveles, redes, cruces y quién alcanza de verdad lo publicado, en IPv4 e IPv6, como está y con la política aplicada. Con -o " +
			"se dibuja: ARCHIVO.svg, ARCHIVO.png; o ARCHIVO.txt, ARCHIVO.json.\n\n" +
			"Códigos de salida: 0 mostrado, 1 problema, 2 no existe ese tipo de archivo.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to draw it in; its ending says how", Es: "`ARCHIVO` donde dibujarlo; su extensión dice cómo"})
	return cmd
}

// mapWriter is how a file of that name is written; "" is a terminal.
func (a *app) mapWriter(out string) (func(io.Writer, network.Map) error, error) {
	ending := strings.ToLower(filepath.Ext(out))
	if out == "" {
		if ending = ".txt"; a.format == "json" {
			ending = ".json"
		}
	}
	in := func(f func(io.Writer, network.Map, lang.Lang) error) func(io.Writer, network.Map) error {
		return func(w io.Writer, m network.Map) error { return f(w, m, a.lang) }
	}
	switch ending {
	case ".txt":
		return in(netmap.WriteText), nil
	case ".svg":
		return in(netmap.WriteSVG), nil
	case ".png":
		return in(netmap.WritePNG), nil
	case ".json":
		return netmap.WriteJSON, nil
	}
	return nil, usage(lang.Errorf(lang.Text{En: "%s: a map is .svg, .png, .txt or .json", Es: "%s: un mapa es .svg, .png, .txt o .json"}, out))
}
