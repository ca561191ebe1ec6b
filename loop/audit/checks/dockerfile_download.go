package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var dockerfilePipedDownload = &audit.Check{
	ID:    "dockerfile-piped-download",
	Title: lang.Text{En: "A download is run as it comes", Es: "Se ejecuta una descarga tal como llega"},
	Why:   imageUnverifiedPackages.Why,
	Remedy: lang.Text{
		En: "Fetch to a file, check its digest (sha256sum -c) or signature, then run it; better a signed package.",
		Es: "Descargue a un archivo, compruebe su resumen (sha256sum -c) o firma y ejecútelo después; mejor, un paquete firmado.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.11"),
	Kind:     inventory.Dockerfile,
	Eval: judgeRuns(false, func(_ dockerLine, cmds []dockerCommand, a *dockerAnswer) {
		for rest := cmds; len(rest) > 0; {
			i := pipedDownload(bare(rest))
			if i < 0 {
				return
			}
			a.bad(rest[i].fact)
			rest = rest[i+1:]
		}
	}),
}

var dockerfileTLSOff = &audit.Check{
	ID:    "dockerfile-tls-off",
	Title: lang.Text{En: "A download does not check whom it comes from", Es: "Una descarga no comprueba de quién viene"},
	Why:   imageUnverifiedPackages.Why,
	Remedy: lang.Text{
		En: "Leave the option out; install ca-certificates, or the certificate of your own authority.",
		Es: "Quite la opción; instale ca-certificates o el certificado de su propia autoridad.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.11"),
	Kind:     inventory.Dockerfile,
	Eval:     judgeEach(false, func(c dockerCommand) bool { return skipsTLS(c.Command) }),
}
