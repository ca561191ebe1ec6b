package advisories

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/lang"
	"casco/vuln"
)

// day is how feeds write a date.
const day = "2006-01-02"

// cve is the form of an identifier (CNA Rules 4.1, 5.4): a year and at least
// four digits.
var cve = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,19}$`)

// readJSON tells the feeds apart that are one JSON object.
func (b *builder) readJSON(r io.Reader, s *Source) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return lang.Errorf(lang.Text{En: "not JSON: %w", Es: "no es JSON: %w"}, err)
	}
	switch {
	case keys["vulnerabilities"] != nil && keys["catalogVersion"] != nil:
		s.Kind = KEV
		return b.readKEV(data, s)
	case keys["result"] != nil && keys["schema_version"] != nil:
		s.Kind = Ends
		return b.readEndsAPI(data, s)
	}
	s.Kind = Ends
	return b.readEnds(keys, s)
}

// readKEV reads CISA's catalogue
// (https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities_schema.json).
func (b *builder) readKEV(data []byte, s *Source) error {
	var c struct {
		DateReleased    time.Time `json:"dateReleased"`
		Count           int       `json:"count"`
		Vulnerabilities []struct {
			CVE        string `json:"cveID"`
			Added      string `json:"dateAdded"`
			Due        string `json:"dueDate"`
			Ransomware string `json:"knownRansomwareCampaignUse"`
		} `json:"vulnerabilities"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return lang.Errorf(lang.Text{En: "not a KEV catalogue: %w", Es: "no es un catálogo KEV: %w"}, err)
	}
	if c.DateReleased.IsZero() {
		return lang.Errorf(lang.Text{En: "the KEV catalogue does not say of when it is", Es: "el catálogo KEV no dice de cuándo es"})
	}
	if c.Count != len(c.Vulnerabilities) {
		return lang.Errorf(lang.Text{
			En: "the KEV catalogue says that it has %d entries and has %d: it is cut off", Es: "el catálogo KEV dice que tiene %d entradas y tiene %d: está cortado",
		}, c.Count, len(c.Vulnerabilities))
	}
	s.Newest = c.DateReleased.UTC()
	for _, v := range c.Vulnerabilities {
		added, err := time.Parse(day, v.Added)
		if err != nil || !cve.MatchString(v.CVE) {
			return lang.Errorf(lang.Text{En: "KEV entry %q, added %q: not a CVE with a date", Es: "entrada KEV %q, añadida %q: no es un CVE con fecha"}, v.CVE, v.Added)
		}
		due, _ := time.Parse(day, v.Due) // some have none
		body, err := json.Marshal(vuln.KEV{Added: added, Due: due, Ransomware: v.Ransomware == "Known"})
		if err != nil {
			return err
		}
		if err := b.exec("INSERT OR REPLACE INTO kev (cve, body) VALUES (?, ?)", v.CVE, string(body)); err != nil {
			return err
		}
		s.Records++
	}
	return nil
}

// readEPSS reads FIRST's table (https://www.first.org/epss/data_stats): a line
// "#model_version:…,score_date:…", then CSV with the columns cve, epss,
// percentile.
func (b *builder) readEPSS(r *bufio.Reader, s *Source) error {
	first, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	_, date, ok := strings.Cut(strings.TrimSpace(first), "score_date:")
	if len(date) > len(day) {
		date = date[:len(day)] // "…T12:55:00+0000" in some, "…Z" in others
	}
	if s.Newest, err = time.Parse(day, date); err != nil || !ok {
		return lang.Errorf(lang.Text{En: "the EPSS table does not say of which day it is", Es: "la tabla EPSS no dice de qué día es"})
	}
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil || strings.Join(head, ",") != "cve,epss,percentile" {
		return lang.Errorf(lang.Text{En: "the columns of the EPSS table are not cve, epss, percentile", Es: "las columnas de la tabla EPSS no son cve, epss, percentile"})
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p, err1 := probability(row[1])
		q, err2 := probability(row[2])
		if err := errors.Join(err1, err2); err != nil || !cve.MatchString(row[0]) {
			return lang.Errorf(lang.Text{En: "EPSS of %q: %q, %q are not probabilities", Es: "EPSS de %q: %q, %q no son probabilidades"}, row[0], row[1], row[2])
		}
		if err := b.exec("INSERT OR REPLACE INTO epss (cve, probability, percentile) VALUES (?, ?, ?)", row[0], p, q); err != nil {
			return err
		}
		s.Records++
	}
}

func probability(text string) (float64, error) {
	p, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(p) || p < 0 || p > 1) {
		err = strconv.ErrRange
	}
	return p, err
}

// A dayOrNot is a date, or whether it was, as endoflife.date writes an end.
type dayOrNot struct {
	at   time.Time
	ever bool
}

// UnmarshalJSON reads "2026-08-21", true, false or null.
func (d *dayOrNot) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if err := json.Unmarshal(data, &d.ever); err == nil {
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if text == "" {
		return nil
	}
	var err error
	d.at, err = time.Parse(day, text)
	return err
}

// readEnds reads products as the repository of endoflife.date has them, in one
// object by name: title and releases.
func (b *builder) readEnds(products map[string]json.RawMessage, s *Source) error {
	for _, name := range slices.Sorted(maps.Keys(products)) {
		var p struct {
			Releases []struct {
				Cycle    string   `json:"releaseCycle"`
				Codename string   `json:"codename"`
				Released dayOrNot `json:"releaseDate"`
				EOL      dayOrNot `json:"eol"`
				Extended dayOrNot `json:"eoes"`
				Latest   string   `json:"latest"`
				LatestAt dayOrNot `json:"latestReleaseDate"`
			} `json:"releases"`
		}
		if err := json.Unmarshal(products[name], &p); err != nil || len(p.Releases) == 0 {
			return lang.Errorf(lang.Text{En: "%q is not a product with releases", Es: "%q no es un producto con versiones"}, name)
		}
		for _, r := range p.Releases {
			err := b.putEnd(s, End{
				Product: name, Cycle: r.Cycle, Codename: r.Codename, Released: r.Released.at, Ended: r.EOL.ever, EOL: r.EOL.at,
				Extended: r.Extended.at, Latest: r.Latest,
			}, r.Released.at, r.LatestAt.at)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// readEndsAPI reads what endoflife.date's API 1 gives at /products/full
// (https://endoflife.date/docs/api/v1/).
func (b *builder) readEndsAPI(data []byte, s *Source) error {
	var all struct {
		Result []struct {
			Name     string `json:"name"`
			Releases []struct {
				Name     string   `json:"name"`
				Codename string   `json:"codename"`
				Released dayOrNot `json:"releaseDate"`
				IsEOL    bool     `json:"isEol"`
				EOL      dayOrNot `json:"eolFrom"`
				Extended dayOrNot `json:"eoesFrom"`
				Latest   *struct {
					Name string   `json:"name"`
					Date dayOrNot `json:"date"`
				} `json:"latest"`
			} `json:"releases"`
		} `json:"result"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return lang.Errorf(lang.Text{En: "not endoflife.date's products: %w", Es: "no son los productos de endoflife.date: %w"}, err)
	}
	for _, p := range all.Result {
		for _, r := range p.Releases {
			e := End{
				Product: p.Name, Cycle: r.Name, Codename: r.Codename, Released: r.Released.at, Ended: r.IsEOL && r.EOL.at.IsZero(), EOL: r.EOL.at,
				Extended: r.Extended.at,
			}
			var latest time.Time
			if r.Latest != nil {
				e.Latest, latest = r.Latest.Name, r.Latest.Date.at
			}
			if err := b.putEnd(s, e, e.Released, latest); err != nil {
				return err
			}
		}
	}
	if s.Records == 0 {
		return lang.Errorf(lang.Text{En: "there is no release in it", Es: "no hay ninguna versión en él"})
	}
	return nil
}

// putEnd puts e into the file; dates are when something of it happened.
func (b *builder) putEnd(s *Source, e End, dates ...time.Time) error {
	if e.Product == "" || e.Cycle == "" {
		return lang.Errorf(lang.Text{En: "a release of %q without a name", Es: "una versión de %q sin nombre"}, e.Product)
	}
	for _, at := range dates {
		if at.After(s.Newest) && !at.After(b.made) {
			s.Newest = at
		}
	}
	s.Records++
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return b.exec("INSERT OR REPLACE INTO ends (product, cycle, body) VALUES (?, ?, ?)", e.Product, e.Cycle, string(body))
}

// readDistro reads debian.csv or ubuntu.csv of distro-info-data. The product is
// the file's name.
func (b *builder) readDistro(r io.Reader, s *Source) error {
	product, _, _ := strings.Cut(s.Name, ".")
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1 // releases that have no later dates end earlier
	head, err := c.Read()
	if err != nil {
		return err
	}
	at := func(row []string, columns ...string) string {
		for _, column := range columns {
			if i := slices.Index(head, column); i >= 0 && i < len(row) && row[i] != "" {
				return row[i]
			}
		}
		return ""
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e := End{Product: product, Cycle: cmp.Or(at(row, "version"), at(row, "series")), Codename: at(row, "series")}
		e.Cycle, _, _ = strings.Cut(e.Cycle, " ") // "22.04 LTS"
		var err1, err2, err3 error
		e.Released, err1 = dayIn(at(row, "release"))
		e.EOL, err2 = dayIn(at(row, "eol"))
		e.Extended, err3 = dayIn(at(row, "eol-lts", "eol-esm", "eol-server"))
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		created, err := dayIn(at(row, "created"))
		if err != nil {
			return err
		}
		if err := b.putEnd(s, e, created, e.Released); err != nil {
			return err
		}
	}
	if s.Records == 0 {
		return lang.Errorf(lang.Text{En: "there is no release in it", Es: "no hay ninguna versión en él"})
	}
	return nil
}

func dayIn(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(day, text)
}
