package lang

import "testing"

func TestF(t *testing.T) {
	got := Text{En: "%s: %d", Es: "%s: %d"}.F(Text{En: "open", Es: "abierto"}, 2)
	if got != (Text{En: "open: 2", Es: "abierto: 2"}) {
		t.Errorf("got %+v", got)
	}
}
