package vuln

import (
	"bytes"
	"time"

	"github.com/google/uuid"
	"github.com/openvex/go-vex/pkg/vex"
)

// WriteVEX writes what is stated of matches within a product, the name or digest
// of an image, as an OpenVEX document. What nobody has stated anything of is
// under investigation: a person who knows better edits that. The same matches
// at the same time give the same bytes.
func WriteVEX(product, author string, ms []Match, at time.Time) ([]byte, error) {
	at = at.UTC()
	doc := vex.New()
	doc.ID = "https://openvex.dev/docs/casco/" + uuid.NewSHA1(uuid.NameSpaceURL, []byte(product+at.Format(time.RFC3339))).String()
	doc.Author, doc.Tooling, doc.Timestamp, doc.Statements = author, "casco", &at, nil
	for _, m := range ms {
		s := vex.Statement{
			Vulnerability: vex.Vulnerability{Name: vex.VulnerabilityID(m.ID)}, Status: vex.StatusUnderInvestigation,
			Products: []vex.Product{{Component: vex.Component{ID: product}}},
		}
		if m.Package.PURL != "" {
			s.Products[0].Subcomponents = []vex.Subcomponent{{Component: vex.Component{ID: m.Package.PURL}}}
		}
		for _, alias := range m.Aliases {
			s.Vulnerability.Aliases = append(s.Vulnerability.Aliases, vex.VulnerabilityID(alias))
		}
		if v := m.VEX; v != nil {
			s.Status, s.Justification = vex.Status(v.Status), vex.Justification(v.Justification)
			switch s.Status {
			case vex.StatusNotAffected:
				s.ImpactStatement = v.Statement
			case vex.StatusAffected:
				s.ActionStatement = v.Statement
			}
			if !v.At.IsZero() {
				s.Timestamp = &v.At
			}
		}
		doc.Statements = append(doc.Statements, s)
	}
	var out bytes.Buffer
	err := doc.ToJSON(&out)
	return out.Bytes(), err
}
