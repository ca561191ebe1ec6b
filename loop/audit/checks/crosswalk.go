package checks

import (
	"slices"

	"casco/loop/audit"
)

// A row is one theme of the crosswalk between frameworks: the requirements,
// beside CIS Docker, that checks of that theme support. This file is the whole
// of it: a check names its theme, adds its own number of CIS Docker, and what
// only it supports.
//
// Rows and the links in them are our own reading of NIST SP 800-190 and SP
// 800-53 Rev. 5, and for the others of the numbers and titles; nothing here is
// taken from a published mapping.
type row []audit.Control

// cis returns r with a recommendation of CIS Docker 1.8.0 before it.
func (r row) cis(number string) []audit.Control {
	return append(on("cis-docker-1.8.0", number), r...)
}

// and returns r with more requirements, in pairs of framework and number.
func (r row) and(pairs ...string) row {
	return slices.Concat(r, row(on(pairs...)))
}

// The host and the engine.
var (
	// 800-190 4.5.1 wants a host that is not made for containers hardened by SP
	// 800-123; 4.5.3 is about the versions of its components.
	rowHardening = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "CM-2", "nist-800-53-r5", "CM-6", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.1", "cis-controls-8", "4.1", "cobit-2019", "BAI10.02"))
	rowLeastFunction = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "CM-7", "iso-27001-2022", "A.8.9", "iso-27001-2022", "A.8.19",
		"pci-dss-4", "2.2.4", "cis-controls-8", "4.8", "cobit-2019", "DSS05.03"))
	rowKernel = row(on("nist-800-190", "4.5.2", "nist-800-53-r5", "SC-39", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.6", "cis-controls-8", "10.5", "cobit-2019", "DSS05.03"))
	rowFlood     = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "SC-5", "iso-27001-2022", "A.8.6", "cobit-2019", "DSS01.03"))
	rowHostFlaws = row(on("nist-800-190", "4.5.3", "nist-800-53-r5", "SI-2", "nist-800-53-r5", "SA-22", "iso-27001-2022", "A.8.8",
		"pci-dss-4", "6.3.3", "cis-controls-8", "2.2", "cis-controls-8", "7.3", "cobit-2019", "DSS05.07"))
	// The engine, containerd and runc are the runtime software of 800-190 4.4.1.
	rowEngineFlaws = row(on("nist-800-190", "4.4.1", "nist-800-53-r5", "SI-2", "nist-800-53-r5", "SA-22", "iso-27001-2022", "A.8.8",
		"pci-dss-4", "6.3.3", "cis-controls-8", "2.2", "cis-controls-8", "7.4", "cobit-2019", "DSS05.07"))
	// Who may change what the engine obeys. 800-190 4.5.5 is about what
	// containers reach of the host's files, not about the users of the host.
	rowFiles = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "CM-5", "iso-27001-2022", "A.8.3",
		"pci-dss-4", "7.2.1", "cis-controls-8", "3.3", "cobit-2019", "DSS05.04"))
	// Whoever commands the engine is root: 800-190 4.3.1 says so of an
	// orchestrator, and asks for least privilege.
	rowEngineAccess = row(on("nist-800-190", "4.3.1", "nist-800-53-r5", "AC-3", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "AC-6(10)",
		"iso-27001-2022", "A.8.2", "pci-dss-4", "7.2.1", "cis-controls-8", "5.4", "cobit-2019", "DSS05.04"))
	rowHostAccounts = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AC-2", "nist-800-53-r5", "AC-6", "iso-27001-2022", "A.8.2",
		"pci-dss-4", "7.2.1", "cis-controls-8", "5.4", "cobit-2019", "DSS05.04"))
	rowHostPorts = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "CM-7", "nist-800-53-r5", "CM-7(1)", "nist-800-53-r5", "SC-7",
		"iso-27001-2022", "A.8.20", "pci-dss-4", "1.2.5", "cis-controls-8", "4.8", "cobit-2019", "DSS05.02"))
	rowAvailability = row(on("nist-800-53-r5", "SI-13", "iso-27001-2022", "A.8.6", "cobit-2019", "DSS01.03"))
	rowLog          = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AU-12", "iso-27001-2022", "A.8.15",
		"pci-dss-4", "10.2.1", "cis-controls-8", "8.5", "cobit-2019", "MEA02.01"))
	rowLogStore = row(on("nist-800-53-r5", "AU-4(1)", "iso-27001-2022", "A.8.15",
		"pci-dss-4", "10.3.3", "cis-controls-8", "8.9", "cobit-2019", "DSS01.03"))
	rowLogBounds = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "AU-4", "nist-800-53-r5", "SC-5", "iso-27001-2022", "A.8.6",
		"iso-27001-2022", "A.8.15", "cis-controls-8", "8.3", "cobit-2019", "DSS01.03"))
)

// Containers as they run.
var (
	// CM-7(6) is a confined environment with few privileges; A.8.18 is about
	// tools that an administrator runs, and is not meant.
	rowConfinement = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "CM-7(6)", "nist-800-53-r5", "SC-39",
		"iso-27001-2022", "A.8.2", "pci-dss-4", "2.2.6", "pci-dss-4", "7.2.5", "cis-controls-8", "10.5", "cobit-2019", "DSS05.03"))
	rowMandatory = rowConfinement.and("nist-800-53-r5", "AC-3(3)")
	rowIsolation = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "SC-39", "nist-800-53-r5", "SC-4", "nist-800-53-r5", "AC-6",
		"iso-27001-2022", "A.8.3", "pci-dss-4", "7.2.5", "cis-controls-8", "3.3", "cobit-2019", "DSS05.03"))
	rowMounts    = rowIsolation.and("nist-800-190", "4.5.5")
	rowResources = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "SC-5", "nist-800-53-r5", "SC-6", "iso-27001-2022", "A.8.6",
		"cobit-2019", "DSS01.03"))
	// 800-190 4.4.4 asks for a root file system that cannot be written, so that
	// an application that is taken over cannot be changed.
	rowReadOnly = row(on("nist-800-190", "4.4.4", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "CM-7(6)", "nist-800-53-r5", "SI-7",
		"iso-27001-2022", "A.8.9", "pci-dss-4", "2.2.6", "cis-controls-8", "16.7", "cobit-2019", "DSS05.03"))
	rowDrift = row(on("nist-800-190", "4.4.4", "nist-800-53-r5", "CM-2", "nist-800-53-r5", "CM-6(2)", "nist-800-53-r5", "SI-7",
		"iso-27001-2022", "A.8.9", "pci-dss-4", "11.5.2", "cis-controls-8", "4.1", "cobit-2019", "BAI10.05"))
	rowSSH = row(on("nist-800-190", "4.1.2", "nist-800-53-r5", "CM-7", "iso-27001-2022", "A.8.5", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.5", "cis-controls-8", "4.6", "cis-controls-8", "4.8", "cobit-2019", "DSS05.04"))
	rowHealth = row(on("nist-800-53-r5", "SI-4", "nist-800-53-r5", "SI-13", "iso-27001-2022", "A.8.16", "cobit-2019", "DSS01.03"))
)

// Networks.
var (
	rowPorts = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "CM-7", "nist-800-53-r5", "CM-7(1)", "nist-800-53-r5", "SC-7",
		"iso-27001-2022", "A.8.20", "pci-dss-4", "1.2.5", "pci-dss-4", "1.3.1", "cis-controls-8", "4.4", "cis-controls-8", "4.8",
		"cobit-2019", "DSS05.02"))
	rowSegments = row(on("nist-800-190", "4.3.3", "nist-800-190", "4.4.2", "nist-800-53-r5", "AC-4", "nist-800-53-r5", "SC-7",
		"nist-800-53-r5", "SC-7(21)", "iso-27001-2022", "A.8.22", "pci-dss-4", "1.3.1", "cis-controls-8", "13.4", "cobit-2019", "DSS05.02"))
	// What is kept apart because of what it is worth. That segmentation holds
	// (PCI 11.4.5) is for a probe to show, not for a setting.
	rowTiers = rowSegments.and("nist-800-190", "4.3.4", "pci-dss-4", "2.2.3", "cis-controls-8", "3.12")
	// 800-190 4.3.5 wants the traffic between the members of a cluster encrypted.
	rowOverlay = row(on("nist-800-190", "4.3.5", "nist-800-53-r5", "SC-8", "nist-800-53-r5", "SC-8(1)", "iso-27001-2022", "A.8.24",
		"pci-dss-4", "4.2.1", "cis-controls-8", "3.10", "cobit-2019", "DSS05.02"))
	rowSwarm = row(on("nist-800-190", "4.3.5", "nist-800-53-r5", "SC-12", "nist-800-53-r5", "SC-17", "iso-27001-2022", "A.8.24",
		"pci-dss-4", "2.2.6", "cobit-2019", "DSS05.04"))
)

// Images, registries and secrets.
var (
	rowImages = row(on("nist-800-190", "4.1.2", "nist-800-53-r5", "CM-6", "iso-27001-2022", "A.8.9", "pci-dss-4", "2.2.1",
		"cis-controls-8", "16.7", "cobit-2019", "DSS05.03"))
	rowImageSize = row(on("nist-800-190", "4.1.2", "nist-800-53-r5", "CM-7", "iso-27001-2022", "A.8.19", "pci-dss-4", "2.2.4",
		"cis-controls-8", "4.8", "cobit-2019", "DSS05.03"))
	// 800-190 4.2.2 wants old images gone, and a name that is one version.
	rowImageFlaws = row(on("nist-800-190", "4.1.1", "nist-800-190", "4.2.2", "nist-800-53-r5", "SI-2", "iso-27001-2022", "A.8.8",
		"pci-dss-4", "6.3.3", "cis-controls-8", "7.4", "cobit-2019", "DSS05.07"))
	rowLineage = row(on("nist-800-190", "4.2.2", "nist-800-53-r5", "CM-8", "iso-27001-2022", "A.5.9", "pci-dss-4", "6.3.2",
		"cis-controls-8", "2.1", "cobit-2019", "BAI10.02"))
	rowTrust = row(on("nist-800-190", "4.1.5", "nist-800-53-r5", "SR-11", "nist-800-53-r5", "CM-14", "nist-800-53-r5", "SI-7(15)",
		"iso-27001-2022", "A.5.21", "iso-27001-2022", "A.8.19", "pci-dss-4", "6.3.2", "cis-controls-8", "2.5",
		"cis-controls-8", "16.5", "cobit-2019", "DSS05.03"))
	rowRegistry = row(on("nist-800-190", "4.2.1", "nist-800-53-r5", "SC-8", "iso-27001-2022", "A.8.24",
		"pci-dss-4", "4.2.1", "cis-controls-8", "3.10", "cobit-2019", "DSS05.03"))
	rowSecrets = row(on("nist-800-190", "4.1.4", "nist-800-53-r5", "IA-5(7)", "iso-27001-2022", "A.5.17", "pci-dss-4", "8.6.2",
		"cobit-2019", "DSS05.04"))
	rowExceptions  = row(on("nist-800-53-r5", "RA-7", "nist-800-53-r5", "CA-5", "iso-27001-2022", "A.5.36", "cobit-2019", "APO12.06"))
	rowCredentials = row(on("nist-800-190", "4.2.3", "nist-800-53-r5", "IA-5(7)", "nist-800-53-r5", "SC-28", "iso-27001-2022", "A.5.17",
		"pci-dss-4", "8.3.2", "cis-controls-8", "3.11", "cobit-2019", "DSS05.04"))
)

// The domains of COBIT that a check serves, in the usual combinations.
var (
	secures  = []audit.Domain{audit.Security}
	operates = []audit.Domain{audit.Operations, audit.Security}
	changes  = []audit.Domain{audit.Change, audit.Security}
)
