package acceptance

import (
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// bySELinux says if a container is not confined by SELinux: its label, and
// what it may read although every mode allows it.
func bySELinux(t *testing.T, e *realdocker.Engine, name string) string {
	t.Helper()
	if is := label(t, pidOf(e, name)); !strings.HasPrefix(is, "system_u:system_r:container_t:s0:c") {
		return "its label is " + is
	}
	if may(e, name, "cat", "/hosts/open") {
		return "it reads a file of the host"
	}
	return ""
}

// TestSELinux: an engine that does not label, and a container that is not
// labelled, are found, cured so that the kernel refuses a file of the host, and
// taken back so that it may be read again.
func TestSELinux(t *testing.T) {
	e := guest(t, "selinux")
	if got := outside.Tool(t, "getenforce"); got != "Enforcing" {
		t.Fatalf("getenforce: %s", got)
	}
	const hosts = "/srv/hosts"
	outside.Write(t, hosts+"/open", "hello\n")
	outside.Tool(t, "chmod", "-R", "0777", hosts)
	outside.Tool(t, "chcon", "-t", "container_ro_file_t", hosts)
	outside.Tool(t, "chcon", "-t", "var_spool_t", hosts+"/open")
	engine, config := "daemon/"+e.Socket, fileState(t, e.Config)

	container(t, e, "old", "--network", "none", "--restart", "always", "-v", hosts+":/hosts")
	expect(t, outside.Findings(t, e), map[string]string{
		"daemon-selinux of " + engine:         "fail",
		"container-selinux of container/old":  "fail",
		"container-apparmor of container/old": "not-applicable",
		"kernel-lsm of kernel/kernel":         "pass",
	})
	change := outside.PlanApplyVerify(t, e, "--check", "daemon-selinux", "--ref", engine)
	if complaint := says("{{.SecurityOptions}}", "name=selinux")(t, e, ""); complaint != "" {
		t.Fatalf("casco says that it is cured, but %s", complaint)
	}

	// That the engine labels from now on does nothing for a container that it has.
	if bySELinux(t, e, "old") == "" {
		t.Error("a container that is older than the label has one: the test proves nothing")
	}
	outside.PlanApplyVerify(t, e, "--check", "container-selinux", "--ref", "container/old")
	if complaint := bySELinux(t, e, "old"); complaint != "" {
		t.Errorf("casco says that old is cured, but %s", complaint)
	}
	t.Run("5.3", func(t *testing.T) {
		recreated(t, e, "app", remedy{
			check: "container-selinux", run: "--network none --security-opt label=disable -v " + hosts + ":/hosts", held: bySELinux,
		})
		if !kernelLogged(t, "avc:  denied", "container_t", `name="open"`, "var_spool_t") {
			t.Error("the kernel's log has no denial")
		}
		if !may(e, "app", "cat", "/hosts/open") {
			t.Error("it may not read without SELinux either: the test proves nothing")
		}
	})
	t.Run("shared", func(t *testing.T) { sharedIPC(t, e) })
	outside.Tool(t, "setenforce", "0")
	expect(t, outside.Findings(t, e), map[string]string{"kernel-lsm of kernel/kernel": "fail", "container-selinux of container/old": "fail"})
	outside.Tool(t, "setenforce", "1")

	outside.Rollback(t, e, change)
	if now := fileState(t, e.Config); now != config {
		t.Errorf("daemon.json is %s, and was %s", now, config)
	}
	if says("{{.SecurityOptions}}", "name=selinux")(t, e, "") == "" {
		t.Error("after the rollback the engine still labels")
	}
}

// sharedIPC: two containers in one IPC namespace have one label, with the
// categories that the engine chose for the first. Made again, it gets others.
func sharedIPC(t *testing.T, e *realdocker.Engine) {
	container(t, e, "leader", "--network", "none", "--ipc", "shareable")
	container(t, e, "follower", "--network", "none", "--ipc", "container:leader")
	var was string
	same := func(when string) {
		t.Helper()
		leader, follower := label(t, pidOf(e, "leader")), label(t, pidOf(e, "follower"))
		if leader != follower || !strings.Contains(leader, ":container_t:") {
			t.Errorf("%s, leader is %s, and follower %s", when, leader, follower)
		}
		if leader == was {
			t.Errorf("%s, leader has the label that it had: %s", when, leader)
		}
		was = leader
	}
	same("at first")
	id := outside.PlanApplyVerify(t, e, "--check", "container-no-new-privileges", "--ref", "container/leader")
	same("made again")
	// They have their categories, and no_new_privs does not keep the label away.
	if v := outside.Verdict(outside.Findings(t, e), "container-selinux", "container/leader"); v != "pass" {
		t.Errorf("container-selinux of leader: %q, want pass", v)
	}
	outside.Rollback(t, e, id)
	same("taken back")
}
