package daemonjson_test

import (
	"fmt"
	"testing"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/plan"
)

// state is all that the hand could touch: the file, what the engine runs with,
// and which containers run.
func (b bench) state() string {
	b.t.Helper()
	return fmt.Sprintf("%s\n%s\n%s", b.file(),
		b.info("{{.LiveRestoreEnabled}} {{.Debug}} {{.LoggingDriver}} {{.Labels}} {{.RegistryConfig.InsecureRegistryCIDRs}}"),
		b.sorted("ps", "--format", "{{.Names}} {{.State}}"))
}

// TestConformance puts the hand through being killed between any two of its
// acts. One engine serves all cases: each leaves it as it was, or fails.
func TestConformance(t *testing.T) {
	b := start(t, mine)
	b.Image("app")
	b.Docker("run", "-d", "--stop-timeout", "1", "--name", "web1", "app", "sleep", "1000")
	for _, tt := range []struct {
		name string
		sets []plan.Set
	}{
		{"reload", []plan.Set{{Field: "debug", To: true}, {Field: "labels"}, {Field: "insecure-registries", To: []any{"10.9.0.0/16"}}}},
		{"restart", []plan.Set{{Field: "log-driver", To: "local"}, {Field: "labels", To: []any{"new=label"}}}},
		{"live-restore, then restart", []plan.Set{{Field: "live-restore", To: true}, {Field: "log-driver", To: "local"}}},
	} {
		st := b.step(tt.sets...)
		t.Run(tt.name, func(t *testing.T) {
			handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
				return b.hand, st, b.state
			})
		})
	}
}
