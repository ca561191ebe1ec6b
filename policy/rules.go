package policy

import (
	"regexp"
	"sync"

	"casco/lang"
)

// A rule says which values a key may have. For a list it speaks of each
// element, for a map of each value. The parser and the JSON Schema are made
// from the same rules.
type rule struct {
	enum     []string
	pattern  string   // a regular expression that RE2 and ECMA 262 read the same
	min, max *float64 // of a number, both included
	above    *float64 // of a number, not included
	keys     *rule    // of a map: what its keys may be
	atLeast  int      // of a list: so many elements
	// check says what is wrong with a text that the pattern lets through. A
	// schema cannot say it.
	check func(string) error
	say   lang.Text // what is wanted, with an example
}

var regexps sync.Map // pattern -> *regexp.Regexp

func (r rule) matches(s string) bool {
	re, ok := regexps.Load(r.pattern)
	if !ok {
		re, _ = regexps.LoadOrStore(r.pattern, regexp.MustCompile(r.pattern))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

// Parts of patterns.
const (
	wordPart = `[A-Za-z0-9][A-Za-z0-9_.-]*`
	portPart = `([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])/(tcp|udp|sctp)`
	// A place is TIER/NAME; the name may end in *.
	placePart = wordPart + `/(\*|` + wordPart + `\*?)`
	// A caller is who asks the engine.
	callerPart = `(uid|gid):[0-9]{1,10}|userns:([0-9]{1,10}|` + AnyUserns + `)|(unit|container|tls):[^ \t\r\n]+`
	filePart   = wordPart + `(/` + wordPart + `)*`
)

func num(f float64) *float64 { return &f }

// Words for several keys.
var (
	someText    = rule{pattern: `[^ \t\r\n]`, say: lang.Text{En: "a text with something in it", Es: "un texto con algo dentro"}}
	aWord       = rule{pattern: `^[^ \t\r\n]+$`, say: lang.Text{En: "one word", Es: "una palabra"}}
	anID        = rule{pattern: `^` + wordPart + `$`, say: lang.Text{En: "a name of letters, digits, - _ and .", Es: "un nombre de letras, cifras, - _ y ."}}
	aCheck      = rule{pattern: `^[a-z0-9]+(-[a-z0-9]+)*$`, say: lang.Text{En: "the ID of a check, such as container-privileged", Es: "el ID de una comprobación, como container-privileged"}}
	aPort       = rule{pattern: `^` + portPart + `$`, say: lang.Text{En: "a port with its protocol, such as 443/tcp", Es: "un puerto con su protocolo, como 443/tcp"}}
	aGlob       = rule{pattern: `^(\*|[^ \t\r\n*]+\*?)$`, say: lang.Text{En: "a name, which may end in *", Es: "un nombre, que puede acabar en *"}}
	anAsset     = rule{pattern: `^[a-z]+/[^ \t\r\n]+$`, say: lang.Text{En: "KIND/NAME, such as container/web1", Es: "CLASE/NOMBRE, como container/web1"}}
	aMode       = rule{enum: []string{string(Allow), string(Warn), string(Deny)}}
	aRole       = rule{enum: []string{string(Operator), string(Approver), string(RiskOwner), string(Steward), string(Auditor)}}
	aLevel      = rule{enum: []string{"low", "medium", "high", "critical"}}
	aShare      = rule{min: num(0), max: num(1)}
	aCount      = rule{min: num(0), max: num(1e6)}
	atLeastOne  = rule{min: num(1), max: num(1e6)}
	aCapability = rule{pattern: `^(ALL|[A-Z][A-Z0-9_]*)$`, say: lang.Text{En: "a capability without CAP_, such as NET_ADMIN, or ALL", Es: "una capacidad sin CAP_, como NET_ADMIN, o ALL"}}
)

// rules by type and key. A key without a rule may have any value of its type.
var rules = map[string]rule{
	"Metadata.name":     someText,
	"Metadata.version":  atLeastOne,
	"Metadata.owner":    someText,
	"Metadata.language": {enum: []string{"en", "es"}},

	"Baseline.framework": {pattern: `^[a-z0-9][a-z0-9.-]*$`, say: lang.Text{En: "the ID of a catalogue, such as cis-docker-1.8.0", Es: "el ID de un catálogo, como cis-docker-1.8.0"}},
	"Baseline.level":     {min: num(0), max: num(2)},

	"Person.id":    anID,
	"Person.name":  someText,
	"Person.roles": aRole,
	"Person.keys": {
		pattern: `^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$`, check: publicKey,
		say: lang.Text{En: `an SSH public key, such as "ssh-ed25519 AAAA… name"`, Es: `una clave pública SSH, como "ssh-ed25519 AAAA… nombre"`},
	},

	"Tier.id":            anID,
	"Tier.impact":        {above: num(0), max: num(1)},
	"Tier.es":            someText,
	"Tier.networks":      anID,
	"Tier.inside":        {enum: []string{"app", "open", "closed"}},
	"Tier.without_guard": {enum: []string{"closed", "open"}},
	"Assign.tier":        anID,
	"Assign.default":     anID,

	"Match.name":            aWord,
	"Match.image":           aWord,
	"Match.network":         aWord,
	"Match.compose.project": aWord,
	"Match.compose.service": aWord,
	"Match.label":           {pattern: someText.pattern, say: someText.say, keys: &aWord},

	"Flow.id":   anID,
	"Flow.from": {pattern: `^(any-internet|host|` + placePart + `)$`, say: lang.Text{En: "TIER/NAME, TIER/*, any-internet or host", Es: "NIVEL/NOMBRE, NIVEL/*, any-internet o host"}},
	"Flow.to":   {pattern: `^(host|egress:[^ \t\r\n]+|` + placePart + `)$`, check: egress, say: lang.Text{En: "TIER/NAME, TIER/*, host, egress:NAME or egress:CIDR", Es: "NIVEL/NOMBRE, NIVEL/*, host, egress:NOMBRE o egress:CIDR"}},
	"Flow.port": aPort,
	"Flow.why":  someText, "Flow.owner": anID,
	"Limits.crossings_per_tier_pair": aCount,

	"Network.start":         {enum: []string{"fanotify", "runtime"}},
	"Network.resolvers":     {pattern: `^[0-9a-fA-F:.\[\]]+$`, check: resolver, say: lang.Text{En: "an address, with a port or without, such as 192.0.2.53 or [2001:db8::53]:53", Es: "una dirección, con puerto o sin él, como 192.0.2.53 o [2001:db8::53]:53"}},
	"Network.private_names": {pattern: `^(\*\.)?` + wordPart + `$`, say: lang.Text{En: "a host name, such as db.example or *.example", Es: "un nombre de anfitrión, como db.example o *.example"}},

	"AllowForbid.allow":  aGlob,
	"AllowForbid.forbid": aGlob,
	"Host.ports":         {pattern: `^(\*|` + portPart + `)$`, say: lang.Text{En: "a port with its protocol, such as 22/tcp, or *", Es: "un puerto con su protocolo, como 22/tcp, o *"}},

	"Ports.privileged_publish":        aMode,
	"Ports.random_publish":            aMode,
	"Ports.publish_on_all_interfaces": aMode,
	"Ports.hairpin_between_tiers":     aMode,
	"Ports.allow":                     {pattern: `^(` + wordPart + `\*?:)?` + portPart + `$`, say: lang.Text{En: "443/tcp, or 443/tcp of one container: proxy:443/tcp", Es: "443/tcp, o 443/tcp de un contenedor: proxy:443/tcp"}},

	"SSH.in_containers": aMode,
	"SSH.on_host_from":  {pattern: `^[0-9a-fA-F:.]+/[0-9]{1,3}$`, check: network, say: lang.Text{En: "a network, such as 10.0.9.0/24", Es: "una red, como 10.0.9.0/24"}},

	"Registries.allow":   {pattern: `^[a-z0-9][a-z0-9._:-]*(/[a-z0-9._/-]*\*?)?$`, say: lang.Text{En: "a registry, or part of one: registry.example, registry.example/team/*", Es: "un registro, o parte de uno: registry.example, registry.example/equipo/*"}},
	"Registries.require": {enum: []string{"tls", "digest", "signature"}},
	"Registries.keys":    {pattern: `^` + filePart + `$`, say: lang.Text{En: "the name of a file in the policy folder", Es: "el nombre de un archivo de la carpeta"}, keys: &aGlob},

	"FailOn.epss":   aShare,
	"Images.forbid": {keys: &rule{enum: []string{"user_root", "sshd", "secrets", "setuid_extra"}}},

	"Runtime.tiers":         {keys: &anID},
	"RuntimeRules.cap_drop": aCapability,
	"RuntimeRules.cap_add":  aCapability,
	"RuntimeRules.pids":     {min: num(1), max: num(1 << 22)}, // kernel/pid.c, PID_MAX_LIMIT
	"RuntimeRules.cpus":     {above: num(0), max: num(1e4)},
	"RuntimeRules.user":     {pattern: `^[^ \t\r\n:]+(:[^ \t\r\n:]+)?$`, say: lang.Text{En: `a user, such as "1000:1000"`, Es: `un usuario, como "1000:1000"`}},
	"RuntimeRules.seccomp":  aWord,
	"RuntimeRules.mac":      aWord,

	"Admission.mode":         {enum: []string{Observe, Enforce}},
	"Admission.rules":        {keys: &aCheck},
	"Admission.read_only":    {pattern: `^(` + callerPart + `)$`, say: lang.Text{En: "uid:NUMBER, gid:NUMBER, userns:NUMBER, userns:any, unit:NAME, container:NAME or tls:NAME", Es: "uid:NÚMERO, gid:NÚMERO, userns:NÚMERO, userns:any, unit:NOMBRE, container:NOMBRE o tls:NOMBRE"}},
	"Admission.runtimes":     aWord,
	"Owner.id":               anID,
	"Owner.who":              {pattern: `^(` + callerPart + `|` + Others + `)$`, atLeast: 1, say: lang.Text{En: "uid:NUMBER, gid:NUMBER, userns:NUMBER, userns:any, unit:NAME, container:NAME, tls:NAME or others", Es: "uid:NÚMERO, gid:NÚMERO, userns:NÚMERO, userns:any, unit:NOMBRE, container:NOMBRE, tls:NOMBRE u others"}},
	"Owner.may":              {enum: Verbs},
	"Things.name":            aWord,
	"Things.project":         aWord,
	"Things.tier":            anID,
	"Things.label":           {pattern: someText.pattern, say: someText.say, keys: &aWord},
	"AdmissionRule.mode":     {enum: []string{Ignore, Observe, Enforce}},
	"AdmissionRule.tiers":    anID,
	"Additions.cap_drop":     aCapability,
	"Additions.pids":         {min: num(1), max: num(1 << 22)}, // as RuntimeRules.pids
	"Additions.log_max_file": {min: num(1), max: num(1000)},
	"Additions.runtime":      aWord,
	"Additions.seccomp":      {pattern: `^/[^ \t\r\n]+$`, say: lang.Text{En: "the path of a profile on the host, such as /etc/casco/seccomp.json", Es: "la ruta de un perfil en el anfitrión, como /etc/casco/seccomp.json"}},

	"Policy.checks":      {keys: &aCheck},
	"Tailoring.severity": aLevel,
	"Tailoring.because":  someText,

	"Standard.kinds":          {pattern: `^[a-z0-9-]+(:[a-z0-9-]+)?$`, say: lang.Text{En: "a hand, or HAND:CHECK, such as sysctl", Es: "una mano, o MANO:COMPROBACIÓN, como sysctl"}},
	"Standard.preapproved_by": anID,
	"Standard.max_cost":       {enum: []string{"live", "reload", "restart", "recreate"}},

	"Normal.approvals":          {min: num(1), max: num(20)},
	"Normal.roles":              aRole,
	"Emergency.approvals":       {min: num(1), max: num(20)},
	"Emergency.roles":           aRole,
	"Emergency.if_not_ratified": {enum: []string{"propose-rollback"}},
	"Freeze.except":             {pattern: `^[a-z0-9-]+(:[a-z0-9-]+)?$`, say: lang.Text{En: "a class or kind of change, such as emergency", Es: "una clase de cambio, como emergency"}},

	"ExceptionRules.roles":            aRole,
	"ExceptionRules.may_never_except": aCheck,
	"Log.witnesses":                   {pattern: `^(host|key|file):[^ \t\r\n]+$`, say: lang.Text{En: "host:NAME, key:PERSON or file:PATH", Es: "host:NOMBRE, key:PERSONA o file:RUTA"}},
	"Log.min_witnesses":               aCount,
	"Operations.silent_after":         atLeastOne,

	"Exception.id":                anID,
	"Exception.requester":         anID,
	"Exception.check":             aCheck,
	"Exception.host":              aWord,
	"Exception.asset":             anAsset,
	"Exception.locus":             aWord,
	"Exception.reason":            someText,
	"Exception.facts_at_decision": aWord,
	"Exception.renews":            anID,
	"Compensating.check":          aCheck,
	"Compensating.asset":          anAsset,
	"RiskThen.formula":            aWord,
	"RiskThen.likelihood":         aShare,
	"RiskThen.impact":             aShare,
	"RiskThen.priority":           {enum: []string{"immediate", "out-of-cycle", "scheduled", "defer"}},

	"OwnCheck.id":       aCheck,
	"OwnCheck.object":   {pattern: `^[a-z]+$`, say: lang.Text{En: "a kind of object, such as container", Es: "una clase de objeto, como container"}},
	"OwnCheck.severity": aLevel,
	"OwnCheck.domains":  {enum: []string{"security", "risk", "change", "operations", "supervision"}},
	"OwnCheck.controls": {pattern: `^[a-z0-9.-]+ [^ \t\r\n]+$`, say: lang.Text{En: "a catalogue and a number, such as iso-27001-2022 A.8.9", Es: "un catálogo y un número, como iso-27001-2022 A.8.9"}},
	"OwnCheck.when":     someText,
	"OwnCheck.pass":     someText,
	"OwnCheck.examples": {atLeast: 2},
	"Bilingual.en":      someText,
	"Bilingual.es":      someText,
	"Example.verdict":   {enum: []string{"pass", "fail", "unknown", "not-applicable"}},

	"Answer.check":    aCheck,
	"Answer.asset":    anAsset,
	"Answer.verdict":  {enum: []string{"pass", "fail", "not-applicable"}},
	"Answer.by":       anID,
	"Answer.evidence": someText,
}

// Patterns of the values that have a type of their own.
const (
	durationPattern = `^[1-9][0-9]{0,5}[smhd]$`
	bytesPattern    = `^[1-9][0-9]{0,14}[kmgt]?$`
	datePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2}))?$`
	windowPattern   = `^((Sun|Mon|Tue|Wed|Thu|Fri|Sat)(,(Sun|Mon|Tue|Wed|Thu|Fri|Sat))* )?([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)( [A-Za-z0-9_+/-]+)?$`
)
