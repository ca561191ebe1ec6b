package door

import (
	"sync"
	"sync/atomic"
)

// What waits for a Done that is busy.
const (
	keptRecords = 1024
	keptBytes   = 16 << 20
)

// size is about what a record takes: whoever asks chooses the path, of which the
// judge's note has parts and a copy.
func (r Record) size() int64 {
	return 4<<10 + 4*int64(len(r.Request.URI)) + int64(len(r.Answer)+len(r.Verdict.Message))
}

// A book hands records to Config.Done, in its own time.
type book struct {
	records chan Record
	over    chan struct{}
	waiting atomic.Int64 // bytes of records

	mu   sync.Mutex // guards lost
	lost int
}

func newBook(done func(Record)) *book {
	b := &book{records: make(chan Record, keptRecords), over: make(chan struct{})}
	go func() {
		defer close(b.over)
		for r := range b.records {
			b.waiting.Add(-r.size())
			if done != nil {
				done(r)
			}
		}
	}()
	return b
}

// write takes a record without waiting.
func (b *book) write(r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r.Lost = b.lost
	if b.waiting.Load()+r.size() > keptBytes {
		b.lost++
		return
	}
	b.waiting.Add(r.size())
	select {
	case b.records <- r:
		b.lost = 0
	default:
		b.waiting.Add(-r.size())
		b.lost++
	}
}

// close waits until all records are handed over. Nobody writes any more. It
// returns how many were lost since the last.
func (b *book) close() (lost int) {
	close(b.records)
	<-b.over
	return b.lost
}
