package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/opencontainers/runtime-spec/specs-go"

	"casco/lang"
	"casco/loop/inventory"
)

// readConfig reads a config.json of a bundle so that every runtime reads it
// alike: each key once and spelt as the specification does, in UTF-8, and none
// that is not known. runc takes keys in any case and the last of two; crun does
// not.
func readConfig(text []byte) (*specs.Spec, error) {
	var s specs.Spec
	if err := json.Unmarshal(text, &s, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return &s, nil
}

// mounts says the mounts of a configuration as those of a request. Those of the
// engine's own making are left out: with them a container is no more than one
// that asks for nothing.
func (b *bundle) mounts(o *inventory.Object, host map[string]any, linux *specs.Linux, privileged bool) {
	var mounts []any
	tmpfs := map[string]any{}
	add := func(source, target string, ro bool, propagation string) {
		mounts = append(mounts, map[string]any{
			"Type": "bind", "Source": source, "Target": target, "ReadOnly": ro, "BindOptions": map[string]any{"Propagation": propagation},
		})
	}
	shared := false
	for _, m := range b.spec.Mounts {
		target := path.Clean("/" + m.Destination)
		ro, propagation, bind := mountOptions(m)
		shared = shared || propagation == "shared" || propagation == "rshared"
		if !bind {
			if m.Type != "tmpfs" { // which is new, and no place of the host's
				b.out.Kinds = append(b.out.Kinds, Kernel{target, m.Type})
			}
			switch {
			case m.Type == "tmpfs" && target != "/dev" && target != "/dev/shm":
				tmpfs[target] = ""
			case m.Type == "tmpfs", m.Type == "proc" && target == "/proc", m.Type == "mqueue" && target == "/dev/mqueue", m.Type == "devpts" && target == "/dev/pts":
			case m.Type == "sysfs" && target == "/sys", strings.HasPrefix(m.Type, "cgroup") && within(target, "/sys/fs/cgroup"):
				if !ro && !privileged {
					b.refuse("container-system-paths", lang.Text{En: "%s of the kernel is writable", Es: "%s del núcleo es escribible"}.F(target), fixes["container-system-paths"])
				}
			default:
				mounts = append(mounts, map[string]any{"Type": m.Type, "Source": m.Source, "Target": target})
			}
			continue
		}
		source := path.Clean(m.Source)
		if !path.IsAbs(source) {
			source = path.Join(b.Bundle, source)
		}
		paths := b.sight.Paths(source)
		b.out.Binds = append(b.out.Binds, Bind{target, paths})
		rest := paths
		switch name, volume := b.volumeAt(source); {
		case b.engines(source, target) || b.step(paths) || source == "/sys" && target == "/sys" && ro: // with a user namespace in the host's network
			continue
		case volume:
			mounts = append(mounts, map[string]any{"Type": "volume", "Source": name, "Target": target, "ReadOnly": ro})
			rest = slices.DeleteFunc(slices.Clone(paths), func(p string) bool { _, is := b.volumeAt(p); return is })
		default:
			add(source, target, ro, propagation)
			rest = paths[min(1, len(paths)):]
		}
		for _, p := range rest {
			add(p, target, ro, "")
		}
	}
	for _, s := range b.Shown {
		add(s.Path, s.Target, s.ReadOnly, "")
	}
	if p := linux.RootfsPropagation; !shared && (p == "shared" || p == "rshared") {
		b.refuse("container-mount-propagation", lang.Text{En: "its root is a shared mount", Es: "su raíz es un montaje compartido"}, fixes["container-mount-propagation"])
	}
	// Binds and VolumesFrom are among them; there is nothing more to be told.
	host["Binds"], host["Mounts"], host["Tmpfs"] = []any{}, mounts, tmpfs
	o.Fields["Mounts"] = []any{}
}

// mountOptions reads the options that count; of contrary ones the last does.
func mountOptions(m specs.Mount) (ro bool, propagation string, bind bool) {
	bind = m.Type == "bind"
	for _, o := range m.Options {
		switch o {
		case "ro", "rro":
			ro = true
		case "rw", "rrw":
			ro = false
		case "bind", "rbind":
			bind = true
		case "shared", "rshared", "slave", "rslave", "private", "rprivate":
			propagation = o
		}
	}
	return ro, propagation, bind
}

// engines reports whether a mount is of a file that the engine makes for its
// containers: moby, daemon/container_operations_unix.go and container/mounts. One
// that joins another's network or IPC has the other's.
func (b *bundle) engines(source, target string) bool {
	if b.DataRoot == "" {
		return false
	}
	rest, ok := strings.CutPrefix(source, path.Join(b.DataRoot, "containers")+"/")
	id, file, _ := strings.Cut(rest, "/")
	if !ok || b.Kept == nil {
		return false
	}
	switch file {
	case "hosts", "hostname", "resolv.conf":
		return target == "/etc/"+file
	case "mounts/shm":
		return target == "/dev/shm"
	}
	return id == b.ID && within(file, "mounts")
}

// step reports whether the paths are what a step of a build may mount: BuildKit
// makes its bundles below the engine's data root, and mounts what it made itself,
// in places of its own, for secrets and in the store of images.
func (b *bundle) step(paths []string) bool {
	own := func(p string, dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return within(p, path.Join(b.DataRoot, dir)) })
	}
	return b.DataRoot != "" && own(b.Bundle, "buildkit") &&
		!slices.ContainsFunc(paths, func(p string) bool { return !own(p, "buildkit", "tmp", "overlay2") })
}

// volumeAt is the name of the volume that a path is in.
func (b *bundle) volumeAt(p string) (name string, ok bool) {
	for at, name := range b.Volumes {
		if within(p, at) {
			return name, true
		}
	}
	if rest, below := strings.CutPrefix(p, path.Join(b.DataRoot, "volumes")+"/"); below && b.DataRoot != "" {
		name, data, _ := strings.Cut(rest, "/")
		return name, within(data, "_data")
	}
	return "", false
}

// A deviceRule is what the device control group lets a container use.
type deviceRule struct {
	kind         string // a, b, c
	major, minor int64  // -1 all
	access       string // of r, w, m
}

func (r deviceRule) String() string {
	n := func(i int64) string {
		if i < 0 {
			return "*"
		}
		return fmt.Sprint(i)
	}
	return r.kind + " " + n(r.major) + ":" + n(r.minor) + " " + r.access
}

func (r deviceRule) is(d specs.LinuxDevice) bool {
	return r.kind == d.Type && r.major == d.Major && r.minor == d.Minor
}

// deviceRules are those that let a container use more than every one may; all:
// it may use every device. A later rule stands over an earlier one.
func deviceRules(linux *specs.Linux) (all bool, rules []deviceRule) {
	if linux.Resources == nil {
		return false, nil
	}
	for _, r := range linux.Resources.Devices {
		kind := r.Type
		if kind == "" {
			kind = "a"
		}
		is := deviceRule{kind, numberOf(r.Major), numberOf(r.Minor), r.Access}
		switch {
		case kind == "a":
			all, rules = r.Allow && r.Access != "m", nil
		case !r.Allow:
			rules = slices.DeleteFunc(rules, func(o deviceRule) bool {
				return o.kind == is.kind && o.major == is.major && o.minor == is.minor && o.access == is.access
			})
		case r.Access == "m", plainDevice(kind, r.Major, r.Minor):
		default:
			rules = append(rules, is)
		}
	}
	return all, rules
}

func numberOf(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// plainDevice tells the devices that every container has: null, zero, full,
// random, urandom, tty, console, ptmx, and its own terminals (moby,
// oci/defaults.go; runc, specconv.AllowedDevices).
func plainDevice(kind string, major, minor *int64) bool {
	if kind != "c" && kind != "u" {
		return false
	}
	ma, mi := numberOf(major), numberOf(minor)
	return ma == 1 && slices.Contains([]int64{3, 5, 7, 8, 9}, mi) || ma == 5 && mi >= 0 && mi <= 2 || ma == 136
}
