package guard

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"casco/internal/outside"
)

const app = "registry.example/app:1"

// cli runs docker on a socket, free of the user's own configuration.
func (w *wire) cli(socket string, args ...string) (string, error) {
	cmd := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(w.e.Root, "cli"), "DOCKER_CONTEXT=", "DOCKER_BUILDKIT=0")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// sockets are the door and, past it, the engine's own.
func (w *wire) sockets() []string { return []string{w.door(), w.e.Socket} }

// refuses wants docker to be refused by a rule at both sockets, and the engine
// to be as it was.
func (w *wire) refuses(t *testing.T, rule string, args ...string) {
	t.Helper()
	for _, socket := range w.sockets() {
		before := w.state()
		out, err := w.cli(socket, args...)
		if err == nil || !strings.Contains(out, "("+rule+")") {
			t.Errorf("docker %s at %s: %v, want a refusal by %s:\n%s", strings.Join(args, " "), filepath.Base(socket), err, rule, out)
		}
		if d := changed(before, w.state()); d != nil {
			t.Errorf("docker %s at %s: changed %s", strings.Join(args, " "), filepath.Base(socket), d)
		}
	}
}

// does wants docker to do as it is told at both sockets.
func (w *wire) does(t *testing.T, args ...string) {
	t.Helper()
	for _, socket := range w.sockets() {
		if out, err := w.cli(socket, args...); err != nil {
			t.Errorf("docker %s at %s: %v\n%s", strings.Join(args, " "), filepath.Base(socket), err, out)
		}
	}
}

// listening are the ports of the host below 1024 on which somebody listens, by
// ss(8), but for the registry's.
func (w *wire) listening(t *testing.T) []int {
	t.Helper()
	out, err := w.e.Enter("ss", "-Hltn").Output()
	if err != nil {
		t.Fatal(err)
	}
	var ports []int
	for line := range strings.Lines(string(out)) {
		local := strings.Fields(line)[3]
		port, err := strconv.Atoi(local[strings.LastIndexByte(local, ':')+1:])
		if err != nil {
			t.Fatalf("ss: %s", line)
		}
		if port < 1024 && local != "127.0.0.1:80" {
			ports = append(ports, port)
		}
	}
	return ports
}

// unjudged shows what an engine does of which nobody judges the requests.
func (w *wire) unjudged(t *testing.T) {
	// P-23: it publishes on a privileged port.
	w.e.Docker("run", "-d", "--name", "low", "-p", "127.0.0.1:81:81", app)
	if got := w.listening(t); !slices.Contains(got, 81) {
		t.Errorf("nobody listens on port 81: %d", got)
	}
	w.e.Docker("rm", "-f", "low")
	// P-25: a live connect opens the other level.
	w.e.Docker("network", "connect", "data", "web")
	if !w.reaches("web", "db", "data") {
		t.Error("web does not get to db")
	}
	w.e.Docker("network", "disconnect", "data", "web")
}

// reaches reports whether one container gets to another's address: a port at
// which nobody listens answers that it is closed.
func (w *wire) reaches(from, to, network string) bool {
	addr := w.e.Docker("inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, to)
	_, err := w.e.TryDocker("exec", from, "nc", "-w", "1", addr, "9")
	return err != nil && strings.Contains(err.Error(), "refused")
}

// ports is P-23 and P-24: a published port below 1024, and one that nobody
// chose, are refused however they are asked for; the policy's exception passes,
// and only that.
func (w *wire) ports(t *testing.T) {
	w.under("ports: {allow: [\"proxy:443/tcp\"]}\nadmission: {mode: enforce}\n")
	const low, random = "container-privileged-port", "container-random-port"
	w.refuses(t, low, "run", "-d", "--name", "low", "-p", "127.0.0.1:81:81", app)
	w.refuses(t, low, "run", "-d", "--name", "low", "-p", "81:81/udp", app)
	w.refuses(t, low, "run", "-d", "--name", "low", "-p", "443:443", app)
	w.refuses(t, low, "run", "-d", "--name", "proxy", "-p", "80:80", app)
	w.refuses(t, low, "run", "-d", "--name", "proxy", "-p", "443:443", "-p", "444:443", app)
	w.refuses(t, low, "service", "create", "--detach", "--name", "s", "--publish", "83:80", "--no-resolve-image", app)
	w.refuses(t, random, "run", "-d", "--name", "any", "-P", app)
	w.refuses(t, random, "run", "-d", "--name", "any", "-p", "8080", app)
	w.refuses(t, random, "run", "-d", "--name", "any", "-p", "127.0.0.1::8080", app)
	for port, rule := range map[string]string{"84:80": low, "80": random} {
		file := filepath.Join(t.TempDir(), "compose.yaml")
		outside.Put(t, file, "version: '3'\nservices:\n  s:\n    image: "+app+"\n    network_mode: bridge\n    ports: ['"+port+"']\n")
		for _, socket := range w.sockets() {
			cmd := exec.Command("docker-compose", "-f", file, "-p", "wire", "up", "-d")
			cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+socket, "DOCKER_CONFIG="+filepath.Join(w.e.Root, "cli"))
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "("+rule+")") {
				t.Errorf("docker-compose up with %s: %v\n%s", port, err, out)
			}
		}
	}
	for _, to := range w.ways() { // what update does not read it might read one day
		a, err := w.ask(to, "", "POST", []byte("POST /v1.41/containers/api/update HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 51\r\n\r\n"+`{"PortBindings":{"80/tcp":[{"HostPort":"81"}]}}    `))
		if err != nil || a.rules() != "request-field" {
			t.Errorf("update with ports, %s: %d %s %v", to.name, a.status, a.text, err)
		}
	}
	if got := w.listening(t); len(got) > 0 {
		t.Errorf("ports below 1024: %d", got)
	}
	for _, socket := range w.sockets() {
		for _, args := range [][]string{{"run", "-d", "--name", "proxy", "-p", "443:443", app}, {"rm", "-f", "proxy"}, {"run", "-d", "--name", "high", "-p", "127.0.0.1:8081:81", app}, {"rm", "-f", "high"}} {
			if out, err := w.cli(socket, args...); err != nil {
				t.Errorf("docker %v: %v\n%s", args, err, out)
			}
			if args[2] == "--name" && args[3] == "proxy" {
				if got := w.listening(t); !slices.Contains(got, 443) {
					t.Errorf("the proxy does not listen: %d", got)
				}
			}
		}
	}
}

// tiers is P-25: containers are where the policy has them, none gets into a
// second tier, not while it runs either, and one of no tier is told of.
func (w *wire) tiers(t *testing.T) {
	w.under("admission: {mode: enforce}\n")
	for network, want := range map[string]string{"dmz": "web", "lan": "api dashboard", "data": "db"} {
		got := strings.Fields(w.e.Docker("network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", network))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("on %s: %s, want %s", network, got, want)
		}
	}
	w.refuses(t, "container-mixed-tiers", "network", "connect", "data", "web")
	w.refuses(t, "container-mixed-tiers", "network", "connect", "dmz", "db")
	w.refuses(t, "container-mixed-tiers", "run", "-d", "--name", "db9", "--network", "dmz", app)
	if w.reaches("web", "db", "data") {
		t.Error("web gets to db")
	}
	w.does(t, "run", "--rm", "--name", "nobody", "--network", "plain2", app, "true")
	w.e.Docker("run", "-d", "--name", "nobody", "--network", "plain2", app)
	defer w.e.Docker("rm", "-f", "nobody")
	if v := outside.Verdict(outside.Findings(t, w.e, "--policy", w.guard.policy), "container-tier-default", "container/nobody"); v != "fail" {
		t.Errorf("a container of no tier: container-tier-default is %q", v)
	}
}

// sign signs an image by its digest, as a person does, and puts the signature
// where the host looks for it.
func (w *wire) sign(t *testing.T, key, image string) {
	t.Helper()
	name := w.e.Docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", image)
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "casco-image", "-f", key)
	cmd.Stdin = strings.NewReader(name + "\n")
	sig, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, hex, _ := strings.Cut(name, "@sha256:")
	file := filepath.Join(w.guard.state, "images", "sha256-"+hex+"-"+filepath.Base(key)+".sig")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	outside.Put(t, file, string(sig))
}

// cosign signs what cosign would for an image, with openssl, and puts it beside the
// signatures for where.
func (w *wire) cosign(t *testing.T, key, repository, image, where string) {
	t.Helper()
	digestOf := func(image string) string {
		_, digest, _ := strings.Cut(w.e.Docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", image), "@")
		return digest
	}
	payload := filepath.Join(t.TempDir(), "payload")
	text := fmt.Sprintf(`{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, repository, digestOf(image))
	outside.Put(t, payload, text)
	sig, err := exec.Command("openssl", "dgst", "-sha256", "-sign", key, payload).Output()
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{"Base64Signature": sig, "Payload": []byte(text), "Cert": nil, "Chain": nil, "Bundle": nil})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.guard.state, "images", strings.Replace(digestOf(where), ":", "-", 1)+"-cosign.sig")
	outside.Put(t, file, string(line)+"\n")
}

// trusted is P-46: only an image that a key of the policy signed runs, by its
// digest, and nobody on the network is asked.
func (w *wire) trusted(t *testing.T) {
	dir := t.TempDir()
	for _, k := range []string{"ours", "theirs"} {
		outside.Tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, k))
	}
	outside.Put(t, filepath.Join(w.guard.policy, "image.pub"), outside.MustRead(t, filepath.Join(dir, "ours.pub")))
	w.under("registries: {allow: [registry.example], require: [signature], keys: {registry.example/*: image.pub}}\nadmission: {mode: enforce}\n")
	run := func(image string) []string { return []string{"run", "--rm", "--network", "none", image, "true"} }
	const unsigned = "image-unsigned"
	w.refuses(t, unsigned, run(app)...)
	w.sign(t, filepath.Join(dir, "theirs"), app)
	w.refuses(t, unsigned, run(app)...)
	w.sign(t, filepath.Join(dir, "theirs"), "evil.example/x:1")
	w.refuses(t, "image-registry", run("evil.example/x:1")...)
	w.refuses(t, unsigned, run("local/built")...) // of docker import
	tarball := filepath.Join(dir, "x.tar")
	w.e.Docker("save", "-o", tarball, "local/built")
	w.refuses(t, "image-import", "load", "-i", tarball)
	w.refuses(t, "image-import", "import", tarball, "registry.example/app:7")
	outside.Put(t, filepath.Join(dir, "Dockerfile"), "FROM "+app+"\nLABEL built=here\n")
	w.does(t, "build", "-q", "-t", "registry.example/built:1", dir)
	w.refuses(t, unsigned, run("registry.example/built:1")...)

	w.sign(t, filepath.Join(dir, "ours"), app)
	w.does(t, run(app)...)
	digest := w.e.Docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", app)
	w.hub.down.Store(true) // nobody answers for the registry
	w.does(t, run(digest)...)
	w.hub.down.Store(false)
	// The tag comes to name something else: its signature is not that one's.
	w.e.Docker("tag", "registry.example/data:1", app)
	w.refuses(t, unsigned, run(app)...)
	w.does(t, run(digest)...)
	w.e.Docker("tag", digest, app)
	w.e.Docker("rmi", "registry.example/built:1")
	w.cosigned(t, dir, run)
}

// cosigned is the same with a key pair of cosign.
func (w *wire) cosigned(t *testing.T, dir string, run func(string) []string) {
	const data, repository = "registry.example/data:1", "registry.example/data"
	keys := []string{filepath.Join(dir, "cosign.key"), filepath.Join(dir, "other.key")}
	for _, k := range keys {
		outside.Tool(t, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", k)
	}
	pub := outside.Tool(t, "openssl", "ec", "-in", keys[0], "-pubout")
	pub = pub[strings.Index(pub, "-----BEGIN"):] // beside what it says of its work
	outside.Put(t, filepath.Join(w.guard.policy, "image.pub"), outside.MustRead(t, filepath.Join(dir, "ours.pub"))+pub+"\n")
	w.under("registries: {allow: [registry.example], require: [signature], keys: {registry.example/*: image.pub}}\nadmission: {mode: enforce}\n")
	const unsigned = "image-unsigned"
	w.refuses(t, unsigned, run(data)...)
	w.cosign(t, keys[1], repository, data, data)
	w.refuses(t, unsigned, run(data)...)
	w.cosign(t, keys[0], repository, app, data) // that of another image
	w.refuses(t, unsigned, run(data)...)
	w.cosign(t, keys[0], "registry.example/app", data, data) // of another repository
	w.refuses(t, unsigned, run(data)...)
	w.cosign(t, keys[0], repository, data, data)
	w.does(t, run(data)...)
}

// forged is P-49: who must name an image by its digest gets that one, whatever
// its tag names by now, and whoever answers for the registry.
func (w *wire) forged(t *testing.T) {
	w.under("registries: {allow: [registry.example], require: [digest]}\nadmission: {mode: enforce}\n")
	run := func(image string) []string {
		return []string{"run", "--rm", "--network", "none", image, "true"}
	}
	digest := w.e.Docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", app)
	w.refuses(t, "image-digest", run(app)...)
	w.does(t, run(digest)...)

	id := w.e.Docker("image", "inspect", "-f", "{{.Id}}", app)
	_, first, _ := strings.Cut(digest, "@")
	w.hub.dated(t, first, "forged", time.Now().Add(-time.Hour))
	outside.Retag(t, w.hub, "/v2/app/manifests/", "forged", "1")
	w.e.Docker("pull", "-q", app)
	if now := w.e.Docker("image", "inspect", "-f", "{{.Id}}", app); now == id {
		t.Error("the tag was not moved")
	}
	w.refuses(t, "image-digest", run(app)...)
	if got := w.e.Docker("image", "inspect", "-f", "{{.Id}}", digest); got != id {
		t.Errorf("the digest names %s, it was %s", got, id)
	}
	w.does(t, run(digest)...)

	// Somebody on the way answers with another manifest.
	third := w.hub.dated(t, first, "third", time.Now().Add(-2*time.Hour))
	w.hub.swap.Store(&[2]string{"/v2/app/manifests/" + third, "/v2/app/manifests/forged"})
	for _, socket := range w.sockets() {
		if out, err := w.cli(socket, "run", "--rm", "--network", "none", "registry.example/app@"+third, "true"); err == nil || !strings.Contains(out, "manifest verification failed") {
			t.Errorf("a manifest that was swapped on the way: %v\n%s", err, out)
		}
	}
	w.hub.swap.Store(nil)
	w.does(t, run("registry.example/app@"+third)...)
	w.e.Docker("tag", digest, app)
}

// stale is P-50: an image that is older than the policy wants is refused, its
// successor runs. To go back to the older one takes an exception that a risk owner
// signed.
func (w *wire) stale(t *testing.T) {
	dir := t.TempDir()
	for _, k := range []string{"owner", "asker"} {
		outside.Tool(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, k))
	}
	w.under(fmt.Sprintf("people:\n- {id: ro1, roles: [risk-owner, approver, steward], keys: [%s]}\n- {id: op1, roles: [operator], keys: [%s]}\n",
		strings.TrimSpace(outside.MustRead(t, filepath.Join(dir, "owner.pub"))), strings.TrimSpace(outside.MustRead(t, filepath.Join(dir, "asker.pub")))) +
		"registries: {allow: [registry.example]}\nimages: {max_age: 60d}\nadmission: {mode: enforce}\n")
	_, first, _ := strings.Cut(w.e.Docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", app), "@")
	for tag, age := range map[string]time.Duration{"1.3.0": 120 * 24 * time.Hour, "1.4.0": 90 * 24 * time.Hour, "1.4.3": time.Hour} {
		w.hub.dated(t, first, tag, time.Now().Add(-age))
		w.e.Docker("pull", "-q", "registry.example/app:"+tag)
	}
	run := func(tag string) []string {
		return []string{"run", "--rm", "--network", "none", "registry.example/app:" + tag, "true"}
	}
	w.refuses(t, "image-age", run("1.4.0")...)
	w.does(t, run("1.4.3")...)

	granted := filepath.Join(w.guard.policy, "EX-1.yaml")
	t.Cleanup(func() {
		outside.Tool(t, "rm", "-f", granted, granted+".sig")
		w.guard.reload()
	})
	ask := exec.Command(w.guard.program, "--host", "unix://"+w.e.Socket, "--state", w.guard.state, "--policy", w.guard.policy, "--lang", "en",
		"exception", "ask", "image-age", "image/registry.example/app:1.4.0", "--reason", "back to the last release", "--expires", time.Now().AddDate(0, 0, 10).Format(time.DateOnly),
		"--by", "op1", "-o", granted)
	if out, err := ask.CombinedOutput(); err != nil {
		t.Fatalf("exception ask: %v\n%s", err, out)
	}
	w.guard.reload()
	w.refuses(t, "image-age", run("1.4.0")...) // nobody signed it
	outside.Tool(t, "ssh-keygen", "-q", "-Y", "sign", "-n", "casco-exception", "-f", filepath.Join(dir, "owner"), granted)
	w.guard.reload()
	w.does(t, run("1.4.0")...)
	w.refuses(t, "image-age", run("1.3.0")...) // it is for the one that it names
}

// overSSH is P-51 for ssh://: what comes that way is judged like all else, and the
// ledger has the user that ssh let in. The program ssh stands in for one that has
// logged in: what docker asks it to run, it runs as that user.
func (w *wire) overSSH(t *testing.T) {
	w.under("registries: {allow: [registry.example]}\nadmission: {mode: enforce}\n")
	const uid = "1777"
	dir := t.TempDir()
	outside.Write(t, filepath.Join(dir, "ssh"), `#!/bin/sh
while [ "$1" != docker ]; do shift; done
exec setpriv --reuid `+uid+` --regid 1001 --clear-groups env HOME=/nonexistent DOCKER_HOST=unix://`+w.door()+` "$@"
`)
	if err := os.Chmod(filepath.Join(dir, "ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	docker := func(args ...string) (string, error) {
		cmd := exec.Command("docker", append([]string{"-H", "ssh://op@host.example"}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	before := w.state()
	for rule, args := range map[string][]string{
		"container-sensitive-mount": {"run", "--rm", "-v", "/etc:/h", app, "true"},
		"container-privileged":      {"run", "--rm", "--privileged", app, "true"},
		"container-engine-socket":   {"run", "--rm", "-v", w.e.Socket + ":/s", app, "true"},
	} {
		if out, err := docker(args...); err == nil || !strings.Contains(out, "("+rule+")") {
			t.Errorf("docker %s over ssh: %v, want a refusal by %s:\n%s", strings.Join(args, " "), err, rule, out)
		}
	}
	if d := changed(before, w.state()); d != nil {
		t.Errorf("changed %s", d)
	}
	if out, err := docker("run", "--rm", "--network", "none", app, "true"); err != nil {
		t.Errorf("what is harmless over ssh: %v\n%s", err, out)
	}
	var log []byte
	var err error
	for range 40 { // it is written once a second
		log, err = exec.Command(w.guard.program, "--state", w.guard.state, "log", "show", "--kind", "decision", "--last", "20", "--format", "json").Output()
		if err == nil && strings.Contains(string(log), `"uid": `+uid) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("the ledger does not have who came over ssh: %v\n%.500s", err, log)
}

// mutual is the first half of P-51: the engine's port takes nobody without a
// certificate.
func (w *wire) mutual(t *testing.T) {
	c, err := w.dialIn("127.0.0.1:2376")
	if err != nil {
		t.Fatal(err)
	}
	if as, err := answers(c, []byte("GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"), "GET"); err == nil && as[0].status == 200 {
		t.Errorf("without TLS: %+v", as)
	}
	c.Close()
	if c, err = w.dialIn("127.0.0.1:2376"); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if as, err := answers(w.ca.stranger(c), []byte("GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"), "GET"); err == nil {
		t.Errorf("without a certificate: %+v", as)
	}
}

// anyPort shows what P-24 is against: an engine takes any port of the range that
// its host had when it started.
func (w *wire) anyPort(t *testing.T, image string) {
	for i, span := range [][2]int{{32768, 60999}, {41000, 41100}} {
		if i > 0 {
			w.sysctl("net.ipv4.ip_local_port_range", fmt.Sprintf("'%d %d'", span[0], span[1]))
			w.e.Restart()
		}
		w.e.Docker("run", "-d", "--name", "any", "-p", "80", image, "sleep", "1000")
		line, _, _ := strings.Cut(w.e.Docker("port", "any", "80/tcp"), "\n")
		port, err := strconv.Atoi(line[strings.LastIndexByte(line, ':')+1:])
		if err != nil || port < span[0] || port > span[1] {
			t.Errorf("docker port: %q, want one of %d", line, span)
		}
		if v := outside.Verdict(outside.Findings(t, w.e), "container-random-port", "container/any"); v != "fail" {
			t.Errorf("container-random-port of any: %q", v)
		}
		w.e.Docker("rm", "-f", "any")
	}
}

// TestPlainTCP is the other half of P-51: an engine that anybody reaches is
// found, from without and by a container; with the plugin in it nobody gets the
// host by it.
func TestPlainTCP(t *testing.T) {
	w := &wire{}
	w.netWorld = newWorld(t, "--dockerd-arg", "--host=tcp://0.0.0.0:2375")
	busy := w.e.Image("busy")
	if v := outside.Verdict(outside.Findings(t, w.e), "daemon-tls", "daemon/"+w.e.Socket); v != "fail" {
		t.Errorf("daemon-tls: %q", v)
	}
	if out, err := w.e.TryDocker("run", "--rm", busy, "sh", "-c", "wget -qO- http://$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'):2375/_ping"); err != nil || out != "OK" {
		t.Errorf("a container does not reach the port, which is there for everybody: %v %s", err, out)
	}
	w.anyPort(t, busy)
	tcp := func(args ...string) (string, error) {
		out, err := w.e.Enter("docker", append([]string{"-H", "tcp://127.0.0.1:2375"}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := tcp("run", "--rm", "-v", "/etc:/h", busy, "cat", "/h/hostname"); err != nil {
		t.Errorf("nobody judges, and it is refused: %v %s", err, out)
	}
	w.judged("admission: {mode: enforce}\n")
	before := w.state()
	for _, c := range []struct{ rule, args string }{
		{"container-sensitive-mount", "run --rm -v /etc:/h IMAGE true"},
		{"container-engine-socket", "run --rm -v " + w.e.Socket + ":/s IMAGE true"},
		{"container-privileged", "run --rm --privileged IMAGE true"},
	} {
		if out, err := tcp(strings.Fields(strings.ReplaceAll(c.args, "IMAGE", busy))...); err == nil || !strings.Contains(out, "("+c.rule+")") {
			t.Errorf("docker %s over TCP: %v, want a refusal by %s: %s", c.args, err, c.rule, out)
		}
	}
	if d := changed(before, w.state()); d != nil {
		t.Errorf("changed %s", d)
	}
	if out, err := tcp("run", "--rm", busy, "true"); err != nil {
		t.Errorf("what is harmless: %v %s", err, out)
	}
}

// call asks a registry of the world.
func (h *hub) call(t *testing.T, method, path, contentType string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
	}
	return rec
}

// dated publishes an image of repository app anew under a tag, as if it had been
// built at another time, and returns its digest (OCI image specification 1.1).
func (h *hub) dated(t *testing.T, from, tag string, created time.Time) (digest string) {
	t.Helper()
	got := h.call(t, http.MethodGet, "/v2/app/manifests/"+from, "", nil)
	var manifest map[string]any
	if err := json.Unmarshal(got.Body.Bytes(), &manifest); err != nil {
		t.Fatal(err)
	}
	config := manifest["config"].(map[string]any)
	blob := h.call(t, http.MethodGet, fmt.Sprintf("/v2/app/blobs/%s", config["digest"]), "", nil)
	var image map[string]any
	if err := json.Unmarshal(blob.Body.Bytes(), &image); err != nil {
		t.Fatal(err)
	}
	image["created"] = created.UTC()
	text, err := json.Marshal(image)
	if err != nil {
		t.Fatal(err)
	}
	config["digest"], config["size"] = fmt.Sprintf("sha256:%x", sha256.Sum256(text)), len(text)
	h.call(t, http.MethodPost, fmt.Sprintf("/v2/app/blobs/uploads/?digest=%s", config["digest"]), "application/octet-stream", text)
	if text, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	h.call(t, http.MethodPut, "/v2/app/manifests/"+tag, got.Header().Get("Content-Type"), text)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text))
}
