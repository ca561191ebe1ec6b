package image

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"casco/loop/inventory"
)

// What a file may hold that opens a door, as Material.What says it.
const (
	privateKey     = "private-key"
	lockedKey      = "private-key-encrypted"
	authorizedKeys = "authorized-keys" // who may log in over SSH
	registryLogin  = "registry-login"
	login          = "login" // a name with its password or token
	cloudKey       = "cloud-key"
	clusterLogin   = "cluster-login"
	passwordHash   = "password-hash"
	keyStore       = "key-store"
	secretVariable = "secret-variable"
	secretHistory  = "secret-in-history"
)

// A rule says of a file of a certain name what it holds, if its text bears it
// out: an empty authorized_keys lets nobody in.
type rule struct {
	named func(p string) bool // of a path within the layer, "root/.ssh/authorized_keys"
	what  string
	holds func(text []byte) bool
}

// base is a rule's named for these file names, tail for these ends of a path.
func base(names ...string) func(string) bool {
	return func(p string) bool {
		b := path.Base(p)
		for _, n := range names {
			if b == n {
				return true
			}
		}
		return false
	}
}

func tail(ends ...string) func(string) bool {
	return func(p string) bool {
		for _, e := range ends {
			if p == e || strings.HasSuffix(p, "/"+e) {
				return true
			}
		}
		return false
	}
}

func ending(exts ...string) func(string) bool {
	return func(p string) bool {
		for _, e := range exts {
			if strings.HasSuffix(p, e) {
				return true
			}
		}
		return false
	}
}

// matches is a rule's holds for a pattern; the patterns are those of the
// programs' own manuals. A value that is a reference ($NAME, ${NAME}) is none.
func matches(pattern string) func([]byte) bool { return regexp.MustCompile(pattern).Match }

func begins(magic string) func([]byte) bool {
	return func(text []byte) bool { return bytes.HasPrefix(text, []byte(magic)) }
}

var rules = []rule{
	// sshd(8), AUTHORIZED_KEYS FILE FORMAT
	{func(p string) bool {
		return tail(".ssh/authorized_keys", ".ssh/authorized_keys2")(p) || strings.HasPrefix(p, "etc/ssh/authorized_keys")
	}, authorizedKeys, matches(`(?m)^[^#\n]*\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-|sk-)[^\n]* ?AAAA`)},
	// docker login; containers-auth.json(5)
	{tail(".docker/config.json", ".dockercfg", "containers/auth.json"), registryLogin, hasLogin},
	{base(".netrc", "_netrc"), login, matches(`\bpassword\s+[^\s$]`)}, // netrc(5)
	{base(".git-credentials"), login, matches(`://[^:/\s]+:[^@\s]+@`)},
	{tail(".git/config", ".gitconfig"), login, matches(`://[^:/\s]+:[^@$\s]+@`)},
	{base(".npmrc"), login, matches(`(?m)(?:_authToken|_password|_auth)\s*=\s*["']?[^\s$"']`)},
	{base(".yarnrc.yml"), login, matches(`(?m)npmAuth(?:Token|Ident):\s*["']?[^\s$"']`)},
	{base(".pypirc"), login, matches(`(?m)^\s*password\s*[:=]\s*[^\s$%]`)},
	{base(".pgpass"), login, matches(`(?m)^(?:[^:#\n]*:){4}[^\s]`)}, // libpq, The Password File
	{base(".my.cnf", ".mylogin.cnf"), login, matches(`(?m)^\s*password\s*=\s*["']?[^\s$"']`)},
	{tail(".config/gh/hosts.yml"), login, matches(`oauth_token:\s*[^\s]`)},
	{base(".vault-token"), login, matches(`\S`)},
	{base(".htpasswd", "htpasswd"), passwordHash, matches(`(?m)^[^:#\s]+:[^\s:]{10,}`)},
	{func(p string) bool { return p == "etc/shadow" || p == "etc/shadow-" }, passwordHash, matches(`(?m)^[^:\n]+:!?\$[^:\n]{8,}`)}, // crypt(5)
	{tail(".aws/credentials"), cloudKey, matches(`(?m)^\s*aws_(?:secret_access_key|session_token)\s*=\s*[^\s$]`)},
	{tail(".azure/accessTokens.json", ".azure/msal_token_cache.json"), cloudKey, matches(`(?i)"(?:accessToken|refreshToken|secret)"\s*:\s*"[^"]`)},
	{tail(".kube/config"), clusterLogin, matches(`(?m)^\s*(?:- )?(?:token|password|client-key-data):\s*["']?[^\s$"']`)},
	{ending(".kdbx"), keyStore, begins("\x03\xd9\xa2\x9a")},
	{ending(".p12", ".pfx"), keyStore, begins("\x30\x82")}, // RFC 7292: DER, a long SEQUENCE
	{func(p string) bool {
		b := path.Base(p)
		return (b == ".env" || strings.HasPrefix(b, ".env.")) && !ending(".example", ".sample", ".template", ".dist", ".test")(b)
	}, secretVariable, hasSecret},
	{base(".bash_history", ".ash_history", ".sh_history", ".zsh_history", ".psql_history", ".mysql_history", ".python_history"), secretHistory, hasSecret},
}

// Material is what a file with that path within its layer and that text holds,
// "" if nothing. The text may be cut after readMost bytes.
func material(p string, text []byte) string {
	if what := key(text, ending(".pem", ".key", ".crt", ".ppk")(p)); what != "" {
		return what
	}
	for _, r := range rules {
		if r.named(p) && r.holds(text) {
			return r.what
		}
	}
	if strings.HasSuffix(p, ".json") && serviceAccount.Match(text) {
		return cloudKey
	}
	return ""
}

// serviceAccount is the key file of a robot of Google Cloud.
var serviceAccount = regexp.MustCompile(`"private_key"\s*:\s*"-----BEGIN (?:RSA )?PRIVATE KEY-----`)

var (
	// RFC 7468 and its elders, and OpenPGP, RFC 9580 6.2.
	armour = regexp.MustCompile(`-----BEGIN ((?:RSA |DSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY|PGP PRIVATE KEY BLOCK)-----\r?\n((?:[A-Za-z-]+: [^\n]*\n)*)\s*([A-Za-z0-9+/=]{32,})`)
	putty  = regexp.MustCompile(`^PuTTY-User-Key-File-\d: [^\n]*\nEncryption: ([^\s]+)`)
)

// key is the kind of private key that text begins with, or if anywhere is set
// that stands in it: a source file that only speaks of keys is none.
func key(text []byte, anywhere bool) string {
	if m := putty.FindSubmatch(text); m != nil {
		return locked(string(m[1]) != "none")
	}
	at := armour.FindSubmatchIndex(text)
	if at == nil || at[0] > 0 && !anywhere {
		return ""
	}
	label, headers, body := string(text[at[2]:at[3]]), text[at[4]:at[5]], text[at[6]:at[7]]
	switch label {
	case "ENCRYPTED PRIVATE KEY":
		return lockedKey
	case "OPENSSH PRIVATE KEY":
		return locked(cipherOf(body) != "none")
	}
	return locked(bytes.Contains(headers, []byte("ENCRYPTED"))) // Proc-Type: 4,ENCRYPTED, RFC 1421 4.6.1.1
}

func locked(yes bool) string {
	if yes {
		return lockedKey
	}
	return privateKey
}

// cipherOf is the cipher of an OpenSSH key by its first line: "none" if nothing
// but the file protects it. PROTOCOL.key of OpenSSH: a magic, then the name as
// a string with its length before it.
func cipherOf(line []byte) string {
	const magic = "openssh-key-v1\x00"
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, _ := base64.StdEncoding.Decode(raw, line[:len(line)/4*4])
	name, ok := bytes.CutPrefix(raw[:n], []byte(magic))
	if !ok || len(name) < 4 {
		return ""
	}
	length := int(name[3]) // no cipher's name is longer than 255
	if len(name) < 4+length {
		return ""
	}
	return string(name[4 : 4+length])
}

// hasLogin reports whether the configuration of a Docker client holds a login,
// and not only the name of a helper that does.
func hasLogin(text []byte) bool {
	type entry struct{ Auth, Password, IdentityToken, RegistryToken string }
	var config struct{ Auths map[string]entry }
	var old map[string]entry // .dockercfg has no "auths" around them
	if json.Unmarshal(text, &config) != nil {
		return false
	}
	_ = json.Unmarshal(text, &old) // "auths" itself is an entry without a login
	for _, entries := range []map[string]entry{config.Auths, old} {
		for _, e := range entries {
			if e.Auth != "" || e.Password != "" || e.IdentityToken != "" || e.RegistryToken != "" {
				return true
			}
		}
	}
	return false
}

// hasSecret reports whether a line holds what would be masked if it were shown.
func hasSecret(text []byte) bool {
	for line := range bytes.Lines(text) {
		s := strings.TrimPrefix(strings.TrimSpace(string(line)), "export ")
		if !strings.HasPrefix(s, "#") && inventory.Masked(inventory.MaskText(s)) {
			return true
		}
	}
	return false
}

// named reports whether some rule wants the whole of a file with that path.
func named(p string) bool {
	for _, r := range rules {
		if r.named(p) {
			return true
		}
	}
	return ending(".pem", ".key", ".crt", ".ppk")(p)
}

// samples are directories whose keys are for trying a program out: those of a
// library's own tests open nothing.
var samples = regexp.MustCompile(`(?:^|/)(?:tests?|testing|testdata|test_data|testsuite|fixtures?|examples?|samples?|demos?|docs?|__tests__)/`)
