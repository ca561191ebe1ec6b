package guard

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"casco/lab/actor"
)

// swapPolicy: whoever is called one may be spoken to by web, whoever is called
// two may not.
const swapPolicy = `
tiers:
  - {id: public, impact: 0.3}
  - {id: internal, impact: 0.6}
  - {id: restricted, impact: 1}
  - {id: other, impact: 0.5}
assign:
  - {match: {name: "web*"}, tier: public}
  - {match: {name: "one"}, tier: internal}
  - {match: {name: "two"}, tier: restricted}
  - {default: other}
flows:
  - {id: f1, from: public/web, to: internal/one, port: 7000/udp, why: app, owner: ro1, review: 2027-01-01}
  - {id: f2, from: public/web, to: internal/one, port: 7000/tcp, why: app, owner: ro1, review: 2027-01-01}
`

// TestNetSwap: two containers that are stopped and started in the other order
// swap their addresses; one may be spoken to and the other not. While a third
// sends to both addresses without pause, what arrives is right at any time.
func TestNetSwap(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.78.0.0/24", "n")
	w.counterBox("web", "--network", "n")
	for _, name := range []string{"one", "two"} {
		w.counterBox(name, "--network", "n")
	}
	addrs := []string{w.addr("one", "n"), w.addr("two", "n")}
	if r := w.try("web", actor.Try{Kind: "udp", Addr: addrs[1] + ":7000"}); !r.Reached {
		t.Fatalf("without casco two is not reached: the test proves nothing: %s", r.Err)
	}
	g := w.newGuard(swapPolicy)
	g.start()
	stop := w.prober(addrs)
	swaps, lost := 0, 0
	for i := range lane(t, "CASCO_RACE", 20) {
		order := []string{"one", "two"}
		if i%2 == 0 {
			slices.Reverse(order)
		}
		before := w.addr("one", "n")
		w.e.Docker("kill", "one", "two")
		for _, name := range order {
			w.e.Docker("start", name)
		}
		for _, name := range order {
			w.ready(name)
		}
		one := w.addr("one", "n")
		if one != before {
			swaps++
		}
		if wrong := w.counts("two").From; len(wrong) > 0 {
			t.Errorf("round %d: two got %v", i, wrong)
		}
		for _, proto := range []string{"udp", "tcp"} {
			if r := w.try("web", actor.Try{Kind: proto, Addr: one + ":7000"}); !r.Reached {
				lost++
			}
		}
	}
	stop()
	got := 0
	for _, n := range w.counts("one").From {
		got += n
	}
	if wrong := w.counts("two").From; len(wrong) > 0 || swaps == 0 || lost > 0 || got == 0 {
		t.Errorf("two got %v; %d swaps, %d allowed tries were lost, one got %d since its last start\n%s", wrong, swaps, lost, got, tail(g.log.String(), 30))
	}
	t.Logf("%d swaps, two got nothing, one got %d since its last start", swaps, got)
	g.quiet()
	g.stop()
}

// prober has web send to addresses without pause, until it is told to stop.
func (w *netWorld) prober(addrs []string) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			var tries []actor.Try
			for _, a := range addrs {
				for _, kind := range []string{"udp", "udp", "tcp"} {
					tries = append(tries, actor.Try{Kind: kind, Addr: a + ":7000", Tag: "tag0x", Wait: 20})
				}
			}
			actor.Order(w.at("web"), actor.Orders{Tries: tries})
			select {
			case <-done:
				return
			default:
			}
		}
	})
	return func() { close(done); all.Wait() }
}

// A ruleset is "nft -j list ruleset", as far as tests read it.
type ruleset struct {
	Nftables []struct {
		Chain *struct{ Family, Table, Name, Dev string }
		Set   *struct {
			Family, Table, Name string
			Elem                []json.RawMessage
		}
	}
}

// kernel is what the tables of casco on the host have: the names of the chains
// of interfaces, and the elements of the sets as text.
func (w *netWorld) kernel() (pins []string, elements map[string][]string) {
	w.t.Helper()
	var r ruleset
	if err := json.Unmarshal([]byte(w.inNet("nft", "-j", "list", "ruleset")), &r); err != nil {
		w.t.Fatal(err)
	}
	elements = map[string][]string{}
	for _, o := range r.Nftables {
		if c := o.Chain; c != nil && c.Table == "casco" && strings.HasPrefix(c.Name, "pin_") {
			pins = append(pins, c.Name)
		}
		if s := o.Set; s != nil && s.Table == "casco" {
			for _, e := range s.Elem {
				elements[s.Name] = append(elements[s.Name], string(e))
			}
		}
	}
	slices.Sort(pins)
	return pins, elements
}

// TestNetChurn: after many starts and ends the kernel has what belongs to those
// that live, and nothing else.
func TestNetChurn(t *testing.T) {
	w := newWorld(t)
	w.e.Docker("network", "create", "--subnet", "10.79.0.0/16", "n")
	g := w.newGuard(swapPolicy + `  - {id: f3, from: public/web*, to: internal/one, port: 7001/tcp, why: app, owner: ro1, review: 2027-01-01}` + "\n")
	g.start()
	w.counterBox("one", "--network", "n")
	w.counterBox("web", "--network", "n")
	n := lane(t, "CASCO_CHURN", 60)
	const workers = 10
	var all sync.WaitGroup
	jobs := make(chan int)
	for range workers {
		all.Go(func() {
			for i := range jobs {
				args := []string{"run", "-d", "--name", "web-" + strconv.Itoa(i), "--network", "n", w.image, "wait"}
				if i%3 == 0 {
					args[len(args)-1] = "exit"
					args = append(args, "0")
				}
				if _, err := w.e.TryDocker(args...); err != nil {
					t.Errorf("%v", err)
					continue
				}
				if i%10 != 1 {
					w.e.TryDocker("rm", "-f", "web-"+strconv.Itoa(i))
				}
			}
		})
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	all.Wait()
	var problem string
	for range 20 { // the events of the last ends
		if problem = w.settled(); problem == "" {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if problem != "" {
		t.Errorf("after %d containers: %s\n%s", n, problem, tail(g.log.String(), 30))
	}
	if r := w.try("web", actor.Try{Kind: "tcp", Addr: w.addr("one", "n") + ":7000"}); !r.Reached {
		t.Errorf("what may pass does not: %s", r.Err)
	}
	took := g.took()
	t.Logf("%d starts, held p50 %s p99 %s max %s", len(took), percentile(took, 50), percentile(took, 99), percentile(took, 100))
	g.quiet()
	g.stop()
}

// settled compares the kernel with the containers that run; the truth is of
// docker and ip. It returns what is not as it should be.
func (w *netWorld) settled() string {
	w.t.Helper()
	var want []string
	alive := map[string]bool{}
	for _, id := range strings.Fields(w.e.Docker("ps", "-q")) {
		alive[w.addr(id, "n")] = true
		_, index, _ := strings.Cut(strings.Fields(w.inBox(id, "ip", "-o", "link", "show", "eth0"))[1], "@if") // "eth0@if7:"
		for line := range strings.Lines(w.inNet("ip", "-o", "link")) {
			if f := strings.Fields(line); f[0] == index {
				name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
				want = append(want, "pin_"+name)
			}
		}
	}
	slices.Sort(want)
	pins, elements := w.kernel()
	if !slices.Equal(pins, want) {
		return fmt.Sprintf("chains of interfaces %v, want %v of %d containers", pins, want, len(alive))
	}
	// web* may speak to one at 7001, and web at 7000 too: a pair has its place in
	// reach both ways, and in between by its ports.
	webs := len(alive) - 1
	for set, n := range map[string]int{"reach4": 2 * webs, "between4": webs + 2, "betweenall4": 0, "tohost4": 0, "open4": 0} {
		if len(elements[set]) != n {
			return fmt.Sprintf("set %s has %d elements, want %d: %v", set, len(elements[set]), n, elements[set])
		}
	}
	for set, es := range elements {
		for _, e := range es {
			for _, word := range strings.FieldsFunc(e, func(r rune) bool { return !strings.ContainsRune("0123456789.", r) }) {
				if a, err := netip.ParseAddr(word); err == nil && strings.HasPrefix(word, "10.79.") && !alive[word] && a.As4()[3] > 1 && set != "local4" {
					return fmt.Sprintf("set %s has %s, which nobody has", set, word)
				}
			}
		}
	}
	return ""
}
