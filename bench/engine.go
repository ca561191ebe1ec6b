package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// workers is how many requests are under way at once: more brought nothing on
// two cores.
const workers = 8

// An engine is the private engine, spoken to as barely as can be: what is
// measured must not be a client's own work.
type engine struct {
	socket string
	http   *http.Client
}

func newEngine(socket string) *engine {
	return &engine{socket, &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: workers,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// do returns the body of a reply. Into may be nil; otherwise it is decoded.
func (e *engine) do(method, path string, body io.Reader, into any) error {
	req, err := http.NewRequest(method, "http://engine/v1.41"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	if into != nil {
		return json.NewDecoder(res.Body).Decode(into)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// prepare makes the image of this machine's busybox and returns the engine's
// version.
func (e *engine) prepare() (version string, err error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("%w (scripts/setup installs it)", err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	head := &tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}
	if err := w.WriteHeader(head); err != nil {
		return "", err
	}
	if _, err := w.Write(program); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if err := e.do("POST", "/images/create?fromSrc=-&repo=bench&tag=1", &image, nil); err != nil {
		return "", err
	}
	var v struct{ Version string }
	return v.Version, e.do("GET", "/version", nil, &v)
}

// create makes the containers from..to; the first of all run.
func (e *engine) create(from, to, running int) error {
	var g errgroup.Group
	g.SetLimit(4)
	for i := from; i < to; i++ {
		g.Go(func() error {
			body, err := json.Marshal(map[string]any{
				"Image": "bench:1", "Cmd": []string{"/bin/busybox", "sleep", "100000"}, "Env": []string{"A=1", "B=2", "TOKEN=x"},
				"Labels":     map[string]string{"com.example.service": fmt.Sprint("s", i%20), "com.example.team": "t"},
				"HostConfig": map[string]any{"Memory": 64 << 20, "SecurityOpt": []string{"no-new-privileges"}, "Binds": []string{"bench:/data"}},
			})
			if err != nil {
				return err
			}
			name := fmt.Sprint("bench-", i)
			if err := e.do("POST", "/containers/create?name="+name, bytes.NewReader(body), nil); err != nil {
				return err
			}
			if i < running {
				return e.do("POST", "/containers/"+name+"/start", nil, nil)
			}
			return nil
		})
	}
	return g.Wait()
}

// floor is how long one list and one inspect for each container take, and how
// long the list alone.
func (e *engine) floor() (all, listing time.Duration, err error) {
	begun := time.Now()
	var list []struct {
		ID string `json:"Id"`
	}
	if err := e.do("GET", "/containers/json?all=1", nil, &list); err != nil {
		return 0, 0, err
	}
	listing = time.Since(begun)
	var g errgroup.Group
	g.SetLimit(workers)
	for _, c := range list {
		g.Go(func() error { return e.do("GET", "/containers/"+c.ID+"/json", nil, nil) })
	}
	err = g.Wait()
	return time.Since(begun), listing, err
}

// againstPeer runs docker-bench-security once, and casco a few times, with 10
// and with 40 running containers. The peer takes whichever dockerd is newest
// for the one to judge, so it is only timed here.
func (e *engine) againstPeer(casco, dir string, rounds int) error {
	fmt.Println("| containers | docker-bench-security s | casco s | ratio |\n|---|---|---|---|")
	have := 0
	for _, n := range []int{10, 40} {
		if err := e.create(have, n, n); err != nil {
			return err
		}
		have = n
		peer, err := e.peer(casco, dir)
		if err != nil {
			return err
		}
		var walls []time.Duration
		for range rounds {
			wall, _, err := audit(casco, e.socket)
			if err != nil {
				return err
			}
			walls = append(walls, wall)
		}
		wall := median(walls)
		fmt.Printf("| %d | %.1f | %.2f | %.0f |\n", n, peer.Seconds(), wall.Seconds(), float64(peer)/float64(wall))
	}
	return nil
}

// peer is how long docker-bench-security takes.
func (e *engine) peer(casco, dir string) (time.Duration, error) {
	script, err := filepath.Abs(filepath.Join(dir, "docker-bench-security.sh"))
	if err != nil {
		return 0, err
	}
	peer := exec.Command("bash", script, "-b", "-l", filepath.Join(filepath.Dir(casco), "peer.log"))
	peer.Dir = filepath.Dir(script) // it looks for its parts there
	peer.Env = append(os.Environ(), "DOCKER_HOST=unix://"+e.socket)
	begun := time.Now()
	out, err := peer.CombinedOutput()
	took := time.Since(begun)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if !strings.Contains(string(out), "Checks:") {
		return 0, fmt.Errorf("%s did not come to its end: %w: %.300s", script, err, out)
	}
	return took, nil
}
