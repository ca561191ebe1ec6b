package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"casco/guard/network"
	"casco/host/docker"
	"casco/host/spaces"
	"casco/lang"
)

// engine is an Engine behind its API. It may not be there yet.
type engine struct {
	address string

	mu     sync.Mutex // guards what follows
	client *docker.Client
}

// EngineAt is the engine that listens at address, as docker.New takes it, now
// or later.
func EngineAt(address string) Engine { return &engine{address: address} }

// reach connects the first time that the engine answers.
func (e *engine) reach() (*docker.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client != nil {
		return e.client, nil
	}
	c, err := docker.New(e.address)
	if err == nil {
		e.client = c
	}
	return c, err
}

func (e *engine) Networks(ctx context.Context) ([]spaces.NetworkJSON, error) {
	c, err := e.reach()
	if err != nil {
		return nil, err
	}
	var out []spaces.NetworkJSON
	return out, c.Call(ctx, http.MethodGet, "/networks", nil, &out)
}

func (e *engine) Ports(ctx context.Context, id string) ([]network.Published, error) {
	client, err := e.reach()
	if err != nil {
		return nil, err
	}
	var c struct {
		NetworkSettings struct {
			Ports map[string][]struct{ HostIp, HostPort string }
		}
	}
	if err := client.Call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &c); err != nil {
		return nil, err
	}
	return spaces.Ports(c.NetworkSettings.Ports), nil
}

func (e *engine) Overlay(ctx context.Context, id string) (spaces.OverlayJSON, error) {
	var out spaces.OverlayJSON
	c, err := e.reach()
	if err != nil {
		return out, err
	}
	return out, c.Call(ctx, http.MethodGet, "/networks/"+url.PathEscape(id)+"?verbose=true", nil, &out)
}

func (e *engine) Services(ctx context.Context) (map[string]spaces.ServiceJSON, error) {
	c, err := e.reach()
	if err != nil {
		return nil, err
	}
	var list []spaces.ServiceJSON
	if err := c.Call(ctx, http.MethodGet, "/services", nil, &list); err != nil {
		return nil, err
	}
	out := map[string]spaces.ServiceJSON{}
	for _, s := range list {
		out[s.Spec.Name] = s
	}
	return out, nil
}

// filters of the events that matter here.
const filters = `{"type":["container","network"],"event":["die","destroy","start","rename","create","connect","disconnect"]}`

var errEngineEnded = lang.Errorf(lang.Text{En: "the engine ended its events", Es: "el motor terminó sus eventos"})

func (e *engine) Events(ctx context.Context, begun func(), f func(EngineEvent)) error {
	client, err := e.reach()
	if err != nil {
		return err
	}
	res, err := client.Do(ctx, http.MethodGet, "/events?filters="+url.QueryEscape(filters), nil, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	begun()
	d := json.NewDecoder(res.Body)
	for {
		var ev EngineEvent
		if err := d.Decode(&ev); errors.Is(err, io.EOF) {
			return errEngineEnded
		} else if err != nil {
			return err
		}
		f(ev)
	}
}
