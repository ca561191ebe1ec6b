package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"casco/advisories"
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/loop/risk"
	"casco/vuln"
)

// flaws is the source that holds the packages of images against the database of
// advisories. It runs after the source of their layers and reads nothing of an
// image, so that a newer database is enough to know what is new.
type flaws struct{ path string }

// Name implements inventory.Source.
func (flaws) Name() string { return "advisories" }

// Read implements inventory.Source. Without a database each image says so.
func (f flaws) Read(_ context.Context, s *inventory.Snapshot) error {
	if len(s.Of(inventory.Image)) == 0 {
		return nil
	}
	db, err := advisories.Open(f.path)
	if err != nil {
		for _, o := range s.Of(inventory.Image) {
			vuln.Unweighed(o, noDatabase(err))
		}
		if errors.Is(err, advisories.ErrNone) {
			return nil // a host may do without
		}
		return err
	}
	defer db.Close()
	shared := &remembered{DB: db, known: map[[2]string][]vuln.Advisory{}}
	for _, o := range s.Of(inventory.Image) {
		if _, e := vuln.Weigh(o, shared, knownBy(db), nil); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

func noDatabase(err error) string {
	if errors.Is(err, advisories.ErrNone) {
		return "there is no database of advisories: casco db update makes one"
	}
	return err.Error()
}

// knownBy is until when db knows what attackers use, and what was published.
func knownBy(db *advisories.DB) vuln.Known {
	i := db.Info()
	return vuln.Known{KEV: i.At(advisories.KEV), EPSS: i.At(advisories.EPSS), Advisories: i.At(advisories.OSV)}
}

// A remembered database answers twice from memory: images share their bases.
type remembered struct {
	*advisories.DB
	known map[[2]string][]vuln.Advisory
}

// For implements vuln.Advisories.
func (r *remembered) For(ecosystem, name string) ([]vuln.Advisory, error) {
	k := [2]string{ecosystem, name}
	if list, ok := r.known[k]; ok {
		return list, nil
	}
	list, err := r.DB.For(ecosystem, name)
	if err == nil {
		r.known[k] = list
	}
	return list, err
}

// weigh holds one image against the database, with what documents of VEX state.
func (a *app) weigh(o *inventory.Object, documents []string) (vuln.Result, vuln.Known, error) {
	db, err := a.advisories()
	if errors.Is(err, advisories.ErrNone) {
		vuln.Unweighed(o, noDatabase(err))
		return vuln.Result{}, vuln.Known{}, nil
	}
	if err != nil {
		return vuln.Result{}, vuln.Known{}, err
	}
	defer db.Close()
	apply, err := statements(o, documents)
	if err != nil {
		return vuln.Result{}, vuln.Known{}, err
	}
	r, err := vuln.Weigh(o, db, knownBy(db), apply)
	return r, knownBy(db), err
}

// statements reads documents of VEX; what they state is about o by its tags,
// digests and ID.
func statements(o *inventory.Object, documents []string) (func([]vuln.Match), error) {
	tags, _, _ := inventory.ImageTags.Of(o)
	digests, _, _ := inventory.ImageDigests.Of(o)
	id, _, _ := inventory.ImageID.Of(o)
	products := append(append([]string{id}, tags...), digests...)
	var all []func([]vuln.Match)
	for _, path := range documents {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		doc, err := vuln.ParseVEX(b)
		if err != nil {
			return nil, lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, path, err)
		}
		all = append(all, func(ms []vuln.Match) { vuln.Apply(ms, doc, products...) })
	}
	return func(ms []vuln.Match) {
		for _, apply := range all {
			apply(ms)
		}
	}, nil
}

// published are the vulnerabilities that findings are about, by their
// fingerprints, as risk wants them.
func published(s *inventory.Snapshot, fs []audit.Finding) map[string][]risk.CVE {
	out := map[string][]risk.CVE{}
	for _, f := range fs {
		if f.Verdict != audit.Fail || f.Ref.Kind != inventory.Image || f.Check.ID != "image-vulnerable" && f.Check.ID != "image-vulnerable-less" {
			continue
		}
		o := s.Find(f.Ref)
		text, _, _ := inventory.ImageThreats.Of(o)
		at, _ := time.Parse(time.RFC3339, text)
		list, _, _ := inventory.ImageFlaws.Of(o)
		meant := map[string]bool{}
		for _, locus := range f.Loci {
			meant[locus] = true
		}
		for _, e := range list {
			m, _ := e.(map[string]any)
			id, _ := m["ID"].(string)
			name, _ := m["Package"].(string)
			if !meant[id+" "+name] {
				continue
			}
			c := risk.CVE{ID: id, DataAt: at}
			if exploited, ok := m["Exploited"].(bool); ok {
				c.KEV = &exploited
			}
			if p, err := strconv.ParseFloat(fmt.Sprint(m["EPSS"]), 64); err == nil {
				c.EPSS = &p
			}
			c.Remote, _ = m["Remote"].(bool)
			out[f.Fingerprint()] = append(out[f.Fingerprint()], c)
		}
	}
	return out
}
