package lab

import (
	"strings"

	"casco/lang"
)

// The subnets are of 198.18.0.0/15, which RFC 2544 keeps for tests and nobody
// routes: static addresses must not meet those of the host's own networks.
const (
	frontSubnet = "198.18.237.0/24"
	backSubnet  = "198.18.238.0/24"
)

type network struct {
	name, subnet string
	labels       object
}

var networks = []network{
	{name: "lab-front", subnet: frontSubnet},
	{name: "lab-back", subnet: backSubnet},
	{name: project + "_default", labels: composeNetworkLabels()},
}

var volumes = []string{"lab-data", "lab-uploads"}

// When a container is started.
type start int

const (
	runs  start = iota
	ends        // started, and over at once
	never       // only created
)

// A container is one create request, and what follows it.
type container struct {
	name, image string
	weak        lang.Text
	cmd         []string
	config      object // more of the request's top level (Config)
	host        object // HostConfig
	labels      object
	network     string // the first network, with its endpoint
	endpoint    object
	also        []endpoint
	start       start
}

type endpoint struct {
	network  string
	endpoint object
}

// A Member is a container of the estate, by what is wrong with it.
type Member struct {
	Name string
	Weak lang.Text
}

// Estate describes the containers that Up makes, in the order of their making.
// All of them run as root unless it says otherwise, have all default
// capabilities, a writable root file system, no limits and logs without bounds.
func Estate() []Member {
	members := []Member{}
	for _, c := range (builder{}).containers() {
		members = append(members, Member{c.name, c.weak})
	}
	return members
}

// containers is the estate. Those that others lean on come first.
func (b builder) containers() []container {
	all := append(servers(), confined(b.socket())...)
	all = append(all, asleep()...)
	return append(all, b.composed()...)
}

// socket is the path of the engine's socket on its host. An engine that is
// reached over TCP has its socket where the system puts it.
func (b builder) socket() string {
	if b.client != nil && b.client.Socket() != "" {
		return b.client.Socket()
	}
	return "/var/run/docker.sock"
}

// servers are what an application is made of. They are weak, and they carry
// what a re-creation must not lose.
func servers() []container {
	return []container{{
		name: "lab-db", image: "lab-db:latest",
		weak: lang.Text{
			En: "root; a password in its environment; an anonymous volume and a named one, both with data",
			Es: "root; una contraseña en su entorno; un volumen anónimo y otro con nombre, los dos con datos",
		},
		cmd:     words("-keep /var/lib/db/rows -keep /backup/dump serve :5432 rows"),
		host:    object{"Binds": []string{"lab-data:/backup"}, "RestartPolicy": object{"Name": "unless-stopped"}},
		network: "lab-back",
		endpoint: object{
			"Aliases": []string{"db", "database"}, "IPAMConfig": object{"IPv4Address": "198.18.238.10"},
		},
	}, {
		name: "lab-web", image: "lab-web:latest",
		weak: lang.Text{
			En: "restart always; random published ports on all addresses; a token in its environment; two networks, a static address and a fixed MAC address",
			Es: "reinicio permanente; puertos publicados al azar en todas las direcciones; un token en su entorno; dos redes, una dirección fija y una MAC fija",
		},
		cmd:    words("-keep /uploads/first http :8080 welcome"),
		config: object{"Env": []string{"SESSION_SECRET=lab-only-and-no-secret"}, "MacAddress": webMAC},
		host: object{
			"PublishAllPorts": true, "RestartPolicy": object{"Name": "always"}, "Binds": []string{"lab-uploads:/uploads"},
			"LogConfig": object{"Type": "json-file"},
		},
		network:  "lab-front",
		endpoint: object{"Aliases": []string{"www"}, "MacAddress": webMAC, "IPAMConfig": object{"IPv4Address": "198.18.237.10"}},
		also:     []endpoint{{"lab-back", object{"Aliases": []string{"www-back"}}}},
	}, {
		name: "lab-sidecar", image: "lab-base:latest",
		weak: lang.Text{
			En: "shares the network of lab-db, which nobody can replace without it",
			Es: "comparte la red de lab-db, que nadie puede reemplazar sin él",
		},
		cmd:  words("http :9187 metrics"),
		host: object{"NetworkMode": "container:lab-db"},
	}, {
		name: "lab-ssh", image: "lab-base:latest",
		weak: lang.Text{
			En: "an SSH server on an odd port, in an image without ps; published on a privileged port",
			Es: "un servidor SSH en un puerto raro, en una imagen sin ps; publicado en un puerto privilegiado",
		},
		cmd:    words("ssh :2022"),
		config: object{"ExposedPorts": object{"2022/tcp": object{}}},
		// 1017/tcp is nobody's: IANA's registry of port numbers reserves 1011-1020.
		host: object{"PortBindings": object{"2022/tcp": []object{{"HostIp": "", "HostPort": "1017"}}}},
	}, {
		name: "lab-stubborn", image: "lab-base:latest",
		weak: lang.Text{
			En: "ignores SIGTERM: each stop takes its whole grace time; default bridge",
			Es: "ignora SIGTERM: cada parada tarda todo su plazo de gracia; puente por defecto",
		},
		cmd: words("-term ignore http :8080 still_here"),
	}}
}

// webMAC is locally administered (second bit of the first byte): no maker's.
const webMAC = "02:42:c6:12:ed:0a"

// confined run in spite of what would confine them: with the host's
// namespaces, its files, its engine, or all its privileges.
func confined(socket string) []container {
	return []container{{
		name: "lab-host", image: "lab-base:latest",
		weak: lang.Text{
			En: "the host's process, network, IPC and UTS namespaces",
			Es: "los espacios de nombres de procesos, red, IPC y UTS del anfitrión",
		},
		cmd:  words("wait"),
		host: object{"PidMode": "host", "NetworkMode": "host", "IpcMode": "host", "UTSMode": "host"},
	}, {
		name: "lab-socket", image: "lab-base:latest",
		weak: lang.Text{
			En: "the engine's socket and the host's /etc inside: whoever has it has the host",
			Es: "el socket del motor y el /etc del anfitrión dentro: quien lo tiene, tiene el anfitrión",
		},
		cmd:  words("wait"),
		host: object{"Binds": []string{socket + ":/var/run/docker.sock", "/etc:/host/etc:ro"}},
	}, {
		name: "lab-privileged", image: "lab-base:latest",
		weak: lang.Text{
			En: "privileged: all devices, no seccomp; user 1000",
			Es: "privilegiado: todos los dispositivos, sin seccomp; usuario 1000",
		},
		cmd: words("wait"), config: object{"User": "1000"},
		host: object{"Privileged": true},
	}}
}

// asleep do not run. Their configuration is as weak, and waits for a start.
func asleep() []container {
	return []container{{
		name: "lab-ended", image: "lab-base:latest",
		weak: lang.Text{
			En: "ended long ago, with SYS_ADMIN and without seccomp",
			Es: "terminado hace tiempo, con SYS_ADMIN y sin seccomp",
		},
		cmd: words("exit 3"), start: ends,
		host: object{"CapAdd": []string{"SYS_ADMIN"}, "SecurityOpt": []string{"seccomp=unconfined"}},
	}, {
		name: "lab-created", image: "lab-base:latest",
		weak: lang.Text{
			En: "never started: all capabilities, a host device, the host's user namespace, shared mount propagation, restart always",
			Es: "nunca iniciado: todas las capacidades, un dispositivo del anfitrión, su espacio de usuarios, propagación de montajes compartida, reinicio permanente",
		},
		cmd: words("wait"), start: never,
		host: object{
			"CapAdd": []string{"ALL"}, "UsernsMode": "host", "Binds": []string{"/mnt:/mnt:shared"},
			"Devices":       []object{{"PathOnHost": "/dev/mem", "PathInContainer": "/dev/mem", "CgroupPermissions": "rwm"}},
			"RestartPolicy": object{"Name": "always"}, "SecurityOpt": []string{"apparmor=unconfined", "no-new-privileges=false"},
		},
	}}
}

// words are the actor's arguments; none of them has a space in it.
func words(s string) []string { return strings.Fields(s) }
