package main

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"casco/host/netbench"
	"casco/host/nft"
	"casco/lang"
)

func benchCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use: "bench", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{
		En: "Measure on this host what casco costs: net, door", Es: "Medir en este anfitrión lo que cuesta casco: net, door",
	}, lang.Text{
		En: "Measure on this host what casco costs. Nothing of the host's is touched.",
		Es: "Medir en este anfitrión lo que cuesta casco. No se toca nada del anfitrión.",
	})
	cmd.AddCommand(benchNetCmd(a), benchDoorCmd(a))
	return cmd
}

// benchStream is how long each stream of a round is.
const benchStream = 300 * time.Millisecond

func benchNetCmd(a *app) *cobra.Command {
	containers, rounds := 1000, 9
	cmd := a.manual.verb(&cobra.Command{
		Use: "net",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if containers < 1 || containers > 10000 || rounds < 1 || rounds > 1000 {
				return usage(lang.Errorf(lang.Text{
					En: "--containers is 1 to 10000, --rounds 1 to 1000", Es: "--containers es de 1 a 10000, --rounds de 1 a 1000",
				}))
			}
			stop := a.progress(lang.Text{En: "measuring", Es: "midiendo"})
			r, err := benchNet(cmd, containers, rounds)
			stop()
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"version": version, "kernel": kernelRelease(), "cpus": runtime.NumCPU(), "containers": containers, "result": r})
			}
			return a.printBenchNet(r, containers)
		},
	}, lang.Text{
		En: "What network rules cost the packets that they let pass", Es: "Lo que cuestan las reglas de red a los paquetes que dejan pasar",
	}, lang.Text{
		En: "What network rules cost the packets that they let pass: throughput and latency between two network namespaces, without rules and " +
			"with those of a host with many containers, in turns. The namespaces are made for it and gone afterwards; no engine is needed, and " +
			"no container, interface or rule of this host is touched. It keeps two processors busy for some ten seconds.\n\n" +
			"What counts is the ratio: the median over all rounds, each of two halves that follow each other. \"Off\" is a bare veth, without the " +
			"rules and the connection tracking that an engine's network has, so this is the most that they can cost.\n\n" +
			"Exit codes: 0 it was measured, 1 trouble.",
		Es: "Lo que cuestan las reglas de red a los paquetes que dejan pasar: caudal y latencia entre dos espacios de red, sin reglas y con las " +
			"de un anfitrión con muchos contenedores, por turnos. Los espacios se crean para ello y después desaparecen; no hace falta motor, y no " +
			"se toca ningún contenedor, interfaz ni regla de este anfitrión. Ocupa dos procesadores unos diez segundos.\n\n" +
			"Lo que cuenta es la razón: la mediana de todas las rondas, cada una de dos mitades seguidas. \"Sin\" es un veth desnudo, sin las " +
			"reglas ni el seguimiento de conexiones que tiene la red de un motor, así que esto es lo más que pueden costar.\n\n" +
			"Códigos de salida: 0 se midió, 1 problema.",
	})
	cmd.Flags().IntVar(&containers, "containers", containers, "")
	cmd.Flags().IntVar(&rounds, "rounds", rounds, "")
	a.manual.flag(cmd.Flags(), "containers", lang.Text{En: "rules as for `N` containers", Es: "reglas como para `N` contenedores"})
	a.manual.flag(cmd.Flags(), "rounds", lang.Text{En: "`N` rounds", Es: "`N` rondas"})
	return cmd
}

// benchNet measures with rules that are written as a guard writes them.
func benchNet(cmd *cobra.Command, containers, rounds int) (*netbench.Result, error) {
	bed, err := netbench.NewBed()
	if errors.Is(err, unix.EPERM) {
		return nil, lang.Errorf(lang.Text{En: "%w: it takes root to make network namespaces", Es: "%w: hace falta ser root para crear espacios de red"}, err)
	}
	if err != nil {
		return nil, err
	}
	defer bed.Close()
	host, err := nft.OpenHost(bed.Host)
	if err != nil {
		return nil, err
	}
	defer host.Close()
	client, server, outside := bed.Rules(containers)
	var ends [2]*nft.Space
	for i, end := range []netbench.End{bed.Client, bed.Server} {
		if ends[i], err = nft.Enter(end.NS); err != nil {
			return nil, err
		}
		defer ends[i].Close()
	}
	return netbench.Measure(cmd.Context(), netbench.Options{
		Client: bed.Client.NS, Server: bed.Server.NS, At: bed.At(), Rounds: rounds, Stream: benchStream,
		Switch: func(on bool) error {
			if !on {
				return errors.Join(host.Remove(), ends[0].Remove(), ends[1].Remove())
			}
			enforce := nft.Options{Enforce: true}
			return errors.Join(ends[0].Replace(client, enforce), ends[1].Replace(server, enforce), host.Replace(outside, nil), host.Pin(client), host.Pin(server))
		},
	})
}

func (a *app) printBenchNet(r *netbench.Result, containers int) error {
	a.printer().Heading(lang.Text{
		En: "casco bench net: rules as for %d containers, %d rounds, %d CPUs, kernel %s", Es: "casco bench net: reglas como para %d contenedores, %d rondas, %d CPU, núcleo %s",
	}.F(containers, r.Rounds, runtime.NumCPU(), kernelRelease()).In(a.lang))
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	head := lang.Text{En: "\toff\ton\tratio\t", Es: "\tsin\tcon\trazón\t"}
	fmt.Fprintln(w, head.In(a.lang))
	for _, row := range []struct {
		what  lang.Text
		f     netbench.Figure
		scale float64
		unit  string
	}{
		{lang.Text{En: "throughput", Es: "caudal"}, r.Throughput, 1e9, "Gbit/s"},
		{lang.Text{En: "request, median", Es: "petición, mediana"}, r.RequestP50, 1, "µs"},
		{lang.Text{En: "request, 99 %", Es: "petición, 99 %"}, r.RequestP99, 1, "µs"},
		{lang.Text{En: "connection, median", Es: "conexión, mediana"}, r.ConnectP50, 1, "µs"},
		{lang.Text{En: "connection, 99 %", Es: "conexión, 99 %"}, r.ConnectP99, 1, "µs"},
		{lang.Text{En: "connections", Es: "conexiones"}, r.Connections, 1, "/s"},
	} {
		value := func(v float64) string {
			return strconv.FormatFloat(v/row.scale, 'f', decimals(v/row.scale), 64) + " " + row.unit
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t\n", row.what.In(a.lang), value(row.f.Off), value(row.f.On), row.f.Ratio)
	}
	return w.Flush()
}

// decimals are as many as make three digits.
func decimals(v float64) int {
	return max(0, 3-len(strconv.Itoa(int(v))))
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	release, _, _ := strings.Cut(string(u.Release[:]), "\x00")
	return release
}
