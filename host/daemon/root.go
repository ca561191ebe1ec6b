package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"casco/loop/inventory"
)

// dataRoot reads where the engine keeps images and containers, and whether
// that is a file system of its own. Dev and RootDev are st_dev, as stat(2) of
// the engine's own process would give them.
func (r *reader) dataRoot() {
	path, _, _ := inventory.DaemonRootDir.Of(r.o) // with userns-remap below the data-root
	if path == "" {
		path, _ = r.effective["data-root"].(string)
	}
	if path == "" {
		r.unread("DataRoot", fmt.Errorf("neither the engine nor its settings name it"))
		return
	}
	dev, err := device(r.p.inside(path))
	if err != nil {
		r.unread("DataRoot", err)
		return
	}
	root, err := device(r.p.path("root/"))
	if err != nil {
		r.unread("DataRoot", err)
		return
	}
	table, err := os.ReadFile(r.p.path("mountinfo"))
	if err != nil {
		r.unread("DataRoot", err)
		return
	}
	at, fstype := mountOf(string(table), resolved(r.p, path))
	r.put("DataRoot", r.p.path("mountinfo"), map[string]any{
		"Path": path, "Dev": int64(dev), "RootDev": int64(root), "Mount": at, "FSType": fstype,
	})
}

// resolved follows links of path where p shares our mount namespace; elsewhere
// a link could lead us out of its root.
func resolved(p process, path string) string {
	if !p.sameNamespace("mnt") {
		return path
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// mountOf finds the mount point that path lies on in a mount table, and its
// file system. Fields of a line, proc(5): ID parent major:minor root
// mountpoint options [tag…] - fstype source superoptions. Of two mounts on one
// point the later one counts.
func mountOf(table, path string) (at, fstype string) {
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 1 {
			continue
		}
		point := unescape(left[4])
		if within(path, point) && len(point) >= len(at) {
			at, fstype = point, right[0]
		}
	}
	return at, fstype
}

func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// unescape undoes the octal escapes of blanks in mountinfo, proc(5).
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
