package admission

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"casco/lang"
	"casco/policy"
)

// lists has what is not the caller's left out of a list, of sums and of events.
func (q *question) lists(k kind) bool {
	if q.has(policy.List) == nil {
		q.mayNot(lang.Text{En: "this caller may not list", Es: "quien llama no puede listar"})
		return true
	}
	enforced := q.enforces(nil) || len(q.policy.Admission.Rules[ownerRule].Tiers) > 0
	switch path := q.route.Endpoint.Path; {
	case !q.asksAfter(k):
		return false
	case !enforced:
	case path == "/events":
		q.out.Edit = q.events()
	case path == "/system/df":
		q.out.Edit = q.view.edit(usage).then(q.out.Edit)
	case k == aVolume:
		q.out.Edit = q.view.edit(func(v *view, b []byte) ([]byte, error) {
			return edited(b, func(key string, list []byte) ([]byte, error) {
				if key != "Volumes" {
					return list, nil
				}
				return v.filtered(aVolume, list)
			})
		}).then(q.out.Edit)
	default:
		limit := 0
		if k == aContainer {
			limit = q.limit()
		}
		q.out.Edit = q.view.editList(k, limit).then(q.out.Edit)
	}
	return true
}

// edit is an Edit that looks at an answer with a new memory.
func (v *view) edit(do func(v *view, b []byte) ([]byte, error)) *Edit {
	return &Edit{Do: func(w World, b []byte) ([]byte, error) { return do(v.from(w), b) }}
}

// editList is an Edit of a list that leaves out what is not the caller's, and what
// is beyond limit, if there is one. What it asks for about one element it knows at
// the next.
func (v *view) editList(k kind, limit int) *Edit {
	var with *view
	n := 0
	return &Edit{Elements: true, Do: func(w World, item []byte) ([]byte, error) {
		if with == nil {
			with = v.from(w)
		}
		with.world = w
		f, err := fieldsOf(item)
		if err != nil {
			return nil, err
		}
		s := with.subject(k, f)
		if with.hides(s) || limit > 0 && n == limit {
			return nil, nil
		}
		n++
		if k == aNetwork { // before API 1.28 the list says who is on each
			return with.withoutOthers(s, item)
		}
		return item, nil
	}}
}

// limit takes over from the engine how many containers are listed, for it would
// count those that are left out. With one, it lists those that do not run too
// (moby, daemon/list.go).
func (q *question) limit() int {
	n, err := strconv.Atoi(q.route.Query.Get("limit"))
	if err != nil || n <= 0 {
		return 0
	}
	q.query("limit", "")
	q.query("all", "1")
	return n
}

// asksAfter judges the names of things that filters are resolved by: the engine
// answers otherwise if there is none.
func (q *question) asksAfter(k kind) bool {
	f, ok := filtersOf(q.route)
	if !ok {
		q.mayNot(lang.Text{En: "its filters are not understood", Es: "no se entienden sus filtros"})
		return false
	}
	of, names := aContainer, []string{}
	switch k {
	case aContainer:
		names = slices.Concat(f["before"], f["since"], q.route.Query["before"], q.route.Query["since"])
	case aTask:
		of, names = aService, f["service"]
	}
	for _, name := range names {
		if _, there := q.must(of, name, policy.List); name != "" && !there {
			return false
		}
	}
	return true
}

// filtersOf reads the parameter filters: {"label":["a"]}, and of old clients
// {"label":{"a":true}}.
func filtersOf(r Route) (map[string][]string, bool) {
	out := map[string][]string{}
	text := r.Query.Get("filters")
	if text == "" {
		return out, true
	}
	if json.Unmarshal([]byte(text), &out) == nil {
		if out == nil {
			out = map[string][]string{}
		}
		return out, true
	}
	var old map[string]map[string]bool
	if json.Unmarshal([]byte(text), &old) != nil {
		return nil, false
	}
	out = map[string][]string{}
	for key, values := range old {
		for value := range values {
			out[key] = append(out[key], value)
		}
		slices.Sort(out[key])
	}
	return out, true
}

// filtered leaves out of a list what is not the caller's.
func (v *view) filtered(k kind, list []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimLeft(list, " \t\r\n"), []byte("{")) {
		return nil, errAnswer
	}
	return chosen(list, func(_ string, item []byte) (bool, error) {
		f, err := fieldsOf(item)
		return err == nil && !v.hides(v.subject(k, f)), err
	})
}

// usage is what the caller's own takes of the disk. What is known of no engine is
// left out, as are the steps of builds, which are everybody's.
func usage(v *view, b []byte) ([]byte, error) {
	b, err := chosen(b, func(key string, _ []byte) (bool, error) {
		return slices.Contains([]string{"LayersSize", "Images", "ImageUsage", "ImagesDiskUsage", "Containers", "Volumes", "BuilderSize"}, key), nil
	})
	if err != nil {
		return nil, err
	}
	return edited(b, func(key string, value []byte) ([]byte, error) {
		switch key {
		case "Containers":
			return v.filtered(aContainer, value)
		case "Volumes":
			return v.filtered(aVolume, value)
		case "BuilderSize":
			return []byte("0"), nil
		}
		return value, nil
	})
}

// members leaves out of a network which containers of others are on it.
func (q *question) members(s *subject) *Edit {
	return q.view.edit(func(v *view, b []byte) ([]byte, error) { return v.withoutOthers(s, b) })
}

func (v *view) withoutOthers(s *subject, b []byte) ([]byte, error) {
	b, err := chosen(b, func(key string, _ []byte) (bool, error) { return !s.shared() || key != "Services", nil })
	if err != nil {
		return nil, err
	}
	return edited(b, func(key string, value []byte) ([]byte, error) {
		if key != "Containers" {
			return value, nil
		}
		return chosen(value, func(id string, _ []byte) (bool, error) { return v.visible()[id], nil })
	})
}

// visible are the IDs of the containers that are not kept from the caller.
func (v *view) visible() map[string]bool {
	if v.mine == nil {
		v.mine = map[string]bool{}
		for _, c := range v.containers() {
			if !v.hides(c) {
				v.mine[c.id] = true
			}
		}
	}
	return v.mine
}

// An event of the engine's (API, GET /events).
type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
}

// key is what a stream remembers the thing by: a volume has no ID.
func (e event) key() string {
	if e.Type == string(aVolume) {
		return string(aVolume) + " " + e.Actor.ID
	}
	return e.Actor.ID
}

// events leaves out of the stream what happens to what is not the caller's. Of
// what is gone when its end is told, it is known from before.
func (q *question) events() *Edit {
	known := recalled{}
	for _, n := range asList(q.world.Get("/networks")) {
		s := q.view.subject(aNetwork, asMap(n))
		if !q.view.hides(s) {
			known.put(s.id, true)
		}
	}
	for _, o := range asList(asMap(q.world.Get("/volumes"))["Volumes"]) {
		s := q.view.subject(aVolume, asMap(o))
		if !q.view.hides(s) {
			known.put(string(aVolume)+" "+s.name, true)
		}
	}
	return &Edit{Lines: true, Do: func(w World, line []byte) ([]byte, error) {
		var e event
		text := bytes.TrimPrefix(line, []byte{0x1e}) // RFC 7464
		if len(bytes.TrimSpace(text)) == 0 {
			return nil, nil
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, errAnswer
		}
		shown := q.view.from(w).shows(e, known)
		if e.Action == "destroy" || e.Action == "remove" {
			delete(known, e.key())
		}
		if !shown {
			return nil, nil
		}
		return line, nil
	}}
}

// A recalled is what a stream of events remembers of things until they are gone,
// by event.key: that they are the caller's, or, of a container of which the event
// alone does not tell, that it is not.
type recalled map[string]bool

// maxRecalled bounds it, for a caller may have many streams: of what is more, an
// end that is told when it is gone is not shown.
const maxRecalled = 1000

func (r recalled) put(key string, shown bool) {
	if _, has := r[key]; has || len(r) < maxRecalled {
		r[key] = shown
	}
}

// shows reports whether an event is for the caller.
func (v *view) shows(e event, known recalled) bool {
	of := kind(e.Type)
	container := e.Actor.Attributes["container"]
	switch of {
	case anImage:
		return true
	case aContainer: // its name and labels are in the event, its networks are not
		s := v.subject(aContainer, map[string]any{"Id": e.Actor.ID, "Names": []any{e.Actor.Attributes["name"]}, "Image": e.Actor.Attributes["image"]})
		s.labels = e.Actor.Attributes
		bare, asked, there := s.tier, false, false
		s.tier = func() string {
			asked = true
			is := v.find(aContainer, e.Actor.ID)
			if there = is != nil; there {
				return is.tier()
			}
			return bare()
		}
		shown := !v.hides(s)
		switch was, has := known[e.key()]; {
		case asked && !there && has:
			return was
		case shown || asked && there:
			known.put(e.key(), shown)
		}
		return shown
	case aNetwork, aVolume:
		if container != "" { // it comes to it, or leaves it
			if s := v.find(aContainer, container); s != nil {
				return !v.hides(s)
			}
			return known[container]
		}
	case aService, aSecret, aConfig:
	default:
		return false // of the engine as such
	}
	s := v.find(of, e.Actor.ID)
	if s == nil {
		return known[e.key()]
	}
	shown := !v.hides(s)
	if shown {
		known.put(e.key(), true)
	} else {
		delete(known, e.key())
	}
	return shown
}

func fieldsOf(b []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var f map[string]any
	if err := d.Decode(&f); err != nil || f == nil {
		return nil, errAnswer
	}
	return f, nil
}

// chosen returns the object or list b with those of its values of which f says so.
func chosen(b []byte, f func(key string, v []byte) (bool, error)) ([]byte, error) {
	var out bytes.Buffer
	first := bytes.TrimLeft(b, " \t\r\n")
	object, list := bytes.HasPrefix(first, []byte("{")), bytes.HasPrefix(first, []byte("["))
	err := eachValue(b, func(key string, v []byte, _ int) error {
		keep, err := f(key, v)
		if !keep || err != nil {
			return err
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		if object {
			out.Write(encode(key))
			out.WriteByte(':')
		}
		out.Write(v)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case object:
		return slices.Concat([]byte("{"), out.Bytes(), []byte("}")), nil
	case list:
		return slices.Concat([]byte("["), out.Bytes(), []byte("]")), nil
	}
	return b, nil // null
}
