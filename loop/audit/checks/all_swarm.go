package checks

import "casco/loop/audit"

// swarmChecks lists the checks about swarms, networks, volumes, and the
// upkeep of a host.
func swarmChecks() []*audit.Check {
	return []*audit.Check{
		networkICC,
		operationsStoppedContainers,
		operationsSwarm,
		operationsUnusedImages,
		swarmAutoLock,
		swarmCARotation,
		swarmCertExpiry,
		swarmDataPath,
		swarmIngressEncryption,
		swarmListen,
		swarmManagers,
		swarmOverlayEncryption,
		swarmSecrets,
		swarmUnlockKey,
		volumeHostPath,
		volumeSecrets,
	}
}
