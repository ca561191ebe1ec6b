package ledger

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// entryForBench has the size that entries of a change have: some 300 bytes.
func entryForBench(i int64) Entry {
	return Entry{Kind: Step, Actor: "uid 0 (admin)", About: fmt.Sprintf("container/shop-web-%d", i%100), Data: []byte(
		`{"change":"12-a9256aa3","step":7,"hand":"docker-recreate","field":"HostConfig.Privileged","from":true,"to":false,"state":"done","took_ms":412,"digest":"9f86d081884c7d659a2feaa0c55ad015"}`)}
}

// BenchmarkAppend appends one entry at a time: each is flushed alone.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir(), newTestKey(b), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	var i int64
	for b.Loop() {
		if _, err := l.Append(entryForBench(i)); err != nil {
			b.Fatal(err)
		}
		i++
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAppendTogether has 64 goroutines append: their entries share flushes.
func BenchmarkAppendTogether(b *testing.B) {
	l, err := Open(b.TempDir(), newTestKey(b), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	var i atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Append(entryForBench(i.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVerify verifies a log of CASCO_BENCH_ENTRIES entries, 1,000,000 if
// that is not set.
func BenchmarkVerify(b *testing.B) {
	n := int64(1_000_000)
	if s := os.Getenv("CASCO_BENCH_ENTRIES"); s != "" {
		var err error
		if n, err = strconv.ParseInt(s, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	dir, key := b.TempDir(), newTestKey(b)
	l, err := Open(dir, key, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	for at := int64(0); at < n; {
		var es []Entry
		for ; at < n && len(es) < 100*tileWidth; at++ {
			es = append(es, entryForBench(at))
		}
		if _, err := l.Append(es...); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	begun := cpuTime(b)
	for b.Loop() {
		wantOK(b, verifyLog(b, dir, Checks{}, key), n)
	}
	million := float64(b.N) * float64(n) / 1e6
	b.ReportMetric(b.Elapsed().Seconds()/million, "s/Mentries")
	b.ReportMetric((cpuTime(b)-begun).Seconds()/million, "cpu-s/Mentries") // what a busy machine does not change
}

// cpuTime is what this process has computed so far, in user and kernel mode.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
