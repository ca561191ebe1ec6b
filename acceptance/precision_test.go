package acceptance

import (
	"slices"
	"testing"

	"casco/internal/outside"
)

// A misjudged state is one that other auditors were measured to judge wrongly,
// and what is right to say of it.
type misjudged struct {
	id      string
	by      string // who was wrong: bench is docker-bench-security 1.6.0
	item    string // the number or name of the rule there
	state   string
	right   string
	outside string // why it is not tried here; empty for all that is
}

// misjudgedStates is every state of that kind that we know.
var misjudgedStates = []misjudged{
	{id: "name-nil", by: "bench", item: "all of 4 and 5", state: `container whose name has "nil" in it`, right: "the findings of its twin"},
	{id: "stopped", by: "bench", item: "all of 5", state: "weak containers that do not run", right: "fail"},
	{id: "two-engines", by: "bench", item: "2.x", state: "two engines, the newer one set otherwise", right: "that of the engine behind the socket"},
	{id: "data-root", by: "bench", item: "1.1.1", state: "data root on the root file system, mounted on itself", right: "fail: one st_dev"},
	{id: "containerd-socket", by: "bench", item: "1.1.8", state: "containerd's socket, where no unit names it", right: "it is found and judged"},
	{id: "engine-age", by: "bench", item: "1.2.2", state: "engine whose support has ended", right: "fail"},
	{id: "config-file", by: "bench", item: "2.3, 2.4", state: "--config-file FILE with a space, log-level debug, iptables false", right: "fail"},
	{id: "hosts-lines", by: "bench", item: "2.7", state: "hosts over several lines, tcp without TLS", right: "fail"},
	{id: "tcp-flag", by: "bench", item: "2.7", state: "tcp without TLS on the command line", right: "fail"},
	{id: "syslog-tcp", by: "bench", item: "2.7", state: "log-opts with a tcp:// address, API on a unix socket", right: "pass"},
	{id: "cgroup-parent", by: "bench", item: "2.10", state: "cgroup-parent of the engine's own", right: "fail"},
	{id: "nnp-false", by: "bench", item: "2.14, 5.26", state: "no-new-privileges set to false", right: "fail"},
	{id: "nnp-overruled", by: "bench", item: "5.26", state: "no-new-privileges:false where the engine's default is true", right: "fail"},
	{id: "seccomp-builtin", by: "bench", item: "2.17", state: "built-in seccomp profile, by its old and its new name", right: "pass"},
	{id: "client-key", by: "bench", item: "3.7, 3.8", state: "client.key of a registry that all may read", right: "fail"},
	{id: "user-zero", by: "bench, trivy, dockle", item: "4.1", state: "USER 0:0, 00, root:root", right: "fail"},
	{id: "user-stage", by: "trivy", item: "DS-0002", state: "USER in the build stage only", right: "fail"},
	{id: "user-arg", by: "trivy", item: "DS-0002", state: "USER of a build argument that is root", right: "fail"},
	{id: "user-remapped", by: "bench", item: "4.1", state: "root inside an engine with userns-remap", right: "pass"},
	{id: "content-trust", by: "bench", item: "4.5", state: "DOCKER_CONTENT_TRUST not set; retired by Docker", right: "not a failure"},
	{id: "health-none", by: "bench, trivy", item: "4.6", state: "HEALTHCHECK NONE", right: "fail"},
	{id: "health-stage", by: "trivy", item: "DS-0026", state: "HEALTHCHECK in the build stage only", right: "fail"},
	{id: "update-far", by: "bench", item: "4.7", state: "update alone, behind a long command", right: "fail"},
	{id: "padding", by: "bench", item: "4.9", state: "ENV PADDING=1 taken for ADD", right: "pass"},
	{id: "add-url", by: "trivy", item: "DS-0005", state: "ADD of a URL", right: "fail"},
	{id: "url-secret", by: "trivy, dockle", item: "DS-0031, CIS-DI-0010", state: "password in DATABASE_URL; DB_PWD", right: "fail"},
	{id: "not-secret", by: "dockle", item: "CIS-DI-0010", state: "MONKEY, KEYBOARD_LAYOUT, COMPASS_MODE", right: "pass"},
	{id: "no-selinux", by: "bench", item: "5.3", state: "kernel without SELinux", right: "not applicable"},
	{id: "other-option", by: "bench", item: "5.3", state: "security options that do not speak of SELinux", right: "not applicable, and the option itself is judged"},
	{id: "no-apparmor", by: "bench", item: "5.2", state: "kernel without AppArmor", right: "not applicable"},
	{id: "privileged", by: "bench", item: "5.4, 5.18, 5.22", state: "privileged: all capabilities and devices, no seccomp", right: "fail in each"},
	{id: "host-paths", by: "bench", item: "5.6", state: "/, /etc read-only, /root, /etc/ssh, /var/run, data root, a volume that is /", right: "fail"},
	{id: "container-paths", by: "bench", item: "5.6", state: "harmless volume on /usr, harmless directory on /lib", right: "pass"},
	{id: "ssh-hidden", by: "bench", item: "5.7", state: "SSH server of another name, no ps", right: "fail"},
	{id: "ssh-seen", by: "bench", item: "5.7", state: "container that only sees another's SSH server", right: "pass"},
	{id: "port-1024", by: "bench", item: "5.8", state: "port 1024 of the host", right: "pass"},
	{id: "port-host-net", by: "bench", item: "5.8", state: "listens on 22 on the host's network", right: "fail"},
	{id: "port-ipv6", by: "bench", item: "5.9, 5.14", state: "published on [::] only", right: "fail"},
	{id: "cpu", by: "bench", item: "5.12", state: "--cpu-quota, --cpuset-cpus", right: "pass"},
	{id: "restart", by: "bench", item: "5.15", state: "restart always, unless-stopped", right: "fail"},
	{id: "restart-swarm", by: "bench", item: "5.15", state: "task of a service with 5 attempts", right: "not a failure"},
	{id: "device-rule", by: "bench", item: "5.18", state: "--device-cgroup-rule for every block device", right: "fail"},
	{id: "bridge", by: "bench", item: "5.30", state: "engine with --bridge: its default network", right: "fail"},
	{id: "socket", by: "bench", item: "5.32", state: "engine's socket by its directory, by /, by a volume that is /", right: "fail"},
	{id: "managers", by: "bench", item: "7.1", state: "healthy swarm of one manager", right: "its managers are counted"},
	{id: "ingress", by: "bench", item: "7.3", state: "fresh swarm: ingress without encryption", right: "not called an overlay without encryption"},
	{id: "swarm-off", by: "bench", item: "7.x", state: "engine outside any swarm", right: "not applicable"},
	{id: "rule-in-file", by: "dokuru", item: "1.1.3 to 1.1.18", state: "audit rule in a file that the kernel has not loaded", right: "fail"},

	{id: "history-copy", by: "trivy", item: "image history", state: "COPY in an image's history", right: "as in its Dockerfile", outside: "lint, later"},
	{id: "two-tools", by: "trivy", item: "DS-0014", state: "curl and wget in different stages", right: "pass", outside: "lint, later"},
	{id: "compliance", by: "trivy", item: "docker-cis-1.6.0", state: "a benchmark of which one section is read", right: "all sections", outside: "a list, not a state: the coverage test of package checks"},
	{id: "recreate", by: "dokuru", item: "fix", state: "re-creation of a container", right: "same networks, aliases, data", outside: "a cure, not a verdict: TestContainers, and package docker"},
	{id: "health-empty", by: "dokuru", item: "4.6 fix", state: "a health check that is always healthy", right: "none is made up", outside: "a cure, not a verdict: TestContainers"},
	{id: "restart-cure", by: "CIS", item: "5.15 remediation", state: "on-failure for a service that ends with 0", right: "it comes back", outside: "a cure, not a verdict: TestContainers"},
}

// An expectation is what one check must say of one object. Of several words
// any one will do: "not-applicable|manual".
type expectation struct{ id, check, ref, want string }

// TestMisjudgedStatesAreTried: each state is tried, or it says why not; each is
// met with a good twin where there can be one.
func TestMisjudgedStatesAreTried(t *testing.T) {
	tried := slices.Concat(specialStates, containerStates())
	for _, c := range imageStates {
		tried = append(tried, c.id)
	}
	for _, m := range misjudgedStates {
		if got := slices.Contains(tried, m.id); got != (m.outside == "") {
			t.Errorf("%s (%s %s: %s): tried %v, outside %q", m.id, m.by, m.item, m.state, got, m.outside)
		}
	}
	for _, id := range tried {
		if !slices.ContainsFunc(misjudgedStates, func(m misjudged) bool { return m.id == id }) {
			t.Errorf("%s is tried and is no known state", id)
		}
	}
}

// specialStates are tried by the tests of precision_engines_test.go and by
// TestNameIsNoExcuse.
var specialStates = []string{
	"name-nil", "two-engines", "data-root", "containerd-socket", "engine-age", "config-file", "hosts-lines", "tcp-flag", "syslog-tcp",
	"cgroup-parent", "nnp-overruled", "seccomp-builtin", "client-key", "user-remapped", "content-trust",
	"restart-swarm", "bridge", "managers", "ingress", "swarm-off", "rule-in-file",
}

// meets reports each expectation that fs do not meet.
func meets(t *testing.T, fs []outside.Finding, es ...expectation) {
	t.Helper()
	for _, e := range es {
		i := slices.IndexFunc(fs, func(f outside.Finding) bool { return f.Check == e.check && f.Ref == e.ref })
		switch {
		case i < 0 && e.want == "":
		case i < 0:
			t.Errorf("%s: %s says nothing of %s, want %s", e.id, e.check, e.ref, e.want)
		case !slices.Contains(splitWords(e.want), fs[i].Verdict):
			t.Errorf("%s: %s of %s: %s (%s), want %s\n%v", e.id, e.check, e.ref, fs[i].Verdict, fs[i].Reason, e.want, fs[i].Evidence)
		}
	}
}
