package checks

import (
	"slices"

	"casco/loop/audit"
)

// Rows of the crosswalk (see crosswalk.go) that only checks of containers use.
var (
	forConfinement = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "SC-39", "nist-800-53-r5", "CM-7(6)",
		"iso-27001-2022", "A.8.2", "pci-dss-4", "2.2.6", "pci-dss-4", "7.2.5", "cis-controls-8", "10.5", "cobit-2019", "DSS05.03"))
	forMandatory = row(slices.Concat(forConfinement, on("nist-800-53-r5", "AC-3(3)")))
	forResources = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "SC-5", "iso-27001-2022", "A.8.6", "cobit-2019", "DSS01.03"))
	forIsolation = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "SC-39", "nist-800-53-r5", "SC-4", "nist-800-53-r5", "AC-6",
		"iso-27001-2022", "A.8.3", "pci-dss-4", "7.2.5", "cis-controls-8", "3.3", "cobit-2019", "DSS05.03"))
	forMounts = row(slices.Concat(forIsolation, on("nist-800-190", "4.5.5")))
	forSSH    = row(on("nist-800-190", "4.1.2", "nist-800-53-r5", "CM-7", "iso-27001-2022", "A.8.5", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.5", "cis-controls-8", "4.6", "cis-controls-8", "4.8", "cobit-2019", "DSS05.04"))
	forPorts = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "CM-7(1)", "nist-800-53-r5", "SC-7", "iso-27001-2022", "A.8.20",
		"pci-dss-4", "1.2.5", "pci-dss-4", "1.3.1", "cis-controls-8", "4.4", "cis-controls-8", "4.8", "cobit-2019", "DSS05.02"))
	forSegmentation = row(on("nist-800-190", "4.3.3", "nist-800-190", "4.3.4", "nist-800-190", "4.4.2", "nist-800-53-r5", "AC-4",
		"nist-800-53-r5", "SC-7(21)", "iso-27001-2022", "A.8.22", "pci-dss-4", "2.2.3", "pci-dss-4", "11.4.5",
		"cis-controls-8", "3.12", "cis-controls-8", "13.4", "cobit-2019", "DSS05.02"))
	forEngine = row(on("nist-800-190", "4.3.1", "nist-800-53-r5", "AC-3", "nist-800-53-r5", "AC-6", "iso-27001-2022", "A.8.2",
		"iso-27001-2022", "A.8.18", "pci-dss-4", "7.2.1", "cis-controls-8", "5.4", "cobit-2019", "DSS05.04"))
	forBaseline = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "CM-2", "nist-800-53-r5", "CM-6", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.1", "pci-dss-4", "11.5.2", "cis-controls-8", "4.1", "cobit-2019", "BAI10.05"))
	forLineage = row(on("nist-800-190", "4.1.1", "nist-800-53-r5", "CM-8", "iso-27001-2022", "A.5.9", "pci-dss-4", "6.3.2",
		"cis-controls-8", "2.1", "cobit-2019", "BAI10.02"))
	forPatches = row(on("nist-800-190", "4.2.2", "nist-800-53-r5", "SI-2", "iso-27001-2022", "A.8.8", "pci-dss-4", "6.3.3",
		"cis-controls-8", "7.4", "cobit-2019", "DSS05.07"))
	forAvailability = row(on("nist-800-53-r5", "SI-4", "iso-27001-2022", "A.8.16", "cobit-2019", "DSS01.03"))
	forLogs         = row(on("nist-800-53-r5", "AU-4", "nist-800-53-r5", "SC-5", "iso-27001-2022", "A.8.15", "cis-controls-8", "8.3",
		"cobit-2019", "DSS01.03"))
	forSecrets = row(on("nist-800-190", "4.1.4", "nist-800-53-r5", "IA-5(7)", "iso-27001-2022", "A.5.17", "pci-dss-4", "8.6.2",
		"cobit-2019", "DSS05.04"))
)

// cis puts a number of the CIS Docker Benchmark before any list of controls.
func cis(number string, theme []audit.Control) []audit.Control { return row(theme).cis(number) }

var (
	secures  = []audit.Domain{audit.Security}
	operates = []audit.Domain{audit.Operations, audit.Security}
	changes  = []audit.Domain{audit.Change, audit.Security}
)
