package handtest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/atomicfile"
	"casco/loop/apply"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// A pair sets two files to one text. Flaws make it break the contract.
type pair struct {
	dir  string
	flaw string
}

func (p pair) files() []string {
	return []string{filepath.Join(p.dir, "a"), filepath.Join(p.dir, "b")}
}

func (p pair) Prepare(context.Context, plan.Step) (json.RawMessage, error) {
	var undo []atomicfile.Saved
	for _, f := range p.files() {
		s, err := atomicfile.Save(f)
		if err != nil {
			return nil, err
		}
		undo = append(undo, s)
	}
	if p.flaw == "prepare changes" {
		return nil, errors.Join(os.WriteFile(p.files()[0], nil, 0o644))
	}
	return json.Marshal(undo)
}

func (p pair) Do(ctx context.Context, st plan.Step, _ json.RawMessage) error {
	text, _ := st.To("Text")
	for i, f := range p.files() {
		if err := ctx.Err(); err != nil && p.flaw != "deaf" {
			return err
		}
		if p.flaw == "hidden state" && i == 1 {
			f += ".new"
		}
		if err := atomicfile.Write(f, []byte(text.(string)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (p pair) Undo(_ context.Context, _ plan.Step, undo json.RawMessage) error {
	if p.flaw == "no undo" {
		return nil
	}
	var files []atomicfile.Saved
	if err := json.Unmarshal(undo, &files); err != nil {
		return err
	}
	if p.flaw == "undo once" {
		if _, err := os.Stat(files[1].Path); errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, f := range files {
		if err := f.Restore(); err != nil {
			return err
		}
	}
	return nil
}

func freshPair(flaw string) Fresh {
	return func(t *testing.T) (apply.Hand, plan.Step, func() string) {
		p := pair{t.TempDir(), flaw}
		if err := os.WriteFile(p.files()[0], []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		st := plan.Step{Ref: inventory.Ref{Kind: "pair", Name: "x"}, Sets: []plan.Set{{Field: "Text", To: "new"}}}
		return p, st, func() string { return ls(t, p.dir) }
	}
}

func ls(t *testing.T, dir string) string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sb strings.Builder
	for _, e := range es {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, _ := e.Info()
		sb.WriteString(info.Mode().String() + " " + e.Name() + " " + string(b) + "\n")
	}
	return sb.String()
}

func TestGoodHandPasses(t *testing.T) { Run(t, freshPair("")) }

// TestFlawIsNoticed runs the suite on a broken hand in a process of its own,
// where it must fail.
func TestFlawIsNoticed(t *testing.T) {
	if flaw := os.Getenv("HANDTEST_FLAW"); flaw != "" {
		Run(t, freshPair(flaw))
		return
	}
	for _, flaw := range []string{"prepare changes", "no undo", "undo once", "deaf", "hidden state"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFlawIsNoticed$")
		cmd.Env = append(os.Environ(), "HANDTEST_FLAW="+flaw)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: the suite passes", flaw)
		}
		if strings.Contains(string(out), "panic:") {
			t.Errorf("%s: the suite panics:\n%s", flaw, out)
		}
	}
}
