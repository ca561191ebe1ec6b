package apicall

import (
	"context"
	"testing"
	"time"

	"casco/lang"
)

// TestAsk: whoever does not decide, refuses.
func TestAsk(t *testing.T) {
	over := make(chan bool)
	defer close(over)
	for _, c := range []struct {
		name   string
		judge  func(context.Context) Verdict
		allow  bool
		status int
		failed bool
	}{
		{"allows", func(context.Context) Verdict { return Verdict{Allow: true} }, true, 0, false},
		{"says nothing", func(context.Context) Verdict { return Verdict{} }, false, 403, false},
		{"refuses", func(context.Context) Verdict { return Refuse(409, "no") }, false, 409, false},
		{"late", func(context.Context) Verdict { <-over; return Verdict{Allow: true} }, false, 500, true},
		{"broken", func(context.Context) Verdict { panic("oh") }, false, 500, true},
	} {
		v, err := Ask(t.Context(), 50*time.Millisecond, lang.Spanish, c.judge)
		if v.Allow != c.allow || v.Status != c.status || (err != nil) != c.failed || c.failed && v.Message == "" {
			t.Errorf("%s: %+v %v", c.name, v, err)
		}
	}
}
