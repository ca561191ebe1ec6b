package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/policy"
)

// foundOn gathers what a first policy of a host speaks of.
func foundOn(l *look) policy.Found {
	s := l.read
	f := policy.Found{Host: s.Host, Networks: networksOn(s), Registries: registriesOf(s), Listeners: listenersOf(s), Published: publishedOn(s)}
	for _, x := range l.findings {
		name := x.Ref.Name
		switch {
		case x.Verdict != audit.Fail && x.Verdict != audit.Manual:
		case x.Check.ID == "docker-accounts":
			f.Accounts = append(f.Accounts, name)
		case x.Check.ID == "package-unneeded":
			f.Packages = append(f.Packages, name)
		case x.Check.ID == "unit-unneeded":
			f.Services = append(f.Services, name)
		}
	}
	return f
}

// networksOn leaves out the networks that every engine has.
func networksOn(s *inventory.Snapshot) []policy.FoundNetwork {
	var out []policy.FoundNetwork
	for _, n := range s.Of(inventory.Network) {
		if !slices.Contains([]string{"bridge", "host", "none"}, n.Ref.Name) {
			attached, _, _ := inventory.NetworkContainers.Of(n)
			out = append(out, policy.FoundNetwork{Name: n.Ref.Name, Containers: attached})
		}
	}
	return out
}

func publishedOn(s *inventory.Snapshot) []policy.FoundPort {
	var out []policy.FoundPort
	for _, c := range s.Of(inventory.Container) {
		ports, _, _ := inventory.Published(s, c)
		for _, p := range ports {
			if _, proto, ok := strings.Cut(p.Inner, "/"); ok && p.Host > 0 {
				out = append(out, policy.FoundPort{Port: fmt.Sprintf("%d/%s", p.Host, proto), By: c.Ref.Name})
			}
		}
	}
	return out
}

// listenersOf are the host's own sockets that can be reached from outside it.
func listenersOf(s *inventory.Snapshot) []policy.FoundPort {
	var out []policy.FoundPort
	for _, o := range s.Of(inventory.Listener) {
		owner, _, _ := inventory.ListenerOwner.Of(o)
		port, _, ok := inventory.ListenerPort.Of(o)
		proto, _, _ := inventory.ListenerProto.Of(o)
		addr, _, _ := inventory.ListenerAddr.Of(o)
		exe, _, _ := inventory.ListenerExe.Of(o)
		if ok && owner == "" && !(inventory.Port{Addr: addr}).Loopback() {
			out = append(out, policy.FoundPort{Port: fmt.Sprintf("%d/%s", port, proto), By: filepath.Base(exe)})
		}
	}
	return out
}

// registriesOf are those that the host's images were pulled from.
func registriesOf(s *inventory.Snapshot) []string {
	names := map[string]bool{}
	for _, img := range s.Of(inventory.Image) {
		digests, _, _ := inventory.ImageDigests.Of(img)
		for _, d := range digests {
			names[inventory.RegistryOf(d)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
