package admission

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"casco/guard/network"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/policy"
)

// create judges a request for a container.
func (q *question) create() {
	name := strings.TrimPrefix(q.route.Query.Get("name"), "/")
	o := q.created(name, q.body)
	_, at := q.placed(o)
	q.tier = at.Tier
	q.mutate(o)
	q.container(o, at, asMap(q.body["NetworkingConfig"]))
	q.given(o)
	q.reference(asString(q.body["Image"]))
}

// container judges one that is asked for: by the checks, and by the rules that
// no check has.
func (q *question) container(o *inventory.Object, at network.Place, networking map[string]any) {
	s := q.scene(q.refersTo(o))
	q.answers(s, o)
	host, config := asMap(o.Fields["HostConfig"]), asMap(o.Fields["Config"])
	q.joined(host, at)
	q.mounts(host, config)
	q.securityOpts(texts(host["SecurityOpt"]))
	q.sysctls(asMap(host["Sysctls"]))
	q.runtime(s, asString(host["Runtime"]))
	q.labels(asMap(config["Labels"]))
	q.logs(s, asString(asMap(host["LogConfig"])["Type"]))
	q.workingDir(asString(config["WorkingDir"]), "--workdir")
	for k := range asMap(host["Annotations"]) {
		q.refuse("annotation", lang.Text{En: "the annotation %q goes to the runtime, which may take it for an order", Es: "la anotación %q va al runtime, que puede tomarla por una orden"}.F(k),
			lang.Text{En: "leave out --annotation %s", Es: "quite --annotation %s"}.F(k))
	}
	if asBool(host["OomKillDisable"]) || asInt(host["OomScoreAdj"]) < 0 {
		q.refuse("oom", lang.Text{En: "when memory runs out the kernel would kill others first", Es: "cuando falte memoria el núcleo mataría antes a otros"},
			lang.Text{En: "leave out --oom-kill-disable and a negative --oom-score-adj", Es: "quite --oom-kill-disable y un --oom-score-adj negativo"})
	}
	endpoints := asMap(networking["EndpointsConfig"])
	for _, name := range sortedKeys(endpoints) {
		q.endpoint(asMap(endpoints[name]))
	}
}

// answers puts the checks. What they find of a privileged container beside that
// is judged as if it were not: the one flag would fail ten of them.
func (q *question) answers(s *inventory.Snapshot, o *inventory.Object) {
	o, _ = q.placed(o)
	plain := o
	if asBool(asMap(o.Fields["HostConfig"])["Privileged"]) {
		plain = o.Clone()
		asMap(plain.Fields["HostConfig"])["Privileged"] = false
	}
	var found []audit.Finding
	for _, c := range q.checks {
		of := plain
		if c.ID == "container-privileged" {
			of = o
		}
		if !q.asked(c) || c.About != nil && !c.About(s, of) {
			continue
		}
		found = append(found, audit.Finding{Check: c, Ref: o.Ref, Answer: decidedBy(c, of, c.Eval(s, of))})
	}
	q.excepted(s, found)
}

// decidedBy turns what a check says of a container into what it says of a
// request. What could not be told is no reason to refuse, unless what was asked
// for settles it: an option that takes a defence away does, whether or not this
// host has the defence. What is wrong with the host and not with the request
// is none either.
func decidedBy(c *audit.Check, o *inventory.Object, a audit.Answer) audit.Answer {
	host := asMap(o.Fields["HostConfig"])
	weak, known := false, true
	switch c.ID {
	case "container-apparmor":
		weak = lastOpt(host, "apparmor") == "unconfined"
	case "container-selinux":
		weak = unlabelled(host)
	case "container-seccomp":
		weak = lastOpt(host, "seccomp") == "unconfined"
	case "container-host-cgroup":
		weak = host["CgroupnsMode"] == "host" && a.Verdict != audit.NotApplicable
	case "container-system-paths":
		weak = a.Verdict == audit.Fail || bares(host)
	default:
		known = false
	}
	switch {
	case !known:
		return a
	case weak:
		a.Verdict = audit.Fail
	case a.Verdict == audit.Fail:
		a.Verdict = audit.Pass
	}
	return a
}

// optsOf are the values of a security option, read as dockerd reads them: with
// = or, from before 1.11, with a colon.
func optsOf(host map[string]any, key string) []string {
	var out []string
	for _, opt := range texts(host["SecurityOpt"]) {
		if k, v := splitOpt(opt); k == key {
			out = append(out, v)
		}
	}
	return out
}

// splitOpt follows moby, daemon/daemon_unix.go, parseSecurityOpt: a = anywhere
// makes it KEY=VALUE, and only without one the colon counts. What older ones
// and other readers take for "label:type=x" is read so too.
func splitOpt(opt string) (key, value string) {
	k, v, ok := strings.Cut(opt, "=")
	if !ok {
		k, v, _ = strings.Cut(opt, ":")
	} else if head, tail, colon := strings.Cut(k, ":"); colon {
		k, v = head, tail+"="+v
	}
	return k, v
}

func lastOpt(host map[string]any, key string) string {
	vs := optsOf(host, key)
	if len(vs) == 0 {
		return ""
	}
	return vs[len(vs)-1]
}

func unlabelled(host map[string]any) bool {
	return slices.ContainsFunc(optsOf(host, "label"), func(v string) bool {
		t, _ := strings.CutPrefix(strings.Replace(v, "type=", "type:", 1), "type:")
		return v == "disable" || t == "spc_t" || strings.HasPrefix(t, "unconfined") || t == "container_runtime_t"
	})
}

// masked and readOnly must be among the paths of a request that names its own:
// those through which the kernel is read and set (moby, oci/defaults.go).
var (
	masked   = []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"}
	readOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// bares reports whether a request leaves one of them open. To name none is to
// take the engine's.
func bares(host map[string]any) bool {
	for key, want := range map[string][]string{"MaskedPaths": masked, "ReadonlyPaths": readOnly} {
		list, named := host[key].([]any)
		if !named {
			continue
		}
		for _, p := range want {
			if !slices.Contains(texts(list), p) && !slices.Contains(texts(host["MaskedPaths"]), p) {
				return true
			}
		}
	}
	return false
}

// excepted refuses what failed, unless an exception lets this very container
// fail it.
func (q *question) excepted(s *inventory.Snapshot, found []audit.Finding) {
	exceptions := q.exceptions(s, found)
	for _, f := range found {
		if f.Verdict != audit.Fail {
			continue
		}
		if !q.refuses(f.Check.ID) {
			continue
		}
		q.against(f.Check.ID)
		if id, ok := covers(exceptions, f); ok {
			q.out.Excepted = append(q.out.Excepted, id)
			continue
		}
		q.failed(f)
	}
}

func (q *question) exceptions(s *inventory.Snapshot, found []audit.Finding) risk.Exceptions {
	if len(q.policy.Granted) == 0 {
		return risk.Exceptions{}
	}
	return risk.Judge(q.policy, s, found, q.verify, q.At)
}

// refuses reports whether a failure of that check would be said.
func (q *question) refuses(check string) bool {
	said, _ := q.portRule(check)
	mode, _ := q.mode(check, q.tier)
	return mode != policy.Ignore || said != ""
}

// asked reports whether a check must be put: it may refuse, or an exception may
// rest on it.
func (q *question) asked(c *audit.Check) bool {
	return q.refuses(c.ID) || slices.ContainsFunc(q.policy.Granted, func(e policy.Exception) bool {
		return slices.ContainsFunc(e.Compensating, func(also policy.Compensating) bool { return also.Check == c.ID })
	})
}

// covers returns the exception that lets f stand. One that was granted on facts
// of the container as it runs has others here, where nothing runs yet: it
// counts if it names the parts that it is for.
func covers(x risk.Exceptions, f audit.Finding) (id string, ok bool) {
	if id, ok := x.Of(f); ok {
		return id, true
	}
	var ids []string
	for _, part := range f.Loci {
		i := slices.IndexFunc(x.Judged, func(j risk.Judged) bool {
			other := j.Force == risk.Void && slices.Equal(j.Reasons, []risk.Reason{risk.FactsChanged})
			return (other || j.Force == risk.InForce) && j.Check == f.Check.ID && j.Asset == f.Ref.String() && j.Locus != "" && slices.Contains(j.Covers, part)
		})
		if i < 0 {
			return "", false
		}
		ids = append(ids, x.Judged[i].ID)
	}
	if len(ids) == 0 {
		return "", false
	}
	return ids[0], true
}

// failed refuses for a check. What the policy says of a kind of port is how
// this is taken.
func (q *question) failed(f audit.Finding) {
	r := Refusal{Rule: f.Check.ID, Reason: f.Check.Title, Fix: f.Check.Remedy, Status: 403}
	if fix, has := fixes[f.Check.ID]; has {
		r.Fix = fix
	}
	if !f.Reason.Empty() {
		r.Reason = lang.Text{En: f.Check.Title.En + ": " + f.Reason.En, Es: f.Check.Title.Es + ": " + f.Reason.Es}
	} else if said := values(f.Evidence); said != "" {
		r.Reason = lang.Text{En: f.Check.Title.En + ": " + said, Es: f.Check.Title.Es + ": " + said}
	}
	if mode, at := q.portRule(f.Check.ID); mode != "" {
		r.Path, r.Observed = at, mode == policy.Warn || q.policy.Admission.Mode != policy.Enforce
		q.keep(r)
		return
	}
	q.add(r)
}

// portRule is what the policy says of a kind of published port, under ports;
// "" if it says nothing, or says it under admission.rules.
func (q *question) portRule(check string) (mode policy.Mode, path string) {
	if _, by := q.mode(check, q.tier); strings.HasPrefix(by, "admission.rules.") {
		return "", ""
	}
	switch check {
	case "container-privileged-port":
		return q.policy.Ports.PrivilegedPublish, "ports.privileged_publish"
	case "container-random-port":
		return q.policy.Ports.RandomPublish, "ports.random_publish"
	case "container-published-everywhere":
		return q.policy.Ports.PublishOnAllInterfaces, "ports.publish_on_all_interfaces"
	}
	return "", ""
}

// values shows the facts of a finding that came from the request.
func values(facts []inventory.Fact) string {
	var out []string
	for _, f := range facts {
		switch v := f.Value.(type) {
		case bool, string:
			if v != "" && v != false && f.Ref.Kind == inventory.Container {
				out = append(out, fmt.Sprintf("%s=%s", f.Field[strings.LastIndexByte(f.Field, '.')+1:], printable(fmt.Sprint(v))))
			}
		}
	}
	return strings.Join(out, ", ")
}

// joined judges whose namespaces and files a container would share.
func (q *question) joined(host map[string]any, at network.Place) {
	for _, j := range joins(host) {
		other := q.world.Container(j.name)
		if other == nil {
			r := unknown(j.name)
			r.Status = 403 // docker run takes 404 to mean the image, and pulls it
			q.add(*r)
			continue
		}
		_, its := q.placed(other)
		switch {
		case its.Tier != at.Tier:
			q.refuse("container-join", lang.Text{
				En: "%q: it is of tier %q, and this container would be of %q", Es: "%q: es del nivel %q, y este contenedor sería de %q",
			}.F(j.flag, its.Tier, at.Tier), lang.Text{En: "leave out %s", Es: "quite %s"}.F(j.flag))
		case j.within && its.App != at.App:
			q.refuse("container-join", lang.Text{
				En: "%q: it is of another application (%s)", Es: "%q: es de otra aplicación (%s)",
			}.F(j.flag, its.App), lang.Text{En: "leave out %s, or give both --label " + network.AppLabel + "=NAME", Es: "quite %s, o dé a los dos --label " + network.AppLabel + "=NOMBRE"}.F(j.flag))
		}
	}
}

// unknown refuses what is about a container that is not there, in the words in
// which the engine would, for programs look for them.
func unknown(container string) *Refusal {
	return refused("object-unknown", 404, lang.Text{En: "No such container: %s, or it could not be read", Es: "No existe el contenedor %s, o no se pudo leer"}.F(printable(container)),
		lang.Text{En: "name it as docker inspect shows it", Es: "nómbrelo como lo muestra docker inspect"})
}

// securityOpts refuses options that take a defence away, and those that nobody
// knows: the checks read the ones they know.
func (q *question) securityOpts(opts []string) {
	for _, opt := range opts {
		key, v := splitOpt(opt)
		leave := lang.Text{En: "leave out --security-opt %s", Es: "quite --security-opt %s"}.F(printable(opt))
		switch key {
		case "apparmor", "label":
		case "seccomp":
			if v != "unconfined" && v != "builtin" && v != "" {
				q.seccomp(v)
			}
		case "no-new-privileges":
			if v != "" && v != "true" && v != "1" && v != "t" && v != "T" && v != "TRUE" && v != "True" {
				q.refuse("security-opt", lang.Text{En: "%q lets set-uid programs gain privileges", Es: "%q deja que programas set-uid ganen privilegios"}.F(opt), fixes["container-no-new-privileges"])
			}
		default:
			q.refuse("security-opt", lang.Text{En: "%q takes a defence away, or nobody knows it here", Es: "%q quita una defensa, o aquí nadie la conoce"}.F(opt), leave)
		}
	}
}

// sysctls that a container may set for itself: of its own network or IPC, and
// of no consequence to what others send through it (Documentation/networking/
// ip-sysctl.rst, runc libcontainer/configs/validate).
var harmlessSysctls = []string{
	"net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.ping_group_range",
	"net.ipv4.tcp_*", "net.ipv4.udp_*", "net.ipv4.igmp_*", "net.ipv6.conf.*.disable_ipv6", "net.unix.max_dgram_qlen", "net.netfilter.nf_conntrack_*",
	"kernel.shm*", "kernel.msg*", "kernel.sem", "fs.mqueue.*",
}

func (q *question) sysctls(asked map[string]any) {
	for _, name := range sortedKeys(asked) {
		dotted := strings.ReplaceAll(name, "/", ".") // sysctl(8) takes both
		if !slices.ContainsFunc(harmlessSysctls, func(p string) bool { ok, _ := path.Match(p, dotted); return ok }) || strings.Contains(dotted, "..") {
			q.refuse("sysctl", lang.Text{En: "%q is none of the sysctls that harm nobody", Es: "%q no es de los sysctl que no dañan a nadie"}.F(name),
				lang.Text{En: "leave out --sysctl %s", Es: "quite --sysctl %s"}.F(printable(name)))
		}
	}
}

// runtime wants the engine's default, or one that the policy names: another may
// leave out what the default holds back.
func (q *question) runtime(s *inventory.Snapshot, name string) {
	def, _, known := inventory.Field[string]{Kind: inventory.Daemon, Path: "Info.DefaultRuntime"}.Of(inventory.EngineOf(s))
	if name == "" || name == def || name == q.policy.Admission.Add.Runtime || q.start && !known || slices.Contains(q.policy.Admission.Runtimes, name) {
		return
	}
	q.refuse("runtime", lang.Text{En: "the runtime %q is neither the engine's default nor named in admission.runtimes", Es: "el runtime %q no es el predeterminado del motor ni está en admission.runtimes"}.F(name),
		lang.Text{En: "leave out --runtime %s, or add it to admission.runtimes in the policy", Es: "quite --runtime %s, o añádalo a admission.runtimes en la política"}.F(printable(name)))
}

// reservedLabels are read by others as their own word: what casco added, what
// containerd restarts and where it logs to (CVE-2026-53488), whose task it is.
var reservedLabels = []string{AddedLabel, "containerd.io/", "com.docker.swarm."}

func (q *question) labels(labels map[string]any) {
	if labels[OwnerLabel] != nil && q.inheritsOwner() {
		q.refuse("label", lang.Text{En: "the image says by its label %s whose the container would be", Es: "la imagen dice con su etiqueta %s de quién sería el contenedor"}.F(OwnerLabel),
			lang.Text{En: "--label %s=NAME says otherwise", Es: "--label %s=NOMBRE dice otra cosa"}.F(OwnerLabel))
	}
	for _, k := range sortedKeys(labels) {
		if q.route.Endpoint.Class == Create && slices.ContainsFunc(reservedLabels, func(p string) bool { return strings.HasPrefix(strings.ToLower(k), p) }) && !(q.mine && k == AddedLabel) {
			q.refuse("label", lang.Text{En: "the label %q is another program's word", Es: "la etiqueta %q es palabra de otro programa"}.F(k),
				lang.Text{En: "leave out --label %s; an image that has it must be built without", Es: "quite --label %s; una imagen que la lleve debe construirse sin ella"}.F(printable(k)))
		}
	}
}

// inheritsOwner reports whether the owner's label of a container that is asked
// for is not of the request itself.
func (q *question) inheritsOwner() bool {
	if c := q.route.Endpoint.Class; len(q.policy.Admission.Owners) == 0 || c != Create && c != Service {
		return false
	}
	return asMap(q.body["Labels"])[OwnerLabel] == nil && asMap(at(q.body, "TaskTemplate.ContainerSpec.Labels"))[OwnerLabel] == nil
}

// logs wants the log to be kept where the engine keeps it: a driver speaks to
// sockets and servers as root.
func (q *question) logs(s *inventory.Snapshot, driver string) {
	def, _, known := inventory.DaemonLoggingDriver.Of(inventory.EngineOf(s))
	if driver == def || q.start && !known || slices.Contains([]string{"", "json-file", "local", "journald", "none"}, driver) {
		return
	}
	q.refuse("log-driver", lang.Text{En: "the log driver %q sends as root wherever its options say", Es: "el driver de registro %q envía como root adonde digan sus opciones"}.F(driver),
		lang.Text{En: "leave out --log-driver, or make it the engine's (log-driver in daemon.json)", Es: "quite --log-driver, o hágalo el del motor (log-driver en daemon.json)"})
}

// workingDir: a leaked descriptor below /proc/self/fd is a directory of the
// host (CVE-2024-21626).
func (q *question) workingDir(dir, flag string) {
	if clean := path.Clean("/" + dir); dir != "" && (within(clean, "/proc") || within(clean, "/dev/fd")) {
		q.refuse("working-dir", lang.Text{En: "%q may be a directory of the host", Es: "%q puede ser un directorio del anfitrión"}.F(dir), lang.Text{En: "%s with a directory of the image", Es: "%s con un directorio de la imagen"}.F(flag))
	}
}

func (q *question) networkTwice(name, id string) {
	q.refuse("network-id", lang.Text{En: "the endpoint of %q says that its network is %q", Es: "el extremo de %q dice que su red es %q"}.F(name, id),
		lang.Text{En: "leave out NetworkID", Es: "quite NetworkID"})
}

// endpoint judges what an attachment to a network asks for beside it.
func (q *question) endpoint(e map[string]any) {
	for _, k := range sortedKeys(asMap(e["DriverOpts"])) {
		v := asString(asMap(e["DriverOpts"])[k])
		if k != "com.docker.network.endpoint.sysctls" {
			continue
		}
		asked := map[string]any{}
		for one := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(one), "=")
			asked[name] = ""
		}
		q.sysctls(asked)
	}
}

func sortedKeys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
