package checks

import (
	"fmt"
	"slices"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerDefaultBridge = &audit.Check{
	ID:    "container-default-bridge",
	Title: lang.Text{En: "Container is on the default network", Es: "El contenedor está en la red por defecto"},
	Why: lang.Text{
		En: "All containers that nobody placed meet there: they reach each other's every port, published or not.",
		Es: "Allí coinciden todos los contenedores que nadie ubicó: cada uno alcanza todos los puertos de los demás, publicados o no.",
	},
	Remedy: lang.Text{
		En: "Create a network per application and tier and attach the container to it; names then resolve without links.",
		Es: "Cree una red por aplicación y nivel y conecte el contenedor a ella; los nombres se resuelven sin enlaces.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowSegments.cis("5.30"),
	Kind:     inventory.Container,
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		names, fact, ok := inventory.NetworksOf(s, o)
		if !ok {
			return audit.Untold(fact)
		}
		for _, name := range names {
			if facts, yes := defaultBridge(s, name); yes {
				return audit.Bad(append([]inventory.Fact{fact}, facts...)...).Wanting(ask(o, inventory.NetworkMode.Path, lang.Text{
					En: "Which network of its application should it join?",
					Es: "¿A qué red de su aplicación debe unirse?",
				}))
			}
		}
		return audit.Good(fact)
	},
}

// defaultBridge knows the default network by its option, whatever bridge the
// engine was told to use (dockerd --bridge). The engine keeps the name
// "bridge" for it.
func defaultBridge(s *inventory.Snapshot, name string) ([]inventory.Fact, bool) {
	opts, fact, ok := inventory.NetworkOptions.Of(s.Find(inventory.Ref{Kind: inventory.Network, Name: name}))
	if !ok {
		return nil, name == "bridge"
	}
	return []inventory.Fact{fact}, name == "bridge" || asString(opts["com.docker.network.bridge.default_bridge"]) == "true"
}

// TierLabel names the tier of a container or of a network.
const TierLabel = "casco.tier"

// tierOf is the tier that the policy assigns o, or else by its own label, or else by that of the first of
// its networks that has one.
func tierOf(s *inventory.Snapshot, o *inventory.Object, networks []string) (tier string, fact inventory.Fact) {
	if tier, fact, ok := inventory.ContainerTier.Of(o); ok {
		return tier, fact
	}
	labels, fact, _ := inventory.Labels.Of(o)
	if tier = asString(labels[TierLabel]); tier != "" {
		return tier, fact
	}
	for _, name := range networks {
		if tier, by := networkTier(s, name); tier != "" {
			return tier, by
		}
	}
	return "", fact
}

func networkTier(s *inventory.Snapshot, name string) (string, inventory.Fact) {
	n := s.Find(inventory.Ref{Kind: inventory.Network, Name: name})
	if tier, fact, ok := inventory.NetworkTier.Of(n); ok {
		return tier, fact
	}
	labels, fact, _ := inventory.NetworkLabels.Of(n)
	return asString(labels[TierLabel]), fact
}

var containerMixedTiers = &audit.Check{
	ID:    "container-mixed-tiers",
	Title: lang.Text{En: "Container shares a network with another tier", Es: "El contenedor comparte red con otro nivel"},
	Why: lang.Text{
		En: "On one network nothing stands between them: who takes the public one talks to the restricted one directly.",
		Es: "En una misma red nada los separa: quien toma el público habla directamente con el restringido.",
	},
	Remedy: lang.Text{
		En: "Give each tier its own network and let them meet only at a declared crossing.",
		Es: "Dé a cada nivel su propia red y deje que se encuentren solo en un cruce declarado.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowTiers,
	Kind:     inventory.Container,
	Policy:   []string{"tiers", "assign"},
	Eval:     evalMixedTiers,
}

// mayMeet is a quick no for most of a host's containers, each of which is put
// beside each: of the same tier, or attached to none of networks.
func mayMeet(c *inventory.Object, tier string, networks []string) bool {
	declared, has := c.Fields[inventory.ContainerTier.Path]
	if !has {
		declared = asMap(asMap(c.Fields["Config"])["Labels"])[TierLabel]
	}
	if declared == tier {
		return false
	}
	attached := asMap(asMap(c.Fields["NetworkSettings"])["Networks"])
	return len(attached) == 0 || slices.ContainsFunc(networks, func(n string) bool { _, on := attached[n]; return on })
}

func evalMixedTiers(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	mine, fact, ok := inventory.NetworksOf(s, o)
	if !ok {
		return audit.Untold(fact)
	}
	tier, by := tierOf(s, o, mine)
	if tier == "" {
		if by.Err != "" {
			return audit.Untold(by)
		}
		return audit.Beside(lang.Text{En: "no tier is declared for it", Es: "no se le ha declarado nivel"}, by)
	}
	evidence := []inventory.Fact{by, fact}
	var clashes []string
	for _, name := range mine {
		if other, theirs := networkTier(s, name); other != "" && other != tier {
			clashes = append(clashes, fmt.Sprintf("network %s: %s", name, other))
			evidence = append(evidence, theirs)
		}
	}
	for _, c := range s.Of(inventory.Container) {
		if c.Ref == o.Ref || !mayMeet(c, tier, mine) {
			continue
		}
		theirs, _, ok := inventory.NetworksOf(s, c)
		if !ok {
			continue
		}
		other, theirTier := tierOf(s, c, theirs)
		common := slices.DeleteFunc(slices.Clone(mine), func(n string) bool { return !slices.Contains(theirs, n) })
		if other != "" && other != tier && len(common) > 0 {
			clashes = append(clashes, fmt.Sprintf("%s: %s (%s)", c.Ref.Name, other, strings.Join(common, ", ")))
			evidence = append(evidence, theirTier)
		}
	}
	if clashes == nil {
		return audit.Good(evidence...)
	}
	return audit.Bad(evidence...).Because(lang.Text{
		En: "%s is of tier %q and shares a network with %s",
		Es: "%s es del nivel %q y comparte red con %s",
	}.F(o.Ref.Name, tier, quoted(clashes)))
}
