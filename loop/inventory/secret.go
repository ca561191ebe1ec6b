package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Readers pass whatever may hold a secret (environments, labels, history,
// command lines) through the functions of this file before it becomes a
// field, so that no later stage, log or report can leak one. Masking twice
// changes nothing, so a check may mask again what came from another reader.

// The mask of a secret is *** and 4 hex digits of its SHA-256: enough to see
// that it changed, too little (16 bits) to confirm a guess of a weak one.
const maskDigits = 4

var (
	masked = regexp.MustCompile(`\*\*\*[0-9a-f]{4}`)
	aMask  = regexp.MustCompile(`^\*\*\*[0-9a-f]{4}$`)
)

// Masked reports whether something in s has been masked.
func Masked(s string) bool { return masked.MatchString(s) }

func mask(secret string) string {
	if aMask.MatchString(secret) {
		return secret
	}
	h := sha256.Sum256([]byte(secret))
	return "***" + hex.EncodeToString(h[:])[:maskDigits]
}

// MaskEnv returns a copy of an environment ("NAME=value") in which secrets are
// masked. The names and the order stay.
func MaskEnv(env []string) []string {
	out := make([]string, 0, len(env))
	for _, e := range env {
		if name, value, ok := strings.Cut(e, "="); ok {
			e = name + "=" + MaskValue(name, value)
		}
		out = append(out, e)
	}
	return out
}

// MaskConfig masks, in place, the Config of a container or an image as the
// Engine API and the OCI image specification have it.
func MaskConfig(c map[string]any) {
	list := func(m map[string]any, key string) []any { l, _ := m[key].([]any); return l }
	labels, _ := c["Labels"].(map[string]any)
	check, _ := c["Healthcheck"].(map[string]any)
	MaskPairs(list(c, "Env"))
	MaskLabels(labels)
	for _, key := range []string{"Cmd", "Entrypoint", "OnBuild"} {
		MaskArgs(list(c, key))
	}
	MaskArgs(list(check, "Test"))
}

// MaskPairs masks, in place, texts of the form NAME=value.
func MaskPairs(env []any) {
	for i, e := range env {
		if e, ok := e.(string); ok {
			if name, value, ok := strings.Cut(e, "="); ok {
				env[i] = name + "=" + MaskValue(name, value)
			}
		}
	}
}

// MaskLabels masks, in place, a map of names and texts: labels, options of drivers.
func MaskLabels(labels map[string]any) {
	for name, value := range labels {
		if value, ok := value.(string); ok {
			labels[name] = MaskValue(name, value)
		}
	}
}

// MaskArgs masks, in place, a command line. "--password x" is one text to MaskText but two
// arguments here.
func MaskArgs(args []any) {
	before := ""
	for i, a := range args {
		a, ok := a.(string)
		if !ok {
			continue
		}
		hidden := MaskText(a)
		if strings.HasPrefix(before, "--") && !strings.Contains(before, "=") {
			if after, ok := strings.CutPrefix(MaskText(before+" "+a), before+" "); ok {
				hidden = after
			}
		}
		args[i], before = hidden, a
	}
}

// MaskValue masks value if its name or its own form says that it is a secret;
// of a URL only the password is.
func MaskValue(name, value string) string {
	if secretPair(name, value) {
		return mask(value)
	}
	return MaskText(value)
}

// MaskText masks the secrets inside a line of text: passwords in URLs, tokens
// of known forms, assignments and options whose name says so, and logins fed
// to chpasswd or curl. An ENV, ARG or LABEL line of an image's history is read
// as the pairs that it is, for its values have lost their quotes there.
func MaskText(s string) string {
	if head, pairs, tail, ok := historyPairs(s); ok && pairs != "" {
		return head + maskPairs(pairs) + MaskText(tail)
	}
	for _, f := range forms {
		if !slices.ContainsFunc(f.hints, func(h string) bool { return strings.Contains(s, h) }) {
			continue // most values hold none, and a search is far cheaper than a match
		}
		s = replaceGroup(f.re, s, func(m []string) bool { return !reference(m[0]) })
	}
	return replaceAssignments(s)
}

// The forms of secrets. The last group of re is masked; a match holds one of
// the hints. Sources: RFC 3986 3.2.1 (userinfo), RFC 7519 (JWT), RFC 7468
// (PEM), RFC 9110 11.6.2 (Authorization), and the published prefixes of AWS,
// Docker, GitHub, GitLab, Google, Hugging Face, npm, PyPI, SendGrid, Slack and
// Stripe.
var forms = []struct {
	re    *regexp.Regexp
	hints []string
}{
	{regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://[^\s/:@'"]*:([^\s/'"]+)@`), []string{"://"}},
	{regexp.MustCompile(`(-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?s:.*?)(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|$))`), []string{"PRIVATE KEY-----"}},
	{regexp.MustCompile(`\b((?:AKIA|ASIA)[0-9A-Z]{16})\b`), []string{"AKIA", "ASIA"}},
	{regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})`), []string{"gh"}},
	{regexp.MustCompile(`\b(glpat-[A-Za-z0-9_-]{20,})`), []string{"glpat-"}},
	{regexp.MustCompile(`\b(xox[abprs]-[A-Za-z0-9-]{10,})`), []string{"xox"}},
	{regexp.MustCompile(`\b([rs]k_live_[A-Za-z0-9]{16,})`), []string{"k_live_"}},
	{regexp.MustCompile(`\b(AIza[0-9A-Za-z_-]{35})`), []string{"AIza"}},
	{regexp.MustCompile(`\b(npm_[A-Za-z0-9]{36})`), []string{"npm_"}},
	{regexp.MustCompile(`\b(pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]+)`), []string{"pypi-"}},
	{regexp.MustCompile(`\b(dckr_pat_[A-Za-z0-9_-]{20,})`), []string{"dckr_pat_"}},
	{regexp.MustCompile(`\b(hf_[A-Za-z0-9]{30,})`), []string{"hf_"}},
	{regexp.MustCompile(`\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})`), []string{"SG."}},
	{regexp.MustCompile(`\b(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})`), []string{"eyJ"}},
	{regexp.MustCompile(`(?i)authorization:\s*(?:basic|bearer|token)\s+([^\s'"]+)`), []string{"uthorization", "UTHORIZATION"}},
	{regexp.MustCompile(`["']?\b[a-z_][a-z0-9_-]*:([^\s"'|;&]+)["']?\s*\|\s*(?:\S*/)?chpasswd\b`), []string{"chpasswd"}},
	{regexp.MustCompile(`\b(?:curl|wget)\b[^;&|]*?\s(?:-u|--user)[ =]?["']?[^\s:"'-][^\s:"']*:([^\s"']+)`), []string{"curl", "wget"}},
}

// A NAME=value or --name value in a line. Groups: name, separator, value.
var (
	assignment = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.-]*)(=)("[^"]*"|'[^']*'|[^\s;&|"',]+)`)
	option     = regexp.MustCompile(`(?:^|\s)--([A-Za-z][A-Za-z0-9-]*)(\s+)("[^"]*"|'[^']*'|[^\s;&|"'-][^\s;&|"']*)`)
)

// replaceGroup masks the last group of each match for which ok(groups) holds.
func replaceGroup(re *regexp.Regexp, s string, ok func(groups []string) bool) string {
	var b strings.Builder
	end := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, -1) {
		groups := make([]string, 0, 3)
		for i := 2; i < len(m); i += 2 {
			groups = append(groups, s[m[i]:m[i+1]])
		}
		if !ok(groups) {
			continue
		}
		from, to := m[len(m)-2], m[len(m)-1]
		b.WriteString(s[end:from])
		b.WriteString(mask(s[from:to]))
		end = to
	}
	b.WriteString(s[end:])
	return b.String()
}

func replaceAssignments(s string) string {
	if !strings.Contains(s, "=") && !strings.Contains(s, "--") {
		return s
	}
	s = replaceGroup(assignment, s, func(m []string) bool { // libsecret-1-0=0.20.5 and token==1.2 are packages
		return secretPair(m[0], strings.Trim(m[2], `"'`)) && !strings.HasPrefix(m[2], "=") && !aVersion.MatchString(m[2])
	})
	return replaceGroup(option, s, func(m []string) bool { // --recv-keys ID is no secret: the name must be certain
		return secretName(m[0]) == certain && !placeholder(strings.Trim(m[2], `"'`)) && !strings.HasPrefix(m[2], "id=")
	})
}

var (
	instruction = regexp.MustCompile(`^((?:/bin/sh -c #\(nop\)\s+)?(?:ENV|ARG|LABEL)\s+)(.*)$`)
	buildArgs   = regexp.MustCompile(`^((?:RUN )?\|\d+ )(.*?)( /bin/\S+ .*| cmd /S .*| powershell .*|$)`)
	nextPair    = regexp.MustCompile(`\s[A-Za-z_][A-Za-z0-9_.-]*=`)
)

// historyPairs splits a line of an image's history that carries NAME=value
// pairs: an ENV, ARG or LABEL instruction, or a RUN whose build arguments the
// builder has put before it ("|1 TOKEN=x /bin/sh -c …").
func historyPairs(s string) (head, pairs, tail string, ok bool) {
	if m := instruction.FindStringSubmatch(s); m != nil && strings.Contains(m[2], "=") {
		return m[1], m[2], "", true
	}
	if m := buildArgs.FindStringSubmatch(s); m != nil {
		return m[1], m[2], m[3], true
	}
	return "", "", "", false
}

// maskPairs masks "A=b C=d e F=g": a value goes on until the next name.
func maskPairs(s string) string {
	var out strings.Builder
	for s != "" {
		end := len(s)
		if eq := strings.IndexByte(s, '='); eq >= 0 {
			if next := nextPair.FindStringIndex(s[eq:]); next != nil {
				end = eq + next[0]
			}
		}
		name, value, ok := strings.Cut(s[:end], "=")
		if ok {
			bare, comment, _ := strings.Cut(value, " # buildkit")
			out.WriteString(name + "=" + MaskValue(strings.TrimSpace(name), bare))
			if comment != "" || bare != value {
				out.WriteString(" # buildkit" + comment)
			}
		} else {
			out.WriteString(name)
		}
		s = s[end:]
	}
	return out.String()
}

// secretPair reports whether value, under this name, is a secret.
func secretPair(name, value string) bool {
	switch secretName(name) {
	case certain:
		return !placeholder(value)
	case perhaps:
		return !placeholder(value) && random(value)
	}
	return false
}

// NamesSecret reports whether a name alone says that its value is a secret.
func NamesSecret(name string) bool { return secretName(name) == certain }

// A suspicion is what a name alone says about its value.
type suspicion uint8

const (
	harmless suspicion = iota
	perhaps            // something_KEY: a secret if the value looks random
	certain            // DB_PASSWORD
)

var (
	// Words that name a secret, and words that do so as the end of a longer
	// one: PGPASSWORD.
	secretWords  = words("PASSWORD PASSWORDS PASSWD PASSPHRASE PASSWRD SECRET SECRETS TOKEN APIKEY CREDENTIAL CREDENTIALS")
	secretEnds   = []string{"PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "SECRET", "TOKEN", "SECRETKEY", "PRIVATEKEY", "ACCESSKEY"}
	secretTails  = words("PASS PWD PW") // only as the last word: DB_PWD, not PASS_THROUGH
	keyOf        = words("API SECRET PRIVATE ACCESS ENCRYPTION ENCRYPT SIGNING MASTER AUTH SESSION ACCOUNT STORAGE APP JWT HMAC SHARED ADMIN DEPLOY")
	perhapsWords = words("KEY KEYS TOKENS SALT AUTH SEED COOKIE PIN PEPPER") // MAX_TOKENS=4096 is none
	// Words that make the rest public, or data about a secret and not the
	// secret: PASSWORD_FILE, TOKEN_TTL, GPG_KEY.
	publicWords = words("PUBLIC PUB GPG PGP GPGKEY GPGKEYS FINGERPRINT CHECKSUM SHA SHA1 SHA256 SHA512 MD5 DIGEST KEYSERVER KEYBOARD KEYRING KEYRINGS")
	aboutWords  = words("FILE FILES PATH DIR NAME NAMES URL URI ENDPOINT TTL EXPIRY EXPIRE EXPIRES EXPIRATION LENGTH LEN SIZE TYPE POLICY HEADER " +
		"ALGORITHM ALG ISSUER AUDIENCE ENABLED ENABLE DISABLED REQUIRED ROTATION INTERVAL COUNT LIMIT TIMEOUT VERSION FORMAT FIELD PROVIDER STORE " +
		"BACKEND SERVICE HOST PORT REGION MOUNT PREFIX SOURCE MODE USER USERNAME ID ARN REF AGE DAYS LIFETIME ATTEMPTS COMPLEXITY STDIN SERVER METHOD SOCK SCOPE MANAGER DRIVER CLASS MIN MAX")
)

// switchWords begin the name of a switch: --disabled-password, ALLOW_EMPTY_PASSWORD.
var switchWords = words("DISABLE DISABLED NO NOT WITHOUT ALLOW SKIP EMPTY REQUIRE PERMIT")

func words(s string) []string { return strings.Fields(s) }

// secretName weighs a name by its whole words: MONKEY, KEYBOARD_LAYOUT and
// COMPASS_MODE hold none of them, dbPassword and DB_PWD do.
func secretName(name string) suspicion {
	ws := tokens(name)
	if len(ws) == 0 || name == "PWD" || name == "OLDPWD" { // the shell's working directories
		return harmless
	}
	last := ws[len(ws)-1]
	if slices.Contains(switchWords, ws[0]) || slices.Contains(aboutWords, last) || slices.ContainsFunc(ws, func(w string) bool { return slices.Contains(publicWords, w) }) {
		return harmless
	}
	for i, w := range ws {
		switch {
		case slices.Contains(secretWords, w), w == last && slices.Contains(secretTails, w):
			return certain
		case len(w) > 6 && slices.ContainsFunc(secretEnds, func(e string) bool { return strings.HasSuffix(w, e) }):
			return certain
		case w == "KEY" && i > 0 && slices.Contains(keyOf, ws[i-1]):
			return certain
		}
	}
	if slices.Contains(perhapsWords, last) {
		return perhaps
	}
	return harmless
}

// tokens splits a name into its words, upper case: at everything that is not a
// letter or digit, between lower and upper case, and before a number at the end.
func tokens(name string) []string {
	var ws []string
	var w []rune
	flush := func() {
		if len(w) > 0 {
			ws = append(ws, strings.ToUpper(string(w)))
		}
		w = w[:0]
	}
	var before rune
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
		case unicode.IsUpper(r) && unicode.IsLower(before):
			flush()
			w = append(w, r)
		default:
			w = append(w, r)
		}
		before = r
	}
	flush()
	if n := len(ws); n > 0 { // PASSWORD2 is PASSWORD, and SHA256 stays
		if cut := strings.TrimRight(ws[n-1], "0123456789"); cut != "" && !slices.Contains(publicWords, ws[n-1]) {
			ws[n-1] = cut
		} else if cut == "" && n > 1 {
			ws = ws[:n-1]
		}
	}
	return ws
}

var (
	aPath     = regexp.MustCompile(`^(?:file://)?~?/[A-Za-z0-9._@-]+(?:/[A-Za-z0-9._@-]*)*$`)
	aVersion  = regexp.MustCompile(`^(?:\d+:)?\d+(?:\.\d+)+[0-9A-Za-z.~+-]*$`)
	aNumeral  = regexp.MustCompile(`^\d{1,3}[smhd]?$`)
	plainWord = words("true false yes no on off none null nil enabled disabled optional required")
)

// placeholder reports whether value stands for a secret that is elsewhere, or
// for none: empty, a reference, a path, a switch.
func placeholder(value string) bool {
	return value == "" || reference(value) || slices.Contains(plainWord, strings.ToLower(value)) ||
		aNumeral.MatchString(value) || aPath.MatchString(value) && !random(value[1:])
}

// reference reports whether value names where the secret is: a variable, a
// template, a secret store.
func reference(value string) bool {
	value = strings.TrimLeft(value, `"'\`)
	for _, p := range []string{"$", "{{", "<", "`", "%{", "vault:", "secret://", "arn:aws:", "op://", "ref+"} {
		if strings.HasPrefix(value, p) {
			return true
		}
	}
	return false
}

// random reports whether value looks like the output of a generator: at least
// 16 characters of one word, letters and digits mixed, and hardly a repetition.
// Shannon's entropy of so short a text says little more than how many
// different characters it has, so those are counted: half of 16, or 10.
func random(value string) bool {
	if len(value) < 16 || strings.ContainsAny(value, " \t,:\\{}()*") {
		return false
	}
	var letter, digit bool
	seen := map[rune]bool{}
	for _, r := range value {
		letter = letter || unicode.IsLetter(r)
		digit = digit || unicode.IsDigit(r)
		seen[r] = true
	}
	return letter && digit && len(seen) >= 10
}
