package inventory

// Kinds returns all kinds of objects that a host has.
func Kinds() []Kind {
	return []Kind{
		Container, Image, Network, Volume, Daemon, Swarm, Service, Kernel, Sysctl, File, Watch, Account, Listener, Registry, Credential, Package, Unit, Guard, Host,
	}
}

// The kinds of objects, what names them, and where their fields come from.
//
// Fields under the names of the Docker Engine API (API v1.41 to v1.5x) are as
// the engine sent them. Fields that casco measured itself have names of their
// own, are listed here, and their Source says what was read.
const (
	// Container: named by its name without the slash. Fields: the reply of
	// GET /containers/{id}/json, and
	//
	//	Effective    what the kernel says of the first process (only while it
	//	             runs): see Effective* in fields.go
	//	Listeners    []: sockets that listen in its network namespace:
	//	             {Proto, Addr, Port, Pid, Comm, Banner}; Banner is what the
	//	             peer said first when asked ("SSH-2.0-…"), "" if it said
	//	             nothing, absent if it was not asked. Of one that shares
	//	             the host's namespace or another container's, only the
	//	             sockets of its own processes: see Effective.SharesNet
	//	Changes      [] of GET /containers/{id}/changes: {Path, Kind}
	//	             (Kind 0 modified, 1 added, 2 deleted), mount points left out
	//	             and, where the layer could be looked at, Executable: true
	//	             for a regular file that somebody may execute
	//	Access       [] of Changes: files that open a door, see ImageAccess
	//	BindSources  map: for each bind or local-volume source of Mounts what it
	//	             resolves to on the host: {Resolved, Type, Sockets:[],
	//	             Exists}; Sockets are engine sockets at or under it
	//	Tier         the tier that the policy assigns it to; absent without a
	//	TierDefault  policy of several tiers. TierDefault is true if nothing
	//	             but the default placed it
	//	Wanted       how the policy wants it to run: see Wanted* in fields.go
	Container Kind = "container"
	// Image: named by its first tag (sorted), else its ID. Fields: GET
	// /images/{id}/json, and History ([] of GET /images/{id}/history, full
	// CreatedBy), UsedBy ([] container names), Setuid and Access (only when the
	// layers were looked into on the host).
	Image Kind = "image"
	// Network, Volume: named by Name. Fields: as in the API; of a network that
	// the policy gives to a tier, Tier.
	Network Kind = "network"
	Volume  Kind = "volume"
	// Daemon: one engine, named by the path of the socket it was reached on
	// (or its tcp:// address). See Daemon* in fields.go.
	Daemon Kind = "daemon"
	// Swarm: named by the cluster's ID. Fields: GET /swarm, plus LocalNodeState
	// and the like of GET /info .Swarm under Info, and Nodes ([] of GET /nodes).
	Swarm Kind = "swarm"
	// Service: a Swarm service, named by Spec.Name. Fields: GET /services/{id}.
	Service Kind = "service"
	// Kernel: one, named "kernel". See Kernel* in fields.go.
	Kernel Kind = "kernel"
	// Sysctl: named as in sysctl(8), dots: Value (running, string), File (value
	// that the files of sysctl.d would set, absent if none does).
	Sysctl Kind = "sysctl"
	// File: a file that Docker's safety rests on, named by its path as it is
	// configured. Fields: see File* in fields.go.
	File Kind = "file"
	// Watch: a path that the kernel's audit should watch, named by the path.
	Watch Kind = "watch"
	// Account: a user or program identity that reaches an engine, or is
	// equivalent to root. Named by the user's name.
	Account Kind = "account"
	// Listener: a socket that listens in the host's own network namespace,
	// named proto:addr:port.
	Listener Kind = "listener"
	// Registry: a registry that the engine or an image names, by host:port.
	Registry Kind = "registry"
	// Credential: a client configuration file with logins to registries, named
	// by its path. No secret value is ever read into it.
	Credential Kind = "credential"
	// Package: an installed package of the host, named by its name.
	Package Kind = "package"
	// Unit: an enabled system service of the host, named by the unit.
	Unit Kind = "unit"
	// Guard: a part of casco that keeps something of the host between two turns
	// of the loop, named by what it keeps: "network". See Guard* in fields.go.
	Guard Kind = "guard"
	// Policy: what the organisation wants, one, named "policy". Fields: the
	// keys of the policy as they stand in its file; the source of each is its
	// line. It is no part of the host and of no snapshot file: it is put beside
	// what was read when that is judged.
	Policy Kind = "policy"
	// Host: the machine itself, named by its host name.
	Host Kind = "host"
	// Exception: an exception of the policy as it stands at this moment, named
	// by its ID. It is no part of the host. See Exception* in fields.go.
	Exception Kind = "exception"
	// Dockerfile: a file of which an image is built, named by its path. It is no
	// part of a host. Fields:
	//
	//	Target        the stage that the image is made of; TargetAt its FROM
	//	Config        what the image would have, as in GET /images/{id}/json,
	//	              secrets masked; what only a base image could tell that is not
	//	              known here is in Unread
	//	Instructions  [] in their order, and what a base left with ONBUILD:
	//	              {Word, Text (masked), Stage, At (a Position), Kept: it makes
	//	              the image, and not only a stage that files are taken from,
	//	              OnBuild: it is for images made of this one, Unresolved: []
	//	              variables without a value} and, where it has them: Commands
	//	              [] {Words, Piped, At} (absent if its shell is none that is
	//	              read), User (who runs it; absent if not known), Network and
	//	              Security of a RUN; Pairs of ENV and ARG; Ports; Paths;
	//	              Sources, Dest, From, Checksum, Chmod; Brings: [] files of the
	//	              context that should not be given away; Image of a FROM
	//	Bases         [] {Image, At, Text, Unresolved}: images that stages begin
	//	              with, or that files are taken from
	//	ContextKnown  whether the files that a build would be given were looked at
	Dockerfile Kind = "dockerfile"
	// Compose: the files of a Compose project, named by the first; what is in them
	// and of none of its containers. It is no part of a host. Fields: Secrets and
	// BuildRights, [] of {Key, Text (masked), At (a Position)}.
	Compose Kind = "compose"
	// Pragma: a line of a file that says why a finding there is accepted, named by
	// its position. Fields: Check, Reason, Matches (how many findings it covers).
	Pragma Kind = "pragma"
)
