package vuln

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"casco/lang"
)

// MaxRecord is the largest record that is read, in bytes. The largest of
// osv.dev, of Debian's kernel with each version listed, have less than 2 MB.
const MaxRecord = 16 << 20

// Bounds of one record.
const (
	maxText   = 300 // of a summary, in bytes
	maxName   = 1024
	maxNames  = 1000   // aliases, upstream
	maxEvents = 10_000 // of one range
)

// An osv is what is read of a record of OSV, schema 1.0 to 1.7. What only
// serves a reader (details, references, credits) is not.
type osv struct {
	ID        string    `json:"id"`
	Modified  time.Time `json:"modified"`
	Published time.Time `json:"published"`
	Withdrawn time.Time `json:"withdrawn"`
	Aliases   []string  `json:"aliases"`
	Upstream  []string  `json:"upstream"`
	Related   []string  `json:"related"`
	Summary   string    `json:"summary"`
	Details   string    `json:"details"`
	Severity  []severe  `json:"severity"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Severity  []severe        `json:"severity"`
		Ranges    []Range         `json:"ranges"`
		Versions  []string        `json:"versions"`
		Ecosystem json.RawMessage `json:"ecosystem_specific"`
	} `json:"affected"`
}

type severe struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// ParseOSV reads a record: an Advisory for each package that it names, in the
// order in which it does. Source is empty. The time of a record without one is
// when it was published.
func ParseOSV(b []byte) ([]Advisory, error) {
	if len(b) > MaxRecord {
		return nil, lang.Errorf(lang.Text{En: "it is larger than %d bytes", Es: "tiene más de %d bytes"}, MaxRecord)
	}
	var r osv
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, lang.Errorf(lang.Text{En: "not an OSV record: %w", Es: "no es un registro OSV: %w"}, err)
	}
	if r.ID == "" || len(r.ID) > maxName || !utf8.ValidString(r.ID) {
		return nil, lang.Errorf(lang.Text{En: "not an OSV record: it has no id", Es: "no es un registro OSV: no tiene id"})
	}
	if len(r.Aliases)+len(r.Upstream)+len(r.Related) > maxNames {
		return nil, lang.Errorf(lang.Text{En: "%s: it has more than %d other names", Es: "%s: tiene más de %d otros nombres"}, r.ID, maxNames)
	}
	common := Advisory{ID: r.ID, Aliases: r.Aliases, Upstream: r.derived(), Summary: r.summary(), Modified: r.Modified.UTC(), Withdrawn: r.Withdrawn.UTC()}
	if r.Modified.IsZero() {
		common.Modified = r.Published.UTC()
	}
	var out []Advisory
	at := map[[2]string]int{} // of a package named before, in out
	for _, af := range r.Affected {
		ecosystem, name := ecosystemOf(af.Package.Ecosystem), NameIn(af.Package.Ecosystem, af.Package.Name)
		if ecosystem == "" || name == "" { // of a repository, and no package
			continue
		}
		if len(ecosystem) > maxName || len(name) > maxName {
			return nil, lang.Errorf(lang.Text{En: "%s: a package's name of more than %d bytes", Es: "%s: un nombre de paquete de más de %d bytes"}, r.ID, maxName)
		}
		for _, g := range af.Ranges {
			if len(g.Events) > maxEvents {
				return nil, lang.Errorf(lang.Text{En: "%s: a range of more than %d events", Es: "%s: un rango de más de %d eventos"}, r.ID, maxEvents)
			}
			if g.Type != "GIT" && slices.ContainsFunc(g.Events, func(e Event) bool { return !e.one() }) {
				return nil, lang.Errorf(lang.Text{En: "%s: an event of a range is not one of introduced, fixed, last_affected, limit", Es: "%s: un evento de un rango no es uno de introduced, fixed, last_affected, limit"}, r.ID)
			}
		}
		key := [2]string{ecosystem, name}
		i, seen := at[key]
		if !seen {
			a := common
			a.Ecosystem, a.Name = ecosystem, name
			i, at[key] = len(out), len(out)
			out = append(out, a)
		}
		a := &out[i]
		a.Affected = append(a.Affected, Affected{named(af.Ranges), af.Versions})
		a.rated(append(slices.Clone(r.Severity), af.Severity...))
		if u := urgency(af.Ecosystem); u != "" {
			a.Urgency = u
		}
	}
	return out, nil
}

// named leaves one commit out of a range of commits: nothing here can compare
// them, only that there is such a range counts.
func named(rs []Range) []Range {
	rs = slices.Clone(rs)
	for i, r := range rs {
		if r.Type == "GIT" {
			rs[i].Events = nil
		}
	}
	return rs
}

// one reports whether e is exactly one event.
func (e Event) one() bool {
	n := 0
	for _, s := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
		if s != "" {
			n++
		}
	}
	return n == 1
}

// errata are what distributions call their records that are about several
// vulnerabilities. Some (AlmaLinux, older Red Hat and SUSE) name those under
// related, from before the schema had upstream (1.7.0).
var errata = []string{"ALSA-", "ALBA-", "ALEA-", "RHSA-", "RHBA-", "RHEA-", "RLSA-", "RXSA-", "SUSE-", "openSUSE-", "DSA-", "DLA-", "ELA-", "USN-", "MGASA-", "OESA-", "PHSA-"}

// derived are the vulnerabilities that r is derived from.
func (r *osv) derived() []string {
	if len(r.Upstream) > 0 || !slices.ContainsFunc(errata, func(p string) bool { return strings.HasPrefix(r.ID, p) }) {
		return r.Upstream
	}
	var out []string
	for _, id := range slices.Concat(r.Related, r.Aliases) {
		if isCVE(id) {
			out = append(out, id)
		}
	}
	return out
}

// summary is one line.
func (r *osv) summary() string {
	s := strings.TrimSpace(r.Summary)
	if s == "" {
		s = strings.TrimSpace(r.Details)
	}
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// rated takes over the ratings of a record. Ubuntu's priority is its own word.
func (a *Advisory) rated(ss []severe) {
	for _, s := range ss {
		switch {
		case strings.HasPrefix(s.Type, "CVSS_") && !slices.Contains(a.CVSS, s.Score) && len(s.Score) < maxText:
			a.CVSS = append(a.CVSS, s.Score)
		case s.Type == "Ubuntu" && len(s.Score) < maxText:
			a.Urgency = s.Score
		}
	}
}

// urgency is Debian's word in ecosystem_specific, "" if there is none.
func urgency(raw json.RawMessage) string {
	var s struct {
		Urgency string `json:"urgency"`
	}
	if json.Unmarshal(raw, &s) != nil || len(s.Urgency) > maxText { // others have other things there
		return ""
	}
	return s.Urgency
}

// ecosystemOf leaves out the address of a repository ("Maven:https://…"): what
// is installed does not say where it came from.
func ecosystemOf(e string) string {
	b, rest, _ := strings.Cut(e, ":")
	if strings.HasPrefix(rest, "http") {
		return b
	}
	return e
}
