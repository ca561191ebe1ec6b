package daemonjson

import (
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

const prefix = "Effective."

// reloadable are the keys that dockerd takes on SIGHUP: moby, daemon/reload.go
// and reload_unix.go; https://docs.docker.com/reference/cli/dockerd/#configuration-reload-behavior.
var reloadable = []string{
	"allow-nondistributable-artifacts", "debug", "default-runtime", "default-shm-size",
	"features", "insecure-registries", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads",
	"max-download-attempts", "registry-mirrors", "runtimes", "shutdown-timeout",
}

// restarting are the other keys that this hand sets. An engine takes
// authorization-plugins on SIGHUP too, but up to 20.10 GET /info goes on to
// show the old ones, and one that is not there ends it: measured on 20.10.24.
var restarting = []string{
	"api-cors-header", "authorization-plugins", "bip", "bridge", "cgroup-parent", "containerd", "default-address-pools", "default-cgroupns-mode",
	"default-gateway", "default-gateway-v6", "default-ipc-mode", "default-network-opts", "default-ulimits", "dns", "dns-opts",
	"dns-search", "exec-opts", "experimental", "firewall-backend", "fixed-cidr", "fixed-cidr-v6", "group", "hosts", "icc",
	"init", "ip", "ip-forward", "ip-masq", "ip6tables", "iptables", "ipv6", "log-driver", "log-format", "log-level", "log-opts",
	"metrics-addr", "mtu", "network-control-plane-mtu", "no-new-privileges", "oom-score-adjust", "proxies", "raw-logs",
	"seccomp-profile", "selinux-enabled", "storage-opts", "swarm-default-advertise-addr", "tls", "tlscacert", "tlscert", "tlskey",
	"tlsverify", "userland-proxy", "userland-proxy-path",
}

// migrations are keys that hide or move what the engine keeps. Switching one
// is a project with an export and an import, not a setting: with another
// userns-remap images, containers and volumes are gone from view, and under
// live-restore a container runs on as real root without Docker seeing it.
var migrations = []string{"containerd-namespace", "containerd-plugin-namespace", "data-root", "exec-root", "storage-driver", "userns-remap"}

// nested are the keys that can be set one entry at a time.
var nested = []string{"default-ulimits", "features", "log-opts", "runtimes"}

// Means lists what this hand can set, and at what price.
func Means() []plan.Means {
	var out []plan.Means
	add := func(keys []string, cost plan.Disruption, undo lang.Text) {
		for _, key := range keys {
			m := plan.Means{
				Kind: inventory.Daemon, Field: prefix + key, Hand: Name, Cost: cost, Undo: undo,
				Reads: []string{"Config.Digest", "Config.File"}, Refuse: refuse,
			}
			out = append(out, m)
			if slices.Contains(nested, key) {
				m.Field += "."
				out = append(out, m)
			}
		}
	}
	add(reloadable, plan.Reload, lang.Text{
		En: "The old daemon.json is put back to the byte and the engine takes the old values without a restart.",
		Es: "Se repone el daemon.json anterior al byte y el motor toma los valores anteriores sin reiniciarse.",
	})
	add(restarting, plan.Restart, lang.Text{
		En: "The old daemon.json is put back to the byte and the engine is restarted; containers that ran run again.",
		Es: "Se repone el daemon.json anterior al byte y se reinicia el motor; los contenedores que corrían vuelven a correr.",
	})
	add(migrations, plan.Restart, lang.Text{En: "Not done by casco.", Es: "casco no lo hace."})
	return out
}

// keyOf is "log-opts.max-size" of "Effective.log-opts.max-size", and topOf
// that "log-opts".
func keyOf(field string) (key string, ok bool) { return strings.CutPrefix(field, prefix) }

func topOf(key string) string {
	top, _, _ := strings.Cut(key, ".")
	return top
}

// refuse says why a field of engine o is not for this hand. s tells which
// containers run and which engine a plan is for; it may be nil, then o is.
func refuse(s *inventory.Snapshot, o *inventory.Object, field string) lang.Text {
	key, ok := keyOf(field)
	if !ok {
		return lang.Text{En: "%s is no setting of daemon.json", Es: "%s no es un ajuste de daemon.json"}.F(field)
	}
	if _, _, asked := inventory.DaemonVersion.Of(o); s != nil && !asked {
		return lang.Text{
			En: "it is another engine than the one that was asked: casco -H unix://%s plan",
			Es: "es otro motor que el consultado: casco -H unix://%s plan",
		}.F(o.Ref.Name)
	}
	if why := refuseEngine(o); !why.Empty() {
		return why
	}
	if slices.Contains(migrations, topOf(key)) {
		return lang.Text{
			En: "%s is a migration: images, containers and volumes would vanish from view; export them, change it by hand, import them",
			Es: "%s es una migración: imágenes, contenedores y volúmenes dejarían de verse; expórtelos, cámbielo a mano e impórtelos",
		}.F(key)
	}
	from, _, _ := inventory.Lookup(o, "EffectiveFrom."+topOf(key))
	if from == "flag" {
		return onCommandLine(o, topOf(key))
	}
	swarm, _, _ := inventory.DaemonSwarmState.Of(o)
	if key == "live-restore" && swarm != "" && swarm != "inactive" {
		return lang.Text{
			En: "live-restore does not go with swarm mode: dockerd refuses it",
			Es: "live-restore no es compatible con el modo swarm: dockerd lo rechaza",
		}
	}
	if key == "icc" && keepsBridge(o) && running(s) {
		return keptBridge
	}
	return lang.Text{}
}

func refuseEngine(o *inventory.Object) lang.Text {
	if _, fact, ok := inventory.DaemonPid.Of(o); !ok {
		return lang.Text{
			En: "the process of the engine is not known: %s", Es: "no se conoce el proceso del motor: %s",
		}.F(fact.Err)
	}
	if rootless, _, _ := inventory.DaemonRootless.Of(o); rootless {
		return lang.Text{
			En: "the engine is rootless: its own user changes it",
			Es: "el motor es rootless: lo cambia su propio usuario",
		}
	}
	if why := hindranceOf(o); !why.Empty() {
		return why
	}
	if _, fact, ok := inventory.Lookup(o, "EffectiveFrom"); !ok {
		return lang.Text{
			En: "its settings could not be read: %s", Es: "no se pudieron leer sus ajustes: %s",
		}.F(fact.Err)
	}
	return lang.Text{}
}

// onCommandLine names the place where the flag comes from.
func onCommandLine(o *inventory.Object, key string) lang.Text {
	where := lang.Text{En: "where the engine is started", Es: "donde se inicia el motor"}
	unit, _, _ := inventory.DaemonUnit.Of(o)
	if name, _ := unit["Name"].(string); name != "" {
		where = lang.Text{En: "with: systemctl edit %s", Es: "con: systemctl edit %s"}.F(name)
	}
	return lang.Text{
		En: "%s is set on the command line of dockerd, which would not start with it in daemon.json too; change it " + where.En,
		Es: "%s está en la línea de órdenes de dockerd, que no arrancaría si estuviera también en daemon.json; cámbielo " + where.Es,
	}.F(key)
}

// keptBridge: measured on 20.10 and 29; dockerd logs "There are old running
// containers, the network config will not take affect".
var keptBridge = lang.Text{
	En: "live-restore keeps containers running over the restart, and dockerd changes icc only when none runs; stop them first, or switch live-restore off",
	Es: "live-restore mantiene contenedores en marcha durante el reinicio, y dockerd cambia icc solo cuando no corre ninguno; deténgalos antes, o desactive live-restore",
}

func keepsBridge(o *inventory.Object) bool {
	on, _, _ := inventory.DaemonWantLiveRestore.Of(o)
	return on
}

func running(s *inventory.Snapshot) bool {
	return slices.ContainsFunc(s.Of(inventory.Container), func(c *inventory.Object) bool {
		on, _, _ := inventory.Running.Of(c)
		return on
	})
}
