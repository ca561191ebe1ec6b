package compose

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/loop/plan"
)

const file = `# the shop
x-logging: &log
  driver: json-file

services:
    web:   # the front
        image: "bb:1"
        privileged: true

        # published for the proxy
        ports:
        - "80:80"       # world
        - 127.0.0.1:8081:81/udp
        volumes:
          - ./data:/data
          - type: bind
            source: /var/run/docker.sock
            target: /sock
          - named:/named
        command: |
            echo one

            # not a comment
            sleep 9
        logging: *log

    # the store
    db: {image: "bb:1"}
    last:
        image: bb:1
        tmpfs: [/tmp]
volumes:
    named: {}
`

func decode(t *testing.T, s string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestEdit makes one set at a time and compares lines: those with - go, those
// with + come, and all others stay as they are.
func TestEdit(t *testing.T) {
	for _, c := range []struct {
		name, service, field, from, to string
		want                           []string
	}{
		{"replace", "web", "HostConfig.Privileged", "true", "false", []string{"-        privileged: true", "+        privileged: false"}},
		{"add after a block scalar and an alias", "web", "HostConfig.ReadonlyRootfs", "false", "true", []string{"+        read_only: true"}},
		{"add a list", "last", "HostConfig.CapDrop", "null", `["ALL"]`, []string{"+        cap_drop:", `+          - "ALL"`}},
		{"replace a list in one line", "last", "HostConfig.Tmpfs", "null", `{"/run":"size=1m","/tmp":""}`, []string{"-        tmpfs: [/tmp]", "+        tmpfs:", `+          - "/run:size=1m"`, `+          - "/tmp"`}},
		{"take a key away", "last", "HostConfig.Tmpfs", "null", `{}`, []string{"-        tmpfs: [/tmp]"}},
		{"default that is not there", "web", "HostConfig.PidMode", `"host"`, `""`, nil},
		{"numbers", "last", "HostConfig.NanoCpus", "0", "1500000000", []string{"+        cpus: 1.5"}},
		{"a port, and its neighbours stay", "web", "HostConfig.PortBindings.80/tcp", "null", `[{"HostIp":"127.0.0.1","HostPort":"8080"}]`, []string{`-        - "80:80"       # world`, `+        - "127.0.0.1:8080:80"`}},
		{"a udp port, v6", "web", "HostConfig.PortBindings.81/udp", "null", `[{"HostIp":"::1","HostPort":"9"}]`, []string{"-        - 127.0.0.1:8081:81/udp", `+        - "[::1]:9:81/udp"`}},
		{"a port no more", "web", "HostConfig.PortBindings.81/udp", "null", `[]`, []string{"-        - 127.0.0.1:8081:81/udp"}},
		{
			"a bind in the long form", "web", "HostConfig.Binds", `["/srv/data:/data","/var/run/docker.sock:/sock"]`, `["/srv/data:/data"]`,
			[]string{"-          - type: bind", "-            source: /var/run/docker.sock", "-            target: /sock"},
		},
		{
			"a log driver and its options", "last", "HostConfig.LogConfig", "null", `{"Type":"json-file","Config":{"max-size":"10m","max-file":"3"}}`,
			[]string{"+        logging:", `+          driver: "json-file"`, "+          options:", `+            max-file: "3"`, `+            max-size: "10m"`},
		},
		{
			"limits", "last", "HostConfig.Ulimits", "null", `[{"Name":"nofile","Soft":1024,"Hard":2048}]`,
			[]string{"+        ulimits:", "+          nofile:", "+            hard: 2048", "+            soft: 1024"},
		},
		{
			"a health check", "last", "Config.Healthcheck", "null", `{"Test":["CMD-SHELL","test -f $HOME/ok"],"Interval":90000000000,"Retries":3,"Timeout":0}`,
			[]string{"+        healthcheck:", `+          interval: "1m30s"`, "+          retries: 3", "+          test:", `+            - "CMD-SHELL"`, `+            - "test -f $$HOME/ok"`},
		},
		{"no health check", "last", "Config.Healthcheck", "null", `{"Test":["NONE"]}`, []string{"+        healthcheck:", "+          disable: true"}},
		{"a cgroup namespace", "last", "HostConfig.CgroupnsMode", `"host"`, `"private"`, []string{`+        cgroup: "private"`}},
		{"dollars are no variables", "last", "Config.User", `""`, `"$u"`, []string{`+        user: "$$u"`}},
	} {
		set := plan.Set{Field: c.field, From: decode(t, c.from), To: decode(t, c.to)}
		for _, newline := range []string{"\n", "\r\n"} {
			got, err := edit([]byte(strings.ReplaceAll(file, "\n", newline)), c.service, set)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if d := cmp.Diff(c.want, lineDiff(strings.ReplaceAll(file, "\n", newline), string(got), newline)); d != "" {
				t.Errorf("%s (%q):\n%s", c.name, newline, d)
			}
		}
	}
}

// lineDiff is the lines that went and came, in order of where they stood.
func lineDiff(was, now, newline string) []string {
	a, b := strings.Split(was, newline), strings.Split(now, newline)
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < len(a)-i && j < len(b)-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	var out []string
	for _, l := range a[i : len(a)-j] {
		out = append(out, "-"+l)
	}
	for _, l := range b[i : len(b)-j] {
		out = append(out, "+"+l)
	}
	return out
}

// TestEditRefuses wants an error in place of a guess.
func TestEditRefuses(t *testing.T) {
	const yes = true
	for name, c := range map[string]struct {
		src, service string
		set          plan.Set
		want         string
	}{
		"service in one line":      {file, "db", plan.Set{Field: "HostConfig.Privileged", To: yes}, "not written as a block"},
		"no such service":          {file, "nope", plan.Set{Field: "HostConfig.Privileged", To: yes}, "is not in the file"},
		"no key for it":            {file, "web", plan.Set{Field: "HostConfig.ShmSize", To: 1}, "no key in a compose file"},
		"a bind is added":          {file, "web", plan.Set{Field: "HostConfig.Binds", To: []any{"/a:/b"}}, "not added"},
		"options of no driver":     {file, "last", plan.Set{Field: "HostConfig.LogConfig", To: map[string]any{"Config": map[string]any{"a": "b"}}}, "need its name"},
		"a log driver by an alias": {file, "web", plan.Set{Field: "HostConfig.LogConfig", To: map[string]any{"Type": "local"}}, "shared with other places"},
		"half a limit":             {file, "last", plan.Set{Field: "HostConfig.Ulimits", To: []any{map[string]any{"Name": "nofile", "Soft": 1}}}, "needs Name, Soft and Hard"},
		"an interval of words":     {file, "last", plan.Set{Field: "Config.Healthcheck", To: map[string]any{"Interval": "soon"}}, "Interval"},
		"a bind of another":        {file, "web", plan.Set{Field: "HostConfig.Binds", From: []any{"/a:/b"}, To: []any{}}, "does not have it"},
		"a port of another":        {file, "web", plan.Set{Field: "HostConfig.PortBindings.9/tcp", To: []any{}}, "does not have it"},
		"two bindings":             {file, "web", plan.Set{Field: "HostConfig.PortBindings.80/tcp", To: []any{1, 2}}, "more than one"},
		"merged from an anchor": {
			"x: &x {privileged: true}\nservices:\n  a:\n    <<: *x\n    image: b\n", "a", plan.Set{Field: "HostConfig.CapAdd", To: []any{1}}, "not a string",
		},
		"anchor on the value": {
			"services:\n  a:\n    image: b\n    cap_add: &c [X]\n  b:\n    image: b\n    cap_add: *c\n", "a", plan.Set{Field: "HostConfig.CapAdd", To: []any{}}, "by an anchor",
		},
		"nothing left":      {"services:\n  a:\n    privileged: true\n", "a", plan.Set{Field: "Config.User", To: ""}, ""},
		"not yaml":          {"services: [", "a", plan.Set{Field: "Config.User", To: "x"}, "yaml"},
		"a list at the top": {"- a\n", "a", plan.Set{Field: "Config.User", To: "x"}, "not a mapping"},
		"byte order mark":   {"\ufeffservices: {}\n", "a", plan.Set{Field: "Config.User", To: "x"}, "byte order mark"},
	} {
		got, err := edit([]byte(c.src), c.service, c.set)
		if c.want == "" {
			if err != nil || string(got) != c.src {
				t.Errorf("%s: %q %v", name, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// FuzzEdit wants of any file: an error, or a file that says the same as before
// in everything else (edit checks that itself) and that can be edited back.
func FuzzEdit(f *testing.F) {
	f.Add(file, "web")
	f.Add("services:\n  a:\n    image: b\n    x: |\n     y\n", "a")
	f.Fuzz(func(t *testing.T, src, service string) {
		now, err := edit([]byte(src), service, plan.Set{Field: "HostConfig.ReadonlyRootfs", To: true})
		if err != nil {
			return
		}
		if again, err := edit(now, service, plan.Set{Field: "HostConfig.ReadonlyRootfs", To: true}); err != nil || string(again) != string(now) {
			t.Errorf("%q\n%q\n%q %v", src, now, again, err)
		}
	})
}

// TestLabelsAreNotBelieved refuses what an image, or somebody's docker run,
// could have written to have root read a file of theirs.
func TestLabelsAreNotBelieved(t *testing.T) {
	if err := byCompose(map[string]string{"maintainer": "x", label + "version": "2", label + "project": "p", label + "service": "s"}); err != nil {
		t.Errorf("an image that Compose built: %v", err)
	}
	for _, l := range []string{label + "project.working_dir", label + "project.config_files", labelHash} {
		if byCompose(map[string]string{l: "x"}) == nil {
			t.Errorf("an image with the label %s is believed", l)
		}
	}
	for _, service := range []string{"--privileged", "-f", "a b", "a\n", ""} {
		c := &container{}
		c.Config.Labels = map[string]string{
			label + "project": "p", label + "service": service, label + "project.working_dir": "/p",
			label + "project.config_files": "/p/c.yaml", labelHash: "h",
		}
		if _, err := c.project(); err == nil {
			t.Errorf("service %q is believed", service)
		}
	}
}
