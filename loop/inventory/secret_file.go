package inventory

import (
	"path"
	"regexp"
	"strings"
)

// keyFile is the name of a file that holds a private key or a login: ssh-keygen(1),
// netrc(5), libpq's .pgpass, gitcredentials(7), and the usual endings.
var keyFile = regexp.MustCompile(`^(?:id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.git-credentials|\.?htpasswd|.*\.(?:key|pfx|p12|kdbx|jks|ppk))$`)

// publicKey is the name of a file that holds only public keys after all.
var publicKey = regexp.MustCompile(`pub|signing|trust|cacerts|apt|gpg`)

// KeyFile reports whether a path is that of a private key or a login, by its
// name.
func KeyFile(p string) bool {
	base := path.Base(p)
	login := strings.HasSuffix(p, ".docker/config.json") || strings.HasSuffix(p, ".aws/credentials")
	return login || keyFile.MatchString(base) && !publicKey.MatchString(base) && !strings.Contains(p, "://")
}

// privateFile is the name of a file that is for those who work on a project and
// usually has logins in it: variables for Compose and other programs (a sample
// of them has none), npmrc(5), pypirc, and Terraform's state.
var (
	privateFile = regexp.MustCompile(`^(?:\.env(?:\..+)?|\.npmrc|\.pypirc|.*\.tfstate)$`)
	sampleFile  = regexp.MustCompile(`(?i)(?:example|sample|template|dist|default)s?$`)
)

// PrivateFile reports whether a path of a source tree is one that should not be
// given away: a KeyFile, or one for those who work on it.
func PrivateFile(p string) bool {
	base := path.Base(p)
	return KeyFile(p) || privateFile.MatchString(base) && !sampleFile.MatchString(base)
}
