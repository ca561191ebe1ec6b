// Package policy says what the organisation wants: who may decide, which
// sensitivity levels there are and which of them may talk, what must hold on a
// host, how soon a finding is cured, how a change is agreed, what may be
// excepted.
//
// A policy is a file, or a folder of files, in the organisation's own version
// control. It is read strictly: a key that is unknown or written twice, an
// anchor, a word that an older YAML takes for a boolean is refused with line
// and column. What is signed is the exact bytes, so nothing depends on how a
// parser orders them.
//
// The package is pure: it takes bytes and gives values. The zero Policy says
// nothing; Builtin is what holds where an organisation has none.
package policy

import (
	"cmp"
	"reflect"
	"slices"
	"time"
)

// APIVersion is the format of the documents that this program reads.
const APIVersion = "casco/v1"

// A Pos is where something stands in a policy: evidence for the reader that
// the policy says so. The zero Pos is the built-in policy.
type Pos struct {
	File string `json:"file,omitempty"` // as it is named in the policy folder
	Line int    `json:"line,omitempty"` // from 1
	Col  int    `json:"col,omitempty"`  // from 1, in characters
}

// A Policy is one version of what an organisation wants. Fields have the names
// of their keys in the file.
type Policy struct {
	Metadata   Metadata   `json:"metadata" yaml:"metadata"`
	Baseline   Baseline   `json:"baseline,omitzero" yaml:"baseline"`
	People     []Person   `json:"people,omitempty" yaml:"people"`
	Tiers      []Tier     `json:"tiers,omitempty" yaml:"tiers"`
	Assign     []Assign   `json:"assign,omitempty" yaml:"assign"`
	Flows      []Flow     `json:"flows,omitempty" yaml:"flows"`
	Limits     Limits     `json:"limits,omitzero" yaml:"limits"`
	Network    Network    `json:"network,omitzero" yaml:"network"`
	Host       Host       `json:"host,omitzero" yaml:"host"`
	Ports      Ports      `json:"ports,omitzero" yaml:"ports"`
	SSH        SSH        `json:"ssh,omitzero" yaml:"ssh"`
	Registries Registries `json:"registries,omitzero" yaml:"registries"`
	Images     Images     `json:"images,omitzero" yaml:"images"`
	Runtime    Runtime    `json:"runtime,omitzero" yaml:"runtime"`
	Admission  Admission  `json:"admission,omitzero" yaml:"admission"`
	// Checks tailors checks by their IDs.
	Checks     map[string]Tailoring `json:"checks,omitempty" yaml:"checks"`
	SLA        SLA                  `json:"sla,omitzero" yaml:"sla"`
	Changes    Changes              `json:"changes,omitzero" yaml:"changes"`
	Exceptions ExceptionRules       `json:"exceptions,omitzero" yaml:"exceptions"`
	Evidence   Evidence             `json:"evidence,omitzero" yaml:"evidence"`
	Log        Log                  `json:"log,omitzero" yaml:"log"`
	Operations Operations           `json:"operations,omitzero" yaml:"operations"`

	// The other documents of a policy folder.
	Granted []Exception `json:"granted,omitempty" yaml:"-"` // kind: Exception
	Own     []OwnCheck  `json:"own,omitempty" yaml:"-"`     // kind: Check
	Answers []Answer    `json:"answers,omitempty" yaml:"-"` // kind: Answer

	// Lines says where each value stands, by its path: "sla.immediate",
	// "checks.container-privileged", "people.2". Empty for the built-in policy.
	Lines map[string]Pos `json:"-" yaml:"-"`
	// Digest is the SHA-256 of the signed bytes, in hex; "builtin" for the
	// built-in policy.
	Digest string `json:"digest,omitempty" yaml:"-"`
	// Files are the files of the folder that are no documents, by name: keys of
	// registries, profiles. They are signed with it.
	Files map[string][]byte `json:"-" yaml:"-"`
	// Message is those signed bytes: the file, or the manifest of the folder.
	Message []byte `json:"-" yaml:"-"`
}

// Metadata names a version. A host refuses a version that is not greater than
// the one in force.
type Metadata struct {
	Name      string `json:"name" yaml:"name"`
	Version   int    `json:"version" yaml:"version"`
	Effective Date   `json:"effective,omitzero" yaml:"effective"`
	Owner     string `json:"owner,omitempty" yaml:"owner"`
	Language  string `json:"language,omitempty" yaml:"language"` // "en" or "es": of reports, where none is asked for
}

// Baseline names the catalogue that the organisation measures itself against.
type Baseline struct {
	Framework string `json:"framework,omitempty" yaml:"framework"` // "cis-docker-1.8.0"
	Level     int    `json:"level,omitempty" yaml:"level"`         // 1 or 2 of that framework; checks of a higher level do not apply; 0 is all
}

// A Role is what a person may do. Nobody has a role unless the policy says so.
type Role string

const (
	Operator  Role = "operator"   // makes plans, asks for exceptions, applies what is approved
	Approver  Role = "approver"   // agrees to changes
	RiskOwner Role = "risk-owner" // decides treatments, grants exceptions
	Steward   Role = "steward"    // signs policies
	Auditor   Role = "auditor"    // reads, samples, witnesses; never approves, whatever other role is listed
)

// A Person decides and signs. A person with two keys is one person.
type Person struct {
	ID    string   `json:"id" yaml:"id"`
	Name  string   `json:"name,omitempty" yaml:"name"`
	Roles []Role   `json:"roles" yaml:"roles"`
	Keys  []string `json:"keys" yaml:"keys"` // "ssh-ed25519 AAAA… comment", as in authorized_keys
}

// A Tier is a level of sensitivity, with the networks that carry it.
type Tier struct {
	ID       string   `json:"id" yaml:"id"`
	Impact   float64  `json:"impact" yaml:"impact"` // in (0, 1]: what is lost when it falls, 1 is the worst
	Es       string   `json:"es,omitempty" yaml:"es"`
	Networks []string `json:"networks,omitempty" yaml:"networks"`
	// Inside says who of this tier may talk within it: "app", only containers of
	// one application, which is the default; "open", all; "closed", nobody.
	Inside string `json:"inside,omitempty" yaml:"inside"`
	// WithoutGuard says what becomes of the start of a container of this tier
	// when nobody can put its network rules in place: "closed", it is refused,
	// which is the default; "open", it starts without, and that is an event.
	WithoutGuard string `json:"without_guard,omitempty" yaml:"without_guard"`
}

// Assign puts the workloads that match into a tier: the first that matches
// counts. Exactly one entry has Default instead of Match and Tier.
type Assign struct {
	Match   Match  `json:"match,omitzero" yaml:"match"`
	Tier    string `json:"tier,omitempty" yaml:"tier"`
	Default string `json:"default,omitempty" yaml:"default"`
}

// A Match is true of a container if all that it names is. Names may list
// alternatives with "|" and end in "*".
type Match struct {
	Name           string            `json:"name,omitempty" yaml:"name"`
	Image          string            `json:"image,omitempty" yaml:"image"`
	Network        string            `json:"network,omitempty" yaml:"network"`
	ComposeProject string            `json:"compose.project,omitempty" yaml:"compose.project"`
	ComposeService string            `json:"compose.service,omitempty" yaml:"compose.service"`
	Label          map[string]string `json:"label,omitempty" yaml:"label"`
}

// A Flow is a declared crossing: what may talk to what. Everything else may not.
type Flow struct {
	ID     string `json:"id" yaml:"id"`
	From   string `json:"from" yaml:"from"` // "public/web", "internal/*", "any-internet", "host"
	To     string `json:"to" yaml:"to"`     // "restricted/db", "egress:updates.example", "egress:203.0.113.0/24"
	Port   string `json:"port" yaml:"port"` // "5432/tcp"
	Why    string `json:"why,omitempty" yaml:"why"`
	Owner  string `json:"owner,omitempty" yaml:"owner"` // ID of a person
	Review Date   `json:"review,omitzero" yaml:"review"`
}

// Limits keeps crossings few.
type Limits struct {
	CrossingsPerTierPair int `json:"crossings_per_tier_pair,omitempty" yaml:"crossings_per_tier_pair"` // 0: no limit
}

// Network says how the tiers are kept apart.
type Network struct {
	// Enforce says whether the tiers are to be kept apart on this host. Where it
	// says nothing, they are if there are several.
	Enforce *bool `json:"enforce,omitempty" yaml:"enforce"`
	// Start is how the start of a container is held until its rules are in
	// place: "runtime", by a wrapper of the OCI runtime that daemon.json names;
	// "fanotify", by asking the kernel for leave to run it, which changes nothing
	// of the engine's. The default is "fanotify".
	Start string `json:"start,omitempty" yaml:"start"`
	// Resolvers are asked for the names of egress flows: addresses, with a port
	// or without. The default is what /etc/resolv.conf of the host says.
	Resolvers []string `json:"resolvers,omitempty" yaml:"resolvers"`
	// PrivateNames are egress names that may have addresses of private networks;
	// such an answer is otherwise taken for a rebinding, and refused.
	PrivateNames []string `json:"private_names,omitempty" yaml:"private_names"`
}

// Host lists what has its place on the host beside the engine. Names may end
// in "*".
type Host struct {
	Packages AllowForbid `json:"packages,omitzero" yaml:"packages"`
	Services AllowForbid `json:"services,omitzero" yaml:"services"` // systemd units
	// Accounts may reach an engine, and so are root's equal.
	Accounts AllowForbid `json:"accounts,omitzero" yaml:"accounts"`
	// Ports may be listened on in the host's own network namespace: "22/tcp",
	// "9100/tcp".
	Ports AllowForbid `json:"ports,omitzero" yaml:"ports"`
}

// AllowForbid tells what is wanted from what is not. What neither list names
// is for the check's own judgement.
type AllowForbid struct {
	Allow  []string `json:"allow,omitempty" yaml:"allow"`
	Forbid []string `json:"forbid,omitempty" yaml:"forbid"`
}

// A Mode is what happens to what a rule speaks of.
type Mode string

const (
	Allow Mode = "allow"
	Warn  Mode = "warn"
	Deny  Mode = "deny"
)

// Ports are rules for published ports.
type Ports struct {
	PrivilegedPublish      Mode     `json:"privileged_publish,omitempty" yaml:"privileged_publish"`
	RandomPublish          Mode     `json:"random_publish,omitempty" yaml:"random_publish"`
	PublishOnAllInterfaces Mode     `json:"publish_on_all_interfaces,omitempty" yaml:"publish_on_all_interfaces"`
	HairpinBetweenTiers    Mode     `json:"hairpin_between_tiers,omitempty" yaml:"hairpin_between_tiers"`
	Allow                  []string `json:"allow,omitempty" yaml:"allow"` // "443/tcp", "proxy:443/tcp": may be published though privileged or to all
}

// SSH says where it may be served.
type SSH struct {
	InContainers Mode     `json:"in_containers,omitempty" yaml:"in_containers"`
	OnHostFrom   []string `json:"on_host_from,omitempty" yaml:"on_host_from"` // CIDR
}

// Registries that images may come from, and what must hold of the way there.
type Registries struct {
	Allow   []string          `json:"allow,omitempty" yaml:"allow"`
	Require []string          `json:"require,omitempty" yaml:"require"` // "tls", "digest", "signature"
	Keys    map[string]string `json:"keys,omitempty" yaml:"keys"`       // pattern of image -> file of keys, in the policy folder: one a line, as in authorized_keys
}

// Images says which are good enough to run.
type Images struct {
	MaxAge Duration        `json:"max_age,omitempty" yaml:"max_age"`
	FailOn FailOn          `json:"fail_on,omitzero" yaml:"fail_on"`
	Forbid map[string]bool `json:"forbid,omitempty" yaml:"forbid"` // user_root, sshd, secrets, setuid_extra
	// AdvisoriesAge is how old what is known of vulnerabilities may be; 0: a week.
	AdvisoriesAge Duration `json:"advisories_age,omitempty" yaml:"advisories_age"`
}

// FailOn says which vulnerabilities an image may not have.
type FailOn struct {
	KEV            bool    `json:"kev,omitempty" yaml:"kev"`
	EPSS           float64 `json:"epss,omitempty" yaml:"epss"` // at least this probability; 0: not by it
	FixedAvailable bool    `json:"fixed_available,omitempty" yaml:"fixed_available"`
}

// Runtime says how containers run unless a tier says otherwise.
type Runtime struct {
	Default RuntimeRules            `json:"default,omitzero" yaml:"default"`
	Tiers   map[string]RuntimeRules `json:"tiers,omitempty" yaml:"tiers"`
}

// RuntimeRules are wanted settings of a container. An empty one says nothing.
type RuntimeRules struct {
	CapDrop         []string `json:"cap_drop,omitempty" yaml:"cap_drop"`
	CapAdd          []string `json:"cap_add,omitempty" yaml:"cap_add"` // may be added
	NoNewPrivileges *bool    `json:"no_new_privileges,omitempty" yaml:"no_new_privileges"`
	ReadOnly        *bool    `json:"read_only,omitempty" yaml:"read_only"`
	Pids            int64    `json:"pids,omitempty" yaml:"pids"`
	Memory          Bytes    `json:"memory,omitempty" yaml:"memory"`
	CPUs            float64  `json:"cpus,omitempty" yaml:"cpus"`
	User            string   `json:"user,omitempty" yaml:"user"`
	Seccomp         string   `json:"seccomp,omitempty" yaml:"seccomp"` // "default", "generated", or a file
	MAC             string   `json:"mac,omitempty" yaml:"mac"`         // "default", "generated", or a profile's name
}

// What becomes of a request that a rule of Admission is against.
const (
	Ignore  = "ignore"  // nothing: the rule is not asked
	Observe = "observe" // it is let through and noted
	Enforce = "enforce" // it is refused
)

// Admission says what is let through to an engine.
type Admission struct {
	// Mode is what becomes of a request that a rule is against: "observe", it is
	// let through and noted, which is the default; "enforce", it is refused.
	Mode string `json:"mode,omitempty" yaml:"mode"`
	// Rules are the rules that are not as Mode and casco have them, by their IDs,
	// which are those of checks or of package admission.
	Rules map[string]AdmissionRule `json:"rules,omitempty" yaml:"rules"`
	// Add is put into requests to create a container that say nothing of it.
	Add Additions `json:"add,omitzero" yaml:"add"`
	// ReadOnly are callers who may look and no more: "uid:1001", also in a user
	// namespace that this user made; "gid:50", by any of their groups; "userns:1001",
	// only there, and "userns:any", in whosever; "unit:exporter.service",
	// "container:NAME", "tls:NAME" of a certificate.
	ReadOnly []string `json:"read_only,omitempty" yaml:"read_only"`
	// Owners say what of an engine is whose. Whom no entry names has all of it.
	Owners []Owner `json:"owners,omitempty" yaml:"owners"`
	// Runtimes may be asked for by name, beside the engine's default.
	Runtimes []string `json:"runtimes,omitempty" yaml:"runtimes"`
}

// An Owner is somebody to whom only some of an engine's containers, networks,
// volumes and the like are there. Callers of several entries have what each
// gives.
type Owner struct {
	// ID is what they create is labelled with, and what is labelled so is theirs.
	ID string `json:"id" yaml:"id"`
	// Who are callers as ReadOnly names them; Others are all whom no entry names,
	// but root of the host.
	Who []string `json:"who" yaml:"who"`
	// Of is what is theirs beside what has the label.
	Of []Things `json:"of,omitempty" yaml:"of"`
	// May is what they may do with it; empty: Own.
	May []string `json:"may,omitempty" yaml:"may"`
}

// Others stands in Owner.Who for the callers whom no entry names.
const Others = "others"

// AnyUserns stands for every user in "userns:NUMBER": whoever is in a user namespace
// that is not the host's.
const AnyUserns = "any"

// What an Owner may do with what is theirs.
const (
	List    = "list"    // see it in lists, events and sums
	Inspect = "inspect" // ask for it by name: its settings, processes, figures
	Logs    = "logs"
	Exec    = "exec"   // run commands in it, join its namespaces
	Attach  = "attach" // to the streams of its first process
	Copy    = "copy"   // files out of it and into it, its file system, images as files
	Create  = "create"
	Change  = "change" // start, stop, rename, update, connect; use a network, a volume, a secret
	Delete  = "delete"
	Bring   = "images" // pull, build, load, tag, push, delete images, which are everybody's
)

// Verbs are all of these. Own are those of an Owner that names none.
var (
	Verbs = []string{List, Inspect, Logs, Exec, Attach, Copy, Create, Change, Delete, Bring}
	Own   = Verbs[: len(Verbs)-1 : len(Verbs)-1]
)

// Has reports whether o may do what verb names.
func (o Owner) Has(verb string) bool {
	return slices.Contains(o.May, verb) || len(o.May) == 0 && slices.Contains(Own, verb)
}

// Things are those of an engine of which all is true that it names. Names may
// list alternatives with "|" and end in "*", as in Match.
type Things struct {
	Name    string            `json:"name,omitempty" yaml:"name"`
	Project string            `json:"project,omitempty" yaml:"project"` // of Compose, or a stack
	Tier    string            `json:"tier,omitempty" yaml:"tier"`
	Label   map[string]string `json:"label,omitempty" yaml:"label"`
}

// Of reports whether something is what t names. tier is asked only where t names
// one; it gives "" for what has none. The zero Things is true of nothing.
func (t Things) Of(name string, labels map[string]string, tier func() string) bool {
	if t.zero() || t.Name != "" && !oneOf(t.Name, name) {
		return false
	}
	if t.Project != "" && !oneOf(t.Project, cmp.Or(labels[composeProject], labels[stackNamespace])) {
		return false
	}
	for k, pattern := range t.Label {
		if is, has := labels[k]; !has || !oneOf(pattern, is) {
			return false
		}
	}
	return t.Tier == "" || tier() == t.Tier
}

func (t Things) zero() bool { return reflect.ValueOf(t).IsZero() }

// An AdmissionRule is how one rule is taken.
type AdmissionRule struct {
	Mode  string   `json:"mode" yaml:"mode"`             // "ignore", "observe", "enforce"
	Tiers []string `json:"tiers,omitempty" yaml:"tiers"` // only of containers of these; empty: of all
}

// Additions are settings that a request gets where it names none.
type Additions struct {
	NoNewPrivileges bool     `json:"no_new_privileges,omitempty" yaml:"no_new_privileges"`
	CapDrop         []string `json:"cap_drop,omitempty" yaml:"cap_drop"`
	Pids            int64    `json:"pids,omitempty" yaml:"pids"`
	LogMaxSize      Bytes    `json:"log_max_size,omitempty" yaml:"log_max_size"` // of json-file and local
	LogMaxFile      int      `json:"log_max_file,omitempty" yaml:"log_max_file"`
	Runtime         string   `json:"runtime,omitempty" yaml:"runtime"` // name of one of the engine's
	Seccomp         string   `json:"seccomp,omitempty" yaml:"seccomp"` // path of a profile on the host
}

// A Tailoring changes a check for this organisation. It is never silent: it
// must say why, and every report lists it.
type Tailoring struct {
	Severity   string `json:"severity,omitempty" yaml:"severity"`     // low, medium, high, critical
	Applicable *bool  `json:"applicable,omitempty" yaml:"applicable"` // false: the check does not apply here
	Because    string `json:"because" yaml:"because"`
}

// SLA is how soon a risk of each priority is treated, counted from the moment
// its finding first failed.
type SLA struct {
	Immediate  Duration `json:"immediate,omitempty" yaml:"immediate"`
	OutOfCycle Duration `json:"out-of-cycle,omitempty" yaml:"out-of-cycle"`
	Scheduled  Duration `json:"scheduled,omitempty" yaml:"scheduled"`
	Defer      Duration `json:"defer,omitempty" yaml:"defer"`
}

// Changes says how each class of change is agreed.
type Changes struct {
	Standard      Standard  `json:"standard,omitzero" yaml:"standard"`
	Normal        Normal    `json:"normal,omitzero" yaml:"normal"`
	Emergency     Emergency `json:"emergency,omitzero" yaml:"emergency"`
	ConfirmWithin Duration  `json:"confirm_within,omitempty" yaml:"confirm_within"` // of a network or daemon change
	Freeze        []Freeze  `json:"freeze,omitempty" yaml:"freeze"`
}

// Standard changes are agreed to beforehand: these kinds, in this window, until
// that date.
type Standard struct {
	Kinds         []string `json:"kinds,omitempty" yaml:"kinds"` // hands ("file", "sysctl", "docker-update") or "HAND:CHECK"
	PreapprovedBy []string `json:"preapproved_by,omitempty" yaml:"preapproved_by"`
	Expires       Date     `json:"expires,omitzero" yaml:"expires"`
	Window        Window   `json:"window,omitzero" yaml:"window"`
	MaxCost       string   `json:"max_cost,omitempty" yaml:"max_cost"` // live, reload, restart, recreate; default live
}

// Normal changes need approvals of so many different persons.
type Normal struct {
	Approvals        int      `json:"approvals,omitempty" yaml:"approvals"`
	Roles            []Role   `json:"roles,omitempty" yaml:"roles"`
	AuthorMayApprove bool     `json:"author_may_approve,omitempty" yaml:"author_may_approve"`
	PlanValidFor     Duration `json:"plan_valid_for,omitempty" yaml:"plan_valid_for"`
	Window           Window   `json:"window,omitzero" yaml:"window"`
}

// Emergency changes are agreed to by fewer and must be ratified afterwards.
type Emergency struct {
	Approvals     int      `json:"approvals,omitempty" yaml:"approvals"`
	Roles         []Role   `json:"roles,omitempty" yaml:"roles"`
	RatifyWithin  Duration `json:"ratify_within,omitempty" yaml:"ratify_within"`
	IfNotRatified string   `json:"if_not_ratified,omitempty" yaml:"if_not_ratified"` // "propose-rollback"
}

// A Window is a time of the week in which a change may begin; in the file
// "Tue,Thu 02:00-04:00 America/La_Paz". The zero Window is always. One that
// ends before it begins runs past midnight and belongs to the day it began.
type Window struct {
	Days []time.Weekday `json:"days,omitempty"` // empty: every day
	From int            `json:"from"`           // minutes after midnight, local time of Zone
	To   int            `json:"to"`             // not included
	Zone string         `json:"zone,omitempty"` // name in the IANA time zone database; empty is UTC
}

// A Freeze is a time without changes, but for those it excepts.
type Freeze struct {
	From   Date     `json:"from" yaml:"from"`
	To     Date     `json:"to" yaml:"to"` // its last day
	Except []string `json:"except,omitempty" yaml:"except"`
}

// ExceptionRules bound what may be excepted.
type ExceptionRules struct {
	MaxDuration         Duration `json:"max_duration,omitempty" yaml:"max_duration"`
	Roles               []Role   `json:"roles,omitempty" yaml:"roles"` // who may grant; default risk-owner
	RequesterMayApprove bool     `json:"requester_may_approve,omitempty" yaml:"requester_may_approve"`
	MayNeverExcept      []string `json:"may_never_except,omitempty" yaml:"may_never_except"` // check IDs
}

// Evidence says how long it is kept and for how long it counts.
type Evidence struct {
	Keep     Duration `json:"keep,omitempty" yaml:"keep"`
	FreshFor Duration `json:"fresh_for,omitempty" yaml:"fresh_for"`
}

// Log says who holds checkpoints of the ledger outside this host.
type Log struct {
	Witnesses    []string `json:"witnesses,omitempty" yaml:"witnesses"` // "host:NAME", "key:PERSON", "file:PATH"
	MinWitnesses int      `json:"min_witnesses,omitempty" yaml:"min_witnesses"`
}

// Operations says how often the loop turns by itself.
type Operations struct {
	Every       Duration `json:"every,omitempty" yaml:"every"`               // between two runs
	SilentAfter int      `json:"silent_after,omitempty" yaml:"silent_after"` // intervals without a run, after which the host is silent
}

// An Exception lets one finding stand for a time. It changes no result and no
// number.
type Exception struct {
	ID           string         `json:"id" yaml:"id"`
	Requester    string         `json:"requester" yaml:"requester"` // ID of a person
	Check        string         `json:"check" yaml:"check"`
	Host         string         `json:"host,omitempty" yaml:"host"`
	Asset        string         `json:"asset" yaml:"asset"`           // KIND/NAME, exact
	Locus        string         `json:"locus,omitempty" yaml:"locus"` // a part of the asset: "0.0.0.0:443/tcp"; empty: the whole finding
	Reason       string         `json:"reason" yaml:"reason"`
	Compensating []Compensating `json:"compensating,omitempty" yaml:"compensating"`
	// FactsAtDecision is the digest of the finding's evidence when it was
	// granted: once the facts differ, the exception is void.
	FactsAtDecision string   `json:"facts_at_decision,omitempty" yaml:"facts_at_decision"`
	RiskAtDecision  RiskThen `json:"risk_at_decision,omitzero" yaml:"risk_at_decision"`
	Starts          Date     `json:"starts" yaml:"starts"`
	Expires         Date     `json:"expires" yaml:"expires"` // its last moment: the end of that day in UTC
	Renews          string   `json:"renews,omitempty" yaml:"renews"`

	Pos        Pos         `json:"pos,omitzero" yaml:"-"`
	Bytes      []byte      `json:"-" yaml:"-"` // the document as it was signed
	Signatures []Signature `json:"signatures,omitempty" yaml:"-"`
}

// Compensating names a check that must pass for an exception to hold.
type Compensating struct {
	Check string `json:"check" yaml:"check"`
	Asset string `json:"asset,omitempty" yaml:"asset"` // empty: the exception's own
}

// RiskThen is what the risk was reckoned to be when it was accepted.
type RiskThen struct {
	Formula    string  `json:"formula,omitempty" yaml:"formula"`
	Likelihood float64 `json:"likelihood,omitempty" yaml:"likelihood"`
	Impact     float64 `json:"impact,omitempty" yaml:"impact"`
	Priority   string  `json:"priority,omitempty" yaml:"priority"`
}

// An OwnCheck is a check of the organisation's: one CEL expression over an
// object's fields, with the examples that are its test.
type OwnCheck struct {
	ID       string    `json:"id" yaml:"id"`
	Kind     string    `json:"object" yaml:"object"` // kind of object: container, image, daemon …
	Title    Bilingual `json:"title" yaml:"title"`
	Why      Bilingual `json:"why" yaml:"why"`
	Remedy   Bilingual `json:"remedy" yaml:"remedy"`
	Severity string    `json:"severity" yaml:"severity"`
	Domains  []string  `json:"domains,omitempty" yaml:"domains"`
	Controls []string  `json:"controls,omitempty" yaml:"controls"` // "iso-27001-2022 A.8.9"
	When     string    `json:"when,omitempty" yaml:"when"`         // CEL; false: not applicable
	Pass     string    `json:"pass" yaml:"pass"`                   // CEL; true: pass, false: fail, error (a missing field): unknown
	Examples []Example `json:"examples" yaml:"examples"`

	Pos Pos `json:"pos,omitzero" yaml:"-"`
	// Where the text of each expression begins.
	WhenAt Pos `json:"-" yaml:"-"`
	PassAt Pos `json:"-" yaml:"-"`
}

// Bilingual is a text in both languages of the program.
type Bilingual struct {
	En string `json:"en" yaml:"en"`
	Es string `json:"es" yaml:"es"`
}

// An Example is an object with the verdict that the check must give it.
type Example struct {
	Verdict string         `json:"verdict" yaml:"verdict"` // pass, fail, unknown, not-applicable
	Fields  map[string]any `json:"fields" yaml:"fields"`
}

// An Answer is what a person says of a check that no machine can decide.
type Answer struct {
	Check    string   `json:"check" yaml:"check"`
	Asset    string   `json:"asset" yaml:"asset"`
	Verdict  string   `json:"verdict" yaml:"verdict"` // pass, fail, not-applicable
	By       string   `json:"by" yaml:"by"`           // ID of a person
	On       Date     `json:"date" yaml:"date"`
	ValidFor Duration `json:"valid_for" yaml:"valid_for"`
	Evidence string   `json:"evidence" yaml:"evidence"` // what was seen, and where it is kept

	Pos Pos `json:"pos,omitzero" yaml:"-"`
}

// A Duration is a length of time; in the file 10m, 24h, 90d. A day has 24 hours.
type Duration time.Duration

// Bytes is a size; in the file 512m, 2g (powers of 1024), or a number.
type Bytes int64

// A Date is a day, or a moment; in the file 2026-12-31 (the whole day, UTC), or
// 2026-12-31T18:00:00Z. The zero Date says nothing.
type Date struct {
	time.Time      // of a whole day, its first moment, UTC
	Whole     bool // it was written without a time
}

// End is the last moment of d: of a whole day, the end of that day in UTC.
func (d Date) End() time.Time {
	if d.Whole {
		return d.Time.AddDate(0, 0, 1).Add(-time.Nanosecond)
	}
	return d.Time
}

// A Signature is who signed, with which key.
type Signature struct {
	Person string `json:"person"` // ID; empty if the key is nobody's
	Key    string `json:"key"`    // SHA256:… as ssh-keygen -l prints it
}
