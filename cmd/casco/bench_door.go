package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"casco/api"
	"casco/host/docker"
	"casco/host/doorbench"
	"casco/internal/doorway"
	"casco/lang"
)

func benchDoorCmd(a *app) *cobra.Command {
	socket, image, rounds := "", "", 9
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
			o := doorbench.Options{Rounds: rounds, Image: image}
			if o.Bare, o.Door, err = a.doorEnds(cmd.Context(), h.engine.Socket(), socket); err != nil {
				return err
			}
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
				return a.json(map[string]any{"version": version, "kernel": kernelRelease(), "cpus": runtime.NumCPU(), "engine": o.Bare, "door": o.Door, "image": o.Image, "result": r})
			}
			return a.printBenchDoor(r, o)
		},
	}, lang.Text{
		En: "What the guard's door costs those who ask the engine through it", Es: "Lo que cuesta la puerta de la guardia a quien pide al motor a través de ella",
	}, lang.Text{
		En: "What the guard's door costs those who ask the engine through it: the same requests at the engine's own socket, which is found behind the door, and at the door's, in turns, " +
			"200 a second at each. It inspects a container, asks for a container of an image that is not there, and saves an image; nothing is " +
			"made, pulled or kept. The engine reads the image from its disk each time.\n\n" +
			"What counts is the median over all rounds of what the door adds, and of the ratio.\n\n" +
			"Exit codes: 0 it was measured, 1 trouble, 2 one of the sockets is not what it is taken for.",
		Es: "Lo que cuesta la puerta de la guardia a quien pide al motor a través de ella: las mismas peticiones al socket del propio motor, que se encuentra tras la puerta, y al de la puerta, por turnos, " +
			"200 por segundo a cada uno. Inspecciona un contenedor, pide un contenedor de una imagen que no existe y guarda una imagen; no se " +
			"crea, descarga ni conserva nada. El motor lee la imagen de su disco cada vez.\n\n" +
			"Lo que cuenta es la mediana de todas las rondas de lo que añade la puerta, y de la razón.\n\n" +
			"Códigos de salida: 0 se midió, 1 problema, 2 uno de los sockets no es lo que se cree.",
	})
	cmd.Flags().StringVar(&socket, "door", socket, "")
	cmd.Flags().StringVar(&image, "image", image, "")
	cmd.Flags().IntVar(&rounds, "rounds", rounds, "")
	a.manual.flag(cmd.Flags(), "door", lang.Text{En: "`SOCKET` of the door; that of the guard at work if not given", Es: "`SOCKET` de la puerta; si no se da, el de la guardia en marcha"})
	a.manual.flag(cmd.Flags(), "image", lang.Text{En: "`IMAGE` to save; the largest of less than 2 GB if not given", Es: "`IMAGEN` que guardar; si no se da, la mayor de menos de 2 GB"})
	a.manual.flag(cmd.Flags(), "rounds", lang.Text{En: "`N` rounds", Es: "`N` rondas"})
	return cmd
}

var errNoDoor = lang.Errorf(lang.Text{En: "no door is open here", Es: "aquí no hay ninguna puerta abierta"})

// doorEnds are the engine's own socket and that of the door before it, which need
// not be given: a guard at work knows both. Each must be what it is said to be.
func (a *app) doorEnds(ctx context.Context, engine, door string) (bare, at string, err error) {
	st, err := api.NewClient(a.runPath).Status(ctx)
	if err != nil && !errors.Is(err, api.ErrNoGuard) {
		return "", "", err
	}
	if door == "" && (st.Door == nil || st.Door.Socket == "") {
		return "", "", coded{exitTrouble, errNoDoor, command("plan", "--check", "guard-door")}
	}
	if door == "" {
		door = st.Door.Socket
	}
	bare = doorway.Socket(engine)
	if plainSocket(bare) == plainSocket(door) { // the door was named as the engine
		bare = doorway.Socket(strings.TrimPrefix(st.Engine, "unix://"))
	}
	for _, end := range []struct {
		socket string
		door   bool
	}{{bare, false}, {door, true}} {
		status, err := askWhole(ctx, end.socket)
		if err != nil {
			return "", "", err
		}
		if is := status == http.StatusBadRequest; is && !end.door {
			return "", "", usage(lang.Errorf(lang.Text{En: "a door answers at %s: name the engine's own socket with --host", Es: "en %s responde una puerta: nombre el socket del propio motor con --host"}, end.socket))
		} else if !is && end.door {
			return "", "", usage(lang.Errorf(lang.Text{En: "the engine itself answers at %s, and no door", Es: "en %s responde el propio motor, y ninguna puerta"}, end.socket))
		}
	}
	return bare, door, nil
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

func (a *app) printBenchDoor(r *doorbench.Result, o doorbench.Options) error {
	a.printer().Heading(lang.Text{
		En: "casco bench door: %s before %s, %d rounds, %d CPUs, kernel %s", Es: "casco bench door: %s ante %s, %d rondas, %d CPU, núcleo %s",
	}.F(o.Door, o.Bare, r.Rounds, runtime.NumCPU(), kernelRelease()).In(a.lang))
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
	if o.Image == "" {
		a.tell(lang.Text{En: "no stream was measured: the engine has no image of less than 2 GB", Es: "no se midió ningún flujo: el motor no tiene ninguna imagen de menos de 2 GB"})
	}
	return nil
}
