package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// guarded are the files of CIS Docker 1.8.0, section 3: their owner and their
// widest mode, and the bad mode that they are given.
var guarded = []struct {
	role, path  string // @ is the engine's directory
	owner, mode string // numbers
	wide, tight string // modes: the bad one, and what casco must leave of it
	group       string
}{
	{"unit", "/etc/systemd/system/docker.service", "3.1", "3.2", "0666", "0644", "root"},
	{"socket-unit", "/etc/systemd/system/docker.socket", "3.3", "3.4", "0775", "0644", "root"},
	{"config-dir", "/etc/docker", "3.5", "3.6", "0777", "0755", "root"},
	{"registry-cert", "/etc/docker/certs.d/registry:5000/ca.crt", "3.7", "3.8", "0664", "0444", "root"},
	{"tls-ca", "@/tls/ca.pem", "3.9", "3.10", "0666", "0444", "root"},
	{"tls-cert", "@/tls/cert.pem", "3.11", "3.12", "0644", "0444", "root"},
	{"tls-key", "@/tls/key.pem", "3.13", "3.14", "0644", "0400", "root"},
	{"docker-socket", "@/docker.sock", "3.15", "3.16", "0666", "0660", "docker"},
	{"daemon-json", "@/daemon.json", "3.17", "3.18", "0666", "0644", "root"},
	{"default-docker", "/etc/default/docker", "3.19", "3.20", "0660", "0640", "root"},
	{"sysconfig-docker", "/etc/sysconfig/docker", "3.22", "3.21", "0646", "0644", "root"},
	{"containerd-socket", "@/ctrd.sock", "3.23", "3.24", "0777", "0660", "root"},
}

func TestFiles(t *testing.T) {
	e := realdocker.Start(t)
	e.Image("web:1")
	certificates(t, filepath.Join(e.Root, "tls"))
	outside.Write(t, e.Config, strings.ReplaceAll(`{"tlsverify": true, "tlscacert": "@/tls/ca.pem", "tlscert": "@/tls/cert.pem", "tlskey": "@/tls/key.pem",
		"hosts": ["unix://@/docker.sock", "tcp://127.0.0.1:2376"]}`, "@", e.Root))
	e.Restart()
	answers := service(t, e)
	for _, g := range guarded {
		path := strings.ReplaceAll(g.path, "@", e.Root)
		if strings.HasPrefix(path, "/etc/") && filepath.Ext(path) != "" || filepath.Dir(path) == "/etc/sysconfig" {
			outside.Write(t, path, "# made by a test\n")
		}
		good := func(t *testing.T) {
			t.Helper()
			outside.Tool(t, "chown", "root:"+g.group, path)
			outside.Tool(t, "chmod", g.tight, path)
		}
		good(t)
		fs := outside.Findings(t, e)
		for check, kind := range map[string]string{"owner": g.owner, "mode": g.mode} {
			if v := outside.Verdict(fs, "file-"+g.role+"-"+check, "file/"+path); v != "pass" {
				t.Errorf("%s: %s of %s in the good state: %q, want pass", kind, check, path, v)
			}
		}
		held := func(format, want string) func() string {
			return func() string {
				if got := outside.Tool(t, "stat", "-c", format, path); got != want {
					return path + " is " + got + ", want " + want
				}
				return ""
			}
		}
		look := func() string { return fileState(t, path) }
		t.Run(g.owner, func(t *testing.T) {
			outside.Tool(t, "chown", "1000:1000", path)
			check := "file-" + g.role + "-owner"
			turn(t, e, check, "file/"+path, []string{"--check", check, "--ref", "file/" + path}, look, held("%U:%G", "root:"+g.group), answers)
			good(t)
		})
		t.Run(g.mode, func(t *testing.T) {
			outside.Tool(t, "chmod", g.wide, path)
			check := "file-" + g.role + "-mode"
			turn(t, e, check, "file/"+path, []string{"--check", check, "--ref", "file/" + path}, look, held("%04a", g.tight), answers)
			good(t)
		})
	}
}

// certificates makes a CA and a certificate of an engine signed by it, as
// "Protect the Docker daemon socket" of the manual does.
func certificates(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	outside.Write(t, in("ext"), "subjectAltName=IP:127.0.0.1\n")
	outside.Tool(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=test CA", "-keyout", in("ca-key.pem"), "-out", in("ca.pem"))
	outside.Tool(t, "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=engine", "-keyout", in("key.pem"), "-out", in("csr.pem"))
	outside.Tool(t, "openssl", "x509", "-req", "-in", in("csr.pem"), "-CA", in("ca.pem"), "-CAkey", in("ca-key.pem"), "-CAcreateserial",
		"-days", "2", "-extfile", in("ext"), "-out", in("cert.pem"))
}
