package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"casco/ledger"
)

// A sample is a log of 700 entries, and what an auditor has beside it.
type sample struct {
	dir, evidence string
	log           *ledger.Log
	key, witness  *ledger.Key
	held          string // file: the checkpoint of 300 entries that the witness keeps
}

func newSample(t testing.TB) *sample {
	t.Helper()
	s := &sample{dir: filepath.Join(t.TempDir(), "log"), evidence: t.TempDir()}
	var err error
	if s.key, err = ledger.NewKey("docker01/casco"); err != nil {
		t.Fatal(err)
	}
	if s.witness, err = ledger.NewWitnessKey("auditor.example/w1"); err != nil {
		t.Fatal(err)
	}
	s.log = s.open(t, s.dir)
	store := ledger.NewEvidence(s.evidence, s.log)
	for i := range 3 {
		until := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		d, err := store.Put(fmt.Appendf(nil, "evidence %d", i), "uid 0", ledger.Meta{Media: "text/plain", Source: "test", Until: until})
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if err := store.Purge(d, "uid 0", "retention ended"); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.fill(t, 300)
	s.held = s.cosign(t)
	s.fill(t, 700)
	if _, err := s.log.Publish(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sample) open(t testing.TB, dir string) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(dir, s.key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (s *sample) view(t testing.TB) *ledger.View {
	t.Helper()
	v, err := s.log.View()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s *sample) fill(t testing.TB, n int64) {
	t.Helper()
	var es []ledger.Entry
	for i := s.view(t).Size(); i < n; i++ {
		es = append(es, ledger.Entry{Kind: ledger.Step, Actor: "uid 0", About: fmt.Sprintf("change/%d", i)})
	}
	if _, err := s.log.Append(es...); err != nil {
		t.Fatal(err)
	}
}

// cosign has the witness cosign the log as it is; it keeps a copy in a file.
func (s *sample) cosign(t testing.TB) string {
	t.Helper()
	w, err := ledger.NewWitness(t.TempDir(), s.witness, time.Now, s.key.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	req, err := s.view(t).Request(0)
	if err != nil {
		t.Fatal(err)
	}
	line, err := w.Add(req)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := s.log.Witnessed(req.Checkpoint, line, s.witness.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "held.ckpt")
	if err := os.WriteFile(file, cp.Note, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (s *sample) export(t testing.TB, from, to int64) (string, ledger.Manifest) {
	t.Helper()
	into := filepath.Join(t.TempDir(), "export")
	m, err := s.log.Export(into, ledger.ExportOptions{
		From: from, To: to, Actor: "auditor", Witnesses: []string{s.witness.Public()}, Evidence: ledger.NewEvidence(s.evidence, nil).Get,
	})
	if err != nil {
		t.Fatal(err)
	}
	return into, m
}

// verify runs the program and wants its exit code.
func verify(t testing.TB, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	got := run(args, &out, &errs)
	if got != want {
		t.Errorf("exit %d, want %d: casco-verify %s\n%s%s", got, want, strings.Join(args, " "), &out, &errs)
	}
	return out.String() + errs.String()
}

func wantLines(t testing.TB, out string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(out, l) {
			t.Errorf("does not say %q:\n%s", l, out)
		}
	}
}

func TestLiveLog(t *testing.T) {
	s := newSample(t)
	s.fill(t, 750) // not yet published
	args := []string{"--key", s.key.Public(), "--witness-key", s.witness.Public(), "--witness", s.held, "--evidence", s.evidence, "--lang", "en"}
	out := verify(t, exitHolds, append(args, s.dir)...)
	wantLines(t, out,
		"proved  the checkpoint of 700 entries is signed by docker01/casco\n",
		"proved  all 750 entries are the signed ones, in their order: root ",
		"proved  it goes on from the checkpoint of 300 entries that "+s.held+" (auditor.example/w1 20",
		"proved  2 pieces of evidence are what their entries say; of 1 the deletion is recorded\n",
		"note    50 entries are newer than the published checkpoint; each append is signed\n",
		"it holds\n")
	out = verify(t, exitHolds, append(args, "--lang", "es", s.dir)...)
	wantLines(t, out, "probado las 750 entradas son las firmadas, en su orden: raíz ", "nota    50 entradas", "se sostiene\n")

	var res result
	if err := json.Unmarshal([]byte(verify(t, exitHolds, append(args, "--format", "json", s.dir)...)), &res); err != nil {
		t.Fatal(err)
	}
	if !res.Holds || len(res.Wrong) != 0 || len(res.Proved) < 5 {
		t.Errorf("%+v", res)
	}
}

func TestExport(t *testing.T) {
	s := newSample(t)
	into, m := s.export(t, 0, 700)
	if m.From != 0 || m.To != 700 || m.Size != 700 || m.Blobs != 2 || m.Purged != 1 {
		t.Errorf("%+v", m)
	}
	out := verify(t, exitHolds, "--lang", "en", into)
	wantLines(t, out, "the export is whole: ", "all 700 entries are the signed ones", "it goes on from the checkpoint of 300 entries that ",
		"2 pieces of evidence are what their entries say; of 1 the deletion is recorded",
		"note    the key docker01/casco+", "was taken from the export itself")
	out = verify(t, exitHolds, "--key", s.key.Public(), "--witness-key", s.witness.Public(), "--lang", "en", into)
	if strings.Contains(out, "taken from the export") {
		t.Errorf("keys were given:\n%s", out)
	}
	stranger, err := ledger.NewKey("docker01/casco")
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, verify(t, exitWrong, "--key", stranger.Public(), "--lang", "en", into), "WRONG   checkpoint: no known key signed it", "it does NOT hold")

	// sha256sum agrees.
	cmd := exec.Command("sha256sum", "--quiet", "--strict", "-c", "MANIFEST")
	cmd.Dir = into
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	// It is recorded, with the digest of the manifest.
	b, err := os.ReadFile(filepath.Join(into, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.view(t).Entry(700)
	if err != nil || e.Kind != ledger.Exported || e.Actor != "auditor" || !strings.Contains(string(e.Data), string(ledger.DigestOf(b))) {
		t.Errorf("%s, %v", e.Raw, err)
	}
	if _, err := s.log.Export(into, ledger.ExportOptions{Actor: "x"}); err == nil {
		t.Error("exported over another export")
	}
	if _, err := s.log.Export(t.TempDir(), ledger.ExportOptions{Actor: "x", To: 9999}); err == nil {
		t.Error("exported entries that there are not")
	}
	// The ledger's own code reads it as well.
	v, err := ledger.Read(into, s.key.Verifier())
	if err == nil {
		t.Errorf("an export has no format marker: %v", v)
	}
}

func TestPartOfALog(t *testing.T) {
	s := newSample(t)
	s.fill(t, 1500)
	for _, tt := range []struct{ from, to, wantFrom, wantTo int64 }{
		{1300, 1500, 1280, 1500}, {300, 400, 256, 512}, {512, 513, 512, 768}, {0, 1, 0, 256}, {700, 700, 512, 768}, {1024, 1024, 1024, 1024},
	} {
		into, m := s.export(t, tt.from, tt.to)
		if m.From != tt.wantFrom || m.To != tt.wantTo {
			t.Errorf("%d to %d: %+v", tt.from, tt.to, m)
			continue
		}
		out := verify(t, exitHolds, "--key", s.key.Public(), "--witness-key", s.witness.Public(), "--witness", s.held, "--lang", "en", into)
		wantLines(t, out, "this is a part of the log", "it goes on from the checkpoint of 300 entries that "+s.held)
		if m.From < m.To {
			wantLines(t, out, fmt.Sprintf("entries %d to %d are the signed ones, in their place among %d", m.From, m.To-1, m.Size))
		}
		if _, err := os.Stat(filepath.Join(into, "tile/entries/000")); (err == nil) != (m.From == 0) {
			t.Errorf("%d to %d: entries that nobody asked for: %v", tt.from, tt.to, err)
		}
	}
}

// TestTamper alters exports and live logs, and wants the line that says what.
func TestTamper(t *testing.T) {
	s := newSample(t)
	s.fill(t, 750)
	whole, _ := s.export(t, 0, 750)
	part, _ := s.export(t, 300, 400)
	keys := []string{"--key", s.key.Public(), "--witness-key", s.witness.Public(), "--lang", "en"}
	edit := func(name, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b := read(t, dir, name)
			if !strings.Contains(b, old) {
				t.Fatalf("%s has no %q", name, old)
			}
			write(t, dir, name, strings.Replace(b, old, new, 1))
		}
	}
	flip := func(name string, at int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b := []byte(read(t, dir, name))
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			write(t, dir, name, string(b))
		}
	}
	drop := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	remanifest := func(do func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { do(t, dir); manifest(t, dir) }
	}
	blob := string(ledger.DigestOf([]byte("evidence 1")))
	blob = "evidence/" + blob[:2] + "/" + blob
	for _, tt := range []struct {
		name string
		dir  string
		do   func(*testing.T, string)
		says string
	}{
		{"export: entry", whole, edit("tile/entries/000", "change/137", "change/731"), "entry 137 is not the one of which tile/0/000 has the hash"},
		{"export: entry, and manifest", whole, remanifest(edit("tile/entries/000", "change/137", "change/731")), "entry 137 is not the one of which tile/0/000 has the hash"},
		{"export: file not in manifest", whole, func(t *testing.T, dir string) { write(t, dir, "more", "x") }, "more is not in MANIFEST"},
		{"export: a link out of it", whole, func(t *testing.T, dir string) {
			drop("tile/0/000")(t, dir)
			if err := os.Symlink("/dev/zero", filepath.Join(dir, "tile/0/000")); err != nil {
				t.Fatal(err)
			}
		}, "tile/0/000: not a regular file"},
		{"export: bundle lost", whole, remanifest(drop("tile/entries/001")), "tile/entries/001: entries 256 to 511: no such file"},
		{"export: last bundle lost", whole, remanifest(drop("tile/entries/002.p/238")), "tile/entries/002.p/238: entries 512 to 749: no such file"},
		{"export: bundle cut", whole, remanifest(func(t *testing.T, dir string) {
			write(t, dir, "tile/entries/001", read(t, dir, "tile/entries/001")[:9000])
		}), "tile/entries/001: entries "},
		{"export: tile", whole, remanifest(flip("tile/0/001", 100)), "tile/0/001 was altered (entries 259 to 259"},
		{"export: tile lost", whole, remanifest(drop("tile/1/000.p/2")), "tile/1/000.p/2: no such file"},
		{"export: checkpoint", whole, remanifest(flip("checkpoint", 20)), "the signature of docker01/casco+"},
		{"export: checkpoint lost", whole, remanifest(drop("checkpoint")), "the checkpoint is missing"},
		{"export: manifest lost", whole, drop("MANIFEST"), "MANIFEST is missing"},
		{"export: manifest", whole, edit("MANIFEST", "a", "b"), ""},
		{"export: evidence", whole, remanifest(edit(blob, "evidence 1", "evidence 9")), "entry 1: evidence " + blob[len("evidence/ab/"):] + " was altered"},
		{"export: evidence lost", whole, remanifest(drop(blob)), "entry 1: evidence " + blob[len("evidence/ab/"):] + ": no such file"},
		{"export: claims to be less", whole, remanifest(edit("export.json", `"to": 750`, `"to": 9750`)), "export.json speaks of entries 0 to 9749 among 750"},
		{"part: entry", part, remanifest(edit("tile/entries/001", "change/310", "change/013")), "entry 310 is not the signed one"},
		{"part: tile", part, remanifest(flip("tile/0/001", 5)), "entries 256 to 511: their tiles prove nothing"},
		{"part: tile of level 1", part, remanifest(flip("tile/1/000.p/2", 5)), "the tiles do not prove the signed root"},
		{"part: bundle lost", part, remanifest(drop("tile/entries/001")), "entries 256 to 511: no such file"},
		{"log: entry", s.dir, edit("tile/entries/000", "change/137", "change/731"), ""},
		{"log: entry in the journal", s.dir, edit("journal", "change/720", "change/702"), "journal: damaged from entry 700 on"},
		{"log: journal lost", s.dir, drop("journal"), "the journal is missing"},
		{"log: partial bundle", s.dir, edit("tile/entries/002.p/188", "change/600", "change/006"), "tile/entries/002.p/188: entry 600 is not the signed one"},
		{"log: partial tile", s.dir, flip("tile/0/002.p/188", 5), "tile/0/002.p/188 was altered"},
		{"log: tile", s.dir, flip("tile/0/001", 100), "tile/0/001 was altered"},
		{"log: checkpoint of less", s.dir, func(t *testing.T, dir string) { write(t, dir, "checkpoint", read(t, "/", s.held)) }, "an old checkpoint was put back: of 300 entries, the journal begins at 512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(tt.dir)); err != nil {
				t.Fatal(err)
			}
			verify(t, exitHolds, append(keys, dir)...)
			tt.do(t, dir)
			wantLines(t, verify(t, exitWrong, append(keys, dir)...), "WRONG   ", tt.says, "it does NOT hold")
		})
	}
}

// TestTruncatedAndSignedAgain is the attack of who has the host's key.
func TestTruncatedAndSignedAgain(t *testing.T) {
	s := newSample(t)
	dir := filepath.Join(t.TempDir(), "forged")
	forged := s.open(t, dir)
	for range 200 {
		if _, err := forged.Append(ledger.Entry{Kind: ledger.Run, Actor: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	out := verify(t, exitHolds, "--key", s.key.Public(), "--lang", "en", dir)
	wantLines(t, out, "no checkpoint of a witness was given: an end that the host itself cut off")
	out = verify(t, exitWrong, "--key", s.key.Public(), "--witness-key", s.witness.Public(), "--witness", s.held, "--lang", "en", dir)
	wantLines(t, out, "the tail is missing: a checkpoint of 300 entries exists, held by "+s.held+" (auditor.example/w1 20", "and the log has 200")
	for range 200 {
		if _, err := forged.Append(ledger.Entry{Kind: ledger.Run, Actor: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	out = verify(t, exitWrong, "--key", s.key.Public(), "--witness", s.held, "--lang", "en", dir)
	wantLines(t, out, "another history: "+s.held+" holds the root ")
}

func TestUsage(t *testing.T) {
	s := newSample(t)
	newer := t.TempDir()
	write(t, newer, "format", "casco ledger 2\n")
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# the host's\n"+s.key.Public()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	verify(t, exitHolds, "--key", file, s.dir)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "name one directory"},
		{[]string{s.dir}, "whose log is it?"},
		{[]string{"--key", "nonsense", s.dir}, "neither a key nor a file"},
		{[]string{"--key", s.key.Public(), filepath.Join(s.dir, "nowhere")}, "no such file"},
		{[]string{"--key", s.key.Public(), filepath.Join(s.dir, "format")}, "is not a directory"},
		{[]string{"--key", s.key.Public(), t.TempDir()}, "is neither a ledger nor an export"},
		{[]string{"--key", s.key.Public(), newer}, "made by a newer casco"},
		{[]string{"--lang", "fr", s.dir}, "--lang is en or es"},
		{[]string{"--format", "xml", s.dir}, "--format is text or json"},
		{[]string{"--frobnicate", s.dir}, "not defined"},
	} {
		wantLines(t, verify(t, exitUsage, tt.args...), tt.says)
	}
	verify(t, exitHolds, "--help")
}

// TestTerminal wants nothing of a folder that somebody else made to steer a terminal.
func TestTerminal(t *testing.T) {
	s := newSample(t)
	into, _ := s.export(t, 0, 10)
	write(t, into, "x\x1b[2Jy", "")
	if out := verify(t, exitWrong, into); strings.ContainsAny(out, "\x1b") {
		t.Errorf("%q", out)
	}
}

// manifest writes MANIFEST anew, as who alters an export would.
func manifest(t testing.TB, dir string) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "MANIFEST" {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sha256sum", names...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "MANIFEST", string(out))
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzFormats(f *testing.F) {
	k, err := ledger.NewKey("docker01/casco")
	if err != nil {
		f.Fatal(err)
	}
	sig, err := note.Sign(&note.Note{Text: "docker01/casco\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"}, k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig)
	f.Add([]byte("casco-journal 1 256\n\x00\x00\x00\x09"))
	f.Add([]byte("\x00\x03abc\x00\x00"))
	f.Add([]byte(k.Public()))
	keys := keyring{log: []note.Verifier{k.Verifier()}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := keys.open(b); err == nil && c.tree.N != 7 {
			t.Errorf("forged: %+v", c)
		}
		if base, _, _, _, err := journalOf(b); err == nil && (base < 0 || base%width != 0) {
			t.Errorf("base %d", base)
		}
		entries, err := entriesOf(b)
		n := 0
		for _, e := range entries {
			n += 2 + len(e)
		}
		if n > len(b) || err == nil && n != len(b) {
			t.Errorf("%d bytes of %d", n, len(b))
		}
		_, _ = verifierOf(string(b))
	})
}
