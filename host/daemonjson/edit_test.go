package daemonjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEdit(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		changes   []Change
		want      string
	}{
		{"a new file", "", []Change{{"icc", false}}, "{\n  \"icc\": false\n}\n"},
		{"an empty object", "{}\n", []Change{{"icc", false}}, "{\n  \"icc\": false\n}\n"},
		{"an object of blanks", "{\n}", []Change{{"icc", false}}, "{\n  \"icc\": false\n}"},
		{"at the end, four blanks", "{\n    \"debug\": true\n}\n", []Change{{"icc", false}}, "{\n    \"debug\": true,\n    \"icc\": false\n}\n"},
		{"tabs", "{\n\t\"debug\":true\n}\n", []Change{{"icc", false}}, "{\n\t\"debug\":true,\n\t\"icc\":false\n}\n"},
		{"CRLF, no newline at the end", "{\r\n  \"a\": 1\r\n}", []Change{{"icc", false}}, "{\r\n  \"a\": 1,\r\n  \"icc\": false\r\n}"},
		{"in place, order kept", "{\n  \"icc\" : true ,\n  \"b\": 2\n}", []Change{{"icc", false}}, "{\n  \"icc\" : false ,\n  \"b\": 2\n}"},
		{"one line", `{"a": 1}`, []Change{{"icc", false}}, `{"a": 1, "icc": false}`},
		{"one line, tight", `{"a":1,"b":2}`, []Change{{"icc", false}}, `{"a":1,"b":2,"icc":false}`},
		{"the value is there", "{ \"icc\" :false}", []Change{{"icc", false}}, "{ \"icc\" :false}"},
		{"the same number in another form of Go", `{"mtu": 1400}`, []Change{{"mtu", 1400.0}}, `{"mtu": 1400}`},
		{"remove the last", "{\n  \"a\": 1 ,\n  \"icc\": false\n}", []Change{{"icc", nil}}, "{\n  \"a\": 1\n}"},
		{"remove the first", "{\n  \"icc\": false,\n  \"a\": 1\n}", []Change{{"icc", nil}}, "{\n  \"a\": 1\n}"},
		{"remove the only one", "{\n  \"icc\": false\n}\n", []Change{{"icc", nil}}, "{\n}\n"},
		{"remove what is not there", "{}", []Change{{"icc", nil}}, "{}"},
		{"blank lines are not copied", "{\n  \"a\": 1,\n\n  \"b\": 2\n}", []Change{{"icc", false}}, "{\n  \"a\": 1,\n\n  \"b\": 2,\n  \"icc\": false\n}"},
		{
			"a list loses one", "{\n  \"insecure-registries\": [\n    \"a:5000\",\n    \"b:5000\"\n  ]\n}",
			[]Change{{"insecure-registries", []any{"b:5000"}}},
			"{\n  \"insecure-registries\": [\n    \"b:5000\"\n  ]\n}",
		},
		{
			"a list gains one", "{\"dns\": [\"1.1.1.1\", \"8.8.8.8\"]}",
			[]Change{{"dns", []any{"1.1.1.1", "8.8.8.8", "9.9.9.9"}}},
			"{\"dns\": [\"1.1.1.1\", \"8.8.8.8\", \"9.9.9.9\"]}",
		},
		{"a list becomes empty", "{\"dns\": [ \"1.1.1.1\" ]}", []Change{{"dns", []any{}}}, "{\"dns\": []}"},
		{"a list is another", `{"dns": ["a", "b"]}`, []Change{{"dns", []string{"c", "b"}}}, `{"dns": ["c", "b"]}`},
		{
			"below an object", "{\n  \"log-opts\": {\n    \"max-file\": \"3\"\n  }\n}",
			[]Change{{"log-opts.max-size", "10m"}},
			"{\n  \"log-opts\": {\n    \"max-file\": \"3\",\n    \"max-size\": \"10m\"\n  }\n}",
		},
		{
			"below an object that is not there", "{\n  \"a\": 1\n}",
			[]Change{{"log-opts.max-size", "10m"}},
			"{\n  \"a\": 1,\n  \"log-opts\": {\n    \"max-size\": \"10m\"\n  }\n}",
		},
		{
			"an object is merged", "{\n  \"log-opts\": {\n    \"a\": \"1\",\n    \"max-size\": \"1m\"\n  }\n}",
			[]Change{{"log-opts", map[string]any{"max-size": "5m", "max-file": "2"}}},
			"{\n  \"log-opts\": {\n    \"max-size\": \"5m\",\n    \"max-file\": \"2\"\n  }\n}",
		},
		{"another type", `{"dns": "x"}`, []Change{{"dns", []any{"1.1.1.1"}}}, `{"dns": ["1.1.1.1"]}`},
		{"no escapes for HTML", "{}", []Change{{"labels", []any{"a=<&>"}}}, "{\n  \"labels\": [\"a=<&>\"]\n}"},
		{"an escaped key is the same key", "{\"i\\u0063c\": true}", []Change{{"icc", false}}, "{\"i\\u0063c\": false}"},
	} {
		got, err := Edit([]byte(tt.src), tt.changes...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	for _, tt := range []struct{ src, want string }{
		{"{\n  \"a\": 1\n  \"b\": 2\n}", "3:3: "},
		{"{\"a\": 1,}", "1:8: a comma after the last key"},
		{"{\"a\": [1,]}", "1:9: a comma after the last element"},
		{"\xef\xbb\xbf{}", "1:1: a byte order mark"},
		{"{\n \"icc\": true,\n \"icc\": false}", "3:2: the key \"icc\" comes a second time"},
		{"{\"log-opts\": {\"a\": \"1\", \"a\": \"2\"}}", "1:25: the key \"a\" comes a second time"},
		{"{\"a\": [{\"b\": 1, \"\\u0062\": 2}]}", "the key \"b\" comes a second time"},
		{"[]", "1:1: is no object"},
		{"\n null", "2:2: is no object"},
		{"{} {}", "1:4: "},
		{"{\"a\": tru}", "1:7: "},
		{"{\"a\"", "1:5: "},
		{"{} // why\n", "a comment"},
		{"{ /* why */ }", "a comment"},
		{"{\"a\": 1 /* why */}", "a comment"},
		{"{\"log-opts\": 5}", "log-opts is no object"},
	} {
		got, err := Edit([]byte(tt.src), Change{"log-opts.max-size", "1m"})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %q, error %v, want %q", tt.src, got, err, tt.want)
		}
	}
}

// FuzzEdit: what comes out is a JSON object that has the value and in which
// nothing else has changed; doing it twice changes nothing more.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{"{}", "", "{\r\n\t\"a\": [1, {\"b\":null}]\r\n}\r\n", `{"icc":true,"log-opts":{"max-size":"1m"}}`, "{ \"a\" : 1 , \"b\":2 }"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		changes := []Change{{"icc", false}, {"dns", []any{"1.1.1.1"}}, {"live-restore", nil}}
		got, err := Edit(src, changes...)
		if err != nil {
			return
		}
		var before, after map[string]any
		if len(bytes.TrimSpace(src)) > 0 {
			if err := json.Unmarshal(src, &before); err != nil {
				t.Skip("encoding/json is stricter in places, such as depth")
			}
		} else {
			before = map[string]any{}
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", src, got, err)
		}
		before["icc"], before["dns"] = false, []any{"1.1.1.1"}
		delete(before, "live-restore")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q became %q:\n%s", src, got, diff)
		}
		again, err := Edit(got, changes...)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%q became %q the first time and %q the second: %v", src, got, again, err)
		}
	})
}
