package authz

import (
	"encoding/json"
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"time"
)

// A pending is the records of calls that were let through and not answered yet.
// The protocol gives a call no number: an engine's second question is known to
// be about a first one by what was asked. Of two that asked for the same thing
// the first is taken to be answered first.
type pending struct {
	done func(Record)
	seed maphash.Seed

	mu      sync.Mutex // guards what follows
	calls   map[call][]*waiting
	written sync.WaitGroup // who hands over a record
}

// A call is what two questions about it have in common.
type call struct {
	method, uri string
	body        uint64
}

type waiting struct {
	Record
	late *time.Timer
}

// answering is how long a record waits to learn what the engine answered. A
// call that takes longer (docker stop -t 120) is told without.
const answering = time.Minute

func newPending(done func(Record)) *pending {
	return &pending{done: done, seed: maphash.MakeSeed(), calls: map[call][]*waiting{}}
}

func (p *pending) of(q request) call {
	return call{q.RequestMethod, q.RequestURI, maphash.Bytes(p.seed, q.RequestBody)}
}

// wait keeps a record until its call is answered.
func (p *pending) wait(q request, r Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, w := p.of(q), &waiting{Record: r}
	p.calls[c] = append(p.calls[c], w)
	w.late = time.AfterFunc(answering, func() {
		if p.take(c, w) {
			p.tell(w.Record)
		}
	})
}

// take removes a record that waits, the first if w is nil.
func (p *pending) take(c call, w *waiting) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(c, w) != nil
}

// remove is take for who holds mu. Whoever takes a record hands it over.
func (p *pending) remove(c call, w *waiting) *waiting {
	for i, have := range p.calls[c] {
		if w == nil || w == have {
			have.late.Stop()
			p.calls[c] = append(p.calls[c][:i:i], p.calls[c][i+1:]...)
			if len(p.calls[c]) == 0 {
				delete(p.calls, c)
			}
			p.written.Add(1)
			return have
		}
	}
	return nil
}

func (p *pending) tell(r Record) {
	defer p.written.Done()
	p.done(r)
}

// answered reads what the engine answered, if anybody waits for it. The engine
// is not refused an answer for what cannot be read.
func (p *pending) answered(body io.Reader) {
	p.mu.Lock()
	none := len(p.calls) == 0
	p.mu.Unlock()
	if none {
		return
	}
	var a struct {
		request
		ResponseStatusCode int
		ResponseBody       []byte
	}
	if json.NewDecoder(io.LimitReader(body, longest)).Decode(&a) != nil {
		return
	}
	p.mu.Lock()
	w := p.remove(p.of(a.request), nil)
	p.mu.Unlock()
	if w == nil {
		return
	}
	// The engine asks before it has written an error, and says 200 then (moby,
	// pkg/authorization/middleware.go): only what it wrote itself is an answer.
	if a.ResponseStatusCode != http.StatusOK || len(a.ResponseBody) > 0 {
		w.Status = a.ResponseStatusCode
	}
	if w.Status/100 == 2 {
		w.Answer = a.ResponseBody[:min(len(a.ResponseBody), w.Verdict.Keep)]
	}
	p.tell(w.Record)
}

// close hands over what still waits.
func (p *pending) close() {
	p.mu.Lock()
	var left []Record
	for c, ws := range p.calls {
		for range ws {
			left = append(left, p.remove(c, nil).Record)
		}
	}
	p.mu.Unlock()
	for _, r := range left {
		p.tell(r)
	}
	p.written.Wait()
}
