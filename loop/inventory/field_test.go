package inventory

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func object(t *testing.T, fields string) *Object {
	t.Helper()
	o := &Object{Ref: Ref{Container, "web1"}, Source: "GET /containers/web1/json", Sources: map[string]string{"Effective": "/proc/7"}, Unread: map[string]string{"Listeners": "permission denied"}}
	d := json.NewDecoder(strings.NewReader(fields))
	d.UseNumber()
	if err := d.Decode(&o.Fields); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestOf reads fields that are there, absent, null or of another type. What
// cannot be read is never a zero value that looks like an answer.
func TestOf(t *testing.T) {
	o := object(t, `{"HostConfig": {"Privileged": false, "Memory": 9007199254740993, "CapAdd": null, "PidMode": 5, "PidsLimit": null},
		"Effective": {"Seccomp": 2}, "Config": {"Env": ["A=1", 2]}}`)
	if v, fact, ok := Privileged.Of(o); !ok || v || fact.Value != false || fact.Source != "GET /containers/web1/json" {
		t.Errorf("privileged: %v %v %v", v, fact, ok)
	}
	if v, _, ok := Memory.Of(o); !ok || v != 9007199254740993 {
		t.Errorf("memory lost digits: %d %v", v, ok)
	}
	if v, _, ok := CapAdd.Of(o); !ok || len(v) != 0 {
		t.Errorf("a null list is an empty one: %v %v", v, ok)
	}
	if _, fact, ok := EffectiveSeccomp.Of(o); !ok || fact.Source != "/proc/7" {
		t.Errorf("source of a measured field: %v %v", fact, ok)
	}
	for name, f := range map[string]func() (Fact, bool){
		"absent":                       func() (Fact, bool) { _, f, ok := IpcMode.Of(o); return f, ok },
		"is json.Number, want string":  func() (Fact, bool) { _, f, ok := PidMode.Of(o); return f, ok },
		"is []interface {}, want []st": func() (Fact, bool) { _, f, ok := Env.Of(o); return f, ok },
		"permission denied":            func() (Fact, bool) { _, f, ok := Listeners.Of(o); return f, ok },
		"no such object":               func() (Fact, bool) { _, f, ok := Listeners.Of(nil); return f, ok },
	} {
		if fact, ok := f(); ok || !strings.Contains(fact.Err, name) {
			t.Errorf("want %q, got ok=%v, %v", name, ok, fact)
		}
	}
	if _, fact, ok := PidsLimit.Of(o); ok || fact.Err != Absent {
		t.Errorf("a null number is absent: %v %v", fact, ok)
	}
}

func TestPut(t *testing.T) {
	o := object(t, `{"HostConfig": {"Memory": 1}, "a.b": 1}`)
	Put(o.Fields, "HostConfig.RestartPolicy.Name", "no")
	Put(o.Fields, "HostConfig.Memory", nil)
	Put(o.Fields, "New", []any{"x"})
	want := map[string]any{"HostConfig": map[string]any{"RestartPolicy": map[string]any{"Name": "no"}}, "a.b": json.Number("1"), "New": []any{"x"}}
	if d := cmp.Diff(want, o.Fields); d != "" {
		t.Error(d)
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{json.Number("5"), int64(5), true},
		{5, 5.0, true},
		{nil, []any{}, true},
		{[]string{"a"}, []any{"a"}, true},
		{nil, false, false},
		{"5", 5, false},
		{[]any{"a", "b"}, []any{"b", "a"}, false},
	} {
		if got := Equal(c.a, c.b); got != c.want {
			t.Errorf("Equal(%#v, %#v) = %v", c.a, c.b, got)
		}
	}
}

// TestDiffOfStopped: that a container runs or does not is no difference, nor is
// what can only be read of one that runs. What it is allowed while it runs is.
func TestDiffOfStopped(t *testing.T) {
	take := func(fields string) *Snapshot {
		s := &Snapshot{}
		s.Add(object(t, fields))
		return s
	}
	runs := take(`{"State": {"Running": true}, "Effective": {"Seccomp": 2}}`)
	for _, c := range []struct {
		fields string
		want   int
	}{
		{`{"State": {"Running": false}}`, 0},
		{`{"State": {"Running": true}, "Effective": {"Seccomp": 0}}`, 1},
	} {
		for _, d := range [][]Difference{Diff(runs, take(c.fields)), Diff(take(c.fields), runs)} {
			if len(d) != c.want {
				t.Errorf("%s: %v", c.fields, d)
			}
		}
	}
}

func TestDependents(t *testing.T) {
	s := &Snapshot{}
	add := func(name, hostConfig string) {
		o := object(t, `{"Id": "id-`+name+`", "HostConfig": `+hostConfig+`}`)
		o.Ref.Name = name
		s.Add(o)
	}
	add("app", `{}`)
	add("linked", `{"Links": ["/sidecar:/linked/side"]}`)
	add("other", `{"NetworkMode": "container:elsewhere"}`)
	add("sidecar", `{"NetworkMode": "container:id-app"}`)
	add("volumes", `{"VolumesFrom": ["app:ro"]}`)
	s.Sort()
	got := Dependents(s, s.Find(Ref{Container, "app"}))
	want := []Ref{{Container, "sidecar"}, {Container, "volumes"}, {Container, "linked"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
