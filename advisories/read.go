package advisories

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"casco/lang"
	"casco/vuln"
)

// limits of a source.
type limits struct {
	source     int64 // bytes of a file, as it is
	plain      int64 // bytes of all records of a zip, unpacked
	feed       int64 // bytes of a feed that is no zip, unpacked
	entries    int   // of a zip
	directory  int64 // bytes of a zip's directory
	ecosystems int   // with release, of all sources
}

// usual are the limits: several times what is known to exist. The largest zip
// of osv.dev, npm's, has about 250,000 entries with names of 25 bytes.
var usual = limits{source: 2 << 30, plain: 8 << 30, feed: 512 << 20, entries: 1_000_000, directory: 96 << 20, ecosystems: 10_000}

// read tells what f is by its first bytes, and reads it.
func (b *builder) read(f io.ReaderAt, size int64, s *Source) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<16)
	head, _ := r.Peek(4)
	if bytes.HasPrefix(head, []byte("PK")) {
		return b.zip(f, size, s)
	}
	plain := &bounded{r: r, left: b.limits.feed}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		plain.r = z
	}
	buf := bufio.NewReaderSize(plain, 1<<16)
	head, err := buf.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	switch {
	case strings.HasPrefix(text, "#model_version") || strings.HasPrefix(text, "cve,epss"):
		s.Kind = EPSS
		return b.readEPSS(buf, s)
	case strings.HasPrefix(text, "version,codename,series"):
		s.Kind = Distro
		return b.readDistro(buf, s)
	case strings.HasPrefix(text, "{"):
		return b.readJSON(buf, s)
	}
	return lang.Errorf(lang.Text{
		En: "it is none of a zip of OSV records, a KEV catalogue, an EPSS table, endoflife.date's products, distro-info's releases",
		Es: "no es ni un zip de registros OSV, ni un catálogo KEV, ni una tabla EPSS, ni los productos de endoflife.date, ni las versiones de distro-info",
	})
}

// A bounded fails, and does not end, when more comes than was allowed.
type bounded struct {
	r    io.Reader
	left int64
}

var errTooMuch = lang.Errorf(lang.Text{En: "it is too large once it is unpacked", Es: "es demasiado grande una vez desempaquetado"})

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooMuch
	}
	return n, err
}

// A directory bounds what is read of a file while its directory is: a zip says
// itself how many entries it has, and nothing makes that true.
type directory struct {
	r    io.ReaderAt
	left int64 // negative: no bound
}

func (d *directory) ReadAt(p []byte, off int64) (int, error) {
	if d.left >= 0 {
		if d.left -= int64(len(p)); d.left < 0 {
			return 0, lang.Errorf(lang.Text{En: "the zip's directory is too large", Es: "el directorio del zip es demasiado grande"})
		}
	}
	return d.r.ReadAt(p, off)
}

// zip reads records of OSV, one in each entry, as osv.dev publishes them for an
// ecosystem (all.zip). Nothing is unpacked onto the disk; an entry whose name is
// more than NAME.json makes the zip refused.
func (b *builder) zip(f io.ReaderAt, size int64, s *Source) error {
	s.Kind = OSV
	d := &directory{f, b.limits.directory}
	z, err := zip.NewReader(d, size)
	if err != nil {
		return lang.Errorf(lang.Text{En: "not a zip that can be read: %w", Es: "no es un zip que se pueda leer: %w"}, err)
	}
	d.left = -1
	if len(z.File) > b.limits.entries {
		return lang.Errorf(lang.Text{En: "it has %d entries, more than %d", Es: "tiene %d entradas, más de %d"}, len(z.File), b.limits.entries)
	}
	counts := map[string]int{} // by ecosystem without release: records that name it
	left := b.limits.plain
	for _, e := range z.File {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		as, read, err := record(e, min(left, vuln.MaxRecord))
		if err != nil {
			return lang.Errorf(lang.Text{En: "entry %q: %w", Es: "entrada %q: %w"}, e.Name, err)
		}
		left -= read
		if len(as) == 0 {
			continue
		}
		s.Records++
		changed := as[0].Modified
		if changed.IsZero() { // as in the repository of the Go vulnerability database
			changed = e.Modified.UTC()
		}
		if changed.After(s.Newest) && !changed.After(b.made) {
			s.Newest = changed
		}
		for _, base := range bases(as) {
			counts[base]++
		}
		if err := b.record(as); err != nil {
			return err
		}
	}
	if s.Records == 0 {
		return lang.Errorf(lang.Text{En: "there is no record in it that names a package", Es: "no hay en él ningún registro que nombre un paquete"})
	}
	s.Covers, s.Name = about(counts, s.Records, s.Name)
	for _, base := range s.Covers {
		b.covered[base] = true
	}
	return nil
}

// record reads one entry of at most limit bytes.
func record(e *zip.File, limit int64) (as []vuln.Advisory, read int64, err error) {
	if e.Name != filepath.Base(e.Name) || !strings.HasSuffix(e.Name, ".json") || strings.ContainsAny(e.Name, "\\\x00") {
		return nil, 0, lang.Errorf(lang.Text{En: "its name is not NAME.json", Es: "su nombre no es NOMBRE.json"})
	}
	r, err := e.Open()
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	data, err := io.ReadAll(&bounded{r: r, left: limit})
	if err != nil {
		return nil, 0, err
	}
	as, err = vuln.ParseOSV(data)
	return as, int64(len(data)), err
}

// bases are the ecosystems of one record, without release.
func bases(as []vuln.Advisory) []string {
	var out []string
	for _, a := range as {
		base, _, _ := strings.Cut(a.Ecosystem, ":")
		if !slices.Contains(out, base) {
			out = append(out, base)
		}
	}
	return out
}

// about says of which ecosystems a zip is all that there is, and how to call
// it. If each record names one ecosystem the zip is that one's, and what else
// is in it is in it by the way; else it is somebody's own collection.
func about(counts map[string]int, records int, file string) (covers []string, name string) {
	for base, n := range counts {
		if n == records {
			covers = append(covers, base)
		}
	}
	slices.Sort(covers)
	if len(covers) == 1 {
		return covers, covers[0]
	}
	if len(covers) == 0 {
		for base := range counts {
			covers = append(covers, base)
		}
		slices.Sort(covers)
	}
	return covers, strings.TrimSuffix(file, ".zip")
}
