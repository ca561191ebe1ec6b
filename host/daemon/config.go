package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A config is a daemon.json as it is now.
type config struct {
	path   string
	digest string // sha256 in hex, "" if there is no file
	exists bool
	newer  bool           // it changed after the engine started
	values map[string]any // numbers are json.Number
	broken error          // why it is no configuration
}

// readConfig reads the file at path as p would find it.
func readConfig(p process, path string) (config, error) {
	c := config{path: path}
	name := p.inside(path)
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return c, fmt.Errorf("%s: is no regular file", path) // reading a named pipe would wait for its writer
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(b)
	c.exists, c.digest = true, hex.EncodeToString(sum[:])
	c.newer = changedSince(name, p)
	if c.values, err = parseConfig(b); err != nil {
		c.broken = fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseConfig reads daemon.json as dockerd does: one JSON object, of a key
// that comes twice the last. A byte order mark is skipped (since 20.10); an
// empty file is an empty object.
func parseConfig(b []byte) (map[string]any, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(b)) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("%s: %w", position(b, syntax.Offset), err)
		}
		return nil, err
	}
	if values == nil {
		return nil, errors.New("is null, want an object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return values, nil
}

// position is line:column, both from 1, of the last of the first n bytes: the
// one that a json.SyntaxError is about.
func position(b []byte, n int64) string {
	before := b[:min(max(int(n)-1, 0), len(b))]
	return fmt.Sprintf("%d:%d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}

// changedSince reports whether the file changed after p started, by st_ctime,
// which no program can set.
func changedSince(name string, p process) bool {
	var file syscall.Stat_t
	started, err := p.started()
	if err != nil || syscall.Stat(name, &file) != nil {
		return false
	}
	return time.Unix(file.Ctim.Unix()).After(started)
}
