package report

import (
	"strings"

	"casco/lang"
	"casco/loop/apply"
	"casco/loop/audit"
	"casco/loop/change"
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
	domainWords = map[audit.Domain]lang.Text{
		audit.Security:    {En: "security (DSS05, APO13)", Es: "seguridad (DSS05, APO13)"},
		audit.Risk:        {En: "risk (APO12)", Es: "riesgo (APO12)"},
		audit.Change:      {En: "change (BAI06, BAI10)", Es: "cambio (BAI06, BAI10)"},
		audit.Operations:  {En: "operations (DSS01)", Es: "operaciones (DSS01)"},
		audit.Supervision: {En: "supervision (MEA01, MEA02)", Es: "supervisión (MEA01, MEA02)"},
	}
	changeWords = map[change.Class]lang.Text{
		change.Standard:  {En: "standard", Es: "estándar"},
		change.Normal:    {En: "normal", Es: "normal"},
		change.Emergency: {En: "emergency", Es: "de emergencia"},
	}
	// How far a requirement of a framework is covered.
	statusWords = map[string]lang.Text{
		"automated": {En: "automated", Es: "automatizado"},
		"partial":   {En: "partial", Es: "parcial"},
		"manual":    {En: "manual", Es: "manual"},
		"none":      {En: "none", Es: "ninguno"},
	}
	// What inventory.Diff says of an object that came or went.
	wholeWords = map[string]lang.Text{
		inventory.Absent:  {En: "absent", Es: "ausente"},
		inventory.Present: {En: "present", Es: "presente"},
	}
)

// StateWord is a state of a change as people read it.
func StateWord(s apply.State) lang.Text { return stateWords[s] }

// kindWords are the kinds of objects. One that is not here keeps its name.
var kindWords = map[inventory.Kind]lang.Text{
	inventory.Container:  {En: "container", Es: "contenedor"},
	inventory.Image:      {En: "image", Es: "imagen"},
	inventory.Network:    {En: "network", Es: "red"},
	inventory.Volume:     {En: "volume", Es: "volumen"},
	inventory.Daemon:     {En: "engine", Es: "motor"},
	inventory.Swarm:      {En: "swarm", Es: "enjambre"},
	inventory.Service:    {En: "service", Es: "servicio"},
	inventory.Kernel:     {En: "kernel", Es: "núcleo"},
	inventory.Sysctl:     {En: "kernel parameter", Es: "parámetro del núcleo"},
	inventory.File:       {En: "file", Es: "archivo"},
	inventory.Watch:      {En: "audit rule", Es: "regla de auditoría"},
	inventory.Account:    {En: "account", Es: "cuenta"},
	inventory.Listener:   {En: "listening socket", Es: "socket en escucha"},
	inventory.Registry:   {En: "registry", Es: "registro de imágenes"},
	inventory.Credential: {En: "credential", Es: "credencial"},
	inventory.Package:    {En: "package", Es: "paquete"},
	inventory.Guard:      {En: "guard", Es: "guardia"},
	inventory.Unit:       {En: "systemd unit", Es: "unidad de systemd"},
	inventory.Policy:     {En: "policy", Es: "política"},
	inventory.Host:       {En: "host", Es: "anfitrión"},
	inventory.Exception:  {En: "exception", Es: "excepción"},
}

func kindWord(k inventory.Kind) lang.Text {
	if t, is := kindWords[k]; is {
		return t
	}
	return lang.Text{En: string(k), Es: string(k)}
}

// refName is r as a text; empty if it is nothing.
func refName(r inventory.Ref) string {
	if r == (inventory.Ref{}) {
		return ""
	}
	return r.String()
}

// ownCauses are our own words for why something could not be read. A fact keeps
// them in English, as it keeps what the kernel or an engine said, which nobody
// translates.
var ownCauses = []lang.Text{
	{En: "this engine was found by its process; its API was not asked", Es: "este motor se halló por su proceso; no se consultó su API"},
	{En: "its layers have not been looked into: casco audit --deep does", Es: "no se miró dentro de sus capas: casco audit --deep lo hace"},
	{En: "says nothing of how the image was built", Es: "no dice nada de cómo se construyó la imagen"},
	{En: "this kernel has no sysctl ", Es: "este núcleo no tiene el sysctl "},
	{En: "BindSources may miss engine sockets: ", Es: "a BindSources pueden faltarle sockets de motores: "},
	{En: "shares the network of a container that was not read", Es: "comparte la red de un contenedor que no se leyó"},
	{En: "no such object was read", Es: "no se leyó tal objeto"},
	{En: "takes the volumes of a container that was not read", Es: "toma los volúmenes de un contenedor que no se leyó"},
	{En: "the mounts of the container it takes them from were not read", Es: "no se leyeron los montajes del contenedor del que los toma"},
	{En: "the kernel lists none", Es: "el núcleo no enumera ninguno"},
	{En: "no image with this tag was read", Es: "no se leyó ninguna imagen con esta etiqueta"},
	{En: "names no version of engine, containerd or runc", Es: "no nombra versión del motor, de containerd ni de runc"},
	{En: "the request has none, and its image was not read", Es: "la petición no tiene, y no se leyó su imagen"},
	{En: "lacks the device of the data root or of /", Es: "falta el dispositivo de la raíz de datos o de /"},
	{En: ": absent", Es: ": ausente"},
}

var inSpanish = func() *strings.Replacer {
	var pairs []string
	for _, t := range ownCauses {
		pairs = append(pairs, t.En, t.Es)
	}
	return strings.NewReplacer(pairs...)
}()

// cause is what a fact or a gap says of why it could not be read.
func cause(s string, l lang.Lang) string {
	if l == lang.Spanish {
		return inSpanish.Replace(s)
	}
	return s
}

// reason is a reason of a finding. One that has the same halves is what a fact said.
func reason(t lang.Text, l lang.Lang) string {
	if t.En == t.Es {
		return cause(t.En, l)
	}
	return t.In(l)
}
