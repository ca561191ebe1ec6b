package admission

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// exec judges a command in a container that runs.
func (q *question) exec() {
	if q.route.Endpoint.Path == "/exec/{id}/start" {
		return // what it starts was judged when it was made
	}
	o := q.about(q.route.ID)
	if o == nil {
		q.add(*unknown(q.route.ID))
		return
	}
	if asBool(q.body["Privileged"]) {
		q.refuse("exec-privileged", lang.Text{En: "the command would hold every capability, whatever the container was allowed", Es: "la orden tendría todas las capacidades, sea lo que sea lo permitido al contenedor"},
			lang.Text{En: "docker exec without --privileged", Es: "docker exec sin --privileged"})
	}
	user, own := asString(q.body["User"]), asString(asMap(o.Fields["Config"])["User"])
	if user != "" && isRoot(user) && !isRoot(own) {
		q.refuse("exec-root", lang.Text{En: "the service runs as %q, and the command would run as %q", Es: "el servicio corre como %q, y la orden correría como %q"}.F(own, user),
			lang.Text{En: "docker exec without --user", Es: "docker exec sin --user"})
	}
	for _, e := range texts(q.body["Env"]) {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "LD_") || slices.Contains([]string{"GCONV_PATH", "GLIBC_TUNABLES", "BASH_ENV", "NODE_OPTIONS", "PYTHONSTARTUP", "PERL5OPT"}, name) {
			q.refuse("exec-env", lang.Text{En: "%s loads code into whatever is run", Es: "%s carga código en lo que se ejecute"}.F(printable(name)), lang.Text{En: "docker exec without --env %s", Es: "docker exec sin --env %s"}.F(printable(name)))
		}
	}
	q.workingDir(asString(q.body["WorkingDir"]), "--workdir")
	q.reaches(o)
}

// isRoot reads USER[:GROUP] as the engine does: a number is the uid whatever
// its leading zeros, and one beyond int32 overflows to root (CVE-2024-40635).
func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return name == "" || name == "root" || strings.Trim(name, "+0123456789") == "" && name != ""
	}
	return n == 0 || n > math.MaxInt32
}

// hostReach are the checks that a container fails from which one is on the
// host: a shell in it is a shell there.
var hostReach = []string{"container-privileged", "container-engine-socket", "container-host-pid", "container-sensitive-mount", "container-devices"}

// reaches refuses a command in a container that yields the host, or the input
// of its first process. Who may have such a container may be in it.
func (q *question) reaches(o *inventory.Object) {
	s := q.scene([]*inventory.Object{o})
	if placed := s.Find(o.Ref); placed != nil {
		o = placed
	}
	var found []audit.Finding
	for _, c := range q.checks {
		if slices.Contains(hostReach, c.ID) {
			found = append(found, audit.Finding{Check: c, Ref: o.Ref, Answer: c.Eval(s, o)})
		}
	}
	exceptions := q.exceptions(s, found)
	for _, f := range found {
		if f.Verdict != audit.Fail {
			continue
		}
		if id, ok := covers(exceptions, f); ok {
			q.out.Excepted = append(q.out.Excepted, id)
			continue
		}
		q.refuse("exec-host", lang.Text{
			En: f.Check.Title.En + ": " + o.Ref.Name, Es: f.Check.Title.Es + ": " + o.Ref.Name,
		}, lang.Text{En: "cure the container first: casco plan; or admission.rules.exec-host for its tier", Es: "remedie antes el contenedor: casco plan; o admission.rules.exec-host para su nivel"})
		return
	}
}

// attach judges who wants to write to the first process of a container.
func (q *question) attach() {
	if o := q.about(q.route.ID); o != nil && q.route.flag("stdin") {
		q.reaches(o)
	}
}

// programs are where a file that is written is run, or is asked who may: of a
// container that is root's the first login, of any the next start.
var programs = []string{"/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/bin", "/usr/local/sbin", "/boot"}

// archive judges files that are written into a container (docker cp). What is
// in the archive nobody sees, so it is judged by where it goes: all below that
// may be replaced.
func (q *question) archive() {
	o := q.about(q.route.ID)
	if o == nil {
		q.add(*unknown(q.route.ID))
		return
	}
	to := path.Clean("/" + q.route.Query.Get("path"))
	wrong := func(why lang.Text) {
		q.refuse("archive-path", why, lang.Text{En: "docker cp FILE NAME:/a/directory/of/its/data/", Es: "docker cp ARCHIVO NOMBRE:/un/directorio/de/sus/datos/"})
	}
	for _, m := range asList(o.Fields["Mounts"]) {
		target, source := path.Clean(asString(asMap(m)["Destination"])), asString(asMap(m)["Source"])
		if asMap(m)["Type"] != "bind" || !within(to, target) && !within(target, to) {
			continue
		}
		if c := q.gives(source, false); c != nil {
			wrong(lang.Text{En: c.Title.En + ": " + source, Es: c.Title.Es + ": " + source})
			return
		}
	}
	switch {
	case to == "/" || to == "/etc" || to == "/usr" || to == "/root" || to == "/var":
		wrong(lang.Text{En: "in %q an archive may replace whatever the container runs, and who may", Es: "en %q un archivo tar puede reemplazar lo que el contenedor ejecuta, y quién puede"}.F(to))
	case slices.ContainsFunc(programs, func(p string) bool { return within(to, p) }):
		wrong(lang.Text{En: "what is written to %q is run", Es: "lo que se escribe en %q se ejecuta"}.F(to))
	case within(to, "/proc") || within(to, "/sys") || within(to, "/dev"):
		wrong(lang.Text{En: "%q is the kernel's", Es: "%q es del núcleo"}.F(to))
	case strings.Contains(to, "/.ssh") || within(to, "/etc/ssh") || within(to, "/etc/cron.d") || within(to, "/etc/ld.so.conf.d") || within(to, "/etc/sudoers.d") || within(to, "/etc/pam.d"):
		wrong(lang.Text{En: "what is written to %q opens a door", Es: "lo que se escribe en %q abre una puerta"}.F(to))
	}
}

// lifecycle judges what is done with a container that was made.
func (q *question) lifecycle() {
	if q.route.Endpoint.Path == "/exec/{id}/resize" {
		return
	}
	o := q.about(q.route.ID)
	if name := strings.TrimPrefix(q.route.Query.Get("name"), "/"); o != nil && q.route.Endpoint.Path == "/containers/{id}/rename" {
		q.rename(o, name)
	}
	if path := q.route.Endpoint.Path; o != nil && (path == "/containers/{id}/start" || path == "/containers/{id}/restart") {
		q.swapped(o)
	}
	from := q.route.Query.Get("checkpoint") + q.route.Query.Get("checkpoint-dir") + asString(q.body["CheckpointID"]) + asString(q.body["CheckpointDir"])
	if from != "" {
		q.refuse("checkpoint", lang.Text{En: "a checkpoint is the memory of processes, read from or written to the host as root", Es: "un checkpoint es memoria de procesos, leída o escrita en el anfitrión como root"},
			lang.Text{En: "leave out --checkpoint", Es: "quite --checkpoint"})
	}
}

// rename judges a container under its new name, by which a policy may place it.
func (q *question) rename(o *inventory.Object, name string) {
	after := *o
	after.Ref.Name = name
	if is := q.tierOf(&after); is != q.tier {
		q.refuse("rename-tier", lang.Text{En: "as %q it would be of tier %q, and it is of %q", Es: "como %q sería del nivel %q, y es de %q"}.F(name, is, q.tier),
			lang.Text{En: "a name that keeps its tier; or create it anew in the other", Es: "un nombre que conserve su nivel; o créelo de nuevo en el otro"})
	}
}

// update judges a container with what the request changes.
func (q *question) update() {
	o := q.about(q.route.ID)
	if o == nil {
		q.add(*unknown(q.route.ID))
		return
	}
	was := asMap(o.Fields["HostConfig"])
	after := o.Clone()
	delete(after.Fields, "Effective") // of what runs now
	host := asMap(after.Fields["HostConfig"])
	if host == nil {
		return
	}
	changed := map[string]any{}
	for k, v := range q.body { // 0 and "" change nothing, but of PidsLimit, which is null then
		if v != nil && v != "" && (v != number(0) || k == "PidsLimit") && (k != "RestartPolicy" || asString(asMap(v)["Name"]) != "") {
			changed[k] = v
		}
	}
	over(host, changed)
	for _, k := range sortedKeys(changed) {
		unlimited := asInt(changed[k]) < 0 || k == "PidsLimit" && asInt(changed[k]) == 0
		if limit := asInt(was[k]); slices.Contains([]string{"Memory", "MemorySwap", "PidsLimit", "CpuQuota", "NanoCpus"}, k) && limit > 0 && unlimited {
			q.refuse("update-limits", lang.Text{En: "%s was %d and would have no limit", Es: "%s era %d y quedaría sin límite"}.F(k, limit), lang.Text{En: "docker update with a limit", Es: "docker update con un límite"})
		}
	}
	if asBool(changed["OomKillDisable"]) {
		q.refuse("oom", lang.Text{En: "when memory runs out the kernel would kill others first", Es: "cuando falte memoria el núcleo mataría antes a otros"}, lang.Text{En: "leave out --oom-kill-disable", Es: "quite --oom-kill-disable"})
	}
	q.newly(o, after)
}

// newly puts the checks to a container before and after: what it failed before
// is no reason to refuse the change.
func (q *question) newly(before, after *inventory.Object) {
	s := q.scene([]*inventory.Object{before})
	was, _ := q.placed(before)
	is, _ := q.placed(after)
	var found []audit.Finding
	for _, c := range q.checks {
		if !q.asked(c) || c.About != nil && !c.About(s, is) {
			continue
		}
		a := decidedBy(c, is, c.Eval(s, is))
		if a.Verdict != audit.Fail {
			continue
		}
		if old := decidedBy(c, was, c.Eval(s, was)); old.Verdict == audit.Fail && slices.Equal(old.Loci, a.Loci) {
			continue
		}
		found = append(found, audit.Finding{Check: c, Ref: is.Ref, Answer: a})
	}
	q.excepted(s, found)
}
