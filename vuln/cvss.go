package vuln

import (
	"errors"
	"strings"

	cvss20 "github.com/pandatix/go-cvss/20"
	cvss30 "github.com/pandatix/go-cvss/30"
	cvss31 "github.com/pandatix/go-cvss/31"
	cvss40 "github.com/pandatix/go-cvss/40"
)

// ParseCVSS reads a vector of CVSS 2.0, 3.0, 3.1 or 4.0 and reckons its base
// score.
func ParseCVSS(vector string) (CVSS, error) {
	var score float64
	var err error
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		var v *cvss40.CVSS40
		if v, err = cvss40.ParseVector(vector); err == nil {
			score = v.Score()
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		var v *cvss31.CVSS31
		if v, err = cvss31.ParseVector(vector); err == nil {
			score = v.BaseScore()
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		var v *cvss30.CVSS30
		if v, err = cvss30.ParseVector(vector); err == nil {
			score = v.BaseScore()
		}
	case strings.HasPrefix(vector, "AV:"):
		var v *cvss20.CVSS20
		if v, err = cvss20.ParseVector(vector); err == nil {
			score = v.BaseScore()
		}
	default:
		err = errors.New("no CVSS vector")
	}
	if err != nil {
		return CVSS{}, err
	}
	return CVSS{score, vector}, nil
}

// Remote reports whether a program can do all of it over a network: no place on
// the host, no account and no person is needed. It is the question of SSVC's
// axis Automatable as far as a vector answers it.
func (c CVSS) Remote() bool {
	has := func(metric string) bool { return strings.Contains("/"+c.Vector+"/", "/"+metric+"/") }
	return has("AV:N") && (has("PR:N") && has("UI:N") || has("Au:N"))
}

// Severity is the word for a score (CVSS 3.1, 5 "Qualitative Severity Rating
// Scale"; that of 4.0 is the same); "" if there is none.
func (c CVSS) Severity() string {
	switch {
	case c.Vector == "":
		return ""
	case c.Score == 0:
		return "none"
	case c.Score < 4:
		return "low"
	case c.Score < 7:
		return "medium"
	case c.Score < 9:
		return "high"
	}
	return "critical"
}
