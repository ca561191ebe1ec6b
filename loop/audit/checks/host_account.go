package checks

import (
	"slices"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// uidZero is what Account.Reaches calls an account with the user ID of root.
const uidZero = "uid 0"

var dockerAccounts = &audit.Check{
	ID:    "docker-accounts",
	Title: lang.Text{En: "Account reaches the engine and so equals root", Es: "La cuenta llega al motor y por tanto equivale a root"},
	Why: lang.Text{
		En: "Who reaches the engine's socket mounts / into a container and is root, without a password and without a line in sudo's log.",
		Es: "Quien llega al socket del motor monta / en un contenedor y es root, sin contraseña y sin una línea en el registro de sudo.",
	},
	Remedy: lang.Text{
		En: "gpasswd -d USER docker (or take away the sudo rule or the socket's ACL); give who must deploy a rootless engine, or access through casco's guard. One that must stay is a risk that its owner accepts.",
		Es: "gpasswd -d USUARIO docker (o quite la regla de sudo o la ACL del socket); a quien debe desplegar, déle un motor sin root, o acceso por el guardián de casco. La que deba quedar es un riesgo que acepta su dueño.",
	},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowEngineAccess.and("nist-800-190", "4.5.4").cis("1.1.2"),
	Kind:     inventory.Account,
	Policy:   []string{"host.accounts"},
	Eval: func(s *inventory.Snapshot, o *inventory.Object) audit.Answer {
		ways, fact, ok := inventory.AccountReaches.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case o.Ref.Name == "root" || !slices.ContainsFunc(ways, func(w string) bool { return w != uidZero }):
			return audit.Good(fact)
		}
		_, shell, _ := inventory.AccountShell.Of(o)
		switch says, line := accountLists.of(s, o.Ref.Name); says {
		case allowed:
			return audit.Good(fact, shell, line).Because(policyAllows)
		case forbidden:
			return audit.Bad(fact, shell, line).Because(policyForbids)
		}
		return audit.Bad(fact, shell)
	},
}

var accountUIDZero = &audit.Check{
	ID:    "account-uid-zero",
	Title: lang.Text{En: "Account is root under another name", Es: "La cuenta es root con otro nombre"},
	Why: lang.Text{
		En: "The kernel knows user IDs, not names: this account is root, but rules, logs and reviews that look for root do not see it.",
		Es: "El núcleo conoce ID de usuario, no nombres: esta cuenta es root, pero las reglas, registros y revisiones que buscan a root no la ven.",
	},
	Remedy:   lang.Text{En: "Give it a user ID of its own (usermod -u), or delete it; find out who made it.", Es: "Déle un ID de usuario propio (usermod -u), o elimínela; averigüe quién la creó."},
	Severity: audit.High,
	Domains:  []audit.Domain{audit.Security},
	Controls: rowHostAccounts,
	Kind:     inventory.Account,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		uid, fact, ok := inventory.AccountUID.Of(o)
		switch {
		case !ok:
			return audit.Untold(fact)
		case uid == 0 && o.Ref.Name != "root":
			return audit.Bad(fact)
		}
		return audit.Good(fact)
	},
}
