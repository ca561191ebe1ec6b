package folder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/policy"
	"casco/signed"
)

// A Keeper keeps the policy in force on a host, in a directory of its own:
//
//	current.json   what is in force, and what comes next; replaced atomically
//	N/             a policy as it was taken: the files, with its signature
//
// What was taken stays: the directories of earlier ones are the history.
type Keeper struct{ dir string }

// NewKeeper returns the keeper of dir, which is made when first written to.
func NewKeeper(dir string) Keeper { return Keeper{dir} }

// current is what current.json holds.
type current struct {
	InForce *taken `json:"in_force,omitempty"` // absent: the built-in policy
	Next    *taken `json:"next,omitempty"`
}

// taken says of one policy what its files do not.
type taken struct {
	Dir       string           `json:"dir"`
	Folder    bool             `json:"folder"`
	Version   int              `json:"version"`
	Digest    string           `json:"digest"`
	Signature policy.Signature `json:"signature,omitzero"`
	Since     time.Time        `json:"since"`
}

const currentFile = "current.json"

// InForce returns what was taken last, nil if nothing ever was. Files that are
// not what was taken are an error: a policy that was changed behind our back is
// no policy, and the built-in one does not take its place.
func (k Keeper) InForce() (*policy.InForce, error) {
	c, err := k.current()
	if err != nil || c == nil {
		return nil, err
	}
	out := &policy.InForce{Policy: policy.Builtin()}
	if c.InForce != nil {
		if out, err = k.load(*c.InForce); err != nil {
			return nil, err
		}
	}
	if c.Next != nil {
		out.Next, err = k.load(*c.Next)
	}
	return out, err
}

func (k Keeper) current() (*current, error) {
	b, err := os.ReadFile(filepath.Join(k.dir, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := new(current)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(k.dir, currentFile), err)
	}
	return c, nil
}

// ErrForged is why a policy is refused that somebody else than its signer has
// put in the place of what was taken.
var ErrForged = lang.Errorf(lang.Text{En: "it is another one than was taken", Es: "es otra que la que se tomó"})

// load reads a policy that was taken, and holds it against what is known of it.
func (k Keeper) load(t taken) (*policy.InForce, error) {
	fail := func(why error) (*policy.InForce, error) {
		return nil, lang.Errorf(lang.Text{
			En: "the policy that was taken (version %d, in %s) is not as it was: %w", Es: "la política que se tomó (versión %d, en %s) no está como estaba: %w",
		}, t.Version, filepath.Join(k.dir, t.Dir), why)
	}
	s, err := k.source(t)
	if err != nil {
		return fail(err)
	}
	p, problems := s.Parse()
	if p == nil {
		return fail(lang.Errorf(lang.Text{En: "%v", Es: "%v"}, problems[0].Text))
	}
	if p.Digest != t.Digest || p.Metadata.Version != t.Version {
		return fail(lang.Errorf(lang.Text{En: "its digest is %.12s and was %.12s: %w", Es: "su resumen es %.12s y era %.12s: %w"}, p.Digest, t.Digest, ErrForged))
	}
	f := &policy.InForce{Policy: p, Signature: t.Signature, Since: t.Since}
	if !f.Signed() {
		return f, nil
	}
	claim, err := signed.Parse(s.Signature)
	if err == nil {
		_, err = signed.Verify(s.Signature, signed.Policy, p.Message, []signed.Key{claim.Key})
	}
	if err != nil || claim.Key.Fingerprint() != t.Signature.Key {
		return fail(lang.Errorf(lang.Text{En: "its signature does not fit: %w", Es: "su firma no corresponde: %w"}, ErrForged))
	}
	return f, nil
}

// Source is the files of f, which is in force here or comes next; nil if it is
// neither.
func (k Keeper) Source(f *policy.InForce) (*Source, error) {
	c, err := k.current()
	if err != nil || c == nil {
		return nil, err
	}
	for _, t := range []*taken{c.InForce, c.Next} {
		if t != nil && t.Digest == f.Policy.Digest {
			return k.source(*t)
		}
	}
	return nil, nil
}

// source reads the files of one that was taken.
func (k Keeper) source(t taken) (*Source, error) {
	dir := filepath.Join(k.dir, t.Dir)
	s, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if s.Folder = t.Folder; !t.Folder {
		delete(s.Files, policy.SignatureName)
	}
	return s, nil
}

// Keeps reports whether f is what is in force, and s its files, to the byte.
func (k Keeper) Keeps(f *policy.InForce, s *Source) bool {
	c, err := k.current()
	return err == nil && c != nil && c.InForce != nil && c.InForce.Digest == f.Policy.Digest && c.InForce.Signature == f.Signature && k.holds(*c.InForce, s)
}

// Keep makes f what is in force, in the place of whatever was, though it can no
// longer be read. Its policy, or that of its Next, came from s; the other one is
// kept already.
func (k Keeper) Keep(f *policy.InForce, s *Source) (err error) {
	was, _ := k.current()
	if was == nil {
		was = &current{}
	}
	next := current{}
	for _, slot := range []struct {
		f  *policy.InForce
		to **taken
	}{{f, &next.InForce}, {f.Next, &next.Next}} {
		if slot.f == nil || slot.f.Policy.Digest == policy.Builtin().Digest {
			continue
		}
		if *slot.to, err = k.place(slot.f, s, was); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(next, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(k.dir, currentFile), append(b, '\n'), 0o600)
}

// place returns where f's files are: where they were, or where those of s have
// been put.
func (k Keeper) place(f *policy.InForce, s *Source, was *current) (*taken, error) {
	t := &taken{Folder: s.Folder, Version: f.Policy.Metadata.Version, Digest: f.Policy.Digest, Signature: f.Signature, Since: f.Since}
	p, _ := s.Parse()
	fromSource := p != nil && p.Digest == f.Policy.Digest
	for _, old := range []*taken{was.InForce, was.Next} {
		if old != nil && old.Digest == f.Policy.Digest && (!fromSource || k.holds(*old, s)) {
			t.Dir, t.Folder = old.Dir, old.Folder
			return t, nil
		}
	}
	if !fromSource {
		return nil, lang.Errorf(lang.Text{En: "policy %.12s was never taken", Es: "la política %.12s nunca se tomó"}, f.Policy.Digest)
	}
	var err error
	t.Dir, err = k.put(s)
	return t, err
}

// holds reports whether what was taken as t is s, to the byte.
func (k Keeper) holds(t taken, s *Source) bool {
	is, err := k.source(t)
	return err == nil && is.Folder == s.Folder && maps.EqualFunc(is.Files, s.Files, bytes.Equal) && bytes.Equal(is.Signature, s.Signature)
}

// put writes the files of s into a new directory.
func (k Keeper) put(s *Source) (dir string, err error) {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return "", err
	}
	old, err := os.ReadDir(k.dir)
	if err != nil {
		return "", err
	}
	last := 0
	for _, e := range old {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			last = max(last, n)
		}
	}
	dir = strconv.Itoa(last + 1)
	files := make(map[string][]byte, len(s.Files)+1)
	for name, b := range s.Files {
		files[name] = b
	}
	if s.Signature != nil {
		files[policy.SignatureName] = s.Signature
	}
	for name, b := range files {
		path := filepath.Join(k.dir, dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		if err := atomicfile.Write(path, b, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}
