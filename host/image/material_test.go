package image

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
)

// newKey is a private key that nobody ever used, in PEM of that type.
func newKey(t testing.TB, label string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// opensshKey has the form of PROTOCOL.key as far as the name of the cipher.
func opensshKey(cipher string) string {
	raw := append([]byte("openssh-key-v1\x00\x00\x00\x00"), byte(len(cipher)))
	raw = append(append(raw, cipher...), bytes.Repeat([]byte{7}, 200)...)
	text := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	b.WriteString("-----BEGIN OPENSSH PRIVATE KEY-----\n")
	for len(text) > 70 {
		b.WriteString(text[:70] + "\n")
		text = text[70:]
	}
	return b.String() + text + "\n-----END OPENSSH PRIVATE KEY-----\n"
}

func TestMaterial(t *testing.T) {
	key := newKey(t, "PRIVATE KEY")
	for _, c := range []struct{ path, text, want string }{
		{"srv/deploy", key, privateKey},
		{"srv/deploy", newKey(t, "EC PRIVATE KEY"), privateKey},
		{"srv/tls.key", "Bag Attributes\n    friendlyName: x\n" + key, privateKey},
		{"srv/both.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" + key, privateKey},
		{"srv/notes.txt", "the file begins with\n" + key, ""}, // a text that shows one, where none is expected
		{"srv/pem.go", "-----BEGIN PRIVATE KEY-----\n` + body + `", ""},
		{"srv/cert.pem", "-----BEGIN CERTIFICATE-----\n" + strings.Repeat("A", 64) + "\n", ""},
		{"srv/pub.pem", "-----BEGIN PUBLIC KEY-----\n" + strings.Repeat("A", 64) + "\n", ""},
		{"srv/x", newKey(t, "ENCRYPTED PRIVATE KEY"), lockedKey},
		{"srv/x", strings.Replace(newKey(t, "RSA PRIVATE KEY"), "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1), lockedKey},
		{"root/.ssh/id_ed25519", opensshKey("none"), privateKey},
		{"root/.ssh/id_ed25519", opensshKey("aes256-ctr"), lockedKey},
		{"x.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\n", privateKey},
		{"x.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: aes256-cbc\r\n", lockedKey},
		{"a.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n" + strings.Repeat("A", 64) + "\n", privateKey},

		{"root/.ssh/authorized_keys", "ssh-ed25519 AAAAC3Nza me@there\n", authorizedKeys},
		{"home/x/.ssh/authorized_keys", "# nobody\nfrom=\"10.0.0.0/8\" ecdsa-sha2-nistp256 AAAAE2Vj x\n", authorizedKeys},
		{"root/.ssh/authorized_keys", "# ssh-ed25519 AAAAC3Nza gone\n\n", ""},
		{"etc/ssh/authorized_keys.d/core", "ssh-rsa AAAAB3Nza\n", authorizedKeys},
		{"root/.ssh/known_hosts", "there ssh-ed25519 AAAAC3Nza\n", ""},

		{"root/.docker/config.json", `{"auths": {"r.test": {"auth": "dTpw"}}}`, registryLogin},
		{"kaniko/.docker/config.json", `{"auths": {"r.test": {"identitytoken": "x"}}}`, registryLogin},
		{"root/.docker/config.json", `{"auths": {"r.test": {}}, "credsStore": "pass"}`, ""},
		{"root/.docker/config.json", `{"auths": {"r.test": `, ""},
		{"root/.dockercfg", `{"https://index.docker.io/v1/": {"auth": "dTpw", "email": "x"}}`, registryLogin},
		{"srv/config.json", `{"auths": {"r.test": {"auth": "dTpw"}}}`, ""},

		{"root/.netrc", "machine a login b password c\n", login},
		{"root/.netrc", "machine a login b password $PASSWORD\n", ""},
		{"root/.git-credentials", "https://u:p@git.test\n", login},
		{"srv/app/.git/config", "[remote \"origin\"]\n\turl = https://u:p@git.test/x\n", login},
		{"srv/app/.git/config", "[remote \"origin\"]\n\turl = git@git.test:x\n", ""},
		{"root/.npmrc", "//registry.test/:_authToken=abc\n", login},
		{"root/.npmrc", "//registry.test/:_authToken=${NPM_TOKEN}\n", ""},
		{"root/.pypirc", "[pypi]\nusername: x\npassword: y\n", login},
		{"root/.pgpass", "db:5432:*:app:secret\n", login},
		{"root/.my.cnf", "[client]\npassword=secret\n", login},
		{"root/.vault-token", "hvs.x\n", login},
		{"etc/nginx/.htpasswd", "u:$apr1$abcdefgh$ijklmnop\n", passwordHash},
		{"etc/shadow", "root:*:19000:0:99999:7:::\nbin:!:19000::::::\n", ""},
		{"etc/shadow", "root:$6$saltsalt$hashhashhash:19000:0:99999:7:::\n", passwordHash},
		{"root/.aws/credentials", "[default]\naws_access_key_id = x\naws_secret_access_key = y\n", cloudKey},
		{"root/.kube/config", "users:\n- name: x\n  user:\n    token: y\n", clusterLogin},
		{"root/.kube/config", "users:\n- name: x\n  user:\n    exec: {command: aws}\n", ""},
		{"srv/robot.json", `{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE"}`, cloudKey},
		{"srv/package.json", `{"name": "x"}`, ""},
		{"srv/vault.kdbx", "\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5", keyStore},
		{"srv/client.p12", "\x30\x82\x0a\x00", keyStore},
		{"srv/.env", "PORT=80\nexport DB_PASSWORD=correct-horse\n", secretVariable},
		{"srv/.env", "PORT=80\nDB_PASSWORD=$DB_PASSWORD\n# API_TOKEN=correct-horse\n", ""},
		{"srv/.env.production", "API_TOKEN=correct-horse\n", secretVariable},
		{"srv/.env.example", "API_TOKEN=correct-horse\n", ""},
		{"root/.bash_history", "ls\nmysql --password correct-horse\n", secretHistory},
		{"root/.bash_history", "ls\ncd /srv\n", ""},
	} {
		if got := material(c.path, []byte(c.text)); got != c.want {
			t.Errorf("%s:\n%.60s…\nis %q, want %q", c.path, c.text, got, c.want)
		}
	}
}

func TestSamples(t *testing.T) {
	for path, want := range map[string]bool{
		"usr/lib/python3/test/keycert.pem": true, "srv/testdata/k.pem": true, "usr/share/doc/x/examples/k.pem": true,
		"srv/contest/k.pem": false, "srv/attest.pem": false, "root/.ssh/id_rsa": false, "docs": false,
	} {
		if samples.MatchString(path) != want {
			t.Errorf("%s: sample is %v", path, !want)
		}
	}
}

// FuzzMaterial: a file of an image may hold anything.
func FuzzMaterial(f *testing.F) {
	f.Add("root/.ssh/id_rsa", []byte(opensshKey("none")))
	f.Add("root/.docker/config.json", []byte(`{"auths": {"a": {"auth": 1}}, "auth": []}`))
	f.Add("srv/.env", []byte("A=b\x00c\xff\n=\n"))
	f.Add("x.ppk", []byte("PuTTY-User-Key-File-3: \nEncryption: \n"))
	f.Add("k", []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA/////////////w==\n"))
	f.Fuzz(func(t *testing.T, path string, text []byte) {
		if what := material(path, text); strings.ContainsAny(what, " \n") {
			t.Errorf("%q", what) // a word of ours, never a part of the file
		}
	})
}
