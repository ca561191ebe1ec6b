package docker

import (
	"errors"
	"os"
	"strings"
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
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mounted := func() map[string]layerDirs { return mountedLayers(string(table)) }
	dirs, err := layerOf(fields, mounted)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := layerChanges(dirs)
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
	if dirs, err := layerOf(elsewhere, mounted); err != nil {
		t.Error(err)
	} else if _, err := layerChanges(dirs); !errors.Is(err, errNoLayer) {
		t.Errorf("a layer that is not here: %v", err)
	}
	for _, c := range []map[string]any{
		{"Id": strings.Repeat("0", 64), "State": map[string]any{"Running": true}, "GraphDriver": map[string]any{"Name": "overlayfs", "Data": nil}},
		{"Id": fields["Id"], "State": map[string]any{"Running": true}, "GraphDriver": map[string]any{"Name": "zfs", "Data": map[string]any{"Dataset": "d"}}},
	} {
		if dirs, err := layerOf(c, mounted); !errors.Is(err, errNoLayer) {
			t.Errorf("%v: %v, %v", c, dirs, err)
		}
	}
}

func TestMountedLayers(t *testing.T) {
	a, b, c, d := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), strings.Repeat("d", 64)
	got := mountedLayers("22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" +
		"40 22 0:50 / /var/lib/docker/rootfs/overlayfs/" + a + " rw,relatime shared:66 - overlay overlay rw,lowerdir=/s/2/fs:/s/1/fs,upperdir=/s/3/fs,workdir=/s/3/work\n" +
		"41 22 0:51 / /var/lib/docker/rootfs/overlayfs/" + b + " rw - overlay overlay rw,lowerdir=2/fs:1/fs,upperdir=/s/4/fs,workdir=/s/4/work\n" +
		"42 22 0:52 / /mnt/" + c + " rw - overlay overlay rw,lowerdir=/x,upperdir=/etc,workdir=/w\n" +
		"43 22 0:53 / /var/lib/docker/rootfs/overlayfs/" + d + ` rw - overlay overlay rw,lowerdir=/s/a\:b,upperdir=/s/5/fs` + "\n" +
		"44 22\n")
	want := map[string]layerDirs{a: {"/s/3/fs", "/s/2/fs:/s/1/fs"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(layerDirs{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
