package api

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"casco/guard/network"
	"casco/keeper"
	"casco/lang"
	"casco/policy"
)

// one is a guard that says always the same.
type one struct {
	world  World
	failed error
}

func (o one) Status(context.Context) (Status, error) { return Status{Version: "v", Enforce: true}, nil }
func (o one) World(context.Context) (World, error)   { return o.world, nil }
func (o one) Flows(context.Context) ([]network.Flow, error) {
	return []network.Flow{{Peer: netip.MustParseAddr("10.0.0.1"), Port: network.Port{Number: 8, Proto: network.ICMP}}}, nil
}
func (o one) Probe(context.Context) ([]keeper.Probe, error) { return nil, nil }
func (o one) Reload(context.Context) error                  { return o.failed }
func (o one) Upgrade(context.Context) error                 { return o.failed }

func TestSocket(t *testing.T) {
	run := t.TempDir()
	client := NewClient(run)
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNoGuard) {
		t.Fatalf("nobody is there: %v", err)
	}
	g := one{failed: lang.Errorf(lang.Text{En: "no room", Es: "no hay sitio"})}
	g.world = World{
		World: network.World{Namespaces: []network.Namespace{{
			ID: 7, Members: []network.Workload{{ID: "a", Workload: policy.Workload{Name: "web"}}},
			Endpoints: []network.Endpoint{{Iface: "eth0", MAC: [6]byte{1, 2, 3, 4, 5, 6}, Addrs: []netip.Addr{netip.MustParseAddr("fd00::1")}}},
		}}},
		Policy: &policy.Policy{Metadata: policy.Metadata{Name: "p"}}, Lines: map[string]policy.Pos{"flows.0": {File: "f", Line: 3}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, Socket(run), Handler(g, slog.New(slog.DiscardHandler))) }()
	for range 200 {
		if _, err := client.Status(t.Context()); err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if info, err := os.Stat(Socket(run)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is for others: %v, %v", info.Mode(), err)
	}
	w, err := client.World(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g.world.Namespaces, w.Namespaces, cmpopts.EquateComparable(netip.Addr{})); diff != "" || w.Policy.Where("flows.0").Line != 3 {
		t.Errorf("%s %v", diff, w.Policy.Where("flows.0"))
	}
	if fs, err := client.Flows(t.Context()); err != nil || len(fs) != 1 || fs[0].Port.Proto != network.ICMP {
		t.Errorf("flows: %v, %v", fs, err)
	}
	if err := client.Reload(t.Context()); err == nil || !strings.Contains(lang.Say(err, lang.Spanish), "no hay sitio") {
		t.Errorf("what failed is not said in both languages: %v", err)
	}
	if err := Serve(t.Context(), Socket(run), nil); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("a second guard: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestProof(t *testing.T) {
	at := func(from string, may, reached bool) keeper.Probe {
		return keeper.Probe{Attempt: keeper.Attempt{From: from, At: netip.MustParseAddrPort("10.0.0.1:80")}, May: may, Reached: reached}
	}
	for _, c := range []struct {
		name          string
		before, after keeper.Probe
		wrong         bool
	}{
		{"shut", at("a", false, true), at("a", false, false), false},
		{"still open", at("a", false, true), at("a", false, true), true},
		{"still reached", at("a", true, true), at("a", true, true), false},
		{"cut off", at("a", true, true), at("a", true, false), true},
		{"never answered", at("a", true, false), at("a", true, false), false},
		{"new, and shut", at("b", false, false), at("a", true, false), false},
	} {
		if err := Proof([]keeper.Probe{c.before}, []keeper.Probe{c.after}); (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestMode(t *testing.T) {
	path := ModeFile(t.TempDir())
	if m, err := ReadMode(path); err != nil || m.Enforce {
		t.Errorf("without a file: %v, %v", m, err)
	}
	if err := WriteMode(path, Mode{Enforce: true}); err != nil {
		t.Fatal(err)
	}
	if m, err := ReadMode(path); err != nil || !m.Enforce {
		t.Errorf("written: %v, %v", m, err)
	}
	if err := os.WriteFile(path, []byte(`{"enf`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMode(path); err == nil {
		t.Error("half of a file was read")
	}
	if filepath.Base(path) != "network.json" {
		t.Error(path)
	}
}
