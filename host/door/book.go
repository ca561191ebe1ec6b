package door

import "sync"

// keptRecords is how many records wait for a Done that is busy.
const keptRecords = 1024

// A book hands records to Config.Done, in its own time.
type book struct {
	records chan Record
	over    chan struct{}

	mu   sync.Mutex // guards lost
	lost int
}

func newBook(done func(Record)) *book {
	b := &book{records: make(chan Record, keptRecords), over: make(chan struct{})}
	go func() {
		defer close(b.over)
		for r := range b.records {
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
	select {
	case b.records <- r:
		b.lost = 0
	default:
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
