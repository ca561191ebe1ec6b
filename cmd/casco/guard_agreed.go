package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"casco/guard/admission"
	"casco/internal/atomicfile"
	"casco/lang"
)

// agreements are what the doors let in, by the IDs of the containers that the
// engine made of it: one small file each, for a container outlives a guard.
type agreements struct{ dir string }

func (a *app) agreedDir() string { return filepath.Join(a.statePath, "let-in") }

// An agreement is what a door knew of a request that it let through.
type agreement struct {
	Policy  string   `json:"policy"`            // digest
	By      string   `json:"by"`                // the door
	Against []string `json:"against,omitempty"` // rules: observed or excepted
}

func (a agreements) put(id string, what agreement) error {
	if id != filepath.Base(id) || !filepath.IsLocal(id) {
		return lang.Errorf(lang.Text{En: "%q is no ID of a container", Es: "%q no es el ID de un contenedor"}, id)
	}
	b, err := json.Marshal(what)
	if err == nil {
		err = os.MkdirAll(a.dir, 0o700)
	}
	if err == nil {
		err = atomicfile.Write(filepath.Join(a.dir, id), append(b, '\n'), 0o600)
	}
	return err
}

// of is what was agreed about a container; ok is false if no door let it in.
func (a agreements) of(id string) (what agreement, ok bool) {
	b, err := os.ReadFile(filepath.Join(a.dir, id))
	return what, err == nil && json.Unmarshal(b, &what) == nil
}

// forget drops what was agreed about containers that are no longer there.
func (a agreements) forget(is func(id string) bool) error {
	files, err := os.ReadDir(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if !is(f.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(a.dir, f.Name())))
		}
	}
	return err
}

// byPrivilege are what a container has that runs privileged.
var byPrivilege = []string{
	"container-dangerous-capabilities", "container-seccomp", "container-system-paths", "container-apparmor", "container-selinux", "container-devices",
	"container-host-cgroup", "seccomp-profile",
}

// lacks are the rules that a final configuration breaks and that were not known
// when its request was let through. By another policy nothing can be told; what
// nobody could read is no weakness.
func (a agreement) lacks(look admission.Look, policy string) []string {
	if a.Policy != policy {
		return nil
	}
	known := slices.Clone(a.Against)
	if slices.Contains(known, "container-privileged") {
		known = append(known, byPrivilege...)
	}
	// A volume of the host's files is known as what it shows.
	if slices.Contains(known, "volume-host-path") {
		known = append(known, "container-sensitive-mount", "container-engine-socket", "container-devices")
	}
	return slices.DeleteFunc(slices.Clone(look.Against), func(rule string) bool {
		return rule == "oci-config" || slices.Contains(known, rule)
	})
}
