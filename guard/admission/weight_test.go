package admission

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// repeatedly is a JSON list or object of one part again and again, each with its number
// where it says %d, up to n bytes.
func repeatedly(before, part, after string, n int) []byte {
	var b strings.Builder
	b.WriteString(before)
	for i := 0; b.Len() < n-len(part)-len(after)-20; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.Contains(part, "%") {
			fmt.Fprintf(&b, part, i)
		} else {
			b.WriteString(part)
		}
	}
	return []byte(b.String() + after)
}

// TestWeight: the longest bodies, made to be heavy, are judged in the time that a
// judge has, and take what the door reckons with (host/door, judging). How much
// is wrong with one does not make the refusal long.
func TestWeight(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it judges for some seconds")
	}
	j, err := NewJudge(parsed(t, "admission: {mode: enforce}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := host(t, true)
	for name, body := range map[string][]byte{
		"a text":      repeatedly(`{"Image":"`, "aaaaaaaaaaaaaaaaaaaaaaaaaaa", `"}`, MaxBody),
		"labels":      repeatedly(`{"Labels":{`, `"%d":"abcde"`, `}}`, MaxBody),
		"variables":   repeatedly(`{"Env":[`, `"abcdef"`, `]}`, MaxBody),
		"binds":       repeatedly(`{"HostConfig":{"Binds":[`, `"/e%d:/a"`, `]}}`, MaxBody),
		"mounts":      repeatedly(`{"HostConfig":{"Mounts":[`, `{"Type":"bind","Source":"/e%d"}`, `]}}`, MaxBody),
		"nothing":     repeatedly(`{"HostConfig":{"Mounts":[`, `{}      `, `]}}`, MaxBody),
		"options":     repeatedly(`{"HostConfig":{"SecurityOpt":[`, `"a=%d"`, `]}}`, MaxBody),
		"ports":       repeatedly(`{"HostConfig":{"PortBindings":{`, `"%d":[{"HostPort":"1"}]`, `}}}`, 700_000),
		"open ports":  repeatedly(`{"ExposedPorts":{`, `"%d":{}`, `}}`, 650_000),
		"few of many": repeatedly(`{"Env":[`, `[]`, `]}`, MaxBody), // more values than there may be
	} {
		// What lives at a time is sampled: all that was ever taken is several times as
		// much.
		var least, m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&least)
		over, most := make(chan bool), make(chan uint64)
		go func() {
			top := uint64(0)
			for {
				select {
				case <-over:
					most <- top
					return
				case <-time.After(5 * time.Millisecond):
					runtime.ReadMemStats(&m)
					top = max(top, m.HeapAlloc-min(m.HeapAlloc, least.HeapAlloc))
				}
			}
		}()
		began := time.Now()
		d := j.Decide(Asked{Caller: callerOf("uid:1000"), At: now, Method: "POST", URI: "/v1.41/containers/create", ContentType: "application/json", Body: body}, w)
		took := time.Since(began)
		close(over)
		times := float64(<-most) / float64(len(body))
		said := 0
		for _, r := range d.Refusals {
			said += len(r.Reason.En)
		}
		t.Logf("%s: %d bytes: %v, %.0f times as much memory, %d refusals", name, len(body), took.Round(time.Millisecond), times, len(d.Refusals))
		if times > 128 || took > 10*time.Second || len(d.Refusals) > maxRefusals || said > maxRefusals*(maxReason+8) {
			t.Errorf("%s: %v, %.1f times its length, %d refusals of %d bytes", name, took, times, len(d.Refusals), said)
		}
	}
}
