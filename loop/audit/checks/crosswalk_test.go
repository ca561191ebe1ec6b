package checks

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"casco/loop/audit"
)

// TestOneCrosswalk: a row of numbers stands in crosswalk.go alone. Elsewhere a
// check names its theme, and adds with .and and .cis what only it supports.
func TestOneCrosswalk(t *testing.T) {
	own := regexp.MustCompile(`\bon\("|audit\.Control\{\{?"`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if own.Match(b) != (f == "crosswalk.go") && f != "crosswalk_test.go" {
			t.Errorf("%s: a list of controls of its own, or none in crosswalk.go", f)
		}
	}
}

// TestAnchors holds requirements whose text leaves no doubt to the checks that
// they are about, so that a row is not moved by accident.
func TestAnchors(t *testing.T) {
	for _, a := range []struct{ framework, number, check string }{
		{"nist-800-190", "4.1.2", "container-ssh"},                // remote administration tools never in containers
		{"nist-800-190", "4.1.4", "image-secrets"},                // secrets outside of images
		{"nist-800-190", "4.2.2", "container-image-latest"},       // names of discrete versions
		{"nist-800-190", "4.3.5", "swarm-overlay-encryption"},     // encrypted traffic within the cluster
		{"nist-800-190", "4.4.1", "engine-known-holes"},           // the runtime software itself
		{"nist-800-190", "4.4.4", "container-read-only-root"},     // read-only root file system
		{"nist-800-190", "4.5.5", "container-sensitive-mount"},    // file systems of the host
		{"nist-800-53-r5", "AC-3(3)", "kernel-lsm"},               // mandatory access control
		{"nist-800-53-r5", "AU-4(1)", "daemon-log-shipping"},      // transfer to alternate storage
		{"nist-800-53-r5", "CM-7(6)", "container-capabilities"},   // confined with limited privileges
		{"nist-800-53-r5", "IA-5(7)", "container-secret-env"},     // no embedded static authenticators
		{"nist-800-53-r5", "SA-22", "engine-versions"},            // unsupported components
		{"nist-800-53-r5", "SC-8(1)", "swarm-overlay-encryption"}, // cryptographic protection on the way
	} {
		c := Find(a.check)
		if c == nil {
			t.Errorf("there is no check %s", a.check)
		} else if !slices.Contains(c.Controls, audit.Control{Framework: a.framework, Number: a.number}) {
			t.Errorf("%s does not support %s %s", a.check, a.framework, a.number)
		}
	}
	for _, c := range All() { // showing that segmentation holds takes a probe
		if slices.Contains(c.Controls, audit.Control{Framework: "pci-dss-4", Number: "11.4.5"}) {
			t.Errorf("%s claims to prove segmentation", c.ID)
		}
	}
}
