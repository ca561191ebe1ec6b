package advisories

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"casco/lang"
)

// Bucket is where osv.dev publishes its records, a folder per ecosystem with
// all.zip in it (https://google.github.io/osv.dev/data/#data-dumps).
const Bucket = "https://osv-vulnerabilities.storage.googleapis.com"

// URLOf is where the records of an ecosystem, without release, are below a
// bucket or a mirror of it.
func URLOf(bucket, ecosystem string) string {
	return strings.TrimSuffix(bucket, "/") + "/" + url.PathEscape(ecosystem) + "/all.zip"
}

// A Fetcher downloads sources into a directory of its own, and no more of them
// than has changed. What was broken off goes on where it was.
type Fetcher struct {
	Client *http.Client
	Dir    string
}

// NewFetcher downloads through the proxy that the environment names
// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), into dir.
func NewFetcher(dir string) *Fetcher {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	t.DisableCompression = true // what is stored is what the server has
	return &Fetcher{Dir: dir, Client: &http.Client{Transport: t, CheckRedirect: sameSafety}}
}

// maxRedirects is what net/http follows by itself.
const maxRedirects = 10

// sameSafety follows no redirection from what is encrypted to what is not.
func sameSafety(r *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return lang.Errorf(lang.Text{En: "more than %d redirections", Es: "más de %d redirecciones"}, maxRedirects)
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return lang.Errorf(lang.Text{En: "it is redirected to %s, which is not encrypted", Es: "se redirige a %s, que no está cifrado"}, r.URL.Redacted())
	}
	return nil
}

// A note is what is kept beside a file, or a part of one.
type note struct {
	URL          string    `json:"url"`
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	At           time.Time `json:"at,omitzero"` // when the server last said that the file is as it is
}

// strong is what a part can be continued by: it must be of the same bytes
// (RFC 9110, 13.1.5).
func (n note) strong() string {
	if n.ETag != "" && !strings.HasPrefix(n.ETag, "W/") {
		return n.ETag
	}
	return ""
}

// tries is how often a download that breaks off is taken up again at once.
const tries = 3

// Fetch brings the file at address up to date. Changed is false if the one that
// is there is the server's still.
func (f *Fetcher) Fetch(ctx context.Context, address string, at time.Time) (in Input, changed bool, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !slices.Contains([]string{"https", "http"}, u.Scheme) {
		return Input{}, false, lang.Errorf(lang.Text{En: "%q is not an address such as https://host/path", Es: "%q no es una dirección como https://anfitrión/ruta"}, address)
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return Input{}, false, err
	}
	h := sha256.Sum256([]byte(address))
	file := filepath.Join(f.Dir, hex.EncodeToString(h[:16]))
	for try := 1; ; try++ {
		changed, err = f.once(ctx, address, file, at)
		if err == nil {
			return Input{Path: file, URL: address, At: at}, changed, nil
		}
		if _, broken := errors.AsType[*breach](err); !broken || try == tries || ctx.Err() != nil {
			return Input{}, false, lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, u.Redacted(), err)
		}
	}
}

// A breach is the end of a download before its end.
type breach struct{ err error }

func (b *breach) Error() string { return b.err.Error() }
func (b *breach) Unwrap() error { return b.err }

func (f *Fetcher) once(ctx context.Context, address, file string, at time.Time) (changed bool, err error) {
	part := file + ".part"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	if have, ok := noted(file, address); ok {
		if have.ETag != "" {
			r.Header.Set("If-None-Match", have.ETag)
		} else if have.LastModified != "" {
			r.Header.Set("If-Modified-Since", have.LastModified)
		}
	}
	var begun int64
	if half, ok := noted(part, address); ok && half.strong() != "" {
		if st, err := os.Stat(part); err == nil && st.Size() > 0 {
			begun = st.Size()
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", begun))
			r.Header.Set("If-Range", half.strong())
		}
	}
	resp, err := f.Client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // the address is said with it already
			err = u.Err
		}
		return false, &breach{err}
	}
	defer resp.Body.Close()
	answer := note{URL: address, ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), At: at.UTC()}
	switch resp.StatusCode {
	case http.StatusNotModified:
		have, ok := noted(file, address)
		if !ok {
			return false, lang.Errorf(lang.Text{En: "the server says that what was not there has not changed", Es: "el servidor dice que no cambió lo que no estaba"})
		}
		have.At = at.UTC()
		return false, have.keep(file)
	case http.StatusOK:
		begun = 0
	case http.StatusPartialContent:
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", begun)) {
			return false, errors.Join(&breach{lang.Errorf(lang.Text{En: "the server sent another part than was asked for", Es: "el servidor envió otra parte que la pedida"})}, gone(part))
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return false, errors.Join(&breach{errors.New(resp.Status)}, gone(part))
	default:
		return false, lang.Errorf(lang.Text{En: "the server answers %s", Es: "el servidor responde %s"}, resp.Status)
	}
	if err := answer.keep(part); err != nil {
		return false, err
	}
	if err := receive(part, begun, resp.Body); err != nil {
		return false, err
	}
	if err := os.Rename(part, file); err != nil {
		return false, err
	}
	return true, errors.Join(answer.keep(file), gone(part))
}

// receive appends body to the part that is there, from begun on.
func receive(part string, begun int64, body io.Reader) error {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := out.Truncate(begun); err != nil {
		return errors.Join(err, out.Close())
	}
	if _, err := out.Seek(begun, io.SeekStart); err != nil {
		return errors.Join(err, out.Close())
	}
	_, err = io.Copy(out, &bounded{r: body, left: usual.source - begun})
	if err != nil && !errors.Is(err, errTooMuch) && !isLocal(err) {
		err = &breach{err}
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// isLocal reports whether the disk failed, and not the net.
func isLocal(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// noted reads the note beside file, if both are there and of that address.
func noted(file, address string) (n note, ok bool) {
	if _, err := os.Stat(file); err != nil {
		return n, false
	}
	b, err := os.ReadFile(file + ".json")
	return n, err == nil && json.Unmarshal(b, &n) == nil && n.URL == address
}

func (n note) keep(file string) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return write(file+".json", b)
}

// gone removes a part and its note.
func gone(part string) error {
	for _, p := range []string{part, part + ".json"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
