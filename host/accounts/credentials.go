package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"casco/loop/inventory"
)

// maxConfig is more than any client's configuration holds, in bytes.
const maxConfig = 1 << 20

// credential reads the Docker client's configuration in u's home: which
// registries have a login in it, never the login. The file is the user's: it
// may be a device or a pipe, and is opened so that it cannot hold us up.
func (r *Reader) credential(s *inventory.Snapshot, u user, now time.Time) {
	if !filepath.IsAbs(u.home) {
		return
	}
	path := filepath.Join(u.home, ".docker/config.json")
	ref := inventory.Ref{Kind: inventory.Credential, Name: path}
	if s.Find(ref) != nil {
		return // a home that two users share
	}
	config, err := readConfig(filepath.Join(r.root, path))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return
	}
	o := &inventory.Object{Ref: ref, Source: path, Read: now, Fields: map[string]any{"User": u.name}}
	if err != nil {
		o.Unread = map[string]string{"Inline": err.Error(), "CredsStore": err.Error(), "CredHelpers": err.Error()}
	} else {
		o.Fields["Inline"], o.Fields["CredsStore"], o.Fields["CredHelpers"] = config.inline(), config.CredsStore, config.helpers()
	}
	s.Add(o)
}

// A clientConfig is the part of config.json that is about logins:
// docker/cli, cli/config/configfile.
type clientConfig struct {
	Auths       map[string]login
	CredsStore  string
	CredHelpers map[string]string
}

// A login says which of its parts are there, and forgets what they are.
type login struct{ Auth, Username, Password, IdentityToken, RegistryToken present }

type present bool

// UnmarshalJSON takes anything but null and "" for something.
func (p *present) UnmarshalJSON(b []byte) error {
	*p = string(b) != "null" && string(b) != `""`
	return nil
}

func readConfig(path string) (*clientConfig, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: is no regular file of at most %d bytes", path, maxConfig)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return nil, err
	}
	var c clientConfig
	if json.Unmarshal(b, &c) != nil { // its error may quote the file
		return nil, fmt.Errorf("%s: is not the JSON of a Docker client's configuration", path)
	}
	return &c, nil
}

func (c *clientConfig) inline() []string {
	out := []string{}
	for registry, l := range c.Auths {
		if l.Auth || l.Password || l.IdentityToken || l.RegistryToken {
			out = append(out, inventory.MaskText(registry))
		}
	}
	slices.Sort(out)
	return out
}

// helpers are "registry: helper".
func (c *clientConfig) helpers() []string {
	out := []string{}
	for registry, helper := range c.CredHelpers {
		out = append(out, inventory.MaskText(registry)+": "+helper)
	}
	slices.Sort(out)
	return out
}
