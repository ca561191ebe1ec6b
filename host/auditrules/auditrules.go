// Package auditrules reads and adds watches of the kernel's audit: which files
// are watched, for what, now and after the next boot.
//
// The truth is asked of the kernel itself (NETLINK_AUDIT), not of a text: a
// rule that stands in a file may not be loaded, and one that is loaded may be
// gone after a reboot. Loaded is the one, Persistent the other.
//
// A rule counts for a path only if it watches that very file, for every
// process and every system call: one that looks at some users, some calls, one
// architecture of two, at a longer path or at the directory entry only, does
// not. A rule on a directory that reaches below it (dir=, and -w on a
// directory) covers the paths below, and the object's Sources say so. Where a
// path is a symbolic link, the file that it leads to must be watched, because
// the kernel compares inodes.
//
// We live beside auditd: rules go to a file of our own in /etc/audit/rules.d,
// which augenrules(8) merges with the others at boot, and into the kernel by
// netlink. No rule of somebody else is changed or deleted.
package auditrules

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"casco/lang"
	"casco/loop/inventory"
)

// A Path is a path to be watched, the CIS 1.1 item it serves (see
// inventory.WatchRole), and the name of the daemon that names it, "" if it is
// the host's: see inventory.WatchEngines.
type Path struct{ Path, Role, Engine string }

// rulesDir is where augenrules(8) finds its files.
const rulesDir = "/etc/audit/rules.d"

// A Reader is the source of the watch objects.
type Reader struct {
	root  string
	paths func(*inventory.Snapshot) []Path
}

// New returns a source that looks how the paths are watched; they may depend
// on what other sources have read. The rules' files are those under root, ""
// for the host's own. See DockerPaths.
func New(root string, paths func(*inventory.Snapshot) []Path) *Reader { return &Reader{root, paths} }

// Name implements inventory.Source.
func (r *Reader) Name() string { return "audit rules" }

// Read implements inventory.Source. If the kernel does not tell its rules
// (CAP_AUDIT_CONTROL is missing, or the host is a container), the objects are
// there without Loaded and Enabled, and the error says why.
func (r *Reader) Read(ctx context.Context, s *inventory.Snapshot) error {
	loaded, enabled, kernelErr := kernelRules()
	files, fileErr := ReadDir(filepath.Join(r.root, rulesDir))
	paths := r.paths(s)
	engines := map[string][]string{}
	for _, p := range paths {
		engines[p.Path] = append(engines[p.Path], p.Engine)
	}
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		es := engines[p.Path]
		if es == nil { // was there before
			continue
		}
		delete(engines, p.Path)
		o := &inventory.Object{
			Ref:     inventory.Ref{Kind: inventory.Watch, Name: p.Path},
			Source:  "stat " + p.Path,
			Read:    time.Now().UTC(),
			Fields:  map[string]any{"Role": p.Role},
			Sources: map[string]string{"Loaded": "netlink AUDIT_LIST_RULES", "Enabled": "netlink AUDIT_GET", "Persistent": rulesDir + "/*.rules"},
			Unread:  map[string]string{},
		}
		slices.Sort(es)
		if es[0] != "" { // nobody's but theirs
			o.Fields["Engines"] = slices.Compact(es)
		}
		exists(o)
		watched(o, "Loaded", loaded, kernelErr)
		watched(o, "Persistent", files, fileErr)
		if kernelErr != nil {
			o.Unread["Enabled"] = kernelErr.Error()
		} else {
			o.Fields["Enabled"] = int64(enabled)
		}
		s.Add(o)
	}
	return errors.Join(kernelErr, fileErr)
}

func exists(o *inventory.Object) {
	_, err := os.Stat(o.Ref.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Unread["Exists"] = err.Error()
		return
	}
	o.Fields["Exists"] = err == nil
}

// watched fills one field of o with what the rules do for it.
func watched(o *inventory.Object, field string, rules []Rule, err error) {
	if err != nil {
		o.Unread[field] = err.Error()
		return
	}
	perm, by := Watched(rules, o.Ref.Name)
	o.Fields[field] = perm.String()
	for _, r := range by {
		o.Sources[field] += ": " + r.String()
		if r.From != "" {
			o.Sources[field] += " (" + r.From + ")"
		}
	}
}

// kernelRules asks the kernel for its rules, and whether it audits: 0 off, 1
// on, 2 locked until reboot.
func kernelRules() ([]Rule, uint32, error) {
	c, err := dial()
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	st, err := c.status()
	if err != nil {
		return nil, 0, lang.Errorf(lang.Text{En: "ask the kernel's audit: %w", Es: "consultar la auditoría del núcleo: %w"}, err)
	}
	rules, err := c.rules()
	if err != nil {
		return nil, 0, lang.Errorf(lang.Text{En: "list the kernel's audit rules: %w", Es: "listar las reglas de auditoría del núcleo: %w"}, err)
	}
	return rules, st.Enabled, nil
}
