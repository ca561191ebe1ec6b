package docker

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
)

// pollEvery is how often a container is looked at while something is awaited.
const pollEvery = 50 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A gate is what a new container must reach: as good as the old one was.
type gate struct {
	closed     bool // the old one did not run; there is nothing to reach
	restarting bool // the old one was in a loop of crashes
	unhealthy  bool // by its own health check
	listeners  []string
}

// gates looks at the old containers while they still run.
func (t *transaction) gates(ctx context.Context) ([]gate, error) {
	gates := make([]gate, len(t.members))
	for i, m := range t.members {
		g := gate{closed: !m.ran(), restarting: truth(m.Inspect, "State", "Restarting")}
		health := str(m.Inspect, "State", "Health", "Status")
		g.unhealthy = health == "unhealthy"
		if t.Listeners != nil && m.ran() && !g.restarting {
			all, err := t.Listeners(ctx, m.ID)
			if err != nil {
				// What cannot be told is not asked for.
				t.note("%s: where it listens could not be read, and will not be compared: %v", m.Ref, err)
			}
			g.listeners = slices.DeleteFunc(slices.Clone(all), passing)
		}
		gates[i] = g
	}
	return gates, ctx.Err()
}

// firstEphemeral is where the kernel's range of ports for those who do not
// choose one begins (net.ipv4.ip_local_port_range, ip(7)).
const firstEphemeral = 32768

// passing reports whether a listener cannot be expected to come back as it
// was: the engine's own name server (127.0.0.11), or a port that the kernel
// chose.
func passing(listener string) bool {
	i := strings.LastIndexByte(listener, ':')
	port, err := strconv.Atoi(listener[i+1:])
	return err == nil && port >= firstEphemeral || strings.Contains(listener, ":127.0.0.11:")
}

// pass waits until container id has passed g, or says why it does not.
func (t *transaction) pass(ctx context.Context, g gate, id string) error {
	if g.closed {
		return nil
	}
	begun := time.Now()
	for {
		c, err := inspect(ctx, t.client, id)
		if err != nil {
			return err
		}
		wait, err := t.judge(ctx, g, c, time.Since(begun))
		if err != nil || wait.Empty() {
			return err
		}
		if time.Since(begun) > t.patience(c) {
			return lang.Errorf(lang.Text{En: "after %s %s", Es: "tras %s %s"}, time.Since(begun).Round(time.Second), wait)
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// judge returns what there is still to wait for, or an error if it is in vain.
func (t *transaction) judge(ctx context.Context, g gate, c map[string]any, up time.Duration) (wait lang.Text, err error) {
	if !g.restarting {
		if err := crashed(c); err != nil {
			return wait, err
		}
	}
	settled := up >= t.Settle
	switch health := str(c, "State", "Health", "Status"); {
	case health == "unhealthy" && !g.unhealthy:
		return wait, lang.Errorf(lang.Text{En: "its health check says unhealthy: %q", Es: "su control de salud dice que no está sano: %q"}, lastProbe(c))
	case health == "starting" && !g.unhealthy:
		return lang.Text{En: "its health check has not said healthy", Es: "su control de salud no ha dicho que esté sano"}, nil
	case health != "healthy" && !settled:
		return lang.Text{En: "it has not settled", Es: "no se ha asentado"}, nil
	}
	return t.missing(ctx, g, str(c, "Id"))
}

func crashed(c map[string]any) error {
	state := object(c, "State")
	if truth(state, "Running") && !truth(state, "Restarting") && number(c["RestartCount"]) == 0 {
		return nil
	}
	why := lang.Errorf(lang.Text{
		En: "it does not keep running: status %s, exit code %v", Es: "no se mantiene en marcha: estado %s, código de salida %v",
	}, str(state, "Status"), state["ExitCode"])
	if e := str(state, "Error"); e != "" {
		why = fmt.Errorf("%w: %s", why, e)
	}
	return why
}

// lastProbe is what the health check printed last, without its secrets.
func lastProbe(c map[string]any) string {
	masked := clone(c)
	maskContainer(masked)
	log := list(masked, "State", "Health", "Log")
	if len(log) == 0 {
		return ""
	}
	last, _ := log[len(log)-1].(map[string]any)
	out := strings.TrimSpace(str(last, "Output"))
	return out[:min(len(out), 200)]
}

// missing says which listeners of the old one the new one lacks.
func (t *transaction) missing(ctx context.Context, g gate, id string) (wait lang.Text, err error) {
	if len(g.listeners) == 0 {
		return wait, nil
	}
	now, err := t.Listeners(ctx, id)
	if err != nil {
		return lang.Text{
			En: "where it listens could not be read: " + lang.Say(err, lang.English),
			Es: "no se pudo leer dónde escucha: " + lang.Say(err, lang.Spanish),
		}, nil
	}
	for _, l := range g.listeners {
		if !slices.Contains(now, l) {
			return lang.Text{En: "it does not listen on %s, as the old one did", Es: "no escucha en %s, como lo hacía el viejo"}.F(l), nil
		}
	}
	return wait, nil
}

// patience is how long to wait for container c: as long as its health check
// may take to come to a verdict, but not longer than Patience. The defaults are
// those of the Dockerfile reference, HEALTHCHECK.
func (t *transaction) patience(c map[string]any) time.Duration {
	check := object(c, "Config", "Healthcheck")
	if check == nil || len(list(check, "Test")) == 0 || list(check, "Test")[0] == "NONE" {
		return t.Patience
	}
	or := func(key string, otherwise time.Duration) time.Duration {
		if n := number(check[key]); n > 0 {
			return time.Duration(n)
		}
		return otherwise
	}
	retries := number(check["Retries"])
	if retries == 0 {
		retries = 3
	}
	round := or("Interval", 30*time.Second) + or("Timeout", 30*time.Second)
	return min(t.Patience, or("StartPeriod", 0)+time.Duration(retries+1)*round)
}
