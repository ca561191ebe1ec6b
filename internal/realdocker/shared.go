package realdocker

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the engine that the tests of one process have in common.
var shared struct {
	mu      sync.Mutex // guards what follows
	cleaned bool       // Main runs, and will stop it
	engine  *Engine
	err     error // why it did not start; it is not tried again
}

// Shared returns one engine for all the tests of the process, started by the
// first that asks. Each test names its containers so that they meet nobody
// else's, and removes them. The package's TestMain calls Main:
//
//	func TestMain(m *testing.M) { realdocker.Main(m) }
func Shared(t testing.TB) *Engine {
	t.Helper()
	need(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.cleaned {
		t.Fatal("realdocker.Shared needs a TestMain that calls realdocker.Main")
	}
	if shared.engine == nil && shared.err == nil {
		shared.engine, shared.err = start()
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	e := *shared.engine
	e.t = t
	return &e
}

// Main runs the tests of a package, removes the engine that they shared, and
// exits.
func Main(m *testing.M) {
	shared.mu.Lock()
	shared.cleaned = true
	shared.mu.Unlock()

	code := m.Run()

	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.engine != nil {
		if err := stop(shared.engine.Root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
