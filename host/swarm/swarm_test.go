package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"casco/internal/handtest"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// fake is a swarm manager that keeps its specification as JSON and refuses an
// update against another version than its own, as the engine does.
type fake struct {
	version int
	spec    string
	deaf    bool // takes updates and forgets them
}

func (f *fake) Call(_ context.Context, method, path string, in, out any) error {
	switch {
	case method == "GET" && path == "/swarm":
		return json.Unmarshal(fmt.Appendf(nil, `{"ID":"c1","Version":{"Index":%d},"Spec":%s}`, f.version, f.spec), out)
	case method == "POST" && path == fmt.Sprintf("/swarm/update?version=%d", f.version):
		if f.deaf {
			return nil
		}
		b, err := json.Marshal(in)
		f.version, f.spec = f.version+1, string(b)
		return err
	}
	return errors.New("update out of sequence: " + method + " " + path)
}

const spec = `{"CAConfig":{"NodeCertExpiry":7776000000000000},"EncryptionConfig":{"AutoLockManagers":false},"Labels":{"kept":"x"},"Name":"default"}`

func step() plan.Step {
	return plan.Step{Ref: inventory.Ref{Kind: inventory.Swarm, Name: "c1"}, Hand: Hand, Sets: []plan.Set{
		{Field: inventory.SwarmAutoLock.Path, From: false, To: true},
		{Field: inventory.SwarmCertExpiry.Path, From: 7776000000000000, To: 172800000000000},
	}}
}

func TestUpdate(t *testing.T) {
	handtest.Run(t, func(*testing.T) (apply.Hand, plan.Step, func() string) {
		f := &fake{version: 10, spec: spec}
		return NewUpdate(f), step(), func() string { return f.spec }
	})
}

// TestNotKept fails when the engine takes an update and does not keep it, and
// when the engine has moved to another swarm.
func TestNotKept(t *testing.T) {
	f := &fake{version: 10, spec: spec, deaf: true}
	if err := NewUpdate(f).Do(t.Context(), step(), nil); err == nil {
		t.Error("an update that was not kept counts as done")
	}
	st := step()
	st.Ref.Name = "c2"
	if _, err := NewUpdate(f).Prepare(t.Context(), st); err == nil {
		t.Error("prepared for a swarm that this engine is not in")
	}
}
