package checks

import "casco/loop/audit"

// imageChecks lists the checks about images, and about what admits them.
func imageChecks() []*audit.Check {
	return []*audit.Check{
		imageAccessMaterial,
		imageAdd,
		imageAge,
		imageTagMoved, imageNewerTag,
		imageContentTrust,
		imageHealthcheck,
		imagePackages,
		imageRootUser,
		imageSecrets,
		imageSetuid,
		imageSignature,
		imageSource,
		imageSSH,
		imageUnverifiedPackages,
		imageUpdateAlone,
		imageVulnerable,
		imageVulnerableLess,
		imageWaste,
	}
}
