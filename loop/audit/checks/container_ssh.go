package checks

import (
	"fmt"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var containerSSH = &audit.Check{
	ID:    "container-ssh",
	Title: lang.Text{En: "Container serves SSH", Es: "El contenedor sirve SSH"},
	Why: lang.Text{
		En: "A second way in beside the engine's, with keys and passwords of its own that no policy of the host governs.",
		Es: "Una segunda entrada además de la del motor, con claves y contraseñas propias que ninguna política del anfitrión gobierna.",
	},
	Remedy: lang.Text{
		En: "Rebuild the image without the SSH server; manage the container from the host with docker exec. Until then, stop the server as an emergency change that ends when the new image runs.",
		Es: "Reconstruya la imagen sin el servidor SSH; administre el contenedor desde el anfitrión con docker exec. Hasta entonces, detenga el servidor como cambio de emergencia que acaba cuando corra la nueva imagen.",
	},
	Severity: audit.High,
	Domains:  secures,
	Controls: rowSSH.cis("5.7"),
	Kind:     inventory.Container,
	Policy:   []string{inventory.PolicySSHInContainers.Path},
	Eval:     evalSSH,
}

// evalSSH goes by what a socket says when it is asked (RFC 4253 4.2: a server
// begins with "SSH-"), not by names of programs or numbers of ports.
func evalSSH(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
	list, fact, ok := inventory.Listeners.Of(o)
	if !ok {
		if mode, shares, _ := inventory.NetworkMode.Of(o); mode != "" {
			if name, other := inventory.Joined(s, mode); name != "" {
				return sshOfOther(other, fact, shares)
			}
		}
		if ports, facts, told := inventory.Published(s, o); told && len(ports) == 0 && onHostNetwork(o) {
			return audit.Good(facts...)
		}
		if on, running, _ := inventory.Running.Of(o); running.Err == "" && !on {
			return audit.Untold(fact).Because(lang.Text{
				En: "it does not run, so its sockets cannot be asked",
				Es: "no está en marcha, así que no se puede preguntar a sus sockets",
			})
		}
		return audit.Untold(fact)
	}
	var found, silent []string
	for _, l := range list {
		m := asMap(l)
		n, _ := asInt(m["Port"])
		at := inventory.Port{Addr: asString(m["Addr"]), Host: n}.String()
		banner, asked := m["Banner"].(string)
		switch {
		case strings.HasPrefix(banner, "SSH-"):
			found = append(found, fmt.Sprintf("%s (%v)", at, m["Comm"]))
		case !asked && protocol(asString(m["Proto"])) == "tcp":
			silent = append(silent, at)
		}
	}
	switch {
	case found != nil:
		return ruled(s, inventory.PolicySSHInContainers, audit.Bad(fact).Because(plain(quoted(found))))
	case silent != nil:
		return audit.Untold(fact).Because(lang.Text{
			En: "it was not heard what these sockets say: %s",
			Es: "no se oyó qué dicen estos sockets: %s",
		}.F(quoted(silent)))
	}
	return audit.Good(fact)
}

// sshOfOther leaves the answer to the container whose network it shares.
func sshOfOther(other *inventory.Object, fact, mode inventory.Fact) audit.Answer {
	if other == nil {
		return audit.Untold(fact, mode)
	}
	if _, theirs, ok := inventory.Listeners.Of(other); !ok {
		return audit.Untold(theirs, mode)
	}
	return audit.Beside(lang.Text{
		En: "its sockets are those of %s and are judged there",
		Es: "sus sockets son los de %s y se juzgan allí",
	}.F(other.Ref), mode)
}

func onHostNetwork(o *inventory.Object) bool {
	mode, _, _ := inventory.NetworkMode.Of(o)
	return mode == "host"
}
