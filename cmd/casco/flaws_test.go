package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"casco/host/image"
	"casco/loop/inventory"
)

// advisory is a record of OSV about openssl in Debian 12, of today.
func advisory(id, fixed string) string { return advisoryOf(time.Now(), id, fixed) }

func advisoryOf(modified time.Time, id, fixed string) string {
	return `{"id":"` + id + `","modified":"` + modified.UTC().Format(time.RFC3339) + `","summary":"a flaw","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],` +
		`"affected":[{"package":{"ecosystem":"Debian:12","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"` + fixed + `"}]}]}]}`
}

// built makes the database of advisories of a state directory.
func built(t *testing.T, state string, records ...string) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, r := range records {
		f, err := w.Create(string(rune('a'+i)) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "all.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := verb(t, "--state", state, "db", "build", path); code != exitClean {
		t.Fatalf("db build: exit code %d\n%s", code, stderr)
	}
}

// found are the vulnerabilities that casco image names.
func found(t *testing.T, args ...string) (ids []string, verdict string) {
	t.Helper()
	out, stderr, code := verb(t, append([]string{"image", "--format", "json"}, args...)...)
	var got struct {
		Vulnerabilities []struct {
			ID, Fixed string
			VEX       *struct{ Status string }
		}
		Findings []struct{ Check, Verdict string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("exit code %d: %s\n%s", code, err, stderr)
	}
	for _, v := range got.Vulnerabilities {
		id := v.ID + " " + v.Fixed
		if v.VEX != nil {
			id += " " + v.VEX.Status
		}
		ids = append(ids, id)
	}
	for _, f := range got.Findings {
		if f.Check == "image-vulnerable" {
			verdict = f.Verdict
		}
	}
	return ids, verdict
}

func TestImageVulnerable(t *testing.T) {
	path, state := anImage(t, debianFiles...), t.TempDir()
	at := []string{"--state", state, path}
	if ids, verdict := found(t, at...); ids != nil || verdict != "unknown" {
		t.Errorf("without a database: %v, %s", ids, verdict)
	}
	built(t, state, advisory("CVE-2026-1", "3.0.10-1"))
	if ids, verdict := found(t, at...); ids != nil || verdict != "pass" {
		t.Errorf("what is fixed in an older version: %v, %s", ids, verdict)
	}
	// What was published since an old database was made, nobody here knows.
	built(t, state, advisoryOf(time.Now().Add(-8*24*time.Hour), "CVE-2026-1", "3.0.10-1"))
	if ids, verdict := found(t, at...); ids != nil || verdict != "unknown" {
		t.Errorf("with an old database: %v, %s", ids, verdict)
	}
	// A newer database is enough: the image is not read again.
	built(t, state, advisory("CVE-2026-1", "3.0.10-1"), advisory("CVE-2026-2", "3.0.14-1"))
	if ids, verdict := found(t, at...); !slices.Equal(ids, []string{"CVE-2026-2 3.0.14-1"}) || verdict != "fail" {
		t.Errorf("with a newer database: %v, %s", ids, verdict)
	}
	out, _, code := verb(t, "--state", state, "image", path, "--threshold", "high")
	for _, want := range []string{"CVE-2026-2", "libssl3 3.0.11-1, layer 1; fixed in 3.0.14-1", "1 in layer 1, the base's: a newer base"} {
		if !strings.Contains(out, want) || code != exitFindings {
			t.Errorf("exit code %d, %q is not in\n%s", code, want, out)
		}
	}
	// A bill of materials is judged as its image is.
	for _, format := range []string{"cyclonedx", "spdx"} {
		bill, stderr, _ := verb(t, "--state", state, "image", path, "--format", format)
		if bill == "" {
			t.Fatal(stderr)
		}
		if ids, verdict := found(t, "--state", state, write(t, []byte(bill))); !slices.Equal(ids, []string{"CVE-2026-2 3.0.14-1"}) || verdict != "fail" {
			t.Errorf("by %s: %v, %s", format, ids, verdict)
		}
	}
	for _, format := range []string{"sarif", "github", "gitlab", "openvex"} {
		out, stderr, _ := verb(t, "--state", state, "image", path, "--format", format)
		if !strings.Contains(out, "CVE-2026-2") || format != "github" && !json.Valid([]byte(out)) {
			t.Errorf("%s: %s%s", format, out, stderr)
		}
	}
	vex := write(t, []byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.test/1","author":"me","timestamp":"2026-01-02T00:00:00Z","version":1,"statements":[
		{"vulnerability":{"name":"CVE-2026-2"},"products":[{"@id":"app:1"}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`))
	if ids, verdict := found(t, append(at, "--vex", vex)...); !slices.Equal(ids, []string{"CVE-2026-2 3.0.14-1 not_affected"}) || verdict != "pass" {
		t.Errorf("with VEX: %v, %s", ids, verdict)
	}
}

// TestFlaws: the same, of the images of a whole host.
func TestFlaws(t *testing.T) {
	state := t.TempDir()
	built(t, state, advisory("CVE-2026-2", "3.0.14-1"))
	o, err := image.NewReader("").Open(t.Context(), anImage(t, debianFiles...), "")
	if err != nil {
		t.Fatal(err)
	}
	s := &inventory.Snapshot{}
	s.Add(o)
	if err := (flaws{filepath.Join(state, "advisories", "advisories.db")}).Read(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	list, fact, _ := inventory.ImageFlaws.Of(o)
	if len(list) != 1 {
		t.Fatal(fact)
	}
	if m := list[0].(map[string]any); m["ID"] != "CVE-2026-2" || m["Layer"] != int64(1) || m["Fixed"] != "3.0.14-1" || m["Severity"] != "critical" {
		t.Error(m)
	}
	if _, known := list[0].(map[string]any)["Exploited"]; known {
		t.Error("without a catalogue of what is exploited nobody knows")
	}
	_, findings := (&app{statePath: state}).judgeOrDie(t).look(s)
	if cves := published(s, findings); len(cves) != 1 {
		t.Errorf("%v", cves)
	}
}

func (a *app) judgeOrDie(t *testing.T) *judge {
	t.Helper()
	j, err := a.judgeNow()
	if err != nil {
		t.Fatal(err)
	}
	return j
}
