package main

import (
	"archive/zip"
	"bytes"
	"context"
	dbsql "database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"casco/internal/realdocker"
	"casco/loop/apply"
	"casco/loop/change"
)

// The test binary is casco itself when a script calls it by that name. With
// CASCO_TEST_DIE_AT=N it kills itself, as kill -9 does, at its N-th boundary:
// when a hand or the runner looks whether it should go on, which every one does
// between any two acts, and before and after each request that changes the
// engine. With CASCO_TEST_SIGNAL=S and CASCO_TEST_SIGNAL_FILE=F it is not casco
// that gets it there, but the process whose number is in F, and it gets S; only
// boundaries after a step of the newest change was begun count then, and with
// CASCO_TEST_REQUESTS=1 only those beside requests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"casco": func() {
		ctx := context.Background()
		if n, err := strconv.Atoi(os.Getenv("CASCO_TEST_DIE_AT")); err == nil {
			d := &death{at: int64(n)}
			if os.Getenv("CASCO_TEST_REQUESTS") == "" {
				ctx = mortal{ctx, d}
			}
			wrapTransport = func(rt http.RoundTripper) http.RoundTripper { return mortalTransport{rt, d} }
		}
		os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
	}, "sql": func() {
		if err := sql(os.Args[1], os.Args[2]); err != nil {
			panic(err)
		}
	}, "reseal": func() {
		if err := reseal(os.Args[1]); err != nil {
			panic(err)
		}
	}, "zipped": func() {
		if err := zipped(os.Args[1], os.Args[2:]); err != nil {
			panic(err)
		}
	}})
}

// A death comes at the at-th boundary.
type death struct{ at, seen int64 }

func (d *death) boundary() {
	if records := os.Getenv("CASCO_TEST_SIGNAL_RECORDS"); records != "" && !begun(records) {
		return
	}
	if atomic.AddInt64(&d.seen, 1) != d.at {
		return
	}
	if file := os.Getenv("CASCO_TEST_SIGNAL_FILE"); file != "" {
		strike(file)
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal arrives
}

// begun reports whether the newest change of the records in dir is doing a step.
func begun(dir string) bool {
	newest, at := "", 0
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		head, _, _ := strings.Cut(e.Name(), "-")
		if n, err := strconv.Atoi(head); err == nil && n > at {
			newest, at = e.Name(), n
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, newest, "record.json"))
	var rec apply.Record
	return err == nil && json.Unmarshal(b, &rec) == nil && len(rec.Done) > 0 && (rec.State == apply.Applying || rec.State == apply.Verifying)
}

// strike sends the process in a pid file a signal, and leaves a file beside it
// that says so.
func strike(file string) {
	sig, err := strconv.Atoi(os.Getenv("CASCO_TEST_SIGNAL"))
	if err != nil {
		panic(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return // the engine is down at this boundary: there is nothing to hit
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || syscall.Kill(pid, syscall.Signal(sig)) != nil {
		return
	}
	if err := os.WriteFile(os.Getenv("CASCO_TEST_STRUCK"), nil, 0o600); err != nil {
		panic(err)
	}
	for sig == int(syscall.SIGKILL) && syscall.Kill(pid, 0) == nil { // until it is gone, or a zombie
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
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
	}, Condition: func(what string) (bool, error) {
		if what != "root" {
			return false, fmt.Errorf("%s is no condition", what)
		}
		return os.Geteuid() == 0, nil
	}})
}

// TestEngineScripts runs the loop on a real engine.
func TestEngineScripts(t *testing.T) { engineScripts(t, "testdata/engine") }

// TestOperations turns the loop by itself, on an engine of its own: what other
// scripts do at the same time would be drift.
func TestOperations(t *testing.T) { engineScripts(t, "testdata/operations") }

// TestProcess walks the process around the loop with the keys of six persons:
// it holds I1 to I5, I7 to I9, I14 and I21 through the whole program.
func TestProcess(t *testing.T) { engineScripts(t, "testdata/process") }

// TestSecrets holds I16 through the whole program, on an engine of its own: it
// plants secrets in the engine's configuration too.
func TestSecrets(t *testing.T) { engineScripts(t, "testdata/secrets") }

// engineScripts runs the scripts in dir at the same time on one engine.
func engineScripts(t *testing.T, dir string) {
	e := realdocker.Start(t)
	e.Image("bb:1")
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	verifier := buildVerifier(t)
	testscript.Run(t, testscript.Params{Dir: dir, Setup: func(env *testscript.Env) error {
		env.Setenv("CASCO_STATE", env.WorkDir+"/state")
		env.Setenv("DOCKER_HOST", "unix://"+e.Socket)
		env.Setenv("DOCKER_CONFIG", env.WorkDir+"/.docker")
		env.Setenv("DOCKER", docker)
		env.Setenv("CONFIG", e.Config)
		env.Setenv("LANG", "en_US.UTF-8")
		env.Setenv("PATH", env.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(verifier))
		return nil
	}})
}

// buildVerifier builds casco-verify: it shares no code with the ledger, so
// that it is a second opinion.
func buildVerifier(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "casco-verify")
	if out, err := exec.Command("go", "build", "-o", path, "casco/cmd/casco-verify").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// reseal gives a plan that somebody edited the ID that it now has: its author may
// sign what they like.
func reseal(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c change.Change
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	c.PlanID, c.Approvals = c.Plan.ID(), nil
	if b, err = json.Marshal(c); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// zipped makes a zip of files.
func zipped(path string, files []string) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		w, err := z.Create(filepath.Base(f))
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// sql carries out a statement on the tables, as somebody would who wants them to
// say something else.
func sql(path, statement string) error {
	db, err := dbsql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}
