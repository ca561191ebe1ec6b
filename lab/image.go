package lab

import (
	"archive/tar"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"casco/lang"
)

// A Program is the one file of the lab's images.
type Program struct {
	Path   string   // a static executable of the engine's architecture
	Prefix []string // the arguments that make it an actor; the actor's own follow
}

// Self is the running program, which must be casco: "casco lab act …" is
// actor.Main.
func Self() (Program, error) {
	path, err := os.Executable()
	return Program{path, []string{"lab", "act"}}, err
}

// check wants a program that runs in an image without libraries: an ELF file
// without an interpreter.
func (p Program) check() error {
	f, err := elf.Open(p.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Path, err)
	}
	defer f.Close()
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return lang.Errorf(lang.Text{
				En: "%s: needs shared libraries, which the lab's images do not have: build it with CGO_ENABLED=0",
				Es: "%s: necesita bibliotecas compartidas, que las imágenes del laboratorio no tienen: compílelo con CGO_ENABLED=0",
			}, p.Path)
		}
	}
	return nil
}

// An image is the program with a configuration of its own, as instructions of
// a Dockerfile. None has a USER or a HEALTHCHECK.
type image struct {
	name    string
	changes []string
}

var images = []image{
	{"lab-base:latest", nil},
	{"lab-web:latest", []string{"EXPOSE 8080", "EXPOSE 9090", "ENV API_TOKEN=lab-only-and-no-secret"}},
	{"lab-db:latest", []string{"VOLUME /var/lib/db", "ENV DB_PASSWORD=lab-only-and-no-secret"}},
}

func (b builder) makeImages(ctx context.Context) error {
	if err := b.lab.Program.check(); err != nil {
		return err
	}
	entry, err := json.Marshal(append([]string{"/program"}, b.lab.Program.Prefix...))
	if err != nil {
		return err
	}
	for _, i := range images {
		changes := append([]string{"ENTRYPOINT " + string(entry), "LABEL " + imageLabel + "=1"}, i.changes...)
		if err := b.importImage(ctx, i.name, changes); err != nil {
			return fmt.Errorf("image/%s: %w", i.name, err)
		}
	}
	return nil
}

// importImage sends a root file system as a tar (POST /images/create,
// fromSrc=-). The engine answers 200 before it has read it: a failure is in
// the stream of messages.
func (b builder) importImage(ctx context.Context, name string, changes []string) error {
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w.CloseWithError(b.lab.Program.pack(w))
	}()
	defer func() { r.Close(); <-packed }()

	q := url.Values{"fromSrc": {"-"}, "repo": {name}, "changes": changes}
	res, err := b.client.Do(ctx, http.MethodPost, "/images/create?"+q.Encode(), r, "application/x-tar")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for d := json.NewDecoder(res.Body); ; {
		var message struct{ Error string }
		switch err := d.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// pack writes the root file system: the program and a world-writable /tmp.
func (p Program) pack(w io.Writer) error {
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	if _, err := io.Copy(t, f); err != nil {
		return err
	}
	return t.Close()
}
