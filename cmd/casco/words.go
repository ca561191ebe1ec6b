package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/audit/checks"
	"casco/loop/inventory"
)

// What a person writes on the command line, the words there are, and what was
// meant by one that is none.

var severities = []string{"low", "medium", "high", "critical"}

func checkIDs() []string {
	var ids []string
	for _, c := range checks.All() {
		ids = append(ids, c.ID)
	}
	return ids
}

func kindNames() []string {
	var kinds []string
	for _, k := range inventory.Kinds() {
		kinds = append(kinds, string(k))
	}
	slices.Sort(kinds)
	return kinds
}

// complete offers words for a flag to the shell.
func complete(cmd *cobra.Command, flag string, words []string) {
	// It fails only for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// knowsCheck is an error if one of these is no check of the policy in force: it
// is worth knowing before a host is read.
func (a *app) knowsCheck(ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	j, err := a.judgeNow()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if j.find(id) == nil {
			return noCheck(id, j.checks)
		}
	}
	return nil
}

// noCheck says that there is no such check among those there are, and which was
// meant.
func noCheck(id string, there []*audit.Check) error {
	var ids []string
	for _, c := range there {
		ids = append(ids, c.ID)
	}
	hint := ""
	if like := nearest(id, ids); like != "" {
		hint = command("audit", "--why", like)
	}
	return coded{exitUsage, lang.Errorf(lang.Text{En: "there is no check %q", Es: "no existe la comprobación %q"}, id), hint}
}

func notFound(r inventory.Ref) error {
	return lang.Errorf(lang.Text{En: "%s was not found on this host", Es: "%s no se encontró en este anfitrión"}, r)
}

// nearest is the word that is most likely meant: the shortest that holds what
// was written, else one that few changes of letters make of it, with or without
// its first part ("privlieged" for container-privileged); "" if none is near.
func nearest(word string, words []string) string {
	best, least := "", len(word)/3+2
	for _, w := range words {
		if word != "" && strings.Contains(w, word) && (least > 0 || len(w) < len(best)) {
			best, least = w, 0
			continue
		}
		_, rest, _ := strings.Cut(w, "-")
		if d := min(distance(word, w), distance(word, rest)); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters that must be put in, taken out or exchanged to
// make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := above
			if a[i] != b[j] {
				cost++
			}
			above = row[j+1]
			row[j+1] = min(row[j]+1, above+1, cost)
		}
	}
	return row[len(b)]
}
