package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Who attacks the door, and with how much.
const (
	hostile     = 4242 // user and group
	hostileAll  = 1000 // connections
	listObjects = 10_000
	// hostileLists are the connections on which lists are asked for: the engine itself
	// works for tenths of a second at each.
	hostileLists = 100
	// maxWait is how long root may wait for an answer meanwhile.
	maxWait = 5 * time.Second
)

// doorRoom has somebody send the longest bodies over many connections at once, and
// ask for long lists that must be changed for them, and looks at how much memory
// that takes of what the guard's unit gives it, and whether root is served.
func (e *engine) doorRoom(casco, home, door string, guard int) error {
	limit, err := memoryMax(casco, home)
	if err != nil {
		return err
	}
	for _, dir := range []string{home, filepath.Dir(home)} { // they come from elsewhere
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	making, _ := errgroup.WithContext(context.Background())
	making.SetLimit(4)
	for i := range listObjects {
		making.Go(func() error {
			return e.do("POST", "/volumes/create", strings.NewReader(fmt.Sprintf(`{"Name":"v%d","Labels":{"of":"%d"}}`, i, i)), nil)
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	group, err := confine(guard, limit)
	if err != nil {
		return err
	}
	defer group.leave()
	var body bytes.Buffer
	body.WriteString(`{"Image":"none:1","HostConfig":{"Mounts":[`)
	for i := 0; body.Len() < 1<<20-100; i++ {
		fmt.Fprintf(&body, `%s{"Type":"bind","Source":"/e%d"}`, map[bool]string{true: ","}[i > 0], i)
	}
	body.WriteString(`]}}`)
	fmt.Printf("connections at once, of one user; the guard's unit gives it %d MiB\n\n| what | answers | MiB at most | root waited |\n|---|---|---|---|\n", limit>>20)
	for _, a := range []struct {
		what, request string
		conns         int
	}{
		{"a container of the longest body", fmt.Sprintf("POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", body.Len(), body.Bytes()), hostileAll},
		{"half of the longest body", fmt.Sprintf("POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", body.Len(), body.Bytes()[:body.Len()/2]), hostileAll},
		{"half of the longest head", "GET /v1.41/_ping HTTP/1.1\r\nHost: d\r\nX: " + strings.Repeat("x", 200<<10), hostileAll},
		{fmt.Sprintf("a list of %d volumes", listObjects), "GET /v1.41/volumes HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", hostileLists},
		{"a list of containers", "GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", hostileLists},
	} {
		group.reset()
		statuses, waited, err := attack(door, []byte(a.request), a.conns)
		if err != nil {
			return fmt.Errorf("%s: %w", a.what, err)
		}
		peak := group.peak()
		var said []string
		for _, s := range slices.Sorted(maps.Keys(statuses)) {
			said = append(said, fmt.Sprintf("%d of %s", statuses[s], s))
		}
		fmt.Printf("| %s | %s | %d | %v |\n", a.what, strings.Join(said, ", "), peak>>20, waited.Round(time.Millisecond))
		if peak >= limit {
			err = fmt.Errorf("%s: the guard takes %d MiB", a.what, peak>>20)
		}
		if waited > maxWait && a.conns == hostileAll { // else it is the engine that has much to do
			err = errors.Join(err, fmt.Errorf("%s: root waited for %v", a.what, waited))
		}
		if err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

// attack sends a request over many connections at once, and returns what was
// answered, and how long root waited at most for a look at the engine.
func attack(door string, request []byte, conns int) (statuses map[string]int, waited time.Duration, err error) {
	over, rooted := make(chan bool), make(chan error, 1)
	go func() {
		root := newEngine(door)
		for {
			select {
			case <-over:
				rooted <- nil
				return
			case <-time.After(20 * time.Millisecond):
			}
			began := time.Now()
			if err := root.do("GET", "/version", nil, nil); err != nil {
				rooted <- fmt.Errorf("root: %w", err)
				return
			}
			waited = max(waited, time.Since(began))
		}
	}()
	statuses = map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range conns {
		c, err := dialAs(door, hostile)
		if err != nil {
			close(over)
			return nil, 0, errors.Join(err, <-rooted)
		}
		all.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			go func() { c.Write(request) }() // it may be refused before it is all sent
			res, err := http.ReadResponse(bufio.NewReaderSize(c, 4<<10), nil)
			said := "none"
			if err == nil {
				io.Copy(io.Discard, res.Body)
				said = strconv.Itoa(res.StatusCode)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[said]++
		})
	}
	all.Wait()
	close(over)
	return statuses, waited, <-rooted
}

// dialAs connects as another user, whom the kernel tells of: credentials are of a
// thread, and are those of connect(2).
func dialAs(socket string, id int) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	c := make(chan answer)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with what it became
		for _, call := range [][4]uintptr{{unix.SYS_SETRESGID, uintptr(id), uintptr(id), ^uintptr(0)}, {unix.SYS_SETRESUID, uintptr(id), uintptr(id), ^uintptr(0)}} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				c <- answer{nil, errno}
				return
			}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}
		if err != nil {
			c <- answer{nil, fmt.Errorf("as user %d: %w", id, err)}
			return
		}
		f := os.NewFile(uintptr(fd), socket)
		defer f.Close()
		conn, err := net.FileConn(f)
		c <- answer{conn, err}
	}()
	a := <-c
	return a.conn, a.err
}

// memoryMax is what the guard's unit gives it, in bytes.
func memoryMax(casco, home string) (int64, error) {
	script, err := exec.Command(casco, "--state", filepath.Join(home, "doored"), "guard", "units").Output()
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^MemoryMax=(\d+)M$`).FindSubmatch(script)
	if m == nil {
		return 0, errors.New("casco guard units says no MemoryMax")
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return n << 20, err
}

// A memory is a cgroup in which a process has so much, what the kernel holds for it
// included: of version 1 or 2 (cgroups(7)).
type memory struct {
	dir, home string
	version   int
	pid       int
	before    int64 // what it had already, which stays charged elsewhere
}

func confine(pid int, limit int64) (*memory, error) {
	g := &memory{version: 1, home: "/sys/fs/cgroup/memory", pid: pid}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g.version, g.home = 2, "/sys/fs/cgroup"
	}
	g.dir = filepath.Join(g.home, fmt.Sprintf("casco-bench-%d", os.Getpid()))
	mib, _, err := usage(pid)
	if err != nil {
		return nil, err
	}
	g.before = int64(mib * (1 << 20))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	err = errors.Join(g.write(map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[g.version], limit), g.write("cgroup.procs", int64(pid)))
	if err != nil {
		g.leave()
		return nil, err
	}
	return g, nil
}

func (g *memory) write(name string, n int64) error {
	return os.WriteFile(filepath.Join(g.dir, name), []byte(strconv.FormatInt(n, 10)), 0o600)
}

// reset begins to look for the most anew, where the kernel lets one.
func (g *memory) reset() {
	if g.version == 1 {
		_ = g.write("memory.max_usage_in_bytes", 0)
	}
}

// peak is the most that was used, in bytes.
func (g *memory) peak() int64 {
	for _, name := range []string{"memory.max_usage_in_bytes", "memory.peak", "memory.current"} {
		if b, err := os.ReadFile(filepath.Join(g.dir, name)); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			return g.before + n
		}
	}
	return 0
}

// leave puts the process back, if it lives.
func (g *memory) leave() {
	_ = os.WriteFile(filepath.Join(g.home, "cgroup.procs"), []byte(strconv.Itoa(g.pid)), 0o600)
	_ = os.Remove(g.dir)
}
