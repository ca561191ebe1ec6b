package daemonjson

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
	"casco/loop/inventory"
)

// engineOf is an engine whose process is this test, so that its files are ours.
func engineOf(file string) *inventory.Object {
	return &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"},
		Fields: map[string]any{
			"Process":       map[string]any{"Pid": int64(os.Getpid()), "Rootless": false},
			"Config":        map[string]any{"File": file},
			"Version":       map[string]any{"Version": "20.10.24"},
			"Effective":     map[string]any{"icc": true, "live-restore": true},
			"EffectiveFrom": map[string]any{"icc": "default", "mtu": "flag"},
		},
	}
}

func TestFileOf(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(real, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.json", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{real, link} {
		if saved, err := fileOf(engineOf(path)); err != nil || string(saved.Data) != "{}" || !saved.Exists {
			t.Errorf("%s: %+v, %v", path, saved, err)
		}
	}
	if saved, err := fileOf(engineOf(filepath.Join(dir, "none.json"))); err != nil || saved.Exists {
		t.Errorf("no file: %+v, %v", saved, err)
	}
	if _, err := fileOf(engineOf(dir)); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a directory: error %v", err)
	}
}

func TestFileOfImmutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chattr", "+i", path).CombinedOutput(); err != nil {
		t.Skipf("chattr +i: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("chattr", "-i", path).Run() })
	if _, err := fileOf(engineOf(path)); err == nil || !strings.Contains(err.Error(), "chattr -ia") {
		t.Errorf("got error %v", err)
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct{ conf, want string }{
		{`{}`, ""},
		{`{"log-opts": {"max-size": "10m", "max-file": "3"}}`, ""},
		{`{"log-opts": {"max-size": "1.5GiB"}}`, ""},
		{`{"log-opts": {"max-size": "-1"}}`, ""},
		{`{"log-opts": {"max-size": "10x"}}`, "is no size"},
		{`{"log-opts": {"max-size": 10}}`, "wants a string"},
		{`{"log-opts": {"max-size": "1m", "max-file": "0"}}`, "from 1 on"},
		{`{"log-opts": {"max-file": "3"}}`, "needs max-size"},
		{`{"log-driver": "local", "log-opts": {"max-file": "3"}}`, ""},
		{`{"log-driver": "syslog", "log-opts": {"max-size": "whatever"}}`, ""},
		{`{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}}`, ""},
		{`{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": -1}}}`, ""},
		{`{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": -1, "Hard": 2}}}`, "above the hard one"},
		{`{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 3, "Hard": 2}}}`, "above the hard one"},
		{`{"default-ulimits": {"nofile": {"Name": "nproc", "Soft": 1, "Hard": 2}}}`, "want {"},
		{`{"default-ulimits": {"nonsense": {"Name": "nonsense", "Soft": 1, "Hard": 2}}}`, "want {"},
		{`{"seccomp-profile": "unconfined"}`, ""},
		{`{"seccomp-profile": "/no/such/file"}`, "no such file"},
		{`{"hosts": ["tcp://0.0.0.0:2375"]}`, "no longer listen"},
		{`{"hosts": ["unix:///run/e.sock", "tcp://0.0.0.0:2375"]}`, ""},
		{`{"hosts": ["fd://"]}`, ""},
	} {
		conf, err := decode([]byte(tt.conf))
		if err != nil {
			t.Fatal(err)
		}
		err = judge(conf, "/run/e.sock")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.conf, err, tt.want)
		}
	}
}

func TestRefuse(t *testing.T) {
	running := &inventory.Snapshot{}
	running.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "web1"}, Fields: map[string]any{"State": map[string]any{"Running": true}}})
	with := func(path string, v any) *inventory.Object {
		o := engineOf("/etc/docker/daemon.json").Clone()
		inventory.Put(o.Fields, path, v)
		return o
	}
	for _, tt := range []struct {
		name  string
		s     *inventory.Snapshot
		o     *inventory.Object
		field string
		want  string
	}{
		{"may be set", nil, engineOf(""), "Effective.debug", ""},
		{"no setting", nil, engineOf(""), "Info.Debug", "no setting"},
		{"flag", nil, engineOf(""), "Effective.mtu", "where the engine is started"},
		{"flag of a unit", nil, with("Unit", map[string]any{"Name": "docker.service"}), "Effective.mtu", "systemctl edit docker.service"},
		{"migration", nil, engineOf(""), "Effective.userns-remap", "migration"},
		{"rootless", nil, with("Process.Rootless", true), "Effective.debug", "rootless"},
		{"no process", nil, with("Process", nil), "Effective.debug", "not known"},
		{"settings not read", nil, with("EffectiveFrom", nil), "Effective.debug", "could not be read"},
		{"live-restore in a swarm", nil, with("Info.Swarm.LocalNodeState", "active"), "Effective.live-restore", "swarm"},
		{"icc under live-restore", running, engineOf(""), "Effective.icc", "only when none runs"},
		{"icc with nothing running", nil, engineOf(""), "Effective.icc", ""},
		{"icc without live-restore", running, with("Effective.live-restore", false), "Effective.icc", ""},
	} {
		why := refuse(tt.s, tt.o, tt.field)
		if (why == lang.Text{}) != (tt.want == "") || !strings.Contains(why.En, tt.want) || (why.En == "") != (why.Es == "") {
			t.Errorf("%s: %q, want %q", tt.name, why, tt.want)
		}
	}
}

func TestMeans(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Means() {
		if seen[m.Field] || m.Undo.Empty() || m.Kind != inventory.Daemon || m.Hand != Name || m.Refuse == nil {
			t.Errorf("%+v", m)
		}
		seen[m.Field] = true
	}
	for _, f := range []string{"Effective.icc", "Effective.log-opts", "Effective.log-opts.", "Effective.live-restore"} {
		if !seen[f] {
			t.Errorf("%s is missing", f)
		}
	}
}

func TestMaskedKeepsTheFile(t *testing.T) {
	const src = "{\n  \"proxies\": {\"http-proxy\": \"http://ana:geheim12@p:3128\"},\n  \"log-opts\": {\"splunk-token\" : \"0b8e3a51-77d2-4c1f\"},\n  \"icc\": false\n}\n"
	got := masked([]byte(src))
	if strings.Contains(got, "geheim12") || strings.Contains(got, "77d2") || !json.Valid([]byte(got)) {
		t.Error(got)
	}
	plain := "{\n  \"icc\" : false,\n  \"dns\": [\"1.1.1.1\"]\n}"
	if diff := cmp.Diff(plain, masked([]byte(plain))); diff != "" {
		t.Error(diff)
	}
}

func TestNamed(t *testing.T) {
	want := map[string]any{"nofile": map[string]any{"Name": "nofile", "Soft": 1}}
	if diff := cmp.Diff(any(want), named("default-ulimits", map[string]any{"nofile": map[string]any{"Soft": 1}})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want["nofile"], named("default-ulimits.nofile", map[string]any{"Soft": 1})); diff != "" {
		t.Error(diff)
	}
}

func TestComplaint(t *testing.T) {
	const out = `time="x" level=info msg="Starting up"
failed to start daemon: Error initializing network controller: nonsense
time="x" level=info msg="stopping"
`
	if got := complaint(out); got != "failed to start daemon: Error initializing network controller: nonsense" {
		t.Error(got)
	}
	if got := complaint(""); got != "" {
		t.Error(got)
	}
}

// TestSweepMarks keeps the mark of an engine that runs, and no other.
func TestSweepMarks(t *testing.T) {
	dir := t.TempDir()
	started, err := startOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]string{
		"daemon-json-living":  fmt.Sprint(os.Getpid(), " ", started, " abc"),
		"daemon-json-reused":  fmt.Sprint(os.Getpid(), " ", started+1, " abc"),
		"daemon-json-dead":    "4194305 1 abc", // above PID_MAX_LIMIT: proc(5)
		"daemon-json-garbage": "",
		"somebody-else":       "",
	}
	for name, text := range marks {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sweepMarks(dir)
	var left []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"daemon-json-living", "somebody-else"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}
