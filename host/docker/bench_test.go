package docker

import (
	"os"
	"testing"
)

// BenchmarkDecodeInspect is the price of maps: what one container costs us
// beside the 0.3 ms that an engine takes to describe it.
func BenchmarkDecodeInspect(b *testing.B) {
	reply, err := os.ReadFile("testdata/inspect-20.10.json")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(reply)))
	for b.Loop() {
		v, err := decode(reply)
		if err != nil {
			b.Fatal(err)
		}
		fields, _ := v.(map[string]any)
		maskContainer(fields)
	}
}
