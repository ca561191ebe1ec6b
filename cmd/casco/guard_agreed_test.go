package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"casco/guard/admission"
)

// TestAgreements: what was let in is known again, until its container is gone.
func TestAgreements(t *testing.T) {
	a := agreements{filepath.Join(t.TempDir(), "let-in")}
	if _, known := a.of("one"); known {
		t.Error("known before it was let in")
	}
	if err := a.forget(func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	want := agreement{Policy: "p", By: "/run/docker.sock", Against: []string{"container-devices"}}
	for _, id := range []string{"one", "two"} {
		if err := a.put(id, want); err != nil {
			t.Fatal(err)
		}
	}
	if got, known := a.of("one"); !known || !cmp.Equal(got, want) {
		t.Errorf("%+v %v", got, known)
	}
	if err := a.put("../three", want); err == nil {
		t.Error("an ID that leads elsewhere is written")
	}
	if err := a.forget(func(id string) bool { return id == "two" }); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(a.dir); err != nil || len(left) != 1 || left[0].Name() != "two" {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestLacks: only what makes a container weaker than it was let in is a
// disagreement.
func TestLacks(t *testing.T) {
	for _, c := range []struct {
		name             string
		known, now, want []string
		policy           string
	}{
		{"nothing", nil, nil, nil, "p"},
		{"a mount more", nil, []string{"container-sensitive-mount"}, []string{"container-sensitive-mount"}, "p"},
		{"what was known", []string{"container-devices"}, []string{"container-devices"}, nil, "p"},
		{"less than was known", []string{"container-devices", "image-registry"}, nil, nil, "p"},
		{"privileged, as it is made", []string{"container-privileged"}, []string{"container-privileged", "container-seccomp", "container-devices"}, nil, "p"},
		{"privileged, and a mount more", []string{"container-privileged"}, []string{"container-seccomp", "container-engine-socket"}, []string{"container-engine-socket"}, "p"},
		{"a volume of the host's files", []string{"volume-host-path"}, []string{"container-sensitive-mount"}, nil, "p"},
		{"another policy since", nil, []string{"container-sensitive-mount"}, nil, "q"},
		{"nobody could read it", nil, []string{"oci-config"}, nil, "p"},
		{"a hook", nil, []string{"oci-hook"}, []string{"oci-hook"}, "p"},
	} {
		look := admission.Look{Decision: admission.Decision{Against: c.now}}
		if diff := cmp.Diff(c.want, agreement{Policy: "p", Against: c.known}.lacks(look, c.policy), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
