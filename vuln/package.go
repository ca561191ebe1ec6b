// Package vuln says which packages of an image have published vulnerabilities.
//
// It is pure: packages and advisories in, matches out. Who reads packages from
// an image (host/…) and who keeps advisories (package advisories, one file that
// works without a network) are others. What was matched once needs no second
// reading of the image: keep the packages, and match them against a newer
// database.
//
// The advisories are OSV records (https://ossf.github.io/osv-schema/), and an
// ecosystem is named as OSV names it. Versions are compared by the rules of
// their ecosystem. What could not be judged is said and never a pass: an
// ecosystem of which the database has nothing, a version that has no order.
package vuln

import "time"

// A Package is one that is installed. Two that differ in nothing but Paths are
// the same.
type Package struct {
	Ecosystem string `json:"ecosystem"` // as OSV has it, with the release: "Debian:12", "Alpine:v3.18", "Go", "PyPI", …
	Name      string `json:"name"`      // binary package; Maven: "group:artifact"; the Go toolchain that built a program: "stdlib"
	Version   string `json:"version"`   // Go: without the leading v or go; Debian and RPM: with epoch
	// Source and SourceVersion are the source package, which advisories of
	// Debian, Ubuntu and Alpine name. Empty where they are Name and Version.
	Source        string   `json:"source,omitempty"`
	SourceVersion string   `json:"source_version,omitempty"`
	PURL          string   `json:"purl,omitempty"`
	Arch          string   `json:"arch,omitempty"`
	Layer         string   `json:"layer,omitempty"` // diff ID of the layer that brought it
	Paths         []string `json:"paths,omitempty"` // where it lies in the image
}

// A Match is one vulnerability that one package has. However many records of
// however many databases name it, it is one.
type Match struct {
	Package Package  `json:"package"`
	ID      string   `json:"id"`                // a CVE if it has one, else the record's own
	Aliases []string `json:"aliases,omitempty"` // its other names, sorted, without ID
	Records []string `json:"records"`           // IDs of the records that say so, sorted
	Sources []string `json:"sources"`           // of the database, from which those records are
	Summary string   `json:"summary,omitempty"`
	CVSS    CVSS     `json:"cvss,omitzero"`     // the highest that is named
	Urgency string   `json:"urgency,omitempty"` // a distribution's own word for it: "unimportant", "low", …
	// Fixed is the version to upgrade to, of the source package if records of
	// this ecosystem name those. It is the highest that a record names, and ""
	// if none names one.
	Fixed    string    `json:"fixed,omitempty"`
	KEV      *KEV      `json:"kev,omitempty"`  // nil: not in the catalogue, or there is none
	EPSS     *EPSS     `json:"epss,omitempty"` // nil: not reckoned, or there is no data
	Modified time.Time `json:"modified,omitzero"`
	VEX      *VEX      `json:"vex,omitempty"` // what somebody states of it
}

// A CVSS is a severity with how it was reckoned. The zero CVSS is none.
type CVSS struct {
	Score  float64 `json:"score"`  // 0.0 to 10.0
	Vector string  `json:"vector"` // "CVSS:3.1/AV:N/…"
}

// A KEV is an entry of CISA's catalogue of vulnerabilities that are known to be
// exploited.
type KEV struct {
	Added      time.Time `json:"added"`
	Due        time.Time `json:"due,omitzero"` // for agencies of the United States (BOD 22-01)
	Ransomware bool      `json:"ransomware,omitempty"`
}

// An EPSS is the probability that a vulnerability is exploited within the next
// 30 days (https://www.first.org/epss/).
type EPSS struct {
	Probability float64 `json:"probability"` // in [0, 1]
	Percentile  float64 `json:"percentile"`  // in [0, 1]
}

// A VEX is a statement on whether a vulnerability concerns a product.
type VEX struct {
	Status        string    `json:"status"` // "not_affected", "affected", "fixed", "under_investigation"
	Justification string    `json:"justification,omitempty"`
	Statement     string    `json:"statement,omitempty"`
	Author        string    `json:"author,omitempty"`
	At            time.Time `json:"at,omitzero"`
}

// Silent reports whether v says that there is nothing to do. Whose word that
// is, is the caller's question.
func (v *VEX) Silent() bool {
	return v != nil && (v.Status == "not_affected" || v.Status == "fixed")
}

// An Unjudged is a package about which nothing, or not all, can be said.
type Unjudged struct {
	Package Package  `json:"package"`
	Records []string `json:"records,omitempty"` // the advisories that could not be held against it
	Reason  string   `json:"reason"`            // one of the words below
}

// The reasons of an Unjudged.
const (
	NoData     = "no-data"     // the database has nothing of this ecosystem or release
	NoOrder    = "no-order"    // how versions of this ecosystem compare is not known to us
	BadVersion = "bad-version" // it has a version, or the advisory names one, that cannot be read
	OnlyGit    = "only-git"    // the advisory names commits and no versions
)

// A Result is what Matches found, sorted by package and ID.
type Result struct {
	Matches  []Match    `json:"matches"`
	Unjudged []Unjudged `json:"unjudged"`
}

// Advisories is what a database of them must answer. Package advisories has one.
type Advisories interface {
	// For gives what is known of a package by exactly these names. Nobody
	// changes what it returned.
	For(ecosystem, name string) ([]Advisory, error)
	// Covers reports whether there are advisories of this ecosystem and
	// release at all.
	Covers(ecosystem string) (bool, error)
	// Threat says how a CVE is used by attackers, nil where that is not known.
	Threat(cve string) (*KEV, *EPSS, error)
}

// An Advisory is what one record of OSV says of one package.
type Advisory struct {
	ID        string     `json:"id"`
	Aliases   []string   `json:"aliases,omitempty"`  // other names of the same vulnerability
	Upstream  []string   `json:"upstream,omitempty"` // vulnerabilities that it is about: an erratum has several
	Source    string     `json:"source"`             // of the database: "Debian", "Go", …
	Summary   string     `json:"summary,omitempty"`
	CVSS      []string   `json:"cvss,omitempty"` // vectors
	Urgency   string     `json:"urgency,omitempty"`
	Modified  time.Time  `json:"modified,omitzero"`
	Withdrawn time.Time  `json:"withdrawn,omitzero"` // it was an error; zero: it holds
	Ecosystem string     `json:"ecosystem"`
	Name      string     `json:"name"`
	Affected  []Affected `json:"affected"`
}

// An Affected says which versions are affected: those listed, and those within
// a range.
type Affected struct {
	Ranges   []Range  `json:"ranges,omitempty"`
	Versions []string `json:"versions,omitempty"`
}

// A Range is a part of the line of versions, as events along it. Type is
// "ECOSYSTEM", "SEMVER" or "GIT".
type Range struct {
	Type   string  `json:"type"`
	Events []Event `json:"events"`
}

// An Event is one of its fields; the others are empty.
type Event struct {
	Introduced   string `json:"introduced,omitempty"` // affected from here on; "0": from the first
	Fixed        string `json:"fixed,omitempty"`      // no more from here on
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"` // what is not below a limit is not in the range
}
