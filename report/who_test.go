package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"casco/lang"
	"casco/store"
)

// TestWho: what is said of an object, in both languages, and nothing of what
// others wrote reaches the terminal as it is.
func TestWho(t *testing.T) {
	at := time.Date(2026, 11, 27, 1, 2, 3, 0, time.UTC)
	there, caller := false, store.Caller{UID: 4242, LoginUID: 4243, GID: 4242, PID: 7, Unit: "cron\x1b[31m.service", Via: "/run/door.sock"}
	w := Who{
		Schema: WhoSchema, Ref: "container/web",
		Lives: []Life{
			{ID: "0123456789abcdef", Names: []string{"container/web", "container/old"}, Origin: Origin{Known: true, By: "call"}, There: &there, Acts: []Act{
				{Decision: "allowed", Ref: "container/web", Call: store.Call{
					At: at, Endpoint: "POST /containers/create", Made: true, Status: 201, Caller: caller, Excepted: []string{"EX-1"},
					Added: []store.Addition{{Field: "HostConfig.PidsLimit", Value: "200", Path: "admission.add.pids"}},
				}},
				{Decision: "observed", Ref: "container/web", Call: store.Call{
					At: at, Endpoint: "POST /containers/{id}/exec", Status: 409, Caller: store.Caller{UID: -1, LoginUID: -1, Via: "authz"},
					Refusals: []store.Refusal{{Rule: "exec-root", Reason: "root", Observed: true}},
				}},
				{Decision: "refused", Ref: "container/web", Call: store.Call{At: at, Request: "create", Caller: store.Caller{UID: -1, LoginUID: -1, Via: store.ViaRuntime}}},
			}},
			{ID: "r1", Origin: Origin{Why: "past-engine", Rogue: &store.Rogue{Seen: at, Engine: "/run/ctrd.sock", Namespace: "default", PID: 9, UID: 4242, LoginUID: 4242, Parents: []string{"runc", "bash"}}}},
		},
		Asked: []Act{{Decision: "refused", Ref: "container/web", Call: store.Call{
			At: at, Endpoint: "POST /containers/create", Caller: caller, Refusals: []store.Refusal{{Rule: "container-privileged", Reason: "privileged", ReasonEs: "privilegiado"}},
			Trouble: "refused by casco (container-privileged)", Request: "POST /v1.41/containers/create",
		}}, {Decision: "refused", Ref: "daemon/x", Call: store.Call{At: at, Endpoint: "GET /containers/{id}/logs", Request: "GET /v1.41/containers/web/logs", Caller: caller}}},
	}
	for l, wants := range map[lang.Lang][]string{
		lang.English: {
			"0123456789ab  (gone)", "also called", "container/old", "2026-11-27 01:02:03Z uid 4242, logged in as 4243, pid 7", "via /run/door.sock", "by the exception EX-1",
			"added 200 (admission.add.pids)", "let through against exec-root: root", "the engine answered 409", "somebody past the door", "last look", "origin unknown: it was made past the engine",
			"namespace default", "called by runc < bash", "came to nothing", "refused by container-privileged: privileged", "not created", "command not made", "not shown", "GET /v1.41/containers/web/logs",
		},
		lang.Spanish: {
			"(ya no está)", "entró como 4243", "por /run/door.sock", "por la excepción EX-1", "añadido 200", "se dejó pasar contra exec-root", "el motor respondió 409",
			"alguien sin pasar por la puerta", "última mirada", "origen desconocido: se hizo sin pasar por el motor", "no llegó a nada", "rechazado por container-privileged: privilegiado", "no creado", "orden no creada", "no mostrado",
		},
	} {
		var b bytes.Buffer
		Printer{W: &b, Lang: l, Width: 400}.Who(w)
		text := b.String()
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", l, want, text)
			}
		}
		for _, no := range []string{"{id}", "refused by casco"} {
			if strings.Contains(text, no) {
				t.Errorf("%s: %q is for programs, or said twice:\n%s", l, no, text)
			}
		}
		if strings.Contains(text, "\x1b[31m") {
			t.Errorf("%s: a name reaches the terminal as it is", l)
		}
	}
}
