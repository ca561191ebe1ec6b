package docker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"casco/internal/handtest"
	"casco/loop/inventory"
)

// fake is an engine made of canned replies, by path without the version.
// A path that is not there is a 404; an empty reply a 500.
type fake map[string]string

func (f fake) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(serve(t, "1.41", func(w http.ResponseWriter, r *http.Request) {
		reply, ok := f[strings.TrimPrefix(r.URL.RequestURI(), "/v1.41")]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case reply == "":
			w.WriteHeader(http.StatusInternalServerError)
			w.Write([]byte(`{"message":"disk on fire"}`))
		default:
			w.Write([]byte(reply))
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// small is an engine with one of everything.
func small() fake {
	return fake{
		"/info":                     `{"Containers":3,"DockerRootDir":"/nonexistent","HttpProxy":"http://u:hunter2hunter2@p:80","Swarm":{"LocalNodeState":"inactive"}}`,
		"/version":                  `{"Version":"20.10.24","ApiVersion":"1.41"}`,
		"/containers/json?all=1":    `[{"Id":"aaa"},{"Id":"bbb"},{"Id":"gone"}]`,
		"/containers/aaa/json":      `{"Id":"aaa","Name":"/web","Image":"sha256:1","Created":"2026-01-01T00:00:00Z","State":{"Running":true},"Config":{"Env":["A=b","DB_PASSWORD=correct-horse"],"Cmd":["run","--password","correct-horse"],"Labels":{"api.token":"correct-horse"}},"NetworkSettings":{"Networks":{"front":{}}}}`,
		"/containers/bbb/json":      `{"Id":"bbb","Name":"/web.casco-aaa","Image":"sha256:2","Created":"2026-01-01T00:00:00Z","State":{"Running":false,"FinishedAt":"0001-01-01T00:00:00Z"},"NetworkSettings":{"Networks":{"front":{}}}}`,
		"/images/json":              `[{"Id":"sha256:1"},{"Id":"sha256:2"},{"Id":"sha256:3"}]`,
		"/images/sha256:1/json":     `{"Id":"sha256:1","RepoTags":["web:2","web:1"],"Size":5}`,
		"/images/sha256:1/history":  `[{"CreatedBy":"ENV API_TOKEN=correct-horse"}]`,
		"/images/sha256:2/json":     `{"Id":"sha256:2","RepoTags":[],"Size":5}`,
		"/images/sha256:2/history":  `[]`,
		"/images/sha256:3/json":     `{"Id":"sha256:3","RepoTags":["old:1"],"Created":"2025-01-01T00:00:00Z","Size":7}`,
		"/images/sha256:3/history":  ``,
		"/networks":                 `[{"Name":"front","Id":"n1","Driver":"bridge"}]`,
		"/volumes":                  `{"Volumes":[{"Name":"data","Options":{"o":"addr=nas,password=correct-horse"}}]}`,
		"/containers/aaa/changes":   `[{"Path":"/etc","Kind":0},{"Path":"/etc/motd","Kind":1}]`,
		"/containers/bbb/changes":   ``,
		"/containers/other/json":    `{"Id":"other","Name":"/other"}`,
		"/containers/other/changes": `null`,
	}
}

func read(t *testing.T, f fake, opt Options) *inventory.Snapshot {
	t.Helper()
	return inventory.Take(context.Background(), "h", time.Unix(0, 0), NewSource(f.client(t), opt))
}

func refs(s *inventory.Snapshot, kind inventory.Kind) []string {
	names := []string{}
	for _, o := range s.Of(kind) {
		names = append(names, o.Ref.Name)
	}
	return names
}

func TestSourceReadsAll(t *testing.T) {
	s := read(t, small(), Options{})
	if len(s.Gaps) > 0 {
		t.Errorf("gaps: %v", s.Gaps)
	}
	for kind, want := range map[inventory.Kind][]string{
		inventory.Container: {"web", "web.casco-aaa"},
		inventory.Image:     {"old:1", "sha256:2", "web:1"},
		inventory.Network:   {"front"},
		inventory.Volume:    {"data"},
		inventory.Swarm:     {},
	} {
		if diff := cmp.Diff(want, refs(s, kind)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
	d := s.Of(inventory.Daemon)[0]
	want := map[string]any{
		"Containers": []any{map[string]any{"Name": "web.casco-aaa", "Since": "2026-01-01T00:00:00Z"}},
		"Images":     []any{map[string]any{"Name": "old:1", "Created": "2025-01-01T00:00:00Z", "Size": json.Number("7")}},
	}
	got, _, _ := inventory.DaemonUnused.Of(d)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
	attached, _, _ := inventory.NetworkContainers.Of(s.Of(inventory.Network)[0])
	if diff := cmp.Diff([]string{"web", "web.casco-aaa"}, attached); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	if _, fact, ok := inventory.ImageHistory.Of(s.Of(inventory.Image)[0]); ok || !strings.Contains(fact.Err, "disk on fire") {
		t.Errorf("history that could not be read: %v", fact)
	}
}

func TestSourceMasks(t *testing.T) {
	s := read(t, small(), Options{})
	b, err := json.Marshal(s.Objects)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"correct-horse", "hunter2hunter2"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("the snapshot holds a secret: %s", b)
		}
	}
	if !strings.Contains(string(b), `"A=b"`) {
		t.Error("masking took more than the secrets")
	}
}

func TestSourceLeavesOutParked(t *testing.T) {
	var parked []string
	var trouble error
	src := NewSource(small().client(t), Options{Parked: func() ([]string, error) { return parked, trouble }})
	look := func() *inventory.Snapshot { return inventory.Take(t.Context(), "h", time.Unix(0, 0), src) }
	before := look()
	if diff := cmp.Diff([]string{"web", "web.casco-aaa"}, refs(before, inventory.Container)); diff != "" {
		t.Errorf("containers before any is parked (-want +got):\n%s", diff)
	}
	parked = []string{"aaa", "bbb"} // by a change that is being proved
	s := look()
	if diff := cmp.Diff([]string{"web"}, refs(s, inventory.Container)); diff != "" {
		t.Errorf("containers; a running one is never parked (-want +got):\n%s", diff)
	}
	unused, _, _ := inventory.DaemonUnused.Of(s.Of(inventory.Daemon)[0])
	if n := len(list(unused, "Containers")); n != 0 {
		t.Errorf("%d unused containers, want none: the parked one is ours", n)
	}
	used, _, _ := inventory.ImageUsedBy.Of(s.Find(inventory.Ref{Kind: inventory.Image, Name: "sha256:2"}))
	if len(used) != 1 {
		t.Errorf("the image of the parked container is used by %v, want the parked one", used)
	}
	attached, _, _ := inventory.NetworkContainers.Of(s.Of(inventory.Network)[0])
	if diff := cmp.Diff([]string{"web"}, attached); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	parked, trouble = nil, errors.New("no record")
	want := inventory.Gap{Source: "parked containers", Reason: "no record"}
	if s := look(); !slices.Contains(s.Gaps, want) {
		t.Errorf("gaps where nobody knows what is parked: %v", s.Gaps)
	}
}

func TestSourceTellsGaps(t *testing.T) {
	f := small()
	f["/containers/bbb/json"] = ""
	s := read(t, f, Options{})
	if len(s.Gaps) != 1 || s.Gaps[0].Ref.Name != "bbb" || !strings.Contains(s.Gaps[0].Reason, "disk on fire") {
		t.Errorf("gaps = %v, want one about bbb", s.Gaps)
	}
	// With a container unread, nobody knows what is unused.
	if _, fact, ok := inventory.DaemonUnused.Of(s.Of(inventory.Daemon)[0]); ok || fact.Err == inventory.Absent {
		t.Errorf("unused: %v, want it untold with the reason", fact)
	}
	if _, fact, ok := inventory.ImageUsedBy.Of(s.Of(inventory.Image)[0]); ok || fact.Err == inventory.Absent {
		t.Errorf("used by: %v, want it untold with the reason", fact)
	}
}

func TestSourceChanges(t *testing.T) {
	s := read(t, small(), Options{Changes: true})
	got, fact, _ := inventory.Changes.Of(s.Find(inventory.Ref{Kind: inventory.Container, Name: "web"}))
	want := []any{map[string]any{"Path": "/etc", "Kind": int64(0)}, map[string]any{"Path": "/etc/motd", "Kind": int64(1)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if fact.Source != "GET /v1.41/containers/aaa/changes" {
		t.Errorf("source of the changes: %q", fact.Source)
	}
	parked := s.Find(inventory.Ref{Kind: inventory.Container, Name: "web.casco-aaa"})
	if _, fact, ok := inventory.Changes.Of(parked); ok || fact.Err != errNoLayer.Error() {
		t.Errorf("changes of a stopped container whose layer is elsewhere: %v", fact)
	}
}

func TestOwnChanges(t *testing.T) {
	c := map[string]any{
		"Mounts":     []any{map[string]any{"Destination": "/var/lib/app"}},
		"HostConfig": map[string]any{"Tmpfs": map[string]any{"/run/": ""}},
	}
	var got []string
	for _, own := range ownChanges(c, []change{
		{Path: "/sbin", Kind: 0},
		{Path: "/sbin/docker-init", Kind: 1},
		{Path: "/var", Kind: 0},
		{Path: "/var/lib", Kind: 0},
		{Path: "/var/lib/app", Kind: 1},
		{Path: "/var/lib/app/x", Kind: 1},
		{Path: "/var/lib/application", Kind: 1},
		{Path: "/run", Kind: 0},
		{Path: "/root", Kind: 0},
		{Path: "/root/.ash_history", Kind: 1},
	}) {
		got = append(got, own.Path)
	}
	want := []string{"/var/lib/application", "/root", "/root/.ash_history"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A directory is believed only if the engine has exactly its containers.
func TestSourceByDirectory(t *testing.T) {
	handtest.NeedRoot(t) // to read the engine's directory
	ids := []string{strings.Repeat("a", 64), strings.Repeat("b", 64)}
	for _, tt := range []struct {
		name   string
		count  string   // what /info says
		known  []string // what the engine has of the directory's
		listed string   // what it lists if it is asked
		want   []string
	}{
		{"same", "2", ids, "", []string{"aa", "bb"}}, // asking for the list would be a gap
		{"other count", "1", ids[:1], `[{"Id":"other"}]`, []string{"other"}},
		{"other engine's", "2", ids[:1], `[{"Id":"other"}]`, []string{"other"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range append([]string{"not-a-container"}, ids...) {
				if err := os.MkdirAll(filepath.Join(root, "containers", dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			f := small()
			f["/info"] = `{"Containers":` + tt.count + `,"DockerRootDir":"` + root + `"}`
			f["/containers/json?all=1"] = tt.listed
			for _, id := range tt.known {
				f["/containers/"+id+"/json"] = `{"Id":"` + id + `","Name":"/` + id[:2] + `"}`
			}
			s := read(t, f, Options{})
			if diff := cmp.Diff(tt.want, refs(s, inventory.Container)); diff != "" {
				t.Errorf("containers (-want +got):\n%s", diff)
			}
			if len(s.Gaps) > 0 {
				t.Errorf("gaps: %v", s.Gaps)
			}
		})
	}
}

func TestSourceSwarm(t *testing.T) {
	f := small()
	f["/info"] = `{"Swarm":{"LocalNodeState":"active","NodeID":"node1","ControlAvailable":true,"Managers":1,"Cluster":{"ID":"cl"}}}`
	f["/swarm"] = `{"ID":"cl","JoinTokens":{"Worker":"SWMTKN-1-abc"},"Spec":{"EncryptionConfig":{"AutoLockManagers":false}}}`
	f["/nodes"] = `[{"ID":"node1"}]`
	f["/secrets"] = `[{"Spec":{"Name":"tls-key","Labels":{"x":"y"}}}]`
	f["/services"] = `[{"Spec":{"Name":"web","TaskTemplate":{"ContainerSpec":{"Env":["DB_PASSWORD=correct-horse"]}}}}]`
	s := read(t, f, Options{})
	if len(s.Gaps) > 0 {
		t.Errorf("gaps: %v", s.Gaps)
	}
	o := s.Find(inventory.Ref{Kind: inventory.Swarm, Name: "cl"})
	if lock, fact, ok := inventory.SwarmAutoLock.Of(o); !ok || lock {
		t.Errorf("autolock: %v", fact)
	}
	if n, fact, _ := inventory.SwarmManagers.Of(o); n != 1 {
		t.Errorf("managers: %v", fact)
	}
	secrets, _, _ := inventory.SwarmSecrets.Of(o)
	if diff := cmp.Diff([]any{map[string]any{"Name": "tls-key"}}, secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	b, _ := json.Marshal(s.Objects)
	for _, secret := range []string{"SWMTKN", "correct-horse"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("the snapshot holds %s", secret)
		}
	}
	if diff := cmp.Diff([]string{"web"}, refs(s, inventory.Service)); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestSourceSwarmWorker(t *testing.T) {
	f := small()
	f["/info"] = `{"Swarm":{"LocalNodeState":"active","NodeID":"node1","ControlAvailable":false}}`
	o := read(t, f, Options{}).Find(inventory.Ref{Kind: inventory.Swarm, Name: "node1"})
	if _, fact, ok := inventory.SwarmAutoLock.Of(o); ok || !strings.Contains(fact.Err, "ask a manager") {
		t.Errorf("autolock of a worker: %v", fact)
	}
}

func TestUnmask(t *testing.T) {
	actual := []any{"A=b", "DB_PASSWORD=correct-horse", "C=d"}
	masked := append([]any{}, actual...)
	inventory.MaskPairs(masked)
	wanted := []any{masked[1], "E=f"} // A and C removed, E added
	got := unmask(wanted, masked, actual)
	if diff := cmp.Diff([]any{"DB_PASSWORD=correct-horse", "E=f"}, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	labels := map[string]any{"token": "correct-horse", "x": "y"}
	hidden := map[string]any{"token": "correct-horse", "x": "y"}
	inventory.MaskLabels(hidden)
	got = unmask(map[string]any{"token": hidden["token"], "new": "z"}, hidden, labels)
	if diff := cmp.Diff(map[string]any{"token": "correct-horse", "new": "z"}, got); diff != "" {
		t.Errorf("map (-want +got):\n%s", diff)
	}
}
