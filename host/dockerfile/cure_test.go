package dockerfile

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"casco/loop/inventory"
)

// placesOf are those of a word in a file, all of them: where a check would have
// found something.
func placesOf(src, word string) []inventory.Position {
	var out []inventory.Position
	for i, line := range strings.Split(src, "\n") {
		if c := strings.Index(line, word); c >= 0 {
			out = append(out, inventory.Position{File: "D", Line: i + 1, Column: c + 1, EndLine: i + 1, EndColumn: c + 2})
		}
	}
	return out
}

// TestMend: what a cure makes of a file; ^ marks the place in the line below,
// whose marks are taken away first.
func TestMend(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	context := fstest.MapFS{"app.py": {Data: []byte("print()")}, "x.bin": {Data: []byte("\x1f\x8b\x08")}, "dir/a": {}}
	base := func(ref string) *inventory.Object {
		return &inventory.Object{Fields: map[string]any{"RepoDigests": []any{"debian@" + digest, "host.example/a/b@" + digest}, "Config": map[string]any{}}}
	}
	for name, c := range map[string]struct {
		check, src string
		want       string // or ! and a part of why not
	}{
		"add":                   {"dockerfile-add-local", "FROM a\n«ADD --chown=1 app.py /x\n", "FROM a\nCOPY --chown=1 app.py /x\n"},
		"add of a directory":    {"dockerfile-add-local", "FROM a\n«add dir /x", "FROM a\ncopy dir /x"},
		"add of an archive":     {"dockerfile-add-local", "FROM a\n«ADD x.bin /x\n", "!is an archive"},
		"add of nothing":        {"dockerfile-add-local", "FROM a\n«ADD gone /x\n", "!not in the context"},
		"curl":                  {"dockerfile-tls-off", "FROM a\nRUN x && \\\n  # c\n   «curl -fsSLk https://h/x -o y\n", "FROM a\nRUN x && \\\n  # c\n   curl -fsSL https://h/x -o y\n"},
		"curl, a word":          {"dockerfile-tls-off", "FROM a\nRUN «curl --insecure -k -o x https://h/x\n", "FROM a\nRUN curl -o x https://h/x\n"},
		"curl, a line":          {"dockerfile-tls-off", "FROM a\nRUN «curl \\\n  -k \\\n  https://h\n", "FROM a\nRUN curl \\\n  \\\n  https://h\n"},
		"wget":                  {"dockerfile-tls-off", "FROM a\nRUN «wget --no-check-certificate https://h/x\n", "FROM a\nRUN wget https://h/x\n"},
		"pip":                   {"dockerfile-tls-off", "FROM a\nRUN «pip install --trusted-host h x\n", "FROM a\nRUN pip install x\n"},
		"git":                   {"dockerfile-tls-off", "FROM a\nRUN «git -c http.sslVerify=false clone x\n", "!a person"},
		"unsigned":              {"dockerfile-unsigned-packages", "FROM a\nRUN «apt-get install -y --allow-unauthenticated x\n", "FROM a\nRUN apt-get install -y x\n"},
		"sudo":                  {"dockerfile-sudo", "FROM scratch\nRUN a && «sudo -E apt-get update\n", "FROM scratch\nRUN a && apt-get update\n"},
		"sudo, another user":    {"dockerfile-sudo", "FROM scratch\nUSER app\nRUN «sudo a\n", "!runs as root"},
		"sudo, unknown user":    {"dockerfile-sudo", "FROM debian\nRUN «sudo a\n", "!runs as root"},
		"sudo to another":       {"dockerfile-sudo", "FROM scratch\nRUN «sudo -u app a\n", "!options"},
		"mode":                  {"dockerfile-world-writable", "FROM a\nRUN «chmod -R 0777 /x && b\n", "FROM a\nRUN chmod -R 0775 /x && b\n"},
		"mode of COPY":          {"dockerfile-world-writable", "FROM a\n«COPY --chmod=666 app.py /x\n", "FROM a\nCOPY --chmod=664 app.py /x\n"},
		"mode of letters":       {"dockerfile-world-writable", "FROM a\nRUN «chmod a+w /x\n", "!letters"},
		"cache":                 {"dockerfile-package-cache", "FROM a\nRUN «apt-get update && \\\n  apt-get install -y b\nUSER x\n", "FROM a\nRUN apt-get update && \\\n  apt-get install -y b && rm -rf /var/lib/apt/lists/*\nUSER x\n"},
		"cache that is used":    {"dockerfile-package-cache", "FROM a\nRUN «apt-get update && apt-get install -y b\nRUN apt-get install -y c\n", "!line 3"},
		"cache renewed":         {"dockerfile-package-cache", "FROM a\nRUN «apt-get update && apt-get install -y b\nRUN apt-get update && apt-get install -y c && rm -rf /var/lib/apt/lists/*\n", "FROM a\nRUN apt-get update && apt-get install -y b && rm -rf /var/lib/apt/lists/*\nRUN apt-get update && apt-get install -y c && rm -rf /var/lib/apt/lists/*\n"},
		"cache, or":             {"dockerfile-package-cache", "FROM a\nRUN «apt-get update || true\n", "!list of commands"},
		"apk":                   {"dockerfile-package-cache", "FROM a\nRUN «apk add -U b\n", "FROM a\nRUN apk add --no-cache b\n"},
		"dnf":                   {"dockerfile-package-cache", "FROM a\nRUN «dnf install -y b\n", "FROM a\nRUN dnf install -y b && dnf clean all\n"},
		"update":                {"dockerfile-update-alone", "FROM a\nRUN «apt-get update\n\nRUN apt-get install -y b\n", "FROM a\nRUN apt-get update && \\\n    apt-get install -y b\n"},
		"update, CRLF":          {"dockerfile-update-alone", "FROM a\r\nRUN «apt-get update\r\nRUN apt-get install -y b\r\n", "FROM a\r\nRUN apt-get update && \\\r\n    apt-get install -y b\r\n"},
		"update, escape":        {"dockerfile-update-alone", "# escape=`\nFROM a\nRUN «apt-get update\nRUN apt-get install -y b\n", "# escape=`\nFROM a\nRUN apt-get update && `\n    apt-get install -y b\n"},
		"update and a comment":  {"dockerfile-update-alone", "FROM a\nRUN «apt-get update\n# why\nRUN apt-get install -y b\n", "!stands between"},
		"update and no more":    {"dockerfile-update-alone", "FROM a\nRUN «apt-get update\nRUN b\n", "!none that installs"},
		"user":                  {"dockerfile-root-user", "«FROM a\nRUN useradd -r -u 10001 app\nCMD x\n", "FROM a\nRUN useradd -r -u 10001 app\nCMD x\nUSER app\n"},
		"user, not at the end":  {"dockerfile-root-user", "«FROM a\nRUN adduser -D app\nUSER root\nCMD x", "FROM a\nRUN adduser -D app\nUSER root\nCMD x\nUSER app"},
		"no user":               {"dockerfile-root-user", "«FROM a\nCMD x\n", "!makes no user"},
		"a user of a stage":     {"dockerfile-root-user", "FROM a AS b\nRUN useradd app\n«FROM c\nCMD x\n", "!makes no user"},
		"two users":             {"dockerfile-root-user", "«FROM a\nRUN useradd b && useradd c\n", "!more than one"},
		"digest":                {"dockerfile-base-digest", "«FROM debian:12 AS b\n", "FROM debian:12@" + digest + " AS b\n"},
		"digest of another":     {"dockerfile-base-latest", "«FROM other\n", "!no digest"},
		"digest with a host":    {"dockerfile-base-latest", "«FROM --platform=linux/amd64 host.example/a/b\n", "FROM --platform=linux/amd64 host.example/a/b@" + digest + "\n"},
		"ssh among others":      {"dockerfile-ssh", "FROM a\nRUN «apt-get install -y curl openssh-server=1 vim\n", "FROM a\nRUN apt-get install -y curl vim\n"},
		"ssh all of a step":     {"dockerfile-ssh", "FROM a\nRUN apt-get update && \\\n «apt-get install -y openssh-server && rm -rf /var/lib/apt/lists/*\nRUN «ssh-keygen -A\n«EXPOSE 22\nCMD x\n", "FROM a\nCMD x\n"},
		"ssh in a list":         {"dockerfile-ssh", "FROM a\nRUN a && \\\n    «mkdir /run/sshd && \\\n    b\n«EXPOSE 80 22 8080\n", "FROM a\nRUN a && \\\n    b\nEXPOSE 80 8080\n"},
		"ssh first in a list":   {"dockerfile-ssh", "FROM a\nRUN «ssh-keygen -A && b\n", "FROM a\nRUN b\n"},
		"ssh is what it is for": {"dockerfile-ssh", "FROM a\nRUN «ssh-keygen -A\n«CMD [\"sshd\"]\n", "!what is it to run"},
		"a decision":            {"dockerfile-secrets", "FROM a\n«ENV A=b\n", "!a person"},
	} {
		at := placesOf(c.src, "«")
		src := strings.ReplaceAll(c.src, "«", "")
		got, err := Mend("D", []byte(src), c.check, at, Options{Context: context, Base: map[bool]func(string) *inventory.Object{true: base}[strings.Contains(name, "digest")]})
		if why, no := strings.CutPrefix(c.want, "!"); no {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %s\n%s", name, err, why, got.Text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := cmp.Diff(c.want, string(got.Text)); d != "" || got.Changes.Empty() {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// FuzzMend: a cure of any file, at any place, is a file that can be read, and
// what is not of it stays.
func FuzzMend(f *testing.F) {
	f.Add([]byte("FROM a\nRUN apt-get update \\\n # x\n && sudo curl -k x\nUSER b\n"), uint8(2), uint8(5))
	f.Fuzz(func(t *testing.T, src []byte, line, column uint8) {
		lines := strings.Split(string(src), "\n")
		if int(line) > len(lines) || line == 0 || column == 0 || int(column) > len(lines[line-1])+1 {
			return
		}
		p := inventory.Position{File: "D", Line: int(line), Column: int(column), EndLine: int(line), EndColumn: int(column)}
		for check := range cures {
			got, err := Mend("D", src, check, []inventory.Position{p}, Options{})
			if err != nil {
				continue
			}
			if _, err := Read("D", got.Text, Options{}); err != nil {
				t.Errorf("%s of %q: %q: %v", check, src, got.Text, err)
			}
		}
	})
}
