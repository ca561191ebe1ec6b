package vuln

import (
	"cmp"
	"slices"
	"time"

	"github.com/openvex/go-vex/pkg/vex"

	"casco/lang"
)

// maxVEX is the largest document that is read, in bytes.
const maxVEX = 16 << 20

// ParseVEX reads a document of OpenVEX 0.2.0
// (https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md). A statement that
// the specification calls invalid makes the document refused: one that silences
// a finding must say why.
func ParseVEX(b []byte) (*vex.VEX, error) {
	if len(b) > maxVEX {
		return nil, lang.Errorf(lang.Text{En: "a VEX document of %d bytes: at most %d are read", Es: "un documento VEX de %d bytes: se leen hasta %d"}, len(b), maxVEX)
	}
	doc, err := vex.Parse(b)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "not an OpenVEX document: %w", Es: "no es un documento OpenVEX: %w"}, err)
	}
	for i := range doc.Statements {
		if err := doc.Statements[i].Validate(); err != nil {
			return nil, lang.Errorf(lang.Text{En: "OpenVEX statement %d: %w", Es: "declaración OpenVEX %d: %w"}, i+1, err)
		}
	}
	return doc, nil
}

// Apply puts on each match what doc states of it: of the package by its PURL,
// or of the package within one of products, the names that the image has in the
// document (PURLs, digests). Of several statements the latest counts; one that
// a match has already from an older document gives way. Nothing is left out:
// see VEX.Silent.
func Apply(ms []Match, doc *vex.VEX, products ...string) {
	for i := range ms {
		m := &ms[i]
		for j := range doc.Statements {
			s := &doc.Statements[j]
			if !concerns(s, m, products) {
				continue
			}
			if v := statement(doc, s); m.VEX == nil || !v.At.Before(m.VEX.At) {
				m.VEX = &v
			}
		}
	}
}

// noPart is the name of no part of a product.
const noPart = "-"

func concerns(s *vex.Statement, m *Match, products []string) bool {
	if !slices.ContainsFunc(append([]string{m.ID}, m.Aliases...), s.Vulnerability.Matches) {
		return false
	}
	// The library takes an empty name of a part for any part.
	part := cmp.Or(m.Package.PURL, noPart)
	if m.Package.PURL != "" && s.MatchesProduct(m.Package.PURL, noPart) {
		return true
	}
	return slices.ContainsFunc(products, func(p string) bool { return p != "" && s.MatchesProduct(p, part) })
}

func statement(doc *vex.VEX, s *vex.Statement) VEX {
	v := VEX{Status: string(s.Status), Justification: string(s.Justification), Statement: s.ImpactStatement, Author: doc.Author}
	if v.Statement == "" {
		v.Statement = s.ActionStatement
	}
	for _, at := range []*time.Time{doc.Timestamp, doc.LastUpdated, s.Timestamp, s.LastUpdated} {
		if at != nil { // what is nearer to the statement counts
			v.At = at.UTC()
		}
	}
	return v
}
