package inventory

// The fields that checks read and hands set, under the names of their source.
// Grep for one to see its whole life. TestFieldsExist holds those of the
// Engine API against replies recorded from real daemons.

// Fields of a container: Docker Engine API, GET /containers/{id}/json.
var (
	ContainerID     = Field[string]{Container, "Id"}
	ContainerImage  = Field[string]{Container, "Image"} // the image's ID
	ImageName       = Field[string]{Container, "Config.Image"}
	User            = Field[string]{Container, "Config.User"}
	Labels          = Field[map[string]any]{Container, "Config.Labels"}
	Env             = Field[[]string]{Container, "Config.Env"}
	Healthcheck     = Field[map[string]any]{Container, "Config.Healthcheck"}
	ExposedPorts    = Field[map[string]any]{Container, "Config.ExposedPorts"}
	Running         = Field[bool]{Container, "State.Running"}
	Pid             = Field[int64]{Container, "State.Pid"}
	Health          = Field[map[string]any]{Container, "State.Health"}
	Mounts          = Field[[]any]{Container, "Mounts"}
	AppArmorProfile = Field[string]{Container, "AppArmorProfile"}
	ProcessLabel    = Field[string]{Container, "ProcessLabel"}

	Privileged        = Field[bool]{Container, "HostConfig.Privileged"}
	PidMode           = Field[string]{Container, "HostConfig.PidMode"}
	IpcMode           = Field[string]{Container, "HostConfig.IpcMode"}
	UTSMode           = Field[string]{Container, "HostConfig.UTSMode"}
	UsernsMode        = Field[string]{Container, "HostConfig.UsernsMode"}
	NetworkMode       = Field[string]{Container, "HostConfig.NetworkMode"}
	CgroupParent      = Field[string]{Container, "HostConfig.CgroupParent"}
	CgroupnsMode      = Field[string]{Container, "HostConfig.CgroupnsMode"} // "private", "host"; "" the engine's default
	CapAdd            = Field[[]string]{Container, "HostConfig.CapAdd"}
	CapDrop           = Field[[]string]{Container, "HostConfig.CapDrop"}
	SecurityOpt       = Field[[]string]{Container, "HostConfig.SecurityOpt"}
	MaskedPaths       = Field[[]string]{Container, "HostConfig.MaskedPaths"} // empty: systempaths=unconfined
	ReadonlyPaths     = Field[[]string]{Container, "HostConfig.ReadonlyPaths"}
	Binds             = Field[[]string]{Container, "HostConfig.Binds"}
	HostMounts        = Field[[]any]{Container, "HostConfig.Mounts"}
	VolumesFrom       = Field[[]string]{Container, "HostConfig.VolumesFrom"}
	Devices           = Field[[]any]{Container, "HostConfig.Devices"}
	DeviceCgroupRules = Field[[]string]{Container, "HostConfig.DeviceCgroupRules"}
	DeviceRequests    = Field[[]any]{Container, "HostConfig.DeviceRequests"}
	PortBindings      = Field[map[string]any]{Container, "HostConfig.PortBindings"}
	PublishAllPorts   = Field[bool]{Container, "HostConfig.PublishAllPorts"}
	ReadonlyRootfs    = Field[bool]{Container, "HostConfig.ReadonlyRootfs"}
	Tmpfs             = Field[map[string]any]{Container, "HostConfig.Tmpfs"}
	Ulimits           = Field[[]any]{Container, "HostConfig.Ulimits"}
	Memory            = Field[int64]{Container, "HostConfig.Memory"}     // bytes; 0 is none
	MemorySwap        = Field[int64]{Container, "HostConfig.MemorySwap"} // bytes of memory and swap; -1 is none
	CpuShares         = Field[int64]{Container, "HostConfig.CpuShares"}
	NanoCpus          = Field[int64]{Container, "HostConfig.NanoCpus"} // 1e-9 CPUs
	CpuQuota          = Field[int64]{Container, "HostConfig.CpuQuota"} // µs per CpuPeriod
	CpusetCpus        = Field[string]{Container, "HostConfig.CpusetCpus"}
	PidsLimit         = Field[int64]{Container, "HostConfig.PidsLimit"} // null, 0, -1: none
	RestartName       = Field[string]{Container, "HostConfig.RestartPolicy.Name"}
	RestartRetries    = Field[int64]{Container, "HostConfig.RestartPolicy.MaximumRetryCount"}
	LogDriver         = Field[string]{Container, "HostConfig.LogConfig.Type"}
	LogConfig         = Field[map[string]any]{Container, "HostConfig.LogConfig.Config"}
	Networks          = Field[map[string]any]{Container, "NetworkSettings.Networks"}
	LivePorts         = Field[map[string]any]{Container, "NetworkSettings.Ports"} // what is published now
)

// Fields of a container that casco measures on the host, while it runs.
var (
	// From /proc/PID/status. Caps are sorted names without CAP_.
	EffectiveCaps       = Field[[]string]{Container, "Effective.CapEff"}
	EffectiveBounding   = Field[[]string]{Container, "Effective.CapBnd"}
	EffectiveSeccomp    = Field[int64]{Container, "Effective.Seccomp"} // 0 off, 1 strict, 2 filter
	EffectiveNoNewPrivs = Field[bool]{Container, "Effective.NoNewPrivs"}
	EffectiveUID        = Field[int64]{Container, "Effective.Uid"} // effective uid as the host sees it
	// From /proc/PID/uid_map: the host's uid that is 0 inside; absent if 0 is not mapped.
	EffectiveRootUID = Field[int64]{Container, "Effective.RootUid"}
	// From /proc/PID/attr/current, "" if no LSM labels processes: "docker-default (enforce)".
	EffectiveLabel = Field[string]{Container, "Effective.Label"}
	// From /proc/PID/ns/*: the names of the namespaces that are the host's own:
	// "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts". Sorted.
	EffectiveHostNamespaces = Field[[]string]{Container, "Effective.HostNamespaces"}
	// Other containers in the same network namespace.
	EffectiveSharesNet = Field[[]string]{Container, "Effective.SharesNet"}
	// From the cgroup files, v1 or v2. Bytes; -1 is no limit.
	EffectiveMemoryMax  = Field[int64]{Container, "Effective.MemoryMax"}
	EffectiveMemoryPeak = Field[int64]{Container, "Effective.MemoryPeak"}
	EffectivePidsMax    = Field[int64]{Container, "Effective.PidsMax"}
	EffectivePidsPeak   = Field[int64]{Container, "Effective.PidsPeak"} // pids.current where the kernel keeps no peak
	// CPU: quota as thousandths of a CPU, -1 none; weight/shares as the kernel has it; cpuset list.
	EffectiveCPUMax    = Field[int64]{Container, "Effective.CpuMax"}
	EffectiveCPUWeight = Field[int64]{Container, "Effective.CpuWeight"} // v1 cpu.shares, v2 cpu.weight
	EffectiveCPUUsage  = Field[int64]{Container, "Effective.CpuUsage"}  // µs since start
	EffectiveCgroup    = Field[string]{Container, "Effective.Cgroup"}   // path in the hierarchy
	// From /proc/PID/mountinfo: mount points whose peer group is shared: [] of paths.
	EffectiveSharedMounts = Field[[]string]{Container, "Effective.SharedMounts"}
	EffectiveRootReadOnly = Field[bool]{Container, "Effective.RootReadOnly"}
	EffectiveLimits       = Field[map[string]any]{Container, "Effective.Limits"} // /proc/PID/limits: nofile: {Soft, Hard}; -1 unlimited
	Listeners             = Field[[]any]{Container, "Listeners"}
	Changes               = Field[[]any]{Container, "Changes"}
	BindSources           = Field[map[string]any]{Container, "BindSources"}
	ContainerAccess       = Field[[]any]{Container, "Access"} // of its own layer: [] of {Path, What, Sample} as ImageAccess
)

// Fields of an image: GET /images/{id}/json and /history.
var (
	ImageID          = Field[string]{Image, "Id"}
	ImageTags        = Field[[]string]{Image, "RepoTags"}
	ImageDigests     = Field[[]string]{Image, "RepoDigests"}
	ImageRegistry    = Field[map[string]any]{Image, "Registry"} // by tag, what its registry has: {Digest, Same, True, Newest}
	ImageUser        = Field[string]{Image, "Config.User"}
	ImageEnv         = Field[[]string]{Image, "Config.Env"}
	ImageHealthcheck = Field[map[string]any]{Image, "Config.Healthcheck"}
	ImageExposed     = Field[map[string]any]{Image, "Config.ExposedPorts"}
	ImageLabels      = Field[map[string]any]{Image, "Config.Labels"}
	ImageCreated     = Field[string]{Image, "Created"} // RFC 3339
	ImageSize        = Field[int64]{Image, "Size"}
	ImageHistory     = Field[[]any]{Image, "History"}
	ImageUsedBy      = Field[[]string]{Image, "UsedBy"}
	ImageSetuid      = Field[[]string]{Image, "Setuid"} // paths of setuid and setgid files that a container would see
	// Files of its layers that open a door: [] of {Path, What, Layer, Deleted,
	// Sample}. What is "private-key", "registry-login" …; Layer counts from 1 at
	// the bottom; Deleted: a later layer takes it away, and it still goes out
	// with the image; Sample: it lies among tests or examples. Never a value.
	ImageAccess = Field[[]any]{Image, "Access"}
	// What is installed: [] of {Ecosystem, Name, Version, Layer, Arch, Source,
	// SourceVersion, PURL, Path}, as package vuln has them; Layer is the one that
	// brought it. Unseen are reasons why there may be more.
	ImagePackages = Field[[]any]{Image, "Packages"}
	ImageUnseen   = Field[[]string]{Image, "Unseen"}
	ImageRelease  = Field[map[string]any]{Image, "Release"} // os-release(5): ID, Version, Name
	ImageUserID   = Field[string]{Image, "UserID"}          // of the user's name, by the image's own passwd(5); absent if it is not there
	ImageSSH      = Field[[]string]{Image, "SSH"}           // paths of SSH servers that a container would see
	ImageCaches   = Field[[]any]{Image, "Caches"}           // of package managers: [] of {Path, Bytes}
	// Its layers from the lowest on: [] of {Digest, Files, Bytes, Wasted, Packages};
	// Wasted are bytes that a layer above replaces or deletes.
	ImageSheets = Field[[]any]{Image, "Sheets"}
	// Published vulnerabilities of its packages, by the database of advisories of
	// this host: [] of {ID, Package, Ecosystem, Version, Fixed, Layer, Path,
	// Severity, Score, Exploited, EPSS, Remote, Silent, Summary}. Exploited and EPSS
	// are absent where that is not known; Silent is set if a document of VEX says
	// that there is nothing to do. Unjudged are packages that could not be held
	// against it, and why; Threats is until when it knows of attacks, Advisories
	// until when it knows what was published.
	ImageFlaws      = Field[[]any]{Image, "Vulnerabilities"}
	ImageUnjudged   = Field[[]string]{Image, "Unjudged"}
	ImageThreats    = Field[string]{Image, "Threats"}    // RFC 3339
	ImageAdvisories = Field[string]{Image, "Advisories"} // RFC 3339
)

// Fields of a network: GET /networks.
var (
	NetworkID         = Field[string]{Network, "Id"}
	NetworkDriver     = Field[string]{Network, "Driver"}
	NetworkScope      = Field[string]{Network, "Scope"}
	NetworkInternal   = Field[bool]{Network, "Internal"}
	NetworkIngress    = Field[bool]{Network, "Ingress"}
	NetworkIPv6       = Field[bool]{Network, "EnableIPv6"}
	NetworkOptions    = Field[map[string]any]{Network, "Options"} // com.docker.network.bridge.enable_icc …
	NetworkLabels     = Field[map[string]any]{Network, "Labels"}
	NetworkContainers = Field[[]string]{Network, "Attached"} // names of containers attached, ours, sorted
)

// Fields of a volume: GET /volumes.
var (
	VolumeDriver     = Field[string]{Volume, "Driver"}
	VolumeOptions    = Field[map[string]any]{Volume, "Options"}
	VolumeMountpoint = Field[string]{Volume, "Mountpoint"}
)

// Fields of a daemon. Info and Version are the replies of GET /info and
// /version. Effective is what the daemon runs with under the names of
// daemon.json, merged from its command line and its configuration file as
// dockerd merges them, with dockerd's default where neither says anything
// (dockerd(8)); EffectiveFrom says which: "flag", "file" or "default".
var (
	DaemonInfo              = Field[map[string]any]{Daemon, "Info"}
	DaemonVersion           = Field[string]{Daemon, "Version.Version"}
	DaemonAPIVersion        = Field[string]{Daemon, "Version.ApiVersion"}
	DaemonComponents        = Field[[]any]{Daemon, "Version.Components"} // {Name: Engine|containerd|runc|docker-init, Version}
	DaemonExperimental      = Field[bool]{Daemon, "Version.Experimental"}
	DaemonExperimentalBuild = Field[bool]{Daemon, "Info.ExperimentalBuild"} // /version leaves it out when false
	DaemonSecurityOptions   = Field[[]string]{Daemon, "Info.SecurityOptions"}
	DaemonSwapLimit         = Field[bool]{Daemon, "Info.SwapLimit"} // whether the kernel limits swap
	DaemonStorageDriver     = Field[string]{Daemon, "Info.Driver"}
	DaemonLoggingDriver     = Field[string]{Daemon, "Info.LoggingDriver"}
	DaemonLiveRestore       = Field[bool]{Daemon, "Info.LiveRestoreEnabled"}
	DaemonSwarmState        = Field[string]{Daemon, "Info.Swarm.LocalNodeState"} // "inactive", "active", …
	DaemonRegistryConfig    = Field[map[string]any]{Daemon, "Info.RegistryConfig"}
	DaemonAuthorization     = Field[[]string]{Daemon, "Info.Plugins.Authorization"}
	DaemonRootDir           = Field[string]{Daemon, "Info.DockerRootDir"}
	DaemonWarnings          = Field[[]string]{Daemon, "Info.Warnings"}

	// Only of an engine that was found on this host beside the one that was
	// asked: the address at which to ask it ("unix:///run/other.sock"), ""
	// if there is none that can be reached from here.
	DaemonOther = Field[string]{Daemon, "Other"}
	// The process behind the socket, by the socket's peer credentials.
	DaemonPid      = Field[int64]{Daemon, "Process.Pid"}
	DaemonExecRoot = Field[string]{Daemon, "Effective.exec-root"}
	DaemonUID      = Field[int64]{Daemon, "Process.Uid"}
	DaemonArgs     = Field[[]string]{Daemon, "Process.Args"}
	DaemonExe      = Field[string]{Daemon, "Process.Exe"}
	DaemonRootless = Field[bool]{Daemon, "Process.Rootless"}
	DaemonNoFile   = Field[int64]{Daemon, "Process.NoFile"} // hard limit of open files of the engine itself
	// The names of the namespaces that it does not share with the host: what
	// it calls the host's network, or a host's path, may then be its own.
	// "mnt" is there if its mounts are not those of casco itself.
	DaemonOwnNamespaces = Field[[]string]{Daemon, "OwnNamespaces"}
	// Its configuration file: File is the path ("/etc/docker/daemon.json" or
	// --config-file), Digest its sha256 in hex ("" if there is no file). Beside
	// them Exists; Newer: it changed after the engine started; Named: the path
	// is from the command line, and dockerd does not start without the file.
	DaemonConfigFile   = Field[string]{Daemon, "Config.File"}
	DaemonConfigDigest = Field[string]{Daemon, "Config.Digest"}
	// The unit that starts it: {Name, FragmentPath, DropIns: [], SocketPath}.
	// Absent where no unit does.
	DaemonUnit = Field[map[string]any]{Daemon, "Unit"}
	// Its sockets that listen: [] of {Proto: "tcp"|"unix", Addr, Port, TLS:
	// "none"|"server"|"mutual"|"", Loopback bool, Role: "api"|"swarm"|"metrics"|
	// "published"|""}; TLS is what a probe found, and only "api" was probed for
	// sure: up to 27 dockerd itself holds published ports without a userland
	// proxy. A unix one has its path in Addr and no Port.
	DaemonListeners = Field[[]any]{Daemon, "Listeners"}
	// Where its data lives: {Path, Dev, RootDev, Mount, FSType}; Dev and
	// RootDev are st_dev of the data root and of /.
	DaemonDataRoot = Field[map[string]any]{Daemon, "DataRoot"}
	// Its containerd: {Socket, Version}.
	DaemonContainerdSocket = Field[string]{Daemon, "Containerd.Socket"}
	// Whether a docker-proxy process of this daemon runs: number of them.
	DaemonProxies = Field[int64]{Daemon, "Proxies"}
	// Whether the kernel forwards IPv4 in its network namespace, and how each
	// chain at the forward hook there ends: [] of {Backend: "nft"|"legacy", Table:
	// "ip filter", Chain, Policy: "accept"|"drop", Ends: the same}; Ends is what
	// becomes of a packet that no rule before the last took.
	DaemonForwardIPv4   = Field[bool]{Daemon, "Forward.IPv4"}
	DaemonForwardChains = Field[[]any]{Daemon, "Forward.Chains"}
	// The files of the runtimes of which Effective.runtimes gives the path, by
	// name: {Path, Exists, Executable}.
	DaemonRuntimeFiles = Field[map[string]any]{Daemon, "RuntimeFiles"}
	// Age of what it keeps: stopped containers and images that no container
	// uses: {Containers: [{Name, Since}], Images: [{Name, Created, Size}]}.
	DaemonUnused = Field[map[string]any]{Daemon, "Unused"}

	DaemonICC             = Field[bool]{Daemon, "Effective.icc"}
	DaemonDefaultRuntime  = Field[string]{Daemon, "Effective.default-runtime"}
	DaemonRuntimes        = Field[map[string]any]{Daemon, "Effective.runtimes"}
	DaemonDNS             = Field[[]string]{Daemon, "Effective.dns"}
	DaemonLogLevel        = Field[string]{Daemon, "Effective.log-level"}
	DaemonDebug           = Field[bool]{Daemon, "Effective.debug"}
	DaemonIPTables        = Field[bool]{Daemon, "Effective.iptables"}
	DaemonDirectRouting   = Field[bool]{Daemon, "Effective.allow-direct-routing"}
	DaemonIP6Tables       = Field[bool]{Daemon, "Effective.ip6tables"}
	DaemonInsecure        = Field[[]string]{Daemon, "Effective.insecure-registries"}
	DaemonHosts           = Field[[]string]{Daemon, "Effective.hosts"}
	DaemonTLSVerify       = Field[bool]{Daemon, "Effective.tlsverify"}
	DaemonTLSCA           = Field[string]{Daemon, "Effective.tlscacert"}
	DaemonTLSCert         = Field[string]{Daemon, "Effective.tlscert"}
	DaemonTLSKey          = Field[string]{Daemon, "Effective.tlskey"}
	DaemonUlimits         = Field[map[string]any]{Daemon, "Effective.default-ulimits"}
	DaemonUsernsRemap     = Field[string]{Daemon, "Effective.userns-remap"}
	DaemonCgroupParent    = Field[string]{Daemon, "Effective.cgroup-parent"}
	DaemonStorageOpts     = Field[[]string]{Daemon, "Effective.storage-opts"}
	DaemonAuthzPlugins    = Field[[]string]{Daemon, "Effective.authorization-plugins"}
	DaemonLogDriver       = Field[string]{Daemon, "Effective.log-driver"}
	DaemonLogOpts         = Field[map[string]any]{Daemon, "Effective.log-opts"}
	DaemonNoNewPrivileges = Field[bool]{Daemon, "Effective.no-new-privileges"}
	DaemonWantLiveRestore = Field[bool]{Daemon, "Effective.live-restore"}
	DaemonUserlandProxy   = Field[bool]{Daemon, "Effective.userland-proxy"}
	DaemonSeccompProfile  = Field[string]{Daemon, "Effective.seccomp-profile"}
	DaemonExperimentalKey = Field[bool]{Daemon, "Effective.experimental"}
	DaemonBridge          = Field[string]{Daemon, "Effective.bridge"}
	DaemonDefaultIP       = Field[string]{Daemon, "Effective.ip"}
	DaemonSELinux         = Field[bool]{Daemon, "Effective.selinux-enabled"}
)

// Fields of a swarm: GET /swarm, GET /info .Swarm under Info, GET /nodes.
var (
	SwarmAutoLock     = Field[bool]{Swarm, "Spec.EncryptionConfig.AutoLockManagers"}
	SwarmCertExpiry   = Field[int64]{Swarm, "Spec.CAConfig.NodeCertExpiry"} // nanoseconds
	SwarmForceRotate  = Field[int64]{Swarm, "Spec.CAConfig.ForceRotate"}
	SwarmCACert       = Field[string]{Swarm, "TLSInfo.TrustRoot"} // PEM
	SwarmCANotBefore  = Field[string]{Swarm, "CANotBefore"}       // RFC 3339, from the PEM
	SwarmNodes        = Field[[]any]{Swarm, "Nodes"}
	SwarmManagers     = Field[int64]{Swarm, "Info.Managers"}
	SwarmNodeAddr     = Field[string]{Swarm, "Info.NodeAddr"}
	SwarmListen       = Field[[]any]{Swarm, "Listen"} // [] of {Proto, Addr, Port} of the daemon on 2377, 7946, 4789
	SwarmDataPathAddr = Field[string]{Swarm, "DataPathAddr"}
	SwarmSecrets      = Field[[]any]{Swarm, "Secrets"} // [] of {Name}: GET /secrets
)

// Fields of a service: GET /services.
var (
	ServiceEnv   = Field[[]string]{Service, "Spec.TaskTemplate.ContainerSpec.Env"}
	ServicePorts = Field[[]any]{Service, "Endpoint.Ports"} // [] of {PublishMode: "ingress"|"host", PublishedPort, …}
)

// Fields of the kernel and of a sysctl.
var (
	KernelRelease  = Field[string]{Kernel, "Release"}  // uname -r
	KernelLSMs     = Field[[]string]{Kernel, "LSMs"}   // /sys/kernel/security/lsm
	KernelLockdown = Field[string]{Kernel, "Lockdown"} // "none", "integrity", "confidentiality"
	KernelCmdline  = Field[string]{Kernel, "Cmdline"}
	KernelConfig   = Field[map[string]any]{Kernel, "Config"}          // CONFIG_… = "y", "m", or absent; /proc/config.gz or /boot/config-*
	KernelVulns    = Field[map[string]any]{Kernel, "Vulnerabilities"} // /sys/devices/system/cpu/vulnerabilities
	KernelCgroup   = Field[int64]{Kernel, "Cgroup"}                   // 1 or 2
	KernelSELinux  = Field[string]{Kernel, "SELinux"}                 // "enforcing", "permissive", "" (not active)
	KernelAppArmor = Field[bool]{Kernel, "AppArmor"}                  // active

	SysctlValue = Field[string]{Sysctl, "Value"}
	SysctlFile  = Field[string]{Sysctl, "File"}
)

// Fields of a file. Roles say why it was read: "unit", "socket-unit",
// "config-dir", "registry-cert", "registry-key", "tls-ca", "tls-cert",
// "tls-key", "docker-socket", "daemon-json", "default-docker",
// "sysconfig-docker", "containerd-socket".
var (
	FileExists = Field[bool]{File, "Exists"}
	FileMode   = Field[int64]{File, "Mode"} // permission bits incl. setuid, setgid, sticky: 0o644
	FileUID    = Field[int64]{File, "Uid"}
	FileGID    = Field[int64]{File, "Gid"}
	FileUser   = Field[string]{File, "User"} // "" if the uid has no name
	FileGroup  = Field[string]{File, "Group"}
	FileType   = Field[string]{File, "Type"}   // "file", "dir", "socket", "symlink"
	FileTarget = Field[string]{File, "Target"} // of a symlink, resolved; Mode … are the target's
	FileRoles  = Field[[]string]{File, "Roles"}
	// Names of the daemons that name it; absent if it is in its usual place.
	FileEngines = Field[[]string]{File, "Engines"}
)

// Fields of an audit watch. Role is the CIS 1.1 item it serves: "dockerd",
// "run-containerd", "data-root", "etc-docker", "docker-service",
// "containerd-sock", "docker-sock", "default-docker", "daemon-json",
// "containerd-config", "sysconfig-docker", "containerd", "shim", "shim-runc-v1",
// "shim-runc-v2", "runc".
var (
	WatchExists     = Field[bool]{Watch, "Exists"}       // whether the path exists
	WatchLoaded     = Field[string]{Watch, "Loaded"}     // permissions the kernel watches it with: "rwxa", "wa", "" none
	WatchPersistent = Field[string]{Watch, "Persistent"} // the same, by the files of /etc/audit/rules.d
	WatchRole       = Field[string]{Watch, "Role"}
	WatchEnabled    = Field[int64]{Watch, "Enabled"}    // the kernel's audit: 0 off, 1 on, 2 locked until reboot
	WatchEngines    = Field[[]string]{Watch, "Engines"} // as FileEngines
)

// Fields of accounts, listeners, registries, credentials, packages, units and
// the host.
var (
	AccountUID     = Field[int64]{Account, "Uid"}
	AccountReaches = Field[[]string]{Account, "Reaches"} // "group docker", "primary group docker", "uid 0", "sudo NOPASSWD docker", "socket acl"
	AccountShell   = Field[string]{Account, "Shell"}

	ListenerProto = Field[string]{Listener, "Proto"} // tcp, udp
	ListenerAddr  = Field[string]{Listener, "Addr"}
	ListenerPort  = Field[int64]{Listener, "Port"}
	ListenerPid   = Field[int64]{Listener, "Pid"}
	ListenerExe   = Field[string]{Listener, "Exe"}
	ListenerOwner = Field[string]{Listener, "Container"} // the container it belongs to (docker-proxy, host network), "" none

	RegistryInsecure = Field[bool]{Registry, "Insecure"}    // the engine would accept no or bad TLS
	RegistryLoopback = Field[bool]{Registry, "Loopback"}    // its address is on this machine
	RegistryPlain    = Field[bool]{Registry, "Plain"}       // a probe was answered in plain HTTP (loopback only; else absent)
	RegistryFrom     = Field[[]string]{Registry, "NamedBy"} // "daemon", "image app:1.0", "mirror"
	// What a registry showed that was asked for it (casco audit --registries).
	RegistryCertificate   = Field[map[string]any]{Registry, "Certificate"} // {State: good, expired, wrong-name, unknown-authority, invalid, none; Reason, Names, Issuer, NotAfter, Version}
	RegistryCertState     = Field[string]{Registry, "Certificate.State"}
	RegistryPull          = Field[string]{Registry, "Pull"}           // how the engine would fetch: tls, tls-unverified, plain, refused
	RegistryLogin         = Field[string]{Registry, "Login"}          // none, basic, bearer
	RegistryAnonymousPush = Field[bool]{Registry, "AnonymousPush"}    // anybody may begin an upload
	RegistryRedirects     = Field[[]string]{Registry, "Redirects"}    // where it sent who asked: scheme and host
	RegistryFalse         = Field[[]string]{Registry, "FalseDigests"} // tags for whose digest it gave something else

	RegistryListed = Field[bool]{Registry, "Listed"} // an entry of insecure-registries names it

	CredentialRegistries = Field[[]string]{Credential, "Inline"} // registries whose login is stored in the file, readable
	CredentialStore      = Field[string]{Credential, "CredsStore"}
	CredentialUser       = Field[string]{Credential, "User"}

	PackageVersion = Field[string]{Package, "Version"}
	UnitEnabled    = Field[bool]{Unit, "Enabled"}

	HostOS     = Field[map[string]any]{Host, "OS"} // /etc/os-release: ID, VERSION_ID, PRETTY_NAME
	HostUptime = Field[int64]{Host, "Uptime"}      // seconds
	// HostNameservers are those of /etc/resolv.conf; without one it is the host
	// itself, resolv.conf(5).
	HostNameservers = Field[[]string]{Host, "Nameservers"}
	HostPortRange   = Field[string]{Host, "PortRange"} // net.ipv4.ip_local_port_range: "32768\t60999"
	HostRoot        = Field[bool]{Host, "Root"}        // casco ran as root when it read
)

// Fields of an exception. Force: "active", "not-yet", "expired", "void",
// "unmatched", "not-told".
var (
	ExceptionForce = Field[string]{Exception, "Force"}
	ExceptionCheck = Field[string]{Exception, "Check"}
	ExceptionAsset = Field[string]{Exception, "Asset"}
	ExceptionLocus = Field[string]{Exception, "Locus"}
)

// PolicyRef names the policy in a snapshot that is being judged.
var PolicyRef = Ref{Policy, "policy"}

// Fields of the policy that checks read, and what the policy says of objects.
var (
	PolicyName    = Field[string]{Policy, "metadata.name"}
	PolicyVersion = Field[int64]{Policy, "metadata.version"}

	PolicyAllowPackages  = Field[[]string]{Policy, "host.packages.allow"}
	PolicyForbidPackages = Field[[]string]{Policy, "host.packages.forbid"}
	PolicyAllowServices  = Field[[]string]{Policy, "host.services.allow"}
	PolicyForbidServices = Field[[]string]{Policy, "host.services.forbid"}
	PolicyAllowAccounts  = Field[[]string]{Policy, "host.accounts.allow"}
	PolicyForbidAccounts = Field[[]string]{Policy, "host.accounts.forbid"}
	PolicyAllowPorts     = Field[[]string]{Policy, "host.ports.allow"} // "22/tcp"
	PolicyForbidPorts    = Field[[]string]{Policy, "host.ports.forbid"}

	PolicyPrivilegedPublish = Field[string]{Policy, "ports.privileged_publish"} // allow, warn, deny
	PolicyRandomPublish     = Field[string]{Policy, "ports.random_publish"}
	PolicyPublishEverywhere = Field[string]{Policy, "ports.publish_on_all_interfaces"}
	PolicyPublishAllowed    = Field[[]string]{Policy, "ports.allow"} // "443/tcp", "proxy:443/tcp"
	PolicySSHInContainers   = Field[string]{Policy, "ssh.in_containers"}
	PolicyRegistries        = Field[[]string]{Policy, "registries.allow"}
	PolicyRequire           = Field[[]string]{Policy, "registries.require"}  // "digest", "tls", "signature"
	PolicyAdvisoriesAge     = Field[string]{Policy, "images.advisories_age"} // "7d"
	PolicyImageMaxAge       = Field[string]{Policy, "images.max_age"}        // "60d"
	PolicyFlows             = Field[[]any]{Policy, "flows"}
	PolicyTiers             = Field[[]any]{Policy, "tiers"}
	PolicyEnforce           = Field[bool]{Policy, "network.enforce"}
	PolicyStart             = Field[string]{Policy, "network.start"}  // fanotify, runtime
	PolicyAdmission         = Field[string]{Policy, "admission.mode"} // observe, enforce

	// Of the guard, as it says itself over its socket. One that is not there has
	// Running false, and Enforced as the file says by which the next would go.
	GuardRunning    = Field[bool]{Guard, "Running"}
	GuardEnforced   = Field[bool]{Guard, "Enforced"}
	GuardUngoverned = Field[[]string]{Guard, "Ungoverned"} // containers of which it can keep nothing

	// Of its door. Door and Plugin are what was wanted of it; Judged is what a
	// request met that was sent to see, at the public socket and by the plugin.
	GuardDoor         = Field[bool]{Guard, "Door"}
	GuardPlugin       = Field[bool]{Guard, "Plugin"}
	GuardJudgedDoor   = Field[bool]{Guard, "Judged.Door"}
	GuardJudgedPlugin = Field[bool]{Guard, "Judged.Plugin"}
	GuardGlass        = Field[string]{Guard, "Glass"}    // until when root has requests only observed; "" for not now
	GuardPast         = Field[[]string]{Guard, "Past"}   // containers that hold the engine's own socket, past the door
	GuardOthers       = Field[[]string]{Guard, "Others"} // addresses at which the engine is asked past the door

	ContainerTier        = Field[string]{Container, "Tier"}
	ContainerTierDefault = Field[bool]{Container, "TierDefault"}
	NetworkTier          = Field[string]{Network, "Tier"}

	// How the policy wants a container of that tier to run (runtime), under its
	// own keys; what it says nothing of is absent. Memory in bytes, CPUs in
	// thousandths.
	Wanted                = Field[map[string]any]{Container, "Wanted"}
	WantedCapDrop         = Field[[]string]{Container, "Wanted.cap_drop"}
	WantedCapAdd          = Field[[]string]{Container, "Wanted.cap_add"} // may be added
	WantedNoNewPrivileges = Field[bool]{Container, "Wanted.no_new_privileges"}
	WantedReadOnly        = Field[bool]{Container, "Wanted.read_only"}
	WantedPids            = Field[int64]{Container, "Wanted.pids"}
	WantedMemory          = Field[int64]{Container, "Wanted.memory"}
	WantedCPUs            = Field[int64]{Container, "Wanted.cpus"}
	WantedUser            = Field[string]{Container, "Wanted.user"}
)

// Fields of what lint reads: see the kinds Dockerfile, Compose and Pragma.
var (
	DockerfileUser         = Field[string]{Dockerfile, "Config.User"}
	DockerfileHealthcheck  = Field[map[string]any]{Dockerfile, "Config.Healthcheck"}
	DockerfileInstructions = Field[[]any]{Dockerfile, "Instructions"}
	DockerfileBases        = Field[[]any]{Dockerfile, "Bases"}
	DockerfileContext      = Field[bool]{Dockerfile, "ContextKnown"}

	ComposeSecrets     = Field[[]any]{Compose, "Secrets"}
	ComposeBuildRights = Field[[]any]{Compose, "BuildRights"}

	PragmaCheck   = Field[string]{Pragma, "Check"}
	PragmaReason  = Field[string]{Pragma, "Reason"}
	PragmaMatches = Field[int64]{Pragma, "Matches"}
)
