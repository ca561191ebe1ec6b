package doorbench

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// engine answers as one does, later by a delay.
func engine(t *testing.T, name string, delay time.Duration) string {
	path := filepath.Join(t.TempDir(), name)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusNotFound)
		case strings.HasSuffix(r.URL.Path, "/images/get"):
			io.WriteString(w, strings.Repeat("x", 1<<20))
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return path
}

// TestMeasure: what one of two takes longer is found, for each kind of request.
func TestMeasure(t *testing.T) {
	r, err := Measure(t.Context(), Options{Bare: engine(t, "bare", 0), Door: engine(t, "door", 3*time.Millisecond), Rounds: 1, Container: "x", Image: "y"})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Figure{"inspect p50": r.InspectP50, "inspect p99": r.InspectP99, "create p50": *r.CreateP50, "stream": *r.Stream} {
		if f.Added < 0.001 || f.Ratio < 1 || f.Door < f.Bare {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if r.Bytes != 1<<20 {
		t.Errorf("%d bytes", r.Bytes)
	}
}

// TestPair: of rounds the median counts.
func TestPair(t *testing.T) {
	if got, want := Pair([]float64{1, 2, 100}, []float64{2, 3, 101}), (Figure{Bare: 2, Door: 3, Added: 1, Ratio: 1.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
