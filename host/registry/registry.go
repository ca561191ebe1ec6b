// Package registry says which registries a host's engines and images name, and
// whether the way to them is safe.
//
// Unless it is told to, it asks nobody but this machine: a registry on another one
// is judged by what the engine would accept. One on a loopback address is asked in
// plain HTTP, because there the engine falls back to it without being told to
// (127.0.0.0/8 is always among its insecure registries). With ask, each of
// them is asked as the engine would: who it proves to be, how a pull would come, who
// may publish, and what it has under the tags that this host has.
package registry

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"casco/loop/inventory"
)

// hub is how the engine calls the registry of names that have none.
const hub = "docker.io"

// patience bounds one question to a registry on this machine.
const patience = 300 * time.Millisecond

// A Reader is the inventory.Source of registry objects. It must run after the
// sources of the daemon, its images and its containers.
type Reader struct {
	hosts string
	ask   bool
}

// New returns a Reader. With ask it asks registries wherever they are.
func New(ask bool) *Reader { return &Reader{hosts: "/etc/hosts", ask: ask} }

// Name implements inventory.Source.
func (*Reader) Name() string { return "registries" }

// An entry is one registry while it is read.
type entry struct {
	namedBy  []string
	insecure bool // the engine would accept no or bad TLS
	told     bool // whether the engine says so
	listed   bool
}

// Read implements inventory.Source. Only the engine whose API was asked
// counts: of the others nobody knows what they would accept.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	var daemon *inventory.Object
	for _, d := range s.Of(inventory.Daemon) {
		if _, _, ok := inventory.DaemonRegistryConfig.Of(d); ok {
			daemon = d
		}
	}
	if daemon == nil {
		return nil
	}
	entries := map[string]*entry{}
	name := func(registry, by string) *entry {
		if entries[registry] == nil {
			entries[registry] = &entry{}
		}
		e := entries[registry]
		if !slices.Contains(e.namedBy, by) {
			e.namedBy = append(e.namedBy, by)
		}
		return e
	}
	fromImages(s, name)
	cidrs := fromDaemon(daemon, name)
	local := r.local()
	var all []*inventory.Object
	for _, registry := range slices.Sorted(maps.Keys(entries)) {
		o := describe(ctx, daemon, registry, entries[registry], cidrs, local)
		s.Add(o)
		all = append(all, o)
	}
	if !r.ask {
		return nil
	}
	a, err := newAsker(daemon, local)
	if err != nil {
		return err
	}
	a.askAll(ctx, s, all)
	return nil
}

func fromImages(s *inventory.Snapshot, name func(registry, by string) *entry) {
	for _, o := range s.Of(inventory.Image) {
		tags, _, _ := inventory.ImageTags.Of(o)
		digests, _, _ := inventory.ImageDigests.Of(o)
		for _, ref := range digests { // pulled or pushed: a tag alone may never have left this machine
			name(Of(ref), "image "+o.Ref.Name)
		}
		for _, ref := range tags {
			if of := Of(ref); of != hub {
				name(of, "image "+ref)
			}
		}
	}
	for _, o := range s.Of(inventory.Container) {
		ref, _, _ := inventory.ImageName.Of(o)
		if of := Of(ref); ref != "" && of != hub {
			name(of, o.Ref.String())
		}
	}
}

// fromDaemon reads what the engine says of registries and returns the networks
// in which it accepts any (Docker Engine API, GET /info, RegistryConfig).
func fromDaemon(d *inventory.Object, name func(registry, by string) *entry) []netip.Prefix {
	config, _, _ := inventory.DaemonRegistryConfig.Of(d)
	indexes, _ := config["IndexConfigs"].(map[string]any)
	for registry, v := range indexes {
		index, _ := v.(map[string]any)
		secure, told := index["Secure"].(bool)
		e := name(registry, "engine")
		e.told, e.insecure, e.listed = told, told && !secure, told && !secure
	}
	mirrors, _ := config["Mirrors"].([]any)
	for _, m := range mirrors {
		if text, ok := m.(string); ok {
			scheme, rest, _ := strings.Cut(strings.TrimSuffix(text, "/"), "://")
			host, _, _ := strings.Cut(rest, "/")
			e := name(host, "mirror")
			e.told, e.insecure = true, e.insecure || scheme == "http"
		}
	}
	var out []netip.Prefix
	cidrs, _ := config["InsecureRegistryCIDRs"].([]any)
	for _, c := range cidrs {
		text, _ := c.(string)
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Of returns the registry of an image reference: what stands before the first
// slash, if it looks like a host (distribution/reference, normalize.go).
func Of(ref string) string {
	first, _, ok := strings.Cut(ref, "/")
	if !ok || first != "localhost" && !strings.ContainsAny(first, ".:") {
		return hub
	}
	return first
}

func describe(ctx context.Context, d *inventory.Object, registry string, e *entry, cidrs []netip.Prefix, local map[string]netip.Addr) *inventory.Object {
	o := &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Registry, Name: registry}, Source: d.Source, Read: time.Now().UTC(),
		Fields: map[string]any{"NamedBy": texts(e.namedBy), "Listed": e.listed}, Unread: map[string]string{},
	}
	host, port := split(registry)
	addr, known := addressOf(host, local)
	within := known && slices.ContainsFunc(cidrs, func(p netip.Prefix) bool { return p.Contains(addr) })
	switch {
	case e.told || registry == hub || within:
		o.Fields["Insecure"] = e.insecure || within
	case known || len(cidrs) == 0 || onlyLoopback(cidrs):
		o.Fields["Insecure"] = false // on no list of the engine
	default:
		o.Unread["Insecure"] = "its address is not known here, and the engine accepts whole networks"
	}
	o.Fields["Loopback"] = known && isLocal(addr)
	if !known || !isLocal(addr) {
		return o
	}
	plain, err := answersPlain(ctx, d, netip.AddrPortFrom(addr, port))
	if err != nil {
		o.Unread["Plain"] = err.Error()
		return o
	}
	o.Fields["Plain"] = plain
	o.Sources = map[string]string{"Plain": "GET http://" + registry + "/v2/"}
	return o
}

// answersPlain asks a registry on this machine in plain HTTP, from the engine's
// own network namespace.
func answersPlain(ctx context.Context, d *inventory.Object, at netip.AddrPort) (bool, error) {
	pid, fact, ok := inventory.DaemonPid.Of(d)
	if !ok {
		return false, fmt.Errorf("the engine's process: %s", fact.Err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dialInside(ctx, pid, at)
	if err != nil {
		return false, err
	}
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }},
		// A registry that only sends on to https is not plain.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/v2/", nil)
	if err != nil {
		return false, err
	}
	res, err := client.Do(req)
	if err != nil {
		return false, nil // it speaks, and not HTTP: TLS, or something else
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	// A TLS server of Go answers plain HTTP with 400 and says so; a registry
	// answers 200 or 401 (OCI distribution spec, end-1).
	return res.StatusCode == http.StatusOK || res.StatusCode == http.StatusUnauthorized, nil
}

// local maps the names of this machine to their addresses, by /etc/hosts.
func (r *Reader) local() map[string]netip.Addr {
	names := map[string]netip.Addr{"localhost": netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	b, err := os.ReadFile(r.hosts)
	if err != nil {
		return names
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		for _, n := range fields[1:] {
			if _, has := names[n]; err == nil && !has {
				names[n] = addr.Unmap()
			}
		}
	}
	return names
}

// split parts host and port; the port of a registry is 443 unless it says so.
func split(registry string) (host string, port uint16) {
	if at, err := netip.ParseAddrPort(registry); err == nil {
		return at.Addr().String(), at.Port()
	}
	host, text, ok := strings.Cut(registry, ":")
	port = 443
	if ok {
		fmt.Sscanf(text, "%d", &port)
	}
	return host, port
}

func addressOf(host string, local map[string]netip.Addr) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return a.Unmap(), true
	}
	a, ok := local[host]
	return a, ok
}

// isLocal reports whether an address is on this machine.
func isLocal(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() }

func onlyLoopback(cidrs []netip.Prefix) bool {
	return !slices.ContainsFunc(cidrs, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() })
}

func texts(ss []string) []any {
	var out []any
	for _, s := range ss {
		out = append(out, s)
	}
	return out
}
