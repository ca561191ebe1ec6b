package ocicall

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want Call
	}{
		{"", Call{}},
		{"--version", Call{Globals: 1}},
		{"-v", Call{Globals: 1}},
		{"start c1", Call{Verb: "start", ID: "c1"}},
		{
			"--root /run/d/moby --log /b/log.json --log-format json start c1",
			Call{Verb: "start", ID: "c1", Root: "/run/d/moby", Log: "/b/log.json", LogJSON: true, Globals: 6},
		},
		{
			"--root=/run/d/moby --log=/b/log.json --log-format=json --systemd-cgroup start c1",
			Call{Verb: "start", ID: "c1", Root: "/run/d/moby", Log: "/b/log.json", LogJSON: true, Globals: 4},
		},
		{"-root /r --systemd-cgroup=true --log /l --log-format text start c1", Call{Verb: "start", ID: "c1", Root: "/r", Log: "/l", Globals: 7}},
		{"--debug --rootless false start -- c1", Call{Verb: "start", ID: "c1", Globals: 3}},
		{"--root start start c1", Call{Verb: "start", ID: "c1", Root: "start", Globals: 2}}, // a directory called start
		{"--unknown start c1", Call{Verb: "start", ID: "c1", Globals: 1}},
		{"--unknown value start c1", Call{Verb: "start", ID: "c1", Globals: 2}},
		{"--platform=kvm --debug-log /tmp/x --network host --root /r start c1", Call{Verb: "start", ID: "c1", Root: "/r", Globals: 7}},
		{"--cgroup-manager disabled start c1", Call{Verb: "start", ID: "c1", Globals: 2}},
		{"--root /r create --bundle /b --pid-file /b/init.pid c1", Call{Verb: "create", ID: "c1", Root: "/r", Bundle: "/b", Globals: 2}},
		{"--root /r exec -d c1 start", Call{Verb: "exec", Root: "/r", Globals: 2}},
		{"--root /r kill start 9", Call{Verb: "kill", Root: "/r", Globals: 2}},
		{"run -d --bundle /b --pid-file /p c1", Call{Verb: "run", ID: "c1", Bundle: "/b"}},
		{"restore --bundle=/b --image-path /i c1", Call{Verb: "restore", ID: "c1", Bundle: "/b"}},
		{"start", Call{Verb: "start"}},
		{"--root", Call{Globals: 1}},
		{"- start c1", Call{Verb: "-"}},
	} {
		if diff := cmp.Diff(c.want, Parse(strings.Fields(c.args))); diff != "" {
			t.Errorf("%q: %s", c.args, diff)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"c1": true, strings.Repeat("0af", 20): true, "A_b+c-d.e": true,
		"": false, ".": false, "..": false, "../x": false, "a/b": false, "a\nb": false, "a b": false, "ñ": false,
	} {
		if ValidID(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}

// FuzzParse: no arguments make it fail, and a start is found whatever flags
// with "=" stand before it.
func FuzzParse(f *testing.F) {
	f.Add("--root\x00/r\x00start\x00c1")
	f.Add("--root=/r\x00--log\x00/l\x00run\x00-b\x00/b\x00c1")
	f.Add("--\x00-\x00=\x00--=x")
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		c := Parse(args)
		if c.Globals > len(args) || c.Verb != "" && args[c.Globals] != c.Verb {
			t.Errorf("%q: verb %q after %d arguments", args, c.Verb, c.Globals)
		}
		flags := []string{}
		for _, a := range args {
			if strings.HasPrefix(a, "-") && strings.Contains(a, "=") {
				flags = append(flags, a)
			}
		}
		if c := Parse(append(flags, "start", "c1")); c.Verb != "start" || c.ID != "c1" {
			t.Errorf("%q: the start is not seen: %+v", flags, c)
		}
	})
}
