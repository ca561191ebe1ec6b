package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
)

// The part of NIST OSCAL that is written. What is written is valid in 1.1.x and
// later: every element of it is in both.
const oscalVersion = "1.1.3"

// oscalSpace is the namespace of casco's own properties. A URN of no registry:
// it only has to differ from others.
const oscalSpace = "urn:casco:oscal"

type (
	oscalMetadata struct {
		Title    string      `json:"title"`
		Modified string      `json:"last-modified"`
		Version  string      `json:"version"`
		OSCAL    string      `json:"oscal-version"`
		Props    []oscalProp `json:"props,omitempty"`
		Remarks  string      `json:"remarks,omitempty"`
	}
	oscalProp struct {
		Name  string `json:"name"`
		Space string `json:"ns"`
		Value string `json:"value"`
		Class string `json:"class,omitempty"`
	}
	oscalAR struct {
		UUID     string        `json:"uuid"`
		Metadata oscalMetadata `json:"metadata"`
		Plan     oscalImport   `json:"import-ap"`
		Results  []oscalResult `json:"results"`
		Back     oscalBack     `json:"back-matter"`
	}
	oscalImport struct {
		Href    string `json:"href"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalBack struct {
		Resources []oscalResource `json:"resources"`
	}
	oscalResource struct {
		UUID        string      `json:"uuid"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props,omitempty"`
	}
	oscalResult struct {
		UUID         string             `json:"uuid"`
		Title        string             `json:"title"`
		Description  string             `json:"description"`
		Start        string             `json:"start"`
		End          string             `json:"end"`
		Props        []oscalProp        `json:"props"`
		Local        *oscalLocal        `json:"local-definitions,omitempty"`
		Reviewed     oscalReviewed      `json:"reviewed-controls"`
		Observations []oscalObservation `json:"observations,omitempty"`
		Risks        []oscalRisk        `json:"risks,omitempty"`
		Findings     []oscalFinding     `json:"findings,omitempty"`
	}
	oscalLocal struct {
		Items []oscalItem `json:"inventory-items"`
	}
	oscalItem struct {
		UUID        string      `json:"uuid"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props"`
	}
	oscalReviewed struct {
		Selections []oscalSelection `json:"control-selections"`
	}
	oscalSelection struct {
		Description string         `json:"description"`
		Include     []oscalControl `json:"include-controls,omitempty"`
		All         *struct{}      `json:"include-all,omitempty"`
	}
	oscalControl struct {
		ID string `json:"control-id"`
	}
	oscalObservation struct {
		UUID        string          `json:"uuid"`
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Props       []oscalProp     `json:"props"`
		Methods     []string        `json:"methods"`
		Types       []string        `json:"types"`
		Subjects    []oscalSubject  `json:"subjects"`
		Evidence    []oscalEvidence `json:"relevant-evidence,omitempty"`
		Collected   string          `json:"collected"`
	}
	oscalSubject struct {
		UUID  string `json:"subject-uuid"`
		Type  string `json:"type"`
		Title string `json:"title"`
	}
	oscalEvidence struct {
		Description string `json:"description"`
	}
	oscalRisk struct {
		UUID        string            `json:"uuid"`
		Title       string            `json:"title"`
		Description string            `json:"description"`
		Statement   string            `json:"statement"`
		Props       []oscalProp       `json:"props"`
		Status      string            `json:"status"`
		Deadline    string            `json:"deadline,omitempty"`
		Responses   []oscalResponse   `json:"remediations,omitempty"`
		Log         *oscalRiskLog     `json:"risk-log,omitempty"`
		Related     []oscalRelatedObs `json:"related-observations,omitempty"`
	}
	oscalResponse struct {
		UUID        string      `json:"uuid"`
		Lifecycle   string      `json:"lifecycle"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props"`
	}
	oscalRiskLog struct {
		Entries []oscalEntry `json:"entries"`
	}
	oscalEntry struct {
		UUID        string      `json:"uuid"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Start       string      `json:"start"`
		End         string      `json:"end,omitempty"`
		Props       []oscalProp `json:"props"`
		Status      string      `json:"status-change,omitempty"`
	}
	oscalRelatedObs struct {
		UUID string `json:"observation-uuid"`
	}
	oscalRelatedRisk struct {
		UUID string `json:"risk-uuid"`
	}
	oscalFinding struct {
		UUID         string             `json:"uuid"`
		Title        string             `json:"title"`
		Description  string             `json:"description"`
		Props        []oscalProp        `json:"props"`
		Target       oscalTarget        `json:"target"`
		Observations []oscalRelatedObs  `json:"related-observations,omitempty"`
		Risks        []oscalRelatedRisk `json:"related-risks,omitempty"`
	}
	oscalTarget struct {
		Type   string      `json:"type"`
		ID     string      `json:"target-id"`
		Title  string      `json:"title"`
		Status oscalStatus `json:"status"`
	}
	oscalStatus struct {
		State   string `json:"state"`
		Reason  string `json:"reason"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalPOAM struct {
		UUID         string             `json:"uuid"`
		Metadata     oscalMetadata      `json:"metadata"`
		System       oscalSystem        `json:"system-id"`
		Local        *oscalLocal        `json:"local-definitions,omitempty"`
		Observations []oscalObservation `json:"observations,omitempty"`
		Risks        []oscalRisk        `json:"risks,omitempty"`
		Items        []oscalPOAMItem    `json:"poam-items"`
	}
	oscalSystem struct {
		Type string `json:"identifier-type"`
		ID   string `json:"id"`
	}
	oscalPOAMItem struct {
		UUID         string             `json:"uuid"`
		Title        string             `json:"title"`
		Description  string             `json:"description"`
		Props        []oscalProp        `json:"props"`
		Observations []oscalRelatedObs  `json:"related-observations,omitempty"`
		Risks        []oscalRelatedRisk `json:"related-risks,omitempty"`
	}
)

// An oscal writes one document. Its UUIDs are of version 5 (RFC 9562), made of
// what they name: the same finding has the same one in every report of a host.
type oscal struct {
	d *Dossier
	l lang.Lang
}

func (o oscal) uuid(parts ...string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("casco:"+o.d.Cover.Host+"\x00"+strings.Join(parts, "\x00"))).String()
}

// oscalTime is a moment with its zone, UTC, to the second.
func oscalTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// prop is a property of ours. A value may neither be empty nor have space at
// its ends.
func prop(name string, v any) oscalProp {
	return oscalProp{Name: name, Space: oscalSpace, Value: token(fmt.Sprint(v))}
}

// words is s as a text that OSCAL takes: not empty.
func words(s string) string { return token(printable(s)) }

func (o oscal) metadata(title lang.Text) oscalMetadata {
	c := o.d.Cover
	m := oscalMetadata{
		Title: words(title.F(Clean(c.Host)).In(o.l)), Modified: oscalTime(c.Generated), Version: token(stamp(c.Generated)), OSCAL: oscalVersion,
		Props:   append([]oscalProp{prop("language", o.l), prop("program", "casco "+c.Program), prop("policy", fmt.Sprintf("%s version %d %s", Clean(c.PolicyName), c.PolicyVersion, c.PolicyDigest))}, o.numbers()...),
		Remarks: verification.In(o.l),
	}
	if c.Size > 0 {
		m.Props = append(m.Props, prop("ledger-origin", c.Origin), prop("ledger-size", c.Size), prop("ledger-root", c.Root), prop("ledger-key", c.Key))
	}
	return m
}

func (o oscal) numbers() []oscalProp {
	var ps []oscalProp
	for _, v := range o.d.Posture.counts() {
		ps = append(ps, prop(strings.ReplaceAll(v.Key, "_", "-"), v.N))
	}
	for _, v := range o.d.Posture.shares() {
		ps = append(ps, prop(strings.ReplaceAll(v.key, "_", "-"), exact(v.share)))
	}
	return ps
}

// oscalResults writes d as assessment results: an observation for each result, a
// finding for each check, the risks with the exceptions in their logs.
func (d *Dossier) oscalResults(w io.Writer, l lang.Lang) error {
	o := oscal{d, l}
	plan := o.uuid("plan", d.Cover.PolicyDigest)
	doc := oscalAR{
		UUID: o.uuid("assessment-results", stamp(d.Cover.Generated)), Metadata: o.metadata(lang.Text{En: "Hardening of the Docker host %s: assessment results", Es: "Fortalecimiento del anfitrión Docker %s: resultados de la evaluación"}),
		Plan: oscalImport{Href: "#" + plan}, Results: []oscalResult{o.result()},
		Back: oscalBack{[]oscalResource{{
			UUID: plan, Title: words(d.Cover.PolicyName),
			Description: lang.Text{En: "The policy in force: it says which checks are put and how they are weighed.", Es: "La política vigente: dice qué comprobaciones se hacen y cómo se ponderan."}.In(l),
			Props:       []oscalProp{prop("digest", d.Cover.PolicyDigest), prop("version", d.Cover.PolicyVersion)},
		}}},
	}
	return o.write(w, map[string]any{"assessment-results": doc})
}

func (o oscal) write(w io.Writer, doc any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

func (o oscal) result() oscalResult {
	d := o.d
	r := oscalResult{
		UUID: o.uuid("result", stamp(d.Cover.Generated)), Title: o.title(), Start: oscalTime(d.Cover.From), End: oscalTime(d.Cover.Until), Props: o.numbers(),
		Description: lang.Text{
			En: "What the host was found to be when it was read, question by question. Accepted findings stay not satisfied. What could not be told is not satisfied, with the reason other.",
			Es: "Lo que se halló del anfitrión al leerlo, pregunta por pregunta. Los hallazgos aceptados siguen sin satisfacerse. Lo que no se supo no se satisface, con la razón other.",
		}.In(o.l),
		Local: o.local(), Reviewed: o.reviewed(), Risks: o.risks(),
	}
	for _, x := range d.Results {
		r.Observations = append(r.Observations, o.observation(x))
	}
	r.Findings = o.findings()
	return r
}

func (o oscal) title() string {
	return words(lang.Text{En: "Readings of %s", Es: "Lecturas de %s"}.F(Clean(o.d.Cover.Host)).In(o.l))
}

// local are the objects that results speak of, and those of the inventory.
func (o oscal) local() *oscalLocal {
	var items []oscalItem
	seen := map[inventory.Ref]bool{}
	add := func(r inventory.Ref, more ...oscalProp) {
		if !seen[r] {
			seen[r] = true
			items = append(items, oscalItem{o.uuid("object", r.String()), words(r.String()), append([]oscalProp{prop("kind", r.Kind)}, more...)})
		}
	}
	for _, a := range o.d.Inventory {
		var more []oscalProp
		if a.Tier != "" {
			more = append(more, prop("tier", a.Tier))
		}
		add(a.Ref, more...)
	}
	for _, r := range o.d.Results {
		add(r.Ref)
	}
	if len(items) == 0 {
		return nil
	}
	return &oscalLocal{items}
}

// reviewed are the controls of NIST SP 800-53 that checks of this report speak
// of, as its OSCAL catalogue numbers them: "AC-6(9)" is ac-6.9. Controls of
// other frameworks have no OSCAL catalogue: they are properties of findings.
func (o oscal) reviewed() oscalReviewed {
	ids := map[string]bool{}
	for _, r := range o.d.Results {
		for _, c := range r.Controls {
			if strings.HasPrefix(c.Framework, "nist-800-53") {
				ids[strings.NewReplacer("(", ".", ")", "", " ", "").Replace(strings.ToLower(c.Number))] = true
			}
		}
	}
	s := oscalSelection{Description: lang.Text{En: "Controls of NIST SP 800-53 that checks speak of", Es: "Controles de NIST SP 800-53 de los que hablan las comprobaciones"}.In(o.l)}
	for _, id := range sortedKeys(ids) {
		s.Include = append(s.Include, oscalControl{id})
	}
	if len(s.Include) == 0 { // the model wants one or the other
		s.All = &struct{}{}
	}
	return oscalReviewed{[]oscalSelection{s}}
}

func (o oscal) observationID(fingerprint string) string { return o.uuid("observation", fingerprint) }

func (o oscal) observation(r Result) oscalObservation {
	out := oscalObservation{
		UUID: o.observationID(r.Fingerprint), Title: words(r.Title.In(o.l)), Description: words(r.Ref.String() + ": " + verdictWords[r.Verdict].In(o.l) + ". " + reason(r.Reason, o.l)),
		Methods: []string{"TEST"}, Types: []string{"finding"}, Subjects: []oscalSubject{{o.uuid("object", r.Ref.String()), "inventory-item", words(r.Ref.String())}},
		Collected: oscalTime(o.d.Cover.Read),
		Props:     []oscalProp{prop("check", r.Check), prop("verdict", r.Verdict), prop("severity", r.Severity), prop("fingerprint", r.Fingerprint), prop("counted", r.Counted)},
	}
	if r.Verdict == audit.Manual {
		out.Methods = []string{"INTERVIEW"}
	}
	if r.Exception != "" {
		out.Props = append(out.Props, prop("exception", r.Exception))
	}
	for _, e := range r.Evidence {
		out.Evidence = append(out.Evidence, oscalEvidence{words(fmt.Sprintf("%s = %s (%s)", e.Field, factValue(e, o.l), e.Source))})
	}
	return out
}

// findings are the checks, each with what all its observations come to.
func (o oscal) findings() []oscalFinding {
	byCheck := map[string][]Result{}
	for _, r := range o.d.Results {
		if r.Counted && r.Verdict != audit.NotApplicable {
			byCheck[r.Check] = append(byCheck[r.Check], r)
		}
	}
	var out []oscalFinding
	for _, id := range sortedKeys(byCheck) {
		rs := byCheck[id]
		f := oscalFinding{
			UUID: o.uuid("finding", id), Title: words(rs[0].Title.In(o.l)), Description: words(rs[0].Why.In(o.l)),
			Target: oscalTarget{Type: "objective-id", ID: objective(id), Title: words(rs[0].Title.In(o.l)), Status: oscalStatusOf(rs, o.l)},
			Props:  []oscalProp{prop("check", id), prop("severity", rs[0].Severity)},
		}
		for _, c := range rs[0].Controls {
			f.Props = append(f.Props, prop("control", c.Framework+" "+c.Number))
		}
		for _, r := range rs {
			f.Observations = append(f.Observations, oscalRelatedObs{o.observationID(r.Fingerprint)})
		}
		for _, k := range o.d.Risks {
			if k.Open() && slices.ContainsFunc(k.Findings, func(m risk.Member) bool { return m.Check == id }) {
				f.Risks = append(f.Risks, oscalRelatedRisk{o.uuid("risk", k.ID)})
			}
		}
		out = append(out, f)
	}
	return out
}

// objective makes an ID of a check a token of OSCAL: a check of an organisation
// may be named anything.
func objective(id string) string {
	id = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, id)
	if id == "" || !(id[0] >= 'a' && id[0] <= 'z' || id[0] >= 'A' && id[0] <= 'Z') {
		return "_" + id
	}
	return id
}

func oscalStatusOf(rs []Result, l lang.Lang) oscalStatus {
	n := map[audit.Verdict]int{}
	for _, r := range rs {
		n[r.Verdict]++
	}
	said := lang.Text{En: "%d pass, %d fail, %d could not be told", Es: "%d cumplen, %d fallan, %d no se supo"}.F(n[audit.Pass], n[audit.Fail], n[audit.Unknown]+n[audit.Manual]).In(l)
	switch {
	case n[audit.Fail] > 0:
		return oscalStatus{"not-satisfied", "fail", said}
	case n[audit.Unknown]+n[audit.Manual] > 0:
		return oscalStatus{"not-satisfied", "other", said}
	}
	return oscalStatus{"satisfied", "pass", said}
}

func (o oscal) risks() []oscalRisk {
	var out []oscalRisk
	for _, k := range o.d.Risks {
		if k.Open() {
			out = append(out, o.risk(k))
		}
	}
	return out
}

func (o oscal) risk(k risk.Risk) oscalRisk {
	r := oscalRisk{
		UUID: o.uuid("risk", k.ID), Title: words(k.ID + " " + k.Ref.String()), Description: words(k.Scenario.In(o.l)), Statement: words(k.Scenario.In(o.l)), Status: o.riskStatus(k),
		Props: []oscalProp{
			prop("risk-id", k.ID), prop("priority", k.Priority), prop("formula", risk.Formula), prop("confidence", k.Confidence),
			prop("r-inherent", exact(k.Inherent.R)), prop("r-current", exact(k.Current.R)), prop("r-residual", exact(k.Residual.R)), prop("overdue", k.Overdue),
		},
	}
	if k.Owner != "" {
		r.Props = append(r.Props, prop("owner", k.Owner))
	}
	if !k.Due.IsZero() {
		r.Deadline = oscalTime(k.Due)
	}
	if t := k.Treatment; t.Kind != "" {
		r.Responses = []oscalResponse{{
			UUID: o.uuid("treatment", k.ID, stamp(t.On)), Lifecycle: map[risk.TreatmentState]string{risk.Proposed: "recommendation", risk.Verified: "completed"}[t.State], Title: words(kindOf[t.Kind].In(o.l)),
			Description: words(t.Reason), Props: []oscalProp{{Name: "type", Space: "http://csrc.nist.gov/ns/oscal", Value: oscalResponseType[t.Kind]}, prop("by", t.By), prop("state", t.State)},
		}}
		if r.Responses[0].Lifecycle == "" {
			r.Responses[0].Lifecycle = "planned"
		}
	}
	for _, m := range k.Findings {
		r.Related = append(r.Related, oscalRelatedObs{o.observationID(m.Fingerprint)})
	}
	if entries := o.riskLog(k); len(entries) > 0 {
		r.Log = &oscalRiskLog{entries}
	}
	return r
}

var oscalResponseType = map[risk.Kind]string{risk.Mitigate: "mitigate", risk.Avoid: "avoid", risk.Transfer: "transfer", risk.Accept: "accept"}

// riskStatus is a deviation where every finding of k is excepted, a remediation
// where a change is under way.
func (o oscal) riskStatus(k risk.Risk) string {
	switch {
	case !slices.ContainsFunc(k.Findings, func(m risk.Member) bool { return m.Exception == "" }):
		return "deviation-approved"
	case k.State == risk.Treating || k.State == risk.Decided:
		return "remediating"
	}
	return "open"
}

func (o oscal) riskLog(k risk.Risk) []oscalEntry {
	var out []oscalEntry
	said := map[string]bool{}
	for _, m := range k.Findings {
		for _, e := range o.d.Exceptions {
			if e.Fingerprint != m.Fingerprint || said[e.ID] {
				continue
			}
			said[e.ID] = true
			entry := oscalEntry{
				UUID: o.uuid("exception", e.ID, k.ID), Title: words(e.ID), Description: words(e.Exception.Reason), Start: oscalTime(e.Starts.Time),
				Props: []oscalProp{prop("state", e.Force)},
			}
			if !e.Expires.IsZero() {
				entry.End = oscalTime(e.Expires.End())
			}
			for _, s := range e.Signatures {
				entry.Props = append(entry.Props, prop("signed-by", s.Person))
			}
			if e.Force == risk.InForce && o.riskStatus(k) == "deviation-approved" {
				entry.Status = "deviation-approved"
			}
			out = append(out, entry)
		}
	}
	return out
}

// oscalPlan writes the open risks of d as a plan of action and milestones.
func (d *Dossier) oscalPlan(w io.Writer, l lang.Lang) error {
	o := oscal{d, l}
	doc := oscalPOAM{
		UUID: o.uuid("poam", stamp(d.Cover.Generated)), Metadata: o.metadata(lang.Text{En: "Hardening of the Docker host %s: plan of action and milestones", Es: "Fortalecimiento del anfitrión Docker %s: plan de acción e hitos"}),
		System: oscalSystem{"https://ietf.org/rfc/rfc4122", o.uuid("host")}, Local: o.local(), Risks: o.risks(),
	}
	member := map[string]bool{}
	for _, k := range d.Risks {
		if !k.Open() {
			continue
		}
		doc.Items = append(doc.Items, o.item(k))
		for _, m := range k.Findings {
			member[m.Fingerprint] = true
		}
	}
	for _, r := range d.Results {
		if member[r.Fingerprint] {
			doc.Observations = append(doc.Observations, o.observation(r))
		}
	}
	if len(doc.Items) == 0 { // the model wants one
		doc.Items = []oscalPOAMItem{{
			UUID: o.uuid("nothing"), Title: lang.Text{En: "Nothing to do", Es: "Nada por hacer"}.In(l), Props: []oscalProp{prop("open-risks", 0)},
			Description: lang.Text{En: "No risk of this host is open.", Es: "Ningún riesgo de este anfitrión está abierto."}.In(l),
		}}
	}
	return o.write(w, map[string]any{"plan-of-action-and-milestones": doc})
}

func (o oscal) item(k risk.Risk) oscalPOAMItem {
	out := oscalPOAMItem{
		UUID: o.uuid("item", k.ID), Title: words(k.ID + " " + k.Ref.String()), Description: words(k.Scenario.In(o.l)),
		Props: []oscalProp{prop("priority", k.Priority), prop("overdue", k.Overdue)}, Risks: []oscalRelatedRisk{{o.uuid("risk", k.ID)}},
	}
	if !k.Due.IsZero() {
		out.Props = append(out.Props, prop("due", oscalTime(k.Due)))
	}
	if k.Owner != "" {
		out.Props = append(out.Props, prop("owner", k.Owner))
	}
	for _, m := range k.Findings {
		out.Observations = append(out.Observations, oscalRelatedObs{o.observationID(m.Fingerprint)})
	}
	return out
}
