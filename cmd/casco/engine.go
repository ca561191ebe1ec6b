package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"casco/host/docker"
	"casco/lang"
)

// engineAddress says which engine is meant, as the docker command does: the
// flag, DOCKER_HOST, the chosen context, else the socket of the system, or of
// this user's rootless engine if there is no other.
func engineAddress(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv("DOCKER_HOST"); env != "" {
		return env, nil
	}
	address, err := contextAddress()
	if err != nil || address != "" {
		return address, err
	}
	if _, err := os.Stat("/var/run/docker.sock"); errors.Is(err, fs.ErrNotExist) {
		own := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "docker.sock")
		if _, err := os.Stat(own); err == nil && filepath.IsAbs(own) {
			return "unix://" + own, nil
		}
	}
	return docker.DefaultHost, nil
}

// socketOf is the path of the unix socket at an address, "" if it is no such
// address.
func socketOf(address string) string {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return path
	}
	if filepath.IsAbs(address) {
		return address
	}
	return ""
}

// contextAddress reads the address of the docker context in use, "" for the
// default one. The folder of a context is named by the SHA-256 of its name
// (docker/cli, cli/context/store).
func contextAddress() (string, error) {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil // no home, no context
		}
		dir = filepath.Join(home, ".docker")
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		var config struct{ CurrentContext string }
		if err := readJSON(filepath.Join(dir, "config.json"), &config); err != nil {
			return "", err
		}
		name = config.CurrentContext
	}
	if name == "" || name == "default" {
		return "", nil
	}
	sum := sha256.Sum256([]byte(name))
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	path := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json")
	if err := readJSON(path, &meta); err != nil {
		return "", lang.Errorf(lang.Text{En: "docker context %q: %w", Es: "contexto de docker %q: %w"}, name, err)
	}
	if meta.Endpoints["docker"].Host == "" {
		return "", lang.Errorf(lang.Text{En: "docker context %q names no engine", Es: "el contexto de docker %q no nombra ningún motor"}, name)
	}
	return meta.Endpoints["docker"].Host, nil
}

// readJSON leaves v alone if there is no file.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
