package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A config says which runtime stands behind, and how the gate is asked.
type config struct {
	Runtime      string `json:"runtime"`       // absolute path; may itself be a wrapper (nvidia-container-runtime, sysbox-runc)
	Gate         string `json:"gate"`          // the gate's socket
	TimeoutMS    int    `json:"timeout_ms"`    // milliseconds that a start waits for the gate's answer
	WithoutGuard string `json:"without_guard"` // "closed" or "open": what becomes of a start that nobody judged
}

const (
	closed = "closed"
	open   = "open"

	// maxConfig is far more than a configuration has.
	maxConfig = 64 << 10

	// maxTimeoutMS is under the two minutes that dockerd 20.10 waits for a
	// container's start, so that a hanging gate is told from a hanging engine.
	maxTimeoutMS = 60_000
)

// readConfig reads the file at path. It is not used unless root alone can have
// written it: it says which program root runs.
func readConfig(path string) (config, error) {
	f, err := os.Open(path)
	if err != nil {
		return config{}, fmt.Errorf("casco: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return config{}, fmt.Errorf("casco: %w", err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return config{}, fmt.Errorf("casco: %s: owner %d, mode %v: not used unless it is a file of root that nobody else can write to", path, owner, info.Mode())
	}
	b := make([]byte, min(info.Size(), maxConfig))
	n, err := f.Read(b)
	if err != nil {
		return config{}, fmt.Errorf("casco: %w", err)
	}
	cfg, err := parseConfig(b[:n])
	if err != nil {
		return config{}, fmt.Errorf("casco: %s: %w", path, err)
	}
	return cfg, nil
}

func parseConfig(b []byte) (config, error) {
	cfg := config{Gate: "/run/casco/gate.sock", TimeoutMS: 5000, WithoutGuard: closed}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return config{}, err
	}
	switch {
	case d.More():
		return config{}, fmt.Errorf("something follows the object")
	case !filepath.IsAbs(cfg.Runtime):
		return config{}, fmt.Errorf("runtime: %q is no absolute path", cfg.Runtime)
	case !filepath.IsAbs(cfg.Gate):
		return config{}, fmt.Errorf("gate: %q is no absolute path", cfg.Gate)
	case cfg.TimeoutMS < 1 || cfg.TimeoutMS > maxTimeoutMS:
		return config{}, fmt.Errorf("timeout_ms: %d is not between 1 and %d", cfg.TimeoutMS, maxTimeoutMS)
	case cfg.WithoutGuard != closed && cfg.WithoutGuard != open:
		return config{}, fmt.Errorf("without_guard: %q is neither %q nor %q", cfg.WithoutGuard, closed, open)
	}
	return cfg, nil
}
