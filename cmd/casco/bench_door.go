package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"casco/host/docker"
	"casco/host/doorbench"
	"casco/lang"
)

func benchDoorCmd(a *app) *cobra.Command {
	socket, image, rounds := "/run/casco/docker.sock", "", 9
	cmd := a.manual.verb(&cobra.Command{
		Use: "door",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 1 || rounds > 1000 {
				return usage(lang.Errorf(lang.Text{En: "--rounds is 1 to 1000", Es: "--rounds es de 1 a 1000"}))
			}
			h, err := a.openHost()
			if err != nil {
				return err
			}
			if h.trouble != nil {
				return h.trouble
			}
			o := doorbench.Options{Bare: h.engine.Socket(), Door: socket, Rounds: rounds, Image: image}
			if err := choose(cmd.Context(), h.engine, &o); err != nil {
				return err
			}
			stop := a.progress(lang.Text{En: "measuring", Es: "midiendo"})
			r, err := doorbench.Measure(cmd.Context(), o)
			stop()
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"version": version, "kernel": kernelRelease(), "cpus": runtime.NumCPU(), "door": socket, "image": o.Image, "result": r})
			}
			return a.printBenchDoor(r, socket, o.Image)
		},
	}, lang.Text{
		En: "What the guard's door costs those who ask the engine through it", Es: "Lo que cuesta la puerta de la guardia a quien pide al motor a través de ella",
	}, lang.Text{
		En: "What the guard's door costs those who ask the engine through it: the same requests at the engine's own socket and at the door's, in turns, " +
			"200 a second at each. It inspects a container, asks for a container of an image that is not there, and saves an image; nothing is " +
			"made, pulled or kept. The engine reads the image from its disk each time.\n\n" +
			"What counts is the median over all rounds of what the door adds, and of the ratio.\n\n" +
			"Exit codes: 0 it was measured, 1 trouble.",
		Es: "Lo que cuesta la puerta de la guardia a quien pide al motor a través de ella: las mismas peticiones al socket del propio motor y al de la puerta, por turnos, " +
			"200 por segundo a cada uno. Inspecciona un contenedor, pide un contenedor de una imagen que no existe y guarda una imagen; no se " +
			"crea, descarga ni conserva nada. El motor lee la imagen de su disco cada vez.\n\n" +
			"Lo que cuenta es la mediana de todas las rondas de lo que añade la puerta, y de la razón.\n\n" +
			"Códigos de salida: 0 se midió, 1 problema.",
	})
	cmd.Flags().StringVar(&socket, "door", socket, "")
	cmd.Flags().StringVar(&image, "image", image, "")
	cmd.Flags().IntVar(&rounds, "rounds", rounds, "")
	a.manual.flag(cmd.Flags(), "door", lang.Text{En: "`SOCKET` of the door", Es: "`SOCKET` de la puerta"})
	a.manual.flag(cmd.Flags(), "image", lang.Text{En: "`IMAGE` to save; the largest of less than 2 GB if not given", Es: "`IMAGEN` que guardar; si no se da, la mayor de menos de 2 GB"})
	a.manual.flag(cmd.Flags(), "rounds", lang.Text{En: "`N` rounds", Es: "`N` rondas"})
	return cmd
}

// choose takes a container and an image of the engine, if it has any.
func choose(ctx context.Context, e *docker.Client, o *doorbench.Options) error {
	var containers []struct {
		ID string `json:"Id"`
	}
	if err := e.Call(ctx, http.MethodGet, "/containers/json?all=1&limit=1", nil, &containers); err != nil {
		return err
	}
	for _, c := range containers {
		o.Container = c.ID
	}
	if o.Image != "" {
		return nil
	}
	var images []struct {
		ID   string `json:"Id"`
		Size int64
	}
	if err := e.Call(ctx, http.MethodGet, "/images/json", nil, &images); err != nil {
		return err
	}
	most := int64(0)
	for _, i := range images {
		if i.Size > most && i.Size < 2e9 {
			o.Image, most = i.ID, i.Size
		}
	}
	return nil
}

func (a *app) printBenchDoor(r *doorbench.Result, socket, image string) error {
	a.printer().Heading(lang.Text{
		En: "casco bench door: %s, %d rounds, %d CPUs, kernel %s", Es: "casco bench door: %s, %d rondas, %d CPU, núcleo %s",
	}.F(socket, r.Rounds, runtime.NumCPU(), kernelRelease()).In(a.lang))
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	head := lang.Text{En: "\tengine\tdoor\tadded\tratio\t", Es: "\tmotor\tpuerta\tañadido\trazón\t"}
	fmt.Fprintln(w, head.In(a.lang))
	for _, row := range []struct {
		what lang.Text
		f    *doorbench.Figure
		unit string
		of   float64 // of a second
	}{
		{lang.Text{En: "inspect, median", Es: "inspección, mediana"}, &r.InspectP50, "ms", 1e3},
		{lang.Text{En: "inspect, 99 %", Es: "inspección, 99 %"}, &r.InspectP99, "ms", 1e3},
		{lang.Text{En: "create, median", Es: "creación, mediana"}, r.CreateP50, "ms", 1e3},
		{lang.Text{En: "create, 99 %", Es: "creación, 99 %"}, r.CreateP99, "ms", 1e3},
		{lang.Text{En: "saving an image, %d MB", Es: "guardar una imagen, %d MB"}.F(r.Bytes / 1e6), r.Stream, "s", 1},
	} {
		if row.f != nil {
			fmt.Fprintf(w, "%s\t%.2f %s\t%.2f %s\t%.2f %s\t%.2f\t\n", row.what.In(a.lang), row.f.Bare*row.of, row.unit, row.f.Door*row.of, row.unit, row.f.Added*row.of, row.unit, row.f.Ratio)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.CreateP50 == nil {
		a.tell(lang.Text{En: "create was not measured: the policy lets no such request through", Es: "la creación no se midió: la política no deja pasar una petición así"})
	}
	if image == "" {
		a.tell(lang.Text{En: "no stream was measured: the engine has no image of less than 2 GB", Es: "no se midió ningún flujo: el motor no tiene ninguna imagen de menos de 2 GB"})
	}
	return nil
}
