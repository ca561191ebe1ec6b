package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/advisories"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/audit/checks"
	"casco/policy"
	"casco/report"
	"casco/signed"
	"casco/store"
)

func dbCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use:  "db",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{
		En: "What is published about vulnerabilities: build, update, import, status",
		Es: "Lo que se publica sobre vulnerabilidades: armar, actualizar, importar, estado",
	}, lang.Text{
		En: "What is published about vulnerabilities and kept here in one file: advisories of OSV, CISA's catalogue of what is exploited, EPSS, and when products end. " +
			"A host without a network imports the file that another one built and signed.",
		Es: "Lo que se publica sobre vulnerabilidades y se guarda aquí en un archivo: avisos de OSV, el catálogo de CISA de lo que se explota, EPSS, y cuándo terminan los productos. " +
			"Un anfitrión sin red importa el archivo que otro armó y firmó.",
	})
	cmd.AddCommand(dbBuildCmd(a), dbUpdateCmd(a), dbImportCmd(a), dbStatusCmd(a))
	return cmd
}

// advisories opens the database of this host. It is advisories.ErrNone if there
// is none.
func (a *app) advisories() (*advisories.DB, error) {
	return advisories.Open(advisories.Path(a.statePath))
}

// advisoriesLimit is how old the database may be, by the policy in force.
func (a *app) advisoriesLimit() (time.Duration, error) {
	p, err := a.policy()
	if err != nil {
		return 0, err
	}
	if p.Images.AdvisoriesAge > 0 {
		return time.Duration(p.Images.AdvisoriesAge), nil
	}
	return checks.AdvisoriesAge, nil
}

var noAdvisories = lang.Text{
	En: "casco db update Debian Go … downloads it; on a host without a network: casco db import FILE",
	Es: "casco db update Debian Go … la descarga; en un anfitrión sin red: casco db import ARCHIVO",
}

func dbBuildCmd(a *app) *cobra.Command {
	var out, key string
	cmd := a.manual.verb(&cobra.Command{
		Use: "build",
		RunE: func(cmd *cobra.Command, args []string) error {
			var inputs []advisories.Input
			for _, path := range args {
				files, err := sourcesIn(path)
				if err != nil {
					return err
				}
				for _, f := range files {
					inputs = append(inputs, advisories.Input{Path: f})
				}
			}
			return a.buildAdvisories(cmd.Context(), "build", out, key, inputs)
		},
	}, lang.Text{En: "Build the database from files", Es: "Arma la base a partir de archivos"}, lang.Text{
		En: "Build the database from files that lie here. A PATH is a file, or a folder with files: zips of OSV records, one for an ecosystem, as osv.dev publishes them (all.zip); " +
			"CISA's KEV catalogue (JSON); EPSS (CSV); endoflife.date's products (JSON); debian.csv and ubuntu.csv of distro-info-data. All may be compressed with gzip. " +
			"What a file is, is told by what is in it. One that is broken leaves the database as it was.\n\n" +
			"Exit codes: 0 built, 1 trouble.",
		Es: "Arma la base a partir de archivos que están aquí. Una RUTA es un archivo, o una carpeta con archivos: zips de registros OSV, uno por ecosistema, como los publica osv.dev (all.zip); " +
			"el catálogo KEV de CISA (JSON); EPSS (CSV); los productos de endoflife.date (JSON); debian.csv y ubuntu.csv de distro-info-data. Todos pueden venir comprimidos con gzip. " +
			"Qué es un archivo se sabe por su contenido. Uno roto deja la base como estaba.\n\n" +
			"Códigos de salida: 0 armada, 1 problema.",
	}, lang.Text{En: "PATH…", Es: "RUTA…"})
	a.several(cmd)
	a.dbFlags(cmd, &out, &key)
	return cmd
}

// several lets the last operand of cmd be there more than once.
func (a *app) several(cmd *cobra.Command) {
	operands := a.manual.verbs[cmd].operands
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		return a.manual.wants(cmd, operands, given[:min(len(given), len(operands))])
	}
}

func (a *app) dbFlags(cmd *cobra.Command, out, key *string) {
	cmd.Flags().StringVarP(out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{
		En: "`FILE` to write, for other hosts to import; else this host's own", Es: "`ARCHIVO` que escribir, para que lo importen otros anfitriones; si no, el de este",
	})
	cmd.Flags().StringVar(key, "key", "", "")
	a.manual.flag(cmd.Flags(), "key", lang.Text{
		En: "sign it with this SSH key, in `FILE`; the signature is written beside it (.sig)", Es: "la firma con esta clave SSH, en `ARCHIVO`; la firma queda junto a ella (.sig)",
	})
}

// sourcesIn are the files at path: itself, or those of a folder.
func sourcesIn(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return []string{path}, err
	}
	all, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range all {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, lang.Errorf(lang.Text{En: "%s: there is no file in it", Es: "%s: no hay ningún archivo en ella"}, path)
	}
	return files, nil
}

// buildAdvisories makes the file out, or this host's own, of inputs.
func (a *app) buildAdvisories(ctx context.Context, how, out, key string, inputs []advisories.Input) error {
	own := out == ""
	var signer *signed.Signer
	if key != "" {
		s, err := a.keyFrom(key)
		if err != nil {
			return err
		}
		signer = &s
	}
	if own {
		unlock, err := a.state().Lock()
		if err != nil {
			return err
		}
		defer unlock()
		out = advisories.Path(a.statePath)
	}
	stop := a.progress(lang.Text{En: "building the database", Es: "armando la base"})
	info, err := advisories.Build(ctx, out, inputs, time.Now())
	stop()
	if err != nil {
		return err
	}
	// The signature of what was there before is one of nothing.
	if err := os.Remove(advisories.Signature(out)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	by := signed.Key{}
	if signer != nil {
		sig, err := advisories.Sign(out, *signer)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(advisories.Signature(out), sig, 0o644); err != nil {
			return err
		}
		by = signer.Key()
	}
	if own {
		a.tried(a.note(ctx, advisoriesEvent(how, "taken", info, by, nil)))
	}
	return a.printAdvisories(out, info, by.Fingerprint())
}

func advisoriesEvent(how, state string, info advisories.Info, by signed.Key, why error) store.Advisories {
	e := store.Advisories{How: how, State: state, Made: info.Made, Covers: strings.Join(covered(info), ", "), Key: by.Fingerprint()}
	if why != nil {
		e.Why = why.Error()
	}
	return e
}

// covered are the ecosystems of which a database has all.
func covered(info advisories.Info) []string {
	var out []string
	for _, s := range info.Sources {
		out = append(out, s.Covers...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func dbUpdateCmd(a *app) *cobra.Command {
	var out, key, bucket string
	cmd := a.manual.verb(&cobra.Command{
		Use: "update",
		RunE: func(cmd *cobra.Command, args []string) error {
			addresses, err := a.addresses(args, bucket)
			if err != nil {
				return err
			}
			f := advisories.NewFetcher(filepath.Join(filepath.Dir(advisories.Path(a.statePath)), "sources"))
			inputs, err := a.fetch(cmd.Context(), f, addresses)
			if err != nil {
				return err
			}
			return a.buildAdvisories(cmd.Context(), "update", out, key, inputs)
		},
	}, lang.Text{En: "Download what changed, and build the database", Es: "Descarga lo que cambió y arma la base"}, lang.Text{
		En: "Download what changed, and build the database of it. A SOURCE is an ecosystem as OSV names it (Debian, Alpine, Go, npm, PyPI, Maven …), which is looked for in OSV's own bucket or in a mirror (--bucket), " +
			"or the address of a file that db build takes. Sources are added to those that the database was downloaded from; without any, those are brought up to date. " +
			"What is as it was is not downloaded again; what was broken off goes on where it was. HTTPS_PROXY, HTTP_PROXY and NO_PROXY count. If one source fails, the database stays as it was.\n\n" +
			"Exit codes: 0 up to date, 1 trouble.",
		Es: "Descarga lo que cambió y arma la base con ello. Una FUENTE es un ecosistema como lo nombra OSV (Debian, Alpine, Go, npm, PyPI, Maven …), que se busca en el depósito de OSV o en un espejo (--bucket), " +
			"o la dirección de un archivo de los que admite db build. Las fuentes se añaden a aquellas de las que se descargó la base; sin ninguna, se ponen al día esas. " +
			"Lo que está como estaba no se descarga otra vez; lo interrumpido sigue donde estaba. Cuentan HTTPS_PROXY, HTTP_PROXY y NO_PROXY. Si una fuente falla, la base queda como estaba.\n\n" +
			"Códigos de salida: 0 al día, 1 problema.",
	}, lang.Text{En: "[SOURCE…]", Es: "[FUENTE…]"})
	a.several(cmd)
	a.dbFlags(cmd, &out, &key)
	cmd.Flags().StringVar(&bucket, "bucket", advisories.Bucket, "")
	a.manual.flag(cmd.Flags(), "bucket", lang.Text{
		En: "`ADDRESS` of OSV's records, or of a mirror: a folder for each ecosystem, with all.zip", Es: "`DIRECCIÓN` de los registros de OSV, o de un espejo: una carpeta por ecosistema, con all.zip",
	})
	return cmd
}

// addresses are where the sources are that are asked for, and those that the
// database has already, in order.
func (a *app) addresses(asked []string, bucket string) ([]string, error) {
	var out []string
	add := func(address string) {
		if !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	switch d, err := a.advisories(); {
	case err == nil:
		for _, s := range d.Info().Sources {
			if s.URL != "" {
				add(s.URL)
			}
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	case !errors.Is(err, advisories.ErrNone):
		a.tell(lang.Text{En: "what was downloaded before is not known: %v", Es: "no se sabe qué se descargó antes: %v"}, err)
	}
	for _, s := range asked {
		if !strings.Contains(s, "://") {
			s = advisories.URLOf(bucket, s)
		}
		add(s)
	}
	if len(out) == 0 {
		return nil, coded{exitUsage, lang.Errorf(lang.Text{
			En: "nothing was downloaded before: which sources?", Es: "no se descargó nada antes: ¿qué fuentes?",
		}), command("db", "update", "Debian", "Go")}
	}
	return out, nil
}

// oneSource is how long one source may take.
const oneSource = 30 * time.Minute

func (a *app) fetch(ctx context.Context, f *advisories.Fetcher, addresses []string) ([]advisories.Input, error) {
	var inputs []advisories.Input
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err == nil && u.Scheme == "http" {
			a.tell(lang.Text{
				En: "%s is not encrypted: whoever is on the way can leave advisories out", Es: "%s no está cifrado: quien esté en el camino puede quitar avisos",
			}, u.Redacted())
		}
		within, cancel := context.WithTimeout(ctx, oneSource)
		stop := a.progress(lang.Text{En: "downloading " + report.Clean(address), Es: "descargando " + report.Clean(address)})
		in, _, err := f.Fetch(within, address, time.Now())
		stop()
		cancel()
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

func dbImportCmd(a *app) *cobra.Command {
	var signature, trust string
	var older bool
	cmd := a.manual.verb(&cobra.Command{
		Use: "import",
		RunE: func(cmd *cobra.Command, args []string) error {
			if signature == "" {
				signature = advisories.Signature(args[0])
			}
			return a.importAdvisories(cmd.Context(), args[0], signature, trust, older)
		},
	}, lang.Text{En: "Take a database that another host built and signed, or refuse it", Es: "Toma una base que armó y firmó otro anfitrión, o la rechaza"}, lang.Text{
		En: "Take a database that another host built and signed (db build -o FILE --key KEY). It counts if it is signed by a steward of the policy in force, or by a key that was vouched for here (--trust, once). " +
			"One that was altered, is older than what is there, has less, or is dated ahead is refused. The signature is what ssh-keygen -Y sign -n casco-advisories makes.\n\n" +
			"Exit codes: 0 taken, 1 trouble, 4 refused.",
		Es: "Toma una base que armó y firmó otro anfitrión (db build -o ARCHIVO --key CLAVE). Vale si la firma un steward de la política en vigor, o una clave por la que aquí se respondió (--trust, una vez). " +
			"Se rechaza la que fue alterada, es más vieja que la que hay, tiene menos, o está fechada en el futuro. La firma es la que hace ssh-keygen -Y sign -n casco-advisories.\n\n" +
			"Códigos de salida: 0 tomada, 1 problema, 4 rechazada.",
	}, aFile)
	cmd.Flags().StringVar(&signature, "signature", "", "")
	a.manual.flag(cmd.Flags(), "signature", lang.Text{En: "`FILE` with its signature; else FILE.sig", Es: "`ARCHIVO` con su firma; si no, ARCHIVO.sig"})
	cmd.Flags().StringVar(&trust, "trust", "", "")
	a.manual.flag(cmd.Flags(), "trust", lang.Text{
		En: "`KEY` that you vouch for, now and for later: SHA256:…, or a file with the public key", Es: "`CLAVE` por la que usted responde, ahora y después: SHA256:…, o un archivo con la clave pública",
	})
	cmd.Flags().BoolVar(&older, "older", false, "")
	a.manual.flag(cmd.Flags(), "older", lang.Text{En: "take it though it is older, or has less", Es: "tomarla aunque sea más vieja, o tenga menos"})
	return cmd
}

func (a *app) importAdvisories(ctx context.Context, path, signature, trust string, older bool) error {
	unlock, err := a.state().Lock()
	if err != nil {
		return err
	}
	defer unlock()
	sig, err := os.ReadFile(signature)
	if errors.Is(err, fs.ErrNotExist) {
		if !strings.HasSuffix(path, ".db") { // it is what one is built from, by its name
			return refused(lang.Errorf(lang.Text{En: "%s is no database of advisories: one is built from it", Es: "%s no es una base de avisos: se construye con él"}, path), command("db", "build", path))
		}
		return refused(lang.Errorf(lang.Text{En: "%s is not signed: there is no %s", Es: "%s no está firmado: no hay %s"}, path, signature), command("db", "build", "--output", path, "--key", "~/.ssh/id_ed25519"))
	}
	if err != nil {
		return err
	}
	allowed, err := a.vouched()
	if err != nil {
		return err
	}
	if trust != "" {
		k, err := vouch(trust, sig)
		if err != nil {
			return err
		}
		allowed = append(allowed, k)
	}
	info, by, err := advisories.Import(path, sig, allowed, advisories.Path(a.statePath), time.Now(), older)
	if err != nil {
		a.tried(a.note(ctx, advisoriesEvent("import", "refused", info, by, err)))
		hint := ""
		if errors.Is(err, signed.ErrUnknownKey) {
			hint = command("db", "import", path) + " --trust SHA256:…"
		}
		return refused(lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, path, err), hint)
	}
	if trust != "" {
		if err := a.keepVouched(by); err != nil {
			return err
		}
	}
	a.tried(a.note(ctx, advisoriesEvent("import", "taken", info, by, nil)))
	return a.printAdvisories(advisories.Path(a.statePath), info, by.Fingerprint())
}

// trustedPath has the keys that were vouched for, one a line.
func (a *app) trustedPath() string {
	return filepath.Join(filepath.Dir(advisories.Path(a.statePath)), "trusted")
}

// vouched are the keys whose databases count here: those of the policy's
// stewards, and those that were vouched for.
func (a *app) vouched() ([]signed.Key, error) {
	p, err := a.policy()
	if err != nil {
		return nil, err
	}
	var out []signed.Key
	for _, who := range p.People {
		if !who.Has(policy.Steward) {
			continue
		}
		for _, line := range who.Keys {
			k, _, err := signed.ParseKey(line)
			if err != nil {
				return nil, err
			}
			out = append(out, k)
		}
	}
	b, err := os.ReadFile(a.trustedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		k, _, err := signed.ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.trustedPath(), err)
		}
		out = append(out, k)
	}
	return out, nil
}

func (a *app) keepVouched(k signed.Key) error {
	b, err := os.ReadFile(a.trustedPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.Contains(string(b), k.String()+"\n") {
		return nil
	}
	return atomicfile.Write(a.trustedPath(), append(b, k.String()+"\n"...), 0o600)
}

// vouch is the key that somebody vouches for: that of the signature, if it has
// this fingerprint, or the one in a file.
func vouch(trust string, sig []byte) (signed.Key, error) {
	if strings.HasPrefix(trust, "SHA256:") {
		claim, err := signed.Parse(sig)
		if err != nil {
			return signed.Key{}, refused(err, "")
		}
		if claim.Key.Fingerprint() != trust {
			return signed.Key{}, refused(lang.Errorf(lang.Text{En: "it is signed with %s, not with %s", Es: "está firmada con %s, no con %s"}, claim.Key.Fingerprint(), trust), "")
		}
		return claim.Key, nil
	}
	b, err := os.ReadFile(trust)
	if err != nil {
		return signed.Key{}, err
	}
	k, _, err := signed.ParseKey(string(b))
	if err != nil {
		return k, fmt.Errorf("%s: %w", trust, err)
	}
	return k, nil
}

func dbStatusCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "status",
		RunE: func(*cobra.Command, []string) error {
			d, err := a.advisories()
			if errors.Is(err, advisories.ErrNone) {
				return coded{exitTrouble, err, command("db", "update", "Debian", "Go")}
			}
			if err != nil {
				return err
			}
			if err := d.Close(); err != nil {
				return err
			}
			allowed, err := a.vouched()
			if err != nil {
				return err
			}
			by, err := advisories.SignedBy(advisories.Path(a.statePath), allowed)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.tell(lang.Text{En: "its signature does not count: %v", Es: "su firma no vale: %v"}, err)
			}
			limit, err := a.advisoriesLimit()
			if err != nil {
				return err
			}
			if err := a.printAdvisories(advisories.Path(a.statePath), d.Info(), by.Fingerprint()); err != nil {
				return err
			}
			if len(d.Info().Old(limit, time.Now())) > 0 {
				return quiet(exitFindings)
			}
			return nil
		},
	}, lang.Text{En: "Say what the database is made of, and how old it is", Es: "Dice de qué está hecha la base y qué edad tiene"}, lang.Text{
		En: "Say what the database is made of, how old each source is, and who signed it. A source that was downloaded is as old as the server's last word; one that was a file, as its newest record. " +
			"The policy says how old is too old: images.advisories_age, a week where it does not.\n\n" +
			"Exit codes: 0 young enough, 1 there is none or it is damaged, 3 a source is too old.",
		Es: "Dice de qué está hecha la base, qué edad tiene cada fuente y quién la firmó. Una fuente descargada tiene la edad de la última palabra del servidor; una que era un archivo, la de su registro más nuevo. " +
			"La política dice cuánto es demasiado: images.advisories_age, una semana si no lo dice.\n\n" +
			"Códigos de salida: 0 bastante reciente, 1 no hay o está dañada, 3 una fuente es demasiado vieja.",
	})
}

// printAdvisories says what a database is made of.
func (a *app) printAdvisories(path string, info advisories.Info, by string) error {
	limit, err := a.advisoriesLimit()
	if err != nil {
		return err
	}
	now := time.Now()
	if a.format == "json" {
		type source struct {
			advisories.Source
			AgeSeconds int64 `json:"age_seconds"`
			Old        bool  `json:"old"`
		}
		sources := []source{}
		for _, s := range info.Sources {
			sources = append(sources, source{s, int64(now.Sub(s.At).Seconds()), s.Old(limit, now)})
		}
		return a.json(map[string]any{
			"path": path, "made": info.Made, "signed_by": by, "limit_seconds": int64(limit.Seconds()), "sources": sources, "ecosystems": info.Ecosystems,
		})
	}
	a.printer().Advisories(report.Advisories{Path: path, Info: info, SignedBy: by, Limit: limit, Now: now})
	return nil
}
