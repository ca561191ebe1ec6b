package admission

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
	"casco/policy"
)

// AddedLabel lists, on a container, what the policy put into its request.
const AddedLabel = "casco.added"

// mutate puts into a request what admission.add names and the request does not,
// into the container that is judged and into what is passed on. Nothing is
// added while admission only observes.
func (q *question) mutate(o *inventory.Object) {
	add := q.policy.Admission.Add
	if q.policy.Admission.Mode != policy.Enforce {
		return
	}
	host := asMap(o.Fields["HostConfig"])
	set := func(field, path string, v any, added string) {
		inventory.Put(o.Fields, field, v)
		inventory.Put(q.body, field, v)
		host = asMap(o.Fields["HostConfig"])
		q.out.Mutations = append(q.out.Mutations, Mutation{field, added, "admission.add." + path})
	}
	if add.NoNewPrivileges && len(optsOf(host, "no-new-privileges")) == 0 && !asBool(host["Privileged"]) {
		set("HostConfig.SecurityOpt", "no_new_privileges", append(slices.Clone(asList(host["SecurityOpt"])), "no-new-privileges:true"), "no-new-privileges:true")
	}
	var drop []any
	for _, c := range add.CapDrop {
		if asked := append(capNames(host["CapDrop"]), capNames(host["CapAdd"])...); !slices.Contains(asked, c) && !slices.Contains(asked, "ALL") {
			drop = append(drop, c)
		}
	}
	if drop != nil && !asBool(host["Privileged"]) {
		set("HostConfig.CapDrop", "cap_drop", append(slices.Clone(asList(host["CapDrop"])), drop...), strings.Join(texts(drop), ","))
	}
	if add.Pids > 0 && asInt(host["PidsLimit"]) == 0 {
		set("HostConfig.PidsLimit", "pids", number(add.Pids), strconv.FormatInt(add.Pids, 10))
	}
	if add.Runtime != "" && asString(host["Runtime"]) == "" {
		set("HostConfig.Runtime", "runtime", add.Runtime, add.Runtime)
	}
	if add.Seccomp != "" && len(optsOf(host, "seccomp")) == 0 && !asBool(host["Privileged"]) {
		if profile, err := q.profile(add.Seccomp); err == nil {
			set("HostConfig.SecurityOpt", "seccomp", append(slices.Clone(asList(host["SecurityOpt"])), "seccomp="+profile),
				fmt.Sprintf("seccomp=%s sha256:%x", add.Seccomp, sha256.Sum256([]byte(profile))))
		} else {
			q.refuse("seccomp-profile", lang.Text{En: "the profile that the policy adds cannot be read: %v", Es: "el perfil que la política añade no se puede leer: %v"}.F(err),
				lang.Text{En: "put a profile at %s, or change admission.add.seccomp in the policy", Es: "ponga un perfil en %s, o cambie admission.add.seccomp en la política"}.F(add.Seccomp))
		}
	}
	q.logBounds(host, set)
	q.label(o)
}

// profile is a profile as a request has it: docker's client reads the file and
// sends its JSON, without the space in it (docker/cli, parseSecurityOpts).
func (q *question) profile(path string) (string, error) {
	text, err := q.world.Seccomp(path)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.String(), err
}

// label writes on the container what was added. A request that comes with the
// label has been here before, on its way to a second judge, if all that the
// label lists is in it: then nothing was added now.
func (q *question) label(o *inventory.Object) {
	var names []string
	for _, m := range q.out.Mutations {
		if name, added := strings.CutPrefix(m.Path, "admission.add."); added {
			names = append(names, name)
		}
	}
	if was, theirs := asMap(q.body["Labels"])[AddedLabel]; theirs {
		q.mine = !slices.ContainsFunc(strings.Split(asString(was), ","), func(word string) bool {
			return !slices.Contains(q.additions(), word) || slices.Contains(names, word)
		})
	} else if names != nil {
		q.mine = true
		labels := maps.Clone(asMap(q.body["Labels"]))
		if labels == nil {
			labels = map[string]any{}
		}
		labels[AddedLabel] = strings.Join(names, ",")
		q.body["Labels"] = labels
		inventory.Put(o.Fields, inventory.Labels.Path, labels)
	}
	if names != nil {
		q.out.Forward = encode(q.body)
	}
}

// additions are the keys of admission.add that the policy has.
func (q *question) additions() []string {
	add := q.policy.Admission.Add
	var out []string
	for _, a := range []struct {
		key string
		has bool
	}{{"no_new_privileges", add.NoNewPrivileges}, {"cap_drop", add.CapDrop != nil}, {"pids", add.Pids > 0}, {"log_max_size", add.LogMaxSize > 0}, {"log_max_file", add.LogMaxFile > 0}, {"runtime", add.Runtime != ""}, {"seccomp", add.Seccomp != ""}} {
		if a.has {
			out = append(out, a.key)
		}
	}
	return out
}

func (q *question) logBounds(host map[string]any, set func(field, path string, v any, added string)) {
	add := q.policy.Admission.Add
	log := asMap(host["LogConfig"])
	if driver := asString(log["Type"]); driver != "" && driver != "json-file" && driver != "local" {
		return
	}
	config := map[string]any{}
	for k, v := range asMap(log["Config"]) {
		config[k] = v
	}
	if asString(log["Type"]) == "" { // options belong to a driver, and the engine's own may have none of these
		if def, _, _ := inventory.DaemonLoggingDriver.Of(inventory.EngineOf(q.world.Snapshot())); def != "json-file" && def != "local" {
			return
		}
	}
	if size := add.LogMaxSize; size > 0 && config["max-size"] == nil {
		config["max-size"] = size.String()
		set("HostConfig.LogConfig.Config", "log_max_size", config, "max-size="+size.String())
	}
	if n := add.LogMaxFile; n > 0 && config["max-file"] == nil {
		config["max-file"] = strconv.Itoa(n)
		set("HostConfig.LogConfig.Config", "log_max_file", config, "max-file="+strconv.Itoa(n))
	}
}

func capNames(list any) []string {
	var out []string
	for _, c := range texts(list) {
		out = append(out, strings.TrimPrefix(strings.ToUpper(c), "CAP_"))
	}
	return out
}
