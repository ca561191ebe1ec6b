package admission

import (
	"slices"

	"casco/lang"
	"casco/loop/audit/checks"
	"casco/policy"
)

// A Rule is one reason to refuse a request: a check of containers that a
// request can fail as well, or a rule that only requests can break.
type Rule struct {
	ID    string
	Title lang.Text
	// Optional rules are not asked unless the policy names them: what they are
	// against is hygiene, or everyday work that some organisations want agreed.
	Optional bool
}

// strict are the checks whose failure gives away the host, another tier, or
// what the policy wants of containers. A container that runs and fails one is
// at least a finding; a request for one is refused.
var strict = []string{
	"container-privileged", "container-dangerous-capabilities", "container-seccomp", "container-system-paths", "container-apparmor", "container-selinux",
	"container-host-net", "container-host-pid", "container-host-ipc", "container-host-uts", "container-host-userns", "container-host-cgroup",
	"container-sensitive-mount", "container-engine-socket", "container-mount-propagation", "container-devices",
	"container-privileged-port", "container-random-port", "container-mixed-tiers", "container-cgroup-parent", "container-runtime-policy",
}

// optional are checks that a request can answer as well.
var optional = []string{
	"container-no-new-privileges", "container-root-user", "container-user-namespace", "container-capabilities", "container-net-raw",
	"container-apparmor-declared", "container-published-everywhere", "container-default-bridge", "container-tier-default", "container-combination",
	"container-memory", "container-cpu", "container-pids", "container-ulimits", "container-restart", "container-log-bounds",
	"container-read-only-root", "container-healthcheck", "container-image-latest", "container-image-untagged", "container-secret-env",
}

// own are the rules that no check has.
var own = []Rule{
	{ID: "request-uri", Title: lang.Text{En: "Path can be read in two ways", Es: "La ruta se puede leer de dos maneras"}},
	{ID: "request-version", Title: lang.Text{En: "Version of the API is not understood", Es: "La versión de la API no se entiende"}},
	{ID: "request-endpoint", Title: lang.Text{En: "Nothing of the engine's is asked", Es: "No se pide nada del motor"}},
	{ID: "request-query", Title: lang.Text{En: "Parameters can be read in two ways", Es: "Los parámetros se pueden leer de dos maneras"}},
	{ID: "request-type", Title: lang.Text{En: "Content type can be read in two ways", Es: "El tipo de contenido se puede leer de dos maneras"}},
	{ID: "request-size", Title: lang.Text{En: "Body is too long", Es: "El cuerpo es demasiado largo"}},
	{ID: "request-body", Title: lang.Text{En: "Body can be read in two ways", Es: "El cuerpo se puede leer de dos maneras"}},
	{ID: "request-field", Title: lang.Text{En: "Body has a key that nobody knows", Es: "El cuerpo tiene una clave que nadie conoce"}},
	{ID: "caller-read-only", Title: lang.Text{En: "Caller may look and no more", Es: "Quien llama puede mirar y nada más"}},
	{ID: "caller-container", Title: lang.Text{En: "A container asks the engine for more than a look", Es: "Un contenedor pide al motor más que mirar"}},
	{ID: ownerRule, Title: lang.Text{En: "Caller asks for what is not theirs", Es: "Quien llama pide lo que no es suyo"}},
	{ID: "object-unknown", Title: lang.Text{En: "What it is about was not read", Es: "No se leyó aquello de lo que trata"}},

	{ID: "container-join", Title: lang.Text{En: "Container joins one that is not of its application", Es: "El contenedor se une a uno que no es de su aplicación"}},
	{ID: "mount-target", Title: lang.Text{En: "Mount covers the container's view of the kernel", Es: "Un montaje cubre la vista del núcleo del contenedor"}},
	{ID: "mount-type", Title: lang.Text{En: "Mount is of a kind that nobody judges", Es: "El montaje es de una clase que nadie juzga"}},
	{ID: "volume-options", Title: lang.Text{En: "Volume is made of the host's own files", Es: "El volumen se hace con archivos del anfitrión"}},
	{ID: "security-opt", Title: lang.Text{En: "Security option takes a defence away", Es: "Una opción de seguridad quita una defensa"}},
	{ID: "seccomp-profile", Title: lang.Text{En: "Seccomp profile allows what escapes use", Es: "El perfil seccomp permite lo que usan las fugas"}},
	{ID: "sysctl", Title: lang.Text{En: "Sysctl weakens the network or the kernel", Es: "El sysctl debilita la red o el núcleo"}},
	{ID: "runtime", Title: lang.Text{En: "Runtime was not agreed", Es: "El runtime no se acordó"}},
	{ID: "annotation", Title: lang.Text{En: "Annotation speaks to the runtime", Es: "La anotación habla al runtime"}},
	{ID: "label", Title: lang.Text{En: "Label is not the caller's to give", Es: "La etiqueta no le toca a quien llama"}},
	{ID: "oom", Title: lang.Text{En: "Container is kept from the kernel's killer", Es: "El contenedor queda a salvo del núcleo sin memoria"}},
	{ID: "log-driver", Title: lang.Text{En: "Log goes elsewhere than the engine's", Es: "El registro va a otro sitio que el del motor"}},
	{ID: "oci-config", Title: lang.Text{En: "Configuration of a start can be read in two ways", Es: "La configuración de un arranque se puede leer de dos maneras"}},
	{ID: "oci-hook", Title: lang.Text{En: "Start runs a program on the host", Es: "El arranque ejecuta un programa en el anfitrión"}},
	{ID: "working-dir", Title: lang.Text{En: "Working directory lies in /proc", Es: "El directorio de trabajo está en /proc"}},
	{ID: "network-id", Title: lang.Text{En: "Network is named twice and otherwise", Es: "La red se nombra dos veces y distinto"}},
	{ID: "rename-tier", Title: lang.Text{En: "Container gets a name of another tier", Es: "El contenedor recibe un nombre de otro nivel"}},
	{ID: "update-limits", Title: lang.Text{En: "Update takes a limit away", Es: "La actualización quita un límite"}},
	{ID: "checkpoint", Title: lang.Text{En: "Checkpoint reads or writes a path of the host", Es: "El checkpoint lee o escribe una ruta del anfitrión"}},

	{ID: "exec-privileged", Title: lang.Text{En: "Command is privileged", Es: "La orden es privilegiada"}},
	{ID: "exec-root", Title: lang.Text{En: "Command runs as root where the service does not", Es: "La orden corre como root donde el servicio no"}},
	{ID: "exec-env", Title: lang.Text{En: "Environment loads code into programs", Es: "El entorno carga código en los programas"}},
	{ID: "exec-host", Title: lang.Text{En: "Command runs in a container that reaches the host", Es: "La orden corre en un contenedor que alcanza el anfitrión"}},
	{ID: "archive-path", Title: lang.Text{En: "Files are written where they run or reach the host", Es: "Se escriben archivos donde se ejecutan o alcanzan el anfitrión"}},

	{ID: "image-registry", Title: lang.Text{En: "Image is of no registry that the policy allows", Es: "La imagen no es de un registro que la política permita"}},
	{ID: "image-digest", Title: lang.Text{En: "Image is not named by its digest", Es: "La imagen no se nombra por su digest"}},
	{ID: "image-unsigned", Title: lang.Text{En: "Image is not signed by a key of the policy", Es: "La imagen no está firmada con una clave de la política"}},
	{ID: "image-import", Title: lang.Text{En: "Image comes past the registries", Es: "La imagen llega sin pasar por los registros"}},
	{ID: "image-tag", Title: lang.Text{En: "Image gets a name of another registry", Es: "La imagen recibe un nombre de otro registro"}},
	{ID: "image-commit", Title: lang.Text{En: "Image is made of a container", Es: "La imagen se hace de un contenedor"}, Optional: true},

	{ID: "build-network", Title: lang.Text{En: "Build uses a network that is not its own", Es: "La construcción usa una red que no es suya"}},
	{ID: "build-cgroup", Title: lang.Text{En: "Build runs below a cgroup of its own choice", Es: "La construcción corre bajo un cgroup elegido por ella"}},
	{ID: "build-hosts", Title: lang.Text{En: "Build is given names of hosts", Es: "La construcción recibe nombres de anfitriones"}},
	{ID: "build-remote", Title: lang.Text{En: "Engine fetches what it builds", Es: "El motor descarga lo que construye"}},
	{ID: "build-session", Title: lang.Text{En: "Build may ask for rights that nobody sees", Es: "La construcción puede pedir derechos que nadie ve"}},

	{ID: "network-driver", Title: lang.Text{En: "Network reaches past the engine's", Es: "La red llega más allá de las del motor"}},
	{ID: "network-options", Title: lang.Text{En: "Network opens the host's own", Es: "La red abre las del anfitrión"}},
	{ID: "plugin", Title: lang.Text{En: "Plugin of the engine is changed", Es: "Se cambia un plugin del motor"}},
	{ID: "swarm", Title: lang.Text{En: "Swarm is changed", Es: "Se cambia el swarm"}},
	{ID: "prune", Title: lang.Text{En: "Things are deleted in bulk", Es: "Se borra en masa"}, Optional: true},
	{ID: "object-delete", Title: lang.Text{En: "Something is deleted", Es: "Se borra algo"}, Optional: true},
}

// Rules returns all that a policy may name under admission.rules, by ID. The
// organisation's own checks come on top, by theirs.
func Rules() []Rule {
	all := slices.Clone(own)
	for _, id := range strict {
		all = append(all, Rule{ID: id, Title: checks.Find(id).Title})
	}
	for _, id := range optional {
		all = append(all, Rule{ID: id, Title: checks.Find(id).Title, Optional: true})
	}
	for _, id := range []string{"volume-host-path", "image-age"} {
		all = append(all, Rule{ID: id, Title: checks.Find(id).Title})
	}
	return all
}

// fixes say, for a check that a request fails, what to write instead. A check
// that is not here says it in its remedy.
var fixes = map[string]lang.Text{
	"container-privileged":             {En: "leave out --privileged; --cap-add or --device for the one thing it needs", Es: "quite --privileged; --cap-add o --device para lo único que necesite"},
	"container-dangerous-capabilities": {En: "leave out these --cap-add", Es: "quite esos --cap-add"},
	"container-seccomp":                {En: "leave out --security-opt seccomp=unconfined, or give a profile made for it", Es: "quite --security-opt seccomp=unconfined, o dé un perfil hecho para él"},
	"container-system-paths":           {En: "leave out --security-opt systempaths=unconfined", Es: "quite --security-opt systempaths=unconfined"},
	"container-apparmor":               {En: "leave out --security-opt apparmor=unconfined", Es: "quite --security-opt apparmor=unconfined"},
	"container-selinux":                {En: "leave out --security-opt label=…; relabel its volumes with :z", Es: "quite --security-opt label=…; reetiquete sus volúmenes con :z"},
	"container-host-net":               {En: "--network NAME and -p for each port, instead of --network host", Es: "--network NOMBRE y -p para cada puerto, en vez de --network host"},
	"container-host-pid":               {En: "leave out --pid host", Es: "quite --pid host"},
	"container-host-ipc":               {En: "leave out --ipc host", Es: "quite --ipc host"},
	"container-host-uts":               {En: "leave out --uts host", Es: "quite --uts host"},
	"container-host-userns":            {En: "leave out --userns host", Es: "quite --userns host"},
	"container-host-cgroup":            {En: "--cgroupns private", Es: "--cgroupns private"},
	"container-sensitive-mount":        {En: "-v NAME:/path for a volume of its own, or a narrower path with :ro", Es: "-v NOMBRE:/ruta para un volumen propio, o una ruta más estrecha con :ro"},
	"container-engine-socket":          {En: "leave out the mount; ask for a read-only door to the engine instead", Es: "quite el montaje; pida en su lugar una puerta de solo lectura al motor"},
	"container-mount-propagation":      {En: "leave out :shared and :rshared", Es: "quite :shared y :rshared"},
	"container-devices":                {En: "leave out --device, --gpus, --device-cgroup-rule and mounts below /dev", Es: "quite --device, --gpus, --device-cgroup-rule y los montajes bajo /dev"},
	"container-privileged-port":        {En: "-p ADDRESS:PORT with a port from 1024 up; or ports.allow in the policy", Es: "-p DIRECCIÓN:PUERTO con un puerto desde 1024; o ports.allow en la política"},
	"container-random-port":            {En: "-p ADDRESS:PORT:PORT for each, instead of -P", Es: "-p DIRECCIÓN:PUERTO:PUERTO para cada uno, en vez de -P"},
	"container-published-everywhere":   {En: "-p 127.0.0.1:PORT:PORT", Es: "-p 127.0.0.1:PUERTO:PUERTO"},
	"container-mixed-tiers":            {En: "--network with a network of its own tier; a flow in the policy for what must cross", Es: "--network con una red de su propio nivel; un flow en la política para lo que deba cruzar"},
	"container-cgroup-parent":          {En: "leave out --cgroup-parent", Es: "quite --cgroup-parent"},
	"container-no-new-privileges":      {En: "--security-opt no-new-privileges", Es: "--security-opt no-new-privileges"},
	"container-root-user":              {En: "--user UID:GID", Es: "--user UID:GID"},
	"container-capabilities":           {En: "--cap-drop ALL, and --cap-add for what it needs", Es: "--cap-drop ALL, y --cap-add para lo que necesite"},
	"container-net-raw":                {En: "--cap-drop NET_RAW", Es: "--cap-drop NET_RAW"},
	"container-memory":                 {En: "--memory 512m", Es: "--memory 512m"},
	"container-cpu":                    {En: "--cpus 1", Es: "--cpus 1"},
	"container-pids":                   {En: "--pids-limit 256", Es: "--pids-limit 256"},
	"container-ulimits":                {En: "--ulimit nofile=1024:4096", Es: "--ulimit nofile=1024:4096"},
	"container-restart":                {En: "--restart on-failure:5", Es: "--restart on-failure:5"},
	"container-log-bounds":             {En: "--log-opt max-size=10m --log-opt max-file=3", Es: "--log-opt max-size=10m --log-opt max-file=3"},
	"container-read-only-root":         {En: "--read-only, with --tmpfs for what is written", Es: "--read-only, con --tmpfs para lo que se escribe"},
	"container-healthcheck":            {En: "--health-cmd COMMAND", Es: "--health-cmd ORDEN"},
	"container-image-latest":           {En: "name a version: IMAGE:1.2 or IMAGE@sha256:…", Es: "nombre una versión: IMAGEN:1.2 o IMAGEN@sha256:…"},
	"container-default-bridge":         {En: "--network NAME", Es: "--network NOMBRE"},
	"image-age":                        {En: "an image that was built anew; docker pull it, or ask for an exception: casco exception ask", Es: "una imagen construida de nuevo; haga docker pull, o pida una excepción: casco exception ask"},
	"volume-host-path":                 {En: "docker volume create NAME without -o device=…", Es: "docker volume create NOMBRE sin -o device=…"},
}

// mode says how a rule is taken for a container of that tier ("" for what is
// no container), and where the policy says so.
func (j *Judge) mode(rule, tier string) (mode, path string) {
	a := j.policy.Admission
	if r, has := a.Rules[rule]; has && (len(r.Tiers) == 0 || slices.Contains(r.Tiers, tier)) {
		return r.Mode, "admission.rules." + rule
	}
	if t, has := j.policy.Checks[rule]; has && t.Applicable != nil && !*t.Applicable {
		return policy.Ignore, "checks." + rule
	}
	if j.optional[rule] {
		return policy.Ignore, "admission.rules"
	}
	if a.Mode == "" {
		return policy.Observe, "admission.mode"
	}
	return a.Mode, "admission.mode"
}
