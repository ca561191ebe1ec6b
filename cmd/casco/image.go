package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/host/daemon"
	"casco/host/docker"
	"casco/host/image"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/report"
	"casco/sbom"
	"casco/vuln"
)

// imageFormats are what the report of an image is written as.
var imageFormats = slices.Concat([]string{"text"}, report.ImageFormats, sbom.Formats, []string{"openvex"})

// An imageAsk is what was asked of an image.
type imageAsk struct {
	from, format, threshold string
	vex                     []string
}

func imageCmd(a *app) *cobra.Command {
	var q imageAsk
	cmd := a.manual.verb(&cobra.Command{
		Use: "image",
		RunE: func(cmd *cobra.Command, args []string) error {
			least, ok := audit.ParseSeverity(q.threshold)
			switch {
			case !ok:
				return usage(lang.Errorf(lang.Text{
					En: "--threshold is low, medium, high or critical, not %q", Es: "--threshold es low, medium, high o critical, no %q",
				}, q.threshold))
			case !slices.Contains(imageFormats, q.format):
				return usage(lang.Errorf(lang.Text{En: "--format is one of %s, not %q", Es: "--format es uno de %s, no %q"}, strings.Join(imageFormats, ", "), q.format))
			case !slices.Contains([]string{"", "engine", "registry", "file"}, q.from):
				return usage(lang.Errorf(lang.Text{En: "--from is engine, registry or file, not %q", Es: "--from es engine, registry o file, no %q"}, q.from))
			}
			i, err := a.readImage(cmd.Context(), args[0], q)
			if err != nil {
				return err
			}
			return a.printImage(i, q.format, least)
		},
	}, lang.Text{En: "What is in an image, without running it", Es: "Qué hay en una imagen, sin ejecutarla"}, lang.Text{
		En: "What is in an image, without running it: packages with the layer that brought them and their vulnerabilities by the database of casco db, setuid programs, keys and logins also in layers that others hide, configuration, " +
			"age, what each layer adds. It is judged by the same checks as the engine's images in casco audit.\n\n" +
			"REF|FILE is an image of the engine, an archive (docker save, podman save, skopeo copy), a directory with an OCI layout, a bill of materials (CycloneDX, SPDX), or with --from registry an image of a registry, " +
			"with the logins of docker login. FILE:TAG chooses one of several. Nothing is changed; what is found in a layer is kept below --state, so that each is read once.\n\n" +
			"Exit codes: 0 no finding at or above the threshold, 1 the image could not be read, 3 findings.",
		Es: "Qué hay en una imagen, sin ejecutarla: paquetes con la capa que los trajo y sus vulnerabilidades según la base de casco db, programas setuid, claves y credenciales también en capas que otras ocultan, configuración, " +
			"edad, qué añade cada capa. Se juzga con las mismas comprobaciones que las imágenes del motor en casco audit.\n\n" +
			"REF|FILE es una imagen del motor, un archivo (docker save, podman save, skopeo copy), un directorio con un OCI layout una lista de materiales (CycloneDX, SPDX) o, con --from registry, una imagen de un registro, " +
			"con las credenciales de docker login. FILE:TAG elige una entre varias. No cambia nada; lo hallado en una capa se guarda bajo --state, así cada una se lee una vez.\n\n" +
			"Códigos de salida: 0 ningún hallazgo desde el umbral, 1 no se pudo leer la imagen, 3 hallazgos.",
	}, lang.Text{En: "REF|FILE", Es: "REF|ARCHIVO"})
	f := cmd.Flags()
	formats := strings.Join(imageFormats, ", ")
	f.StringVar(&q.from, "from", "", "")
	f.StringVar(&q.format, "format", "text", "")
	f.StringVar(&q.threshold, "threshold", "low", "")
	f.StringArrayVar(&q.vex, "vex", nil, "")
	a.manual.flag(f, "vex", lang.Text{
		En: "what is stated of vulnerabilities, an OpenVEX document in `FILE`; may be given more than once",
		Es: "lo que se declara de las vulnerabilidades, un documento OpenVEX en `ARCHIVO`; se puede dar varias veces",
	})
	a.manual.flag(f, "from", lang.Text{
		En: "`WHERE` it is: engine, registry or file; else a file if there is one, else the engine",
		Es: "`DÓNDE` está: engine, registry o file; si no, un archivo si lo hay; si no, el motor",
	})
	a.manual.flag(f, "format", lang.Text{En: "`FORMAT`: " + formats, Es: "`FORMATO`: " + formats})
	a.manual.flag(f, "threshold", lang.Text{En: "lowest `SEVERITY` that counts: low, medium, high, critical", Es: "`SEVERIDAD` mínima que cuenta: low, medium, high, critical"})
	complete(cmd, "threshold", severities)
	complete(cmd, "from", []string{"engine", "registry", "file"})
	return cmd
}

// readImage reads and judges one image.
func (a *app) readImage(ctx context.Context, ref string, q imageAsk) (report.Image, error) {
	stop := a.progress(lang.Text{En: "reading the image", Es: "leyendo la imagen"})
	defer stop()
	j, err := a.judgeNow()
	if err != nil {
		return report.Image{}, err
	}
	s, o, err := a.findImage(ctx, ref, q.from)
	if err != nil {
		return report.Image{}, err
	}
	weighed, known, err := a.weigh(o, q.vex)
	if err != nil {
		return report.Image{}, err
	}
	judged, findings := j.look(s)
	terrain := risk.Survey(judged, findings, j.inForce.Policy, published(judged, findings))
	i := report.Image{Object: judged.Find(o.Ref), Unjudged: weighed.Unjudged, At: s.Taken, Policy: j.report(), Version: version}
	for _, f := range findings {
		// Of a bill of materials only the packages are known.
		if _, _, config := inventory.ImageCreated.Of(o); f.Ref == o.Ref && (config || f.Verdict != audit.Unknown || slices.Contains(report.Vulnerable, f.Check.ID)) {
			i.Findings = append(i.Findings, f)
		}
	}
	i.Matches = vuln.Rank(weighed.Matches, o.Ref, terrain, known, s.Taken)
	packages, fact, ok := vuln.Of(o)
	i.Packages = packages
	i.Unseen, _, _ = inventory.ImageUnseen.Of(o)
	if !ok {
		i.Unseen = append(i.Unseen, fact.Err)
	}
	return i, nil
}

// findImage returns a snapshot with the image in it. Of an image of the engine
// it is of the engine too, for what it says bears on some checks.
func (a *app) findImage(ctx context.Context, ref, from string) (*inventory.Snapshot, *inventory.Object, error) {
	path, tag := fileOf(ref)
	reader := image.NewReader(a.layersPath())
	var o *inventory.Object
	var err error
	switch {
	case from == "registry":
		o, err = reader.Pull(ctx, ref, nil)
	case from == "file", from == "" && path != "":
		if path == "" {
			path = ref
		}
		if document, e := image.IsDocument(path); e == nil && document {
			o, err = fromBill(path)
		} else {
			o, err = reader.Open(ctx, path, tag)
		}
	default:
		return a.engineImage(ctx, ref)
	}
	if err != nil {
		return nil, nil, err
	}
	s := &inventory.Snapshot{Taken: time.Now().UTC()}
	s.Add(o)
	return s, o, nil
}

// fromBill makes an image of what a bill of materials says is in it. Nothing
// else is known of it.
func fromBill(path string) (*inventory.Object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := sbom.Read(f)
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, path, err)
	}
	unseen := make([]any, 0, len(b.Unseen))
	for _, why := range b.Unseen {
		unseen = append(unseen, why)
	}
	return &inventory.Object{
		Ref: inventory.Ref{Kind: inventory.Image, Name: cmp.Or(b.Name, path)}, Source: path, Read: time.Now().UTC(),
		Fields: map[string]any{
			inventory.ImageID.Path: b.Digest, inventory.ImagePackages.Path: vuln.Fields(b.Packages, func(string) int { return 0 }), inventory.ImageUnseen.Path: unseen,
		},
	}, nil
}

// layersPath is where what was found in layers is kept.
func (a *app) layersPath() string { return filepath.Join(a.statePath, "layers") }

// fileOf parts FILE and TAG of an operand. Path is "" if there is no such file.
func fileOf(ref string) (path, tag string) {
	for end := len(ref); end > 0; end = strings.LastIndexByte(ref[:end], ':') {
		if _, err := os.Stat(ref[:end]); err == nil {
			return ref[:end], strings.TrimPrefix(ref[end:], ":")
		}
	}
	return "", ""
}

// engineImage reads an image of the engine, its layers where they lie or as the
// engine sends them.
func (a *app) engineImage(ctx context.Context, ref string) (*inventory.Snapshot, *inventory.Object, error) {
	h, err := a.openHost()
	if err != nil {
		return nil, nil, err
	}
	if h.trouble != nil {
		return nil, nil, lang.Errorf(lang.Text{
			En: "%s is no file, and the engine cannot be asked for it: %w", Es: "%s no es un archivo, y no se puede pedir al motor: %w",
		}, ref, h.trouble)
	}
	s := inventory.Take(ctx, h.name, time.Now(),
		docker.NewSource(h.engine, docker.Options{Image: ref, Parked: a.parked}), daemon.New(h.socket), image.New(a.layersPath(), true, h.save))
	images := s.Of(inventory.Image)
	if len(images) != 1 {
		return nil, nil, coded{exitTrouble, lang.Errorf(lang.Text{
			En: "%s is no file, and the engine has no such image: %w", Es: "%s no es un archivo, y el motor no tiene tal imagen: %w",
		}, ref, gapsOf(s)), command("image", "--from", "registry", ref)}
	}
	return s, images[0], nil
}

// gapsOf is why a snapshot is empty.
func gapsOf(s *inventory.Snapshot) error {
	var errs []error
	for _, g := range s.Gaps {
		errs = append(errs, errors.New(g.Reason))
	}
	return errors.Join(errs...)
}

// save asks the engine for an image as an archive.
func (h *host) save(ctx context.Context, name string) (io.ReadCloser, error) {
	res, err := h.engine.Do(ctx, http.MethodGet, "/images/"+url.PathEscape(name)+"/get", nil, "")
	if err != nil {
		return nil, lang.Errorf(lang.Text{En: "its layers: %w", Es: "sus capas: %w"}, err)
	}
	return res.Body, nil
}

func (a *app) printImage(i report.Image, format string, least audit.Severity) error {
	var err error
	switch format {
	case "text":
		a.printer().Image(i, least)
	case "openvex":
		ms := make([]vuln.Match, 0, len(i.Matches))
		for _, m := range i.Matches {
			ms = append(ms, m.Match)
		}
		var text []byte
		if text, err = vuln.WriteVEX(i.Object.Ref.Name, operator(), ms, i.At); err == nil {
			_, err = a.out.Write(text)
		}
	case "cyclonedx", "spdx":
		id, _, _ := inventory.ImageID.Of(i.Object)
		err = sbom.Bill{Name: i.Object.Ref.Name, Digest: id, At: i.At, Tool: version, Packages: i.Packages, Unseen: i.Unseen}.Write(a.out, format)
	default:
		err = i.Write(a.out, format, a.lang)
	}
	if err == nil && slices.ContainsFunc(i.Findings, func(f audit.Finding) bool { return f.Fails(least) }) {
		return quiet(exitFindings)
	}
	return err
}
