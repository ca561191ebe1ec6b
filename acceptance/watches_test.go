package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// watched are the paths of CIS Docker 1.8.0, 1.1.3 to 1.1.18, and for what
// casco has them watched.
var watched = []struct{ cis, role, path, perm string }{ // @ is the engine's directory; "" a program of the engine
	{"1.1.3", "dockerd", "", "rwxa"},
	{"1.1.4", "run-containerd", "/run/containerd", "wa"},
	{"1.1.5", "data-root", "@/data", "wa"},
	{"1.1.6", "etc-docker", "/etc/docker", "rwxa"},
	{"1.1.7", "docker-service", "/etc/systemd/system/docker.service", "rwxa"},
	{"1.1.8", "containerd-sock", "@/ctrd.sock", "rwxa"},
	{"1.1.9", "docker-sock", "@/docker.sock", "rwxa"},
	{"1.1.10", "default-docker", "/etc/default/docker", "rwxa"},
	{"1.1.11", "daemon-json", "@/daemon.json", "rwxa"},
	{"1.1.12", "containerd-config", "/etc/containerd/config.toml", "rwxa"},
	{"1.1.13", "sysconfig-docker", "/etc/sysconfig/docker", "rwxa"},
	{"1.1.14", "containerd", "", "rwxa"},
	{"1.1.15", "shim", "", "rwxa"},
	{"1.1.16", "shim-runc-v1", "", "rwxa"},
	{"1.1.17", "shim-runc-v2", "", "rwxa"},
	{"1.1.18", "runc", "", "rwxa"},
}

const rulesDir = "/etc/audit/rules.d"

func TestWatches(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	answers := service(t, e)
	auditing(t)
	for _, path := range []string{"/etc/systemd/system/docker.service", "/etc/sysconfig/docker", "/etc/default/docker", "/etc/containerd/config.toml"} {
		if _, err := os.Stat(path); err != nil {
			outside.Write(t, path, "# made by a test\n")
		}
	}
	paths := map[string]string{}
	for _, f := range outside.Findings(t, e) {
		if role, ok := strings.CutPrefix(f.Check, "watch-"); ok && f.Verdict == "fail" && !strings.HasPrefix(f.Ref, "watch//tmp/") {
			paths[role] = strings.TrimPrefix(f.Ref, "watch/")
		}
	}
	for _, w := range watched {
		path := strings.ReplaceAll(w.path, "@", e.Root)
		if path == "" {
			path = paths[w.role]
		}
		t.Run(w.cis, func(t *testing.T) {
			if path == "" {
				t.Skipf("this machine has no program for watch-%s", w.role)
			}
			look := func() string { return loadedRule(t, path) + "\n" + rulesOnDisk(t) }
			held := func() string {
				want := fmt.Sprintf("-w %s -p %s -k docker", path, w.perm)
				switch {
				case loadedRule(t, path) != want:
					return fmt.Sprintf("auditctl -l shows %q, want %q", loadedRule(t, path), want)
				case !strings.Contains(rulesOnDisk(t), want+"\n"):
					return "no file of " + rulesDir + " has " + want
				}
				return ""
			}
			check, ref := "watch-"+w.role, "watch/"+path
			turn(t, e, check, ref, []string{"--check", check, "--ref", ref}, look, held, answers)

			rule := []string{path, "-p", w.perm, "-k", "by-hand"}
			outside.Tool(t, "auditctl", append([]string{"-w"}, rule...)...)
			outside.Write(t, rulesDir+"/90-test.rules", "-w "+strings.Join(rule, " ")+"\n")
			if v := outside.Verdict(outside.Findings(t, e), check, ref); v != "pass" {
				t.Errorf("watched by a rule of somebody else: %q, want pass", v)
			}
			outside.Tool(t, "auditctl", append([]string{"-W"}, rule...)...)
			os.Remove(rulesDir + "/90-test.rules")
		})
	}
}

// auditing has the kernel heed its audit rules while the test runs.
func auditing(t *testing.T) {
	t.Helper()
	outside.Tool(t, "mkdir", "-p", rulesDir)
	for line := range strings.Lines(outside.Tool(t, "auditctl", "-s")) {
		if state, ok := strings.CutPrefix(line, "enabled "); ok && strings.TrimSpace(state) == "0" {
			outside.Tool(t, "auditctl", "-e", "1")
			t.Cleanup(func() { outside.Tool(t, "auditctl", "-e", "0") })
		}
	}
}

// loadedRule is the kernel's rule about path, as auditctl shows it.
func loadedRule(t *testing.T, path string) string {
	t.Helper()
	var rules []string
	for line := range strings.Lines(outside.Tool(t, "auditctl", "-l")) {
		if strings.Contains(line, " "+path+" ") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return strings.Join(rules, "\n")
}

// rulesOnDisk is all that the files of rules say.
func rulesOnDisk(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(rulesDir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %s\n%s", f, fileState(t, f), b)
	}
	return all.String()
}
