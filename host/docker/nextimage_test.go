package docker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRebase: what a container has from its image it then has from the next
// one; what its creator wished for stays.
func TestRebase(t *testing.T) {
	decode := func(text string) (m map[string]any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	const was = `{"Env":["PATH=/bin","V=1","OLD=1"],"Cmd":["run"],"Entrypoint":["/app"],"User":"app","WorkingDir":"/one","StopSignal":"TERM",
		"Labels":{"v":"1","by":"us"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Healthcheck":{"Test":["CMD","one"]}}`
	const next = `{"Env":["PATH=/usr/bin","V=2","NEW=1"],"Cmd":["serve"],"Entrypoint":["/app2"],"User":"other","WorkingDir":"/two",
		"Labels":{"v":"2","by":"us"},"ExposedPorts":{"8080/tcp":{}},"Volumes":{"/data":{},"/more":{}},"Healthcheck":{"Test":["CMD","two"]}}`
	for _, tt := range []struct{ name, config, want string }{
		{
			"all from the image", was,
			`{"Env":["PATH=/usr/bin","V=2","NEW=1"],"Cmd":["serve"],"Entrypoint":["/app2"],"User":"other","WorkingDir":"/two",
			"Labels":{"v":"2","by":"us"},"ExposedPorts":{"8080/tcp":{}},"Volumes":{"/data":{},"/more":{}},"Healthcheck":{"Test":["CMD","two"]}}`,
		},
		{
			"own wishes",
			`{"Env":["V=mine","MODE=prod","PATH=/bin","OLD=1"],"Cmd":["mine"],"Entrypoint":["/app"],"User":"0","WorkingDir":"/w","StopSignal":"INT","Tty":true,
			"Labels":{"v":"mine","by":"us","team":"web"},"ExposedPorts":{"80/tcp":{},"81/tcp":{}},"Volumes":{"/data":{},"/own":{}},"Healthcheck":{"Test":["NONE"]}}`,
			`{"Env":["V=mine","MODE=prod","PATH=/usr/bin","NEW=1"],"Cmd":["mine"],"Entrypoint":["/app2"],"User":"0","WorkingDir":"/w","StopSignal":"INT","Tty":true,
			"Labels":{"v":"mine","by":"us","team":"web"},"ExposedPorts":{"8080/tcp":{},"81/tcp":{}},"Volumes":{"/data":{},"/more":{},"/own":{}},"Healthcheck":{"Test":["NONE"]}}`,
		},
		{
			"own entrypoint without a command",
			`{"Env":null,"Cmd":null,"Entrypoint":["sh"],"User":"","WorkingDir":"","Labels":null,"ExposedPorts":null,"Volumes":null}`,
			`{"Env":["PATH=/usr/bin","V=2","NEW=1"],"Cmd":null,"Entrypoint":["sh"],"User":"other","WorkingDir":"/two",
			"Labels":{"v":"2","by":"us"},"ExposedPorts":{"8080/tcp":{}},"Volumes":{"/data":{},"/more":{}},"Healthcheck":{"Test":["CMD","two"]}}`,
		},
	} {
		n := nextImage{Was: decode(was), Config: decode(next)}
		config := decode(tt.config)
		n.rebase(config)
		if diff := cmp.Diff(decode(tt.want), config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
