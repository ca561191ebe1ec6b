package door

import (
	"encoding/json"
	"net/http"

	"casco/internal/pulse"
	"casco/lang"
)

// Second is the whole life of the process that Config.Second names, a child of
// the door's: pulse.StandIn. When the door is silent for two seconds, as a process
// that is stopped is, whoever comes is told so, and not left to wait. What came
// before waits on: it may be long work that goes on with the door.
func Second(l lang.Lang) error {
	return pulse.StandIn(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(map[string]string{"message": pulse.Stopped.In(l)})
	}), nil)
}
