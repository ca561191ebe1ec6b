package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPlugin calls the program as the Docker CLI does (docker/cli,
// cli-plugins/manager): for its description, and for a verb with the CLI's own
// flags before the plugin's name.
func TestPlugin(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"/x/docker-casco", pluginMetadata}, nil, &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	var meta struct{ SchemaVersion, Vendor, Version, ShortDescription string }
	if err := json.Unmarshal(out.Bytes(), &meta); err != nil || meta.SchemaVersion != "0.1.0" || meta.Vendor == "" || meta.Version != version {
		t.Errorf("%v %+v", err, meta)
	}
	for _, c := range []struct{ argv, want []string }{
		{[]string{"casco", "audit", "-H", "x"}, []string{"audit", "-H", "x"}},
		{[]string{"docker-casco", "casco", "audit"}, []string{"audit"}},
		{[]string{"docker-casco", "--log-level", "debug", "-H", "unix:///x", "casco", "audit", "--format", "json"}, []string{"audit", "--format", "json", "--host", "unix:///x"}},
		{[]string{"docker-casco", "--host=unix:///x", "casco", "audit"}, []string{"audit", "--host", "unix:///x"}},
		{[]string{"docker-casco", "audit"}, []string{"audit"}},
		{nil, nil},
	} {
		if got, _ := pluginArgs(c.argv); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.argv, got, c.want)
		}
	}
}

// TestEngineAddress chooses an engine in the docker command's own order.
func TestEngineAddress(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(flag, want string) {
		t.Helper()
		if got, err := engineAddress(flag); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	write("config.json", `{"currentContext": "prod"}`)
	if _, err := engineAddress(""); err == nil {
		t.Error("a context that is not there names no engine")
	}
	write(filepath.Join("contexts/meta", sha("prod"), "meta.json"), `{"Name":"prod","Endpoints":{"docker":{"Host":"unix:///prod.sock"}}}`)
	is("", "unix:///prod.sock")
	t.Setenv("DOCKER_HOST", "unix:///env.sock")
	is("", "unix:///env.sock")
	is("unix:///flag.sock", "unix:///flag.sock")
	t.Setenv("DOCKER_HOST", "")
	write("config.json", `{"currentContext":`)
	if _, err := engineAddress(""); err == nil {
		t.Error("a broken configuration is no error")
	}
}

// sha is how the docker command names the folder of a context.
func sha(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}
