package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
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
			if err := a.strange(sc); err != nil {
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

func netExportCmd(a *app) *cobra.Command {
	var as string
	cmd := a.manual.verb(&cobra.Command{
		Use: "export",
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := exporters[as]
			if write == nil {
				return usage(lang.Errorf(lang.Text{En: "--as is %s, not %q", Es: "--as es %s, no %q"}, strings.Join(exporterNames(), ", "), as))
			}
			sc, err := a.scene(cmd.Context(), false)
			if err != nil {
				return err
			}
			j, err := network.NewJudge(sc.policy)
			if err != nil {
				return err
			}
			x, err := network.ExportOf(sc.world, j)
			if err != nil {
				return err
			}
			return write(x, a.out)
		},
	}, lang.Text{
		En: "Print the rules for other devices, by the addresses of now",
		Es: "Imprime las reglas para otros dispositivos, con las direcciones de ahora",
	}, lang.Text{
		En: "Print the rules for devices that know no containers, by the addresses that these have now: for nft -f, iptables-restore, " +
			"ip6tables-restore, a Cisco access list, or as CSV with flow, owner and review. They do not follow what runs: print them again when it changes.\n\n" +
			"Exit codes: 0 printed, 1 trouble, 2 no such form.",
		Es: "Imprime las reglas para dispositivos que no conocen contenedores, con las direcciones que estos tienen ahora: para nft -f, " +
			"iptables-restore, ip6tables-restore, una lista de acceso de Cisco, o como CSV con flujo, dueño y revisión. No siguen a lo que corre: " +
			"imprímalas de nuevo cuando cambie.\n\n" +
			"Códigos de salida: 0 impresas, 1 problema, 2 no existe esa forma.",
	})
	cmd.Flags().StringVar(&as, "as", "nftables", "")
	a.manual.flag(cmd.Flags(), "as", lang.Text{En: "`FORM`: nftables, iptables, ip6tables, cisco, csv", Es: "`FORMA`: nftables, iptables, ip6tables, cisco, csv"})
	complete(cmd, "as", exporterNames())
	return cmd
}

// exporters write the rules, by the names of their forms.
var exporters = map[string]func(network.Export, io.Writer) error{
	"nftables":  network.Export.WriteNft,
	"iptables":  func(x network.Export, w io.Writer) error { return x.WriteIPTables(w, false) },
	"ip6tables": func(x network.Export, w io.Writer) error { return x.WriteIPTables(w, true) },
	"cisco":     network.Export.WriteCisco,
	"csv":       network.Export.WriteCSV,
}

func exporterNames() []string { return slices.Sorted(maps.Keys(exporters)) }
