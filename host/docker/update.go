package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// UpdateHand is the name of the hand Update.
const UpdateHand = "docker-update"

// Update changes limits of a container while it runs: POST
// /containers/{id}/update. It is an apply.Hand.
//
// The endpoint has traps, all measured on 20.10 with runc 1.1. It accepts and
// ignores what it does not know, so the hand reads the container again. It
// ignores a zero as "not asked" and refuses -1 (but for MemorySwap and CpuQuota),
// so a limit that was not there before cannot be removed again, only raised to
// what the kernel itself calls no limit; see none, leaves and
// docs/decisions/0010. And when runc fails half way, the kernel has some of the new values and
// the engine says the old ones.
type Update struct{ client *Client }

// NewUpdate returns the hand for the engine of c.
func NewUpdate(c *Client) *Update { return &Update{c} }

// unlimited is how the kernel writes "no limit" of memory: the largest multiple
// of a page in an int64 (mm/page_counter; memory.limit_in_bytes shows it).
// Written back, cgroup v1 and v2 take it for none.
const unlimited = 9223372036854771712

// none is what to send for a limit that shall not be, where 0 is ignored. The
// container then runs as without the limit; inspecting it shows this value.
func none(field string, cpus int64) any {
	switch field {
	case "Memory", "MemorySwap", "MemoryReservation":
		return int64(unlimited)
	case "NanoCpus":
		return cpus * 1e9
	case "CpuShares":
		return int64(1024) // the kernel's default weight
	case "CpuQuota":
		return int64(-1)
	case "CpuPeriod":
		return int64(100_000) // µs, the kernel's default
	case "CpusetCpus":
		if cpus == 1 {
			return "0"
		}
		return "0-" + strconv.FormatInt(cpus-1, 10)
	case "PidsLimit":
		return int64(0)
	}
	return nil
}

// updatable are the fields of HostConfig that the endpoint takes and that we
// use. RestartPolicy is sent whole, and may be wanted by its parts.
var updatable = []string{
	"CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "Memory", "MemoryReservation", "MemorySwap",
	"NanoCpus", "PidsLimit", "RestartPolicy", "RestartPolicy.MaximumRetryCount", "RestartPolicy.Name",
}

// UpdateMeans lists what the hand can set. Containers of Compose and Swarm are
// changed through their owner.
func UpdateMeans() []plan.Means {
	var out []plan.Means
	for _, field := range updatable {
		m := plan.Means{
			Kind: inventory.Container, Field: "HostConfig." + field, Owner: inventory.OwnerNone,
			Hand: UpdateHand, Cost: plan.Live, Refuse: refuseUpdate, Leaves: leaves,
			Undo: lang.Text{En: "the old value is set again, live", Es: "se vuelve a poner el valor anterior, en vivo"},
		}
		switch field {
		case "Memory":
			m.Reads = []string{"HostConfig.MemorySwap"}
		case "NanoCpus":
			m.Reads = []string{"HostConfig.CpuQuota", "HostConfig.CpuPeriod"}
		}
		out = append(out, m)
	}
	return out
}

// leaves says what inspecting a container shows once a limit that it did not
// have was taken back: the engine cannot forget one while the container exists.
func leaves(o *inventory.Object, field string) lang.Text {
	key := strings.TrimPrefix(field, "HostConfig.")
	was := object(o.Fields, "HostConfig")[key]
	if strings.HasPrefix(key, "RestartPolicy") || !unset(was) {
		return lang.Text{}
	}
	shows := fmt.Sprint(none(key, 0))
	switch key {
	case "NanoCpus", "CpusetCpus":
		shows = "all CPUs"
	case "Memory":
		shows += " (MemorySwap too)"
	}
	return lang.Text{
		En: "%s, which was not set, then shows %s, which limits nothing (to the byte, by a re-creation: casco plan --exact)",
		Es: "%s, que no estaba puesto, muestra entonces %s, que no limita nada (al byte, recreando: casco plan --exact)",
	}.F(field, shows)
}

// refuseUpdate knows what the engine would not take.
func refuseUpdate(_ *inventory.Snapshot, o *inventory.Object, field string) lang.Text {
	h := object(o.Fields, "HostConfig")
	switch {
	case strings.HasPrefix(field, "HostConfig.RestartPolicy") && truth(h, "AutoRemove"):
		return lang.Text{
			En: "it is removed when it stops (--rm), and so cannot have a restart policy",
			Es: "se borra cuando se detiene (--rm), y por eso no puede tener política de reinicio",
		}
	case field == "HostConfig.NanoCpus" && (number(h["CpuQuota"]) > 0 || number(h["CpuPeriod"]) > 0):
		return lang.Text{En: "its CPUs are limited by CpuQuota already", Es: "sus CPU ya están limitadas por CpuQuota"}
	case (field == "HostConfig.CpuQuota" || field == "HostConfig.CpuPeriod") && number(h["NanoCpus"]) > 0:
		return lang.Text{En: "its CPUs are limited by NanoCpus already", Es: "sus CPU ya están limitadas por NanoCpus"}
	}
	return lang.Text{}
}

// number is v as an integer, 0 if it is none.
func number(v any) int64 {
	n, _, _ := inventory.Field[int64]{Path: "n"}.Of(&inventory.Object{Fields: map[string]any{"n": v}})
	return n
}

// updateUndo is what Undo needs.
type updateUndo struct {
	ID     string         // the container's; its name may have gone to another since
	CPUs   int64          // of the host
	Before map[string]any // of HostConfig: what Do will send, as it was
}

// Prepare notes the values that are to change.
func (u *Update) Prepare(ctx context.Context, st plan.Step) (json.RawMessage, error) {
	c, err := inspect(ctx, u.client, st.Ref.Name)
	if err != nil {
		return nil, err
	}
	request, err := updateOf(st, object(c, "HostConfig"))
	if err != nil {
		return nil, err
	}
	var info map[string]any
	if err := u.client.Call(ctx, "GET", "/info", nil, &info); err != nil {
		return nil, err
	}
	undo := updateUndo{ID: str(c, "Id"), CPUs: number(info["NCPU"]), Before: map[string]any{}}
	for field := range request {
		undo.Before[field] = object(c, "HostConfig")[field]
	}
	return json.Marshal(undo)
}

// inspect reads one container.
func inspect(ctx context.Context, c *Client, id string) (map[string]any, error) {
	var fields map[string]any
	err := c.Call(ctx, "GET", "/containers/"+url.PathEscape(id)+"/json", nil, &fields)
	return fields, err
}

// updateOf makes the request of st for a container whose HostConfig is now.
func updateOf(st plan.Step, now map[string]any) (map[string]any, error) {
	request := map[string]any{}
	for _, set := range st.Sets {
		field, ok := strings.CutPrefix(set.Field, "HostConfig.")
		if !ok || !slices.Contains(updatable, field) {
			return nil, lang.Errorf(lang.Text{
				En: "%s cannot be set while a container exists",
				Es: "%s no se puede ajustar mientras exista el contenedor",
			}, set.Field)
		}
		if strings.HasPrefix(field, "RestartPolicy.") && request["RestartPolicy"] == nil {
			request["RestartPolicy"] = maps.Clone(object(now, "RestartPolicy"))
		}
		inventory.Put(request, field, set.To)
	}
	if memory := number(request["Memory"]); memory > 0 && request["MemorySwap"] == nil {
		request["MemorySwap"] = swapFor(memory, number(now["MemorySwap"]))
	}
	return request, nil
}

// swapFor returns the MemorySwap (memory plus swap, bytes) that goes along with
// a new limit of memory: what it is, if that is enough or unlimited, else what
// the engine gives a container by itself, twice the memory. Without it, the
// engine refuses to raise memory.
func swapFor(memory, now int64) int64 {
	if now == -1 || now >= memory {
		return now
	}
	return 2 * memory
}

// Do sets the new values.
func (u *Update) Do(ctx context.Context, st plan.Step, undo json.RawMessage) error {
	was, err := decodeUpdate(undo)
	if err != nil {
		return err
	}
	c, err := inspect(ctx, u.client, was.ID)
	if err != nil {
		return err
	}
	request, err := updateOf(st, object(c, "HostConfig"))
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = u.send(ctx, was.ID, request)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusInternalServerError {
		// The kernel may have taken some of it.
		return errors.Join(err, u.send(context.WithoutCancel(ctx), was.ID, was.request()))
	}
	if err != nil {
		return err
	}
	return u.took(ctx, was.ID, st)
}

func (u *Update) send(ctx context.Context, id string, request map[string]any) error {
	return u.client.Call(ctx, "POST", "/containers/"+id+"/update", request, nil)
}

// took fails if the container does not have what st wants.
func (u *Update) took(ctx context.Context, id string, st plan.Step) error {
	c, err := inspect(ctx, u.client, id)
	if err != nil {
		return err
	}
	o := &inventory.Object{Fields: c}
	for _, set := range st.Sets {
		if now, _, _ := inventory.Lookup(o, set.Field); !same(set.Field, now, set.To) {
			return lang.Errorf(lang.Text{
				En: "%s is %v after the update to %v: the engine did not take it",
				Es: "%s es %v después de actualizarlo a %v: el motor no lo tomó",
			}, set.Field, now, set.To)
		}
	}
	return nil
}

// same reports whether two values of a limit mean the same to the engine.
func same(field string, a, b any) bool {
	if strings.HasSuffix(field, "PidsLimit") && number(a) <= 0 && number(b) <= 0 {
		return true // null, 0 and -1 are all no limit
	}
	return inventory.Equal(a, b)
}

func decodeUpdate(raw json.RawMessage) (updateUndo, error) {
	var u updateUndo
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&u); err != nil {
		return u, lang.Errorf(lang.Text{En: "undo of an update: %w", Es: "deshacer una actualización: %w"}, err)
	}
	return u, nil
}

// request is what sets the old values again.
func (u updateUndo) request() map[string]any {
	request := map[string]any{}
	for field, was := range u.Before {
		if unset(was) {
			was = none(field, u.CPUs)
		}
		request[field] = was
	}
	if number(u.Before["MemorySwap"]) == -1 {
		// The engine notes a -1 but does not tell the kernel; see Undo.
		request["MemorySwap"] = int64(unlimited)
	}
	return request
}

// unset reports whether v is how the engine writes a limit that was never set.
func unset(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return false
	}
	return number(v) == 0
}

// Undo sets the old values again. A container that is as it was is left alone.
func (u *Update) Undo(ctx context.Context, _ plan.Step, undo json.RawMessage) error {
	was, err := decodeUpdate(undo)
	if err != nil {
		return err
	}
	c, err := inspect(ctx, u.client, was.ID)
	if err != nil {
		return err
	}
	now := object(c, "HostConfig")
	if back(now, was.Before) || back(now, was.settled()) {
		return nil
	}
	if err := u.send(ctx, was.ID, was.request()); err != nil {
		return err
	}
	if number(was.Before["MemorySwap"]) == -1 {
		return u.send(ctx, was.ID, map[string]any{"MemorySwap": -1})
	}
	return nil
}

// settled is what inspecting the container shows after Undo.
func (u updateUndo) settled() map[string]any {
	out := u.request()
	if number(u.Before["MemorySwap"]) == -1 {
		out["MemorySwap"] = int64(-1)
	}
	return out
}

func back(now, want map[string]any) bool {
	for field, v := range want {
		if !same(field, now[field], v) {
			return false
		}
	}
	return true
}
