package docker

import "casco/loop/inventory"

// Secrets are masked in place, in the engine's reply, before anybody else sees
// it: environments, labels, options of drivers, command lines, and what health
// checks printed. The rest of a reply cannot hold a secret, or is one that the
// engine does not send.

func maskContainer(c map[string]any) {
	inventory.MaskConfig(object(c, "Config"))
	inventory.MaskArgs(list(c, "Args"))
	inventory.MaskLabels(object(c, "HostConfig", "LogConfig", "Config"))
	maskMounts(list(c, "HostConfig", "Mounts"))
	for _, probe := range list(c, "State", "Health", "Log") {
		if probe, ok := probe.(map[string]any); ok {
			maskKey(probe, "Output")
		}
	}
}

func maskImage(i map[string]any) {
	inventory.MaskConfig(object(i, "Config"))
	inventory.MaskConfig(object(i, "ContainerConfig")) // until API 1.44
}

func maskHistory(history []any) {
	for _, line := range history {
		if line, ok := line.(map[string]any); ok {
			maskKey(line, "CreatedBy")
		}
	}
}

func maskService(s map[string]any) {
	for _, key := range []string{"Spec", "PreviousSpec"} {
		spec := object(s, key)
		inventory.MaskLabels(object(spec, "Labels"))
		inventory.MaskLabels(object(spec, "TaskTemplate", "LogDriver", "Options"))
		c := object(spec, "TaskTemplate", "ContainerSpec")
		inventory.MaskPairs(list(c, "Env"))
		inventory.MaskLabels(object(c, "Labels"))
		inventory.MaskArgs(list(c, "Command"))
		inventory.MaskArgs(list(c, "Args"))
		inventory.MaskArgs(list(c, "Healthcheck", "Test"))
		maskMounts(list(c, "Mounts"))
	}
}

// maskInfo masks what an administrator may have written into daemon.json: the
// engine blanks the login of a proxy since 19.03, but not of labels.
func maskInfo(info map[string]any) {
	inventory.MaskPairs(list(info, "Labels"))
	for _, key := range []string{"HttpProxy", "HttpsProxy"} {
		maskKey(info, key)
	}
}

// maskMounts masks the options of volume drivers: a CIFS mount has its password
// among them.
func maskMounts(mounts []any) {
	for _, m := range mounts {
		m, _ := m.(map[string]any)
		inventory.MaskLabels(object(m, "VolumeOptions", "DriverConfig", "Options"))
		inventory.MaskLabels(object(m, "VolumeOptions", "Labels"))
	}
}

func maskKey(m map[string]any, key string) {
	if s, ok := m[key].(string); ok {
		m[key] = inventory.MaskText(s)
	}
}

// unmask gives wanted, which was made from a masked reply, its secrets back:
// what in it equals a part of masked becomes the same part of actual. It is how
// a step that removes one variable from an environment keeps the others.
func unmask(wanted, masked, actual any) any {
	switch w := wanted.(type) {
	case []any:
		m, _ := masked.([]any)
		a, _ := actual.([]any)
		out := make([]any, len(w))
		for i, e := range w {
			out[i] = e
			for j := range min(len(m), len(a)) {
				if inventory.Equal(e, m[j]) {
					out[i] = a[j]
					break
				}
			}
		}
		return out
	case map[string]any:
		m, _ := masked.(map[string]any)
		a, _ := actual.(map[string]any)
		out := make(map[string]any, len(w))
		for k, e := range w {
			out[k] = unmask(e, m[k], a[k])
		}
		return out
	}
	if inventory.Equal(wanted, masked) && masked != nil {
		return actual
	}
	return wanted
}
