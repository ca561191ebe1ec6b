package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"casco/lang"
	"casco/loop/inventory"
)

// A Start is a container that a runtime was told to make, or that it has made
// and is about to start: after it nothing changes any more.
type Start struct {
	ID     string    // as the runtime is told
	At     time.Time // UTC
	Config []byte    // config.json of its bundle, as the runtime reads it
	Bundle string    // directory
	// Kept is the container as its engine keeps it: of what no config.json says,
	// its name, labels and networks, this is believed. nil: no engine here made it.
	Kept    *inventory.Object
	Volumes map[string]string // names of its volumes by the paths at which the engine keeps them
	// DataRoot is where the engine keeps its own files, "" if there is none.
	DataRoot string
	Unified  bool // the host has cgroup v2
	// Shown are places of the host that it shows already beside those that Config
	// names: what a path led to when it was mounted, and not when it was looked at.
	Shown []Shown
}

// A Shown is a place of the host in the mount table of a container.
type Shown struct {
	Target   string // where the container has it
	Path     string // of the host
	ReadOnly bool
}

// A Sight answers what a configuration refers to, as it is now.
type Sight interface {
	World
	// Paths are the paths of the host that a recursive bind mount of source shows:
	// the first is source without symbolic links.
	Paths(source string) []string
	// HostNamespace reports whether a file is a namespace of the host.
	HostNamespace(file string) bool
}

// A Look is what was seen and decided of a Start.
type Look struct {
	Decision
	Ref   inventory.Ref // of the container: by its name, or else its ID
	Tier  string
	Binds []Bind // what it binds of the host
	Kinds []Kernel
}

// A Bind is a bind mount of a configuration with all that it shows.
type Bind struct {
	Target string
	Paths  []string // see Sight.Paths
}

// A Kernel is a file system of the kernel's that a configuration mounts anew.
type Kernel struct{ Target, Type string }

// Shows reports whether a container of that configuration shows s as it should:
// s is of a bind mount, or the kernel's own.
func (l Look) Shows(s Shown, fsType string) bool {
	for _, b := range l.Binds {
		if slices.ContainsFunc(b.Paths, func(p string) bool { return within(s.Path, path.Clean(p)) }) {
			return true
		}
	}
	return slices.ContainsFunc(l.Kinds, func(k Kernel) bool {
		return within(s.Target, k.Target) && (k.Type == fsType || k.Type == "cgroup" && fsType == "cgroup2")
	})
}

// looked is where a Start stands among the endpoints.
var looked = &Endpoint{Method: "START", Path: "config.json", Class: Lifecycle}

// Look judges a container by its final configuration, with the checks and rules
// that judge a request for one. It says nothing of who asks, which nobody knows
// here, nor of the image, which no configuration names.
func (j *Judge) Look(st Start, sight Sight) Look {
	q := &question{view: view{Judge: j, world: sight}, Asked: Asked{At: st.At}, route: Route{Endpoint: looked}, start: true}
	b := &bundle{question: q, Start: st, sight: sight, kept: st.Kept}
	if b.kept == nil {
		b.kept = &inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: st.ID}, Source: st.Bundle, Read: st.At, Fields: map[string]any{}}
	}
	o := b.kept.Clone()
	_, at := q.placed(o)
	q.tier = at.Tier
	b.out.Ref, b.out.Tier = o.Ref, at.Tier
	spec, err := readConfig(st.Config)
	if err != nil {
		q.add(Refusal{
			Rule: "oci-config", Reason: lang.Text{En: "config.json can be read in two ways: %v", Es: "config.json se puede leer de dos maneras: %v"}.F(printable(err.Error())),
			Fix: lang.Text{En: "a newer casco, if the engine is newer", Es: "un casco más nuevo, si el motor lo es"},
		})
		b.out.Decision = q.decided()
		return b.out
	}
	b.spec = spec
	b.says(o)
	q.settle(o)
	q.container(o, at, map[string]any{"EndpointsConfig": asMap(o.Fields["NetworkSettings"])["Networks"]})
	b.hooks()
	b.root()
	b.out.Decision = q.decided()
	return b.out
}

// A bundle is a configuration on its way into the words of the engine.
type bundle struct {
	*question
	Start
	sight Sight
	kept  *inventory.Object
	spec  *specs.Spec
	out   Look
}

// says writes into o what the configuration says, in the fields that a request
// has, or that are read of a container which runs.
func (b *bundle) says(o *inventory.Object) {
	host := over(zeroHostConfig(), asMap(o.Fields["HostConfig"]))
	config := over(zeroConfig(), asMap(o.Fields["Config"]))
	effective := map[string]any{}
	o.Fields["HostConfig"], o.Fields["Config"], o.Fields["Effective"] = host, config, effective
	if o.Fields["NetworkSettings"] == nil {
		o.Fields["NetworkSettings"] = map[string]any{"Networks": map[string]any{}}
	}
	o.Fields["State"] = map[string]any{"Running": false}
	p, linux := b.spec.Process, b.spec.Linux
	if p == nil {
		p = &specs.Process{}
	}
	if linux == nil {
		linux = &specs.Linux{}
	}
	held := held(p)
	all, rules := deviceRules(linux)
	// What the engines make of --privileged is no flag: moby, oci/caps and
	// daemon/oci_linux.go, WithDevices; containerd, oci.WithPrivileged.
	privileged := all && slices.Contains(held, "SYS_ADMIN") && (asBool(host["Privileged"]) || b.Kept == nil && len(linux.MaskedPaths) == 0)
	host["Privileged"] = privileged
	b.mounts(o, host, linux, privileged)
	b.namespaces(host, effective, linux)
	b.process(host, config, effective, p)
	b.limits(effective, linux.Resources)
	sysctls := anyMap(linux.Sysctl)
	if name := asString(config["Domainname"]); name != "" && sysctls["kernel.domainname"] == name {
		delete(sysctls, "kernel.domainname") // it is how an engine sets that name: moby, daemon/oci_linux.go, WithCommonOptions
	}
	host["Sysctls"] = sysctls
	host["Annotations"] = b.annotations()
	b.lsm(host, p, linux, privileged)
	if privileged {
		delete(host, "MaskedPaths")
		delete(host, "ReadonlyPaths")
		return
	}
	host["MaskedPaths"], host["ReadonlyPaths"] = anyList(linux.MaskedPaths), anyList(linux.ReadonlyPaths)
	b.capabilities(host, effective, held)
	var devices []any
	for _, d := range linux.Devices {
		if !plainDevice(d.Type, &d.Major, &d.Minor) {
			devices = append(devices, map[string]any{"PathOnHost": d.Path, "PathInContainer": d.Path, "CgroupPermissions": "rwm"})
			rules = slices.DeleteFunc(rules, func(r deviceRule) bool { return r.is(d) })
		}
	}
	host["Devices"], host["DeviceCgroupRules"] = devices, []any{}
	if all {
		rules = []deviceRule{{kind: "a", major: -1, minor: -1, access: "rwm"}}
	}
	for _, r := range rules {
		host["DeviceCgroupRules"] = append(asList(host["DeviceCgroupRules"]), r.String())
	}
	b.filter(linux.Seccomp, held)
}

// held are the capabilities that a process of the container may ever hold,
// without CAP_.
func held(p *specs.Process) []string {
	c := p.Capabilities
	if c == nil {
		return nil
	}
	out := capNames(anyList(slices.Concat(c.Bounding, c.Permitted, c.Effective, c.Inheritable, c.Ambient)))
	slices.Sort(out)
	return slices.Compact(out)
}

// capabilities says them as the kernel will, and as a request would: by what was
// added to the engine's own and dropped of them.
func (b *bundle) capabilities(host, effective map[string]any, held []string) {
	effective["CapBnd"] = anyList(held)
	if b.Kept != nil {
		return
	}
	var add, drop []string
	for _, c := range held {
		if !slices.Contains(engineCaps, c) {
			add = append(add, c)
		}
	}
	for _, c := range engineCaps {
		if !slices.Contains(held, c) {
			drop = append(drop, c)
		}
	}
	if len(drop) == len(engineCaps) {
		drop = []string{"ALL"}
	}
	host["CapAdd"], host["CapDrop"] = anyList(add), anyList(drop)
}

// engineCaps are what the engines give unless they are told otherwise (moby,
// oci/caps/defaults.go; containerd, oci.defaultUnixCaps).
var engineCaps = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// process says as whom and how its program begins.
func (b *bundle) process(host, config, effective map[string]any, p *specs.Process) {
	effective["NoNewPrivs"] = p.NoNewPrivileges
	config["WorkingDir"] = p.Cwd
	uid := int64(p.User.UID)
	for _, m := range b.mappings() {
		if p.User.UID >= m.ContainerID && p.User.UID-m.ContainerID < m.Size {
			uid = int64(m.HostID) + int64(p.User.UID-m.ContainerID)
		}
	}
	effective["Uid"] = uid
	if b.Kept == nil {
		config["User"] = fmt.Sprintf("%d:%d", p.User.UID, p.User.GID)
		host["Ulimits"] = ulimits(p.Rlimits)
	}
	if p.OOMScoreAdj != nil {
		host["OomScoreAdj"] = number(int64(*p.OOMScoreAdj))
	}
	if r := b.spec.Root; r != nil {
		effective["RootReadOnly"] = r.Readonly
	}
}

func ulimits(rs []specs.POSIXRlimit) []any {
	var out []any
	for _, r := range rs {
		name := strings.ToLower(strings.TrimPrefix(r.Type, "RLIMIT_"))
		out = append(out, map[string]any{"Name": name, "Soft": number(int64(r.Soft)), "Hard": number(int64(r.Hard))})
	}
	return out
}

func (b *bundle) mappings() []specs.LinuxIDMapping {
	if b.spec.Linux == nil {
		return nil
	}
	return b.spec.Linux.UIDMappings
}

// limits says what the control group will hold it to; -1 is no limit.
func (b *bundle) limits(effective map[string]any, r *specs.LinuxResources) {
	effective["MemoryMax"], effective["PidsMax"], effective["CpuMax"] = int64(-1), int64(-1), int64(-1)
	if r == nil {
		return
	}
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit > 0 {
		effective["MemoryMax"] = *m.Limit
	}
	if p := r.Pids; p != nil && p.Limit != nil && *p.Limit > 0 {
		effective["PidsMax"] = *p.Limit
	}
	if c := r.CPU; c != nil && c.Quota != nil && *c.Quota > 0 && c.Period != nil && *c.Period > 0 {
		effective["CpuMax"] = *c.Quota * 1000 / int64(*c.Period)
	}
}

// namespaces says which of the host's it has: one that the configuration does
// not name is its runtime's, and that is the host's.
func (b *bundle) namespaces(host, effective map[string]any, linux *specs.Linux) {
	own := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range linux.Namespaces {
		own[ns.Type] = ns.Path == "" || !b.sight.HostNamespace(ns.Path)
	}
	for _, m := range []struct {
		of   specs.LinuxNamespaceType
		mode string
	}{{specs.NetworkNamespace, "NetworkMode"}, {specs.PIDNamespace, "PidMode"}, {specs.IPCNamespace, "IpcMode"}, {specs.UTSNamespace, "UTSMode"}} {
		if !own[m.of] {
			host[m.mode] = "host"
		} else if host[m.mode] == "host" {
			host[m.mode] = "" // it asked for the host's, and has another
		}
	}
	host["CgroupnsMode"] = ""
	if b.Unified && !own[specs.CgroupNamespace] {
		host["CgroupnsMode"] = "host"
	}
	if own[specs.UserNamespace] {
		host["UsernsMode"] = ""
		for _, m := range linux.UIDMappings {
			if m.ContainerID == 0 {
				effective["RootUid"] = int64(m.HostID)
			}
		}
	} else if options, _, _ := inventory.DaemonSecurityOptions.Of(b.engine()); slices.Contains(options, "name=userns") {
		host["UsernsMode"] = "host"
	}
}

func (b *bundle) engine() *inventory.Object { return inventory.EngineOf(b.world.Snapshot()) }

// lsm says the labels and the filter as the options of a request. An engine that
// has none of them for anybody took none away: that is the host's weakness.
func (b *bundle) lsm(host map[string]any, p *specs.Process, linux *specs.Linux, privileged bool) {
	kept := texts(host["SecurityOpt"])
	var opts []string
	for _, o := range kept {
		if key, _ := splitOpt(o); !slices.Contains([]string{"apparmor", "label", "seccomp", "no-new-privileges"}, key) {
			opts = append(opts, o) // nobody knows it here
		}
	}
	if p.NoNewPrivileges {
		opts = append(opts, "no-new-privileges=true")
	}
	if !privileged {
		has, _, known := inventory.DaemonSecurityOptions.Of(b.engine())
		profile, _, _ := inventory.DaemonSeccompProfile.Of(b.engine())
		if a := p.ApparmorProfile; (a == "" || a == "unconfined") && slices.Contains(has, "name=apparmor") {
			opts = append(opts, "apparmor=unconfined")
		}
		switch parts := strings.Split(p.SelinuxLabel, ":"); {
		case p.SelinuxLabel == "" && slices.Contains(has, "name=selinux"):
			opts = append(opts, "label=disable")
		case len(parts) >= 3:
			opts = append(opts, "label=type:"+parts[2])
		}
		mine := lastOpt(host, "seccomp") == "unconfined"
		theirs := known && !slices.ContainsFunc(has, func(o string) bool { return strings.HasPrefix(o, "name=seccomp") }) || profile == "unconfined"
		if linux.Seccomp == nil && (mine || !theirs) {
			opts = append(opts, "seccomp=unconfined")
		}
	}
	host["SecurityOpt"] = anyList(opts)
}

// filter judges the seccomp filter in force as a profile of a request is. What
// the engine's profile lets through for a capability that the container holds is
// that capability's matter; and what it lets everybody call on the kernel that
// runs (process_vm_writev, from 4.8 on) is in no table here.
func (b *bundle) filter(s *specs.LinuxSeccomp, held []string) {
	if s == nil {
		return
	}
	var rules []seccompRule
	for _, r := range s.Syscalls {
		var names []string
		for _, name := range r.Names {
			caps, escape := escapeCaps[name]
			if escape && !slices.ContainsFunc(caps, func(c string) bool { return slices.Contains(held, c) }) {
				names = append(names, name)
			}
		}
		rules = append(rules, seccompRule{string(r.Action), names, len(r.Args) > 0})
	}
	b.calls(string(s.DefaultAction), rules)
}

// own annotations of engines and of what stands above them, which no runtime
// takes for an order.
var ownAnnotations = []string{"io.kubernetes.", "io.containerd.", "org.opencontainers.", "io.container."}

func (b *bundle) annotations() map[string]any {
	out := map[string]any{}
	for k, v := range b.spec.Annotations {
		if !slices.ContainsFunc(ownAnnotations, func(p string) bool { return strings.HasPrefix(k, p) }) {
			out[k] = v
		}
	}
	return out
}

// hooks refuses programs of the host that the runtime would run as root, beside
// the engine's own, which gives the container its network (moby,
// libnetwork/sandbox_externalkey).
func (b *bundle) hooks() {
	h := b.spec.Hooks
	if h == nil {
		return
	}
	//lint:ignore SA1019 Prestart is what engines use
	for _, hook := range slices.Concat(h.Prestart, h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop) {
		pid, exe := strings.CutPrefix(hook.Path, "/proc/")
		pid, isExe := strings.CutSuffix(pid, "/exe")
		if exe && isExe && pid != "" && strings.Trim(pid, "0123456789") == "" && len(hook.Args) > 0 && hook.Args[0] == "libnetwork-setkey" {
			continue
		}
		b.refuse("oci-hook", lang.Text{En: "the runtime would run %q on the host, as root", Es: "el runtime ejecutaría %q en el anfitrión, como root"}.F(printable(hook.Path)),
			lang.Text{En: "leave out the hook; or admission.rules.oci-hook for its tier", Es: "quite el hook; o admission.rules.oci-hook para su nivel"})
	}
}

// root refuses a root file system that is a place of the host of nobody's.
func (b *bundle) root() {
	r := b.spec.Root
	if r == nil || !path.IsAbs(r.Path) || b.DataRoot != "" && within(path.Clean(r.Path), b.DataRoot) || b.Bundle != "" && within(path.Clean(r.Path), b.Bundle) {
		return
	}
	for _, p := range b.sight.Paths(r.Path) {
		if c := b.givesAsItIs(p, r.Readonly); c != nil {
			b.refuse(c.ID, lang.Text{
				En: "its root is %q of the host: " + c.Title.En, Es: "su raíz es %q del anfitrión: " + c.Title.Es,
			}.F(printable(p)), lang.Text{En: "make it from an image", Es: "créelo de una imagen"})
			return
		}
	}
}

func anyList(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
