// Package sbom writes what is installed in an image as a software bill of
// materials, and reads one: CycloneDX 1.6 and SPDX 2.3, both as JSON.
//
// Both forms name a package by its package URL. What a package URL does not
// say, or says in more than one way (the release of a distribution, the source
// package, the layer), stands beside it under names of ours, so that what casco
// wrote it reads again without loss. It reads no file and asks nobody.
package sbom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/tagvalue"

	"casco/lang"
	"casco/vuln"
)

// Formats are those that Write takes.
var Formats = []string{"cyclonedx", "spdx"}

// A Bill is what is installed in one image.
type Bill struct {
	Name     string // of the image
	Digest   string // its ID, "sha256:…"; may be empty
	At       time.Time
	Tool     string // version of the program that wrote it
	Packages []vuln.Package
	Unseen   []string // why there may be more
}

// most bounds a bill that is read, in bytes: the largest known list some 50,000
// packages in 60 MB.
const most = 256 << 20

// Write writes b in a format. The same bill gives the same bytes.
func (b Bill) Write(w io.Writer, format string) error {
	switch format {
	case "cyclonedx":
		return b.cyclonedx(w)
	case "spdx":
		return b.spdx(w)
	}
	return lang.Errorf(lang.Text{En: "there is no format %q", Es: "no existe el formato %q"}, format)
}

// id is an identifier of b, made of what it is about.
func (b Bill) id() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("casco "+b.Name+" "+b.Digest+" "+b.At.UTC().Format(time.RFC3339)))
}

// Names of the properties that say what a package URL does not.
const (
	ecosystemName = "casco:ecosystem"
	sourceName    = "casco:source"
	sourceVersion = "casco:source-version"
	layerName     = "casco:layer"
	pathName      = "casco:path"
)

func properties(p vuln.Package) [][2]string {
	out := [][2]string{{ecosystemName, p.Ecosystem}, {sourceName, p.Source}, {sourceVersion, p.SourceVersion}, {layerName, p.Layer}}
	for _, path := range p.Paths {
		out = append(out, [2]string{pathName, path})
	}
	return slices.DeleteFunc(out, func(kv [2]string) bool { return kv[1] == "" })
}

func assign(p *vuln.Package, name, value string) {
	switch name {
	case ecosystemName:
		p.Ecosystem = value
	case sourceName:
		p.Source = value
	case sourceVersion:
		p.SourceVersion = value
	case layerName:
		p.Layer = value
	case pathName:
		p.Paths = append(p.Paths, value)
	}
}

func (b Bill) cyclonedx(w io.Writer) error {
	doc := cdx.NewBOM()
	doc.SerialNumber = b.id().URN()
	image := &cdx.Component{BOMRef: "image", Type: cdx.ComponentTypeContainer, Name: b.Name}
	if digest, ok := strings.CutPrefix(b.Digest, "sha256:"); ok {
		image.Version = b.Digest
		image.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: digest}}
	}
	doc.Metadata = &cdx.Metadata{
		Timestamp: b.At.UTC().Format(time.RFC3339), Component: image,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "casco", Version: b.Tool}}},
	}
	parts, refs := []cdx.Component{}, []string{}
	for i, p := range b.Packages {
		c := cdx.Component{BOMRef: fmt.Sprintf("package-%d", i+1), Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.PURL}
		var props []cdx.Property
		for _, kv := range properties(p) {
			props = append(props, cdx.Property{Name: kv[0], Value: kv[1]})
		}
		if props != nil {
			c.Properties = &props
		}
		parts, refs = append(parts, c), append(refs, c.BOMRef)
	}
	doc.Components = &parts
	doc.Dependencies = &[]cdx.Dependency{{Ref: "image", Dependencies: &refs}}
	whole := cdx.CompositionAggregate("complete")
	if len(b.Unseen) > 0 {
		whole = cdx.CompositionAggregate("incomplete")
	}
	doc.Compositions = &[]cdx.Composition{{Aggregate: whole, Assemblies: &[]cdx.BOMReference{"image"}}}
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(doc, cdx.SpecVersion1_6)
}

// noAssertion is how SPDX writes that nothing is said.
const noAssertion = "NOASSERTION"

func (b Bill) spdx(w io.Writer) error {
	const image = common.ElementID("image")
	whole := &spdx.Package{
		PackageName: b.Name, PackageVersion: b.Digest, PackageSPDXIdentifier: image, PackageDownloadLocation: noAssertion, PrimaryPackagePurpose: "CONTAINER",
		PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
	}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: b.Name,
		DocumentNamespace: "https://spdx.org/spdxdocs/casco-" + b.id().String(),
		DocumentComment:   strings.Join(b.Unseen, "\n"),
		CreationInfo:      &spdx.CreationInfo{Creators: []spdx.Creator{{CreatorType: "Tool", Creator: "casco-" + b.Tool}}, Created: b.At.UTC().Format(time.RFC3339)},
		Packages:          []*spdx.Package{whole},
		Relationships: []*spdx.Relationship{{
			RefA: common.MakeDocElementID("", "DOCUMENT"), RefB: common.MakeDocElementID("", string(image)), Relationship: "DESCRIBES",
		}},
	}
	for i, p := range b.Packages {
		id := fmt.Sprintf("package-%d", i+1)
		var notes []string
		for _, kv := range properties(p) {
			notes = append(notes, kv[0]+"="+kv[1])
		}
		part := &spdx.Package{
			PackageName: p.Name, PackageVersion: p.Version, PackageSPDXIdentifier: common.ElementID(id), PackageDownloadLocation: noAssertion,
			PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion, PackageComment: strings.Join(notes, "\n"),
		}
		if p.PURL != "" {
			part.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: p.PURL}}
		}
		doc.Packages = append(doc.Packages, part)
		doc.Relationships = append(doc.Relationships, &spdx.Relationship{
			RefA: common.MakeDocElementID("", string(image)), RefB: common.MakeDocElementID("", id), Relationship: "CONTAINS",
		})
	}
	return spdxjson.Write(doc, w, spdxjson.Indent(" "))
}

// Read reads a bill in either form; SPDX also as tag-value. Packages without a
// package URL that says what they are, are counted in Unseen.
func Read(r io.Reader) (Bill, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return Bill{}, err
	}
	if len(text) > most {
		return Bill{}, lang.Errorf(lang.Text{En: "a bill of more than %d MiB", Es: "una lista de más de %d MiB"}, most>>20)
	}
	var kind struct {
		BOMFormat   string `json:"bomFormat"`
		SPDXVersion string `json:"spdxVersion"`
	}
	_ = json.Unmarshal(text, &kind) // what is no JSON may be tag-value
	switch {
	case kind.BOMFormat == "CycloneDX":
		return readCycloneDX(text)
	case kind.SPDXVersion != "":
		doc, err := spdxjson.Read(bytes.NewReader(text))
		return readSPDX(doc, err)
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte("SPDXVersion:")):
		doc, err := tagvalue.Read(bytes.NewReader(text))
		return readSPDX(doc, err)
	}
	return Bill{}, lang.Errorf(lang.Text{En: "neither CycloneDX nor SPDX", Es: "ni CycloneDX ni SPDX"})
}

func readCycloneDX(text []byte) (Bill, error) {
	var doc cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&doc); err != nil {
		return Bill{}, fmt.Errorf("CycloneDX: %w", err)
	}
	var b Bill
	if m := doc.Metadata; m != nil {
		b.At, _ = time.Parse(time.RFC3339, m.Timestamp)
		if m.Component != nil {
			b.Name, b.Digest = m.Component.Name, m.Component.Version
		}
	}
	if doc.Components == nil {
		return b, nil
	}
	release := ""
	for _, c := range *doc.Components {
		if c.Type == cdx.ComponentTypeOS {
			release = c.Name + "-" + c.Version
		}
	}
	lost := 0
	for _, c := range *doc.Components {
		if c.Type == cdx.ComponentTypeOS || c.Type == cdx.ComponentTypeFile {
			continue
		}
		p := vuln.Package{Name: c.Name, Version: c.Version, PURL: c.PackageURL}
		if c.Properties != nil {
			for _, kv := range *c.Properties {
				assign(&p, kv.Name, kv.Value)
			}
		}
		if !complete(&p, release) {
			lost++
			continue
		}
		b.Packages = append(b.Packages, p)
	}
	return b.lacking(lost), nil
}

func readSPDX(doc *spdx.Document, err error) (Bill, error) {
	if err != nil {
		return Bill{}, fmt.Errorf("SPDX: %w", err)
	}
	b := Bill{Name: doc.DocumentName}
	if doc.CreationInfo != nil {
		b.At, _ = time.Parse(time.RFC3339, doc.CreationInfo.Created)
	}
	lost := 0
	for _, part := range doc.Packages {
		p := vuln.Package{Name: part.PackageName, Version: part.PackageVersion}
		for _, ref := range part.PackageExternalReferences {
			if ref.RefType == "purl" {
				p.PURL = ref.Locator
			}
		}
		for line := range strings.Lines(part.PackageComment) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				assign(&p, name, value)
			}
		}
		switch {
		case part.PrimaryPackagePurpose == "CONTAINER":
			b.Name, b.Digest = part.PackageName, part.PackageVersion
		case !complete(&p, ""):
			lost++
		default:
			b.Packages = append(b.Packages, p)
		}
	}
	return b.lacking(lost), nil
}

// lacking says how many packages were not understood.
func (b Bill) lacking(n int) Bill {
	if n > 0 {
		b.Unseen = append(b.Unseen, fmt.Sprintf("%d packages of the list have no package URL that says what they are", n))
	}
	return b
}

// types are the ecosystems of the types of package URLs whose advisories go by
// no release: https://github.com/package-url/purl-spec, types; OSV schema,
// "Defined ecosystems".
var types = map[string]string{
	"golang": "Go", "npm": "npm", "pypi": "PyPI", "maven": "Maven", "gem": "RubyGems", "cargo": "crates.io", "nuget": "NuGet", "composer": "Packagist",
	"hex": "Hex", "pub": "Pub",
}

// codenames of releases, for package URLs that name these: distro-info-data.
var codenames = map[string]string{
	"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14",
	"bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04", "plucky": "25.04", "questing": "25.10",
}

var errNot = errors.New("no package URL")

// complete gives p what its package URL says and nothing else did. Release is
// that of the bill, "debian-12". It reports whether that is enough to judge it.
func complete(p *vuln.Package, release string) bool {
	return placed(p, release) && p.Name != "" && p.Version != ""
}

// placed finds the ecosystem of p.
func placed(p *vuln.Package, release string) bool {
	u, err := packageurl.FromString(p.PURL)
	if p.PURL == "" {
		err = errNot
	}
	if err != nil {
		return p.Ecosystem != ""
	}
	words := u.Qualifiers.Map()
	p.Arch = cmp.Or(p.Arch, words["arch"])
	if name, version, ok := strings.Cut(words["upstream"], "@"); p.Source == "" && name != "" { // as syft and trivy have it
		p.Source = name
		if p.SourceVersion = version; !ok {
			p.SourceVersion = p.Version
		}
	}
	if p.Ecosystem != "" {
		return true
	}
	switch u.Type {
	case "golang":
		p.Name, p.Version = strings.TrimPrefix(u.Namespace+"/"+u.Name, "/"), strings.TrimPrefix(u.Version, "v")
	case "npm", "composer":
		p.Name = strings.TrimPrefix(u.Namespace+"/"+u.Name, "/")
	case "maven":
		p.Name = u.Namespace + ":" + u.Name
	}
	if p.Ecosystem = types[u.Type]; p.Ecosystem != "" {
		return true
	}
	if epoch := words["epoch"]; epoch != "" && epoch != "0" && !strings.Contains(p.Version, ":") {
		p.Version = epoch + ":" + p.Version
	}
	p.Ecosystem = distribution(u, cmp.Or(words["distro"], release))
	return p.Ecosystem != ""
}

var numbered = regexp.MustCompile(`^(?:[a-z-]+-)?v?(\d+(?:\.\d+)*)$`)

// distribution is the ecosystem of a package of a distribution.
func distribution(u packageurl.PackageURL, distro string) string {
	version := codenames[distro]
	if m := numbered.FindStringSubmatch(distro); m != nil {
		version = m[1]
	}
	parts := strings.Split(version, ".")
	switch {
	case version == "":
		return ""
	case u.Type == "deb" && u.Namespace == "debian":
		return "Debian:" + parts[0]
	case u.Type == "deb" && u.Namespace == "ubuntu":
		return "Ubuntu:" + version
	case u.Type == "apk" && u.Namespace == "alpine" && len(parts) > 1:
		return "Alpine:v" + parts[0] + "." + parts[1]
	case u.Type == "rpm" && (u.Namespace == "rocky" || u.Namespace == "rocky-linux"):
		return "Rocky Linux:" + parts[0]
	case u.Type == "rpm" && u.Namespace == "almalinux":
		return "AlmaLinux:" + parts[0]
	case u.Type == "rpm" && u.Namespace == "opensuse":
		return "openSUSE:Leap " + version
	}
	return ""
}
