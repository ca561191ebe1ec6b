package report

import (
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// The words that every report shares.
var (
	severityWords = map[audit.Severity]lang.Text{
		audit.Critical: {En: "critical", Es: "crítica"},
		audit.High:     {En: "high", Es: "alta"},
		audit.Medium:   {En: "medium", Es: "media"},
		audit.Low:      {En: "low", Es: "baja"},
	}
	verdictWords = map[audit.Verdict]lang.Text{
		audit.Pass:          {En: "pass", Es: "cumple"},
		audit.Fail:          {En: "fail", Es: "falla"},
		audit.Unknown:       {En: "unknown", Es: "desconocido"},
		audit.Manual:        {En: "to answer", Es: "por responder"},
		audit.NotApplicable: {En: "not applicable", Es: "no aplica"},
	}
	costWords = map[plan.Disruption]lang.Text{
		plan.Live:     {En: "live", Es: "en caliente"},
		plan.Reload:   {En: "engine reload", Es: "recarga del motor"},
		plan.Restart:  {En: "engine restart", Es: "reinicio del motor"},
		plan.Recreate: {En: "re-creation", Es: "recreación"},
		plan.Reboot:   {En: "reboot", Es: "reinicio del anfitrión"},
	}
	stateWords = map[apply.State]lang.Text{
		apply.Applying:    {En: "applying", Es: "aplicando"},
		apply.Verifying:   {En: "verifying", Es: "verificando"},
		apply.Verified:    {En: "verified", Es: "verificado"},
		apply.Confirmed:   {En: "confirmed", Es: "confirmado"},
		apply.Released:    {En: "released", Es: "definitivo"},
		apply.Undoing:     {En: "undoing", Es: "deshaciendo"},
		apply.Undone:      {En: "undone", Es: "deshecho"},
		apply.RollingBack: {En: "rolling back", Es: "revirtiendo"},
		apply.RolledBack:  {En: "rolled back", Es: "revertido"},
		apply.Failed:      {En: "failed", Es: "fallido"},
	}
	// What inventory.Diff says of an object that came or went.
	wholeWords = map[string]lang.Text{
		inventory.Absent:  {En: "absent", Es: "ausente"},
		inventory.Present: {En: "present", Es: "presente"},
	}
)

// StateWord is a state of a change as people read it.
func StateWord(s apply.State) lang.Text { return stateWords[s] }
