package daemon

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Where systemd looks for units of the system and of a user, the strongest
// first: systemd.unit(5). The user's own ~/.config/systemd/user comes before.
var (
	systemUnits = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	userUnits   = []string{"/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user", "/lib/systemd/user"}
)

// unit finds the systemd unit that the process runs in, by its cgroup. A unit
// file that merely lies on the disk says nothing about this process.
func (r *reader) unit() {
	b, err := os.ReadFile(r.p.path("cgroup"))
	if err != nil {
		r.unread("Unit", err)
		return
	}
	name, user := unitOf(b)
	if name == "" {
		return
	}
	dirs := systemUnits
	if user {
		dirs = append([]string{filepath.Join(r.p.env()["HOME"], ".config/systemd/user")}, userUnits...)
	}
	if u := unitFiles(dirs, name, user); startsEngine(u) {
		r.put("Unit", r.p.path("cgroup"), u)
	}
}

// startsEngine: a dockerd that a cron job or a login service started is in
// that unit's cgroup too, but the unit is not its own.
func startsEngine(u map[string]any) bool {
	for _, path := range append([]any{u["FragmentPath"]}, u["DropIns"].([]any)...) {
		b, err := os.ReadFile(path.(string))
		if err == nil && bytes.Contains(b, []byte("dockerd")) {
			return true
		}
	}
	return false
}

// unitFiles finds the files of a service: its unit, its drop-ins in the order
// in which systemd reads them, and its socket unit if there is one.
func unitFiles(dirs []string, name string, user bool) map[string]any {
	base := strings.TrimSuffix(name, ".service")
	u := map[string]any{"Name": name, "User": user, "FragmentPath": first(dirs, name), "DropIns": dropIns(dirs, name)}
	if socket := socketOf(dirs, u["FragmentPath"].(string), base); socket != "" {
		u["SocketPath"] = socket
	}
	return u
}

func first(dirs []string, name string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// dropIns are NAME.d/*.conf and service.d/*.conf of all directories. Of two
// with one file name the stronger directory's counts; they are read in the
// order of their names.
func dropIns(dirs []string, name string) []any {
	byName := map[string]string{}
	for _, dir := range dirs {
		for _, sub := range []string{name + ".d", "service.d"} {
			paths, _ := filepath.Glob(filepath.Join(escapeGlob(dir), escapeGlob(sub), "*.conf"))
			for _, path := range paths {
				if _, ok := byName[filepath.Base(path)]; !ok {
					byName[filepath.Base(path)] = path
				}
			}
		}
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	out := []any{}
	for _, n := range names {
		out = append(out, byName[n])
	}
	return out
}

var escapeGlob = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace

// socketOf is the file of the socket unit: the one that Sockets= of the
// service names, or the one of the same name.
func socketOf(dirs []string, fragment, base string) string {
	names := []string{base + ".socket"}
	if b, err := os.ReadFile(fragment); err == nil {
		for scan := bufio.NewScanner(bytes.NewReader(b)); scan.Scan(); {
			if v, ok := strings.CutPrefix(strings.TrimSpace(scan.Text()), "Sockets="); ok {
				names = append(strings.Fields(v), names...)
			}
		}
	}
	for _, n := range names {
		if path := first(dirs, n); path != "" {
			return path
		}
	}
	return ""
}

// unitOf takes the unit from /proc/PID/cgroup: the last part that ends in
// .service of systemd's own hierarchy (name=systemd, or the unified one).
// Below user@1000.service it is one of the user's manager.
func unitOf(cgroups []byte) (name string, user bool) {
	for line := range bytes.Lines(cgroups) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		for part := range strings.SplitSeq(parts[2], "/") {
			if !strings.HasSuffix(part, ".service") {
				continue
			}
			if strings.HasPrefix(part, "user@") {
				user = true
				continue
			}
			name = part
		}
		if name != "" {
			return name, user
		}
		user = false
	}
	return "", false
}
