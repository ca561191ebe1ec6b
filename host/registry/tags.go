package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"casco/loop/inventory"
)

const (
	// tagsMost is how many tags one registry is asked about: the public one counts
	// what a host asks.
	tagsMost = 100
	tagTime  = 20 * time.Second
	tagsTime = 2 * time.Minute // for all of one registry
)

// A tagged is a tag of an image whose registry gave it digests. What has none
// never was in a registry.
type tagged struct {
	image   *inventory.Object
	tag     string // "registry.example:5000/app:1.0"
	digests []string
}

func taggedOf(s *inventory.Snapshot, registry string) (out []tagged) {
	for _, image := range s.Of(inventory.Image) {
		tags, _, _ := inventory.ImageTags.Of(image)
		digests, _, _ := inventory.ImageDigests.Of(image)
		for _, tag := range tags {
			if Of(tag) != registry {
				continue
			}
			t := tagged{image: image, tag: tag}
			repository, _, _ := cutTag(tag)
			for _, d := range digests {
				if of, digest, ok := strings.Cut(d, "@"); ok && of == repository {
					t.digests = append(t.digests, digest)
				}
			}
			if len(t.digests) > 0 {
				out = append(out, t)
			}
		}
	}
	return out
}

// tags asks a registry what it has under tags, and writes that into the images'
// objects. Logins of this user are given to a registry only that proved who it is.
func (a *asker) tags(ctx context.Context, all []tagged, o *inventory.Object, got *seen) {
	way, _ := o.Fields["Pull"].(string)
	if way == ByNone || way == "" {
		o.Unread["FalseDigests"], o.Unread["AnonymousPush"] = "an engine would fetch nothing from it", "an engine would fetch nothing from it"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tagsTime)
	defer cancel()
	keys := authn.NewMultiKeychain()
	if way == ByTLS {
		keys = authn.DefaultKeychain
	}
	var opts []name.Option
	if way == ByPlain {
		opts = append(opts, name.Insecure)
	}
	t := a.transport(o.Ref.Name, func(tls.ConnectionState) {})
	t.ResponseHeaderTimeout = tagTime
	defer t.CloseIdleConnections()
	if len(all) > tagsMost {
		o.Unread["Tags"] = fmt.Sprintf("only the first %d of %d tags of it were asked for", tagsMost, len(all))
		all = all[:tagsMost]
	}
	lies := []any{}
	for i, tag := range all {
		ref, err := name.NewTag(tag.tag, opts...)
		if err != nil {
			continue // it is not for a registry
		}
		if i == 0 {
			a.push(o, got, ref, t)
		}
		about, err := ask(ctx, ref, tag.digests, remote.WithTransport(t), remote.WithAuthFromKeychain(keys))
		if about["True"] == false {
			lies = append(lies, tag.tag)
		}
		a.told(tag, about, err)
	}
	o.Fields["FalseDigests"] = lies
}

// told writes into an image what its registry has under a tag.
func (a *asker) told(tag tagged, about map[string]any, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := tag.image
	if err != nil {
		if o.Unread == nil {
			o.Unread = map[string]string{}
		}
		o.Unread["Registry"] = tag.tag + ": " + err.Error()
		return
	}
	known, _ := o.Fields["Registry"].(map[string]any)
	if known == nil {
		known = map[string]any{}
		o.Fields["Registry"] = known
		if o.Sources == nil {
			o.Sources = map[string]string{}
		}
		o.Sources["Registry"] = "HEAD /v2/NAME/manifests/TAG"
	}
	known[tag.tag] = about
}

// cutTag parts a reference at its tag.
func cutTag(ref string) (repository, tag string, ok bool) {
	i := strings.LastIndexByte(ref, ':')
	if i < 0 || strings.Contains(ref[i:], "/") {
		return ref, "", false
	}
	return ref[:i], ref[i+1:], true
}

// ask asks what a registry has under one tag: {Digest, Same: it is one of have,
// True: what it gives for the digest has it, Newest: a higher tag of that kind}.
func ask(ctx context.Context, ref name.Tag, have []string, opts ...remote.Option) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, tagTime)
	defer cancel()
	opts = append(opts, remote.WithContext(ctx))
	said, err := remote.Head(ref, opts...)
	if err != nil {
		return nil, err
	}
	digest := said.Digest.String()
	about := map[string]any{"Digest": digest, "Same": slices.Contains(have, digest), "True": true}
	_, err = remote.Get(ref.Context().Digest(digest), opts...)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match requested digest"):
		about["True"] = false
	case err != nil:
		return nil, err
	}
	if all, err := remote.List(ref.Context(), opts...); err == nil {
		if newest := newer(ref.TagStr(), all); newest != "" {
			about["Newest"] = newest
		}
	}
	return about, nil
}

// push asks whether anybody may publish in the place of an image: the upload is
// begun, and cancelled before anything is sent.
func (a *asker) push(o *inventory.Object, got *seen, ref name.Tag, t http.RoundTripper) {
	if got.status == http.StatusUnauthorized && !strings.HasPrefix(strings.ToLower(got.challenge), "bearer") {
		o.Fields["AnonymousPush"] = false
		return
	}
	err := remote.CheckPushPermission(ref, authn.NewMultiKeychain(), t)
	refused, answered := errors.AsType[*transport.Error](err)
	switch {
	case err == nil:
		o.Fields["AnonymousPush"] = true
	case answered && refused.StatusCode/100 == 4:
		o.Fields["AnonymousPush"] = false
	default:
		o.Unread["AnonymousPush"] = err.Error()
	}
}

var number = regexp.MustCompile(`\d+`)

// newer is the highest tag that is written as this one is, with other numbers, and
// is higher; "" if there is none. A tag without a dot is no version: 20240101, or
// the commit that it was built from.
func newer(tag string, all []string) string {
	if !strings.Contains(tag, ".") || !number.MatchString(tag) {
		return ""
	}
	shape, best := number.ReplaceAllString(tag, "#"), tag
	for _, t := range all {
		if number.ReplaceAllString(t, "#") == shape && compare(t, best) > 0 {
			best = t
		}
	}
	if best == tag {
		return ""
	}
	return best
}

// compare compares tags of one shape by their numbers.
func compare(a, b string) int {
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	return slices.CompareFunc(x, y, func(a, b string) int {
		m, err1 := strconv.ParseUint(a, 10, 64)
		n, err2 := strconv.ParseUint(b, 10, 64)
		if err1 != nil || err2 != nil { // too long for a number
			return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
		}
		return cmp.Compare(m, n)
	})
}
