package daemonjson

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// Foreign implements apply.Watchful: the file is neither as Do left it nor as
// Prepare saw it. Now is the difference to what we left, secrets masked.
func (h *Hand) Foreign(_ context.Context, st plan.Step, raw json.RawMessage) ([]apply.Conflict, error) {
	var u undo
	if err := json.Unmarshal(raw, &u); err != nil {
		return nil, lang.Errorf(lang.Text{En: "undo of %s: %w", Es: "deshacer %s: %w"}, st.Ref, err)
	}
	now, err := atomicfile.Save(u.File.Path)
	if err != nil {
		return nil, err
	}
	if now.Exists && bytes.Equal(now.Data, u.New) || now.Exists == u.File.Exists && bytes.Equal(now.Data, u.File.Data) {
		return nil, nil
	}
	c := apply.Conflict{What: "file/" + u.File.Path, Ours: masked(u.New)}
	if u.File.Exists {
		c.Before = masked(u.File.Data)
	}
	if now.Exists {
		c.Now = udiff.Unified("as casco left it", "now", masked(u.New), masked(now.Data))
	}
	return []apply.Conflict{c}, nil
}

// masked is the text of a daemon.json with its secrets masked, one value at a
// time by the key that it belongs to, so that a person still reads their file.
func masked(b []byte) string {
	root, err := parse(b)
	if err != nil {
		return inventory.MaskText(string(b))
	}
	var out strings.Builder
	src, end := root.Pack(), 0
	root.UpdateOffsets()
	for _, l := range literals("", root) {
		if m := inventory.MaskValue(l.key, l.text); m != l.text {
			quoted, err := literal(m)
			if err != nil {
				continue
			}
			out.Write(src[end:l.from])
			out.Write(quoted)
			end = l.to
		}
	}
	out.Write(src[end:])
	return out.String()
}
