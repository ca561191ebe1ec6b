package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"casco/lang"
	"casco/loop/inventory"
	"casco/report"
)

// An ability is one thing that casco can or cannot do on this host.
type ability struct {
	What   string `json:"what"`
	Works  bool   `json:"works"`
	Detail string `json:"detail"`
}

func doctorCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what works on this host",
		Long:  "Say what works on this host and what does not, with the reason. Nothing is changed.\n\nExit codes: 0 all works, 1 something does not.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			all := a.examine(cmd.Context(), h)
			bad := false
			for _, b := range all {
				bad = bad || !b.Works
			}
			if a.format == "json" {
				err = a.json(map[string]any{"host": h.name, "abilities": all})
			} else {
				a.printAbilities(all)
			}
			if err == nil && bad {
				return quiet(exitTrouble)
			}
			return err
		},
	}
}

func (a *app) printAbilities(all []ability) {
	for _, b := range all {
		word := lang.Text{En: "works", Es: "funciona"}
		if !b.Works {
			word = lang.Text{En: "does not", Es: "no"}
		}
		fmt.Fprintf(a.out, "%-9s %-28s %s\n", word.In(a.lang), b.What, report.Clean(b.Detail))
	}
}

// examine tries what casco lives on.
func (a *app) examine(ctx context.Context, h *host) []ability {
	var all []ability
	add := func(what lang.Text, works bool, detail string) {
		all = append(all, ability{what.In(a.lang), works, detail})
	}
	add(lang.Text{En: "run as root", Es: "ejecutar como root"}, os.Geteuid() == 0, fmt.Sprint("uid ", os.Geteuid()))
	if h.trouble != nil {
		add(lang.Text{En: "reach the engine", Es: "alcanzar el motor"}, false, h.trouble.Error())
	} else {
		add(lang.Text{En: "reach the engine", Es: "alcanzar el motor"}, true, h.engine.Host()+", API "+h.engine.Version())
	}
	s := h.look(ctx).snapshot
	add(lang.Text{En: "read all of the host", Es: "leer todo el anfitrión"}, len(s.Gaps) == 0, gapsOf(s))
	add(a.kernelFacts(s))
	add(containersRead(s))
	add(lang.Text{En: "keep the record of changes", Es: "guardar el registro de cambios"}, writable(a.statePath), a.statePath)
	for _, tool := range []struct {
		what lang.Text
		argv []string
	}{
		{lang.Text{En: "change compose projects", Es: "cambiar proyectos compose"}, []string{"docker compose", "docker-compose"}},
		{lang.Text{En: "try an engine's settings", Es: "probar ajustes del motor"}, []string{"dockerd"}},
	} {
		path, ok := found(ctx, tool.argv)
		add(tool.what, ok, path)
	}
	return all
}

func gapsOf(s *inventory.Snapshot) string {
	var ss []string
	for _, g := range s.Gaps {
		ss = append(ss, g.Source+": "+g.Reason)
	}
	return strings.Join(ss, "; ")
}

func (a *app) kernelFacts(s *inventory.Snapshot) (what lang.Text, works bool, detail string) {
	what = lang.Text{En: "read the kernel", Es: "leer el núcleo"}
	ks := s.Of(inventory.Kernel)
	if len(ks) == 0 {
		return what, false, ""
	}
	release, _, ok := inventory.KernelRelease.Of(ks[0])
	lsms, _, _ := inventory.KernelLSMs.Of(ks[0])
	cgroup, _, _ := inventory.KernelCgroup.Of(ks[0])
	return what, ok, fmt.Sprintf("%s, LSM %s, cgroup v%d", release, strings.Join(lsms, ","), cgroup)
}

// containersRead says of how many running containers the kernel's view could
// be read.
func containersRead(s *inventory.Snapshot) (what lang.Text, works bool, detail string) {
	running, read, why := 0, 0, ""
	for _, c := range s.Of(inventory.Container) {
		if on, _, _ := inventory.Running.Of(c); !on {
			continue
		}
		running++
		if _, fact, ok := inventory.EffectiveSeccomp.Of(c); ok {
			read++
		} else {
			why = ": " + fact.Err
		}
	}
	return lang.Text{En: "see running containers", Es: "ver contenedores en marcha"}, read == running, fmt.Sprintf("%d/%d%s", read, running, why)
}

// writable reports whether the state directory, or the nearest one above it
// that exists, lets this user write. It makes nothing.
func writable(dir string) bool {
	for {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			return true
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return false
		}
		dir = up
	}
}

func found(ctx context.Context, programs []string) (string, bool) {
	for _, p := range programs {
		argv := strings.Fields(p)
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		if len(argv) > 1 && exec.CommandContext(ctx, path, append(argv[1:], "version")...).Run() != nil {
			continue
		}
		return path, true
	}
	return strings.Join(programs, ", ") + ": not installed", false
}
