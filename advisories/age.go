package advisories

import "time"

// At is until when the database is known to be good for what it is about: the
// oldest of its sources of that kind; zero if it has none of it.
func (i Info) At(kind Kind) time.Time {
	var oldest time.Time
	for _, s := range i.Sources {
		if s.Kind == kind && (oldest.IsZero() || s.At.Before(oldest)) {
			oldest = s.At
		}
	}
	return oldest
}

// Threats is how old the older of the two catalogues about exploitation is;
// zero if one is missing.
func (i Info) Threats() time.Time {
	kev, epss := i.At(KEV), i.At(EPSS)
	if kev.Before(epss) {
		return kev
	}
	return epss
}

// Old are the sources about vulnerabilities that are older than limit at that
// time. The days on which products end are known years ahead, and do not grow
// old.
func (i Info) Old(limit time.Duration, at time.Time) []Source {
	var out []Source
	for _, s := range i.Sources {
		if s.Old(limit, at) {
			out = append(out, s)
		}
	}
	return out
}

// Old reports whether s is one of Info.Old. A limit of 0 is none.
func (s Source) Old(limit time.Duration, at time.Time) bool {
	return limit > 0 && s.Kind != Ends && s.Kind != Distro && at.Sub(s.At) > limit
}
