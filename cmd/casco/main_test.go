package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"casco/internal/realdocker"
)

// The test binary is casco itself when a script calls it by that name. With
// CASCO_TEST_DIE_AT=N it kills itself, as kill -9 does, at its N-th boundary:
// when a hand or the runner looks whether it should go on, which every one does
// between any two acts, and before and after each request that changes the
// engine.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"casco": func() {
		ctx := context.Background()
		if n, err := strconv.Atoi(os.Getenv("CASCO_TEST_DIE_AT")); err == nil {
			d := &death{at: int64(n)}
			ctx = mortal{ctx, d}
			wrapTransport = func(rt http.RoundTripper) http.RoundTripper { return mortalTransport{rt, d} }
		}
		os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
	}})
}

// A death comes at the at-th boundary.
type death struct{ at, seen int64 }

func (d *death) boundary() {
	if atomic.AddInt64(&d.seen, 1) == d.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}

type mortal struct {
	context.Context
	*death
}

func (m mortal) Err() error {
	m.boundary()
	return m.Context.Err()
}

type mortalTransport struct {
	http.RoundTripper
	*death
}

func (m mortalTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return m.RoundTripper.RoundTrip(r)
	}
	m.boundary()
	res, err := m.RoundTripper.RoundTrip(r)
	m.boundary()
	return res, err
}

// TestScripts runs the verbs as a shell would, without an engine.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(env *testscript.Env) error {
		env.Setenv("CASCO_STATE", env.WorkDir+"/state")
		env.Setenv("LANG", "en_US.UTF-8")
		return nil
	}})
}

// TestEngineScripts runs the loop on a real engine.
func TestEngineScripts(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:1")
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/engine", Setup: func(env *testscript.Env) error {
		env.Setenv("CASCO_STATE", env.WorkDir+"/state")
		env.Setenv("DOCKER_HOST", "unix://"+e.Socket)
		env.Setenv("DOCKER_CONFIG", env.WorkDir+"/.docker")
		env.Setenv("DOCKER", docker)
		env.Setenv("CONFIG", e.Config)
		env.Setenv("LANG", "en_US.UTF-8")
		return nil
	}})
}
