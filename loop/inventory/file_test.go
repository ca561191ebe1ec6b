package inventory

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

type source struct {
	name string
	objs []*Object
	err  error
}

func (s source) Name() string { return s.name }

func (s source) Read(_ context.Context, to *Snapshot) error {
	for _, o := range s.objs {
		to.Add(o)
	}
	return s.err
}

// TestTake keeps what a failing source read, and says that it failed.
func TestTake(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("x", 3600))
	b := &Object{Ref: Ref{Container, "b"}, Fields: map[string]any{}}
	a := &Object{Ref: Ref{Container, "a"}, Fields: map[string]any{}}
	s := Take(t.Context(), "h", at, source{"one", []*Object{b}, errors.New("half")}, source{"two", []*Object{a}, nil})
	if len(s.Objects) != 2 || s.Objects[0] != a || len(s.Gaps) != 1 || s.Gaps[0].Reason != "half" || s.Taken.Location() != time.UTC {
		t.Errorf("%+v", s)
	}
}

// TestRoundTrip writes a snapshot, reads it back and writes it again.
func TestRoundTrip(t *testing.T) {
	s := &Snapshot{Host: "h", Taken: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Gaps: []Gap{{Source: "x", Reason: "y"}, {Ref: Ref{Kernel, "kernel"}, Source: "x", Reason: "y"}}}
	s.Add(object(t, `{"Name": "/web1\u001b[31m<b>", "HostConfig": {"Memory": 9007199254740993}}`))
	s.Sort()
	var one, two bytes.Buffer
	if err := s.Write(&one); err != nil {
		t.Fatal(err)
	}
	back, err := ReadSnapshot(bytes.NewReader(one.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Write(&two); err != nil {
		t.Fatal(err)
	}
	if one.String() != two.String() {
		t.Errorf("changed on the way:\n%s\n%s", &one, &two)
	}
}

func TestReadSnapshotRefuses(t *testing.T) {
	good := `{"schema":"casco/snapshot/v1","host":"h","objects":[{"ref":"container/a","fields":{}}]}`
	if _, err := ReadSnapshot(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"":                                     "cut short",
		good[:len(good)-3]:                     "cut short",
		"\x00\x01":                             "not a snapshot",
		`[]`:                                   "not a snapshot",
		good + "{}":                            "followed by",
		`{"schema":"casco/audit/v1"}`:          "is of format",
		strings.Replace(good, `v1"`, `v9"`, 1): "is of format",
		strings.Replace(good, `"container/a"`, `"container"`, 1):               "KIND/NAME",
		strings.Replace(good, `[{`, `[null,{`, 1):                              "no ref or no fields",
		strings.Replace(good, `,"fields":{}`, ``, 1):                           "no ref or no fields",
		strings.Replace(good, `}]`, `},{"ref":"container/a","fields":{}}]`, 1): "twice",
	} {
		if _, err := ReadSnapshot(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

// FuzzReadSnapshot wants of hostile files that they never crash the reader, and
// that what it accepts can be written and read again.
func FuzzReadSnapshot(f *testing.F) {
	f.Add([]byte(`{"schema":"casco/snapshot/v1","host":"h","taken":"2026-01-02T03:04:05Z","objects":[{"ref":"container/a","fields":{"a":1e999}}],"gaps":[{"source":"x","reason":"y"}]}`))
	f.Add([]byte(`{"schema":"casco/snapshot/v1","objects":[{"ref":"a/b","fields":{"a":[[[]]]},"unread":{"x":"y"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSnapshot(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := s.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSnapshot(&out); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDiff(t *testing.T) {
	snap := func(fields ...string) *Snapshot {
		s := &Snapshot{}
		for i, f := range fields {
			o := object(t, f)
			o.Ref.Name = string(rune('a' + i))
			s.Add(o)
		}
		return s
	}
	was := snap(`{"Id": "1", "HostConfig": {"Memory": 5, "CapAdd": null}, "State": {"Pid": 7}}`)
	now := snap(`{"Id": "2", "HostConfig": {"Memory": 6, "CapAdd": []}, "State": {"Pid": 8}}`, `{}`)
	got := Diff(was, now)
	if len(got) != 2 || got[0].Field != "HostConfig.Memory" || got[1].Ref.Name != "b" || got[1].Was != Absent {
		t.Errorf("%v", got)
	}
	if d := Diff(now, now); len(d) != 0 {
		t.Errorf("a host differs from itself: %v", d)
	}
}
