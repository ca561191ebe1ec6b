package main

import (
	"net/http"
	"testing"

	"casco/guard/admission"
	"casco/loop/inventory"
)

// weighedCall is a call that was let through.
func weighedCall(t *testing.T, method, uri string) *weighed {
	t.Helper()
	route, err := admission.ParseURI(method, uri)
	if err != nil {
		t.Fatal(err)
	}
	return &weighed{Decision: admission.Decision{Allow: true, Route: route}}
}

// TestMemory: what the engine said is known until somebody may have changed it,
// and never while that is under way.
func TestMemory(t *testing.T) {
	tag := weighedCall(t, http.MethodPost, "/v1.41/images/web/tag?repo=x")
	create := weighedCall(t, http.MethodPost, "/v1.41/containers/create")
	started := weighedCall(t, http.MethodPost, "/v1.41/containers/web/start")
	const path = "/images/web/json"
	for _, tt := range []struct {
		name   string
		happen func(m *memory)
		known  bool // what was kept before
		keeps  bool // what is asked for now
	}{
		{"nothing", func(*memory) {}, true, true},
		{"a container is made and starts", func(m *memory) { m.begins(create); m.ends(create); m.begins(started) }, true, true},
		{"an image is being tagged", func(m *memory) { m.begins(tag) }, false, false},
		{"it was", func(m *memory) { m.begins(tag); m.ends(tag) }, false, true},
		{"one of two was", func(m *memory) {
			m.begins(tag)
			m.begins(weighedCall(t, http.MethodPost, "/networks/create"))
			m.ends(tag)
		}, false, false},
		{"nobody told how it ended", func(m *memory) { m.begins(tag); m.ends(nil) }, false, true},
		{"the engine tells of a change", (*memory).forget, false, true},
		{"the engine tells nothing more", func(m *memory) { m.listens(false) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory()
			m.listens(true)
			_, _, asked := m.recall(path)
			m.keep(path, &inventory.Object{}, asked)
			tt.happen(m)
			_, known, now := m.recall(path)
			if known != tt.known {
				t.Errorf("known: %v, want %v", known, tt.known)
			}
			m.keep(path+"2", nil, now)
			if _, kept, _ := m.recall(path + "2"); kept != tt.keeps {
				t.Errorf("what is asked for now is kept: %v, want %v", kept, tt.keeps)
			}
			if m.keep(path+"3", nil, asked); !tt.known {
				if _, kept, _ := m.recall(path + "3"); kept {
					t.Error("what was asked for before the change is kept")
				}
			}
		})
	}
}

// TestMemoryBounded: names are chosen by who asks.
func TestMemoryBounded(t *testing.T) {
	m := newMemory()
	m.listens(true)
	for i := range 3 * memoryMost {
		m.keep(string(rune(i)), nil, m.epoch)
	}
	if len(m.objects) > memoryMost {
		t.Errorf("%d objects are kept, of %d at most", len(m.objects), memoryMost)
	}
}
