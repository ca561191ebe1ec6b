package compose

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"casco/lang"
)

// logging turns {"Type": "json-file", "Config": {"max-size": "10m"}} into
// driver and options. Without a type it is the engine's default.
func logging(v any) (any, error) {
	m, _ := v.(map[string]any)
	driver, _ := m["Type"].(string)
	opts, _ := m["Config"].(map[string]any)
	if driver == "" {
		if len(opts) > 0 {
			return nil, lang.Errorf(lang.Text{En: "options of a log driver need its name", Es: "las opciones de un driver de registro necesitan su nombre"})
		}
		return nil, nil
	}
	out := map[string]any{"driver": driver}
	if len(opts) > 0 {
		out["options"] = opts
	}
	return out, nil
}

// ulimits turns [{"Name": "nofile", "Soft": 1024, "Hard": 2048}] into a map by
// name, for which compose-spec has soft and hard.
func ulimits(v any) (any, error) {
	out := map[string]any{}
	for _, e := range elements(v) {
		m, _ := e.(map[string]any)
		name, _ := m["Name"].(string)
		if name == "" || m["Soft"] == nil || m["Hard"] == nil {
			return nil, lang.Errorf(lang.Text{En: "%v: a limit needs Name, Soft and Hard", Es: "%v: un límite necesita Name, Soft y Hard"}, e)
		}
		out[name] = map[string]any{"soft": m["Soft"], "hard": m["Hard"]}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// The times of a health check: in nanoseconds for the engine, as "1m30s" in
// the file. For the engine 0 is its default.
var healthTimes = map[string]string{
	"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period", "StartInterval": "start_interval",
}

// healthcheck writes a health check; one of ["NONE"] is no check at all, and
// an empty one that of the image.
func healthcheck(v any) (any, error) {
	m, _ := v.(map[string]any)
	test := elements(m["Test"])
	if len(test) == 1 && test[0] == "NONE" {
		return map[string]any{"disable": true}, nil
	}
	out := map[string]any{}
	if len(test) > 0 {
		words, err := list(test)
		if err != nil {
			return nil, lang.Errorf(lang.Text{En: "field Test: %w", Es: "campo Test: %w"}, err)
		}
		out["test"] = words
	}
	for field, name := range healthTimes {
		n, err := whole(m[field])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if n > 0 {
			out[name] = time.Duration(n).String()
		}
	}
	n, err := whole(m["Retries"])
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "field Retries: %w", Es: "campo Retries: %w"}, err)
	}
	if n > 0 {
		out["retries"] = json.Number(strconv.FormatInt(n, 10))
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// whole reads a number of the engine, 0 for none.
func whole(v any) (int64, error) {
	if v == nil {
		return 0, nil
	}
	return strconv.ParseInt(fmt.Sprint(v), 10, 64)
}
