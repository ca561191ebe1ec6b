package checks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// Lines as builders wrote them: the classic builder and BuildKit of Docker
// 20.10.24 (recorded), and in the form of buildah, kaniko and debuerreotype.
func TestParseInstruction(t *testing.T) {
	for _, c := range []struct{ line, word, rest string }{
		{`/bin/sh -c #(nop)  HEALTHCHECK &{["NONE"] "0s" "0s" "0s" '\x00'}`, "HEALTHCHECK", `&{["NONE"] "0s" "0s" "0s" '\x00'}`},
		{`/bin/sh -c #(nop) ADD file:b208 in /opt/ `, "ADD", "file:b208 in /opt/"},
		{`/bin/sh -c #(nop)  ENV PADDING=1 MONKEY=x`, "ENV", "PADDING=1 MONKEY=x"},
		{`/bin/sh -c apt-get update`, "RUN", "apt-get update"},
		{`|1 V=1 /bin/sh -c apt-get update`, "RUN", "apt-get update"},
		{`|1 V=two words /bin/bash -o pipefail -c apt-get update`, "RUN", "apt-get update"},
		{`|1 V=1 echo apt-get update`, "RUN", "echo apt-get update"},
		{`RUN |1 V=1 /bin/sh -c echo building with $V # buildkit`, "RUN", "echo building with $V"},
		{`RUN |1 V=1 echo apt-get update # buildkit`, "RUN", "echo apt-get update"},
		{`RUN /bin/bash -eux -c apt-get update # buildkit`, "RUN", "apt-get update"},
		{`COPY id_rsa /root/.ssh/id_rsa # buildkit`, "COPY", "id_rsa /root/.ssh/id_rsa"},
		{`RUN apk add curl`, "RUN", "apk add curl"},
		{`# debian.sh --arch 'amd64' out/ 'bookworm' '@1700000000'`, "", ""},
	} {
		in := parseInstruction(c.line)
		if in.Word != c.word || in.Rest != c.rest {
			t.Errorf("%s\n is %q %q", c.line, in.Word, in.Rest)
		}
	}
}

// A line of the history is shown without its secrets, and not without end.
func TestHistoryLines(t *testing.T) {
	long := parseInstruction("/bin/sh -c " + strings.Repeat("ñ", lineShown))
	got := historyLines(inventory.Fact{Field: "History"}, []instruction{long, parseInstruction("ENV DB_PWD=hunter2")}).Value.([]string)
	if len(got[0]) > lineShown+len("…") || !strings.HasSuffix(got[0], "ñ…") {
		t.Errorf("a long line is shown as %q", got[0])
	}
	if d := cmp.Diff("ENV DB_PWD=***f52f", got[1]); d != "" {
		t.Error(d)
	}
}
