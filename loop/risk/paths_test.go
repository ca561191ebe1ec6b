package risk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

func texts(ps []Path) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Text().En)
	}
	return out
}

func TestPaths(t *testing.T) {
	front := []any{"HostConfig.PortBindings", publish("80/tcp", "", "8080")}
	web := func(set ...any) *inventory.Object { return box("web", append(slices.Clone(front), set...)...) }
	back := func(set ...any) *inventory.Object {
		return box("db", append([]any{"NetworkSettings.Networks", on("back")}, set...)...)
	}
	root := []any{"Config.User", ""}
	in := "internet → 0.0.0.0:8080/tcp → web"
	for _, c := range []struct {
		what    string
		objects []*inventory.Object
		want    []string // the first of those found; empty: none
	}{
		{"apart", []*inventory.Object{web(), back()}, nil},
		{"a shared network", []*inventory.Object{web(), box("db")}, []string{in + " → network apps → db → tier restricted"}},
		{"the network keeps its members apart", []*inventory.Object{web(), box("db"), thing(inventory.Network, "apps", "Driver", "bridge", "Options", map[string]any{optionICC: "false"})}, nil},
		{"through one between", []*inventory.Object{web(), box("app", "NetworkSettings.Networks", on("apps", "back")), back()}, []string{in + " → network apps → app → network back → db → tier restricted"}},
		{"a published port of the database", []*inventory.Object{web(), back("HostConfig.PortBindings", publish("5432/tcp", "10.0.0.2", "15432"))}, []string{
			"private network → 10.0.0.2:15432/tcp → db → tier restricted",
			in + " → the host's addresses → 10.0.0.2:15432/tcp → db → tier restricted",
		}},
		{"published on the loopback", []*inventory.Object{web(), back("HostConfig.PortBindings", publish("5432/tcp", "127.0.0.1", "15432"))}, nil},
		{"published on the loopback, and one is there", []*inventory.Object{
			box("web", "HostConfig.NetworkMode", "host", "NetworkSettings.Networks", on("host"), "Listeners", []any{map[string]any{"Proto": "tcp", "Addr": "0.0.0.0", "Port": int64(8080)}}),
			back("HostConfig.PortBindings", publish("5432/tcp", "127.0.0.1", "15432")),
		}, []string{in + " → the host's network → db → tier restricted"}},
		{"engine socket", []*inventory.Object{web("HostConfig.Binds", []any{"/var/run/docker.sock:/s"}), back()}, []string{in + " → host → db → tier restricted"}},
		{"privileged and root", []*inventory.Object{web(append(root, "HostConfig.Privileged", true)...), back()}, []string{in + " → root in web → host → db → tier restricted"}},
		{"privileged, but not root and no way to be", []*inventory.Object{web("HostConfig.Privileged", true), back()}, nil},
		{"privileged, not root, setuid programs count", []*inventory.Object{web("HostConfig.Privileged", true, "HostConfig.SecurityOpt", []any{}), back()}, []string{in + " → root in web → host → db → tier restricted"}},
		{"SYS_ADMIN", []*inventory.Object{web(append(root, "HostConfig.CapAdd", []any{"SYS_ADMIN"})...), back()}, []string{in + " → root in web → host → db → tier restricted"}},
		{"SYS_ADMIN in a user namespace", []*inventory.Object{web(append(root, "HostConfig.CapAdd", []any{"SYS_ADMIN"})...), back(), thing(inventory.Daemon, "/run/docker.sock", "Info.SecurityOptions", []any{"name=userns"})}, nil},
		{"a capability that is not the host's root", []*inventory.Object{web(append(root, "HostConfig.CapAdd", []any{"SYSLOG"}, "NetworkSettings.Networks", on("front"))...), back()}, nil},
		{"ptrace needs something to trace", []*inventory.Object{web(append(root, "HostConfig.CapAdd", []any{"SYS_PTRACE"})...), back()}, nil},
		{"the host's processes in sight", []*inventory.Object{web(append(root, "HostConfig.CapAdd", []any{"SYS_PTRACE"}, "HostConfig.PidMode", "host")...), back()}, []string{in + " → root in web → host → db → tier restricted"}},
		{"a volume between them", []*inventory.Object{
			web("Mounts", []any{map[string]any{"Type": "volume", "Name": "share", "RW": true}}),
			back("Mounts", []any{map[string]any{"Type": "volume", "Name": "share", "RW": false}}),
		}, []string{in + " → volume share → db → tier restricted"}},
		{"shares processes", []*inventory.Object{web("HostConfig.PidMode", "container:db"), back()}, []string{in + " → db → tier restricted"}},
		{"engine API without TLS", []*inventory.Object{back(), thing(inventory.Daemon, "/run/docker.sock", "Info.Driver", "x",
			"Listeners", []any{map[string]any{"Proto": "tcp", "Addr": "0.0.0.0", "Port": int64(2375), "TLS": "none", "Role": "api"}})}, []string{"internet → engine API 0.0.0.0:2375/tcp → host → db → tier restricted"}},
		{"the front does not run", []*inventory.Object{web("State.Running", false), box("db")}, nil},
		{"what could not be read is a way in", []*inventory.Object{without(box("web"), "PortBindings"), box("db")}, []string{"internet → web → network apps → db → tier restricted"}},
	} {
		got := texts(surveyed(hostOf(c.objects...), tiered()).Paths(3))
		if len(c.want) == 0 && len(got) > 0 || len(got) < len(c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.what, strings.Join(got, "\n     "), c.want)
			continue
		}
		if d := cmp.Diff(c.want, got[:len(c.want)]); len(c.want) > 0 && d != "" {
			t.Errorf("%s: %s", c.what, d)
		}
	}
}

// TestLibraryToHost: a library with a known hole in an image. With a capability
// too many it leads to the host; without it, and behind seccomp, the way ends
// in the container and is less likely.
func TestLibraryToHost(t *testing.T) {
	hole := &audit.Check{
		ID: "library-hole", Title: lang.Text{En: "x", Es: "x"}, Severity: audit.High, Kind: inventory.Image,
		Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
			_, f, _ := inventory.ImageID.Of(o)
			return audit.Bad(f)
		},
	}
	look := func(set ...any) (*Terrain, Member, string) {
		app := box("app", append([]any{"Config.User", "", "HostConfig.PortBindings", publish("80/tcp", "", "8080")}, set...)...)
		s := hostOf(app, box("db", "NetworkSettings.Networks", on("back")), thing(inventory.Image, "app:1", "Id", "sha256:1", "UsedBy", []any{"app"}))
		fs := append(judged(s), audit.Run([]*audit.Check{hole}, s)...)
		f := finding(t, fs, "library-hole", inventory.Ref{Kind: inventory.Image, Name: "app:1"})
		cves := map[string][]CVE{f.Fingerprint(): {{ID: "CVE-2014-0160", KEV: yes(true), EPSS: p(0.9), DataAt: now}}}
		in := Input{Snapshot: s, Findings: fs, Policy: tiered(), CVEs: cves, At: now}
		r := riskOf(t, Register(in), f.Ref, Other)
		tr := Survey(s, fs, in.Policy, cves)
		path, _ := tr.Through(f.Fingerprint())
		return tr, r.Findings[0], path.Text().En
	}
	_, with, path := look("HostConfig.CapAdd", []any{"SYS_ADMIN"})
	if want := "CVE-2014-0160 (app:1) → app → root in app → host → db → tier restricted"; path != want {
		t.Errorf("with SYS_ADMIN: %s", path)
	}
	tr, bare, path := look()
	if want := "CVE-2014-0160 (app:1) → app"; path != want {
		t.Errorf("without: %s", path)
	}
	if got := texts(tr.Paths(3)); got != nil {
		t.Errorf("without: %v", got)
	}
	if with.Inputs.Base != bare.Inputs.Base {
		t.Errorf("the hole is the same: %v and %v", with.Inputs.Base, bare.Inputs.Base)
	}
}

// opens reports whether a finding opens a step of p.
func opens(fingerprint string, p Path) bool {
	return slices.ContainsFunc(p, func(h Hop) bool {
		return slices.ContainsFunc(h.By, func(c Cause) bool { return c.Fingerprint == fingerprint })
	})
}

// TestCuredPath: the way goes when the finding that opened it is cured, and
// every step that a finding opens can be asked for by that finding.
func TestCuredPath(t *testing.T) {
	socket := box("web", "HostConfig.Binds", []any{"/var/run/docker.sock:/s"}, "HostConfig.PortBindings", publish("80/tcp", "", "8080"))
	db := box("db", "NetworkSettings.Networks", on("back"))
	s := hostOf(socket, db)
	f := finding(t, judged(s), "container-engine-socket", ctr("web"))
	path, ok := surveyed(s, tiered()).Through(f.Fingerprint())
	if !ok || !opens(f.Fingerprint(), path) || path.Text().En != "internet → 0.0.0.0:8080/tcp → web → host → db → tier restricted" {
		t.Fatalf("%v %s", ok, path.Text().En)
	}
	put(socket, "HostConfig.Binds", []any{})
	tr := surveyed(hostOf(socket, db), tiered())
	if _, ok := tr.Through(f.Fingerprint()); ok || len(tr.Paths(1)) > 0 {
		t.Errorf("cured, and still a way: %v", texts(tr.Paths(1)))
	}
	if got := path.Text().Es; got != "internet → 0.0.0.0:8080/tcp → web → anfitrión → db → nivel restricted" {
		t.Error(got)
	}
}

// TestNoWayThroughTheHost: who has the host needs no other way into what is on
// it, so a finding that can only be used from there has no path.
func TestNoWayThroughTheHost(t *testing.T) {
	s := hostOf(
		box("web", "HostConfig.Binds", []any{"/var/run/docker.sock:/s"}, "HostConfig.PortBindings", publish("80/tcp", "", "8080")),
		box("db", "NetworkSettings.Networks", on("back"), "Config.User", ""),
	)
	tr := surveyed(s, tiered())
	if p, ok := tr.Through(finding(t, judged(s), "container-root-user", ctr("db")).Fingerprint()); ok {
		t.Error(p.Text().En)
	}
}

// TestShortest compares Yen's algorithm with a search of all ways.
func TestShortest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 7).Draw(t, "nodes")
		node := func(i int) Node { return Node{ContainerNode, fmt.Sprint(i)} }
		g := newGraph()
		for i := range n {
			g.at(node(i))
		}
		for range rapid.IntRange(0, 20).Draw(t, "edges") {
			g.step(node(rapid.IntRange(0, n-1).Draw(t, "from")), node(rapid.IntRange(0, n-1).Draw(t, "to")), lang.Text{})
		}
		g.entries, g.target = []Node{node(0), node(1)}, node(n-1)
		if n == 2 {
			g.entries = g.entries[:1]
		}
		g.ready()
		var all []int // lengths
		var walk func(at int, been []int)
		walk = func(at int, been []int) {
			if slices.Contains(been, at) {
				return
			}
			if at == n-1 {
				all = append(all, len(been))
				return
			}
			for _, e := range g.out[at] {
				walk(e.to, append(slices.Clone(been), at))
			}
		}
		for i := range g.entries {
			walk(i, nil)
		}
		slices.Sort(all)
		k := rapid.IntRange(1, 6).Draw(t, "k")
		found := g.shortest(k)
		var got []int
		seen := map[string]bool{}
		for _, p := range found {
			got = append(got, len(p))
			seen[p.Text().En] = true
		}
		if want := all[:min(k, len(all))]; !slices.Equal(got, want) || len(seen) != len(found) {
			t.Fatalf("lengths %v, of all ways %v; %d different", got, want, len(seen))
		}
	})
}
