package guard

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"casco/internal/battery"
	"casco/internal/outside"
)

// TestWire sends what is an attack along each way to an engine that has casco
// at its door and in it: it is refused by its rule and changes nothing. What is
// like it and harmless passes the same way.
//
// Of the battery's rows each takes one of the two ways past the door in turn,
// and everyday work that resembles no attack (technique 12) is left out;
// CASCO_WIRE=1 sends all along all.
func TestWire(t *testing.T) {
	w := newWire(t)
	t.Run("unjudged", w.unjudged)
	w.judged(battery.Policies["base"])
	rows, err := battery.Read("../../guard/admission/testdata/battery.tsv")
	if err != nil {
		t.Fatal(err)
	}
	bytes := byteRows(t)
	sent := 0
	for _, to := range w.ways() {
		t.Run(to.name, func(t *testing.T) {
			v := w.visit(t, to)
			for _, r := range bytes {
				v.bytes(r)
			}
			v.pipelined()
			v.swapped()
			v.battery("base", rows)
			sent += v.sent
		})
	}
	t.Run("policies", func(t *testing.T) {
		v := w.visit(t, w.ways()[0])
		for _, name := range []string{"observe", "silent", "digest", "warn", "nnp", "tiered", "agreed"} {
			w.under(battery.Policies[name])
			v.battery(name, rows)
		}
		sent += v.sent
	})
	for _, d := range []struct {
		name   string
		demand func(*testing.T)
	}{{"P-23 P-24", w.ports}, {"P-25", w.tiers}, {"P-46", w.trusted}, {"P-49", w.forged}, {"P-50", w.stale}, {"P-51", w.mutual}, {"P-51 ssh", w.overSSH}} {
		t.Run(d.name, d.demand)
	}
	t.Run("sent", func(t *testing.T) {
		t.Logf("%d requests", sent)
		if sent < 1000 {
			t.Errorf("only %d requests were sent", sent)
		}
	})
	w.guard.quiet()
}

// A visit sends requests along one way, and knows what the engine had before
// each.
type visit struct {
	*wire
	t      *testing.T
	to     way
	before map[string]string
	sent   int
}

func (w *wire) visit(t *testing.T, to way) *visit {
	all := w.t
	w.t = t
	t.Cleanup(func() { w.t = all })
	return &visit{wire: w, t: t, to: to, before: w.state()}
}

// unchanged wants the engine to have what it had, but for what is named.
func (v *visit) unchanged(what string, after map[string]string) {
	v.t.Helper()
	if d := changed(v.before, after); d != nil {
		v.t.Errorf("%s: changed %s", what, d)
		v.undo(after)
	}
}

// undo takes away what came, makes anew what went or is otherwise, and takes
// that for what there is.
func (v *visit) undo(after map[string]string) {
	v.t.Helper()
	gone := map[string]string{"container": "/containers/%s?force=1&v=1", "volume": "/volumes/%s", "network": "/networks/%s", "tag": "/images/%s", "image": "/images/%s?force=1"}
	differ := changed(v.before, after)
	for _, d := range differ {
		kind, name, _ := strings.Cut(d[1:], "/")
		again := d[0] == '~' && kind == "container" && slices.Contains(running, name)
		if d[0] == '+' && gone[kind] != "" || again {
			v.delete(fmt.Sprintf(gone[kind], name))
		}
		if again {
			v.box(name)
		}
	}
	for _, d := range differ {
		switch kind, name, _ := strings.Cut(d[1:], "/"); {
		case d[0] == '-' && kind == "container":
			v.box(name)
		case d[0] == '-' && kind == "volume":
			v.volume(name)
		}
	}
	v.name()
	v.before = v.state()
}

// running are the containers that are made anew when they are not what they were.
var running = []string{"web", "api", "db", "vault1", "job", "dashboard"}

// Rows of the battery that an engine is not asked: what they would do to it
// cannot be undone under the plugin, or needs what is not here.
var notAsked = map[string]string{
	"anybody else: POST /containers/prune": "deletes what may not be made again",
	"plugin: GET /plugins/privileges":      "asks a registry on the Internet",
}

// A row is answered otherwise than by its rule where it does not get to the
// judge. At the door its own reader refuses it, by a status; asked directly, the
// engine hides bodies that are not called JSON, or are long, and its router
// answers paths that it does not know.
var (
	byDoor = map[string]string{
		"the absolute form": "400", "the absolute form, harmless": "400", "a fragment": "400",
		"read-only: whether a file is there":           "403",                       // the answer to HEAD has no text
		"start of one that was given /etc by its name": "container-sensitive-mount", // by the look at its configuration
	}
	byEngine = map[string]string{
		"no content type": "request-body", "text/plain": "request-body",
		"padded to 1.1 MB": "request-body request-size", "padded to 5 MB": "request-body engine",
		"two slashes": "engine", "dots behind the version": "engine", "another path before dots": "engine", "encoded dots": "engine", "encoded twice": "engine",
		"a fragment": "engine", "a slash at the end": "engine", "upper case": "engine", "another method": "engine",
		"a path that can be read in two ways, and only noted": "engine",
		"read-only: whether a file is there":                  "403",
		"start of one that was given /etc by its name":        "container-sensitive-mount",
	}
)

// battery sends the rows of one policy. Who may only look is let through by the
// door alone: the plugin cannot mask an answer.
func (v *visit) battery(policy string, rows []battery.Row) {
	all := lane(v.t, "CASCO_WIRE", 0) > 0
	for _, r := range rows {
		passes := r.Want == "pass" || strings.HasSuffix(r.Want, "?")
		switch {
		case r.Policy != policy || notAsked[r.Shows] != "":
			continue
		case !all && !v.to.door && r.Caller == "" && (r.Line%2 == 0) != (v.to.name == "tls"):
			continue
		case !all && passes && r.Technique == "12" && r.Caller == "":
			continue
		case passes && !v.to.door && r.Caller != "":
			continue
		}
		a, err := v.ask(v.to, r.Caller, r.Method, v.request(r))
		if errors.Is(err, errNobody) {
			continue
		}
		v.sent++
		want := r.Want
		if passes {
			want = "through"
		}
		if by, ok := map[bool]map[string]string{true: byDoor, false: byEngine}[v.to.door][r.Shows]; ok {
			want = by
		}
		what := fmt.Sprintf("battery.tsv:%d: %s", r.Line, r.Shows)
		v.wants(what, want, a, err)
		after := v.state()
		switch {
		case !passes:
			v.unchanged(what, after)
		case r.Technique == "10": // a command that was made is forgotten with its container
			v.before = after
		case changed(v.before, after) != nil:
			v.undo(after)
		}
	}
}

// request writes a row as a client sends it.
func (w *wire) request(r battery.Row) []byte {
	var b strings.Builder
	body := w.ids.Replace(string(r.Body))
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: docker\r\n", r.Method, w.ids.Replace(r.URI))
	if r.ContentType != "" {
		b.WriteString("Content-Type: " + r.ContentType + "\r\n")
	}
	if body != "" || r.Method == "POST" || r.Method == "PUT" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return []byte(b.String() + "\r\n" + body)
}

// wants holds an answer against what it may be: a rule (or several by comma), a
// status, "through" for whatever the engine does with it, "pass" for what it
// makes, "engine" for its refusal before it asked anybody, "none".
func (v *visit) wants(what, want string, a answer, err error) {
	v.t.Helper()
	rules := a.rules()
	ok := slices.ContainsFunc(strings.Fields(want), func(one string) bool {
		switch one {
		case "through":
			return rules == "" && a.status > 0 && !strings.Contains(a.text, "casco: ") && !strings.Contains(a.text, "authorization denied")
		case "pass":
			return a.status == 201
		case "engine":
			return !v.to.door && rules == "" && a.status >= 300
		case "none":
			return a.status == 0
		}
		return one == rules || rules == "" && one == strconv.Itoa(a.status)
	})
	if !ok {
		v.t.Errorf("%s: want %s, got %d %s: %.300s %v", what, want, a.status, rules, a.text, err)
	} else if rules == "" && want != "through" && want != "pass" {
		v.t.Logf("%s: %d %.100q", what, a.status, a.text)
	}
}

// A byteRow is a line of testdata/wire.tsv, whose head says what it is.
type byteRow struct {
	line                  int
	shows                 string
	pad                   int
	atDoor, engine, bytes string
}

func byteRows(t *testing.T) []byteRow {
	t.Helper()
	var out []byteRow
	for i, line := range strings.Split(strings.TrimSuffix(outside.MustRead(t, "testdata/wire.tsv"), "\n"), "\n") {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			t.Fatalf("wire.tsv:%d: %d columns", i+1, len(f))
		}
		pad, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatalf("wire.tsv:%d: %v", i+1, err)
		}
		var b strings.Builder
		for rest := f[4]; rest != ""; {
			c, wide, tail, err := strconv.UnquoteChar(rest, 0)
			if err != nil {
				t.Fatalf("wire.tsv:%d: %v", i+1, err)
			}
			if wide {
				b.WriteRune(c)
			} else {
				b.WriteByte(byte(c))
			}
			rest = tail
		}
		out = append(out, byteRow{i + 1, f[0], pad, f[2], f[3], b.String()})
	}
	return out
}

// with is what is sent, with the flag.
func (r byteRow) with(flag bool) []byte {
	json := strings.Repeat(" ", r.pad) + `{"Image":"registry.example/app:1","HostConfig":{"Privileged":` + strconv.FormatBool(flag) + `}}`
	chunk := func(ext, nl string) string { return fmt.Sprintf("%x%s%s%s%s0%s", len(json), ext, nl, json, nl, nl) }
	var drips strings.Builder
	if strings.Contains(r.bytes, "{DRIPS}") {
		for i := range len(json) {
			drips.WriteString("1\r\n" + json[i:i+1] + "\r\n")
		}
		drips.WriteString("0\r\n\r\n")
	}
	text := strings.NewReplacer("{CREATE}", "POST /v1.41/containers/create?name=x1", "{JSON}", json, "{FLAG}", strconv.FormatBool(flag), "{CUT}", string(cut),
		"{CHUNKS}", chunk("", "\r\n")+"\r\n", "{CHUNKSLF}", chunk("", "\n")+"\n", "{CHUNKSCUT}", fmt.Sprintf("%x\r\n%s", len(json)+1, json), "{DRIPS}", drips.String(),
		"{CHUNKS;x=y}", chunk(";x=y", "\r\n")+"\r\n", "{CHUNKS:", chunk("", "\r\n")).Replace(r.bytes)
	if strings.Contains(r.bytes, "{CHUNKS:") {
		text = strings.Replace(text, "\r\n}", "\r\n\r\n", 1) // the end of trailers
	}
	at := strings.Index(text, "\r\n\r\n") + 4
	if lf := strings.Index(text, "\n\n"); at < 4 {
		at = lf + 2
	}
	length := len(text) - at
	return []byte(strings.NewReplacer("{LEN}", strconv.Itoa(length), "{LEN-9}", strconv.Itoa(length-9), "{LEN+9}", strconv.Itoa(length+9)).Replace(text))
}

// bytes sends a row as an attack, and then without the flag.
func (v *visit) bytes(r byteRow) {
	for _, flag := range []bool{true, false} {
		want := r.engine
		if v.to.door {
			want = r.atDoor
		}
		if !flag {
			want = strings.ReplaceAll(want, "container-privileged", "pass")
		}
		what := fmt.Sprintf("wire.tsv:%d: %s, %v", r.line, r.shows, flag)
		a, err := v.ask(v.to, "", "POST", r.with(flag))
		v.sent++
		v.wants(what, want, a, err)
		if a.status != 201 || flag {
			v.unchanged(what, v.state())
		} else {
			v.undo(v.state())
		}
	}
}

// pipelined sends several requests at once: each is judged by itself, and an
// answer is not taken for another's.
func (v *visit) pipelined() {
	ping := "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
	create := func(flag bool) string {
		return string(byteRow{bytes: "{CREATE} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {LEN}\r\n\r\n{JSON}"}.with(flag))
	}
	hidden := "GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: " + strconv.Itoa(len(create(true))) + "\r\n\r\n" + create(true)
	for _, c := range []struct{ shows, requests, want string }{
		{"an attack behind a ping", ping + create(true), "200 container-privileged"},
		{"two attacks", create(true) + create(true), "container-privileged container-privileged"},
		{"a ping behind an attack", create(true) + ping, "container-privileged 200"},
		{"an attack in the body of a ping", hidden + ping, "200 200"},
		{"an attack behind what is harmless", create(false) + create(true), "201 container-privileged"},
	} {
		conn, err := v.to.dial("")
		if err != nil {
			v.t.Fatal(err)
		}
		as, err := answers(conn, []byte(c.requests), "GET", "POST")
		conn.Close()
		v.sent += 2
		var got []string
		for _, a := range as {
			if got = append(got, a.rules()); a.rules() == "" {
				got[len(got)-1] = strconv.Itoa(a.status)
			}
		}
		if strings.Join(got, " ") != c.want {
			v.t.Errorf("%s: %s, want %s: %+v %v", c.shows, got, c.want, as, err)
		}
		if after := v.state(); strings.Contains(c.want, "201") {
			if d := changed(v.before, after); !slices.Equal(d, []string{"+container/x1"}) {
				v.t.Errorf("%s: changed %s", c.shows, d)
			}
			v.undo(after)
		} else {
			v.unchanged(c.shows, after)
		}
	}
}

// swapped makes a container of a link that is harmless, and lets the link lead
// to the host's own before the start: to what is there, and to what is not yet.
func (v *visit) swapped() {
	post := func(path, body string) (answer, error) {
		return v.ask(v.to, "", "POST", v.request(battery.Row{Method: "POST", URI: "/v1.41" + path, ContentType: "application/json", Body: []byte(body)}))
	}
	v.link("/srv/swap", "/srv/data")
	a, err := post("/containers/create?name=x1", `{"Image":"registry.example/app:1","HostConfig":{"NetworkMode":"none","Binds":["/srv/swap:/m"]}}`)
	v.wants("made of a link to data", "pass", a, err)
	made := v.state()
	for to, rule := range map[string]string{"/etc": "container-sensitive-mount", "/srv/up/etc/ssh": "container-sensitive-mount", "/run/docker.sock": "container-engine-socket", "/etc/not/there/yet": "container-sensitive-mount"} {
		v.link("/srv/swap", to)
		for _, verb := range []string{"start", "restart"} {
			a, err = post("/containers/x1/"+verb, "")
			v.wants("start with the link to "+to, rule, a, err)
			v.sent++
		}
		a, err = post("/containers/create?name=x2", `{"Image":"registry.example/app:1","HostConfig":{"Binds":["/srv/swap:/m"]}}`)
		v.wants("made of a link to "+to, rule, a, err)
		v.sent++
		if d := changed(made, v.state()); d != nil {
			v.t.Errorf("the link to %s: changed %s", to, d)
		}
	}
	v.link("/srv/swap", "/srv/data")
	a, err = post("/containers/x1/start", "")
	v.wants("start with the link to data", "204", a, err)
	v.undo(v.state())
}

func (v *visit) link(at, to string) {
	v.t.Helper()
	os.Remove(at)
	if err := os.Symlink(to, at); err != nil {
		v.t.Fatal(err)
	}
}
