package plan

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var (
	web = inventory.Ref{Kind: inventory.Container, Name: "web"}
	app = inventory.Ref{Kind: inventory.Container, Name: "app"}
	eng = inventory.Ref{Kind: inventory.Daemon, Name: "/run/docker.sock"}

	question = lang.Text{En: "how much?", Es: "¿cuánto?"}
	means    = []Means{
		{Kind: inventory.Container, Field: "HostConfig.", Hand: "recreate", Cost: Recreate},
		{Kind: inventory.Container, Field: "HostConfig.Memory", Owner: inventory.OwnerCompose, Hand: "compose", Cost: Recreate},
		{Kind: inventory.Daemon, Field: "Effective.icc", Hand: "daemon", Cost: Restart, Reads: []string{"Config.Digest"}},
		{Kind: inventory.Daemon, Field: "Effective.live-restore", Hand: "daemon", Cost: Reload},
	}
)

func host() *inventory.Snapshot {
	s := &inventory.Snapshot{Host: "h"}
	s.Add(&inventory.Object{Ref: web, Fields: map[string]any{"Id": "w", "HostConfig": map[string]any{"Privileged": true, "SecurityOpt": []any{"a", "seccomp=unconfined"}}}})
	s.Add(&inventory.Object{Ref: app, Fields: map[string]any{
		"Config": map[string]any{"Labels": map[string]any{"com.docker.compose.project": "p"}}, "HostConfig": map[string]any{"NetworkMode": "container:w"},
	}})
	s.Add(&inventory.Object{Ref: eng, Fields: map[string]any{"Effective": map[string]any{"icc": true}, "Config": map[string]any{"Digest": "d1"}}})
	return s
}

func fail(id string, ref inventory.Ref, wants ...audit.Want) audit.Finding {
	return audit.Finding{Check: &audit.Check{ID: id}, Ref: ref, Answer: audit.Bad().Wanting(wants...)}
}

// TestMake gathers wants of one object and hand into one step, adds wants on
// one list up, takes dependents along, and orders by cost.
func TestMake(t *testing.T) {
	breaks := lang.Text{En: "b", Es: "b"}
	p := Make(host(), []audit.Finding{
		fail("privileged", web, audit.Want{Ref: web, Field: "HostConfig.Privileged", Value: false, Breaks: breaks}),
		fail("nnp", web, audit.Want{Ref: web, Field: "HostConfig.SecurityOpt", Op: audit.Add, Value: "no-new-privileges:true", Breaks: breaks}),
		fail("seccomp", web, audit.Want{Ref: web, Field: "HostConfig.SecurityOpt", Op: audit.Remove, Value: "seccomp=unconfined"}),
		fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false}),
	}, means, Options{})
	if len(p.Left) != 0 || len(p.Steps) != 2 {
		t.Fatalf("steps %v\nleft %v", p.Steps, p.Left)
	}
	want := Step{
		Ref: web, Hand: "recreate", Cost: Recreate, With: []inventory.Ref{app}, Breaks: []lang.Text{breaks},
		Sets: []Set{{"HostConfig.Privileged", true, false}, {"HostConfig.SecurityOpt", []any{"a", "seccomp=unconfined"}, []any{"a", "no-new-privileges:true"}}},
		For:  []Cure{{"privileged", web}, {"nnp", web}, {"seccomp", web}},
	}
	if d := cmp.Diff(want, p.Steps[1]); d != "" {
		t.Error(d)
	}
	if p.Steps[0].Ref != eng {
		t.Error("what costs less must come first")
	}
	if !slices.ContainsFunc(p.Reads, func(r Read) bool { return r.Field == "Config.Digest" && r.Value == "d1" }) {
		t.Errorf("the read-set lacks what the hand builds on: %v", p.Reads)
	}
}

// TestLeft wants of each finding that cannot be planned a reason, and nothing
// of it in the steps.
func TestLeft(t *testing.T) {
	mem := audit.Want{Ref: web, Field: "HostConfig.Memory", Value: 64, Ask: question}
	for name, c := range map[string]struct {
		f    audit.Finding
		opt  Options
		left string
		asks int
	}{
		"no wants":        {fail("x", web), Options{}, "no setting of this host cures it; see the remedy", 0},
		"no hand":         {fail("x", eng, audit.Want{Ref: eng, Field: "Effective.hosts"}), Options{}, "no hand sets Effective.hosts of a daemon", 0},
		"owner":           {fail("x", app, audit.Want{Ref: app, Field: "HostConfig.PidMode"}), Options{}, "compose owns it and would undo a change of HostConfig.PidMode made here", 0},
		"asks":            {fail("x", web, mem), Options{}, "the value depends on the workload", 1},
		"asks, no value":  {fail("x", web, audit.Want{Ref: web, Field: "HostConfig.User", Ask: question}), Options{Suggested: true}, "the value depends on the workload", 1},
		"too dear":        {fail("x", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false}), Options{Limited: true, MaxCost: Reload}, "costs a restart, more than was allowed", 0},
		"half of it":      {fail("x", web, audit.Want{Ref: web, Field: "HostConfig.Privileged"}, audit.Want{Ref: eng, Field: "nope"}), Options{}, "no hand sets nope of a daemon", 0},
		"object not read": {fail("x", web, audit.Want{Ref: inventory.Ref{Kind: "file", Name: "/x"}, Field: "Mode"}), Options{}, "file//x was not read", 0},
	} {
		p := Make(host(), []audit.Finding{c.f}, means, c.opt)
		if len(p.Steps) != 0 || len(p.Left) != 1 || p.Left[0].Reason.En != c.left || len(p.Left[0].Asks) != c.asks {
			t.Errorf("%s: steps %v, left %+v", name, p.Steps, p.Left)
		}
	}
	answered := Options{Answers: map[Key]any{{web, "HostConfig.Memory"}: 128}}
	if p := Make(host(), []audit.Finding{fail("x", web, mem)}, means, answered); len(p.Steps) != 1 || p.Steps[0].Sets[0].To != 128 {
		t.Errorf("answered: %+v", p)
	}
	if p := Make(host(), []audit.Finding{fail("x", web, mem)}, means, Options{Suggested: true}); len(p.Steps) != 1 || p.Steps[0].Sets[0].To != 64 {
		t.Errorf("suggested: %+v", p)
	}
}

// TestClash leaves the second of two findings that contradict each other.
// TestDecided: what one finding wants without asking answers what another asks.
func TestDecided(t *testing.T) {
	asked := fail("memory", web, audit.Want{Ref: web, Field: "HostConfig.Memory", Value: int64(64), Ask: question})
	wanted := fail("policy", web, audit.Want{Ref: web, Field: "HostConfig.Memory", Value: int64(512)})
	for _, fs := range [][]audit.Finding{{asked, wanted}, {wanted, asked}} {
		p := Make(host(), fs, means, Options{Suggested: true})
		if to, _ := p.Steps[0].To("HostConfig.Memory"); len(p.Left) != 0 || to != int64(512) || len(p.Steps[0].For) != 2 {
			t.Errorf("steps %v\nleft %v", p.Steps, p.Left)
		}
	}
	if p := Make(host(), []audit.Finding{asked, wanted}, means, Options{Checks: []string{"memory"}}); len(p.Left) != 1 {
		t.Errorf("a finding that is not planned for has decided: %v", p.Steps)
	}
}

func TestClash(t *testing.T) {
	p := Make(host(), []audit.Finding{
		fail("one", web, audit.Want{Ref: web, Field: "HostConfig.PidMode", Value: ""}),
		fail("two", web, audit.Want{Ref: web, Field: "HostConfig.PidMode", Value: "private"}),
	}, means, Options{})
	if len(p.Steps) != 1 || len(p.Steps[0].For) != 1 || len(p.Left) != 1 || p.Left[0].Check != "two" {
		t.Errorf("%+v", p)
	}
}

// TestOwnersFirst puts what Compose makes again before the engine's settings.
func TestOwnersFirst(t *testing.T) {
	p := Make(host(), []audit.Finding{
		fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false}),
		fail("live", eng, audit.Want{Ref: eng, Field: "Effective.live-restore", Value: true}),
		fail("mem", app, audit.Want{Ref: app, Field: "HostConfig.Memory", Value: 64}),
	}, means, Options{})
	if len(p.Steps) != 2 || p.Steps[0].Hand != "compose" || p.Steps[1].Hand != "daemon" || p.Steps[1].Cost != Restart {
		t.Errorf("%+v", p.Steps)
	}
}

// TestStale notices a change in the read-set, and no other.
func TestStale(t *testing.T) {
	s := host()
	p := Make(s, []audit.Finding{fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false})}, means, Options{})
	s.Add(&inventory.Object{Ref: inventory.Ref{Kind: inventory.Container, Name: "new"}, Fields: map[string]any{}})
	if st := p.Stale(s); len(st) != 0 {
		t.Errorf("an unrelated container made it stale: %v", st)
	}
	inventory.Put(s.Find(eng).Fields, "Config.Digest", "d2")
	if st := p.Stale(s); len(st) != 1 || st[0].Value != "d2" {
		t.Errorf("an edit by hand did not make it stale: %v", st)
	}
}

// TestID wants the same ID for the same plan, and another for one more byte.
func TestID(t *testing.T) {
	fs := []audit.Finding{fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false})}
	p, q := Make(host(), fs, means, Options{}), Make(host(), fs, means, Options{})
	if p.ID() != q.ID() {
		t.Error("equal plans, different IDs")
	}
	q.Steps[0].Undo.Es += " "
	if p.ID() == q.ID() {
		t.Error("different plans, equal IDs")
	}
}

// TestExact: a live step may leave something behind when it is taken back. A
// step that makes the object anew does it in its place, if there is one, or if
// a plan to the byte was asked for.
func TestExact(t *testing.T) {
	mem := audit.Want{Ref: web, Field: "HostConfig.Memory", Value: 5}
	priv := audit.Want{Ref: web, Field: "HostConfig.Privileged", Value: false}
	live := Means{
		Kind: inventory.Container, Field: "HostConfig.Memory", Hand: "update", Undo: lang.Text{En: "set again", Es: "se repone"},
		Reads: []string{"HostConfig.MemorySwap"}, Leaves: func(_ *inventory.Object, field string) lang.Text {
			return lang.Text{En: field + " stays", Es: field + " queda"}
		},
	}
	all := append([]Means{live}, means...)
	for _, tt := range []struct {
		name  string
		fs    []audit.Finding
		exact bool
		want  []string // hand, fields
		undo  string
	}{
		{"alone", []audit.Finding{fail("mem", web, mem)}, false, []string{"update HostConfig.Memory"}, "set again; HostConfig.Memory stays"},
		{"to the byte", []audit.Finding{fail("mem", web, mem)}, true, []string{"recreate HostConfig.Memory"}, ""},
		{"beside a re-creation", []audit.Finding{fail("mem", web, mem), fail("priv", web, priv)}, false, []string{"recreate HostConfig.Privileged HostConfig.Memory"}, ""},
		{"beside another's", []audit.Finding{fail("mem", web, mem), fail("icc", eng, audit.Want{Ref: eng, Field: "Effective.icc", Value: false})}, false, []string{"update HostConfig.Memory", "daemon Effective.icc"}, "set again; HostConfig.Memory stays"},
	} {
		p := Make(host(), tt.fs, all, Options{Exact: tt.exact})
		var got []string
		cures := 0
		for _, st := range p.Steps {
			line := st.Hand
			for _, s := range st.Sets {
				line += " " + s.Field
			}
			got, cures = append(got, line), cures+len(st.For)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || cures != len(tt.fs) || p.Steps[0].Undo.En != tt.undo {
			t.Errorf("%s: %d cures, undo %q\n%s", tt.name, cures, p.Steps[0].Undo.En, diff)
		}
		if !slices.ContainsFunc(p.Reads, func(r Read) bool { return r.Field == "HostConfig.MemorySwap" }) && !tt.exact {
			t.Errorf("%s: what the live hand reads is not in the read-set", tt.name)
		}
	}
	if p := Make(host(), []audit.Finding{fail("mem", web, mem)}, all, Options{Exact: true, Limited: true, MaxCost: Live}); len(p.Steps) != 0 || len(p.Left) != 1 {
		t.Errorf("exact and live at once: %v", p.Steps)
	}
}
