package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"casco/loop/inventory"
)

// A Transport carries requests to a registry; nil is the usual one.
type Transport = http.RoundTripper

// Pull reads an image of a registry, layer by layer, with the logins of
// ~/.docker/config.json. Nothing is stored but what was found. A layer that is
// known by its digest is not fetched.
func (r *Reader) Pull(ctx context.Context, ref string, t Transport) (*inventory.Object, error) {
	named, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	opts := []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("casco"),
		remote.WithPlatform(v1.Platform{OS: platformOS, Architecture: platformArch}),
	}
	if t != nil {
		opts = append(opts, remote.WithTransport(t))
	}
	img, err := remote.Image(named, opts...)
	if err != nil {
		return nil, err
	}
	p, err := r.remote(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	p.Tags, p.Digests = []string{named.Name()}, []string{named.Context().Name() + "@" + digest.String()}
	if _, byDigest := named.(name.Digest); byDigest {
		p.Tags = nil
	}
	return r.object(p, "registry "+named.Context().RegistryStr())
}

func (r *Reader) remote(ctx context.Context, img v1.Image) (*Picture, error) {
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) > layersMost {
		return nil, fmt.Errorf("more than %d layers", layersMost)
	}
	p := &Picture{Config: config}
	for _, l := range layers {
		diff, err := r.fetch(ctx, l)
		if err != nil {
			return nil, err
		}
		p.Layers = append(p.Layers, diff)
	}
	return p, p.check()
}

// fetch reads one layer. What a registry sends under a digest is refused, by the
// module that asks it, if it has another.
func (r *Reader) fetch(ctx context.Context, l v1.Layer) (diff string, err error) {
	digest, err := l.Digest()
	if err != nil {
		return "", err
	}
	id := "blob:" + digest.String()
	if known, ok := r.cache.get(id); ok && known.Diff != "" && r.cache.known(known.Diff) {
		return known.Diff, nil
	}
	in, err := l.Compressed()
	if err != nil {
		return "", err
	}
	found, diff, err := readTar(ctx, in)
	if err = errors.Join(err, in.Close()); err != nil {
		return "", fmt.Errorf("layer %s: %w", digest, err)
	}
	return diff, errors.Join(r.cache.keep(diff, found), r.cache.put(record{Digest: id, Diff: diff}))
}
