package audit

import (
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
	checks[1].About = func(o *inventory.Object) bool { return o.Ref.Name == "b" }
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
