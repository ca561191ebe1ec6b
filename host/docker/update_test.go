package docker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// limits is what the kernel holds a container to, by the files of its cgroup
// (v1 here; v2 has others).
func (h host) limits(name string) string {
	h.t.Helper()
	pid := h.Docker("inspect", "-f", "{{.State.Pid}}", name)
	b, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		h.t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, file := range []string{
			"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "pids.max",
			"cpu.cfs_quota_us", "cpu.shares", "cpuset.cpus", "memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight",
		} {
			path := filepath.Join("/sys/fs/cgroup", parts[1], parts[2], file)
			if v, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&out, "%s %s", file, v)
			}
		}
	}
	if out.Len() == 0 {
		h.t.Fatalf("no limits found for %s: %s", name, b)
	}
	return out.String()
}

// A hand that goes through limits that were there comes back to the byte.
func TestUpdateHand(t *testing.T) {
	handtest.Run(t, func(t *testing.T) (apply.Hand, plan.Step, func() string) {
		h := onHost(t, "upd")
		h.Docker(append([]string{
			"run", "-d", "--name", "upd", "-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5",
			"--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "50", "--restart", "on-failure:3", h.Image("upd"),
		}, serving...)...)
		st := step(t, UpdateHand, "upd", map[string]any{
			"HostConfig.Memory": 256 << 20, "HostConfig.MemoryReservation": 128 << 20, "HostConfig.NanoCpus": 250_000_000,
			"HostConfig.CpuShares": 256, "HostConfig.CpusetCpus": "0-1", "HostConfig.PidsLimit": 100,
			"HostConfig.RestartPolicy.Name": "on-failure", "HostConfig.RestartPolicy.MaximumRetryCount": 5,
		})
		return NewUpdate(h.client), st, func() string { return h.whole("upd") + h.limits("upd") }
	})
}

// Limits that were not there: the kernel forgets them, although the engine
// keeps a number.
func TestUpdateUndoesToNone(t *testing.T) {
	h := onHost(t, "upn")
	h.Docker(append([]string{"run", "-d", "--name", "upn", h.Image("upd")}, serving...)...)
	before, pid := h.limits("upn"), h.Docker("inspect", "-f", "{{.State.Pid}}", "upn")
	hand := NewUpdate(h.client)
	st := step(t, UpdateHand, "upn", map[string]any{
		"HostConfig.Memory": 64 << 20, "HostConfig.MemoryReservation": 32 << 20, "HostConfig.CpuShares": 512,
		"HostConfig.CpusetCpus": "0", "HostConfig.PidsLimit": 50, "HostConfig.CpuQuota": 50_000,
	})
	undo, err := hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := hand.Do(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	during := h.limits("upn")
	for _, want := range []string{"67108864", "cpu.shares 512", "pids.max 50", "cpuset.cpus 0\n", "cpu.cfs_quota_us 50000"} {
		if !strings.Contains(during, want) {
			t.Errorf("after the update the kernel says\n%swant %q in it", during, want)
		}
	}
	if swap := number(object(h.inspect("upn"), "HostConfig")["MemorySwap"]); swap != 128<<20 {
		t.Errorf("MemorySwap = %d, want twice the memory, as the engine itself would", swap)
	}
	for range 2 {
		if err := hand.Undo(t.Context(), st, undo); err != nil {
			t.Fatal(err)
		}
		if after := h.limits("upn"); after != before {
			t.Errorf("after the undo the kernel says\n%swant\n%s", after, before)
		}
	}
	if now := h.Docker("inspect", "-f", "{{.State.Pid}}", "upn"); now != pid {
		t.Error("the container was restarted")
	}
}

// Unlimited swap is a number that the engine notes and does not pass on.
func TestUpdateUndoesUnlimitedSwap(t *testing.T) {
	h := onHost(t, "ups")
	h.Docker(append([]string{"run", "-d", "--name", "ups", "-m", "64m", "--memory-swap", "-1", h.Image("upd")}, serving...)...)
	before := h.whole("ups") + h.limits("ups")
	hand := NewUpdate(h.client)
	st := step(t, UpdateHand, "ups", map[string]any{"HostConfig.Memory": 32 << 20, "HostConfig.MemorySwap": 64 << 20})
	undo, err := hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := hand.Do(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	if err := hand.Undo(t.Context(), st, undo); err != nil {
		t.Fatal(err)
	}
	if after := h.whole("ups") + h.limits("ups"); after != before {
		t.Errorf("after the undo:\n%s\nwant\n%s", after, before)
	}
}

func TestUpdateRefusesOtherFields(t *testing.T) {
	h := onHost(t, "upr")
	h.Docker("create", "--name", "upr", h.Image("upd"), "true")
	_, err := NewUpdate(h.client).Prepare(t.Context(), step(t, UpdateHand, "upr", map[string]any{"HostConfig.ReadonlyRootfs": true}))
	if err == nil || !strings.Contains(err.Error(), "ReadonlyRootfs") {
		t.Errorf("got error %v, want one that names the field: the engine would ignore it", err)
	}
}

// The engine answers 200 to what it did not do; the hand does not.
func TestUpdateReadsAgain(t *testing.T) {
	f := fake{
		"/info":                  `{"NCPU":2}`,
		"/containers/web/json":   `{"Id":"aaa","HostConfig":{"PidsLimit":null}}`,
		"/containers/aaa/json":   `{"Id":"aaa","HostConfig":{"PidsLimit":null}}`,
		"/containers/aaa/update": `{"Warnings":null}`,
	}
	hand := NewUpdate(f.client(t))
	st := step(t, UpdateHand, "web", map[string]any{"HostConfig.PidsLimit": 100})
	undo, err := hand.Prepare(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := hand.Do(t.Context(), st, undo); err == nil || !strings.Contains(err.Error(), "did not take") {
		t.Errorf("got error %v, want one that says that the engine did not take it", err)
	}
}

func TestSwapFor(t *testing.T) {
	for _, tt := range []struct{ memory, now, want int64 }{
		{64, 0, 128}, {64, 32, 128}, {64, 64, 64}, {64, 200, 200}, {64, -1, -1},
	} {
		if got := swapFor(tt.memory, tt.now); got != tt.want {
			t.Errorf("swapFor(%d, %d) = %d, want %d", tt.memory, tt.now, got, tt.want)
		}
	}
}

func TestUpdateMeans(t *testing.T) {
	refused := func(field, fields string) bool {
		o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web"}}
		if err := json.Unmarshal([]byte(fields), &o.Fields); err != nil {
			t.Fatal(err)
		}
		for _, m := range UpdateMeans() {
			if m.Field == field {
				return !m.Refuse(nil, o, field).Empty()
			}
		}
		t.Fatalf("no means for %s", field)
		return false
	}
	for _, tt := range []struct {
		field, fields string
		want          bool
	}{
		{"HostConfig.Memory", `{"HostConfig":{}}`, false},
		{"HostConfig.NanoCpus", `{"HostConfig":{"CpuQuota":5000}}`, true},
		{"HostConfig.NanoCpus", `{"HostConfig":{"CpuQuota":0}}`, false},
		{"HostConfig.CpuQuota", `{"HostConfig":{"NanoCpus":5000}}`, true},
		{"HostConfig.RestartPolicy.Name", `{"HostConfig":{"AutoRemove":true}}`, true},
	} {
		if got := refused(tt.field, tt.fields); got != tt.want {
			t.Errorf("%s of %s: refused is %v, want %v", tt.field, tt.fields, got, tt.want)
		}
	}
}
