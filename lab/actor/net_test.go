package actor

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"casco/internal/handtest"
)

// counting starts a counter at addr, and returns its socket.
func counting(t *testing.T, addr string) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "at")
	begin(t, addr, "count", "-at", at, addr)
	for range 200 {
		if _, err := os.Stat(at); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for range 200 { // the connection by which begin saw that it listens
		if r, err := Order(at, Orders{}); err != nil {
			t.Fatal(err)
		} else if len(r.Counts.From) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := Order(at, Orders{Clear: true}); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestCounter: what is tried is counted by the one who got it, and nothing else.
func TestCounter(t *testing.T) {
	addr := free(t)
	port := addr[strings.IndexByte(addr, ':')+1:]
	at := counting(t, addr)
	for _, kind := range []string{"tcp", "udp"} {
		var out bytes.Buffer
		if code := Main([]string{"try", kind, addr, "tag" + kind + "x"}, &out, &out); code != 0 {
			t.Errorf("try %s: %d %s", kind, code, &out)
		}
	}
	var out bytes.Buffer
	if code := Main([]string{"try", "tcp", free(t)}, &out, &out); code != 1 || !strings.Contains(out.String(), "not reached") {
		t.Errorf("try nobody: %d %s", code, &out)
	}
	r, err := Order(at, Orders{Tries: []Try{{Kind: "udp", Addr: addr, Tag: "tag7x"}, {Kind: "dance", Addr: addr}}})
	if err != nil || len(r.Tried) != 2 || !r.Tried[0].Reached || r.Tried[1].Reached {
		t.Fatalf("%+v %v", r, err)
	}
	for key, want := range map[string]int{"udp tagudpx": 1, "tcp tagtcpx": 1, "udp tag7x": 1} {
		if r.Counts.Tags[key] != want {
			t.Errorf("%s: %d, want %d", key, r.Counts.Tags[key], want)
		}
	}
	if r.Counts.From["udp "+port+" 127.0.0.1"] != 2 || r.Counts.From["tcp "+port+" 127.0.0.1"] != 1 {
		t.Errorf("by source: %v", r.Counts.From)
	}
}

// TestFrames: frames, echo requests and broken tables go where they are sent:
// in a network namespace of the test's own, for they take root.
func TestFrames(t *testing.T) {
	handtest.NeedRoot(t)
	if os.Getenv("ACTOR_APART") == "" {
		cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestFrames$", "-test.v")
		cmd.Env = append(os.Environ(), "ACTOR_APART=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	setup := `ip link set lo up; ip netns add actor-far-$$; trap 'ip netns del actor-far-$$' EXIT
ip link add e type veth peer name e netns actor-far-$$; ip addr add 10.9.0.1/24 dev e; ip link set e up
ip -n actor-far-$$ addr add 10.9.0.2/24 dev e; ip -n actor-far-$$ link set lo up; ip -n actor-far-$$ link set e up
nft add table inet mine; echo ready actor-far-$$; read x`
	sh := exec.Command("sh", "-ec", setup)
	in, _ := sh.StdinPipe()
	out, _ := sh.StdoutPipe()
	sh.Stderr = os.Stderr
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	defer sh.Wait()
	defer in.Close()
	var ready, far string
	buf := make([]byte, 100)
	n, _ := out.Read(buf)
	if f := strings.Fields(string(buf[:n])); len(f) == 2 {
		ready, far = f[0], f[1]
	}
	if ready != "ready" {
		t.Fatal("no namespace")
	}
	at := filepath.Join(t.TempDir(), "at")
	c := exec.Command("ip", "netns", "exec", far, os.Args[0], "count", "-at", at, "10.9.0.2:7000")
	c.Env = append(os.Environ(), "ACTOR=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	for range 200 {
		if _, err := os.Stat(at); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, try := range []Try{
		{Kind: "frame", Addr: "10.9.0.2:7000", Tag: "tag1x"},
		{Kind: "frame", Addr: "10.9.0.2:7000", Tag: "tag2x", From: "10.9.0.9"},
		{Kind: "icmp", Addr: "10.9.0.2", Tag: "tag3x"},
		{Kind: "arp", Addr: "10.9.0.2", From: "10.9.0.7"},
		{Kind: "flush", Tag: "mine"},
	} {
		if r := try.Do(); !r.Reached && !(try.Kind == "flush" && strings.Contains(r.Err, "no such file")) {
			t.Errorf("%+v: %+v", try, r)
		}
	}
	var blown bytes.Buffer
	if code := Main([]string{"storm", "-ms", "30", "-kinds", "udp,tcp,frame", "-tag", "tag4x", "10.9.0.2:7000"}, &blown, os.Stderr); code != 0 {
		t.Error(code)
	}
	var s Storm
	if err := json.Unmarshal(blown.Bytes(), &s); err != nil || s.Sent < 10 || s.First["10.9.0.2:7000"] == 0 {
		t.Errorf("%s %v", &blown, err)
	}
	r, err := Order(at, Orders{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"udp tag1x", "udp tag2x", "icmp tag3x", "udp tag4x", "tcp tag4x"} {
		if r.Counts.Tags[key] == 0 {
			t.Errorf("%s did not arrive: %v", key, r.Counts.Tags)
		}
	}
	if r.Counts.From["udp 7000 10.9.0.9"] != 1 {
		t.Errorf("the forged source: %v", r.Counts.From)
	}
	if out, _ := exec.Command("nft", "list", "tables").Output(); strings.Contains(string(out), "mine") {
		t.Errorf("the table is still there: %s", out)
	}
}
