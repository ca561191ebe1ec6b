package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"casco/keeper"
	"casco/lang"
	"casco/store"
)

// TestLost: what cannot be written down waits, up to a bound; how much was lost
// is written down once something can be.
func TestLost(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &guard{a: &app{err: io.Discard, statePath: filepath.Join(blocked, "state")}, engine: "unix:///e", log: slog.New(slog.DiscardHandler)}
	for range maxWaiting + 5 {
		g.noted(store.Decision{Ref: "container/web", By: "network", What: "rules", Text: "rules made"})
	}
	g.writeDown(t.Context())
	g.lose(2) // as the door tells
	if len(g.waiting) != maxWaiting || g.lost != 7 {
		t.Fatalf("%d wait and %d are lost", len(g.waiting), g.lost)
	}
	g.a.statePath = t.TempDir()
	g.happened(keeper.Event{Kind: keeper.Late, Container: "web", Text: lang.Text{En: "late", Es: "tarde"}})
	g.writeDown(t.Context())
	t.Cleanup(func() { g.a.close() })
	b, err := g.a.book(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := store.All[store.Alert](t.Context(), b.store, store.Period{}, "")
	if err != nil || len(alerts) != 2 || alerts[0].Event.What != store.Lost || alerts[0].Event.Count != 7 {
		t.Errorf("%+v %v", alerts, err)
	}
	if len(g.waiting) != 0 || g.lost != 0 {
		t.Errorf("%d wait and %d are lost after all was written", len(g.waiting), g.lost)
	}
}

// TestSameTrouble: a trouble that stays is told of once, and counted; after a
// while it is told of again, and so is any other.
func TestSameTrouble(t *testing.T) {
	g := &guard{a: &app{err: io.Discard}, log: slog.New(slog.DiscardHandler)}
	at := time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)
	say := func(after time.Duration, kind keeper.Kind, text string) {
		g.happened(keeper.Event{Time: at.Add(after), Kind: kind, Text: lang.Text{En: text, Es: text}})
	}
	for i := range 5 {
		say(time.Duration(i)*time.Second, keeper.Trouble, "held by another")
	}
	say(6*time.Second, keeper.Trouble, "another")
	say(7*time.Second, keeper.Tampered, "taken away")
	say(8*time.Second, keeper.Tampered, "taken away") // each time somebody does it
	say(sameTrouble, keeper.Trouble, "held by another")
	if len(g.last) != 5 || len(g.waiting) != 5 || g.last[0].Count != 5 {
		t.Errorf("events %+v, for the ledger %+v", g.last, g.waiting)
	}
}
