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

// seccomp judges a profile that is given with the request. Its JSON is read as
// strictly as the request's: dockerd reads it with the same decoder.
func (q *question) seccomp(profile string) {
	wrong := func(why lang.Text) {
		q.refuse("seccomp-profile", why, lang.Text{En: "leave out --security-opt seccomp=…, or take moby's default profile and add the calls it needs", Es: "quite --security-opt seccomp=…, o tome el perfil por defecto de moby y añada las llamadas que necesite"})
	}
	tree, err := parseJSON([]byte(profile))
	if err != nil {
		wrong(lang.Text{En: "the profile can be read in two ways", Es: "el perfil se puede leer de dos maneras"})
		return
	}
	p, ok := plainTree(tree).(map[string]any)
	if !ok {
		wrong(lang.Text{En: "the profile is no object", Es: "el perfil no es un objeto"})
		return
	}
	refuses := []string{"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}
	if def := asString(p["defaultaction"]); !slices.Contains(refuses, def) {
		wrong(lang.Text{En: "what the profile does not name gets %q", Es: "lo que el perfil no nombra recibe %q"}.F(def))
		return
	}
	for _, v := range asList(p["syscalls"]) {
		rule := asMap(v)
		if slices.Contains(refuses, asString(rule["action"])) || len(asList(asMap(rule["includes"])["caps"])) > 0 || len(asList(rule["args"])) > 0 {
			continue
		}
		for _, name := range append(texts(rule["names"]), asString(rule["name"])) {
			if slices.Contains(escapes, name) {
				wrong(lang.Text{En: "the profile lets everybody call %q", Es: "el perfil deja a todos llamar a %q"}.F(name))
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
