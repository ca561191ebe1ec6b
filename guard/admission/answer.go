package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"casco/lang"
)

// An Edit takes out of an answer what is not for its caller. All else stays byte
// for byte as the engine wrote it.
type Edit struct {
	// Lines: the answer is a stream of JSON values, one a line, and Do is given each
	// without its end; what it makes nothing of is left out. Elements: so it is with
	// the elements of a list, which is all of the answer, if that is not null.
	Lines, Elements bool
	// Do is called one at a time, for one answer. An answer that it cannot read is an error, and
	// must not be passed on.
	Do func(w World, b []byte) ([]byte, error)
}

// whole is an Edit of an answer that needs nothing else.
func whole(do func([]byte) ([]byte, error)) *Edit {
	return &Edit{Do: func(_ World, b []byte) ([]byte, error) { return do(b) }}
}

// maskedAnswer is an Edit of the answer of an endpoint that has variables in fields.
func maskedAnswer(e *Endpoint) *Edit {
	edit := whole(maskEnv)
	edit.Elements = slices.Contains(listing, e.Path)
	return edit
}

// listing are the endpoints of which the answer is one list.
var listing = []string{"/containers/json", "/images/json", "/networks", "/plugins", "/nodes", "/services", "/tasks", "/secrets", "/configs"}

// then has next edit what e leaves, if there is one, in the same way.
func (e *Edit) then(next *Edit) *Edit {
	if next == nil {
		return e
	}
	return &Edit{Elements: e.Elements, Do: func(w World, b []byte) ([]byte, error) {
		b, err := e.Do(w, b)
		if err != nil || len(b) == 0 {
			return nil, err
		}
		return next.Do(w, b)
	}}
}

// readOnly judges what a caller asks who may look and no more, and takes the
// values of environment variables out of the answer.
func (q *question) readOnly() {
	e := q.route.Endpoint
	switch ps := q.route.Query.Get("ps_args"); {
	case e.Class != Ping && e.Class != Read:
		q.refuse("caller-read-only", lang.Text{En: "this caller may look and no more; %s is more", Es: "quien llama puede mirar y nada más; %s es más"}.F(e), askOther)
		return
	case ps != "": // ps e shows the environment
		q.refuse("caller-read-only", lang.Text{En: "this caller may not choose what ps shows", Es: "quien llama no puede elegir qué muestra ps"}, lang.Text{En: "docker top NAME without more", Es: "docker top NOMBRE sin más"})
	case q.route.flag("details"): // of logs: with variables that --log-opt env names
		q.refuse("caller-read-only", lang.Text{En: "details of logs have environment variables", Es: "los detalles de los registros tienen variables de entorno"}, lang.Text{En: "docker logs without --details", Es: "docker logs sin --details"})
	}
	switch environment[e.String()] {
	case none:
	case fields:
		q.out.Edit = maskedAnswer(e)
	case steps:
		q.out.Edit = whole(maskSteps)
	default:
		q.refuse("caller-read-only", lang.Text{En: "the answer to %s may have environment variables in a form that cannot be left out", Es: "la respuesta a %s puede tener variables de entorno en una forma que no se puede quitar"}.F(e), askOther)
	}
}

// inAnswer is where an answer has values of environment variables.
type inAnswer uint8

const (
	anywhere inAnswer = iota
	none
	fields // in lists called Env, and of an image in its instructions for others
	steps  // in the steps by which an image was built
)

// environment says it of each endpoint of the classes Ping and Read: Engine API,
// the types of its answers. One that is not here could have them anywhere, as the
// attestations of an image have, where its builder wrote its arguments.
var environment = map[string]inAnswer{
	"GET /_ping": none, "HEAD /_ping": none, "GET /version": none, "GET /info": none, "GET /events": none, "GET /system/df": none,
	"GET /containers/json": none, "GET /containers/{id}/json": fields, "GET /containers/{id}/top": none, "GET /containers/{id}/logs": none,
	"GET /containers/{id}/changes": none, "GET /containers/{id}/stats": none, "GET /containers/{id}/checkpoints": none, "GET /exec/{id}/json": none,
	"GET /images/json": none, "GET /images/search": none, "GET /images/{name}/json": fields, "GET /images/{name}/history": steps, "GET /distribution/{name}/json": none,
	"GET /volumes": none, "GET /volumes/{id}": none, "GET /networks": none, "GET /networks/{id}": none,
	"GET /plugins": fields, "GET /plugins/privileges": none, "GET /plugins/{name}/json": fields, "GET /nodes": none, "GET /nodes/{id}": none,
	"GET /services": fields, "GET /services/{id}": fields, "GET /services/{id}/logs": none, "GET /tasks": fields, "GET /tasks/{id}": fields, "GET /tasks/{id}/logs": none,
	"GET /secrets": none, "GET /secrets/{id}": none,
}

// hidden stands for a value.
const hidden = "***"

// maskEnv hides the values of environment variables in any answer of the engine:
// the elements "NAME=value" of lists that are called Env, those of a plugin that
// are objects with a Value, and the instructions that an image has for others.
// A text called Env is somebody's label.
func maskEnv(b []byte) ([]byte, error) {
	return edited(b, func(key string, v []byte) ([]byte, error) {
		switch {
		case v[0] == '[' && strings.EqualFold(key, "Env"):
			return edited(v, maskVariable)
		case v[0] == '[' && strings.EqualFold(key, "OnBuild"):
			return edited(v, maskStep)
		case v[0] == '{' && strings.EqualFold(key, "ContainerConfig"):
			return maskLastStep(v)
		case (v[0] == '{' || v[0] == '[') && mayMask.Match(v):
			return maskEnv(v)
		}
		return v, nil
	})
}

// mayMask is true of what has a key that maskEnv looks for, be it written with an
// escape: most of an answer has none, and need not be taken apart.
var mayMask = regexp.MustCompile(`(?i)env|onbuild|\\u`)

// maskLastStep hides the command of the container in which an image was made:
// its last step, cut into words, with the build's arguments before it.
func maskLastStep(b []byte) ([]byte, error) {
	b, err := edited(b, func(key string, v []byte) ([]byte, error) {
		if v[0] == '[' && strings.EqualFold(key, "Cmd") {
			return encode([]string{hidden}), nil
		}
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	return maskEnv(b)
}

func maskVariable(_ string, v []byte) ([]byte, error) {
	switch v[0] {
	case '"':
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return nil, err
		}
		if name, _, has := strings.Cut(s, "="); has {
			return encode(name + "=" + hidden), nil
		}
		return v, nil
	case '{':
		return edited(v, func(key string, v []byte) ([]byte, error) {
			if strings.EqualFold(key, "Value") {
				return encode(hidden), nil
			}
			return v, nil
		})
	}
	return nil, errAnswer
}

// maskSteps hides the values of variables in the history of an image.
func maskSteps(b []byte) ([]byte, error) {
	return edited(b, func(_ string, v []byte) ([]byte, error) {
		return edited(v, func(key string, v []byte) ([]byte, error) {
			if key != "CreatedBy" {
				return v, nil
			}
			return maskStep(key, v)
		})
	})
}

var (
	// assigns is a step that sets variables: "ENV A=b", and of the classic builder
	// "/bin/sh -c #(nop)  ENV A=b".
	assigns = regexp.MustCompile(`(?is)^(.*#\(nop\)\s+|\s*)(ENV|ARG)\s.*`)
	// given are the arguments of a build before a command: "|1 A=b /bin/sh -c …".
	// Where they end cannot be told.
	given = regexp.MustCompile(`(?s)^(RUN )?(\|[0-9]+) .*`)
)

func maskStep(_ string, v []byte) ([]byte, error) {
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return nil, err
	}
	masked := given.ReplaceAllString(assigns.ReplaceAllString(s, "$1$2 "+hidden), "$1$2 "+hidden)
	if masked == s {
		return v, nil
	}
	return encode(masked), nil
}

// edited returns the object or list b with what f gives for each of its values;
// key is "" in a list. A null has none.
func edited(b []byte, f func(key string, v []byte) ([]byte, error)) ([]byte, error) {
	var out bytes.Buffer
	from := 0
	err := eachValue(b, func(key string, v []byte, end int) error {
		is, err := f(key, v)
		out.Write(b[from : end-len(v)])
		out.Write(is)
		from = end
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Write(b[from:])
	return out.Bytes(), nil
}

var errAnswer = lang.Errorf(lang.Text{En: "the engine's answer is not of the form that is known of it", Es: "la respuesta del motor no tiene la forma que se le conoce"})

// eachValue calls f with each value of the object or list b, and where in b it
// ends. It is an error if b is neither, nor null, or something follows it.
func eachValue(b []byte, f func(key string, v []byte, end int) error) error {
	d := json.NewDecoder(bytes.NewReader(b))
	start, err := d.Token()
	if err != nil {
		return err
	}
	object := start == json.Delim('{')
	if !object && start != json.Delim('[') {
		if start != nil {
			return errAnswer
		}
		return atEnd(d)
	}
	for d.More() {
		key := ""
		if object {
			t, err := d.Token()
			if err != nil {
				return err
			}
			key, _ = t.(string)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		if err := f(key, v, int(d.InputOffset())); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	return atEnd(d)
}

func atEnd(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errAnswer
	}
	return nil
}
