package inventory

import (
	"context"
	"time"
)

// Take reads all sources in order. One that fails leaves a Gap and does not
// stop the others. The result is sorted and ready to be judged.
func Take(ctx context.Context, host string, now time.Time, sources ...Source) *Snapshot {
	s := &Snapshot{Host: host, Taken: now.UTC()}
	begun := begin(ctx, host, sources)
	for i, src := range sources {
		<-begun[i]
		if err := src.Read(ctx, s); err != nil {
			s.Gaps = append(s.Gaps, Gap{Source: src.Name(), Reason: err.Error()})
		}
	}
	s.Sort()
	return s
}

// An Early source has work that needs nothing of what others read. Take lets
// it Begin while the sources before it still wait for an engine, and its Read
// comes after Begin has returned. A Read without a Begin does all by itself.
type Early interface {
	Source
	Begin(ctx context.Context, host string)
}

// begin lets the early sources begin, one after the other, and tells which may
// read: the others at once.
func begin(ctx context.Context, host string, sources []Source) []chan struct{} {
	begun := make([]chan struct{}, len(sources))
	for i := range sources {
		begun[i] = make(chan struct{})
	}
	go func() {
		for i, src := range sources {
			if _, ok := src.(Early); !ok {
				close(begun[i])
			}
		}
		for i, src := range sources {
			if early, ok := src.(Early); ok {
				early.Begin(ctx, host)
				close(begun[i])
			}
		}
	}()
	return begun
}

// Alone makes an Early source of one that never looks at what others read.
func Alone(src Source) Early { return &alone{Source: src} }

type alone struct {
	Source
	own *Snapshot // what Begin has read; nil before it, and after Read
	err error
}

func (a *alone) Begin(ctx context.Context, host string) {
	a.own = &Snapshot{Host: host}
	a.err = a.Source.Read(ctx, a.own)
}

func (a *alone) Read(ctx context.Context, s *Snapshot) error {
	if a.own == nil {
		a.Begin(ctx, s.Host)
	}
	for _, o := range a.own.Objects {
		s.Add(o)
	}
	s.Gaps = append(s.Gaps, a.own.Gaps...)
	a.own = nil
	return a.err
}
