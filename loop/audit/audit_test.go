package audit

import (
	"slices"
	"testing"

	"casco/loop/inventory"
)

// TestRunOrder wants the findings in the order of the checks, then of the
// objects, however many CPUs share the work, and only about what a check is
// about.
func TestRunOrder(t *testing.T) {
	s := &inventory.Snapshot{}
	for _, name := range []string{"a", "b", "c"} {
		s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: name}})
	}
	s.Sort()
	eval := func(_ *inventory.Snapshot, o *inventory.Object) Answer { return Good(inventory.Fact{Ref: o.Ref}) }
	var checks []*Check
	for _, id := range []string{"one", "two", "three", "four", "five"} {
		checks = append(checks, &Check{ID: id, Kind: inventory.Container, Eval: eval})
	}
	checks[1].About = func(_ *inventory.Snapshot, o *inventory.Object) bool { return o.Ref.Name == "b" }
	checks[2].Kind = inventory.Image
	want := "one a, one b, one c, two b, four a, four b, four c, five a, five b, five c, "
	for range 100 {
		got := ""
		for _, f := range Run(checks, s) {
			got += f.Check.ID + " " + f.Ref.Name + ", "
		}
		if got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
}

// TestOtherEngines: a second engine on the host, and a file that is nobody's
// but its, are judged and told apart; they move no number of the first.
func TestOtherEngines(t *testing.T) {
	object := func(kind inventory.Kind, name string, fields map[string]any) *inventory.Object {
		return &inventory.Object{Ref: inventory.Ref{Kind: kind, Name: name}, Fields: fields}
	}
	alone := []*inventory.Object{
		object(inventory.Daemon, "/run/docker.sock", map[string]any{}),
		object(inventory.File, "/etc/docker", map[string]any{}),
		object(inventory.File, "/both.sock", map[string]any{"Engines": []string{"/run/b.sock", "/run/docker.sock"}}),
		object(inventory.Watch, "/usr/bin/dockerd", map[string]any{}),
	}
	beside := []*inventory.Object{
		object(inventory.Daemon, "/run/b.sock", map[string]any{"Other": "unix:///run/b.sock"}),
		object(inventory.File, "/b.json", map[string]any{"Engines": []any{"/run/b.sock"}}), // as a snapshot file has it
		object(inventory.Watch, "/b/dockerd", map[string]any{"Engines": []string{"/run/b.sock"}}),
	}
	bad := func(_ *inventory.Snapshot, o *inventory.Object) Answer { return Bad(inventory.Fact{Ref: o.Ref}) }
	var checks []*Check
	for _, kind := range []inventory.Kind{inventory.Daemon, inventory.File, inventory.Watch} {
		checks = append(checks, &Check{ID: string(kind), Kind: kind, Severity: High, Eval: bad})
	}
	run := func(objects []*inventory.Object) []Finding {
		s := &inventory.Snapshot{}
		for _, o := range objects {
			s.Add(o)
		}
		s.Sort()
		return Run(checks, s)
	}
	one, two := run(alone), run(slices.Concat(alone, beside))
	if len(one) != 4 || len(two) != 7 {
		t.Fatalf("%d and %d findings, want 4 and 7", len(one), len(two))
	}
	if a, b := Conform(one), Conform(two); a != b || a.Fail != 4 {
		t.Errorf("conformance is %+v alone and %+v with another engine", a, b)
	}
	fails := func(fs []Finding) (n int) {
		for _, f := range fs {
			if f.Fails(Low) {
				n++
			}
		}
		return n
	}
	if a, b := fails(one), fails(two); a != 4 || b != 4 {
		t.Errorf("%d failures alone, %d with another engine", a, b)
	}
	if ours := Ours(two); len(ours) != 4 || len(two) != 7 {
		t.Errorf("%d findings are ours, want 4, and all 7 stay", len(ours))
	}
	var apart []string
	for _, f := range two {
		if f.Other.Name == "/run/b.sock" {
			apart = append(apart, f.Ref.String())
		}
	}
	if want := []string{"daemon//run/b.sock", "file//b.json", "watch//b/dockerd"}; !slices.Equal(apart, want) {
		t.Errorf("told apart: %v, want %v", apart, want)
	}
}
