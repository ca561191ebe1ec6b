package checks

import (
	"regexp"
	"slices"
	"strings"

	"casco/internal/shell"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

var imageUnverifiedPackages = &audit.Check{
	ID:    "image-unverified-packages",
	Title: lang.Text{En: "Image was built from software that nobody verified", Es: "La imagen se construyó con software que nadie verificó"},
	Why: lang.Text{
		En: "Whoever controls the server, or the way to it, at build time decides what runs in every container of this image.",
		Es: "Quien controle el servidor, o el camino hasta él, al construir decide qué corre en todos los contenedores de esta imagen.",
	},
	Remedy: lang.Text{
		En: "Install from signed repositories, check a digest before running a download, and keep the verification of signatures and TLS on.",
		Es: "Instale desde repositorios firmados, compruebe un resumen antes de ejecutar lo descargado y no apague la verificación de firmas y TLS.",
	},
	Severity: audit.Medium,
	Domains:  secures,
	Controls: rowTrust.cis("4.11"),
	Kind:     inventory.Image,
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		return judgeHistory(o, judgeDownloads)
	},
}

var (
	pipedToShell = lang.Text{En: "a download is run as it comes", Es: "se ejecuta una descarga tal como llega"}
	unsigned     = lang.Text{En: "signatures of packages are not checked", Es: "no se comprueban las firmas de los paquetes"}
	noTLS        = lang.Text{En: "the server's certificate is not checked", Es: "no se comprueba el certificado del servidor"}
)

func judgeDownloads(in instruction) (audit.Verdict, lang.Text) {
	if in.Word != "RUN" {
		return audit.Pass, lang.Text{}
	}
	cmds := shell.Parse(in.Rest)
	switch {
	case pipedDownload(cmds) >= 0:
		return audit.Fail, pipedToShell
	case slices.ContainsFunc(cmds, skipsSignatures):
		return audit.Fail, unsigned
	case slices.ContainsFunc(cmds, skipsTLS):
		return audit.Fail, noTLS
	}
	return audit.Pass, lang.Text{}
}

// pipedDownload is the index of the first command that runs what one before it
// fetched, -1 if there is none.
func pipedDownload(cmds []shell.Command) int {
	downloading := false // the pipe so far carries a download
	for i, c := range cmds {
		downloading = downloads(c) || c.Piped && downloading
		if interprets(c) && (c.Piped && downloading || i > 0 && substitutes(c)) {
			return i
		}
	}
	return -1
}

func downloads(c shell.Command) bool {
	return slices.Contains([]string{"curl", "wget", "fetch", "aria2c"}, c.Name())
}

// interprets reports whether c runs what it reads.
func interprets(c shell.Command) bool {
	n := c.Name()
	return shell.IsShell(n) || slices.Contains([]string{"eval", "source", ".", "perl", "ruby", "node", "php"}, n) || strings.HasPrefix(n, "python")
}

var fetched = regexp.MustCompile(`\$\(\s*(?:curl|wget)\s`)

// substitutes reports whether an argument of c is what a download wrote:
// sh -c "$(curl …)", bash <(curl …).
func substitutes(c shell.Command) bool { return slices.ContainsFunc(c.Args(), fetched.MatchString) }

// Options that turn the check of packages' signatures off, from the manuals
// apt-get(8), apt-secure(8), apk(8), yum(8), dnf(8), zypper(8), rpm(8).
var signatureOptions = map[string]*regexp.Regexp{
	"apt-get": aptUnsafe, "apt": aptUnsafe, "aptitude": aptUnsafe,
	"apk":    regexp.MustCompile(`^--allow-untrusted$`),
	"yum":    regexp.MustCompile(`^--nogpgcheck$|gpgcheck=0`),
	"dnf":    regexp.MustCompile(`^--no-?gpgchecks?$|gpgcheck=0`),
	"zypper": regexp.MustCompile(`^--no-gpg-checks?$`),
	"rpm":    regexp.MustCompile(`^--(?:nosignature|nodigest)$`),
}

var aptUnsafe = regexp.MustCompile(`(?i)^--(?:allow-unauthenticated|force-yes|allow-insecure-repositories)$|` +
	`(?:AllowUnauthenticated|AllowInsecureRepositories|AllowWeakRepositories)=["']?(?:true|yes|1)`)

// sourceUnsafe is a line for sources.list, or a .repo file, that trusts blindly.
var sourceUnsafe = regexp.MustCompile(`(?i)^deb(?:-src)?\s+\[[^]]*trusted=yes|gpgcheck\s*=\s*0|` +
	`(?:AllowUnauthenticated|AllowInsecureRepositories)\s+["']?(?:true|1)`)

func skipsSignatures(c shell.Command) bool {
	if re := signatureOptions[c.Name()]; re != nil && slices.ContainsFunc(c.Args(), re.MatchString) {
		return true
	}
	writes := slices.Contains([]string{"echo", "printf", "sed", "yum-config-manager", "dnf"}, c.Name())
	return writes && slices.ContainsFunc(c.Args(), sourceUnsafe.MatchString)
}

// -k among curl's flags that take no value: -fsSLk, but not -okernel.
var curlInsecure = regexp.MustCompile(`^-[fsSLgiInNvqORJjlaBp0-6#]*k[a-zA-Z]*$|^--insecure$`)

// skipsTLS: curl(1), wget(1), pip(1), npm-config(7), git-config(1).
func skipsTLS(c shell.Command) bool {
	as := c.Args()
	line := strings.Join(as, " ")
	switch n := c.Name(); {
	case n == "curl":
		return slices.ContainsFunc(as, curlInsecure.MatchString)
	case n == "wget":
		return slices.Contains(as, "--no-check-certificate")
	case strings.HasPrefix(n, "pip"), strings.HasPrefix(n, "python") && strings.HasPrefix(line, "-m pip"):
		return strings.Contains(line, "--trusted-host")
	case n == "npm" || n == "yarn":
		return strings.Contains(line, "strict-ssl false") || strings.Contains(line, "strict-ssl=false")
	case n == "git":
		return strings.Contains(line, "http.sslVerify=false") || strings.Contains(line, "http.sslVerify false")
	}
	return false
}
