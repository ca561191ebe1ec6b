package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// read makes files under a new root, "-> x" a link to x, and reads the units.
func read(t *testing.T, files map[string]string) *inventory.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.Symlink(to, path))
			continue
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return inventory.Take(t.Context(), "h", time.Now(), New(dir))
}

func TestRead(t *testing.T) {
	const lib, etc = "usr/lib/systemd/system/", "etc/systemd/system/"
	s := read(t, map[string]string{
		lib + "ssh.service":  "[Unit]\nExecStart=/not\n[Service]\nExecStartPre=/usr/sbin/sshd -t\nExecStart=/usr/sbin/sshd \\\n# note\n  -D $OPTS\n",
		lib + "cups.service": "[Service]\nExecStart=/usr/sbin/cupsd\n", lib + "idle.service": "[Service]\nExecStart=/idle\n",
		lib + "pg@.service": "[Service]\nExecStart=/usr/bin/pg %i\n", lib + "c.socket": "[Socket]\nListenStream=/run/c\n",
		lib + "over.service": "[Service]\nExecStart=/old\n", lib + "off.service": "[Service]\nExecStart=/off\n",
		etc + "over.service.d/10.conf":                "[Service]\nExecStart=\nExecStart=/new --password=hunter2hunter2\n",
		lib + "over.service.d/10.conf":                "[Service]\nExecStart=/hidden\n",
		lib + "over.service.d/20.conf":                "[Service]\nExecStart=/more\n",
		etc + "multi-user.target.wants/ssh.service":   "-> /usr/lib/systemd/system/ssh.service",
		etc + "network.target.requires/ssh.service":   "-> /usr/lib/systemd/system/ssh.service",
		etc + "multi-user.target.wants/pg@15.service": "-> /usr/lib/systemd/system/pg@.service",
		etc + "multi-user.target.wants/over.service":  "-> ../over.service",
		etc + "multi-user.target.wants/off.service":   "-> ../off.service",
		etc + "off.service":                           "-> /dev/null",
		etc + "multi-user.target.wants/gone.service":  "-> /usr/lib/systemd/system/gone.service",
		etc + "multi-user.target.wants/alias.service": "-> /usr/lib/systemd/system/cups.service",
		etc + "alias.service":                         "-> /usr/lib/systemd/system/cups.service",
		lib + "sockets.target.wants/c.socket":         "-> ../c.socket",
		etc + "multi-user.target.wants/empty.service": "-> ../empty.service",
		etc + "empty.service":                         "",
	})
	if len(s.Gaps) > 0 {
		t.Fatal(s.Gaps)
	}
	got := map[string]map[string]any{}
	for _, o := range s.Objects {
		got[o.Ref.Name] = o.Fields
	}
	on := func(fragment string, wantedBy []string, exec ...string) map[string]any {
		return map[string]any{"Enabled": true, "FragmentPath": "/usr/lib/systemd/system/" + fragment, "WantedBy": wantedBy, "Exec": append([]string{}, exec...)}
	}
	multi := []string{"multi-user.target"}
	want := map[string]map[string]any{
		"ssh.service":   on("ssh.service", []string{"multi-user.target", "network.target"}, "/usr/sbin/sshd    -D $OPTS"),
		"pg@15.service": on("pg@.service", multi, "/usr/bin/pg %i"),
		"over.service":  on("over.service", multi, "/new --password="+inventory.MaskValue("password", "hunter2hunter2"), "/more"),
		"alias.service": on("cups.service", multi, "/usr/sbin/cupsd"),
		"c.socket":      on("c.socket", []string{"sockets.target"}),
		"off.service":   {"Enabled": false, "Masked": true, "WantedBy": multi},
		"empty.service": {"Enabled": false, "Masked": true, "WantedBy": multi},
		"gone.service":  {"Enabled": false, "WantedBy": multi},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	gone := s.Find(inventory.Ref{Kind: inventory.Unit, Name: "gone.service"})
	if gone.Unread["FragmentPath"] != "no unit file" {
		t.Errorf("gone: %v", gone.Unread)
	}
}

func TestAnotherInit(t *testing.T) {
	s := read(t, map[string]string{"etc/inittab": ""})
	if len(s.Objects) > 0 || len(s.Gaps) != 1 || !strings.Contains(s.Gaps[0].Reason, "no units of systemd") {
		t.Errorf("%v, %v", s.Objects, s.Gaps)
	}
}

func TestUnreadable(t *testing.T) {
	s := read(t, map[string]string{
		"etc/systemd/system/m.wants/a.service": "-> ../a.service", "etc/systemd/system/a.service": "-> a.service",
		"etc/systemd/system/m.wants/b.service": "-> ../b.service", "etc/systemd/system/b.service/x": "",
	})
	a := s.Find(inventory.Ref{Kind: inventory.Unit, Name: "a.service"})
	if _, fact, ok := inventory.UnitEnabled.Of(a); ok || fact.Err == inventory.Absent {
		t.Errorf("a link to itself: %v", fact)
	}
	b := s.Find(inventory.Ref{Kind: inventory.Unit, Name: "b.service"})
	if b.Unread["Exec"] == "" {
		t.Errorf("a directory: %+v", b)
	}
}

func FuzzExecStarts(f *testing.F) {
	f.Add("[Service]\nExecStart=/a \\\n; x\n b\nExecStart=\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range execStarts(text) {
			if strings.Contains(c, "\n") {
				t.Errorf("%q", c)
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
