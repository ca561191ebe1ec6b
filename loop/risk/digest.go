package risk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"casco/loop/audit"
)

// Digest is the SHA-256, in hex, of the facts that f rests on, and of the parts
// that it found wrong. What was granted or decided on these facts holds while
// the digest is the same: that the same was read again, at another time or from
// the proc entry of another process, changes nothing, nor do the numbers of
// processes that stand in it. The order of the facts does not count.
func Digest(f audit.Finding) string {
	lines := make([]string, 0, len(f.Evidence))
	for _, e := range f.Evidence {
		v, err := json.Marshal(timeless(e.Value)) // keys of maps come sorted
		if err != nil {
			v = fmt.Appendf(nil, "%v", e.Value)
		}
		lines = append(lines, e.Ref.String()+"\x00"+e.Field+"\x00"+e.Err+"\x00"+string(v))
	}
	slices.Sort(lines)
	loci := slices.Sorted(slices.Values(f.Loci))
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x01%s\x01%s", f.Check.ID, f.Ref, f.Verdict, strings.Join(slices.Compact(lines), "\x01"), strings.Join(loci, "\x00"))
	return hex.EncodeToString(h.Sum(nil))
}

// passing are keys of measured values that say which process it is today.
var passing = []string{"Pid", "Pids"}

// timeless is v without what changes although nobody changes anything.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			if !slices.Contains(passing, k) {
				m[k] = timeless(e)
			}
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = timeless(e)
		}
		return l
	}
	return v
}

// factsUnchanged reports whether f rests on the facts with that digest, written
// with or without the name of its algorithm.
func factsUnchanged(f audit.Finding, digest string) bool {
	return Digest(f) == strings.TrimPrefix(digest, "sha256:")
}
