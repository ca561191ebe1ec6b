package forward

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/loop/inventory"
)

// namespace makes a network namespace that lives as long as the test, and
// returns a process in it and a way to run programs there.
func namespace(t *testing.T) (pid int, run func(command string)) {
	t.Helper()
	handtest.NeedRoot(t)
	holder := exec.Command("unshare", "--net", "cat")
	in, err := holder.StdinPipe()
	if err == nil {
		err = holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = holder.Wait()
	})
	self, _ := os.Readlink("/proc/self/ns/net")
	for {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)); err == nil && ns != self {
			break
		}
	}
	return holder.Process.Pid, func(command string) {
		t.Helper()
		cmd := exec.Command("nsenter", "-t", fmt.Sprint(holder.Process.Pid), "-n", "sh", "-ec", command)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

func read(t *testing.T, pid int) string {
	t.Helper()
	o := &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/x"}, Fields: map[string]any{"Process": map[string]any{"Pid": int64(pid)}}}
	s := &inventory.Snapshot{}
	s.Add(o)
	if err := New().Read(t.Context(), s); err != nil || o.Unread != nil {
		t.Fatalf("%v %v", err, o.Unread)
	}
	f := o.Fields[field].(map[string]any)
	lines := []string{fmt.Sprint("IPv4 ", f["IPv4"])}
	for _, c := range f["Chains"].([]any) {
		m := c.(map[string]any)
		lines = append(lines, fmt.Sprint(m["Backend"], " ", m["Table"], " ", m["Chain"], " ", m["Policy"], "/", m["Ends"]))
	}
	return strings.Join(lines, "\n")
}

// TestKernel compares with what the tools were told, in a namespace of its own.
func TestKernel(t *testing.T) {
	for _, tt := range []struct{ name, run, want string }{
		{"empty", "echo 0 >/proc/sys/net/ipv4/ip_forward", "IPv4 false"},
		{"forwarding on", "echo 1 >/proc/sys/net/ipv4/ip_forward", "IPv4 true"},
		{"iptables", "echo 1 >/proc/sys/net/ipv4/ip_forward; iptables-nft -P FORWARD ACCEPT; iptables-nft -A FORWARD -i lo -j DROP", "IPv4 true\nnft ip filter FORWARD accept/accept"},
		{"iptables, closed", "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j ACCEPT", "nft ip filter FORWARD drop/drop"},
		{"iptables, closed by a rule", "iptables-nft -P FORWARD ACCEPT; iptables-nft -A FORWARD -i lo -j ACCEPT; iptables-nft -A FORWARD -j DROP", "nft ip filter FORWARD accept/drop"},
		{"nft as firewalld writes it", `nft 'table inet firewalld { chain f { type filter hook forward priority 10; policy accept; ct state established accept; log; reject with icmpx admin-prohibited; }; chain i { type filter hook input priority 10; policy drop; }; chain plain { drop; }; }'`, "nft inet firewalld f accept/drop"},
		{"IPv6 alone", `nft 'table ip6 f { chain f { type filter hook forward priority 0; policy drop; }; }'`, "IPv4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pid, run := namespace(t)
			run(tt.run)
			got := read(t, pid)
			if !strings.HasSuffix(got, tt.want) && !strings.HasPrefix(got, tt.want) || tt.want == "IPv4" && strings.Contains(got, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestLegacy compares with iptables-legacy, where the kernel has it.
func TestLegacy(t *testing.T) {
	pid, run := namespace(t)
	if out, err := exec.Command("nsenter", "-t", fmt.Sprint(pid), "-n", "iptables-legacy", "-L", "FORWARD").CombinedOutput(); err != nil {
		t.Skipf("no iptables-legacy on this kernel: %v %s", err, out)
	}
	for _, tt := range []struct{ run, want string }{
		{"iptables-legacy -P FORWARD ACCEPT", "legacy ip filter FORWARD accept/accept"},
		{"iptables-legacy -A FORWARD -i lo -j DROP", "legacy ip filter FORWARD accept/accept"},
		{"iptables-legacy -A FORWARD -j REJECT", "legacy ip filter FORWARD accept/drop"},
		{"iptables-legacy -A FORWARD -j ACCEPT", "legacy ip filter FORWARD accept/accept"},
		{"iptables-legacy -P FORWARD DROP", "legacy ip filter FORWARD drop/drop"},
	} {
		run(tt.run)
		if got := read(t, pid); !strings.Contains(got, tt.want) {
			t.Errorf("after %s:\n%s\nwant %s", tt.run, got, tt.want)
		}
	}
}

// rule is one of iptables-legacy as the kernel writes it.
func rule(verdict int32, name string, iface byte) []byte {
	b := make([]byte, entrySize+targetSize+8)
	b[16] = iface
	binary.NativeEndian.PutUint16(b[88:], entrySize)
	binary.NativeEndian.PutUint16(b[90:], uint16(len(b)))
	copy(b[entrySize+2:], name)
	binary.NativeEndian.PutUint32(b[entrySize+targetSize:], uint32(verdict))
	return b
}

func TestLegacyEnds(t *testing.T) {
	const accept = -2
	for _, tt := range []struct {
		name  string
		rules [][]byte // the last one is the policy
		want  string
	}{
		{"open", [][]byte{rule(accept, "", 0)}, "accept/accept"},
		{"closed", [][]byte{rule(verdictDrop, "", 0)}, "drop/drop"},
		{"by a rule", [][]byte{rule(verdictDrop, "", 'e'), rule(verdictDrop, "", 0), rule(accept, "", 0)}, "accept/drop"},
		{"by a rejection", [][]byte{rule(0, "REJECT", 0), rule(accept, "", 0)}, "accept/drop"},
		{"by a rule for one interface", [][]byte{rule(verdictDrop, "", 'e'), rule(accept, "", 0)}, "accept/accept"},
		{"a jump", [][]byte{rule(1234, "", 0), rule(accept, "", 0)}, "accept/accept"},
	} {
		var table []byte
		last := 0
		for _, r := range tt.rules {
			last = len(table)
			table = append(table, r...)
		}
		c, err := legacyEnds(table, 0, uint32(last))
		if diff := cmp.Diff(tt.want, c.policy+"/"+c.ends); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", tt.name, err, diff)
		}
	}
}

// FuzzLegacyEnds: a table that is not as it should be is an error, and ends.
func FuzzLegacyEnds(f *testing.F) {
	f.Add(append(rule(-1, "", 0), rule(-2, "", 0)...), uint32(0), uint32(152))
	f.Fuzz(func(_ *testing.T, table []byte, from, policyAt uint32) {
		_, _ = legacyEnds(table, from, policyAt)
	})
}

// FuzzNFT: the same of the replies of nftables.
func FuzzNFT(f *testing.F) {
	f.Add([]byte{unixInet, 0, 0, 0, 8, 0, 1, 0, 'a', 'b', 'c', 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = chainOf(b)
		closes(b)
		drops(b)
	})
}

const unixInet = 1
