// Package kernel reads the kernel that all containers share, and the host that
// it runs on.
//
// Everything is asked of /proc and /sys, that is of what runs, and not of what
// a package manager or a boot loader has installed. What a kernel does not say
// is in Unread: securityfs that is not mounted does not mean that there is no
// LSM.
package kernel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/loop/inventory"
)

// A Reader is the source of the kernel and the host objects.
type Reader struct{ root string }

// New returns a source that reads /proc, /sys, /boot and /etc under root, ""
// for the host's own.
func New(root string) *Reader { return &Reader{root} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "kernel" }

// Read implements inventory.Source.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.Add(r.kernel())
	name := s.Host
	if name == "" {
		var err error
		if name, err = r.word("/proc/sys/kernel/hostname"); err != nil {
			return err
		}
	}
	s.Add(r.host(name))
	return nil
}

// A field is one field of an object: its name, the place that it is read from,
// and how.
type field struct {
	name, from string
	read       func(from string) (any, error)
}

func object(ref inventory.Ref, source string, fields []field) *inventory.Object {
	o := &inventory.Object{
		Ref: ref, Source: source, Read: time.Now().UTC(),
		Fields: map[string]any{}, Sources: map[string]string{}, Unread: map[string]string{},
	}
	for _, f := range fields {
		v, err := f.read(f.from)
		o.Sources[f.name] = f.from
		if err != nil {
			o.Unread[f.name] = err.Error()
			continue
		}
		o.Fields[f.name] = v
	}
	return o
}

func (r *Reader) kernel() *inventory.Object {
	release, _ := r.word("/proc/sys/kernel/osrelease")
	return object(inventory.Ref{Kind: inventory.Kernel, Name: "kernel"}, "/proc and /sys", []field{
		{"Release", "/proc/sys/kernel/osrelease", text(r.word)},
		{"LSMs", "/sys/kernel/security/lsm", r.lsms},
		{"Lockdown", "/sys/kernel/security/lockdown", r.lockdown},
		{"Cmdline", "/proc/cmdline", r.cmdline},
		{"Config", r.configFile(release), r.config},
		{"Vulnerabilities", "/sys/devices/system/cpu/vulnerabilities", r.vulnerabilities},
		{"Cgroup", "/sys/fs/cgroup", r.cgroup},
		{"SELinux", "/sys/fs/selinux/enforce", r.selinux},
		{"AppArmor", "/sys/module/apparmor/parameters/enabled", r.appArmor},
	})
}

func (r *Reader) host(name string) *inventory.Object {
	return object(inventory.Ref{Kind: inventory.Host, Name: name}, "/proc and /etc", []field{
		{"OS", "/etc/os-release", r.osRelease},
		{"Uptime", "/proc/uptime", r.uptime},
		{"PortRange", "/proc/sys/net/ipv4/ip_local_port_range", text(r.word)},
		{"Nameservers", "/etc/resolv.conf", r.nameservers},
		{"Root", "effective uid of this process", func(string) (any, error) { return os.Geteuid() == 0, nil }},
	})
}

// nameservers are those that programs of the host ask.
func (r *Reader) nameservers(from string) (any, error) {
	b, err := os.ReadFile(filepath.Join(r.root, from))
	if err != nil {
		return nil, err
	}
	servers := []any{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			servers = append(servers, f[1])
		}
	}
	if len(servers) == 0 {
		servers = append(servers, "127.0.0.1")
	}
	return servers, nil
}

// word reads a file of one line.
func (r *Reader) word(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(r.root, path))
	return strings.TrimSpace(string(b)), err
}

func text(read func(string) (string, error)) func(string) (any, error) {
	return func(from string) (any, error) { return read(from) }
}

func (r *Reader) lsms(from string) (any, error) {
	line, err := r.word(from)
	if err != nil {
		return nil, securityfs(err)
	}
	return strings.Split(line, ","), nil
}

// lockdown reads "none [integrity] confidentiality": kernel_lockdown(7). A
// kernel with securityfs and without the file was built without lockdown.
func (r *Reader) lockdown(from string) (any, error) {
	line, err := r.word(from)
	if errors.Is(err, fs.ErrNotExist) {
		if _, mounted := os.Stat(filepath.Join(r.root, filepath.Dir(from), "lsm")); mounted == nil {
			return "none", nil
		}
	}
	if err != nil {
		return nil, securityfs(err)
	}
	_, rest, _ := strings.Cut(line, "[")
	level, _, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, fmt.Errorf("%s: %q names no level", from, line)
	}
	return level, nil
}

func securityfs(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: securityfs is not mounted (mount -t securityfs securityfs /sys/kernel/security)", err)
	}
	return err
}

func (r *Reader) cmdline(from string) (any, error) {
	line, err := r.word(from)
	return inventory.MaskText(line), err
}

// cgroup is 2 if the unified hierarchy is the one at /sys/fs/cgroup: cgroups(7).
func (r *Reader) cgroup(from string) (any, error) {
	dir := filepath.Join(r.root, from)
	if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
		return int64(2), nil
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(es) == 0 {
		return nil, fmt.Errorf("%s: no cgroups are mounted", from)
	}
	return int64(1), nil
}

// selinux is "" where the kernel runs without SELinux: it registers its file
// system only if it was started with it (security/selinux/selinuxfs.c).
func (r *Reader) selinux(from string) (any, error) {
	switch v, err := r.word(from); {
	case err == nil && v == "1":
		return "enforcing", nil
	case err == nil:
		return "permissive", nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	known, err := os.ReadFile(filepath.Join(r.root, "/proc/filesystems"))
	if err != nil {
		return nil, err
	}
	if slices.Contains(strings.Fields(string(known)), "selinuxfs") {
		return nil, errors.New("SELinux runs, but selinuxfs is not mounted: its mode cannot be told")
	}
	return "", nil
}

// appArmor: the module's parameter exists in every kernel that was built with
// AppArmor, and says Y only if it was started.
func (r *Reader) appArmor(from string) (any, error) {
	switch v, err := r.word(from); {
	case err == nil:
		return v == "Y", nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(r.root, "/sys/module")); err != nil {
		return nil, err // sysfs is not mounted
	}
	return false, nil
}

func (r *Reader) vulnerabilities(from string) (any, error) {
	es, err := os.ReadDir(filepath.Join(r.root, from))
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for _, e := range es {
		v, err := r.word(filepath.Join(from, e.Name()))
		if err != nil {
			return nil, err
		}
		out[e.Name()] = v
	}
	return out, nil
}

// configFile is where the running kernel's build configuration is: in the
// kernel itself, or beside its image.
func (r *Reader) configFile(release string) string {
	places := []string{"/proc/config.gz", "/boot/config-" + release, "/lib/modules/" + release + "/config"}
	for _, p := range places {
		if _, err := os.Stat(filepath.Join(r.root, p)); err == nil {
			return p
		}
	}
	return places[0]
}

// config reads CONFIG_X=y and =m. Numbers and strings are left out: no question
// of ours is about them, and a distribution's kernel has thousands.
func (r *Reader) config(from string) (any, error) {
	b, err := os.ReadFile(filepath.Join(r.root, from))
	if err != nil {
		return nil, err
	}
	var in io.Reader = bytes.NewReader(b)
	if strings.HasSuffix(from, ".gz") {
		if in, err = gzip.NewReader(in); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	}
	out := map[string]any{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") && (value == "y" || value == "m") {
			out[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: is no configuration of a kernel", from)
	}
	return out, nil
}

// osRelease reads the assignments of os-release(5), from /usr/lib where /etc
// has none.
func (r *Reader) osRelease(from string) (any, error) {
	b, err := os.ReadFile(filepath.Join(r.root, from))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = os.ReadFile(filepath.Join(r.root, "/usr/lib/os-release"))
	}
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && name != "" && name[0] != '#' {
			out[name] = unquote(value)
		}
	}
	return out, nil
}

// unquote takes the shell's quotes and backslashes off a value, as far as
// os-release(5) allows them.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		quote := s[0]
		s = s[1 : len(s)-1]
		if quote == '\'' {
			return s
		}
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// uptime is in whole seconds: proc_uptime(5).
func (r *Reader) uptime(from string) (any, error) {
	line, err := r.word(from)
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(line, " ")
	seconds, err := strconv.ParseFloat(first, 64)
	return int64(seconds), err
}
