package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFlags(t *testing.T) {
	for _, tt := range []struct {
		line   string
		want   map[string]any
		config string
	}{
		{"dockerd", map[string]any{}, ""},
		{"dockerd --config-file /a/b.json", map[string]any{}, "/a/b.json"},
		{"dockerd --config-file=/a --config-file /b", map[string]any{}, "/b"},
		{"dockerd --log-level=debug", map[string]any{"log-level": "debug"}, ""},
		{"dockerd --log-level debug --log-level warn", map[string]any{"log-level": "warn"}, ""},
		{"dockerd -l debug", map[string]any{"log-level": "debug"}, ""},
		{"dockerd -ldebug", map[string]any{"log-level": "debug"}, ""},
		{"dockerd -l=debug", map[string]any{"log-level": "debug"}, ""},
		{"dockerd -Dl debug", map[string]any{"debug": true, "log-level": "debug"}, ""},
		{"dockerd -D=false", map[string]any{"debug": false}, ""},
		{"dockerd --icc", map[string]any{"icc": true}, ""},
		{"dockerd --icc=false --iptables=0", map[string]any{"icc": false, "iptables": false}, ""},
		// A boolean takes no word after it: this is --icc, and a word for nobody.
		{"dockerd --icc false", map[string]any{"icc": true}, ""},
		{
			"dockerd -H fd:// -Htcp://0.0.0.0:2375 --host unix:///x.sock --host=unix:///y.sock",
			map[string]any{"hosts": []any{"fd://", "tcp://0.0.0.0:2375", "unix:///x.sock", "unix:///y.sock"}},
			"",
		},
		{"dockerd --insecure-registry a:5000 --insecure-registry=b:5000", map[string]any{"insecure-registries": []any{"a:5000", "b:5000"}}, ""},
		{"dockerd --authorization-plugin guard", map[string]any{"authorization-plugins": []any{"guard"}}, ""},
		{"dockerd --storage-opt dm.basesize=20G --storage-opt=a=b", map[string]any{"storage-opts": []any{"dm.basesize=20G", "a=b"}}, ""},
		{"dockerd --log-opt max-size=10m --log-opt max-file=3", map[string]any{"log-opts": map[string]any{"max-size": "10m", "max-file": "3"}}, ""},
		{"dockerd --default-ulimit nofile=64:128 --default-ulimit nproc=9", map[string]any{"default-ulimits": map[string]any{
			"nofile": map[string]any{"Name": "nofile", "Soft": json.Number("64"), "Hard": json.Number("128")},
			"nproc":  map[string]any{"Name": "nproc", "Soft": json.Number("9"), "Hard": json.Number("9")},
		}}, ""},
		{"dockerd --add-runtime kata=/usr/bin/kata", map[string]any{"runtimes": map[string]any{"kata": map[string]any{"path": "/usr/bin/kata"}}}, ""},
		{
			"dockerd --default-address-pool base=10.0.0.0/8,size=24",
			map[string]any{"default-address-pools": []any{map[string]any{"base": "10.0.0.0/8", "size": json.Number("24")}}},
			"",
		},
		{"dockerd --mtu 1400", map[string]any{"mtu": json.Number("1400")}, ""},
		{"dockerd --new-flag=x --other y --icc=false", map[string]any{"icc": false}, ""},
		{"dockerd -- --icc=false", map[string]any{}, ""},
		{"dockerd --log-level", map[string]any{}, ""},
		{"dockerd --group --icc", map[string]any{"group": "--icc"}, ""},
		{"dockerd -g /data", map[string]any{"data-root": "/data"}, ""},
		{"dockerd --D", map[string]any{}, ""},
	} {
		got, config := parseFlags(strings.Fields(tt.line))
		if diff := cmp.Diff(tt.want, got); diff != "" || config != tt.config {
			t.Errorf("%s: config file %q, want %q, settings (-want +got):\n%s", tt.line, config, tt.config, diff)
		}
	}
}

func FuzzParseFlags(f *testing.F) {
	f.Add("dockerd\x00-DH\x00fd://\x00--log-opt\x00a=b\x00--default-ulimit=nofile=1:2")
	f.Fuzz(func(t *testing.T, line string) {
		given, _ := parseFlags(strings.Split(line, "\x00"))
		for key := range given {
			if strings.HasPrefix(key, "\x00") {
				t.Errorf("%q is no setting of daemon.json", key)
			}
		}
	})
}

func TestEffective(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    invocation
		key   string
		value any
		from  string
	}{
		{"default", invocation{}, "icc", true, "default"},
		{"file", invocation{file: map[string]any{"icc": false}}, "icc", false, "file"},
		{"flag", invocation{args: []string{"dockerd", "--icc=false"}}, "icc", false, "flag"},
		{"flag of a list", invocation{args: []string{"dockerd", "--insecure-registry", "r:5000"}}, "insecure-registries", []any{"r:5000"}, "flag"},
		{"the flag stands against a later edit", invocation{args: []string{"dockerd", "--icc=true"}, file: map[string]any{"icc": false}}, "icc", true, "flag"},
		{"old name of data-root", invocation{file: map[string]any{"graph": "/g"}}, "data-root", "/g", "file"},
		{"seccomp before 23", invocation{major: 20}, "seccomp-profile", "", "default"},
		{"seccomp since 23", invocation{major: 28}, "seccomp-profile", "builtin", "default"},
		{"ip6tables before 27", invocation{major: 26}, "ip6tables", false, "default"},
		{"ip6tables since 27", invocation{major: 27}, "ip6tables", true, "default"},
		{"ip6tables of an unknown engine", invocation{}, "ip6tables", nil, ""},
		{"tlsverify implies tls", invocation{file: map[string]any{"tlsverify": true}}, "tls", true, "file"},
		{"certificates without TLS", invocation{env: map[string]string{"HOME": "/root"}}, "tlscacert", "", "default"},
		{"certificates with TLS", invocation{args: []string{"dockerd", "--tls"}, env: map[string]string{"HOME": "/root"}}, "tlscacert", "/root/.docker/ca.pem", "default"},
		{"certificates by the environment", invocation{env: map[string]string{"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}}, "tlskey", "/c/key.pem", "default"},
		{"rootless", invocation{env: map[string]string{"ROOTLESSKIT_STATE_DIR": "/x", "XDG_RUNTIME_DIR": "/run/user/7"}}, "hosts", []any{"unix:///run/user/7/docker.sock"}, "default"},
		{"a proxy is nested", invocation{args: []string{"dockerd", "--http-proxy", "http://p"}}, "proxies", map[string]any{"http-proxy": "http://p"}, "flag"},
		{"a key we do not know", invocation{file: map[string]any{"brand-new": "x"}}, "brand-new", "x", "file"},
	} {
		values, from := tt.in.effective()
		source, _ := from[tt.key].(string)
		if diff := cmp.Diff(tt.value, values[tt.key]); diff != "" || source != tt.from {
			t.Errorf("%s: %s from %q, want from %q (-want +got):\n%s", tt.name, tt.key, source, tt.from, diff)
		}
	}
}

func TestEffectiveIsFresh(t *testing.T) {
	file := map[string]any{"log-opts": map[string]any{"max-size": "1m"}}
	values, _ := invocation{file: file}.effective()
	values["default-ulimits"].(map[string]any)["nofile"] = "spoilt"
	again, _ := invocation{}.effective()
	if len(again["default-ulimits"].(map[string]any)) != 0 {
		t.Error("a caller that changes what it got changes the defaults of the next")
	}
}

func TestConfigPath(t *testing.T) {
	for _, tt := range []struct {
		in   invocation
		want string
	}{
		{invocation{}, "/etc/docker/daemon.json"},
		{invocation{args: []string{"dockerd", "--config-file", "/x.json"}}, "/x.json"},
		{invocation{env: map[string]string{"ROOTLESSKIT_STATE_DIR": "/s", "HOME": "/home/ana"}}, "/home/ana/.config/docker/daemon.json"},
		{invocation{args: []string{"dockerd", "--rootless"}, env: map[string]string{"XDG_CONFIG_HOME": "/c"}}, "/c/docker/daemon.json"},
	} {
		if got := tt.in.configPath(); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string]any
		err  string
	}{
		{"", map[string]any{}, ""},
		{" \n", map[string]any{}, ""},
		{"\xef\xbb\xbf{\"icc\": false}", map[string]any{"icc": false}, ""},
		{`{"mtu": 1400}`, map[string]any{"mtu": json.Number("1400")}, ""},
		{"{\n\"icc\": false,\n}", nil, "3:1: "},
		{"null", nil, "want an object"},
		{"[1]", nil, "array"},
		{"{} {}", nil, "follows"},
	} {
		got, err := parseConfig([]byte(tt.text))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %q", tt.text, err, tt.err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", tt.text, err, diff)
		}
	}
}
