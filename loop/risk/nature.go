package risk

import (
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Class is what a failed check leaves to whoever makes use of it. It gives
// the base of the likelihood and the exploitation axis of the priority.
type Class string

const (
	Takeover   Class = "takeover"   // who is there owns the host, with no further flaw
	Escalation Class = "escalation" // a defence is missing: one known step leads on
	Layer      Class = "layer"      // one of several defences is weaker
	Hygiene    Class = "hygiene"    // good order; harm needs much else
)

// classOf is the rule: a severity says how bad a check's failure is before
// anything is known of the object, and so does the class.
var classOf = map[audit.Severity]Class{
	audit.Critical: Takeover, audit.High: Escalation, audit.Medium: Layer, audit.Low: Hygiene,
}

// classes are the checks for which the rule is wrong, and why.
var classes = map[string]struct {
	is  Class
	why string
}{
	"container-sensitive-mount": {Takeover, "the host's keys can be read or its code written as they lie there: no flaw is needed"},
	"container-drift":           {Layer, "a sign that something happened, not a way for it to happen"},
	"container-ssh":             {Layer, "a service to guess at, behind its own login"},
	"daemon-selinux":            {Layer, "one layer of several is absent; nothing leads on by that alone"},
	"kernel-lsm":                {Layer, "one layer of several is absent; nothing leads on by that alone"},
	"kernel-config-isolation":   {Layer, "one layer of several is absent; nothing leads on by that alone"},
	"engine-versions":           {Layer, "out of support is no hole yet; those have a check of their own"},
	"host-version":              {Layer, "out of support is no hole yet"},

	"sysctl-net-bridge-bridge-nf-call-iptables":  {Layer, "matters only where containers of one bridge are filtered"},
	"sysctl-net-bridge-bridge-nf-call-ip6tables": {Layer, "matters only where containers of one bridge are filtered"},
}

// A Threat is what an attacker does with a failed check. Findings of one object
// with the same threat are one risk: curing one of them leaves the scenario,
// only less likely.
type Threat string

const (
	Escape     Threat = "escape"     // from a container to the host
	Entry      Threat = "entry"      // from the network into the object
	Spread     Threat = "spread"     // from one container to others over the network
	Command    Threat = "command"    // the engine obeys somebody it should not
	Foothold   Threat = "foothold"   // from a user or service of the host to all of it
	Disclosure Threat = "disclosure" // a secret is read
	Supply     Threat = "supply"     // something runs that nobody approved, or known to be bad
	Exhaustion Threat = "exhaustion" // it takes what others need, or does not come back
	Blindness  Threat = "blindness"  // nobody would notice
	Other      Threat = "other"      // an organisation's own check
)

// Threats are all there are, in the order of a report.
var Threats = []Threat{Escape, Command, Entry, Spread, Foothold, Disclosure, Supply, Exhaustion, Blindness, Other}

// scenarios say each threat in words; %s is the object.
var scenarios = map[Threat]lang.Text{
	Escape:     {En: "Whoever is inside %s reaches the host", Es: "Quien está dentro de %s alcanza el anfitrión"},
	Entry:      {En: "An attacker from the network gets into %s", Es: "Un atacante de la red entra en %s"},
	Spread:     {En: "Whoever holds one container reaches others through %s", Es: "Quien tiene un contenedor alcanza otros a través de %s"},
	Command:    {En: "Somebody who should not commands the engine through %s", Es: "Alguien que no debe manda sobre el motor a través de %s"},
	Foothold:   {En: "A user or service of the host takes all of it through %s", Es: "Un usuario o servicio del anfitrión lo toma entero a través de %s"},
	Disclosure: {En: "Secrets are read from %s", Es: "Se leen secretos de %s"},
	Supply:     {En: "Something that nobody approved, or known to be bad, runs from %s", Es: "Desde %s corre algo que nadie aprobó o que se sabe malo"},
	Exhaustion: {En: "%s takes what others need, or stays down", Es: "%s consume lo que otros necesitan o no se recupera"},
	Blindness:  {En: "What happens at %s leaves no trace", Es: "Lo que ocurre en %s no deja rastro"},
	Other:      {En: "%s does not keep a rule of the organisation", Es: "%s no cumple una regla de la organización"},
}

// threats by check ID; an entry that ends in "-" is for all that begin so. The
// longest entry counts.
var threats = map[Threat]string{
	Escape: `container-apparmor container-apparmor-declared container-capabilities container-combination
		container-dangerous-capabilities container-devices container-engine-socket container-exec-privileged container-exec-root
		container-cgroup-parent container-host- container-mount-propagation container-no-new-privileges container-privileged
		container-root-user container-runtime-policy container-seccomp container-selinux container-sensitive-mount container-system-paths
		container-user-namespace volume-host-path image-root-user image-setuid dockerfile-root-user dockerfile-setuid dockerfile-sudo dockerfile-build-rights compose-build-rights dockerfile-volume
		dockerfile-world-writable daemon-no-new-privileges daemon-seccomp-profile
		daemon-selinux daemon-userns-remap daemon-rootless engine-known-holes engine-versions kernel- sysctl-kernel- sysctl-user-`,
	Entry: `container-published-everywhere container-privileged-port container-random-port container-unused-port container-ssh
		dockerfile-ssh dockerfile-ports dockerfile-empty-password
		listener-all-addresses listener-forbidden daemon-userland-proxy daemon-forward`,
	Spread: `container-default-bridge container-mixed-tiers container-tier-default policy-crossing-review guard-network daemon-runtime-gate daemon-dns container-net-raw container-host-net daemon-icc network- daemon-iptables
		daemon-ip6tables swarm-data-path swarm-ingress-encryption swarm-overlay-encryption sysctl-net-`,
	Command: `daemon-tls daemon-authorization-plugin docker-accounts file- guard-door listener-engine-port operations-swarm swarm-ca-rotation
		swarm-cert-expiry swarm-listen`,
	Foothold:   `account- host- package- unit- sysctl-fs-`,
	Disclosure: `container-access-material container-secret-env image-secrets compose-secrets dockerfile-secrets dockerfile-private-files volume-secrets swarm-secrets swarm-autolock swarm-unlock-key registry-credentials`,
	Supply: `container-drift container-image- container-read-only-root image- dockerfile- daemon-insecure-registries registry-insecure
		registry-plain registry-identity registry-anonymous-push registry-redirect registry-false-digest file-registry-`,
	Exhaustion: `container-cpu container-memory container-pids container-ulimits container-restart container-healthcheck container-log-bounds
		image-healthcheck dockerfile-healthcheck daemon-log-bounds daemon-live-restore daemon-default-ulimits daemon-cgroup-parent daemon-storage-basesize
		daemon-aufs daemon-devicemapper daemon-experimental data-root-filesystem operations- swarm-managers kernel-cgroup
		sysctl-net-ipv4-tcp-syncookies`,
	Blindness: `pragma- watch- daemon-log-level daemon-log-shipping`,
}

var threatOf = func() map[string]Threat {
	m := map[string]Threat{}
	for t, list := range threats {
		for id := range strings.FieldsSeq(list) {
			m[id] = t
		}
	}
	return m
}()

// remote are the checks whose failure is itself a way in over the network, that
// a program can find and use by itself: SSVC's "automatable".
var remote = map[string]bool{
	"container-published-everywhere": true, "container-random-port": true, "container-ssh": true, "daemon-tls": true,
	"listener-all-addresses": true, "listener-engine-port": true, "listener-forbidden": true, "swarm-listen": true,
}

// A Nature is what kind of weakness a check finds.
type Nature struct {
	Class  Class
	Threat Threat
	Remote bool
}

// NatureOf says what the failure of check id with that severity means. A check
// that the tables do not know, as one of the organisation's own, is of threat
// Other, and of the class that its severity gives.
func NatureOf(id string, s audit.Severity) Nature {
	n := Nature{classOf[s], threatNamed(id), remote[id]}
	if o, ok := classes[id]; ok {
		n.Class = o.is
	}
	if n.Class == "" {
		n.Class = Takeover // a severity that is missing counts as the worst
	}
	return n
}

func threatNamed(id string) Threat {
	if t, ok := threatOf[id]; ok {
		return t
	}
	for end := len(id) - 1; end > 0; end-- {
		if id[end-1] == '-' {
			if t, ok := threatOf[id[:end]]; ok {
				return t
			}
		}
	}
	return Other
}

// YieldsHost reports whether the scenario ends with the host in the attacker's
// hands. A layer that is weaker does not by itself.
func (n Nature) YieldsHost() bool {
	return (n.Class == Takeover || n.Class == Escalation) && (n.Threat == Escape || n.Threat == Command || n.Threat == Foothold)
}

// travels reports whether who makes use of it may go on to what the object
// reaches over the network. What starves or blinds does not travel.
func (n Nature) travels() bool { return n.Threat != Exhaustion && n.Threat != Blindness }

// scenario is the threat in words, about ref.
func scenario(t Threat, ref inventory.Ref) lang.Text { return scenarios[t].F(ref) }
