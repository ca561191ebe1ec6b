package proc

import (
	"bytes"
	"errors"
	"os"

	"casco/loop/inventory"

	"golang.org/x/sys/unix"
)

// A reading gathers the parts of Effective, and why parts are missing.
type reading struct {
	fields  map[string]any
	missing map[string]error
}

func newReading() *reading {
	return &reading{map[string]any{}, map[string]error{}}
}

// put keeps v under name, or the error.
func (r *reading) put(name string, v any, err error) {
	if err != nil {
		r.missing[name] = err
		return
	}
	r.fields[name] = v
}

// integer is put for what returns a number and an error.
func (r *reading) integer(name string) func(int64, error) {
	return func(n int64, err error) { r.put(name, n, err) }
}

// words is put for what returns a list of names and an error.
func (r *reading) words(name string) func([]string, error) {
	return func(list []string, err error) { r.put(name, list, err) }
}

// effective reads what the kernel says of a container's first process. net is
// the identity of its network namespace, "" if it could not be read.
func (p *process) effective(g *cgroup, h *home) (r *reading, net string) {
	r = newReading()
	r.put("Cgroup", g.path, nil)
	p.privileges(r)
	g.resources(r)
	p.mountFacts(r, h)

	ns, err := p.namespaces()
	if err != nil {
		r.put("HostNamespaces", nil, err)
		r.put("SharesNet", nil, err)
		return r, ""
	}
	r.words("HostNamespaces")(h.shared(ns))
	return r, ns["net"]
}

// privileges reads what the process may do: status, uid_map, label, limits.
func (p *process) privileges(r *reading) {
	text, err := p.read("status")
	if err != nil {
		for _, name := range []string{"CapEff", "CapBnd", "Seccomp", "NoNewPrivs", "Uid"} {
			r.put(name, nil, err)
		}
	} else {
		st := parseStatus(text)
		r.words("CapEff")(st.caps("CapEff"))
		r.words("CapBnd")(st.caps("CapBnd"))
		r.integer("Seccomp")(st.number("Seccomp", 0))
		nnp, err := st.number("NoNewPrivs", 0)
		r.put("NoNewPrivs", nnp == 1, err)
		r.integer("Uid")(st.number("Uid", 1))
	}

	if text, err = p.read("uid_map"); err == nil {
		var uid int64
		var mapped bool
		if uid, mapped, err = rootUID(text); mapped {
			r.put("RootUid", uid, nil)
		}
	}
	if err != nil {
		r.put("RootUid", nil, err)
	}

	label, err := p.label()
	r.put("Label", label, err)

	text, err = p.read("limits")
	if err != nil {
		r.put("Limits", nil, err)
		return
	}
	limits, err := parseLimits(text)
	r.put("Limits", limits, err)
}

// label is what the active security module has the process under, "" if none
// labels processes: the kernel says EINVAL then, or has no such file.
func (p *process) label() (string, error) {
	b, err := p.read("attr/current")
	if errors.Is(err, unix.EINVAL) || errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(bytes.TrimRight(b, "\n\x00")), err
}

// mountFacts reads what the container's mount table says.
func (p *process) mountFacts(r *reading, h *home) {
	mounts, err := p.mounts()
	if err != nil {
		r.put("SharedMounts", nil, err)
		r.put("RootReadOnly", nil, err)
		return
	}
	r.put("SharedMounts", sharedMounts(mounts, h.peers), h.peerErr)
	readOnly, ok := rootReadOnly(mounts)
	if !ok {
		r.put("RootReadOnly", nil, errors.New("no root in its mount table"))
		return
	}
	r.put("RootReadOnly", readOnly, nil)
}

// into puts what was read into o, as its field Effective from the directory at.
func (r *reading) into(o *inventory.Object, at string) {
	note(o, "Effective", at, r.fields)
	for name, err := range r.missing {
		unread(o, "Effective."+name, err)
	}
}

// note sets a top-level field of o that was read from source.
func note(o *inventory.Object, field, source string, v any) {
	if o.Sources == nil {
		o.Sources = map[string]string{}
	}
	o.Fields[field], o.Sources[field] = v, source
	delete(o.Unread, field)
}

// unread says on o why a field is not there.
func unread(o *inventory.Object, field string, why error) {
	if o.Unread == nil {
		o.Unread = map[string]string{}
	}
	o.Unread[field] = why.Error()
}
