package checks

import (
	"path"
	"regexp"
	"strings"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageAdd = &audit.Check{
	ID:    "image-add",
	Title: lang.Text{En: "Image was built with ADD where COPY would do", Es: "La imagen se construyó con ADD donde bastaba COPY"},
	Why: lang.Text{
		En: "ADD fetches from the network without a check of what came, and unpacks archives without being asked; a source that was tampered with ends in the image.",
		Es: "ADD descarga de la red sin comprobar lo que llegó y desempaqueta sin que se le pida; una fuente alterada acaba en la imagen.",
	},
	Remedy: lang.Text{
		En: "Use COPY for local files; for a URL use ADD --checksum=sha256:…, or curl with a check of the digest.",
		Es: "Use COPY para archivos locales; para una URL, ADD --checksum=sha256:… o curl comprobando el resumen.",
	},
	Severity: audit.Low,
	Domains:  secures,
	Controls: rowImages.cis("4.9"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeHistory(o, judgeAdd)
	},
}

var (
	remoteSource = regexp.MustCompile(`(?i)^(?:https?|git|ssh|ftp)://|^git@`)
	pinnedCommit = regexp.MustCompile(`#[0-9a-f]{40}(?::|$)`)
	archiveName  = regexp.MustCompile(`(?i)\.(?:tar|tar\.(?:gz|bz2|xz|zst|lzma)|tgz|tbz2?|txz|tzst)$`)
)

// Why an ADD is as it is.
var (
	addRemote = lang.Text{
		En: "fetched from the network; the history does not say whether a checksum was given (BuildKit leaves --checksum out of it)",
		Es: "descargado de la red; el historial no dice si se dio un resumen (BuildKit omite --checksum en él)",
	}
	addLocal = lang.Text{En: "a local file that is no archive", Es: "un archivo local que no es un paquete"}
	addBlind = lang.Text{
		En: "the classic builder wrote down a digest in place of the name: an archive, a download or a plain file",
		Es: "el constructor clásico anotó un resumen en lugar del nombre: un paquete, una descarga o un archivo simple",
	}
)

func judgeAdd(in instruction) (audit.Verdict, lang.Text) {
	if in.Word != "ADD" {
		return audit.Pass, lang.Text{}
	}
	var names []string
	for _, w := range strings.Fields(in.Rest) {
		if !strings.HasPrefix(w, "--") && w != "in" {
			names = append(names, w)
		}
	}
	if len(names) < 2 {
		return audit.Unknown, addBlind
	}
	sources, dest := names[:len(names)-1], names[len(names)-1]
	verdict, why := audit.Pass, lang.Text{}
	for _, src := range sources {
		switch v, reason := judgeSource(src, dest, in); v {
		case audit.Fail:
			return v, reason
		case audit.Unknown:
			verdict, why = v, reason
		}
	}
	return verdict, why
}

// judgeSource judges one source of an ADD. The classic builder wrote
// "file:DIGEST in DEST", "dir:DIGEST in DEST" or "multi:DIGEST in DEST".
func judgeSource(src, dest string, in instruction) (audit.Verdict, lang.Text) {
	switch {
	case in.Base && dest == "/" && !remoteSource.MatchString(src): // the archive of the root file system
		return audit.Pass, lang.Text{}
	case remoteSource.MatchString(src) && pinnedCommit.MatchString(src), archiveName.MatchString(src):
		if strings.HasPrefix(src, "http") && !pinnedCommit.MatchString(src) {
			return audit.Fail, addRemote
		}
		return audit.Pass, lang.Text{}
	case remoteSource.MatchString(src):
		return audit.Fail, addRemote
	case strings.HasPrefix(src, "dir:"):
		return audit.Fail, addLocal
	case strings.HasPrefix(src, "file:"):
		if ext := path.Ext(dest); ext != "" && !strings.HasSuffix(dest, "/") && !archiveName.MatchString(dest) {
			return audit.Fail, addLocal // an archive is unpacked into a directory
		}
		return audit.Unknown, addBlind
	case strings.HasPrefix(src, "multi:"):
		return audit.Unknown, addBlind
	}
	return audit.Fail, addLocal
}
