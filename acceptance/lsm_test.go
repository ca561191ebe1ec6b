package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// guest skips a test that wants a machine of its own, whose kernel has a
// security module: it changes what there is but one of. It returns an engine
// that was started with the arguments.
//
// The processor of a guest is emulated, and Go programs are slow on it: every
// docker command takes a second. Containers of these tests have no network.
func guest(t *testing.T, name string, args ...string) *realdocker.Engine {
	t.Helper()
	if os.Getenv(outside.Guest) != name {
		t.Skipf("runs in the guest %q of make lsm (lsm/guests)", name)
	}
	e := realdocker.Start(t, args...)
	e.Image("web:1")
	return e
}

// recreated takes a new container through the loop, for r.
func recreated(t *testing.T, e *realdocker.Engine, name string, r remedy) {
	t.Helper()
	container(t, e, name, strings.Fields(r.run)...)
	ref := "container/" + name
	turn(t, e, r.check, ref, r.args(e, ref), func() string { return inspect(t, e, name) },
		func() string { return r.held(t, e, name) }, func() {})
}

// pidOf is the first process of a container.
func pidOf(e *realdocker.Engine, name string) string {
	return e.Docker("inspect", "-f", "{{.State.Pid}}", name)
}

// label is what the kernel's security module has a process under.
func label(t *testing.T, pid string) string {
	t.Helper()
	return strings.TrimRight(outside.Tool(t, "cat", "/proc/"+pid+"/attr/current"), "\x00")
}

// shown returns what a finding shows of a field.
func shown(t *testing.T, fs []outside.Finding, check, ref, field string) string {
	t.Helper()
	for _, f := range fs {
		for _, fact := range f.Evidence {
			if f.Check == check && f.Ref == ref && fact.Field == field {
				if n, ok := fact.Value.(float64); ok {
					return strconv.FormatFloat(n, 'f', -1, 64)
				}
				return fmt.Sprint(fact.Value)
			}
		}
	}
	t.Errorf("%s of %s does not show %s", check, ref, field)
	return ""
}

// expect wants each verdict of fs, given as "check of ref".
func expect(t *testing.T, fs []outside.Finding, want map[string]string) {
	t.Helper()
	for what, v := range want {
		check, ref, _ := strings.Cut(what, " of ")
		if got := outside.Verdict(fs, check, ref); got != v {
			t.Errorf("%s: %q, want %s", what, got, v)
		}
	}
}

// kernelLogged reports whether a line of the kernel's log has all the words.
func kernelLogged(t *testing.T, words ...string) bool {
	t.Helper()
	for line := range strings.Lines(outside.Tool(t, "dmesg")) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// may reports whether a command succeeds in a container.
func may(e *realdocker.Engine, name string, command ...string) bool {
	_, err := e.TryDocker(append([]string{"exec", name}, command...)...)
	return err == nil
}

// byAppArmor says if a container is not confined by docker-default: the
// kernel's word, that of aa-status, and what it may do.
func byAppArmor(t *testing.T, e *realdocker.Engine, name string) string {
	t.Helper()
	pid := pidOf(e, name)
	is := label(t, pid)
	switch {
	case is != "docker-default (enforce)":
		return "its label is " + is
	case !strings.Contains(outside.Tool(t, "aa-status"), "("+pid+") docker-default"):
		return "aa-status does not list its process"
	case may(e, name, "sh", "-c", "mount -t tmpfs none /tmp && umount /tmp"):
		return "it may mount, which docker-default denies"
	}
	return ""
}

// TestAppArmor: a container without AppArmor is found, cured so that the
// kernel refuses it a mount, and taken back so that it may mount again.
func TestAppArmor(t *testing.T) {
	e := guest(t, "apparmor")
	t.Run("5.2", func(t *testing.T) {
		recreated(t, e, "app", remedy{
			check: "container-apparmor", run: "--network none --cap-add SYS_ADMIN --security-opt apparmor=unconfined",
			held: byAppArmor,
		})
		if !may(e, "app", "sh", "-c", "mount -t tmpfs none /tmp && umount /tmp") {
			t.Error("it may not mount without AppArmor either: the test proves nothing")
		}
	})
	// As root, which only few machines let start. That it is taken back is seen elsewhere.
	t.Run("5.5", func(t *testing.T) {
		container(t, e, "god", "--network", "none", "--privileged")
		if byAppArmor(t, e, "god") == "" {
			t.Fatal("a privileged container is confined: the test proves nothing")
		}
		outside.PlanApplyVerify(t, e, "--check", "container-privileged", "--ref", "container/god")
		if complaint := byAppArmor(t, e, "god"); complaint != "" {
			t.Errorf("casco says that it is cured, but %s", complaint)
		}
	})
	t.Run("profile", func(t *testing.T) { ownProfile(t, e) })
	t.Run("unified", func(t *testing.T) { unified(t, e) })
}

// strict denies what no mode of a file does: root reads no shadow file.
const strict = `#include <tunables/global>
profile casco-strict flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>
  network,
  capability,
  file,
  signal,
  umount,
  audit deny /hosts/shadow rwklx,
}
`

// ownProfile: a profile that somebody made counts while it is in force, and
// not when it only complains or is gone.
func ownProfile(t *testing.T, e *realdocker.Engine) {
	profile, hosts := filepath.Join(t.TempDir(), "casco-strict"), filepath.Join(e.Root, "hosts")
	outside.Write(t, profile, strict)
	outside.Write(t, hosts+"/shadow", "secret\n")
	outside.Write(t, hosts+"/motd", "hello\n")
	outside.Tool(t, "apparmor_parser", "-r", profile)
	name := container(t, e, "strict", "--network", "none", "--security-opt", "apparmor=casco-strict", "-v", hosts+":/hosts")
	pid := pidOf(e, name)
	state := func(is, armor, declared string) {
		t.Helper()
		if got := label(t, pid); got != is {
			t.Fatalf("the kernel has %s under %q, want %q", name, got, is)
		}
		fs := outside.Findings(t, e)
		expect(t, fs, map[string]string{
			"container-apparmor of container/strict":          armor,
			"container-apparmor-declared of container/strict": declared,
			"container-selinux of container/strict":           "not-applicable",
			"kernel-lsm of kernel/kernel":                     "pass",
		})
		if got := shown(t, fs, "container-apparmor", "container/"+name, "Effective.Label"); got != is {
			t.Errorf("casco shows the label %q, and the kernel has %q", got, is)
		}
	}
	state("casco-strict (enforce)", "pass", "pass")
	if may(e, name, "cat", "/hosts/shadow") || !may(e, name, "cat", "/hosts/motd") {
		t.Error("want /hosts/shadow denied, and /hosts/motd not")
	}
	if !kernelLogged(t, `apparmor="DENIED"`, `profile="casco-strict"`, "/hosts/shadow") {
		t.Error("the kernel's log has no denial")
	}
	outside.Tool(t, "apparmor_parser", "-r", "-C", profile)
	state("casco-strict (complain)", "fail", "fail")
	outside.Tool(t, "apparmor_parser", "-R", profile)
	state("unconfined", "fail", "fail")
}

// unified: on unified control groups, the limits that casco shows are those of
// the kernel, and are set and taken back while the container runs.
func unified(t *testing.T, e *realdocker.Engine) {
	container(t, e, "bound", "--network", "none", "--memory", "64m", "--pids-limit", "32", "--cpus", "0.25")
	container(t, e, "free", "--network", "none")
	limits := []struct{ check, field, file, value, shown string }{
		{"container-memory", "Effective.MemoryMax", "memory.max", "67108864", "67108864"},
		{"container-pids", "Effective.PidsMax", "pids.max", "32", "32"},
		{"container-cpu", "Effective.CpuMax", "cpu.max", "25000 100000", "250"},
	}
	file := func(name, file string) string {
		return filepath.Join("/sys/fs/cgroup", e.NetNS, e.Docker("inspect", "-f", "{{.Id}}", name), file)
	}
	fs := outside.Findings(t, e)
	expect(t, fs, map[string]string{"kernel-cgroup of kernel/kernel": "pass"})
	args := []string{"--ref", "container/free"}
	for i, value := range []string{"67108864", "32", "250000000"} {
		set := []string{"HostConfig.Memory", "HostConfig.PidsLimit", "HostConfig.NanoCpus"}[i]
		args = append(args, "--check", limits[i].check, "--set", "container/free:"+set+"="+value)
	}
	compare := func(name string, free bool, verdict string) {
		t.Helper()
		for _, l := range limits {
			value, inCasco := l.value, l.shown
			if free {
				value, inCasco = "max", "-1"
			}
			if is := outside.Tool(t, "cat", file(name, l.file)); !strings.HasPrefix(is, value) {
				t.Errorf("%s of %s is %s, want %s", l.file, name, is, value)
			}
			expect(t, fs, map[string]string{l.check + " of container/" + name: verdict})
			if got := shown(t, fs, l.check, "container/"+name, l.field); got != inCasco {
				t.Errorf("casco shows %s of %s as %s, want %s", l.field, name, got, inCasco)
			}
		}
	}
	compare("bound", false, "pass")
	compare("free", true, "fail")
	pid := pidOf(e, "free")
	id := outside.PlanApplyVerify(t, e, args...)
	fs = outside.Findings(t, e)
	compare("free", false, "pass")
	outside.Rollback(t, e, id)
	for _, l := range limits {
		// What the engine calls none after an update: all the CPUs there are, all pages.
		if is := outside.Tool(t, "cat", file("free", l.file)); is != "max" && is != "200000 100000" {
			t.Errorf("after the rollback %s is %s", l.file, is)
		}
	}
	if now := pidOf(e, "free"); now != pid {
		t.Errorf("live limits: process %s became %s", pid, now)
	}
	if may(e, "bound", "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=100M", "count=1") {
		t.Error("100 MiB fit into 64")
	}
}

// TestNoLSM: on a kernel with neither module casco calls nobody confined.
func TestNoLSM(t *testing.T) {
	e := guest(t, "none")
	container(t, e, "trusting", "--network", "none", "--security-opt", "apparmor=nonexistent", "--security-opt", "label=type:nonexistent_t")
	if is, err := os.ReadFile("/proc/" + pidOf(e, "trusting") + "/attr/current"); err == nil {
		t.Fatalf("the kernel has it under %q", is)
	}
	expect(t, outside.Findings(t, e), map[string]string{
		"container-apparmor of container/trusting":          "not-applicable",
		"container-selinux of container/trusting":           "not-applicable",
		"container-apparmor-declared of container/trusting": "fail",
		"kernel-lsm of kernel/kernel":                       "fail",
		"daemon-selinux of daemon/" + e.Socket:              "not-applicable",
	})
}
