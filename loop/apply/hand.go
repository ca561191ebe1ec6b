package apply

import (
	"context"
	"encoding/json"

	"casco/loop/plan"
)

// A Hand changes one kind of thing on the host. Hands live under host/, one
// conformance suite holds them all.
type Hand interface {
	// Prepare reads what Undo will need and proves, as far as can be told
	// without changing anything, that Do can succeed. The undo it returns is
	// on disk before Do is called, and must be enough to take back a Do that
	// was killed at any point.
	Prepare(ctx context.Context, st plan.Step) (undo json.RawMessage, err error)
	// Do carries out st. If it fails it may leave half of it behind: the
	// caller calls Undo.
	Do(ctx context.Context, st plan.Step, undo json.RawMessage) error
	// Undo brings back the state that Prepare saw, to the byte. It may be
	// called on a step that was never begun, or twice.
	Undo(ctx context.Context, st plan.Step, undo json.RawMessage) error
}

// A Conflict is something that is no longer as a change left it: somebody has
// changed it since, and going back would undo their work too. A value that is a
// lang.Text is for people: it says of a thing as a whole whether it is there.
type Conflict struct {
	What   string `json:"what"`   // "file//etc/docker/daemon.json", "container/web1 HostConfig.Memory"
	Before any    `json:"before"` // what it was before the change
	Ours   any    `json:"ours"`   // what the change made it
	Now    any    `json:"now"`
}

// A Watchful hand can tell foreign changes that no field shows, such as
// another key in a file that it wrote.
type Watchful interface {
	Foreign(ctx context.Context, st plan.Step, undo json.RawMessage) ([]Conflict, error)
}

// A Keeper is a hand whose undo holds on to something (a stopped container,
// a saved image) that can be let go once nobody wants to go back.
type Keeper interface {
	Release(ctx context.Context, st plan.Step, undo json.RawMessage) error
}
