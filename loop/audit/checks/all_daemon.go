package checks

import "casco/loop/audit"

// daemonChecks lists the checks about an engine.
func daemonChecks() []*audit.Check {
	return []*audit.Check{
		dataRootFilesystem,
		engineVersions,
		engineKnownHoles,
		daemonRootless,
		daemonICC,
		daemonLogLevel,
		daemonIPTables,
		daemonIP6Tables,
		daemonForward,
		daemonInsecureRegistries,
		daemonAUFS,
		daemonDeviceMapper,
		daemonTLS,
		daemonDefaultUlimits,
		daemonUsernsRemap,
		daemonCgroupParent,
		daemonStorageBaseSize,
		daemonAuthorizationPlugin,
		daemonLogShipping,
		daemonLogBounds,
		daemonNoNewPrivileges,
		daemonLiveRestore,
		daemonUserlandProxy,
		daemonSeccompProfile,
		daemonSELinux,
		daemonExperimental,
	}
}
