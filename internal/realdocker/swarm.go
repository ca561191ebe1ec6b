package realdocker

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
)

// Swarm starts two engines of one swarm, the manager first. A wire is between
// their hosts, "wire" on both, with the addresses 192.0.2.1 and 192.0.2.2.
func Swarm(t testing.TB) (manager, worker *Engine) {
	t.Helper()
	a, b := Start(t), Start(t)
	for _, args := range []string{
		"link add wire netns " + a.NetNS + " type veth peer name wire netns " + b.NetNS,
		"-n " + a.NetNS + " addr add 192.0.2.1/24 dev wire", "-n " + a.NetNS + " link set wire up",
		"-n " + b.NetNS + " addr add 192.0.2.2/24 dev wire", "-n " + b.NetNS + " link set wire up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	a.Docker("swarm", "init", "--advertise-addr", "192.0.2.1", "--task-history-limit", "1")
	b.Docker("swarm", "join", "--advertise-addr", "192.0.2.2", "--token", a.Docker("swarm", "join-token", "-q", "worker"), "192.0.2.1:2377")
	return a, b
}

// Attach starts a container in the background on a network of a swarm; the
// arguments are those of "docker run -d". A manager on a busy machine may take
// longer to attach it than the engine waits, 20 s: then it is tried again.
func (e *Engine) Attach(name string, args ...string) {
	e.t.Helper()
	var err error
	for range 5 {
		if _, err = e.TryDocker(append([]string{"run", "-d", "--name", name}, args...)...); err == nil {
			return
		}
		e.TryDocker("rm", "-f", name)
	}
	e.t.Fatal(err)
}

// ESPMark is put behind each packet of ESP that Sniff kept.
var ESPMark = []byte("<was packed in ESP>")

// Sniff keeps what passes over the wire of a swarm's engine, until it is asked
// for.
func (e *Engine) Sniff() (all func() []byte) {
	t := e.t
	t.Helper()
	ns, err := netns.GetFromName(e.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var fd int
	err = nsenter.Net(ns, func() (err error) {
		const every = 0x0300 // ETH_P_ALL in network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, every); err != nil {
			return err
		}
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil || !strings.Contains(string(b), "wire:") {
			t.Errorf("no wire: %v\n%s", err, b)
		}
		wait := unix.Timeval{Usec: 100_000}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan []byte)
	go func() {
		var kept []byte
		buf := make([]byte, 65536)
		for {
			select {
			case <-stop:
				unix.Close(fd)
				done <- kept
				return
			default:
			}
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if ll, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && ll.Protocol == 0x0008 && isBetween(buf[:n]) {
				kept = append(kept, buf[:n]...)
				if buf[14+9] == unix.IPPROTO_ESP {
					kept = append(kept, ESPMark...)
				}
			}
		}
	}()
	return func() []byte {
		time.Sleep(200 * time.Millisecond)
		close(stop)
		return <-done
	}
}

// isBetween reports whether a frame goes from one host to the other.
func isBetween(frame []byte) bool {
	const ip = 14
	return len(frame) > ip+20 && bytes.Equal(frame[ip+12:ip+15], []byte{192, 0, 2}) && bytes.Equal(frame[ip+16:ip+19], []byte{192, 0, 2})
}
