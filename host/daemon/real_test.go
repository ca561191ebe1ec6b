package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/realdocker"
	"casco/loop/inventory"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// TestRealEngines reads two engines on one machine. The one asked for must be
// told by its own flags, and the other one found; the newest process must not
// matter.
func TestRealEngines(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(conf, []byte(`{"icc": false, "log-driver": "splunk", "log-opts": {"splunk-token": "0b8e3a51-77d2-4c1f", "splunk-url": "https://s.test"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	ours := realdocker.Start(t, "--config", conf, "--dockerd-arg", "--host=tcp://0.0.0.0:2375", "--dockerd-arg", "--tls=false", "--dockerd-arg", "--insecure-registry=r.test:5000")
	other := realdocker.Start(t)

	s := &inventory.Snapshot{}
	o := newObject(ours.Socket)
	s.Add(o)
	if err := New(ours.Socket).Read(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if pid, fact, _ := inventory.DaemonPid.Of(o); pid != int64(ours.Pid()) {
		t.Errorf("%v, want process %d", fact, ours.Pid())
	}
	told, err := Settings(ours.Socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Process", "Config", "Effective", "EffectiveFrom", "RuntimeFiles"} {
		if d := cmp.Diff(o.Fields[field], told.Fields[field]); d != "" || told.Fields[field] == nil {
			t.Errorf("%s of its settings alone: %s", field, d)
		}
	}
	if told.Fields["Listeners"] != nil {
		t.Error("who reads settings asked the listeners")
	}
	for key, want := range map[string]string{
		"Effective.icc": "false", "EffectiveFrom.icc": "file",
		"Effective.insecure-registries": "[r.test:5000]", "EffectiveFrom.insecure-registries": "flag",
		"Effective.live-restore": "false", "EffectiveFrom.live-restore": "default",
		"Effective.log-driver": "splunk", "Config.File": ours.Config, "DataRoot.Path": ours.Root + "/data",
	} {
		if v, fact, _ := inventory.Lookup(o, key); fmt.Sprint(v) != want {
			t.Errorf("%s = %v (%s), want %s", key, v, fact.Err, want)
		}
	}
	if v, _, _ := inventory.Lookup(o, "Effective.log-opts.splunk-token"); !inventory.Masked(fmt.Sprint(v)) {
		t.Errorf("a token was read into a field: %v", v)
	}
	tcp := 0
	listeners, _, _ := inventory.DaemonListeners.Of(o)
	for _, l := range listeners {
		if m := l.(map[string]any); m["Proto"] == "tcp" {
			tcp++
			if m["TLS"] != tlsNone || m["Role"] != roleAPI || m["Port"] != int64(2375) || m["Loopback"] != false {
				t.Errorf("the open listener reads %v", m)
			}
		}
	}
	if tcp != 1 {
		t.Errorf("%d TCP listeners in %v, want 1", tcp, listeners)
	}
	second := s.Find(inventory.Ref{Kind: inventory.Daemon, Name: other.Socket})
	if pid, fact, _ := inventory.DaemonPid.Of(second); pid != int64(other.Pid()) {
		t.Errorf("the other engine: %v, want process %d", fact, other.Pid())
	}
	if icc, fact, _ := inventory.DaemonICC.Of(second); !icc {
		t.Errorf("the other engine: %v", fact)
	}
	if address, fact, _ := inventory.DaemonOther.Of(second); address != "unix://"+other.Socket {
		t.Errorf("where to ask the other engine: %v", fact)
	}
	if s.Another(second) != second || s.Another(o) != nil {
		t.Error("the engine in use and the other one are not told apart")
	}

	// The other one in use, and its API did not answer.
	s = &inventory.Snapshot{}
	if err := New(other.Socket).Read(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	second, o = s.Find(second.Ref), s.Find(o.Ref)
	if second == nil || o == nil || s.Another(second) != nil || s.Another(o) != o {
		t.Errorf("an engine in use that does not answer is not told from the other one: %v, %v", second, o)
	}
	if _, fact, ok := inventory.DaemonVersion.Of(second); ok || !strings.Contains(fact.Err, "did not answer") {
		t.Errorf("its version: %v", fact)
	}
}

// TestRealMutualTLS: dockerd itself, with a certificate, as 2376 is run.
func TestRealMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := makeCertificates(t, dir)
	e := realdocker.Start(t, "--dockerd-arg", "--host=tcp://127.0.0.1:2376", "--dockerd-arg", "--tlsverify",
		"--dockerd-arg", "--tlscacert="+ca, "--dockerd-arg", "--tlscert="+cert, "--dockerd-arg", "--tlskey="+key)
	o, err := Look(t.Context(), e.Socket)
	if err != nil {
		t.Fatal(err)
	}
	listeners, _, _ := inventory.DaemonListeners.Of(o)
	for _, l := range listeners {
		if m := l.(map[string]any); m["Proto"] == "tcp" {
			if m["TLS"] != tlsMutual || m["Loopback"] != true || m["Role"] != roleAPI {
				t.Errorf("the listener reads %v", m)
			}
			return
		}
	}
	t.Errorf("no TCP listener in %v", listeners)
}
