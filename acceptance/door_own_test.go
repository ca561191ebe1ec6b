package acceptance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A person is a user of the machine who is nobody else there, and asks the
// engine through the guard's door with the docker client as it is.
type person struct {
	t      testing.TB
	uid    uint32
	socket string
	home   string
}

// doorGroup may use the door.
const doorGroup = 4200

// opened starts a guard with a policy and a door that everybody in doorGroup may
// use, and returns what makes a person of a uid.
func opened(t *testing.T, w *netWorld, policy string) func(uid uint32) person {
	t.Helper()
	g := w.newGuard(policy)
	g.mode(false)
	dir, err := os.MkdirTemp("", "own-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "door.sock")
	g.more = []string{"--door", socket, "--door-group", "4200"}
	g.start()
	for range 200 {
		if exec.Command("docker", "-H", "unix://"+socket, "version").Run() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return func(uid uint32) person {
		home := filepath.Join(dir, "home"+string(rune('0'+uid%10)))
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(home, int(uid), doorGroup); err != nil {
			t.Fatal(err)
		}
		return person{t, uid, socket, home}
	}
}

func (p person) command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", args...)
	cmd.Dir = p.home
	cmd.Env = append(os.Environ(), "HOME="+p.home, "DOCKER_CONFIG="+p.home, "DOCKER_HOST=unix://"+p.socket, "DOCKER_CONTEXT=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: doorGroup}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p person) docker(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := p.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// does wants a command to work, and returns what it printed.
func (p person) does(args ...string) string {
	p.t.Helper()
	out, errs, err := p.docker(args...)
	if err != nil {
		p.t.Errorf("uid %d: docker %s: %v\n%s%s", p.uid, strings.Join(args, " "), err, out, errs)
	}
	return out
}

// cannot wants a command to fail with want among its words.
func (p person) cannot(want string, args ...string) {
	p.t.Helper()
	out, errs, err := p.docker(args...)
	if err == nil || !strings.Contains(out+errs, want) {
		p.t.Errorf("uid %d: docker %s: %v, want %q\n%s%s", p.uid, strings.Join(args, " "), err, want, out, errs)
	}
}

// TestReadOnly: who may only look looks with the docker client as it is, and sees
// all but values of environment variables.
func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("run", "-d", "--name", "db", "-e", "PASSWORD=hunter2", "-l", "a=b", w.image, "wait")
	auditor := opened(t, w, "admission: {mode: enforce, read_only: [\"uid:4201\"]}\n")(4201)

	var got, want []map[string]any
	for text, into := range map[string]*[]map[string]any{auditor.does("inspect", "db"): &got, w.e.Docker("inspect", "db"): &want} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	masked := false
	for i, e := range want[0]["Config"].(map[string]any)["Env"].([]any) {
		if name, _, _ := strings.Cut(e.(string), "="); true {
			want[0]["Config"].(map[string]any)["Env"].([]any)[i] = name + "=***"
			masked = masked || name == "PASSWORD"
		}
	}
	if !masked || !reflect.DeepEqual(got, want) {
		t.Errorf("docker inspect shows\n%v\nwant\n%v", got, want)
	}
	for _, args := range [][]string{{"inspect", "db"}, {"image", "inspect", w.image}, {"history", "--no-trunc", w.image}, {"ps", "-a"}, {"logs", "db"}, {"top", "db"}, {"stats", "--no-stream", "db"}, {"diff", "db"}, {"info"}, {"events", "--since", "1h", "--until", "0s"}, {"system", "df", "-v"}, {"network", "ls"}, {"volume", "ls"}, {"port", "db"}} {
		if out := auditor.does(args...); strings.Contains(out, "hunter2") {
			t.Errorf("docker %s tells a value:\n%s", strings.Join(args, " "), out)
		}
	}
	for _, args := range [][]string{{"cp", "db:/etc/hostname", "-"}, {"export", "db"}, {"exec", "db", "/probe", "exit", "0"}, {"rm", "-f", "db"}, {"run", w.image, "exit", "0"}, {"save", w.image}, {"commit", "db"}, {"top", "db", "e"}, {"logs", "--details", "db"}, {"stop", "db"}} {
		auditor.cannot("caller-read-only", args...)
	}
	auditor.cannot("received 403", "attach", "db")
	if state := w.e.Docker("inspect", "-f", "{{.State.Running}}", "db"); strings.TrimSpace(state) != "true" {
		t.Errorf("db: %s", state)
	}
}
