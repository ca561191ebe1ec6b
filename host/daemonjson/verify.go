package daemonjson

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"casco/lang"
	"casco/loop/inventory"
	"casco/loop/plan"
)

// verify asks the engine whether it runs with what the step wants.
func (h *Hand) verify(ctx context.Context, e *engine, st plan.Step, u undo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	said, err := e.says(ctx)
	if err != nil {
		return err
	}
	o, err := h.Look(ctx, u.Socket)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range st.Sets {
		key, _ := keyOf(s.Field)
		want := s.To
		if want == nil {
			want = defaults[key]
		}
		if got, ok := said[key]; ok && want != nil && !agree(got, want) {
			errs = append(errs, lang.Errorf(lang.Text{
				En: "%s: the engine says %v after the change, want %v",
				Es: "%s: el motor dice %v después del cambio, se quería %v",
			}, key, got, want))
		}
		if got, fact, ok := inventory.Lookup(o, s.Field); s.To != nil && (!ok || !inventory.Equal(got, named(key, s.To))) {
			errs = append(errs, lang.Errorf(lang.Text{
				En: "%s: is %v after the change (%s), want %v",
				Es: "%s: es %v después del cambio (%s), se quería %v",
			}, key, got, fact.Err, s.To))
		}
	}
	return errors.Join(errs...)
}

// says is what GET /info and the default bridge tell of settings, by key.
func (e *engine) says(ctx context.Context) (map[string]any, error) {
	var info struct {
		Debug              bool
		LiveRestoreEnabled bool
		LoggingDriver      string
		ExperimentalBuild  bool
		DefaultRuntime     string
		Labels             []any
		SecurityOptions    []string
		Plugins            struct{ Authorization []any }
		RegistryConfig     struct {
			InsecureRegistryCIDRs []string
			Mirrors               []any
			IndexConfigs          map[string]struct{ Secure bool }
		}
	}
	if err := e.call(ctx, http.MethodGet, "/info", nil, &info); err != nil {
		return nil, err
	}
	out := map[string]any{
		"debug": info.Debug, "live-restore": info.LiveRestoreEnabled, "log-driver": info.LoggingDriver,
		"experimental": info.ExperimentalBuild, "default-runtime": info.DefaultRuntime, "labels": info.Labels,
		"authorization-plugins": info.Plugins.Authorization, "registry-mirrors": mirrors(info.RegistryConfig.Mirrors),
	}
	if slices.Contains(info.SecurityOptions, "name=no-new-privileges") { // 20.10 does not say it at all
		out["no-new-privileges"] = true
	}
	insecure := []any{}
	for name, ix := range info.RegistryConfig.IndexConfigs {
		if !ix.Secure {
			insecure = append(insecure, name)
		}
	}
	for _, cidr := range info.RegistryConfig.InsecureRegistryCIDRs {
		if cidr != "127.0.0.0/8" && cidr != "::1/128" { // dockerd adds these itself
			insecure = append(insecure, cidr)
		}
	}
	out["insecure-registries"] = insecure
	var bridge struct{ Options map[string]string }
	if e.call(ctx, http.MethodGet, "/networks/bridge", nil, &bridge) == nil { // none with bridge "none"
		if v, ok := bridge.Options["com.docker.network.bridge.enable_icc"]; ok {
			out["icc"] = v == "true"
		}
	}
	return out, nil
}

// mirrors: dockerd adds a slash at the end.
func mirrors(l []any) []any {
	out := []any{}
	for _, m := range l {
		out = append(out, strings.TrimSuffix(fmt.Sprint(m), "/"))
	}
	return out
}

// agree compares lists without their order.
func agree(got, want any) bool {
	x, ok1 := listOf(got)
	y, ok2 := listOf(want)
	if !ok1 || !ok2 {
		return inventory.Equal(got, want)
	}
	return slices.Equal(sorted(x), sorted(y))
}

func sorted(l []any) []string {
	out := []string{}
	for _, e := range l {
		out = append(out, strings.TrimSuffix(fmt.Sprint(e), "/"))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// runsWith reports whether the engine says that it runs with all of these. It
// is false if it does not tell one of them.
func (h *Hand) runsWith(ctx context.Context, e *engine, values map[string]any) bool {
	said, err := e.says(ctx)
	if err != nil {
		return false
	}
	for key, want := range values {
		if want == nil {
			want = defaults[key]
		}
		if got, ok := said[key]; !ok || !agree(got, want) {
			return false
		}
	}
	return true
}

// startTimeOf is when a process began, to a hundredth of a second.
func startTimeOf(pid int) (time.Time, error) {
	ticks, err := startOf(pid)
	if err != nil {
		return time.Time{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	const hz = 100 // USER_HZ, include/asm-generic/param.h
	return time.Now().Add(-time.Duration(up.Nano())).Add(time.Duration(ticks) * time.Second / hz), nil
}
