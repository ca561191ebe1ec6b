package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What reading an image may cost.
const (
	imagePackages = 600
	maxImageCold  = 2 * time.Second
	maxImageWarm  = 200 * time.Millisecond
	maxImageMiB   = 200 // for bigImageSize
	bigImageSize  = 2 << 30
)

// A madeImage is an archive as "docker save" writes it, made without an engine.
type madeImage struct {
	path string
	size int64
}

// imageCost measures casco image beside reading the archive alone, in turns.
func imageCost(casco, dir string, rounds int) error {
	ordinary, err := makeImage(filepath.Join(dir, "image.tar"), imagePackages, 24_000, 300<<20)
	if err != nil {
		return err
	}
	big, err := makeImage(filepath.Join(dir, "big.tar"), imagePackages, 60_000, bigImageSize)
	if err != nil {
		return err
	}
	fmt.Println("| image | reading ms | cold ms | ratio | warm ms | peak MiB |\n|---|---|---|---|---|---|")
	var errs []error
	for _, m := range []struct {
		name  string
		image madeImage
		timed bool
	}{{"600 packages", ordinary, true}, {"2 GiB", big, false}} {
		var reading, cold, warm []time.Duration
		most := 0.0
		for range rounds {
			begun := time.Now()
			if err := read(m.image.path); err != nil {
				return err
			}
			reading = append(reading, time.Since(begun))
			state, err := os.MkdirTemp(dir, "state.")
			if err != nil {
				return err
			}
			for _, times := range []*[]time.Duration{&cold, &warm} {
				took, mib, err := imageOnce(casco, m.image.path, state)
				if err != nil {
					return err
				}
				*times, most = append(*times, took), max(most, mib)
			}
		}
		r, c, w := median(reading), median(cold), median(warm)
		fmt.Printf("| %s, %d MB | %.0f | %.0f | %.2f | %.0f | %.0f |\n", m.name, m.image.size/1e6, ms(r), ms(c), float64(c)/float64(r), ms(w), most)
		if m.timed && c > maxImageCold {
			errs = append(errs, fmt.Errorf("%s: %v cold, more than %v", m.name, c, maxImageCold))
		}
		if w > maxImageWarm {
			errs = append(errs, fmt.Errorf("%s: %v warm, more than %v", m.name, w, maxImageWarm))
		}
		if most > maxImageMiB {
			errs = append(errs, fmt.Errorf("%s: %.0f MiB, more than %d", m.name, most, maxImageMiB))
		}
	}
	return errors.Join(errs...)
}

// read reads a file and throws it away.
func read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(struct{ io.Writer }{io.Discard}, f)
	return err
}

// imageOnce runs casco image and returns its time and memory.
func imageOnce(casco, path, state string) (time.Duration, float64, error) {
	cmd := exec.Command(casco, "--state", state, "image", path, "--format", "json")
	begun := time.Now()
	out, err := cmd.Output()
	took := time.Since(begun)
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: it has findings
		return 0, 0, fmt.Errorf("casco image: %w", err)
	}
	var got struct{ Packages []any }
	if err := json.Unmarshal(out, &got); err != nil {
		return 0, 0, err
	}
	if len(got.Packages) != imagePackages {
		return 0, 0, fmt.Errorf("casco image: %d packages, want %d", len(got.Packages), imagePackages)
	}
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return took, float64(usage.Maxrss) / 1024, nil
}

// makeImage writes an archive of an image of one layer: a database of packages,
// and so many files that together have that size, a tenth of them programs.
func makeImage(path string, packages, files int, size int64) (m madeImage, err error) {
	layer, err := os.CreateTemp(filepath.Dir(path), "layer.")
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, layer.Close(), os.Remove(layer.Name())) }()
	sum := sha256.New()
	if err := fillLayer(io.MultiWriter(layer, sum), packages, files, size); err != nil {
		return m, err
	}
	config := fmt.Sprintf(`{"created":"2026-01-02T03:04:05Z","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}`, hex.EncodeToString(sum.Sum(nil)))
	out, err := os.Create(path)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	if m.size, err = layer.Seek(0, io.SeekCurrent); err != nil {
		return m, err
	}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	for _, part := range []struct {
		name string
		size int64
		r    io.Reader
	}{
		{"0/layer.tar", m.size, layer},
		{"c.json", int64(len(config)), strings.NewReader(config)},
		{"manifest.json", int64(len(manifest)), strings.NewReader(manifest)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: part.name, Mode: 0o644, Size: part.size}); err != nil {
			return m, err
		}
		if _, err := io.Copy(w, part.r); err != nil {
			return m, err
		}
	}
	m.path = path
	return m, w.Close()
}

const manifest = `[{"Config":"c.json","RepoTags":["bench:1"],"Layers":["0/layer.tar"]}]`

func fillLayer(w io.Writer, packages, files int, size int64) error {
	t := tar.NewWriter(w)
	put := func(name string, mode int64, parts ...string) error {
		n := 0
		for _, p := range parts {
			n += len(p)
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(n)}); err != nil {
			return err
		}
		for _, p := range parts {
			if _, err := io.WriteString(t, p); err != nil {
				return err
			}
		}
		return nil
	}
	var status strings.Builder
	for i := range packages {
		fmt.Fprintf(&status, "Package: p%d\nStatus: install ok installed\nArchitecture: amd64\nSource: s%d\nVersion: 1.%d-1\nDescription: %s\n\n", i, i/3, i, strings.Repeat("words ", 60))
	}
	if err := errors.Join(put("etc/os-release", 0o644, "ID=debian\nVERSION_ID=\"12\"\n"), put("var/lib/dpkg/status", 0o644, status.String())); err != nil {
		return err
	}
	noise := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{})
	source.Read(noise)
	text := string(noise)
	each := size / int64(files)
	for i := range files {
		name, mode, head := fmt.Sprintf("usr/share/d%d/f%d", i%500, i), int64(0o644), ""
		if i%10 == 0 {
			name, mode, head = fmt.Sprintf("usr/bin/f%d", i), 0o755, "\x7fELF"
		}
		// Most files are small, and a few have nearly all the bytes.
		n := each / 4
		if i%20 == 0 {
			n = each * 15
		}
		parts := []string{head}
		for ; n > 0; n -= int64(len(text)) {
			parts = append(parts, text[:min(n, int64(len(text)))])
		}
		if err := put(name, mode, parts...); err != nil {
			return err
		}
	}
	return t.Close()
}
