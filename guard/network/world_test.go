package network

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"casco/policy"
)

// worldOf reads a World that a test writes down:
//
//	host 192.0.2.10
//	engine 29.7.2
//	net front bridge 172.20.0.0/16 172.20.0.1 internal icc=false
//	ns 7 front=172.20.0.2,fd00:20::2 back=172.21.0.2
//	  web project=shop service=web tier=public publish=0.0.0.0:8080:80/tcp
//	  helper
//	ns 8
//	  agent onhost
//
// Addresses of a net are its gateways. A workload stands under its namespace.
func worldOf(t testing.TB, text string) World {
	t.Helper()
	var w World
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		switch {
		case strings.HasPrefix(line, " "):
			n := &w.Namespaces[len(w.Namespaces)-1]
			n.Members = append(n.Members, workloadOf(t, *n, f))
		case f[0] == "host":
			for _, a := range f[1:] {
				w.Host = append(w.Host, netip.MustParseAddr(a))
			}
		case f[0] == "engine":
			w.Engine = f[1]
		case f[0] == "net":
			w.Segments = append(w.Segments, segmentOf(f))
		case f[0] == "ns":
			w.Namespaces = append(w.Namespaces, namespaceOf(t, w, f))
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return w
}

func segmentOf(f []string) Segment {
	seg := Segment{Name: f[1], Driver: f[2], Options: map[string]string{}, Labels: map[string]string{}}
	if f[2] == "bridge" {
		seg.Bridge = "br-" + f[1]
	}
	for _, word := range f[3:] {
		key, value, _ := strings.Cut(word, "=")
		switch a, err := netip.ParseAddr(word); {
		case err == nil:
			seg.Gateways = append(seg.Gateways, a)
		case strings.Contains(word, "/"):
			seg.Subnets = append(seg.Subnets, netip.MustParsePrefix(word))
		case key == "internal":
			seg.Internal = true
		case key == "icc":
			seg.Options[optICC] = value
		case key == "mode":
			seg.Options[optMode4] = value
		default:
			seg.Options[key] = value
		}
	}
	return seg
}

func namespaceOf(t testing.TB, w World, f []string) Namespace {
	t.Helper()
	id, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	n := Namespace{ID: id}
	for i, word := range f[2:] {
		name, addrs, _ := strings.Cut(word, "=")
		e := Endpoint{Iface: fmt.Sprintf("eth%d", i), Network: name, MAC: [6]byte{2, 0, 0, 0, byte(id), byte(i)}, Peer: fmt.Sprintf("veth%d.%d", id, i)}
		for a := range strings.SplitSeq(addrs, ",") {
			if a != "" {
				e.Addrs = append(e.Addrs, netip.MustParseAddr(a))
			}
		}
		for _, s := range w.Segments {
			if s.Name == name {
				e.Gateways = s.Gateways
			}
		}
		n.Endpoints = append(n.Endpoints, e)
	}
	return n
}

func workloadOf(t testing.TB, n Namespace, f []string) Workload {
	t.Helper()
	out := Workload{ID: "id-" + f[0], Workload: policy.Workload{Name: f[0], Labels: map[string]string{}}}
	for _, e := range n.Endpoints {
		out.Workload.Networks = append(out.Workload.Networks, e.Network)
	}
	for _, word := range f[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "onhost":
			out.OnHost = true
		case "project":
			out.Workload.Labels[composeProject] = value
		case "service":
			out.Workload.Labels[composeService] = value
		case "tier":
			out.Workload.Labels[policy.TierLabel] = value
		case "app":
			out.Workload.Labels[AppLabel] = value
		case "publish":
			inner := value[strings.LastIndexByte(value[:strings.LastIndexByte(value, ':')+1], ':')+1:]
			at := netip.MustParseAddrPort(strings.TrimSuffix(value, ":"+inner))
			port, err := ParsePort(inner)
			if err != nil {
				t.Fatal(err)
			}
			out.Published = append(out.Published, Published{at.Addr(), at.Port(), port})
		default:
			t.Fatalf("what is %q?", word)
		}
	}
	return out
}

// A fataler is a test, or a check of one.
type fataler interface {
	Helper()
	Fatal(...any)
}

// policyOf reads a policy without its head.
func policyOf(t fataler, text string) *policy.Policy {
	t.Helper()
	p, problems := policy.ParseFile("policy.yaml", []byte("apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 2}\n"+text))
	if p == nil {
		t.Fatal(problems)
	}
	return p
}

// open lists what r lets pass in w, of the ports that are probed: complete, so
// that what is not in it is shut.
//
//	web -> db 172.21.0.3 5432/tcp     straight
//	web -> host 172.20.0.1 22/tcp     a port of the host
//	web ~> db 172.20.0.1:15432        by a port that the host publishes
//	host -> web 80/tcp, outside -> web 80/tcp
//	web -> 203.0.113.0/24 443/tcp, web -> updates.example 443/tcp
func open(w World, r *Ruleset, probe []Port) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	hosts := slices.Clone(w.Host)
	for _, n := range w.Namespaces {
		for _, g := range n.gateways() {
			if !slices.Contains(hosts, g) {
				hosts = append(hosts, g)
			}
		}
	}
	every := func(n Namespace, f func(a netip.Addr) bool) bool { return slices.ContainsFunc(n.Addrs(), f) }
	for _, from := range w.Namespaces {
		in := r.Inside[from.ID]
		if in == nil {
			say("%s has no rules", from.Name())
			continue
		}
		for _, net := range in.Nets {
			say("%s -> %s %s", from.Name(), net.Net, net.Port)
		}
		for _, name := range in.Names {
			say("%s -> %s %s%s", from.Name(), name.Name, name.Port, map[bool]string{true: " private"}[name.Private])
		}
		for _, port := range probe {
			if in.TakesHost(port) {
				say("host -> %s %s", from.Name(), port)
			}
			if slices.Contains(in.Open, port) && every(from, func(a netip.Addr) bool { return r.Outside.Lets(a, port) }) {
				say("outside -> %s %s", from.Name(), port)
			}
			for _, h := range hosts {
				if in.Sends(h, port) && every(from, func(a netip.Addr) bool { return r.Outside.Serves(a, port) }) {
					say("%s -> host %s %s", from.Name(), h, port)
				}
			}
		}
		for _, to := range w.Namespaces {
			if to.ID == from.ID || r.Inside[to.ID] == nil {
				continue
			}
			for _, b := range to.Addrs() {
				for _, port := range probe {
					if in.Sends(b, port) && every(from, func(a netip.Addr) bool { return r.Outside.Forwards(a, b, port) && r.Inside[to.ID].Takes(a, port) }) {
						say("%s -> %s %s %s", from.Name(), to.Name(), b, port)
					}
				}
			}
			for _, m := range to.Members {
				for _, p := range m.Published {
					at := Port{p.HostPort, p.Port.Proto}
					for _, h := range hosts {
						if bound := p.Host == h || p.Host.IsUnspecified() && p.Host.Is4() == h.Is4(); bound && in.Sends(h, at) && every(from, func(a netip.Addr) bool { return r.Outside.Serves(a, at) }) &&
							slices.ContainsFunc(to.gateways(), func(g netip.Addr) bool { return r.Inside[to.ID].Takes(g, p.Port) }) {
							say("%s ~> %s %s", from.Name(), to.Name(), netip.AddrPortFrom(h, p.HostPort))
						}
					}
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
