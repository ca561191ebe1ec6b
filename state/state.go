// Package state keeps what casco must remember on one host: the record of
// every change, the keys that may approve one, and a lock so that two runs do
// not change the host at the same time. It lives in one directory, by default
// /var/lib/casco, that only its owner can read.
//
//	lock                    held while a change is applied or taken back
//	run                     held while the loop turns
//	key                     the single operator's key, as ssh-keygen writes it
//	approvers               keys whose approval counts where the policy names no
//	                        persons, a line each, as in authorized_keys
//	changes/ID/record.json  an apply.Record; replaced atomically, fsynced
//	changes/ID/change.json  the approved plan with its approvals, as applied
//	changes/ID/before.json  the findings before, to prove the change against
//	policy/                 the policy in force: see package policy/folder
//	treatments/             what was decided about risks: RISK.NNN.json, and who
//	                        signed it, as RISK.NNN.json.sig
package state

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/loop/apply"
	"casco/loop/change"
	"casco/signed"
)

// Default is the directory used when none is named.
const Default = "/var/lib/casco"

// A Dir is the state directory of one host. It is made when first written to.
type Dir struct{ path string }

// Open returns the state directory at path. Nothing is read or made yet.
func Open(path string) Dir { return Dir{path} }

// Path returns where the directory is.
func (d Dir) Path() string { return d.path }

// ErrLocked is returned when another casco is changing the host.
var ErrLocked = lang.Errorf(lang.Text{En: "another casco is changing this host", Es: "otro casco está cambiando este anfitrión"})

// ErrRunning is returned when another casco turns the loop.
var ErrRunning = lang.Errorf(lang.Text{En: "another casco run is at work", Es: "otro casco run está en marcha"})

// ours returns an error if somebody else may write to the directory: who can put
// a file there approves what they like.
func (d Dir) ours() error {
	st, err := os.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner := int(st.Sys().(*syscall.Stat_t).Uid)
	if owner != 0 && owner != os.Geteuid() || st.Mode().Perm()&0o022 != 0 {
		return lang.Errorf(lang.Text{
			En: "%s: others may write there: make it yours, with mode 0700, if all that is in it is",
			Es: "%s: otros pueden escribir ahí: hágala suya, con modo 0700, si lo es todo su contenido",
		}, d.path)
	}
	return nil
}

// Lock takes the lock, without waiting. The lock ends with the process, so a
// record that is open while nobody holds the lock was left by a dead run.
func (d Dir) Lock() (unlock func(), err error) {
	return d.lock("lock", ErrLocked)
}

// LockRun takes the lock of the loop, which turns beside changes but not beside
// itself: two of it would both write down the same.
func (d Dir) LockRun() (unlock func(), err error) { return d.lock("run", ErrRunning) }

func (d Dir) lock(name string, taken error) (unlock func(), err error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, err
	}
	if err := d.ours(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, taken
		}
		return nil, lang.Errorf(lang.Text{En: "lock %s: %w", Es: "bloquear %s: %w"}, f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// Save puts rec on stable storage.
func (d Dir) Save(rec *apply.Record) error { return d.put(rec.ID, "record.json", rec) }

// Begin makes the folder of a new change and keeps in it what was approved and
// what was found before.
func (d Dir) Begin(id string, c *change.Change, before any) error {
	return errors.Join(d.put(id, "change.json", c), d.put(id, "before.json", before))
}

func (d Dir) put(id, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	dir := filepath.Join(d.path, "changes", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name), append(b, '\n'), 0o600)
}

// Change returns the change as it was applied, with what was said of it since.
func (d Dir) Change(id string) (*change.Change, error) {
	c := new(change.Change)
	if err := d.get(id, "change.json", c); err != nil {
		return nil, lang.Errorf(lang.Text{En: "change %s: %w", Es: "cambio %s: %w"}, id, err)
	}
	return c, nil
}

// Said keeps what was said of change id after it was applied: a ratification.
func (d Dir) Said(id string, c *change.Change) error { return d.put(id, "change.json", c) }

// Before reads into v what Begin kept of the findings before change id.
func (d Dir) Before(id string, v any) error { return d.get(id, "before.json", v) }

func (d Dir) get(id, name string, v any) error {
	b, err := os.ReadFile(filepath.Join(d.path, "changes", id, name))
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode(v)
}

// NewID returns the ID of the next change: a number that grows, and the head
// of the plan's digest.
func (d Dir) NewID(planID string) (string, error) {
	dirs, err := os.ReadDir(filepath.Join(d.path, "changes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	last := 0
	for _, e := range dirs { // a change that never began has its number too
		last = max(last, number(e.Name()))
	}
	return fmt.Sprintf("%d-%.8s", last+1, planID), nil
}

func number(id string) int {
	head, _, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(head)
	return n
}

// Records returns all records, oldest first. One that cannot be read is an
// error: what it did cannot be told. A folder without a record is a change
// that never began.
func (d Dir) Records() ([]*apply.Record, error) {
	dirs, err := os.ReadDir(filepath.Join(d.path, "changes"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var recs []*apply.Record
	for _, e := range dirs {
		rec, err := d.Record(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	slices.SortFunc(recs, func(a, b *apply.Record) int { return cmp.Compare(number(a.ID), number(b.ID)) })
	return recs, nil
}

// Record returns the record of one change. Its ID may be given by its number.
func (d Dir) Record(id string) (*apply.Record, error) {
	if strings.ContainsAny(id, "/\x00") || id == "" || id[0] == '.' {
		return nil, lang.Errorf(lang.Text{En: "%q is not the ID of a change", Es: "%q no es el ID de un cambio"}, id)
	}
	if !strings.Contains(id, "-") {
		if full, err := filepath.Glob(filepath.Join(d.path, "changes", strconv.Itoa(number(id))+"-*")); err == nil && len(full) == 1 {
			id = filepath.Base(full[0])
		}
	}
	rec := new(apply.Record)
	if err := d.get(id, "record.json", rec); err != nil {
		return nil, lang.Errorf(lang.Text{En: "change %s: %w", Es: "cambio %s: %w"}, id, err)
	}
	if err := rec.Sound(); err != nil {
		return nil, lang.Errorf(lang.Text{En: "change %s: %w", Es: "cambio %s: %w"}, id, err)
	}
	return rec, nil
}

// Key returns the key of this host's single operator, making it when there is
// none. A key that others can read is refused.
func (d Dir) Key() (signed.Signer, error) {
	path := filepath.Join(d.path, "key")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = d.newKey(path)
	}
	if err != nil {
		return signed.Signer{}, err
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
		return signed.Signer{}, lang.Errorf(lang.Text{
			En: "%s: others may read it; make a new key, or chmod 600 it if nobody did",
			Es: "%s: otros pueden leerla; haga una clave nueva, o chmod 600 si nadie la leyó",
		}, path)
	}
	s, err := signed.ParseSigner(b, nil)
	if err != nil {
		return signed.Signer{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (d Dir) newKey(path string) ([]byte, error) {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "casco operator")
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(block)
	return b, atomicfile.Write(path, b, 0o600)
}

// Approvers returns the keys whose approval counts here.
func (d Dir) Approvers() ([]signed.Key, error) {
	if err := d.ours(); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, "approvers")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []signed.Key
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, _, err := signed.ParseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Enrol adds the first approver. Once there is one, only a person with access
// to the file adds more: a host does not come to trust a key by itself.
func (d Dir) Enrol(key signed.Key, name string, at time.Time) error {
	have, err := d.Approvers()
	if err != nil || len(have) > 0 {
		return err
	}
	line := fmt.Sprintf("# keys whose approval counts on this host\n%s %s %s\n", key, strings.Join(strings.Fields(name), "_"), at.UTC().Format(time.RFC3339))
	return atomicfile.Write(filepath.Join(d.path, "approvers"), []byte(line), 0o600)
}
