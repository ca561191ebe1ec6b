package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"casco/host/docker"
	"casco/loop/apply"
	"casco/loop/plan"
)

// TestNotHere leaves a record alone that was made elsewhere, or whose engine
// does not answer: no state of it is saved.
func TestNotHere(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answerPings(l)
	engine, err := docker.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		h    *host
		rec  apply.Record
		want string
	}{
		{"no engine", &host{name: "h", trouble: errors.New("nobody listens")}, apply.Record{Host: "h", Engine: "unix://" + socket}, "nobody listens"},
		{"another engine", &host{name: "h", engine: engine}, apply.Record{Host: "h", Engine: "unix:///other"}, "unix:///other"},
		{"another host", &host{name: "h", engine: engine}, apply.Record{Host: "i", Engine: "unix://" + socket}, `"i"`},
		{"here", &host{name: "h", engine: engine}, apply.Record{Host: "h", Engine: "unix://" + socket}, ""},
	} {
		a := &app{statePath: t.TempDir(), err: os.Stderr}
		c.rec.ID, c.rec.State, c.rec.Plan = "1-x", apply.Applying, &plan.Plan{Schema: plan.Schema}
		if err := a.state().Save(&c.rec); err != nil {
			t.Fatal(err)
		}
		err := a.finish(t.Context(), c.h)
		after, readErr := a.state().Record("1")
		if readErr != nil {
			t.Fatal(readErr)
		}
		if c.want == "" {
			if err != nil || after.State != apply.Undone {
				t.Errorf("%s: %v, %s", c.name, err, after.State)
			}
			continue
		}
		if !errors.Is(err, errNotHere) || !strings.Contains(err.Error(), c.want) || after.State != apply.Applying {
			t.Errorf("%s: %v, %s", c.name, err, after.State)
		}
	}
}

func answerPings(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"))
		c.Close()
	}
}
