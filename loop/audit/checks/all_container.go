package checks

import (
	"slices"

	"casco/loop/audit"
)

// containerChecks lists the checks about containers, in the order of the
// questions they answer.
func containerChecks() []*audit.Check {
	return slices.Concat(
		[]*audit.Check{ // who is it, and what may it do
			containerPrivileged, containerRootUser, containerUserNamespace,
			containerDangerousCapabilities, containerCapabilities, containerNetRaw,
			containerSeccomp, containerNoNewPrivileges, containerSystemPaths,
			containerAppArmor, containerAppArmorDeclared, containerSELinux,
			containerExecPrivileged, containerExecRoot,
		},
		namespaceChecks, // what of the host does it share
		[]*audit.Check{
			containerHostUserns, containerHostCgroup,
			containerSensitiveMount, containerEngineSocket, containerMountPropagation, containerDevices,
		},
		[]*audit.Check{ // who reaches it, and whom does it reach
			containerPrivilegedPort, containerPublishedEverywhere, containerRandomPort, containerUnusedPort,
			containerSSH, containerDefaultBridge, containerMixedTiers, containerTierDefault, containerCombination,
		},
		[]*audit.Check{ // what may it use up
			containerMemory, containerCPU, containerPids, containerUlimits, containerCgroupParent, containerRestart, containerLogBounds, containerRuntime,
		},
		[]*audit.Check{ // is it what was approved
			containerReadOnlyRoot, containerDrift, containerHealthcheck,
			containerImageMoved, containerImageLatest, containerImageUntagged, containerSecretEnv, containerAccessMaterial,
		},
	)
}
