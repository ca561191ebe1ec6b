package vuln

import (
	"errors"
	"regexp"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// base is an ecosystem without its release: "Debian" of "Debian:12".
func base(ecosystem string) string {
	b, _, _ := strings.Cut(ecosystem, ":")
	return b
}

// orders names ecosystems that compare as another does, where the library does
// not know them.
var orders = map[string]string{
	"Photon OS": "Red Hat", // RPM packages
	"Echo":      "Debian",  // rebuilt Debian packages
}

// bySource are the ecosystems whose advisories name source packages alone
// (OSV schema 1.7, "Defined ecosystems"). In all others the name is that of
// the package, and may be that of its source: Red Hat has both, AlmaLinux's
// records name binary packages although the schema says otherwise, and the
// records of Wolfi stand under the origin of a package too.
var bySource = map[string]bool{
	"Debian": true, "Ubuntu": true, "Echo": true,
	"Alpine": true, "Alpaquita": true, "BellSoft Hardened Containers": true,
	"Rocky Linux": true, "Mageia": true, "openEuler": true, "openSUSE": true, "SUSE": true,
}

// A version is one that has its place on the line of its ecosystem.
type version struct {
	text   string
	parsed semantic.Version
}

var errNoOrder = errors.New(NoOrder)

// parse reads a version. An error is errNoOrder, or says that it is none.
func parse(ecosystem, text string) (version, error) {
	text = spelling(ecosystem, text)
	b := base(ecosystem)
	if o, ok := orders[b]; ok {
		b = o
	}
	if !strings.ContainsAny(text, "0123456789") || len(text) > maxVersion {
		return version{}, errors.New(BadVersion)
	}
	v, err := semantic.Parse(text, b)
	if errors.Is(err, semantic.ErrUnsupportedEcosystem) {
		return version{}, errNoOrder
	}
	if err != nil {
		return version{}, errors.New(BadVersion)
	}
	if _, ok := v.(semantic.SemverVersion); ok && (text[0] < '0' || text[0] > '9') {
		return version{}, errors.New(BadVersion) // the library takes any text for 0.0.0
	}
	return version{text, v}, nil
}

// maxVersion is how many bytes of a version are looked at: comparing is
// quadratic in some ecosystems. The longest that is known is a Go pseudo-version
// with metadata, of about 80.
const maxVersion = 512

// compare says where v stands to w, of the same ecosystem. Even of two versions
// that can be read the library may not know (Maven's odder ones).
func (v version) compare(w version) (int, error) {
	c, err := v.parsed.Compare(w.parsed)
	if err != nil {
		return 0, errors.New(BadVersion)
	}
	return c, nil
}

// goRelease is how the Go toolchain spells a release before its last: go1.21rc2.
// Records of OSV have it as semantic version: 1.21.0-rc.2
// (https://go.dev/doc/security/vuln/database).
var goRelease = regexp.MustCompile(`^([0-9]+\.[0-9]+(?:\.[0-9]+)?)(rc|beta)([0-9]+)$`)

// spelling is a version as the records of its ecosystem spell it.
func spelling(ecosystem, text string) string {
	text = strings.TrimSpace(text)
	if base(ecosystem) != "Go" {
		return text
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, "go"), "v")
	text, _, _ = strings.Cut(text, " ") // "1.25.1 X:nocoverageredesign": built with experiments
	if m := goRelease.FindStringSubmatch(text); m != nil {
		if strings.Count(m[1], ".") == 1 {
			m[1] += ".0"
		}
		return m[1] + "-" + m[2] + "." + m[3]
	}
	return text
}

var pypiRun = regexp.MustCompile(`[-_.]+`)

// NameIn is a package's name as the records of its ecosystem spell it: PyPI's
// are normalized (PEP 503), NuGet and Packagist know no capitals.
func NameIn(ecosystem, name string) string {
	switch base(ecosystem) {
	case "PyPI":
		return strings.ToLower(pypiRun.ReplaceAllString(name, "-"))
	case "NuGet", "Packagist":
		return strings.ToLower(name)
	}
	return name
}
