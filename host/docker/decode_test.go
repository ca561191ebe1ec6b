package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// byStandard decodes as decode promises to.
func byStandard(reply []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(reply))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows")
	}
	return v, nil
}

// sameAsStandard wants decode to say of reply what encoding/json says.
func sameAsStandard(t *testing.T, reply []byte) {
	t.Helper()
	want, wantErr := byStandard(reply)
	got, err := decode(reply)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%.100q: error %v, encoding/json says %v", reply, err, wantErr)
	}
	if !reflect.DeepEqual(want, got) { // cmp.Diff alone takes minutes for what is 10,000 deep
		t.Fatalf("%.100q (- encoding/json, + decode):\n%s", reply, cmp.Diff(want, got))
	}
}

var decodeCases = []string{
	`{}`, `[]`, `null`, `true`, `false`, `""`, `0`, `-0`, `7`, `-7`, `12.50`, `1e9`, `1E+9`, `-1.5e-3`, `18446744073709551615`,
	` { "a" : [ 1 , null , { } ] , "b" : { "c" : [ ] } } `,
	`{"a":1,"a":2}`, `{"a":{"b":1},"a":{"c":2}}`, `{"":""}`,
	`"\u00e9 \n \" \\ \/ \ud83d\ude00 \ud83d"`, `"é"`, "\"\xff\"", `{"\u0061":1}`, `{"é":"ñ"}`, "\"\x7f\"",
	// what is not JSON
	``, ` `, `{`, `}`, `[`, `[1`, `[1,`, `[1,]`, `[,1]`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{1:1}`, `{"a" 1}`,
	`"`, `"a`, `"\`, `"\"`, `"\x"`, `"\u12"`, "\"\n\"", "\"\xc3", `tru`, `truex`, `nul`, `+1`, `01`, `-`, `1.`, `.5`, `1e`, `1e+`, `0x1`, `1 2`, `{} {}`, `[1 2]`,
	`NaN`, `'a'`, "\x00", "1\x00",
}

func TestDecode(t *testing.T) {
	for _, c := range decodeCases {
		sameAsStandard(t, []byte(c))
	}
	replies, err := filepath.Glob("testdata/*.json")
	if err != nil || len(replies) == 0 {
		t.Fatalf("no replies of an engine: %v", err)
	}
	for _, path := range replies {
		reply, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sameAsStandard(t, reply)
		sameAsStandard(t, reply[:len(reply)/2])
	}
	for _, depth := range []int{deepest - 1, deepest, deepest + 1, deepest + 2} {
		sameAsStandard(t, []byte(strings.Repeat("[", depth)+strings.Repeat("]", depth)))
		sameAsStandard(t, []byte(strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth)))
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range decodeCases {
		f.Add([]byte(c))
	}
	f.Fuzz(sameAsStandard)
}
