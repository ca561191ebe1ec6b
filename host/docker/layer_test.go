package docker

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/realdocker"
)

// TestLayerChanges lists a container's layer and holds it against what the
// engine says of it.
func TestLayerChanges(t *testing.T) {
	e := realdocker.Shared(t)
	e.Image("layer:1")
	e.Docker("run", "-d", "--name", "layer", "layer:1", "sleep", "100000")
	t.Cleanup(func() { e.Docker("rm", "-f", "-v", "layer") })
	e.Docker("exec", "layer", "sh", "-c", "mkdir -p /tmp/d /etc/cron.d; echo x >/tmp/dropper; chmod 755 /tmp/dropper; echo y >/etc/cron.d/job; rm -f /bin/busybox.gone; ln -s /etc /tmp/link; cp /bin/busybox /bin/copy; rm /bin/sh")
	c, err := New("unix://" + e.Socket)
	if err != nil {
		t.Fatal(err)
	}
	var said []change
	if err := c.Call(t.Context(), "GET", "/containers/layer/changes", nil, &said); err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := c.Call(t.Context(), "GET", "/containers/layer/json", nil, &fields); err != nil {
		t.Fatal(err)
	}
	seen, err := layerChanges(fields)
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(cs []change) map[string]int {
		m := map[string]int{}
		for _, c := range cs {
			m[c.Path] = c.Kind
		}
		return m
	}
	if d := cmp.Diff(kinds(said), kinds(seen)); d != "" {
		t.Errorf("the engine says (-), the layer says (+):\n%s", d)
	}
	executable := map[string]bool{}
	for _, c := range seen {
		executable[c.Path] = c.Executable
	}
	if !executable["/tmp/dropper"] || !executable["/bin/copy"] || executable["/etc/cron.d/job"] || executable["/tmp/d"] {
		t.Errorf("executable: %v", executable)
	}
	if kinds(seen)["/bin/sh"] != deleted {
		t.Errorf("a deleted file is not seen: %v", kinds(seen))
	}
	elsewhere := map[string]any{"GraphDriver": map[string]any{"Name": "overlay2", "Data": map[string]any{"UpperDir": "/nonexistent/upper"}}}
	if _, err := layerChanges(elsewhere); !errors.Is(err, errNoLayer) {
		t.Errorf("a layer that is not here: %v", err)
	}
}
