package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// imageContentTrust asks about what has replaced Docker Content Trust: the
// client prints that it is retired (docker/cli pull request 6508), and a
// variable in the environment of one shell never said anything about a host.
var imageContentTrust = &audit.Check{
	ID:    "image-content-trust",
	Title: lang.Text{En: "Nothing makes the engine refuse unsigned images", Es: "Nada obliga al motor a rechazar imágenes sin firma"},
	Why: lang.Text{
		En: "The engine runs what it is told to; Content Trust is retired, worked in the client only, and could be switched off by its user.",
		Es: "El motor ejecuta lo que le piden; Content Trust se retiró, solo actuaba en el cliente y su usuario podía apagarlo.",
	},
	Remedy: lang.Text{
		En: "Verify signatures (cosign, notation) by digest at admission, where a user cannot go around it.",
		Es: "Verifique firmas (cosign, notation) por resumen en la admisión, donde el usuario no puede rodearlas.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.5"),
	Kind:     inventory.Daemon,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		_, fact, _ := inventory.DaemonAuthorization.Of(o)
		return audit.Question(lang.Text{
			En: "Docker Content Trust is retired: what verifies the signature of an image before this engine runs it?",
			Es: "Docker Content Trust está retirado: ¿qué verifica la firma de una imagen antes de que este motor la ejecute?",
		}, fact)
	},
}

var imageSignature = &audit.Check{
	ID:    "image-signature",
	Title: lang.Text{En: "Image's signature has not been verified", Es: "La firma de la imagen no se ha verificado"},
	Why: lang.Text{
		En: "Without a signature over its digest, an image that somebody put in its place looks the same.",
		Es: "Sin una firma sobre su resumen, una imagen puesta en su lugar se ve igual.",
	},
	Remedy: lang.Text{
		En: "Sign what you build and verify the digest against the keys of the policy before it runs.",
		Es: "Firme lo que construye y verifique el resumen con las claves de la política antes de ejecutarla.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.12"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		digests, fact, ok := inventory.ImageDigests.Of(o)
		if ok && len(digests) == 0 {
			return audit.Question(lang.Text{
				En: "It has no digest of a registry that a signature could be made over: what proves that it is what was built?",
				Es: "No tiene resumen de un registro sobre el que firmar: ¿qué prueba que es lo que se construyó?",
			}, fact)
		}
		return audit.Question(lang.Text{
			En: "Was the signature over this digest verified, and with whose key?",
			Es: "¿Se verificó la firma sobre este resumen, y con la clave de quién?",
		}, fact)
	},
}
