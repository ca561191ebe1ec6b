package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"casco/internal/battery"
)

func route(t testing.TB, method, uri string) Route {
	t.Helper()
	r, err := ParseURI(method, uri)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecode(t *testing.T) {
	const asJSON = "application/json"
	for _, c := range []struct {
		what, endpoint, contentType, body string
		want                              string // what is passed on, or the rule that refuses
	}{
		{"keys are sorted", "POST /containers/create", asJSON, `{"Image":"a", "Cmd":["b"]}`, `{"Cmd":["b"],"Image":"a"}`},
		{"a key in another case gets the engine's", "POST /containers/create", asJSON, `{"hostconfig":{"PRIVILEGED":true}}`, `{"HostConfig":{"Privileged":true}}`},
		{"a long s is an s", "POST /containers/create", asJSON, `{"HoſtConfig":{"PidMode":"host"}}`, `{"HostConfig":{"PidMode":"host"}}`},
		{"the Kelvin sign is a k", "POST /containers/create", asJSON, `{"HostConfig":{"Networ\u212aMode":"host"}}`, `{"HostConfig":{"NetworkMode":"host"}}`},
		{"an escaped key is that key", "POST /containers/create", asJSON, `{"\u0048ostConfig":{"\u0050rivileged":true}}`, `{"HostConfig":{"Privileged":true}}`},
		{"a parameter of the content type", "POST /containers/create", "Application/JSON; charset=UTF-8", `{"Image":"a"}`, `{"Image":"a"}`},
		{"a port gets its protocol", "POST /containers/create", asJSON, `{"ExposedPorts":{"80":{},"53/UDP":{}}}`, `{"ExposedPorts":{"53/udp":{},"80/tcp":{}}}`},
		{"a range of them that is exposed", "POST /containers/create", asJSON, `{"ExposedPorts":{"3000-3005":{},"7-9/UDP":{},"8-8":{}}}`, `{"ExposedPorts":{"3000-3005":{},"7-9/UDP":{},"8-8":{}}}`},
		{"a command may be one text", "POST /containers/create", asJSON, `{"Cmd":"id","Entrypoint":null}`, `{"Cmd":["id"],"Entrypoint":null}`},
		{"so may a capability", "POST /containers/create", asJSON, `{"HostConfig":{"CapAdd":"SYS_ADMIN"}}`, `{"HostConfig":{"CapAdd":["SYS_ADMIN"]}}`},
		{"null stays null", "POST /containers/create", asJSON, `{"HostConfig":{"MaskedPaths":null,"ReadonlyPaths":[]}}`, `{"HostConfig":{"MaskedPaths":null,"ReadonlyPaths":[]}}`},
		{"a key that nobody knows and that says nothing", "POST /containers/create", asJSON, `{"NetworkingConfig":{"lan":null}}`, `{"NetworkingConfig":{}}`},
		{"a name that dockerode and docker-java put there too", "POST /containers/create", asJSON, `{"Image":"a","name":"n","authConfig":{"password":"x"}}`, `{"Image":"a"}`},
		{"the parameters of a commit again", "POST /commit?container=a", asJSON, `{"container":"a","repo":"r"}`, `{}`},
		{"dockerode's own options", "POST /exec/a/start", asJSON, `{"Detach":true,"hijack":true,"stdin":false}`, `{"Detach":true}`},
		{"a container that docker-py names in an exec too", "POST /containers/a/exec", asJSON, `{"Container":"a","Cmd":["id"]}`, `{"Cmd":["id"]}`},
		{"the parameters of a stop again", "POST /containers/a/stop?t=5", asJSON, `{"t":5}`, ``},
		{"labels keep their case", "POST /containers/create", asJSON, `{"Labels":{"A":"1","a":"2"}}`, `{"Labels":{"A":"1","a":"2"}}`},
		{"nothing is escaped for HTML", "POST /containers/create", asJSON, `{"Cmd":["<&>"]}`, `{"Cmd":["<&>"]}`},
		{"a large number keeps its digits", "POST /containers/create", asJSON, `{"HostConfig":{"Memory":9007199254740993}}`, `{"HostConfig":{"Memory":9007199254740993}}`},
		{"fields of older engines", "POST /containers/create", asJSON, `{"MacAddress":"02:42:ac:11:00:02","HostConfig":{"KernelMemory":0}}`, `{"HostConfig":{"KernelMemory":0},"MacAddress":"02:42:ac:11:00:02"}`},
		{"a start has no body", "POST /containers/a/start", "", "", ``},
		{"or an empty one", "POST /containers/a/start", asJSON, "{}\n", ``},
		{"or null", "POST /containers/a/start", asJSON, "null", ``},
		{"a commit may have none", "POST /commit?container=a", "", "", ``},
		{"an exec", "POST /containers/a/exec", asJSON, `{"Cmd":["id"],"Detach":false}`, `{"Cmd":["id"],"Detach":false}`},

		{"a key twice", "POST /containers/create", asJSON, `{"Image":"a","Image":"b"}`, "request-body"},
		{"a key twice, once in another case", "POST /containers/create", asJSON, `{"HostConfig":{},"hostConfig":{"Privileged":true}}`, "request-body"},
		{"a key twice, once with a long s", "POST /containers/create", asJSON, `{"HostConfig":{},"Ho\u017ftConfig":{"Privileged":true}}`, "request-body"},
		{"a key twice, deep inside", "POST /containers/create", asJSON, `{"HostConfig":{"RestartPolicy":{"Name":"no","name":"always"}}}`, "request-body"},
		{"a label twice", "POST /containers/create", asJSON, `{"Labels":{"a":"1","a":"2"}}`, "request-body"},
		{"a port twice, once without its protocol", "POST /containers/create", asJSON, `{"HostConfig":{"PortBindings":{"80":[],"80/tcp":[]}}}`, "request-body"},
		{"a range that is published, which no engine takes", "POST /containers/create", asJSON, `{"HostConfig":{"PortBindings":{"3000-3005/tcp":[]}}}`, "request-body"},
		{"a range of ports twice", "POST /containers/create", asJSON, `{"ExposedPorts":{"1-2":{},"1-2/tcp":{}}}`, "request-body"},
		{"a range that is none", "POST /containers/create", asJSON, `{"ExposedPorts":{"5-3":{}}}`, "request-body"},
		{"half a range", "POST /containers/create", asJSON, `{"ExposedPorts":{"5-":{}}}`, "request-body"},
		{"something behind it", "POST /containers/create", asJSON, `{"Image":"a"}{"HostConfig":{"Privileged":true}}`, "request-body"},
		{"a word behind it", "POST /containers/create", asJSON, `{"Image":"a"} x`, "request-body"},
		{"bytes that are no UTF-8", "POST /containers/create", asJSON, "{\"Image\":\"a\xff\"}", "request-body"},
		{"half a surrogate pair", "POST /containers/create", asJSON, `{"Image":"a\ud800"}`, "request-body"},
		{"a NUL", "POST /containers/create", asJSON, `{"HostConfig":{"Binds":["/srv\u0000/etc:/a"]}}`, "request-body"},
		{"a byte order mark", "POST /containers/create", asJSON, "\ufeff{}", "request-body"},
		{"a comment", "POST /containers/create", asJSON, `{/**/}`, "request-body"},
		{"another type", "POST /containers/create", asJSON, `{"HostConfig":{"Privileged":"true"}}`, "request-body"},
		{"a number for a flag", "POST /containers/create", asJSON, `{"HostConfig":{"Privileged":1}}`, "request-body"},
		{"a fraction", "POST /containers/create", asJSON, `{"HostConfig":{"Memory":1.5}}`, "request-body"},
		{"an exponent", "POST /containers/create", asJSON, `{"HostConfig":{"Memory":1e9}}`, "request-body"},
		{"a number beyond int64", "POST /containers/create", asJSON, `{"HostConfig":{"Memory":99999999999999999999}}`, "request-body"},
		{"a negative weight", "POST /containers/create", asJSON, `{"HostConfig":{"BlkioWeight":-1}}`, "request-body"},
		{"a list for an object", "POST /containers/create", asJSON, `{"HostConfig":[]}`, "request-body"},
		{"a list", "POST /containers/create", asJSON, `[]`, "request-body"},
		{"null", "POST /containers/create", asJSON, `null`, "request-body"},
		{"nothing", "POST /containers/create", asJSON, ``, "request-body"},
		{"an address that is none", "POST /containers/create", asJSON, `{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"010.0.0.1","HostPort":"80"}]}}}`, "request-body"},
		{"an array of another length", "POST /containers/create", asJSON, `{"HostConfig":{"ConsoleSize":[1,2,3]}}`, "request-body"},
		{"nested without end", "POST /containers/create", asJSON, strings.Repeat(`{"HostConfig":`, 99) + "{}" + strings.Repeat("}", 99), "request-body"},
		{"the parameters of a stop and more", "POST /containers/a/stop?t=5", asJSON, `{"t":5,"HostConfig":{}}`, "request-body"},
		{"a name in another case", "POST /containers/create", asJSON, `{"Name":"a"}`, "request-field"},
		{"a start with a HostConfig", "POST /containers/a/start", asJSON, `{"Privileged":true}`, "request-body"},
		{"a key that nobody knows", "POST /containers/create", asJSON, `{"HostConfig":{"Privilegedd":true}}`, "request-field"},
		{"a HostConfig at the top, as engines up to 20.10 read it", "POST /containers/create", asJSON, `{"Image":"a","Privileged":true}`, "request-field"},
		{"an exec with a key of a create", "POST /containers/a/exec", asJSON, `{"Cmd":["id"],"HostConfig":{}}`, "request-field"},
		{"a commit with a HostConfig", "POST /commit?container=a", asJSON, `{"HostConfig":{}}`, "request-field"},
		{"no content type", "POST /containers/create", "", `{}`, "request-type"},
		{"another", "POST /containers/create", "text/plain", `{}`, "request-type"},
		{"two", "POST /containers/create", "application/json, text/plain", `{}`, "request-type"},
		{"a parameter twice", "POST /containers/create", "application/json; charset=utf-8; charset=utf-16", `{}`, "request-type"},
		{"another encoding", "POST /containers/create", "application/json; charset=utf-16", `{}`, "request-type"},
		{"a form", "POST /containers/a/kill", "application/x-www-form-urlencoded", `signal=KILL`, "request-type"},
		{"a form with an image", "POST /images/create", "application/x-www-form-urlencoded", `fromSrc=http://x`, "request-type"},
		{"a form of parts", "POST /build", "multipart/form-data; boundary=x", ``, "request-type"},
		{"too long", "POST /containers/create", asJSON, `{"Image":"` + strings.Repeat("a", MaxBody) + `"}`, "request-size"},
		{"padded", "POST /containers/create", asJSON, strings.Repeat(" ", MaxBody) + `{"HostConfig":{"Privileged":true}}`, "request-size"},
	} {
		method, uri, _ := strings.Cut(c.endpoint, " ")
		b, err := Decode(route(t, method, uri), c.contentType, []byte(c.body))
		got := string(b.JSON)
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
			if got = refusal.Rule; refusal.Reason.Empty() || refusal.Fix.Empty() || refusal.Status == 0 {
				t.Errorf("%s: the refusal does not say why and how else: %+v", c.what, refusal)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q (%v)", c.what, got, c.want, err)
		}
	}
}

// TestVocabulary fills every field of every type that a body can have, and
// wants it read and passed on as it was.
func TestVocabulary(t *testing.T) {
	for i := range endpoints {
		e := &endpoints[i]
		if e.of == nil {
			continue
		}
		full := reflect.New(e.of)
		filled(full.Elem(), 0)
		body, err := json.Marshal(full.Interface())
		if err != nil {
			t.Fatal(err)
		}
		if err := agree(e, body); err != nil {
			t.Errorf("%s: %v", e, err)
		}
		if _, err := Decode(Route{Endpoint: e}, "application/json", body); err != nil {
			t.Errorf("%s: a full %s is refused: %v", e, e.of, err)
		}
	}
}

// filled sets all that can be set.
func filled(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), depth)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && depth < 12 {
				filled(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type().Elem().Kind() != reflect.Uint8 {
			filled(v.Index(0), depth)
		} else if v.Type().Name() == "HardwareAddr" {
			v.Set(reflect.ValueOf([]byte{2, 0, 0, 0, 0, 1}).Convert(v.Type()))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Key().Kind() == reflect.String {
			e := reflect.New(v.Type().Elem()).Elem()
			filled(e, depth)
			v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), e)
		}
	case reflect.String:
		v.SetString("a text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.25)
	}
}

// agree holds the two readings of a body against each other: the one that is
// passed on must fill the engine's type as the one that came, and reading it
// again must give it again.
func agree(e *Endpoint, body []byte) error {
	r := Route{Method: e.Method, Endpoint: e}
	b, err := Decode(r, "application/json", body)
	if err != nil {
		return nil
	}
	again, err := Decode(r, "application/json", b.JSON)
	if err != nil {
		return fmt.Errorf("what is passed on is refused: %s: %w", b.JSON, err)
	}
	if string(again.JSON) != string(b.JSON) {
		return fmt.Errorf("not stable: %s became %s", b.JSON, again.JSON)
	}
	came, sent := reflect.New(e.of), reflect.New(e.of)
	if err := json.Unmarshal(body, came.Interface()); err != nil {
		return nil // only an older engine takes it
	}
	if err := json.Unmarshal(b.JSON, sent.Interface()); err != nil {
		return fmt.Errorf("the engine does not read %s: %w", b.JSON, err)
	}
	if !reflect.DeepEqual(came.Interface(), sent.Interface()) {
		return fmt.Errorf("the engine reads another: %s", cmp.Diff(came.Interface(), sent.Interface(), cmp.Exporter(func(reflect.Type) bool { return true })))
	}
	return nil
}

// FuzzDecode has a body of each type that the engine reads.
func FuzzDecode(f *testing.F) {
	var typed []*Endpoint
	for i := range endpoints {
		if e := &endpoints[i]; e.of != nil {
			full := reflect.New(e.of)
			filled(full.Elem(), 0)
			body, _ := json.Marshal(full.Interface())
			f.Add(uint8(len(typed)), body)
			typed = append(typed, e)
		}
	}
	rows, err := battery.Read("testdata/battery.tsv")
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range rows {
		route, err := ParseURI(r.Method, r.URI)
		if i := slices.Index(typed, route.Endpoint); err == nil && i >= 0 && len(r.Body) < 1<<12 {
			f.Add(uint8(i), r.Body)
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		e := typed[int(i)%len(typed)]
		if err := agree(e, body); err != nil {
			t.Fatalf("%s: %q: %v", e, body, err)
		}
	})
}
