package realdocker

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// users is /etc/passwd of the images: who may be named in "USER".
const users = "root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n"

// Image makes an image of the machine's busybox under a name, and returns the
// name. Every applet of busybox is in /bin; there is a user app (1000), and
// /tmp. The changes are instructions of a Dockerfile: "USER app", "EXPOSE 80".
func (e *Engine) Image(name string, changes ...string) string {
	e.t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		e.t.Fatal("no busybox (scripts/setup installs busybox-static)")
	}
	if err := static(path); err != nil {
		e.t.Fatal(err)
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		e.t.Fatalf("busybox --list: %v", err)
	}
	files := []file{{name: "bin/busybox", from: path}}
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			files = append(files, file{name: "bin/" + applet, link: "busybox"})
		}
	}
	e.load(name, files, changes)
	return name
}

// Probe makes an image with nothing in it but /probe (see lab/probe), its
// entry point, and returns the name.
func (e *Engine) Probe(name string, changes ...string) string {
	e.t.Helper()
	top, err := moduleRoot()
	if err != nil {
		e.t.Fatal(err)
	}
	path := filepath.Join(e.t.TempDir(), "probe")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./lab/probe")
	build.Dir = top
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		e.t.Fatalf("%s: %v\n%s", build, err, out)
	}
	e.load(name, []file{{name: "probe", from: path}}, append([]string{`ENTRYPOINT ["/probe"]`}, changes...))
	return name
}

// static wants a program that runs in an image without libraries.
func static(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s: wants shared libraries (scripts/setup installs busybox-static)", path)
		}
	}
	return nil
}

// A file is a program of an image, or a symbolic link.
type file struct{ name, from, link string }

// load imports the files, /etc/passwd and /tmp as an image.
func (e *Engine) load(name string, files []file, changes []string) {
	e.t.Helper()
	archive, err := pack(files)
	if err != nil {
		e.t.Fatal(err)
	}
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	if _, err := e.docker(archive, append(args, "-", name)...); err != nil {
		e.t.Fatal(err)
	}
}

func pack(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777})
	w.WriteHeader(&tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(users))})
	w.Write([]byte(users))
	for _, f := range files {
		if f.link != "" {
			w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: f.name, Linkname: f.link, Mode: 0o777})
			continue
		}
		body, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(body))})
		w.Write(body)
	}
	// A tar.Writer keeps its first error, and Close returns it.
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing an image: %w", err)
	}
	return b.Bytes(), nil
}
