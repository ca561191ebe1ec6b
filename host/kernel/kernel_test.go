package kernel

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// read makes files under a new root and reads the two objects from there.
func read(t *testing.T, files map[string]string) (kernel, host *inventory.Object) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := inventory.Take(t.Context(), "h1", time.Now(), New(dir))
	if len(s.Gaps) > 0 {
		t.Fatal(s.Gaps)
	}
	return s.Find(inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}), s.Find(inventory.Ref{Kind: inventory.Host, Name: "h1"})
}

func TestDebian(t *testing.T) {
	var config bytes.Buffer
	z := gzip.NewWriter(&config)
	z.Write([]byte("# comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_N=100\nCONFIG_S=\"y\"\n"))
	z.Close()
	kernel, host := read(t, map[string]string{
		"proc/sys/kernel/osrelease":                  "6.1.0-18-amd64\n",
		"sys/kernel/security/lsm":                    "lockdown,capability,landlock,yama,apparmor",
		"sys/kernel/security/lockdown":               "none [integrity] confidentiality\n",
		"proc/cmdline":                               "ro quiet mitigations=off\n",
		"proc/config.gz":                             config.String(),
		"sys/devices/system/cpu/vulnerabilities/mds": "Not affected\n",
		"sys/fs/cgroup/cgroup.controllers":           "cpu io\n",
		"proc/filesystems":                           "nodev\tsysfs\n\text4\n",
		"sys/module/apparmor/parameters/enabled":     "Y\n",
		"etc/os-release":                             "# x\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian 12'\nNAME=\"a \\\"b\\\"\"\n",
		"proc/uptime":                                "4383.99 7288.80\n",
		"proc/sys/net/ipv4/ip_local_port_range":      "32768\t60999\n",
		"etc/resolv.conf":                            "# a stub\nsearch example\nnameserver 192.0.2.53\nnameserver fe80::1%eth0 # ours\n",
	})
	want := map[string]any{
		"Release": "6.1.0-18-amd64", "LSMs": []string{"lockdown", "capability", "landlock", "yama", "apparmor"}, "Lockdown": "integrity",
		"Cmdline": "ro quiet mitigations=off", "Config": map[string]any{"CONFIG_A": "y", "CONFIG_C": "m"},
		"Vulnerabilities": map[string]any{"mds": "Not affected"}, "Cgroup": int64(2), "SELinux": "", "AppArmor": true,
	}
	if d := cmp.Diff(want, kernel.Fields); d != "" {
		t.Errorf("%s\n%v", d, kernel.Unread)
	}
	want = map[string]any{
		"OS":     map[string]any{"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian 12", "NAME": `a "b"`},
		"Uptime": int64(4383), "PortRange": "32768\t60999", "Root": os.Geteuid() == 0, "Nameservers": []any{"192.0.2.53", "fe80::1%eth0"},
	}
	if d := cmp.Diff(want, host.Fields); d != "" {
		t.Errorf("%s\n%v", d, host.Unread)
	}
}

func TestRedHat(t *testing.T) {
	kernel, host := read(t, map[string]string{
		"proc/sys/kernel/osrelease":       "5.14.0-1.el9.x86_64\n",
		"boot/config-5.14.0-1.el9.x86_64": "CONFIG_A=y\n",
		"sys/kernel/security/lsm":         "capability,selinux",
		"sys/fs/selinux/enforce":          "0",
		"sys/fs/cgroup/memory/tasks":      "",
		"sys/module/x/y":                  "",
		"usr/lib/os-release":              "ID=rhel\n",
		"etc/resolv.conf":                 "search example\n",
	})
	for name, want := range map[string]any{"SELinux": "permissive", "AppArmor": false, "Cgroup": int64(1), "Lockdown": "none", "Config": map[string]any{"CONFIG_A": "y"}} {
		if d := cmp.Diff(want, kernel.Fields[name]); d != "" {
			t.Errorf("%s: %s%s", name, d, kernel.Unread[name])
		}
	}
	if d := cmp.Diff(map[string]any{"ID": "rhel"}, host.Fields["OS"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]any{"127.0.0.1"}, host.Fields["Nameservers"]); d != "" {
		t.Errorf("a host without a server asks itself: %s", d)
	}
	if src := kernel.Sources["Config"]; src != "/boot/config-5.14.0-1.el9.x86_64" {
		t.Errorf("the configuration is from %s", src)
	}
}

// TestNothingSaid wants what cannot be told to be told by no value at all.
func TestNothingSaid(t *testing.T) {
	kernel, host := read(t, map[string]string{
		"proc/filesystems": "nodev\tselinuxfs\n", "proc/config.gz": "no gzip", "sys/fs/cgroup/x": "", "proc/uptime": "soon\n",
	})
	for field, why := range map[string]string{
		"Release": "no such file", "LSMs": "securityfs is not mounted", "Lockdown": "securityfs is not mounted", "Config": "unexpected EOF",
		"Vulnerabilities": "no such file", "SELinux": "selinuxfs is not mounted", "AppArmor": "no such file",
	} {
		if v, has := kernel.Fields[field]; has || !strings.Contains(kernel.Unread[field], why) {
			t.Errorf("%s: %v, %q", field, v, kernel.Unread[field])
		}
	}
	for _, field := range []string{"OS", "Uptime", "PortRange", "Nameservers"} {
		if v, has := host.Fields[field]; has || host.Unread[field] == "" {
			t.Errorf("%s: %v, %q", field, v, host.Unread[field])
		}
	}
}

func TestCmdlineHidesPasswords(t *testing.T) {
	kernel, _ := read(t, map[string]string{"proc/cmdline": "ro iscsi_password=hunter2hunter2 quiet"})
	if line := kernel.Fields["Cmdline"].(string); strings.Contains(line, "hunter2") || !strings.Contains(line, "quiet") {
		t.Errorf("got %s", line)
	}
}

// TestThisHost compares with uname(1).
func TestThisHost(t *testing.T) {
	s := inventory.Take(t.Context(), "", time.Now(), New(""))
	out, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Skipf("needs uname: %v", err)
	}
	release, fact, _ := inventory.KernelRelease.Of(s.Of(inventory.Kernel)[0])
	if release != strings.TrimSpace(string(out)) {
		t.Errorf("%v, uname says %s", fact, out)
	}
	host := s.Of(inventory.Host)[0]
	if name, _ := os.Hostname(); host.Ref.Name != name {
		t.Errorf("the host is %s, not %s", host.Ref.Name, name)
	}
	if up, fact, ok := inventory.HostUptime.Of(host); !ok || up <= 0 {
		t.Error(fact)
	}
}
