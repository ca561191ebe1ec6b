package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// decode reads a reply of the engine as encoding/json does with UseNumber:
// objects are map[string]any, lists []any, numbers json.Number. It is here
// because those replies are most of what an audit reads: it takes a fifth of
// the time, because it need not find out types, measures each map before it
// makes it, and lets all texts be parts of one copy of the reply. What is rare
// (escapes, letters beyond ASCII) is left to encoding/json; FuzzDecode holds
// the two to the same answers.
func decode(reply []byte) (any, error) {
	d, _ := decoders.Get().(*decoder)
	defer d.done()
	d.text = string(reply)
	v, err := d.value(0)
	if err == nil {
		if d.space(); d.at < len(d.text) {
			err = errors.New("something follows the value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d is not JSON: %w", d.at, err)
	}
	return v, nil
}

// readReply decodes what is left of a reply into out: an object or a list, as it is,
// or else whatever encoding/json can fill.
func readReply(reply io.Reader, out any) error {
	b, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(reply); err != nil {
		return err
	}
	switch out := out.(type) {
	case *map[string]any:
		return into(out, b.Bytes())
	case *[]any:
		return into(out, b.Bytes())
	}
	d := json.NewDecoder(b)
	d.UseNumber()
	return d.Decode(out)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// into is decode for those who know what they get. A null leaves nil.
func into[T any](out *T, reply []byte) error {
	v, err := decode(reply)
	if err != nil {
		return err
	}
	var ok bool
	if *out, ok = v.(T); !ok && v != nil {
		return fmt.Errorf("is %T, want %T", v, *out)
	}
	return nil
}

// deepest is how many lists and objects may be in one another: encoding/json
// stops there too.
const deepest = 10_000

var (
	errEnd   = errors.New("it ends too early")
	errToken = errors.New("unexpected character")
)

// A decoder goes through text once.
type decoder struct {
	text string
	at   int // what is before it is done

	// The members and elements of what is not finished yet, the innermost last:
	// how many there are is known before the map or list is made.
	keys   []string
	values []any
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// done keeps d, and nothing that it has read, for the next reply.
func (d *decoder) done() {
	clear(d.keys[:cap(d.keys)])
	clear(d.values[:cap(d.values)])
	*d = decoder{keys: d.keys[:0], values: d.values[:0]}
	decoders.Put(d)
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// next skips space and returns the byte that follows, 0 at the end.
func (d *decoder) next() byte {
	d.space()
	if d.at == len(d.text) {
		return 0
	}
	return d.text[d.at]
}

func (d *decoder) unexpected() error {
	if d.at >= len(d.text) {
		return errEnd
	}
	return errToken
}

func (d *decoder) value(depth int) (any, error) {
	c := d.next()
	if (c == '{' || c == '[') && depth == deepest {
		return nil, errors.New("too deep")
	}
	switch c {
	case '{':
		return d.object(depth)
	case '[':
		return d.list(depth)
	case '"':
		s, err := d.str()
		return s, err
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	}
	return d.number()
}

func (d *decoder) word(w string) error {
	if !strings.HasPrefix(d.text[d.at:], w) {
		return errToken
	}
	d.at += len(w)
	return nil
}

func (d *decoder) object(depth int) (any, error) {
	d.at++
	keys, values := len(d.keys), len(d.values)
	if d.next() == '}' {
		d.at++
		return map[string]any{}, nil
	}
	for {
		if d.next() != '"' {
			return nil, d.unexpected()
		}
		key, err := d.str()
		if err != nil {
			return nil, err
		}
		if d.next() != ':' {
			return nil, d.unexpected()
		}
		d.at++
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, key), append(d.values, v)
		switch d.next() {
		case ',':
			d.at++
			continue
		case '}':
			d.at++
		default:
			return nil, d.unexpected()
		}
		break
	}
	m := make(map[string]any, len(d.keys)-keys)
	for i, key := range d.keys[keys:] {
		m[key] = d.values[values+i]
	}
	d.keys, d.values = d.keys[:keys], d.values[:values]
	return m, nil
}

func (d *decoder) list(depth int) (any, error) {
	d.at++
	values := len(d.values)
	if d.next() == ']' {
		d.at++
		return []any{}, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.values = append(d.values, v)
		switch d.next() {
		case ',':
			d.at++
			continue
		case ']':
			d.at++
		default:
			return nil, d.unexpected()
		}
		break
	}
	l := append([]any(nil), d.values[values:]...)
	d.values = d.values[:values]
	return l, nil
}

// str reads a text whose opening quote is next.
func (d *decoder) str() (string, error) {
	from := d.at + 1
	for i := from; i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			d.at = i + 1
			return d.text[from:i], nil
		case c == '\\', c >= utf8.RuneSelf:
			return d.rareStr()
		case c < ' ':
			d.at = i
			return "", errors.New("control character in a text")
		}
	}
	d.at = len(d.text)
	return "", errEnd
}

// rareStr is str for a text that is not what it looks like.
func (d *decoder) rareStr() (s string, err error) {
	for end := d.at + 1; end < len(d.text); end++ {
		switch d.text[end] {
		case '\\':
			end++
		case '"':
			if err := json.Unmarshal([]byte(d.text[d.at:end+1]), &s); err != nil {
				return "", err
			}
			d.at = end + 1
			return s, nil
		}
	}
	d.at = len(d.text)
	return "", errEnd
}

// digits are numbers of which a reply has dozens: made once.
var digits = [10]any{
	json.Number("0"), json.Number("1"), json.Number("2"), json.Number("3"), json.Number("4"),
	json.Number("5"), json.Number("6"), json.Number("7"), json.Number("8"), json.Number("9"),
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?, RFC 8259 6.
func (d *decoder) number() (any, error) {
	from := d.at
	d.skip("-")
	if !d.skip("0") && !d.run() {
		return nil, d.unexpected()
	}
	if d.skip(".") && !d.run() {
		return nil, d.unexpected()
	}
	if d.skip("eE") {
		d.skip("+-")
		if !d.run() {
			return nil, d.unexpected()
		}
	}
	s := d.text[from:d.at]
	if len(s) == 1 {
		return digits[s[0]-'0'], nil
	}
	return json.Number(s), nil
}

// skip goes over one byte if it is one of set.
func (d *decoder) skip(set string) bool {
	if d.at < len(d.text) && strings.IndexByte(set, d.text[d.at]) >= 0 {
		d.at++
		return true
	}
	return false
}

// run goes over digits and reports whether there were any.
func (d *decoder) run() bool {
	from := d.at
	for d.at < len(d.text) && '0' <= d.text[d.at] && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at > from
}
