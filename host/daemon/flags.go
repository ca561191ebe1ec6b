package daemon

import (
	"encoding/json"
	"strconv"
	"strings"
)

// parseFlags reads the command line of a dockerd that has started (args[0] is
// the program) as its flag package does, github.com/spf13/pflag: --flag=x,
// --flag x, -H x, -Hx, -H=x, letters in one word (-DH x), and -- ends them. A
// boolean takes a value only after =. The result is under the names of
// daemon.json; config is --config-file, or "".
//
// What is no flag of ours is passed over: dockerd takes no arguments, so a
// word without a dash can only be the value of a flag that is newer than us.
func parseFlags(args []string) (given map[string]any, config string) {
	given = map[string]any{}
	p := &flagParser{given: given}
	if len(args) > 0 {
		p.rest = args[1:]
	}
	for len(p.rest) > 0 {
		word := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case word == "--":
			p.rest = nil
		case strings.HasPrefix(word, "--"):
			p.long(word[2:])
		case strings.HasPrefix(word, "-") && len(word) > 1:
			p.short(word[1:])
		}
	}
	if file, ok := given[configFile].(string); ok {
		config = file
	}
	for _, s := range notSettings {
		delete(given, s.key)
	}
	return given, config
}

type flagParser struct {
	rest  []string
	given map[string]any
}

func (p *flagParser) long(word string) {
	name, value, has := strings.Cut(word, "=")
	s, ok := byFlag(name)
	switch {
	case !ok || len(name) == 1:
	case has:
		p.set(s, value)
	case s.form == boolean:
		p.set(s, "true")
	default:
		p.next(s)
	}
}

func (p *flagParser) short(letters string) {
	for letters != "" {
		s, ok := byFlag(letters[:1])
		letters = letters[1:]
		switch {
		case !ok:
			return
		case strings.HasPrefix(letters, "="):
			p.set(s, letters[1:])
			return
		case s.form == boolean:
			p.set(s, "true")
		case letters != "":
			p.set(s, letters)
			return
		default:
			p.next(s)
		}
	}
}

// next takes the next word as the value, whatever it looks like.
func (p *flagParser) next(s setting) {
	if len(p.rest) > 0 {
		p.set(s, p.rest[0])
		p.rest = p.rest[1:]
	}
}

// set takes one value, as written. One that dockerd would have refused is not
// taken: it did start.
func (p *flagParser) set(s setting, value string) {
	switch s.form {
	case text:
		p.given[s.key] = value
	case boolean:
		if b, err := strconv.ParseBool(value); err == nil {
			p.given[s.key] = b
		}
	case number:
		if n, err := strconv.ParseInt(value, 0, 64); err == nil {
			p.given[s.key] = json.Number(strconv.FormatInt(n, 10))
		}
	case list:
		p.add(s, value)
	case pools:
		p.add(s, pool(value))
	case pairs:
		name, v, _ := strings.Cut(value, "=")
		p.put(s, name, pairValue(s, v))
	case runtimes:
		name, path, _ := strings.Cut(value, "=")
		p.put(s, name, map[string]any{"path": path})
	case ulimits:
		name, limits, _ := strings.Cut(value, "=")
		p.put(s, name, ulimit(name, limits))
	}
}

func (p *flagParser) add(s setting, v any) {
	l, _ := p.given[s.key].([]any)
	p.given[s.key] = append(l, v)
}

func (p *flagParser) put(s setting, name string, v any) {
	m, ok := p.given[s.key].(map[string]any)
	if !ok {
		m = map[string]any{}
		p.given[s.key] = m
	}
	m[name] = v
}

// pairValue is a word, but features are true or false; "" is true.
func pairValue(s setting, value string) any {
	if s.key != "features" {
		return value
	}
	b, err := strconv.ParseBool(value)
	return b || err != nil
}

// ulimit reads soft[:hard], github.com/docker/go-units ParseUlimit: without a
// hard limit it is the soft one, -1 is unlimited.
func ulimit(name, limits string) map[string]any {
	soft, hard, has := strings.Cut(limits, ":")
	if !has {
		hard = soft
	}
	return map[string]any{"Name": name, "Soft": json.Number(soft), "Hard": json.Number(hard)}
}

// pool reads base=10.0.0.0/8,size=24.
func pool(value string) map[string]any {
	m := map[string]any{}
	for part := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(part, "=")
		if name == "size" {
			m[name] = json.Number(v)
			continue
		}
		m[name] = v
	}
	return m
}
