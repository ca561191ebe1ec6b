package checks

import (
	"net/netip"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var daemonInsecureRegistries = &audit.Check{
	ID:    "daemon-insecure-registries",
	Title: lang.Text{En: "Engine takes images from a registry without TLS", Es: "El motor acepta imágenes de un registro sin TLS"},
	Why: lang.Text{
		En: "Whoever sits between the host and such a registry reads its logins and puts an image of their own in place of the one asked for.",
		Es: "Quien esté entre el anfitrión y ese registro lee sus credenciales y pone su propia imagen en lugar de la pedida.",
	},
	Remedy: lang.Text{
		En: `Give the registry a certificate, put its CA in /etc/docker/certs.d/HOST:PORT/ca.crt, then drop it from "insecure-registries".`,
		Es: `Dé al registro un certificado, ponga su CA en /etc/docker/certs.d/HOST:PUERTO/ca.crt y quítelo de "insecure-registries".`,
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowRegistry.cis("2.5"),
	Kind:     inventory.Daemon,
	Eval:     evalInsecureRegistries,
}

// The engine's own list counts: it holds what the file and the flags say, and
// the loopback networks, which every engine trusts without TLS.
func evalInsecureRegistries(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
	said, saidFact, saidOK := inventory.DaemonRegistryConfig.Of(o)
	set, setFact, setOK := inventory.DaemonInsecure.Of(o)
	var evidence []inventory.Fact
	var open []string
	if saidOK {
		evidence, open = append(evidence, saidFact), insecureOf(said)
	}
	if setOK {
		evidence = append(evidence, setFact)
		for _, entry := range set {
			if !loopbackRegistry(entry) && !slices.Contains(open, entry) {
				open = append(open, entry)
			}
		}
	}
	switch {
	case !saidOK && !setOK:
		return audit.Untold(saidFact, setFact)
	case len(open) == 0:
		return audit.Good(evidence...)
	}
	a := audit.Bad(evidence...)
	for _, entry := range open {
		a = a.Wanting(audit.Want{
			Ref: o.Ref, Field: inventory.DaemonInsecure.Path, Op: audit.Remove, Value: entry,
			Breaks: lang.Text{
				En: "Pulls from " + entry + " fail until it answers with a certificate that the engine trusts.",
				Es: "Las descargas de " + entry + " fallan hasta que responda con un certificado en que el motor confíe.",
			},
		})
	}
	return a
}

// insecureOf returns the entries of RegistryConfig (GET /info) that are not on
// loopback, sorted: networks of InsecureRegistryCIDRs, and hosts of
// IndexConfigs that are not Secure.
func insecureOf(config map[string]any) (open []string) {
	networks, _ := config["InsecureRegistryCIDRs"].([]any)
	for _, n := range networks {
		if network, ok := n.(string); ok && !loopbackRegistry(network) {
			open = append(open, network)
		}
	}
	indexes, _ := config["IndexConfigs"].(map[string]any)
	for name, v := range indexes {
		index, _ := v.(map[string]any)
		if secure, ok := index["Secure"].(bool); ok && !secure && !loopbackRegistry(name) {
			open = append(open, name)
		}
	}
	slices.Sort(open)
	return open
}

// loopbackRegistry reports whether an entry of insecure-registries, a host
// with or without a port or a network in CIDR, is on this machine.
func loopbackRegistry(entry string) bool {
	if network, err := netip.ParsePrefix(entry); err == nil {
		return network.Masked().Addr().IsLoopback() && (network.Addr().Is6() || network.Bits() >= 8)
	}
	if at, err := netip.ParseAddrPort(entry); err == nil {
		return at.Addr().IsLoopback()
	}
	if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return addr.IsLoopback()
	}
	host, _, _ := strings.Cut(entry, ":")
	return host == "localhost"
}
