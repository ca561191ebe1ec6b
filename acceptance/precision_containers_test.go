package acceptance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// A containerState is one container and what must be said of it. DIR stands
// for a harmless directory, ROOT for that of the engine.
type containerState struct {
	id, name string
	command  string // arguments of docker run -d, or of docker create if they begin with "create"
	checks   string // "check=verdict check=verdict"
}

var containers = []containerState{
	// The twin of most: nothing is set, and nothing is said that is not so.
	{"", "plain", "create bb:p sh", "container-privileged=pass container-seccomp=pass container-dangerous-capabilities=pass container-devices=pass container-restart=pass container-sensitive-mount=pass container-engine-socket=pass container-cpu=fail container-root-user=fail container-default-bridge=fail"},

	{"stopped", "st-bad", "create --privileged --restart always bb:p sh", "container-privileged=fail container-restart=fail"},
	{"user-zero", "us-zero", "create --user 0:0 bb:p sh", "container-root-user=fail"},
	{"user-zero", "us-name", "create --user root:root bb:p sh", "container-root-user=fail"},
	{"user-zero", "us-run", "--user 0:0 bb:p sleep 600", "container-root-user=fail"},
	{"user-zero", "us-good", "--user 1000:1000 bb:p sleep 600", "container-root-user=pass"},
	{"other-option", "so-sec", "--security-opt seccomp=unconfined bb:p sleep 600", "container-seccomp=fail"},
	{"other-option", "so-nnp", "--security-opt no-new-privileges bb:p sleep 600", "container-no-new-privileges=pass container-seccomp=pass"},
	{"privileged", "pr-bad", "--privileged --user 1000 bb:p sleep 600", "container-privileged=fail container-seccomp=fail container-devices=fail container-dangerous-capabilities=fail"},
	{"privileged", "pr-good", "--user 1000 bb:p sleep 600", "container-privileged=pass container-seccomp=pass container-devices=pass container-dangerous-capabilities=pass"},
	{"host-paths", "hp-root", "create -v /:/host:ro bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-etc", "create -v /etc:/x:ro bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-home", "create -v /root:/x bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-ssh", "create -v /etc/ssh:/x bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-run", "create -v /var/run:/x bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-data", "create -v ROOT/data:/x bb:p sh", "container-sensitive-mount=fail"},
	{"host-paths", "hp-vol", "create -v slash:/x bb:p sh", "container-sensitive-mount=fail"},
	{"container-paths", "cp-usr", "create -v named:/usr bb:p sh", "container-sensitive-mount=pass"},
	{"container-paths", "cp-lib", "create -v DIR:/lib bb:p sh", "container-sensitive-mount=pass"},
	{"ssh-hidden", "sh-bad", "pr:p ssh :2222", "container-ssh=fail"},
	{"ssh-hidden", "sh-http", "bb:p httpd -f -p 22", "container-ssh=pass"},
	{"ssh-seen", "ss-host", "--pid host bb:p sleep 600", "container-ssh=pass"},
	{"ssh-seen", "ss-other", "--pid container:sh-bad bb:p sleep 600", "container-ssh=pass"},
	{"port-1024", "po-good", "create -p 127.0.0.1:1024:80 bb:p sh", "container-privileged-port=pass"},
	{"port-1024", "po-bad", "create -p 127.0.0.1:1023:80 bb:p sh", "container-privileged-port=fail"},
	{"port-host-net", "ph-bad", "--net host bb:p httpd -f -p 22", "container-privileged-port=fail"},
	{"port-host-net", "ph-good", "--net host bb:p httpd -f -p 127.0.0.1:8022", "container-privileged-port=pass container-published-everywhere=pass"},
	{"port-ipv6", "p6-bad", "create -p [::]:8443:80 bb:p sh", "container-published-everywhere=fail"},
	{"port-ipv6", "p6-any", "create -p [::]::80 bb:p sh", "container-published-everywhere=fail container-random-port=fail"},
	{"port-ipv6", "p6-good", "create -p [::1]:8443:80 bb:p sh", "container-published-everywhere=pass container-random-port=pass"},
	{"cpu", "cp-quota", "--cpu-quota 50000 bb:p sleep 600", "container-cpu=pass"},
	{"cpu", "cp-set", "--cpuset-cpus 0 bb:p sleep 600", "container-cpu=pass"},
	{"restart", "re-always", "create --restart always bb:p sh", "container-restart=fail"},
	{"restart", "re-unless", "--restart unless-stopped bb:p sleep 600", "container-restart=fail"},
	{"restart", "re-good", "create --restart on-failure:5 bb:p sh", "container-restart=pass"},
	{"device-rule", "dv-bad", `create --device-cgroup-rule b_*:*_rwm bb:p sh`, "container-devices=fail"},
	{"nnp-false", "nn-bad", "--security-opt no-new-privileges:false bb:p sleep 600", "container-no-new-privileges=fail"},
	{"nnp-false", "nn-good", "--security-opt no-new-privileges:true bb:p sleep 600", "container-no-new-privileges=pass"},
	{"socket", "so-dir", "create -v ROOT:/x bb:p sh", "container-engine-socket=fail"},
	{"socket", "so-root", "create -v /:/x:ro bb:p sh", "container-engine-socket=fail"},
	{"socket", "so-vol", "create -v slash:/x bb:p sh", "container-engine-socket=fail"},
	{"socket", "so-good", "create -v DIR:/x bb:p sh", "container-engine-socket=pass"},
}

// containerStates are those that TestMisjudgedContainers tries.
func containerStates() []string {
	ids := []string{"no-selinux", "no-apparmor"}
	for _, c := range containers {
		if c.id != "" && !slices.Contains(ids, c.id) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// TestMisjudgedContainers makes all of them on one engine and audits it once.
func TestMisjudgedContainers(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("bb:p")
	e.Probe("pr:p")
	e.Docker("volume", "create", "-d", "local", "-o", "type=none", "-o", "o=bind", "-o", "device=/", "slash")
	fill := strings.NewReplacer("DIR", harmless(t), "ROOT", e.Root)
	for _, c := range containers {
		words := strings.Fields(fill.Replace(c.command))
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "b_*:*_rwm", "b *:* rwm")
		}
		if words[0] == "create" {
			e.Docker(append([]string{"create", "--name", c.name}, words[1:]...)...)
		} else {
			e.Docker(append([]string{"run", "-d", "--name", c.name}, words...)...)
		}
	}
	fs := outside.Findings(t, e)
	for _, c := range containers {
		for _, pair := range strings.Fields(c.checks) {
			check, want, _ := strings.Cut(pair, "=")
			meets(t, fs, expectation{c.id, check, "container/" + c.name, want})
		}
	}
	withoutModules(t, fs)
}

// withoutModules: a kernel without SELinux or AppArmor makes no container bad,
// nor good, whatever its options say.
func withoutModules(t *testing.T, fs []outside.Finding) {
	t.Helper()
	for _, lsm := range []struct{ id, check, path string }{
		{"no-selinux", "container-selinux", "/sys/fs/selinux/enforce"},
		{"no-apparmor", "container-apparmor", "/sys/kernel/security/apparmor/profiles"},
	} {
		if _, err := os.Stat(lsm.path); err == nil {
			t.Logf("%s: this kernel has it", lsm.id)
			continue
		}
		for _, c := range containers {
			meets(t, fs, expectation{lsm.id, lsm.check, "container/" + c.name, "not-applicable"})
		}
	}
}

// harmless is a directory that nothing of the host rests on.
func harmless(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/srv", "casco-acceptance-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestNameIsNoExcuse: two containers that differ in their name alone have the
// same findings, one by one.
func TestNameIsNoExcuse(t *testing.T) {
	e := realdocker.Shared(t)
	e.Image("bb:n")
	said := map[string][]string{}
	names := []string{"aud-vanilla", "aud-hostns"}
	for _, name := range names {
		e.Docker("run", "-d", "--name", name, "--pid", "host", "--net", "host", "--ipc", "host", "bb:n", "sleep", "600")
		t.Cleanup(func() { e.TryDocker("rm", "-f", name) })
	}
	fs := outside.Findings(t, e)
	for _, f := range fs {
		if name := filepath.Base(f.Ref); strings.HasPrefix(f.Ref, "container/") && slices.Contains(names, name) {
			said[name] = append(said[name], f.Check+" "+f.Verdict)
		}
	}
	if len(said["aud-hostns"]) < 20 || !slices.Equal(said["aud-vanilla"], said["aud-hostns"]) {
		t.Errorf("of aud-vanilla: %v\nof aud-hostns: %v", said["aud-vanilla"], said["aud-hostns"])
	}
	for _, check := range []string{"container-host-pid", "container-host-net", "container-host-ipc", "container-root-user"} {
		meets(t, fs, expectation{"name-nil", check, "container/aud-vanilla", "fail"})
	}
}

func splitWords(s string) []string { return strings.Split(s, "|") }
