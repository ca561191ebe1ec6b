package checks

import (
	"regexp"
	"strconv"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// configKey reads a key of an image's Config. Newer engines leave a key out
// that is empty (OCI image specification, config.md: all of them are
// OPTIONAL), so where there is a Config a missing key is the zero value.
func configKey[T any](o *inventory.Object, f inventory.Field[T]) (v T, fact inventory.Fact, ok bool) {
	v, fact, ok = f.Of(o)
	if ok || fact.Err != inventory.Absent {
		return v, fact, ok
	}
	if _, whole, has := (inventory.Field[map[string]any]{Kind: inventory.Image, Path: "Config"}).Of(o); !has {
		return v, whole, false
	}
	fact.Err, fact.Value = "", v
	return v, fact, true
}

// An instruction is one line of an image's history: the instruction of the
// Dockerfile that made a layer, as the builder wrote it down.
type instruction struct {
	Word string // "RUN", "ADD", …; "" if the line is none
	Rest string // what follows it; of a RUN the script
	Line string // the whole line, secrets masked
	Base bool   // the first line of the image: its root file system
}

// History lines as the classic builder, BuildKit, buildah and kaniko write
// them: "/bin/sh -c #(nop)  CMD …", "/bin/sh -c apk add x",
// "|1 A=b /bin/sh -c …", "RUN /bin/sh -c … # buildkit", "COPY a b # buildkit".
var (
	nopLine   = regexp.MustCompile(`^/bin/sh -c #\(nop\)\s+([A-Z]+)\s*(?s:(.*))$`)
	wordLine  = regexp.MustCompile(`^(RUN|ADD|COPY|ENV|ARG|LABEL|CMD|ENTRYPOINT|USER|WORKDIR|EXPOSE|VOLUME|HEALTHCHECK|SHELL|STOPSIGNAL|ONBUILD|MAINTAINER)\s+(?s:(.*))$`)
	argsAhead = regexp.MustCompile(`^\|(\d+) (?s:(.*))$`)
	shellCall = regexp.MustCompile(` (/bin/\S+ -(?s:.*))$`)
	shellLine = regexp.MustCompile(`^(?:\S*/)?(?:sh|bash|ash|dash|zsh)(?: -o [a-z]+| -[a-z]+)*? -[a-z]*c (?s:(.*))$`)
)

// instructions returns the history of o, oldest line first. ok is false if
// the history was not read, or says nothing: an imported or squashed image.
func instructions(o *inventory.Object) (all []instruction, fact inventory.Fact, ok bool) {
	lines, fact, ok := inventory.ImageHistory.Of(o)
	if !ok {
		return nil, fact, false
	}
	for i := len(lines) - 1; i >= 0; i-- { // the engine sends the newest first
		line := asString(asMap(lines[i])["CreatedBy"])
		if line == "" {
			continue
		}
		in := parseInstruction(line)
		in.Base = i == len(lines)-1
		all = append(all, in)
	}
	fact.Value = nil
	if len(all) == 0 {
		fact.Err = "says nothing of how the image was built"
	}
	return all, fact, len(all) > 0
}

func parseInstruction(line string) instruction {
	in := instruction{Line: inventory.MaskText(line)}
	line = strings.TrimSuffix(strings.TrimSpace(line), " # buildkit")
	if m := nopLine.FindStringSubmatch(line); m != nil {
		in.Word, in.Rest = m[1], strings.TrimSpace(m[2])
		return in
	}
	if strings.HasPrefix(line, "#") { // "# debian.sh --arch …"
		return in
	}
	in.Word, in.Rest = "RUN", line
	if m := wordLine.FindStringSubmatch(line); m != nil {
		in.Word, in.Rest = m[1], m[2]
	}
	if in.Word != "RUN" {
		return in
	}
	in.Rest = withoutBuildArgs(in.Rest)
	if m := shellLine.FindStringSubmatch(in.Rest); m != nil {
		in.Rest = m[1]
	}
	return in
}

// withoutBuildArgs takes off the build arguments that the builder wrote before
// a RUN: "|2 A=b C=d e /bin/sh -c …". Their values have lost their quotes, so
// they end where a shell begins, or else after as many words as there are.
func withoutBuildArgs(run string) string {
	m := argsAhead.FindStringSubmatch(run)
	if m == nil {
		return run
	}
	if call := shellCall.FindStringSubmatch(m[2]); call != nil {
		return call[1]
	}
	n, _ := strconv.Atoi(m[1])
	words := strings.Fields(m[2])
	for n > 0 && len(words) > 0 && shell.IsAssignment(words[0]) {
		n, words = n-1, words[1:]
	}
	return strings.Join(words, " ")
}

// Lines of a history are shown up to this many bytes: a line may hold a whole
// script, and the reader wants to know which one it is.
const lineShown = 400

// historyLines is the evidence that these lines of the history give.
func historyLines(fact inventory.Fact, found []instruction) inventory.Fact {
	lines := make([]string, 0, len(found))
	for _, in := range found {
		line := in.Line
		if len(line) > lineShown {
			line = strings.ToValidUTF8(line[:lineShown], "") + "…"
		}
		lines = append(lines, line)
	}
	fact.Value, fact.Err = lines, ""
	return fact
}

// judgeHistory puts a question to each line of an image's history: Fail if one
// line is bad, Unknown if of one it cannot be told. reason goes with the worst.
func judgeHistory(o *inventory.Object, ask func(instruction) (audit.Verdict, lang.Text)) audit.Answer {
	all, fact, ok := instructions(o)
	if !ok {
		return audit.Untold(fact)
	}
	by := map[audit.Verdict][]instruction{}
	reasons := map[audit.Verdict]lang.Text{}
	for _, in := range all {
		v, reason := ask(in)
		by[v] = append(by[v], in)
		if first := reasons[v]; first.Empty() {
			reasons[v] = reason
		}
	}
	switch {
	case len(by[audit.Fail]) > 0:
		return audit.Bad(historyLines(fact, by[audit.Fail])).Because(reasons[audit.Fail])
	case len(by[audit.Unknown]) > 0:
		a := audit.Untold(historyLines(fact, by[audit.Unknown]))
		return a.Because(reasons[audit.Unknown])
	}
	return audit.Good(with(fact, len(all)))
}
