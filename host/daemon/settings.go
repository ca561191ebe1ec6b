package daemon

// A form is how a setting is written on the command line.
type form uint8

const (
	text     form = iota // --log-level debug
	boolean              // --icc, --icc=false; never "--icc false"
	number               // --mtu 1400
	list                 // --dns 1.1.1.1, repeated
	pairs                // --log-opt max-size=1m, repeated: a map
	ulimits              // --default-ulimit nofile=64:128, repeated: a map of objects
	runtimes             // --add-runtime name=path, repeated: a map of objects
	pools                // --default-address-pool base=10.0.0.0/8,size=24, repeated: a list of objects
)

// A setting is one of dockerd's, under its name in daemon.json.
type setting struct {
	key   string // "insecure-registries"; a dot leads into a nested object
	flag  string // "insecure-registry"; "" if it is the key
	short string // "H"
	form  form
	// value is the default, nil if there is none or it depends: see defaults.
	value any
}

// settings are those of dockerd 20.10 to 29: dockerd(8), "dockerd --help", and
// https://docs.docker.com/reference/cli/dockerd/.
var settings = []setting{
	{key: "allow-direct-routing", form: boolean, value: false},
	{key: "allow-nondistributable-artifacts", form: list},
	{key: "api-cors-header"},
	{key: "authorization-plugins", flag: "authorization-plugin", form: list, value: []any{}},
	{key: "bip"},
	{key: "bridge", short: "b", value: ""},
	{key: "bridge-accept-fwmark"},
	{key: "cdi-spec-dirs", flag: "cdi-spec-dir", form: list},
	{key: "cgroup-parent", value: ""},
	{key: "cluster-advertise"},
	{key: "cluster-store"},
	{key: "cluster-store-opts", flag: "cluster-store-opt", form: pairs},
	{key: "containerd"},
	{key: "containerd-namespace", value: "moby"},
	{key: "containerd-plugin-namespace", flag: "containerd-plugins-namespace", value: "plugins.moby"},
	{key: "cpu-rt-period", form: number},
	{key: "cpu-rt-runtime", form: number},
	{key: "cri-containerd", form: boolean},
	{key: "data-root", value: "/var/lib/docker"},
	{key: "debug", short: "D", form: boolean, value: false},
	{key: "default-address-pools", flag: "default-address-pool", form: pools},
	{key: "default-cgroupns-mode"},
	{key: "default-gateway"},
	{key: "default-gateway-v6"},
	{key: "default-ipc-mode", value: "private"},
	{key: "default-network-opts", flag: "default-network-opt", form: pairs},
	{key: "default-runtime", value: "runc"},
	{key: "default-shm-size"},
	{key: "default-stop-timeout", form: number},
	{key: "default-ulimits", flag: "default-ulimit", form: ulimits, value: map[string]any{}},
	{key: "deprecated-key-path"},
	{key: "dns", form: list, value: []any{}},
	{key: "dns-opts", flag: "dns-opt", form: list},
	{key: "dns-search", form: list},
	{key: "exec-opts", flag: "exec-opt", form: list},
	{key: "exec-root", value: "/var/run/docker"},
	{key: "experimental", form: boolean, value: false},
	{key: "features", flag: "feature", form: pairs},
	{key: "firewall-backend"},
	{key: "fixed-cidr"},
	{key: "fixed-cidr-v6"},
	{key: "group", short: "G", value: "docker"},
	{key: "host-gateway-ip"},
	{key: "hosts", flag: "host", short: "H", form: list, value: []any{"unix:///var/run/docker.sock"}},
	{key: "icc", form: boolean, value: true},
	{key: "init", form: boolean, value: false},
	{key: "init-path"},
	{key: "insecure-registries", flag: "insecure-registry", form: list, value: []any{}},
	{key: "ip", value: "0.0.0.0"},
	{key: "ip-forward", form: boolean, value: true},
	{key: "ip-forward-no-drop", form: boolean, value: false},
	{key: "ip-masq", form: boolean, value: true},
	{key: "ip6tables", form: boolean},
	{key: "iptables", form: boolean, value: true},
	{key: "ipv6", form: boolean, value: false},
	{key: "labels", flag: "label", form: list, value: []any{}},
	{key: "live-restore", form: boolean, value: false},
	{key: "log-driver", value: "json-file"},
	{key: "log-format", value: "text"},
	{key: "log-level", short: "l", value: "info"},
	{key: "log-opts", flag: "log-opt", form: pairs, value: map[string]any{}},
	{key: "max-concurrent-downloads", form: number, value: int64(3)},
	{key: "max-concurrent-uploads", form: number, value: int64(5)},
	{key: "max-download-attempts", form: number, value: int64(5)},
	{key: "metrics-addr", value: ""},
	{key: "mtu", form: number},
	{key: "network-control-plane-mtu", form: number},
	{key: "no-new-privileges", form: boolean, value: false},
	{key: "node-generic-resources", flag: "node-generic-resource", form: list},
	{key: "oom-score-adjust", form: number},
	{key: "pidfile", short: "p", value: "/var/run/docker.pid"},
	{key: "proxies.http-proxy", flag: "http-proxy"},
	{key: "proxies.https-proxy", flag: "https-proxy"},
	{key: "proxies.no-proxy", flag: "no-proxy"},
	{key: "raw-logs", form: boolean, value: false},
	{key: "registry-mirrors", flag: "registry-mirror", form: list, value: []any{}},
	{key: "rootless", form: boolean, value: false},
	{key: "runtimes", flag: "add-runtime", form: runtimes},
	{key: "seccomp-profile"},
	{key: "selinux-enabled", form: boolean, value: false},
	{key: "shutdown-timeout", form: number, value: int64(15)},
	{key: "storage-driver", short: "s"},
	{key: "storage-opts", flag: "storage-opt", form: list, value: []any{}},
	{key: "swarm-default-advertise-addr"},
	{key: "tls", form: boolean, value: false},
	{key: "tlscacert"},
	{key: "tlscert"},
	{key: "tlskey"},
	{key: "tlsverify", form: boolean, value: false},
	{key: "userland-proxy", form: boolean, value: true},
	{key: "userland-proxy-path"},
	{key: "userns-remap", value: ""},

	// Older names of a key, which dockerd up to 22 still took.
	{key: "data-root", flag: "graph", short: "g"},
}

// Flags that are no setting of daemon.json.
const configFile = "\x00config-file"

var notSettings = []setting{
	{key: configFile, flag: "config-file"},
	{key: "\x00validate", flag: "validate", form: boolean},
	{key: "\x00version", flag: "version", short: "v", form: boolean},
	{key: "\x00help", flag: "help", short: "h", form: boolean},
}

func (s setting) flagName() string {
	if s.flag != "" {
		return s.flag
	}
	return s.key
}

// byFlag finds a flag by its long name, or its letter if the name is one.
func byFlag(name string) (setting, bool) {
	for _, group := range [][]setting{settings, notSettings} {
		for _, s := range group {
			if s.flagName() == name || len(name) == 1 && s.short == name {
				return s, true
			}
		}
	}
	return setting{}, false
}
