package docker

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"casco/internal/realdocker"
	"casco/loop/inventory"
	"casco/loop/plan"
)

func TestMain(m *testing.M) { realdocker.Main(m) }

// serving is the command of a container that ends at once when it is asked to.
var serving = []string{"sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"}

// A host is the shared engine, with a client, in one test.
type host struct {
	*realdocker.Engine
	t      *testing.T
	client *Client
}

// onHost gives the test the engine; containers whose names begin with prefix
// are removed before and after.
func onHost(t *testing.T, prefix string, opts ...Option) host {
	t.Helper()
	e := realdocker.Shared(t)
	c, err := New(e.Socket, opts...)
	if err != nil {
		t.Fatal(err)
	}
	h := host{e, t, c}
	h.clear(prefix)
	t.Cleanup(func() { h.clear(prefix) })
	return h
}

func (h host) clear(prefix string) {
	h.t.Helper()
	for _, what := range [][]string{
		{"ps -aq --filter name=^/" + prefix, "rm -fv"},
		{"volume ls -q --filter name=^" + prefix, "volume rm"},
		{"network ls -q --filter name=^" + prefix, "network rm"},
	} {
		if ids := strings.Fields(h.Docker(strings.Fields(what[0])...)); len(ids) > 0 {
			h.Docker(append(strings.Fields(what[1]), ids...)...)
		}
	}
}

// inspect is GET /containers/{name}/json.
func (h host) inspect(name string) map[string]any {
	h.t.Helper()
	c, err := inspect(h.t.Context(), h.client, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// names are the containers that there are, whose names begin with prefix.
func (h host) names(prefix string) []string {
	h.t.Helper()
	names := strings.Fields(h.Docker("ps", "-a", "--filter", "name=^/"+prefix, "--format", "{{.Names}}"))
	slices.Sort(names)
	return names
}

// whole is all that inspecting containers says and that is not a moment's:
// their times, process IDs and what the engine assigns at each start.
func (h host) whole(prefix string) string { return h.state(prefix, "") }

// state is whole for the container with the ID old, or for all if that is
// empty. Of another it leaves out what two created alike do not share.
func (h host) state(prefix, old string) string {
	h.t.Helper()
	all := map[string]any{}
	for _, name := range h.names(prefix) {
		c := h.inspect(name)
		running := truth(c, "State", "Running")
		if old != "" && str(c, "Id") != old {
			c = lived(c)
			c["Running"] = running
		}
		all[name] = c
		for _, key := range []string{"StartedAt", "FinishedAt", "Pid", "ExitCode"} {
			delete(object(c, "State"), key)
		}
		delete(c, "ExecIDs")
		fleeting(c)
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

// fleeting removes from an inspected container what each start assigns anew.
func fleeting(c map[string]any) {
	net := object(c, "NetworkSettings")
	for _, key := range []string{"SandboxID", "SandboxKey", "EndpointID", "IPAddress", "MacAddress", "GlobalIPv6Address"} {
		delete(net, key)
	}
	for name, e := range object(net, "Networks") {
		e, _ := e.(map[string]any)
		delete(e, "EndpointID")
		if name == "bridge" || name == "host" || name == "none" {
			delete(e, "DNSNames") // see handName
		}
		delete(e, "MacAddress") // random since 28.0; TestRecreateKeepsMAC looks at chosen ones
		if object(e, "IPAMConfig") == nil {
			delete(e, "IPAddress")
		}
	}
	delete(object(c, "State"), "Health")
}

// step is a step of a hand on one container, as it comes back from a plan file.
func step(t *testing.T, hand, name string, sets map[string]any, with ...string) plan.Step {
	t.Helper()
	st := plan.Step{Ref: inventory.Ref{Kind: inventory.Container, Name: name}, Hand: hand}
	for field, to := range sets {
		st.Sets = append(st.Sets, plan.Set{Field: field, To: to})
	}
	slices.SortFunc(st.Sets, func(a, b plan.Set) int { return strings.Compare(a.Field, b.Field) })
	for _, w := range with {
		st.With = append(st.With, inventory.Ref{Kind: inventory.Container, Name: w})
	}
	b, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	var out plan.Step
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
