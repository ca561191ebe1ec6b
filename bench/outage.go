package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// servedPort is the port of the container that is probed, and of the engine's
// host on which it is published.
const servedPort = 8080

// polite ends at once when it is told to, as a server should: one that does
// not goes on serving until it is killed ten seconds later, whoever asks.
const polite = `trap 'exit 0' TERM; busybox httpd -p 8080 -h /bin; while :; do busybox sleep 1 & wait $!; done`

// outages measures for how long a served port does not answer: while the
// engine restarts a container, and while casco replaces the same container by
// one with no-new-privileges. Both are done in each round, each first in turn.
func (e *engine) outages(casco, home string, rounds int) error {
	fmt.Println("| round | docker restart ms | casco apply ms |\n|---|---|---|")
	var restarts, applies []time.Duration
	for i := range rounds {
		restart, apply, err := e.outageRound(casco, home, fmt.Sprint("served-", i), i%2 == 1)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Printf("| %d | %.0f | %.0f |\n", i+1, ms(restart), ms(apply))
		restarts, applies = append(restarts, restart), append(applies, apply)
	}
	restart, apply := median(restarts), median(applies)
	fmt.Printf("\noutage, median: docker restart %.0f ms, casco apply %.0f ms, ratio %.2f\n", ms(restart), ms(apply), float64(apply)/float64(restart))
	if float64(apply) > outageNoise*float64(restart) {
		return fmt.Errorf("re-creating a container stops its service for %.0f ms, longer than docker restart's %.0f ms", ms(apply), ms(restart))
	}
	return nil
}

// outageNoise is by how much two equal outages may differ: half of either is
// the kernel's and runc's, and a round differs from the next by a fifth.
const outageNoise = 1.1

func (e *engine) outageRound(casco, home, name string, applyFirst bool) (restart, apply time.Duration, err error) {
	if err := e.serve(name); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, e.clear(name)) }()
	plan := filepath.Join(filepath.Dir(casco), name+".plan")
	doRestart := func() (err error) {
		restart, err = outage(home, func() error { return e.do("POST", "/containers/"+name+"/restart", nil, nil) })
		return err
	}
	doApply := func() (err error) {
		// The plan is made and approved before, as it is on any host.
		if err := e.casco(casco, 5, "plan", "--ref", "container/"+name, "--check", "container-no-new-privileges", "-o", plan); err != nil {
			return err
		}
		if err := e.casco(casco, 0, "approve", plan); err != nil {
			return err
		}
		apply, err = outage(home, func() error { return e.casco(casco, 0, "apply", plan) })
		return err
	}
	if applyFirst {
		return restart, apply, errors.Join(doApply(), doRestart())
	}
	err = errors.Join(doRestart(), doApply())
	return restart, apply, err
}

// serve starts a container that answers on servedPort.
func (e *engine) serve(name string) error {
	port := fmt.Sprintf("%d/tcp", servedPort)
	body, err := json.Marshal(map[string]any{
		"Image": "bench:1", "Cmd": []string{"/bin/busybox", "sh", "-c", polite}, "Env": []string{"PATH=/bin"},
		"ExposedPorts": map[string]any{port: struct{}{}},
		"HostConfig":   map[string]any{"PortBindings": map[string]any{port: []any{map[string]string{"HostPort": fmt.Sprint(servedPort)}}}},
	})
	if err != nil {
		return err
	}
	if err := e.do("POST", "/containers/create?name="+name, bytes.NewReader(body), nil); err != nil {
		return err
	}
	return e.do("POST", "/containers/"+name+"/start", nil, nil)
}

// clear removes the container of a round, and the one that casco keeps.
func (e *engine) clear(name string) error {
	var list []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := e.do("GET", "/containers/json?all=1", nil, &list); err != nil {
		return err
	}
	var errs []error
	for _, c := range list {
		if len(c.Names) > 0 && (c.Names[0] == "/"+name || strings.HasPrefix(c.Names[0], "/"+name+".")) {
			errs = append(errs, e.do("DELETE", "/containers/"+c.ID+"?force=1", nil, nil))
		}
	}
	return errors.Join(errs...)
}

// casco runs a verb of casco, which must end with that exit code.
func (e *engine) casco(casco string, code int, args ...string) error {
	args = append([]string{"-H", "unix://" + e.socket, "--state", filepath.Join(filepath.Dir(casco), "state"), "--yes"}, args...)
	cmd := exec.Command(casco, args...)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != code {
		return fmt.Errorf("casco %s: exit code %d, want %d: %s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), code, out)
	}
	return nil
}

const (
	probeEvery    = time.Millisecond
	probeWait     = 20 * time.Millisecond // for one answer; a served one comes in less than one
	probePatience = 30 * time.Second
)

// outage asks the served port each millisecond, before act, while it is done,
// and until there is an answer after it; it returns the longest time between
// two answers.
func outage(home string, act func() error) (time.Duration, error) {
	ready, done := make(chan struct{}), make(chan struct{})
	var longest time.Duration
	var probing errgroup.Group
	probing.Go(func() (err error) {
		longest, err = probe(home, ready, done)
		return err
	})
	<-ready
	err := act()
	close(done)
	err = errors.Join(err, probing.Wait())
	return longest, err
}

// probe closes ready at the first answer, or if there will be none, and ends
// with the first one after done. Its thread enters the engine's network, and
// ends with it.
func probe(home string, ready, done chan struct{}) (longest time.Duration, err error) {
	started := false
	defer func() {
		if !started {
			close(ready)
		}
	}()
	runtime.LockOSThread() // and never unlocked: the thread is not fit for anybody else
	name, err := os.ReadFile(filepath.Join(home, "netns"))
	if err != nil {
		return 0, err
	}
	ns, err := os.Open("/run/netns/" + strings.TrimSpace(string(name)))
	if err != nil {
		return 0, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return 0, err
	}
	for last := time.Now(); time.Since(last) < probePatience; time.Sleep(probeEvery) {
		over := closed(done)
		if !answers() {
			continue
		}
		if started {
			longest = max(longest, time.Since(last))
		} else {
			started = true
			close(ready)
		}
		if last = time.Now(); over {
			return longest, nil
		}
	}
	return 0, fmt.Errorf("the port has not answered for %s", probePatience)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// answers reports whether a server is there that answers: docker-proxy alone
// would take the connection too.
func answers() bool {
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", servedPort), probeWait)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(probeWait)); err != nil {
		return false
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	var b [5]byte
	_, err = io.ReadFull(c, b[:])
	return err == nil && string(b[:]) == "HTTP/"
}
