package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"casco/api"
	"casco/guard/network"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/change"
	"casco/loop/inventory"
	"casco/loop/plan"
	"casco/policy"
	"casco/report"
	"casco/report/netmap"
)

func netCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use: "net", RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{
		En: "See and rule who may talk to whom: status, map, flows, path, learn, explain, enforce, export",
		Es: "Ver y regir quién puede hablar con quién: status, map, flows, path, learn, explain, enforce, export",
	}, lang.Text{
		En: "See and rule who may talk to whom. The policy says it (tiers, assign, flows); casco guard keeps to it. Without a guard the verbs " +
			"look at the host as it is now, and at what its policy would let pass.",
		Es: "Ver y regir quién puede hablar con quién. Lo dice la política (tiers, assign, flows); casco guard lo cumple. Sin guardia los " +
			"verbos miran el anfitrión como está ahora, y lo que su política dejaría pasar.",
	})
	cmd.AddCommand(netStatusCmd(a), netMapCmd(a), netFlowsCmd(a), netPathCmd(a), netLearnCmd(a), netExplainCmd(a), netEnforceCmd(a), netExportCmd(a))
	return cmd
}

// A scene is what the network verbs look at.
type scene struct {
	world   network.World
	policy  *policy.Policy
	flows   []network.Flow // none without a guard
	guarded bool           // the guard said so, not a reading of the host
	drifted []string       // containers that do not run as their image says
}

// scene asks the guard, or reads the host, or a snapshot of one. --policy is
// for both: what another policy would let pass.
func (a *app) scene(ctx context.Context, flows bool) (*scene, error) {
	if a.snapshot == "" {
		client := api.NewClient(a.runPath)
		w, err := client.World(ctx)
		switch {
		case err == nil:
			sc := &scene{world: w.World, policy: w.Policy, guarded: true}
			if a.policyPath != "" {
				j, err := a.judgeNow()
				if err != nil {
					return nil, err
				}
				sc.policy = j.inForce.Policy
			}
			if flows {
				if sc.flows, err = client.Flows(ctx); err != nil {
					return nil, err
				}
			}
			return sc, nil
		case !errors.Is(err, api.ErrNoGuard):
			return nil, err
		}
	}
	l, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if l.trouble != nil {
		return nil, l.trouble
	}
	w, gaps := network.FromSnapshot(l.snapshot)
	for _, g := range gaps {
		a.tell(lang.Text{En: "not on the map: %s: %s", Es: "no está en el mapa: %s: %s"}, clean(g.Ref.String()), clean(g.Reason))
	}
	return &scene{world: w, policy: l.judge.inForce.Policy}, nil
}

// strange says on the terminal what of the policy means nothing here.
func (a *app) strange(sc *scene) error {
	found, err := network.Look(sc.world, sc.policy)
	for _, s := range found {
		at := ""
		if pos := sc.policy.Where(s.Path); s.Path != "" && pos.Line > 0 {
			at = fmt.Sprintf("%s:%d: ", pos.File, pos.Line)
		}
		a.tell(lang.Text{En: "%s%s", Es: "%s%s"}, clean(at), clean(s.Text.In(a.lang)))
	}
	return err
}

// driftedNow are the containers that a look at the host found drifted from
// their images: what they do is no example.
func (a *app) driftedNow(ctx context.Context) ([]string, error) {
	l, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range l.findings {
		if f.Check.ID == "container-drift" && f.Verdict == audit.Fail {
			out = append(out, f.Ref.Name)
		}
	}
	return out, l.trouble
}

var errNoFlows = lang.Errorf(lang.Text{
	En: "flows are seen by the guard, and none is at work here", Es: "los flujos los ve la guardia, y no hay ninguna en marcha aquí",
})

func noFlows() error { return coded{exitTrouble, errNoFlows, command("guard")} }

// table prints rows under a head, in columns.
func (a *app) table(head []lang.Text, rows [][]string) {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	var cells []string
	for _, h := range head {
		cells = append(cells, h.In(a.lang))
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = clean(r[i])
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
}

func netStatusCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := api.NewClient(a.runPath).Status(cmd.Context())
			if errors.Is(err, api.ErrNoGuard) {
				return coded{exitTrouble, err, command("guard")}
			}
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(st)
			}
			a.printStatus(st)
			return nil
		},
	}, lang.Text{En: "Say how the guard is, and what it dropped", Es: "Dice cómo está la guardia, y qué descartó"}, lang.Text{
		En: "Say how the guard is: what it goes by, what it has in hand, what it dropped and what happened last.\n\nExit codes: 0 said, 1 no guard is at work.",
		Es: "Dice cómo está la guardia: por qué se rige, qué tiene a su cargo, qué descartó y qué pasó último.\n\nCódigos de salida: 0 dicho, 1 no hay ninguna guardia en marcha.",
	})
}

func (a *app) printStatus(st api.Status) {
	mode := lang.Text{En: "counts, and drops nothing", Es: "cuenta, y no descarta nada"}
	if st.Enforce {
		mode = lang.Text{En: "enforces", Es: "aplica"}
	}
	fmt.Fprintln(a.out, lang.Text{
		En: "guard of %s since %s: %s policy %.12s; starts are held by %s", Es: "guardia de %s desde %s: %s la política %.12s; los arranques se retienen con %s",
	}.F(st.Engine, st.Since.Format("2006-01-02 15:04:05Z"), mode.In(a.lang), st.Policy, st.Start).In(a.lang))
	if t := st.PolicyTrouble; t != nil {
		fmt.Fprintln(a.out, clean(lang.Text{En: "POLICY %s since %s, the last good one goes on: %s", Es: "POLÍTICA %s desde %s, sigue la última buena: %s"}.F(
			t.Word(), t.Since.Format("2006-01-02 15:04:05Z"), t.Why).In(a.lang)))
	}
	fmt.Fprintln(a.out, lang.Text{
		En: "%d containers in %d network namespaces", Es: "%d contenedores en %d espacios de red",
	}.F(st.Keeper.Containers, st.Keeper.Namespaces).In(a.lang))
	a.printDoor(st.Door)
	if !st.Keeper.Owned {
		fmt.Fprintln(a.out, lang.Text{
			En: "this kernel cannot own rules for good: a container with CAP_NET_ADMIN can remove its own, and is then held by the host's",
			Es: "este núcleo no puede hacer suyas las reglas para siempre: un contenedor con CAP_NET_ADMIN puede quitar las suyas, y lo retienen las del anfitrión",
		}.In(a.lang))
	}
	for _, name := range st.Keeper.Stale {
		if name == "" {
			name = lang.Text{En: "the host", Es: "el anfitrión"}.In(a.lang)
		}
		fmt.Fprintln(a.out, lang.Text{En: "its rules are not as they should be, and are tried again: %s", Es: "sus reglas no están como deben, y se intentan de nuevo: %s"}.F(clean(name)).In(a.lang))
	}
	for _, name := range st.Keeper.Ungoverned {
		fmt.Fprintln(a.out, lang.Text{En: "on the host's network, where no rule can be: %s", Es: "en la red del anfitrión, donde no puede haber reglas: %s"}.F(clean(name)).In(a.lang))
	}
	for _, u := range st.Unknown {
		fmt.Fprintln(a.out, lang.Text{En: "origin unknown: %s: %s", Es: "origen desconocido: %s: %s"}.F(clean(u.Ref), report.UnknownWhy(u.Why)).In(a.lang))
	}
	var rows [][]string
	for _, d := range st.Dropped() {
		who := d.Who
		if who == "" {
			who = lang.Text{En: "the host", Es: "el anfitrión"}.In(a.lang)
		}
		rows = append(rows, []string{who, d.Class.In(a.lang), fmt.Sprint(d.Packets)})
	}
	if rows != nil {
		fmt.Fprintln(a.out)
		head := lang.Text{En: "DROPPED BY", Es: "DESCARTADO POR"}
		if !st.Enforce {
			head = lang.Text{En: "WOULD BE DROPPED BY", Es: "SE DESCARTARÍA POR"}
		}
		a.table([]lang.Text{head, {En: "BECAUSE", Es: "PORQUE"}, {En: "PACKETS", Es: "PAQUETES"}}, rows)
	}
	rows = nil
	for _, e := range st.Events[max(0, len(st.Events)-20):] {
		rows = append(rows, []string{e.Time.Format("15:04:05Z"), string(e.Kind), e.Container, e.Text.In(a.lang)})
	}
	if rows != nil {
		fmt.Fprintln(a.out)
		a.table([]lang.Text{{En: "TIME", Es: "HORA"}, {En: "EVENT", Es: "SUCESO"}, {En: "CONTAINER", Es: "CONTENEDOR"}, {}}, rows)
	}
}

func netFlowsCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "flows",
		RunE: func(cmd *cobra.Command, args []string) error {
			sc, err := a.scene(cmd.Context(), true)
			if err != nil {
				return err
			}
			if !sc.guarded {
				return noFlows()
			}
			fs := sc.flows
			if len(args) == 1 {
				fs = nil
				for _, f := range sc.flows {
					if f.Workload == args[0] {
						fs = append(fs, f)
					}
				}
			}
			j, err := network.NewJudge(sc.policy)
			if err != nil {
				return err
			}
			named := network.NameFlows(fs, sc.world, j)
			if a.format == "json" {
				return a.json(map[string]any{"flows": named})
			}
			var rows [][]string
			for _, f := range named {
				way := "→"
				if !f.Out {
					way = "←"
				}
				rows = append(rows, []string{
					tiered(f.Tier, f.Workload), way, tiered(f.PeerTier, f.PeerName), f.Port.String(), fmt.Sprintf("%d/%d", f.Replied, f.Connections),
					network.Size(f.Sent.Bytes), network.Size(f.Received.Bytes), f.Last.Format("15:04:05Z"),
				})
			}
			a.table([]lang.Text{
				{En: "WHO", Es: "QUIÉN"},
				{},
				{En: "PEER", Es: "CON QUIÉN"},
				{En: "PORT", Es: "PUERTO"},
				{En: "ANSWERED", Es: "RESPONDIDAS"},
				{En: "SENT", Es: "ENVIADO"},
				{En: "RECEIVED", Es: "RECIBIDO"},
				{En: "LAST", Es: "ÚLTIMA"},
			}, rows)
			return nil
		},
	}, lang.Text{En: "Say who talked to whom, counted inside each container's network", Es: "Dice quién habló con quién, contado dentro de la red de cada contenedor"}, lang.Text{
		En: "Say who talked to whom since the guard began, of all containers or of one. It is counted inside each container's own network " +
			"namespace, the only place that sees what passes within one bridge and through an encrypted overlay.\n\n" +
			"Exit codes: 0 said, 1 trouble, or no guard is at work.",
		Es: "Dice quién habló con quién desde que empezó la guardia, de todos los contenedores o de uno. Se cuenta dentro del espacio de red de " +
			"cada contenedor, el único lugar que ve lo que pasa dentro de un puente y por una overlay cifrada.\n\n" +
			"Códigos de salida: 0 dicho, 1 problema, o no hay guardia en marcha.",
	}, maybeAContainer)
}

func tiered(tier, name string) string {
	if tier == "" {
		return name
	}
	return tier + "/" + name
}

var (
	maybeAContainer = lang.Text{En: "[CONTAINER]", Es: "[CONTENEDOR]"}
	aFrom           = lang.Text{En: "FROM", Es: "DESDE"}
	aTo             = lang.Text{En: "TO", Es: "HACIA"}
	aPortOperand    = lang.Text{En: "PORT", Es: "PUERTO"}
)

func netPathCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "path",
		RunE: func(cmd *cobra.Command, args []string) error {
			sc, err := a.scene(cmd.Context(), false)
			if err != nil {
				return err
			}
			paths, err := network.Paths(sc.world, sc.policy, args[0], args[1])
			if err != nil {
				return usage(err)
			}
			if a.format == "json" {
				if err := a.json(map[string]any{"from": args[0], "to": args[1], "paths": paths}); err != nil {
					return err
				}
			} else if err := netmap.WritePaths(a.out, args[0], args[1], paths, sc.policy.Where, a.lang); err != nil {
				return err
			}
			if len(paths) > 0 {
				return quiet(exitFindings)
			}
			return nil
		},
	}, lang.Text{En: "Say whether there is any way from one to another, published ports and conduits included", Es: "Dice si hay algún camino de uno a otro, incluidos puertos publicados y conductos"}, lang.Text{
		En: "Say whether there is any way from one to another: what is open as Docker leaves it, and what would be with the policy enforced. " +
			"FROM and TO are a container, a service, a tier, host or any-internet. What is in doubt is a way.\n\n" +
			"Exit codes: 0 there is none, 1 trouble, 2 there is no such end, 3 there are ways.",
		Es: "Dice si hay algún camino de uno a otro: lo que Docker deja abierto, y lo que habría con la política aplicada. DESDE y HACIA son un " +
			"contenedor, un servicio, un nivel, host o any-internet. Lo dudoso es un camino.\n\n" +
			"Códigos de salida: 0 no hay ninguno, 1 problema, 2 no existe ese extremo, 3 hay caminos.",
	}, aFrom, aTo)
}

func netLearnCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "learn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			sc, err := a.scene(cmd.Context(), true)
			if err != nil {
				return err
			}
			if !sc.guarded {
				return noFlows()
			}
			if sc.drifted, err = a.driftedNow(cmd.Context()); err != nil {
				return err
			}
			j, err := network.NewJudge(sc.policy)
			if err != nil {
				return err
			}
			l := network.Learn(sc.flows, sc.world, j, sc.drifted)
			if a.format == "json" {
				return a.json(l)
			}
			return netmap.WriteLearned(a.out, l, len(sc.policy.Flows) == 0, a.lang)
		},
	}, lang.Text{En: "Propose crossings from the flows that were seen, as lines for the policy", Es: "Propone cruces a partir de los flujos vistos, como líneas para la política"}, lang.Text{
		En: "Propose crossings from the flows that the guard saw, with counts and dates, as lines for the policy's flows. Nothing of it is in " +
			"force: each line is a question to a person. Nothing is learned from a container that does not run as its image says.\n\n" +
			"Exit codes: 0 said, 1 trouble, or no guard is at work.",
		Es: "Propone cruces a partir de los flujos que vio la guardia, con cuentas y fechas, como líneas para flows de la política. Nada de ello " +
			"rige: cada línea es una pregunta a una persona. De un contenedor que no corre como dice su imagen no se aprende nada.\n\n" +
			"Códigos de salida: 0 dicho, 1 problema, o no hay guardia en marcha.",
	})
}

func netExplainCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "explain",
		RunE: func(cmd *cobra.Command, args []string) error {
			port, err := network.ParsePort(args[2])
			if err != nil {
				return usage(err)
			}
			sc, err := a.scene(cmd.Context(), false)
			if err != nil {
				return err
			}
			j, err := network.NewJudge(sc.policy)
			if err != nil {
				return err
			}
			x, err := network.Explain(sc.world, j, args[0], args[1], port)
			if err != nil {
				return usage(err)
			}
			if a.format == "json" {
				err = a.json(x)
			} else {
				err = netmap.WriteExplanation(a.out, x, a.lang)
			}
			if err == nil && !x.Passes {
				return quiet(exitFindings)
			}
			return err
		},
	}, lang.Text{En: "Say why something passes or is dropped, and by which line of the policy", Es: "Dice por qué algo pasa o se descarta, y por qué línea de la política"}, lang.Text{
		En: "Say whether FROM may send to a port of TO with the policy enforced, which rule on the way drops it, and which line of the policy " +
			"says so; or which line is missing.\n\nExit codes: 0 it passes, 1 trouble, 2 there is no such end, 3 it is dropped.",
		Es: "Dice si DESDE puede enviar a un puerto de HACIA con la política aplicada, qué regla del camino lo descarta y qué línea de la " +
			"política lo dice; o qué línea falta.\n\nCódigos de salida: 0 pasa, 1 problema, 2 no existe ese extremo, 3 se descarta.",
	}, aFrom, aTo, aPortOperand)
}

func netEnforceCmd(a *app) *cobra.Command {
	var out string
	var ask asking
	cmd := a.manual.verb(&cobra.Command{
		Use: "enforce",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if l.trouble != nil {
				return l.trouble
			}
			if running, _, _ := inventory.GuardRunning.Of(l.snapshot.Find(guardRef)); !running {
				return refused(api.ErrNoGuard, command("guard"))
			}
			if len(l.judge.inForce.Policy.Tiers) < 2 {
				return refused(lang.Errorf(lang.Text{
					En: "the policy in force has one tier: there is nothing to keep apart", Es: "la política en vigor tiene un nivel: no hay nada que separar",
				}), command("policy", "init"))
			}
			sc, err := a.scene(cmd.Context(), false)
			if err == nil {
				err = a.strange(sc)
			}
			if err != nil {
				return err
			}
			p := plan.Make(l.snapshot, l.findings, means(), plan.Options{Refs: []inventory.Ref{guardRef}})
			p.Engine = l.engine
			c := change.New(p, operator(), time.Now())
			if err := a.request(c, ask); err != nil {
				return err
			}
			if err := a.printPlan(c, out); err != nil {
				return err
			}
			if len(c.Plan.Steps) > 0 {
				return quiet(exitPending)
			}
			return nil
		},
	}, lang.Text{En: "Plan that the guard drops what the policy does not let pass", Es: "Planifica que la guardia descarte lo que la política no deja pasar"}, lang.Text{
		En: "Plan that the guard drops what the policy does not let pass. It is a change like any other: casco approve and casco apply it. When " +
			"it is applied the guard tries what may not be reached, and what may be and was; if one is not as the policy says, the change is " +
			"taken back. It also goes back unless you confirm in time that you are not cut off. Take it back with casco rollback.\n\n" +
			"Exit codes: 0 it is enforced already, 1 trouble, 4 no guard is at work or there is nothing to keep apart, 5 there is a change.",
		Es: "Planifica que la guardia descarte lo que la política no deja pasar. Es un cambio como otro: casco approve y casco apply. Al " +
			"aplicarlo la guardia prueba lo que no se debe alcanzar, y lo que se debe y se alcanzaba; si algo no es como dice la política, el " +
			"cambio se revierte. También vuelve atrás si no confirma a tiempo que no quedó fuera. Se revierte con casco rollback.\n\n" +
			"Códigos de salida: 0 ya se aplica, 1 problema, 4 no hay guardia en marcha o nada que separar, 5 hay un cambio.",
	})
	ask.flags(a, cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write the plan to", Es: "`ARCHIVO` donde escribir el plan"})
	return cmd
}
