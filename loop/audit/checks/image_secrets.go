package checks

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageSecrets = &audit.Check{
	ID:    "image-secrets",
	Title: lang.Text{En: "Image carries secrets in its environment or history", Es: "La imagen lleva secretos en su entorno o historial"},
	Why: lang.Text{
		En: "Everybody who can pull the image, or look at it on this host, reads them; deleting them in a later layer does not help.",
		Es: "Los lee cualquiera que pueda bajar la imagen o mirarla en este anfitrión; borrarlos en una capa posterior no sirve.",
	},
	Remedy: lang.Text{
		En: "Replace the secret at its source first: it is known. Then build with RUN --mount=type=secret and give it to the container as a file.",
		Es: "Primero cambie el secreto en su origen: ya se conoce. Luego construya con RUN --mount=type=secret y déselo al contenedor como archivo.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSecrets.cis("4.10"),
	Kind:     inventory.Image,
	Eval:     evalImageSecrets,
}

// What is read has been masked by its reader; masking once more changes
// nothing there, and shields objects that came another way.
func evalImageSecrets(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	env, fact, ok := configKey(o, inventory.ImageEnv)
	fact.Value = nil
	lines, history, okHistory := inventory.ImageHistory.Of(o)
	history.Value = nil
	var found []inventory.Fact
	if in := slices.DeleteFunc(inventory.MaskEnv(env), isClean); len(in) > 0 {
		found = append(found, with(fact, in))
	}
	labels, labelled, _ := configKey(o, inventory.ImageLabels)
	if in := secretLabels(labels); len(in) > 0 {
		found = append(found, with(labelled, in))
	}
	var told []instruction
	for _, l := range lines {
		if in := parseInstruction(asString(asMap(l)["CreatedBy"])); !isClean(in.Line) || copiesKey(in) {
			told = append(told, in)
		}
	}
	if len(told) > 0 {
		found = append(found, historyLines(history, told))
	}
	switch {
	case len(found) > 0:
		return audit.Bad(found...)
	case !ok || !okHistory:
		return audit.Untold(fact, history)
	}
	return audit.Good(with(fact, len(env)), with(history, len(lines)))
}

func isClean(s string) bool { return !inventory.Masked(s) }

// with returns f with another value: the part of it that matters.
func with(f inventory.Fact, value any) inventory.Fact {
	f.Value, f.Err = value, ""
	return f
}

func secretLabels(labels map[string]any) []string {
	var out []string
	for name, v := range labels {
		if l := name + "=" + inventory.MaskValue(name, asString(v)); inventory.Masked(l) {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return out
}

// copiesKey reports whether a COPY or ADD brings such a file in. A key under a
// package manager's directory, or fetched from the network, is a public one.
func copiesKey(in instruction) bool {
	if in.Word != "COPY" && in.Word != "ADD" {
		return false
	}
	names := strings.Fields(in.Rest)
	if len(names) == 0 {
		return false
	}
	dest := names[len(names)-1]
	for _, dir := range []string{"/etc/apt/", "/usr/share/keyrings/", "/etc/apk/keys/", "/etc/pki/", "/usr/local/share/ca-certificates/"} {
		if strings.HasPrefix(dest, dir) {
			return false
		}
	}
	return slices.ContainsFunc(names, inventory.KeyFile)
}
