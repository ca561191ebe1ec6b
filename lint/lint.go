// Package lint says where in files something is wrong, before anything runs.
//
// Its checks are those of package checks; it finds the place of each answer by
// the sources of its facts, which are positions in text files, lets a line of
// such a file accept a finding with a reason, and tells what is new from what a
// baseline knows. It is pure: whoever calls reads the files.
package lint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"casco/loop/audit"
	"casco/loop/inventory"
)

// A Result is a finding with its place.
type Result struct {
	audit.Finding
	// At is where it is; its File is "" for what stands in no file.
	At inventory.Position
	// Also are other places that it rests on.
	Also []inventory.Position
	// Accepted is the reason that a line of the file gives for it to stand, and
	// By that line. The verdict stays what it is.
	Accepted string
	By       inventory.Position
	// Known: the baseline has it.
	Known bool
	// Key names the result for a baseline: it holds when lines move.
	Key string
}

// Fails reports whether r is a failure of at least severity min that is neither
// accepted nor known.
func (r Result) Fails(min audit.Severity) bool {
	return r.Finding.Fails(min) && r.Accepted == "" && !r.Known
}

// inFile reports whether a kind is a file, of which each fact that fails it is
// one place.
func inFile(k inventory.Kind) bool { return k == inventory.Dockerfile || k == inventory.Compose }

// Results gives each finding its place, in the order of the files. What fails a
// file is a result for each place that is wrong.
// Whole has where an object as a whole begins: a fact that has a place of its own
// says more.
func Results(fs []audit.Finding, whole map[inventory.Ref]string) []Result {
	var out []Result
	for _, f := range fs {
		if inFile(f.Ref.Kind) && f.Verdict == audit.Fail {
			out = append(out, each(f)...)
			continue
		}
		own := slices.DeleteFunc(slices.Clone(f.Evidence), func(e inventory.Fact) bool { return e.Source == whole[f.Ref] })
		out = append(out, placed(f, append(own, f.Evidence...)))
	}
	Sort(out)
	return out
}

// Sort puts results in the order of the files and names them for a baseline.
func Sort(out []Result) {
	slices.SortStableFunc(out, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Column, b.At.Column), cmp.Compare(a.Check.ID, b.Check.ID))
	})
	seen := map[string]int{}
	for i := range out {
		k := out[i].Check.ID + "\x00" + out[i].Ref.String() + "\x00" + out[i].text()
		seen[k]++
		sum := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%d", k, seen[k])))
		out[i].Key = hex.EncodeToString(sum[:16])
	}
}

// each parts a failure at its places; facts that have none go with all.
func each(f audit.Finding) []Result {
	var here, beside []inventory.Fact
	for _, e := range f.Evidence {
		if _, ok := inventory.ParsePosition(e.Source); ok {
			here = append(here, e)
		} else {
			beside = append(beside, e)
		}
	}
	if len(here) < 2 {
		return []Result{placed(f, f.Evidence)}
	}
	var out []Result
	for _, e := range here {
		one := f
		one.Evidence = append([]inventory.Fact{e}, beside...)
		out = append(out, placed(one, one.Evidence))
	}
	return out
}

// placed is f at the first place that its evidence has.
func placed(f audit.Finding, evidence []inventory.Fact) Result {
	r := Result{Finding: f}
	for _, e := range evidence {
		switch p, ok := inventory.ParsePosition(e.Source); {
		case !ok:
		case r.At.File == "":
			r.At = p
		case p != r.At && !slices.Contains(r.Also, p):
			r.Also = append(r.Also, p)
		}
	}
	return r
}

// text is what the result says of its place beside where it is.
func (r Result) text() string {
	if inFile(r.Ref.Kind) && len(r.Evidence) > 0 {
		return fmt.Sprint(r.Evidence[0].Value)
	}
	return ""
}
