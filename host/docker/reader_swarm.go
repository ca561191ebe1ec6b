package docker

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	"casco/loop/inventory"
)

// readSwarm adds the swarm that this engine is a node of, if any. Only a
// manager can be asked about the cluster; of a worker's swarm just its own view
// is known, under the node's ID.
func (r *reading) readSwarm(ctx context.Context) {
	node := object(r.info, "Swarm")
	if state := str(node, "LocalNodeState"); state == "" || state == "inactive" {
		return
	}
	if !truth(node, "ControlAvailable") {
		o := r.object(inventory.Swarm, str(node, "NodeID"), "/info", map[string]any{"Info": node})
		o.Unread = map[string]string{}
		for _, field := range []string{"Spec", "TLSInfo", "CANotBefore", "Nodes", "Secrets", "DataPathAddr"} {
			o.Unread[field] = "this node is a worker: ask a manager"
		}
		r.snap.Add(o)
		return
	}
	var fields map[string]any
	if err := r.get(ctx, "/swarm", &fields); err != nil {
		ref := inventory.Ref{Kind: inventory.Swarm, Name: str(node, "Cluster", "ID")}
		r.snap.Gaps = append(r.snap.Gaps, inventory.Gap{Ref: ref, Source: r.source("/swarm"), Reason: err.Error()})
		return
	}
	r.snap.Add(r.swarm(ctx, fields, node))
	r.addServices(ctx)
}

// swarm gathers the cluster's object. Its join tokens are secrets and are
// dropped.
func (r *reading) swarm(ctx context.Context, fields, node map[string]any) *inventory.Object {
	delete(fields, "JoinTokens")
	fields["Info"] = node
	o := r.object(inventory.Swarm, str(fields, "ID"), "/swarm", fields)
	o.Sources = map[string]string{"Info": r.source("/info")}
	if born, ok := notBefore(str(fields, "TLSInfo", "TrustRoot")); ok {
		fields["CANotBefore"] = born.UTC().Format(time.RFC3339)
		o.Sources["CANotBefore"] = r.source("/swarm") + " TLSInfo.TrustRoot"
	}
	var nodes, secrets []any
	for field, out := range map[string]*[]any{"Nodes": &nodes, "Secrets": &secrets} {
		path := map[string]string{"Nodes": "/nodes", "Secrets": "/secrets"}[field]
		if err := r.get(ctx, path, out); err != nil {
			o.Unread = with(o.Unread, field, err.Error())
			continue
		}
		o.Sources[field] = r.source(path)
		if field == "Secrets" {
			*out = namesOf(*out)
		}
		fields[field] = *out
	}
	return o
}

// namesOf reduces secrets to {Name}. Their values are never sent, but their
// labels are nobody's business either.
func namesOf(secrets []any) []any {
	out := make([]any, 0, len(secrets))
	for _, s := range secrets {
		s, _ := s.(map[string]any)
		out = append(out, map[string]any{"Name": str(s, "Spec", "Name")})
	}
	return out
}

// notBefore is the day from which the first certificate of a PEM text is valid.
func notBefore(text string) (time.Time, bool) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return time.Time{}, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, false
	}
	return cert.NotBefore, true
}

func (r *reading) addServices(ctx context.Context) {
	var services []any
	if err := r.get(ctx, "/services", &services); err != nil {
		ref := inventory.Ref{Kind: inventory.Service, Name: "*"}
		r.snap.Gaps = append(r.snap.Gaps, inventory.Gap{Ref: ref, Source: r.source("/services"), Reason: err.Error()})
		return
	}
	for _, s := range services {
		fields, _ := s.(map[string]any)
		maskService(fields)
		name := str(fields, "Spec", "Name")
		r.snap.Add(r.object(inventory.Service, name, "/services/"+name, fields))
	}
}
