package daemonjson

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/internal/doorway"
	"casco/lang"
)

// An engine is the little of the Engine API that this package needs, over a
// unix socket. Paths without a version are answered in the engine's own.
type engine struct {
	socket string
	http   *http.Client
}

func dial(socket string) *engine {
	return &engine{socket, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // the engine behind the path may be another one the next time
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", doorway.Socket(socket))
		},
	}}}
}

// call sends in as JSON unless it is nil, and decodes the answer into out
// unless that is nil.
func (e *engine) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	res, err := e.send(ctx, method, path, body, "application/json")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	d := json.NewDecoder(res.Body)
	d.UseNumber()
	if err := d.Decode(out); err != nil {
		return lang.Errorf(lang.Text{En: "%s %s: reply: %w", Es: "%s %s: respuesta: %w"}, method, path, err)
	}
	return nil
}

// send returns the answer of a request that was not refused. The caller
// closes its body.
func (e *engine) send(ctx context.Context, method, path string, body io.Reader, contentType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	res, err := e.http.Do(req)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "engine at %s: %w", Es: "motor en %s: %w"}, e.socket, err)
	}
	if res.StatusCode < http.StatusBadRequest {
		return res, nil
	}
	defer res.Body.Close()
	var reply struct{ Message string }
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(b, &reply) != nil || reply.Message == "" {
		reply.Message = strings.TrimSpace(string(b))
	}
	err = fmt.Errorf("%s %s: %d: %s", method, path, res.StatusCode, reply.Message)
	if res.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w: %w", errGone, err)
	}
	return nil, err
}

func (e *engine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return e.call(ctx, http.MethodGet, "/_ping", nil, nil) == nil
}

// peer is the process that listens on the socket (SO_PEERCRED, unix(7)). It
// asks nothing. With socket activation it is systemd.
func (e *engine) peer() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: doorway.Socket(e.socket)}); err != nil {
		return 0, &fs.PathError{Op: "connect", Path: e.socket, Err: err}
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	return int(cred.Pid), nil
}

// A container is one that ran before the change.
type container struct {
	ID, Name string
	Paused   bool `json:",omitempty"`
}

// is reports whether r is c, perhaps created again.
func (c container) is(r container) bool { return r.ID == c.ID || r.Name == c.Name }

// errGone is the error of something that the engine no longer has.
var errGone = lang.Errorf(lang.Text{En: "is gone", Es: "ya no está"})

// start starts c, or what has its name now. It returns errGone if nothing has.
func (e *engine) start(ctx context.Context, c container) error {
	err := e.call(ctx, http.MethodPost, "/containers/"+c.ID+"/start", nil, nil)
	if errors.Is(err, errGone) {
		err = e.call(ctx, http.MethodPost, "/containers/"+c.Name+"/start", nil, nil)
	}
	return err
}

// running lists the containers that run, paused ones too. Those of Swarm are
// left out: it replaces its tasks by itself.
func (e *engine) running(ctx context.Context) ([]container, error) {
	var list []struct {
		ID     string `json:"Id"`
		Names  []string
		State  string
		Labels map[string]string
	}
	if err := e.call(ctx, http.MethodGet, "/containers/json", nil, &list); err != nil {
		return nil, err
	}
	out := []container{}
	for _, c := range list {
		if c.Labels["com.docker.swarm.task.id"] != "" {
			continue
		}
		name := c.ID
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		out = append(out, container{c.ID, name, c.State == "paused"})
	}
	return out, nil
}

// vanishing finds a container that would not be there any more after a
// restart of the engine: one of "docker run --rm". Live-restore does not save
// it: 20.10 removes it when it comes back, running or not (measured).
func (e *engine) vanishing(ctx context.Context, list []container) error {
	for _, c := range list {
		var got struct{ HostConfig struct{ AutoRemove bool } }
		if err := e.call(ctx, http.MethodGet, "/containers/"+c.ID+"/json", nil, &got); err != nil {
			return err
		}
		if got.HostConfig.AutoRemove {
			return lang.Errorf(lang.Text{
				En: "container %s was started with --rm and would be removed when the engine restarts, with live-restore too; stop it first, or run it without --rm",
				Es: "el contenedor %s se inició con --rm y se borraría al reiniciar el motor, también con live-restore; deténgalo antes, o ejecútelo sin --rm",
			}, c.Name)
		}
	}
	return nil
}

// A reload is the stream of reload events of an engine: one is sent once it
// has taken its file, none if it refused it.
type reload struct {
	body   io.ReadCloser
	cancel context.CancelFunc
	events chan map[string]string // closed with the stream
}

// reloads opens the stream. The goroutine ends when it is closed.
func (e *engine) reloads(ctx context.Context) (*reload, error) {
	ctx, cancel := context.WithTimeout(ctx, reloadTime)
	// since: the stream begins with what came after, also if it is slow to open.
	q := url.Values{"filters": {`{"type":["daemon"],"event":["reload"]}`}, "since": {stamp(time.Now())}}
	res, err := e.send(ctx, http.MethodGet, "/events?"+q.Encode(), nil, "")
	if err != nil {
		cancel()
		return nil, err
	}
	r := &reload{res.Body, cancel, make(chan map[string]string, 1)}
	go func() {
		defer close(r.events)
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			var ev struct {
				Actor struct{ Attributes map[string]string }
			}
			if json.Unmarshal(lines.Bytes(), &ev) == nil && ev.Actor.Attributes != nil {
				select {
				case r.events <- ev.Actor.Attributes:
				default: // one is enough
				}
			}
		}
	}()
	return r, nil
}

func (r *reload) close() {
	r.cancel()
	r.body.Close()
	for range r.events { // until the goroutine is done
	}
}

func stamp(t time.Time) string {
	return strconv.FormatInt(t.Unix(), 10) + "." + fmt.Sprintf("%09d", t.Nanosecond())
}
