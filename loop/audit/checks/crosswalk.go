package checks

import "casco/loop/audit"

// A row is one theme of the crosswalk between frameworks: the requirements,
// beside CIS Docker, that checks of that theme support. Rows and the links in
// them are our own reading; nothing here is taken from a published mapping.
type row []audit.Control

// cis returns r with a recommendation of CIS Docker 1.8.0 before it.
func (r row) cis(number string) []audit.Control {
	return append(on("cis-docker-1.8.0", number), r...)
}

var (
	rowBaseline = row(on("nist-800-190", "4.5.3", "nist-800-53-r5", "CM-6", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.1", "cis-controls-8", "4.1", "cobit-2019", "BAI10.02"))
	rowLeastFunction = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "CM-7", "iso-27001-2022", "A.8.19",
		"pci-dss-4", "2.2.4", "cis-controls-8", "4.8", "cobit-2019", "DSS05.03"))
	rowKernel = row(on("nist-800-190", "4.5.2", "nist-800-53-r5", "SC-39", "iso-27001-2022", "A.8.9",
		"pci-dss-4", "2.2.6", "cis-controls-8", "10.5", "cobit-2019", "DSS05.03"))
	rowPatches = row(on("nist-800-190", "4.5.3", "nist-800-53-r5", "SI-2", "nist-800-53-r5", "RA-5", "iso-27001-2022", "A.8.8",
		"pci-dss-4", "6.3.3", "cis-controls-8", "7.3", "cobit-2019", "DSS05.07"))
	rowConfinement = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "AC-6", "nist-800-53-r5", "SC-39", "iso-27001-2022", "A.8.18",
		"pci-dss-4", "7.2.5", "cis-controls-8", "10.5", "cobit-2019", "DSS05.03"))
	rowFiles = row(on("nist-800-190", "4.5.5", "nist-800-53-r5", "AC-6", "iso-27001-2022", "A.8.3",
		"pci-dss-4", "7.2.1", "cis-controls-8", "3.3", "cobit-2019", "DSS05.04"))
	rowResources = row(on("nist-800-190", "4.4.3", "nist-800-53-r5", "SC-5", "iso-27001-2022", "A.8.6", "cobit-2019", "DSS01.03"))
	rowPorts     = row(on("nist-800-190", "4.5.1", "nist-800-53-r5", "CM-7(1)", "nist-800-53-r5", "SC-7", "iso-27001-2022", "A.8.20",
		"pci-dss-4", "1.2.5", "cis-controls-8", "4.8", "cobit-2019", "DSS05.02"))
	rowSegments = row(on("nist-800-190", "4.3.3", "nist-800-53-r5", "AC-4", "nist-800-53-r5", "SC-7", "iso-27001-2022", "A.8.22",
		"pci-dss-4", "1.3.1", "cis-controls-8", "3.12", "cobit-2019", "DSS05.02"))
	rowRegistry = row(on("nist-800-190", "4.2.1", "nist-800-53-r5", "SC-8", "iso-27001-2022", "A.8.24",
		"pci-dss-4", "4.2.1", "cis-controls-8", "3.10", "cobit-2019", "DSS05.03"))
	rowEngineAccess = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AC-3", "nist-800-53-r5", "AC-6", "iso-27001-2022", "A.8.2",
		"pci-dss-4", "7.2.1", "cis-controls-8", "5.4", "cobit-2019", "DSS05.04"))
	rowAvailability = row(on("nist-800-53-r5", "SI-13", "iso-27001-2022", "A.8.6", "cobit-2019", "DSS01.03"))
	rowLog          = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AU-12", "iso-27001-2022", "A.8.15",
		"pci-dss-4", "10.2.1", "cis-controls-8", "8.5", "cobit-2019", "MEA02.01"))
	rowLogStore = row(on("nist-800-190", "4.5.4", "nist-800-53-r5", "AU-4(1)", "iso-27001-2022", "A.8.15",
		"pci-dss-4", "10.3.3", "cis-controls-8", "8.9", "cobit-2019", "DSS01.03"))
)
