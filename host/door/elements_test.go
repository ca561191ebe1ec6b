package door

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestElements: a list falls into the elements that a reader of JSON finds,
// wherever it is cut on its way; what is no list is an error.
func TestElements(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // nil is an error
	}{
		{`[]`, []string{}},
		{" \n[ ]\r\n", []string{}},
		{`null`, []string{}},
		{" null\n", []string{}},
		{`[1, "a,]\"[" ,{"b":[{},"}"]},[],null]`, []string{`1`, `"a,]\"["`, `{"b":[{},"}"]}`, `[]`, `null`}},
		{`["\\","\\\"",",\\"]` + "\n", []string{`"\\"`, `"\\\""`, `",\\"`}},
		{``, nil},
		{`{}`, nil},
		{`"a"`, nil},
		{`x`, nil},
		{`null[]`, nil},
		{`[1`, nil},
		{`["a]`, nil},
		{`[1]]`, nil},
		{`[1] 2`, nil},
		{`[1,]`, nil},
		{`[,1]`, nil},
		{`[1}`, nil},
		{`[{]`, nil},
		{`[{"a":1]]`, nil},
		{`[1 2]`, nil},
		{`[{"a":1}{"b":2}]`, nil},
		{`[x]`, nil},
	} {
		for cut := 1; cut <= len(c.in)+1; cut++ {
			got := []string{}
			l := &elements{do: func(b []byte) error { got = append(got, string(b)); return nil }}
			var err error
			for part := range slices.Chunk([]byte(c.in), cut) {
				if err = l.read(part); err != nil {
					break
				}
			}
			if err == nil && !l.over() {
				err = errNoList
			}
			if c.want == nil && err == nil || c.want != nil && (err != nil || !slices.Equal(got, c.want)) {
				t.Errorf("%q cut at %d: %q %v", c.in, cut, got, err)
			}
		}
	}
	no := errors.New("no")
	l := &elements{do: func([]byte) error { return no }}
	if err := l.read([]byte("[1]")); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	l = &elements{do: func([]byte) error { return nil }}
	if err := l.read([]byte(`["` + strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("an element without end is kept")
	}
}

// FuzzElements holds what is found against encoding/json.
func FuzzElements(f *testing.F) {
	for _, s := range []string{`[]`, `[1,"a",{"b":[]}]`, `null`, `[1,]`, `["\\\""]`} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		var got []string
		l := &elements{do: func(b []byte) error { got = append(got, string(b)); return nil }}
		var err error
		for part := range slices.Chunk(in, int(cut)+1) {
			if err = l.read(part); err != nil {
				break
			}
		}
		var want []json.RawMessage
		valid := json.Unmarshal(in, &want) == nil
		if (err == nil && l.over()) != valid {
			t.Fatalf("%q: %v, over %v, json says %v", in, err, l.over(), valid)
		}
		if valid && len(got) != len(want) {
			t.Fatalf("%q: %q, json says %d", in, got, len(want))
		}
	})
}
