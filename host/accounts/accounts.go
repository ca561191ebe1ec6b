// Package accounts reads who can become root through an engine: the members of
// the group that owns its socket, whoever an ACL lets in, who may run docker
// by sudo without a password, and who is root under another name. It also
// reads which users keep logins to registries in their home.
//
// It reads files (passwd, group, sudoers) and asks nobody. Where the host takes
// accounts from elsewhere too (LDAP, SSSD), nsswitch.conf says so, and that is
// a Gap: those accounts are not in the files.
//
// Accounts that reach nothing are left out; root is always there.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"casco/loop/inventory"
)

// A Reader is the source of the account and credential objects.
type Reader struct{ root string }

// New returns a source that reads the files of the host under root, "" for the
// host itself. It looks at the sockets of the daemons that are in the snapshot
// by then.
func New(root string) *Reader { return &Reader{root} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "accounts" }

// Read implements inventory.Source.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	now := time.Now().UTC()
	db, err := readDatabase(r.root)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := []error{db.elsewhere(r.root)}
	ways := map[string]map[string]bool{"root": {}}
	reach := func(account, way string) {
		if ways[account] == nil {
			ways[account] = map[string]bool{}
		}
		ways[account][way] = true
	}
	for _, u := range db.users {
		if u.uid == 0 {
			reach(u.name, "uid 0")
		}
	}
	for _, g := range db.groups {
		if g.name == "docker" { // docker.socket gives it the socket at its next start
			db.membersReach(g, reach)
		}
	}
	for _, path := range sockets(s) {
		errs = append(errs, db.socketReaches(r.root, path, reach))
	}
	errs = append(errs, db.sudoReaches(r.root, s.Host, reach))
	for _, name := range slices.Sorted(maps.Keys(ways)) {
		s.Add(db.account(name, slices.Sorted(maps.Keys(ways[name])), now))
	}
	for _, u := range db.users {
		r.credential(s, u, now)
	}
	return errors.Join(errs...)
}

func (db *database) account(name string, ways []string, now time.Time) *inventory.Object {
	o := &inventory.Object{
		Ref:     inventory.Ref{Kind: inventory.Account, Name: name},
		Source:  "/etc/passwd",
		Read:    now,
		Fields:  map[string]any{"Reaches": ways},
		Sources: map[string]string{"Reaches": "/etc/passwd, /etc/group, /etc/sudoers and the engines' sockets"},
	}
	u, ok := db.byName[name]
	if !ok {
		o.Unread = map[string]string{"Uid": "is not in /etc/passwd", "Shell": "is not in /etc/passwd"}
		return o
	}
	o.Fields["Uid"], o.Fields["Shell"] = u.uid, u.shell
	return o
}

// sockets are those of the daemons that run as root. Who reaches a rootless
// daemon is its owner, and no more.
func sockets(s *inventory.Snapshot) []string {
	var paths []string
	for _, d := range s.Of(inventory.Daemon) {
		own, _, _ := inventory.DaemonOwnNamespaces.Of(d)
		rootless, _, _ := inventory.DaemonRootless.Of(d)
		if !rootless && filepath.IsAbs(d.Ref.Name) && !slices.Contains(own, "mnt") {
			paths = append(paths, d.Ref.Name)
		}
	}
	return paths
}

// A user is a line of passwd(5), a group one of group(5).
type (
	user struct {
		name, home, shell string
		uid, gid          int64
	}
	group struct {
		name    string
		gid     int64
		members []string
	}
	database struct {
		users  []user
		groups []group
		byName map[string]user
	}
)

func readDatabase(root string) (*database, error) {
	db := &database{byName: map[string]user{}}
	err := eachLine(filepath.Join(root, "/etc/passwd"), 7, func(f []string) error {
		uid, err1 := strconv.ParseInt(f[2], 10, 64)
		gid, err2 := strconv.ParseInt(f[3], 10, 64)
		u := user{f[0], f[5], f[6], uid, gid}
		db.users = append(db.users, u)
		if _, twice := db.byName[u.name]; !twice { // the first one counts
			db.byName[u.name] = u
		}
		return errors.Join(err1, err2)
	})
	if err != nil {
		return nil, err
	}
	err = eachLine(filepath.Join(root, "/etc/group"), 4, func(f []string) error {
		gid, err := strconv.ParseInt(f[2], 10, 64)
		members := strings.FieldsFunc(f[3], func(c rune) bool { return c == ',' || c == ' ' })
		db.groups = append(db.groups, group{f[0], gid, members})
		return err
	})
	return db, err
}

// eachLine cuts the lines of a file at colons. Lines for NIS (+ and -) and
// those of another number of fields are no entries.
func eachLine(path string, fields int, do func([]string) error) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) != fields || f[0] == "" || strings.ContainsRune("+-#", rune(f[0][0])) {
			continue
		}
		if err := do(f); err != nil {
			return fmt.Errorf("%s: %s: %w", path, f[0], err)
		}
	}
	return nil
}

// elsewhere says what nsswitch.conf(5) names beside the files. "systemd" knows
// accounts of running services only, which are in no group.
func (db *database) elsewhere(root string) error {
	b, err := os.ReadFile(filepath.Join(root, "/etc/nsswitch.conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		what, from, _ := strings.Cut(line, ":")
		what = strings.TrimSpace(what)
		if what != "passwd" && what != "group" && what != "sudoers" {
			continue
		}
		for _, service := range strings.Fields(from) {
			if !strings.HasPrefix(service, "[") && !slices.Contains([]string{"files", "compat", "systemd", "db"}, service) {
				errs = append(errs, fmt.Errorf("nsswitch.conf: %s entries of %q are not read", what, service))
			}
		}
	}
	return errors.Join(errs...)
}

func (db *database) group(gid int64) group {
	for _, g := range db.groups {
		if g.gid == gid {
			return g
		}
	}
	return group{name: strconv.FormatInt(gid, 10), gid: gid}
}

// inGroup lists who is in g: members by the group's line, primary by the
// user's.
func (db *database) inGroup(g group) (members, primary []string) {
	for _, u := range db.users {
		if u.gid == g.gid {
			primary = append(primary, u.name)
		}
	}
	return g.members, primary
}

func (db *database) membersReach(g group, reach func(account, way string)) {
	members, primary := db.inGroup(g)
	for _, m := range members {
		reach(m, "group "+g.name)
	}
	for _, p := range primary {
		reach(p, "primary group "+g.name)
	}
}
