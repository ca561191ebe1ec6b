package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
)

func TestParseConfig(t *testing.T) {
	full := config{Runtime: "/opt/crun", Gate: "/run/g.sock", TimeoutMS: 250, WithoutGuard: open}
	for _, c := range []struct {
		text string
		want config
		err  string
	}{
		{`{"runtime": "/usr/sbin/runc"}`, config{"/usr/sbin/runc", "/run/casco/gate.sock", 5000, closed}, ""},
		{`{"runtime": "/opt/crun", "gate": "/run/g.sock", "timeout_ms": 250, "without_guard": "open"}`, full, ""},
		{``, config{}, "EOF"},
		{`{}`, config{}, "runtime"},
		{`null`, config{}, "runtime"},
		{`[]`, config{}, "cannot unmarshal"},
		{`{"runtime": "runc"}`, config{}, "no absolute path"},
		{`{"runtime": "/r", "gate": "gate.sock"}`, config{}, "no absolute path"},
		{`{"runtime": "/r", "timeout_ms": 0}`, config{}, "timeout_ms"},
		{`{"runtime": "/r", "timeout_ms": 60001}`, config{}, "timeout_ms"},
		{`{"runtime": "/r", "timeout_ms": "5s"}`, config{}, "timeout_ms"},
		{`{"runtime": "/r", "without_guard": "opne"}`, config{}, "without_guard"},
		{`{"runtime": "/r", "without_guard": ""}`, config{}, "without_guard"},
		{`{"runtime": "/r", "without-guard": "open"}`, config{}, "unknown field"},
		{`{"runtime": "/r"} {}`, config{}, "follows"},
	} {
		got, err := parseConfig([]byte(c.text))
		if c.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.text, err, c.err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.text, diff)
		}
	}
}

// FuzzParseConfig: what is taken can be used as it is.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"runtime": "/usr/sbin/runc", "without_guard": "closed"}`))
	f.Add([]byte(`{"runtime": "/r", "timeout_ms": 1e3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		cfg, err := parseConfig(b)
		if err == nil && (!filepath.IsAbs(cfg.Runtime) || !filepath.IsAbs(cfg.Gate) || cfg.TimeoutMS < 1 || cfg.WithoutGuard != open && cfg.WithoutGuard != closed) {
			t.Errorf("%q: %+v", b, cfg)
		}
	})
}

// TestConfigOfOthers: a file that others can write to, or own, is not used.
func TestConfigOfOthers(t *testing.T) {
	handtest.NeedRoot(t)
	path := filepath.Join(t.TempDir(), "runtime.json")
	write(t, path, `{"runtime": "/usr/sbin/runc"}`)
	for _, c := range []struct {
		mode  os.FileMode
		owner int
		ok    bool
	}{{0o600, 0, true}, {0o644, 0, true}, {0o664, 0, false}, {0o646, 0, false}, {0o600, 65534, false}} {
		must(t, os.Chown(path, c.owner, 0))
		must(t, os.Chmod(path, c.mode))
		if _, err := readConfig(path); (err == nil) != c.ok {
			t.Errorf("mode %o, owner %d: %v", c.mode, c.owner, err)
		}
	}
	if _, err := readConfig(filepath.Dir(path)); err == nil {
		t.Error("a directory is used")
	}
}

func TestOwnArgs(t *testing.T) {
	for _, c := range []struct {
		args, path, rest string
		ok               bool
	}{
		{"--root /r start c", configPath, "--root /r start c", true},
		{"--casco-config /c --root /r start c", "/c", "--root /r start c", true},
		{"--casco-config=/c start c", "/c", "start c", true},
		{"start --casco-config /c", configPath, "start --casco-config /c", true},
		{"--casco-config", "", "", false},
		{"--casco-configuration /c start c", "", "/c start c", false},
	} {
		path, rest, err := ownArgs(strings.Fields(c.args))
		if path != c.path || strings.Join(rest, " ") != c.rest || (err == nil) != c.ok {
			t.Errorf("%s: %q %q %v", c.args, path, rest, err)
		}
	}
}

// TestEnds: when the configuration is lost, no verb that makes or starts
// anything is passed on.
func TestEnds(t *testing.T) {
	for _, verb := range []string{"", "create", "start", "run", "restore", "exec", "update", "checkpoint", "anything"} {
		if ends(verb) {
			t.Error(verb)
		}
	}
	for _, verb := range []string{"kill", "delete", "state"} {
		if !ends(verb) {
			t.Error(fmt.Errorf("%s is not passed on", verb))
		}
	}
}
