package report

import (
	"time"
)

// moment writes a time in UTC; the zero time is a dash.
func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// dash stands where there is nothing to say.
func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
