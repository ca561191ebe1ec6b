package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// pathChecks judge a path of the host that something other than a container's
// bind reaches.
type pathChecks struct{ sensitive, socket, device *audit.Check }

// gives returns the check by which a path of the host may not be given away, of
// those that judge a container which binds it; nil if it may.
func (q *question) gives(hostPath string, ro bool) *audit.Check {
	return q.givesAsItIs(q.resolved(hostPath), ro)
}

// givesAsItIs is gives of a path whose links are not followed.
func (q *question) givesAsItIs(hostPath string, ro bool) *audit.Check {
	bind := path.Clean(hostPath) + ":/mnt"
	if ro {
		bind += ":ro"
	}
	host := zeroHostConfig()
	host["Binds"] = []any{bind}
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: unnamed}, Read: q.At, Fields: map[string]any{"HostConfig": host}}
	s := q.scene(nil)
	for _, c := range []*audit.Check{q.path.sensitive, q.path.socket, q.path.device} {
		if a := c.Eval(s, o); a.Verdict == audit.Fail {
			return c
		}
	}
	return nil
}

// swapped judges a container that is started by where its binds lead now: a link
// may have been changed since it was made. One that was given such a path by its
// name stands as it is. What is changed between now and the mount is for who
// sees the mount.
func (q *question) swapped(o *inventory.Object) {
	look := func(source string, ro bool) {
		now := q.resolved(source)
		if now == path.Clean(source) || q.givesAsItIs(source, ro) != nil {
			return
		}
		if c := q.givesAsItIs(now, ro); c != nil {
			q.refuse(c.ID, lang.Text{
				En: fmt.Sprintf("%q leads to %q now: %s", source, now, c.Title.En), Es: fmt.Sprintf("%q lleva ahora a %q: %s", source, now, c.Title.Es),
			}, fixes[c.ID])
		}
	}
	for _, v := range asList(o.Fields["Mounts"]) {
		m := asMap(v)
		switch m["Type"] {
		case "bind":
			look(asString(m["Source"]), m["RW"] == false)
		case "volume":
			options, _, _ := inventory.VolumeOptions.Of(q.world.Volume(asString(m["Name"])))
			if device := asString(options["device"]); strings.HasPrefix(device, "/") && hasFlag(options, "bind", "rbind") {
				look(device, hasFlag(options, "ro"))
			}
		}
	}
}

// hasFlag reports whether the option o of a local volume has one of the flags.
func hasFlag(options map[string]any, flags ...string) bool {
	return slices.ContainsFunc(strings.Split(asString(options["o"]), ","), func(o string) bool { return slices.Contains(flags, strings.TrimSpace(o)) })
}

// mounts judges what no check of mounts does: what they cover inside, of which
// kind they are, and of what their volumes are made.
func (q *question) mounts(host, config map[string]any) {
	for _, b := range texts(host["Binds"]) {
		part := strings.SplitN(b, ":", 3)
		q.target(part[min(1, len(part)-1)])
	}
	for _, t := range sortedKeys(asMap(host["Tmpfs"])) {
		q.target(t)
	}
	for _, t := range sortedKeys(asMap(config["Volumes"])) {
		q.target(t)
	}
	for _, v := range asList(host["Mounts"]) {
		m := asMap(v)
		q.target(asString(m["Target"]))
		switch typ := asString(m["Type"]); typ {
		case "bind", "tmpfs":
		case "volume":
			driver := asMap(asMap(m["VolumeOptions"])["DriverConfig"])
			q.volume(asString(driver["Name"]), asMap(driver["Options"]), asString(m["Source"]))
		case "image":
			q.reference(asString(m["Source"]))
		default:
			q.refuse("mount-type", lang.Text{En: "a mount of type %q is not judged here", Es: "aquí no se juzga un montaje de tipo %q"}.F(typ), lang.Text{En: "--mount type=volume", Es: "--mount type=volume"})
		}
	}
	for _, name := range volumesOf(host) {
		if v := q.world.Volume(name); v != nil {
			driver, _, _ := inventory.VolumeDriver.Of(v)
			options, _, _ := inventory.VolumeOptions.Of(v)
			q.volume(driver, options, name)
		}
	}
}

// target refuses what would lie over the views of the kernel, whose masks and
// read-only mounts it would replace (CVE-2019-16884, CVE-2025-31133).
func (q *question) target(t string) {
	if t = path.Clean("/" + t); within(t, "/proc") || within(t, "/sys") && !within(t, "/sys/fs/cgroup") || t == "/dev" || t == "/" {
		q.refuse("mount-target", lang.Text{En: "a mount on %q covers the container's own view", Es: "un montaje en %q cubre la vista propia del contenedor"}.F(t),
			lang.Text{En: "mount it elsewhere inside", Es: "móntelo en otro sitio dentro"})
	}
}

// Kinds of file systems that a local volume may be made of: those that come
// over the network, and memory. All others show what the kernel or a disk of
// the host holds (proc, sysfs, devtmpfs, overlay with lowerdir=/, ext4 …).
var volumeTypes = []string{"nfs", "nfs4", "cifs", "smb3", "tmpfs"}

// volume judges the options that a volume is made with, by the driver: local
// gives them to mount(2) as they are (moby, volume/local/local_unix.go).
func (q *question) volume(driver string, options map[string]any, name string) {
	if driver != "" && driver != "local" {
		for _, k := range sortedKeys(options) {
			if v := asString(options[k]); strings.HasPrefix(v, "/") {
				q.volumePath(name, v, false)
			}
		}
		return
	}
	device, typ := asString(options["device"]), asString(options["type"])
	switch {
	case device == "" && typ == "" && asString(options["o"]) == "":
	case hasFlag(options, "bind", "rbind", "remount", "move"):
		q.volumePath(name, path.Clean("/"+device), hasFlag(options, "ro")) // relative to the root, where the engine runs
	case !slices.Contains(volumeTypes, typ):
		q.refuse("volume-options", lang.Text{En: "a volume of type %q on %q shows what the host holds", Es: "un volumen de tipo %q sobre %q muestra lo que tiene el anfitrión"}.F(typ, device), fixes["volume-host-path"])
	case hasFlag(options, "shared", "rshared"):
		q.refuse("volume-options", lang.Text{En: "mounts below the volume %q would appear on the host", Es: "los montajes bajo el volumen %q aparecerían en el anfitrión"}.F(name), fixes["volume-host-path"])
	}
}

func (q *question) volumePath(name, p string, ro bool) {
	if c := q.gives(p, ro); c != nil {
		q.refuse("volume-host-path", lang.Text{
			En: fmt.Sprintf("the volume %q is %q of the host: %s", name, p, c.Title.En), Es: fmt.Sprintf("el volumen %q es %q del anfitrión: %s", name, p, c.Title.Es),
		}, fixes["volume-host-path"])
	}
}

// volumes judges a request to make or change one.
func (q *question) volumes() {
	if q.route.Endpoint.Method != "POST" {
		return // of a cluster's volume only its availability
	}
	q.volume(asString(q.body["Driver"]), asMap(q.body["DriverOpts"]), asString(q.body["Name"]))
}
