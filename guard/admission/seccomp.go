package admission

import (
	"slices"
	"strings"

	"casco/lang"
)

// escapes are the system calls that a profile may let through only to who has
// the capability for them: mounts, code in the kernel, other processes' memory,
// files by handle (moby/profiles seccomp, default.json).
var escapes = []string{
	"bpf", "delete_module", "finit_module", "fsmount", "fsopen", "init_module", "kexec_file_load", "kexec_load", "mount", "move_mount",
	"open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "process_vm_writev", "setns", "umount2", "unshare", "userfaultfd",
}

// escapeCaps are the capabilities for which moby's profile lets who has them call
// one of escapes.
var escapeCaps = map[string][]string{
	"bpf": {"SYS_ADMIN", "BPF"}, "perf_event_open": {"SYS_ADMIN", "PERFMON"}, "open_by_handle_at": {"DAC_READ_SEARCH"},
	"delete_module": {"SYS_MODULE"}, "finit_module": {"SYS_MODULE"}, "init_module": {"SYS_MODULE"}, "kexec_file_load": {"SYS_BOOT"}, "kexec_load": {"SYS_BOOT"},
	"fsmount": {"SYS_ADMIN"}, "fsopen": {"SYS_ADMIN"}, "mount": {"SYS_ADMIN"}, "move_mount": {"SYS_ADMIN"}, "open_tree": {"SYS_ADMIN"},
	"pivot_root": {"SYS_ADMIN"}, "setns": {"SYS_ADMIN"}, "umount2": {"SYS_ADMIN"}, "unshare": {"SYS_ADMIN"}, "userfaultfd": nil,
}

// A seccompRule says what becomes of calls; bound, if they have arguments that it
// names.
type seccompRule struct {
	action string
	names  []string
	bound  bool
}

// seccomp judges a profile that is given with the request. Its JSON is read as
// strictly as the request's: dockerd reads it with the same decoder.
func (q *question) seccomp(profile string) {
	tree, err := parseJSON([]byte(profile))
	if err != nil {
		q.wrongProfile(lang.Text{En: "the profile can be read in two ways", Es: "el perfil se puede leer de dos maneras"})
		return
	}
	p, ok := plainTree(tree).(map[string]any)
	if !ok {
		q.wrongProfile(lang.Text{En: "the profile is no object", Es: "el perfil no es un objeto"})
		return
	}
	var rules []seccompRule
	for _, v := range asList(p["syscalls"]) {
		rule := asMap(v)
		rules = append(rules, seccompRule{
			asString(rule["action"]), append(texts(rule["names"]), asString(rule["name"])),
			len(asList(asMap(rule["includes"])["caps"])) > 0 || len(asList(rule["args"])) > 0,
		})
	}
	q.calls(asString(p["defaultaction"]), rules)
}

func (q *question) wrongProfile(why lang.Text) {
	q.refuse("seccomp-profile", why, lang.Text{En: "leave out --security-opt seccomp=…, or take moby's default profile and add the calls it needs", Es: "quite --security-opt seccomp=…, o tome el perfil por defecto de moby y añada las llamadas que necesite"})
}

// calls judges what a profile lets everybody call.
func (q *question) calls(byDefault string, rules []seccompRule) {
	refuses := []string{"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}
	if !slices.Contains(refuses, byDefault) {
		q.wrongProfile(lang.Text{En: "what the profile does not name gets %q", Es: "lo que el perfil no nombra recibe %q"}.F(byDefault))
		return
	}
	for _, r := range rules {
		if r.bound || slices.Contains(refuses, r.action) {
			continue
		}
		for _, name := range r.names {
			if slices.Contains(escapes, name) {
				q.wrongProfile(lang.Text{En: "the profile lets everybody call %q", Es: "el perfil deja a todos llamar a %q"}.F(name))
				return
			}
		}
	}
}

// plainTree turns what parseJSON gave into maps whose keys are in lower case:
// encoding/json does not tell them apart. Keys that become one are refused by
// giving nothing.
func plainTree(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainTree(e)
		}
		return out
	case *object:
		out := map[string]any{}
		for i, k := range v.keys {
			k = strings.ToLower(fold(k))
			if _, has := out[k]; has {
				return nil
			}
			out[k] = plainTree(v.values[i])
		}
		return out
	}
	return v
}
