package checks

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// TestContainerSuggestions: a value that depends on the workload is suggested
// only from what was measured, and never without a question.
func TestContainerSuggestions(t *testing.T) {
	changes := func(paths ...string) []any {
		var l []any
		for _, p := range paths {
			l = append(l, map[string]any{"Path": p, "Kind": int64(1)})
		}
		return l
	}
	unlimited := map[string]any{"Memory": int64(0), "PidsLimit": nil, "ReadonlyRootfs": false}
	for _, c := range []struct {
		name   string
		check  *audit.Check
		fields map[string]any
		want   map[string]any
	}{
		{"no peak", containerMemory, nil, map[string]any{"HostConfig.Memory": nil, "HostConfig.MemorySwap": nil}},
		{
			"twice the peak, in steps of 16 MiB", containerMemory,
			map[string]any{"Effective": map[string]any{"MemoryMax": int64(-1), "MemoryPeak": int64(41_234_567)}},
			map[string]any{"HostConfig.Memory": int64(80 << 20), "HostConfig.MemorySwap": int64(160 << 20)},
		},
		{
			"at least 32 MiB", containerMemory,
			map[string]any{"Effective": map[string]any{"MemoryMax": int64(-1), "MemoryPeak": int64(500_000)}},
			map[string]any{"HostConfig.Memory": int64(32 << 20), "HostConfig.MemorySwap": int64(64 << 20)},
		},
		{"no peak", containerPids, nil, map[string]any{"HostConfig.PidsLimit": nil}},
		{
			"four times the peak, in steps of 16", containerPids,
			map[string]any{"Effective": map[string]any{"PidsMax": int64(-1), "PidsPeak": int64(21)}},
			map[string]any{"HostConfig.PidsLimit": int64(96)},
		},
		{
			"at least 64", containerPids,
			map[string]any{"Effective": map[string]any{"PidsMax": int64(-1), "PidsPeak": int64(1)}},
			map[string]any{"HostConfig.PidsLimit": int64(64)},
		},
		{"writes not known", containerReadOnlyRoot, nil, map[string]any{"HostConfig.ReadonlyRootfs": nil}},
		{"wrote nothing", containerReadOnlyRoot, map[string]any{"Changes": []any{}}, map[string]any{"HostConfig.ReadonlyRootfs": true}},
		{
			"wrote passing files", containerReadOnlyRoot,
			map[string]any{"Changes": changes("/run/app.pid", "/tmp/a/b", "/tmp/c")},
			map[string]any{"HostConfig.ReadonlyRootfs": true, "HostConfig.Tmpfs": map[string]any{"/run": "", "/tmp": ""}},
		},
		{
			"wrote lasting files", containerReadOnlyRoot,
			map[string]any{"Changes": changes("/tmp/x", "/var/lib/app/db")},
			map[string]any{"HostConfig.ReadonlyRootfs": nil},
		},
	} {
		t.Run(c.check.ID+"/"+c.name, func(t *testing.T) {
			o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "x"}, Fields: map[string]any{"HostConfig": unlimited}}
			for k, v := range c.fields {
				o.Fields[k] = v
			}
			got := map[string]any{}
			for _, w := range c.check.Eval(nil, o).Wants {
				got[w.Field] = w.Value
				if w.Ask.Empty() {
					t.Errorf("%s has no question", w.Field)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("suggestions (-want +got):\n%s", d)
			}
		})
	}
}
