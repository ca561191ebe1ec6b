package checks

import "casco/loop/audit"

// dockerfileChecks lists the checks about files from which images are built,
// and about what is written in such files to accept a finding.
func dockerfileChecks() []*audit.Check {
	return []*audit.Check{
		composeBuildRights,
		composeSecrets,
		dockerfileAddLocal,
		dockerfileAddRemote,
		dockerfileBaseDigest,
		dockerfileBaseLatest,
		dockerfileBaseRegistry,
		dockerfileBaseSupport,
		dockerfileBuildRights,
		dockerfileEmptyPassword,
		dockerfileHealthcheck,
		dockerfilePackageCache,
		dockerfilePipedDownload,
		dockerfilePorts,
		dockerfilePrivateFiles,
		dockerfileRootUser,
		dockerfileSecrets,
		dockerfileSetuid,
		dockerfileSSH,
		dockerfileSudo,
		dockerfileTLSOff,
		dockerfileUnsignedPackages,
		dockerfileUpdateAlone,
		dockerfileVolume,
		dockerfileWorldWritable,
		pragmaReason,
		pragmaUnmatched,
	}
}
