package checks

import "casco/loop/audit"

// hostChecks lists the checks about the machine below the engine: its kernel,
// accounts, sockets, software, and the registries and logins that it uses. The
// one about exceptions finds no object in a snapshot of a host: see package risk.
func hostChecks() []*audit.Check {
	cs := []*audit.Check{
		hostHardening,
		hostVersion,
		dockerAccounts,
		accountUIDZero,
		listenerEnginePort,
		listenerAllAddresses, listenerForbidden,
		registryInsecure,
		registryPlain,
		registryIdentity, registryAnonymousPush, registryRedirect, registryFalseDigest,
		registryCredentials,
		kernelLSM,
		kernelLockdown,
		kernelCgroup,
		kernelCPUVulnerabilities,
		kernelConfigIsolation,
		kernelConfigHardening,
		sysctlUserNamespaces,
		packageUnneeded,
		unitUnneeded,
		ExceptionUnmatched,
		policyCrossingReview,
		guardNetwork,
		guardDoor,
		daemonRuntimeGate,
		daemonDNS,
	}
	for _, t := range kernelSettings {
		cs = append(cs, t.check())
	}
	return cs
}
