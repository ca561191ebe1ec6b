package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"casco/loop/inventory"
)

// Ways in which an engine would fetch from a registry (moby, registry/auth.go and
// endpoint_v1.go of 20.10 to 28: an insecure one is tried over TLS without looking
// at its certificate, then in plain HTTP; of all others the certificate counts).
const (
	ByTLS        = "tls"            // over TLS, and the registry proved who it is
	ByUnverified = "tls-unverified" // over TLS with whoever answers
	ByPlain      = "plain"          // without TLS
	ByNone       = "refused"        // not at all
)

// What a registry's certificate is.
const (
	CertGood      = "good"
	CertExpired   = "expired" // or not valid yet
	CertName      = "wrong-name"
	CertAuthority = "unknown-authority"
	CertOther     = "invalid"
	CertNone      = "none" // it speaks no TLS
)

const (
	// askTime bounds all questions to one registry. An engine is more patient; who
	// answers later than that is told of as one that did not.
	askTime = 10 * time.Second
	// asked is how many registries are asked at once.
	askedAtOnce = 8
)

// An asker asks registries as the engine would: from its network namespace,
// through its proxies, with the authorities that it trusts.
type asker struct {
	pid   int64
	certs string // directory of certs.d
	proxy func(*url.URL) (*url.URL, error)
	local map[string]netip.Addr
	now   func() time.Time

	mu sync.Mutex // guards objects of images, of which several registries may have one
}

// newAsker reads what the engine says of itself (Engine API, GET /info).
func newAsker(d *inventory.Object, local map[string]netip.Addr) (*asker, error) {
	pid, fact, ok := inventory.DaemonPid.Of(d)
	if !ok {
		return nil, fmt.Errorf("the engine's process: %s", fact.Err)
	}
	text := func(path string) string {
		v, _, _ := inventory.Field[string]{Kind: inventory.Daemon, Path: path}.Of(d)
		return v
	}
	proxies := httpproxy.Config{HTTPProxy: text("Info.HttpProxy"), HTTPSProxy: text("Info.HttpsProxy"), NoProxy: text("Info.NoProxy")}
	return &asker{pid: pid, certs: "/etc/docker/certs.d", proxy: proxies.ProxyFunc(), local: local, now: time.Now}, nil
}

// A seen is what a registry showed.
type seen struct {
	cert      string
	reason    string // why its certificate is not good, in the words that the engine would use
	chain     []*x509.Certificate
	version   uint16
	redirects []string // of answers, in order: URLs
	status    int      // of GET /v2/
	challenge string   // WWW-Authenticate
	plain     bool     // it answers GET /v2/ in plain HTTP
}

// ask asks one registry what it is. The error says that it did not answer.
func (a *asker) ask(ctx context.Context, registry string) (*seen, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s := &seen{}
	err := a.get(ctx, s, "https", registry)
	var speaks tls.RecordHeaderError
	switch {
	case err == nil:
		return s, nil
	case !errors.As(err, &speaks) && !errors.Is(err, http.ErrSchemeMismatch):
		return nil, err
	}
	s = &seen{cert: CertNone, reason: "http: server gave HTTP response to HTTPS client"}
	if err := a.get(ctx, s, "http", registry); err != nil {
		return nil, err
	}
	s.plain = s.status == http.StatusOK || s.status == http.StatusUnauthorized
	return s, nil
}

// get asks for the registry's base (OCI distribution specification, end-1).
func (a *asker) get(ctx context.Context, s *seen, scheme, registry string) error {
	host, _ := split(registry)
	client := &http.Client{
		Transport: a.transport(registry, func(c tls.ConnectionState) {
			s.chain, s.version = c.PeerCertificates, c.Version
			s.cert, s.reason = a.judge(registry, host, c.PeerCertificates)
		}),
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			s.redirects = append(s.redirects, r.URL.Scheme+"://"+r.URL.Host)
			return http.ErrUseLastResponse
		},
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+endpoint(registry)+"/v2/", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	s.status, s.challenge = res.StatusCode, res.Header.Get("WWW-Authenticate")
	return nil
}

// endpoint is where the engine asks a registry: the hub is elsewhere than its name
// says (moby, registry/config.go).
func endpoint(registry string) string {
	if registry == hub {
		return "registry-1." + hub
	}
	return registry
}

// transport goes out as the engine does. shown is called with each connection's
// certificates, which are let pass whatever they are.
func (a *asker) transport(registry string, shown func(tls.ConnectionState)) *http.Transport {
	config := &tls.Config{
		InsecureSkipVerify: true, // it is judged by shown, as the engine would: to ask is no trust
		VerifyConnection: func(c tls.ConnectionState) error {
			shown(c)
			return nil
		},
	}
	if pair, err := a.clientCert(registry); err == nil {
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Transport{
		Proxy:           func(r *http.Request) (*url.URL, error) { return a.proxy(r.URL) },
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return a.dial(ctx, addr)
		},
	}
}

// dial connects from the engine's network namespace.
func (a *asker) dial(ctx context.Context, addr string) (net.Conn, error) {
	host, port := split(addr)
	if at, known := addressOf(host, a.local); known {
		return dialInside(ctx, a.pid, netip.AddrPortFrom(at, port))
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, at := range all {
		c, err := dialInside(ctx, a.pid, netip.AddrPortFrom(at.Unmap(), port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// judge says what certificates are worth to the engine: it trusts the system's
// authorities, and those in certs.d of that registry (docker docs, "Verify
// repository client with certificates").
func (a *asker) judge(registry, host string, chain []*x509.Certificate) (cert, reason string) {
	if len(chain) == 0 {
		return CertOther, "tls: no certificates"
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	for _, path := range a.files(registry, ".crt") {
		if pem, err := os.ReadFile(path); err == nil {
			roots.AppendCertsFromPEM(pem)
		}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: strings.Trim(host, "[]"), CurrentTime: a.now()})
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	switch {
	case err == nil:
		return CertGood, ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertExpired, err.Error()
	case errors.As(err, &name):
		return CertName, err.Error()
	case errors.As(err, &authority):
		return CertAuthority, err.Error()
	}
	return CertOther, err.Error()
}

// files are those of a registry in certs.d that end so.
func (a *asker) files(registry, suffix string) []string {
	all, err := filepath.Glob(filepath.Join(a.certs, strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`).Replace(registry), "*"+suffix))
	if err != nil {
		return nil
	}
	return all
}

// clientCert is what the engine would prove itself with.
func (a *asker) clientCert(registry string) (tls.Certificate, error) {
	for _, path := range a.files(registry, ".cert") {
		if pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key"); err == nil {
			return pair, nil
		}
	}
	return tls.Certificate{}, os.ErrNotExist
}

// way is how the engine would fetch from one that showed that.
func (s *seen) way(insecure bool) string {
	switch {
	case insecure && s.cert != CertNone:
		return ByUnverified
	case insecure && s.plain:
		return ByPlain
	case s.cert == CertGood:
		return ByTLS
	}
	return ByNone
}

// tell puts what a registry showed into its object.
func (s *seen) tell(o *inventory.Object) {
	shown := map[string]any{"State": s.cert}
	if s.reason != "" {
		shown["Reason"] = s.reason
	}
	if len(s.chain) > 0 {
		c := s.chain[0]
		shown["Names"], shown["Issuer"], shown["NotAfter"] = texts(append(slices.Clone(c.DNSNames), addresses(c)...)), c.Issuer.String(), c.NotAfter.UTC().Format(time.RFC3339)
		shown["Version"] = tls.VersionName(s.version)
	}
	o.Fields["Certificate"] = shown
	o.Fields["Redirects"] = texts(s.redirects)
	scheme, _, _ := strings.Cut(s.challenge, " ")
	switch {
	case s.status == http.StatusOK:
		o.Fields["Login"] = "none"
	case s.status == http.StatusUnauthorized && scheme != "":
		o.Fields["Login"] = strings.ToLower(scheme)
	default:
		o.Unread["Login"] = fmt.Sprintf("GET /v2/ was answered with %d", s.status)
	}
	if insecure, ok := o.Fields["Insecure"].(bool); ok {
		o.Fields["Pull"] = s.way(insecure)
	} else {
		o.Unread["Pull"] = o.Unread["Insecure"]
	}
}

func addresses(c *x509.Certificate) (out []string) {
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// askAll asks each of the registries, and what they have under the tags of s. What
// does not answer is told of in the registry's own object.
func (a *asker) askAll(ctx context.Context, s *inventory.Snapshot, registries []*inventory.Object) {
	tags := map[string][]tagged{} // read before anybody writes into an image
	for _, o := range registries {
		tags[o.Ref.Name] = taggedOf(s, o.Ref.Name)
	}
	var work sync.WaitGroup
	places := make(chan struct{}, askedAtOnce)
	for _, o := range registries {
		work.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			got, err := a.ask(ctx, o.Ref.Name)
			if err != nil {
				for _, field := range []string{"Certificate", "Pull", "Login", "Redirects"} {
					o.Unread[field] = "it did not answer: " + err.Error()
				}
				return
			}
			got.tell(o)
			a.tags(ctx, tags[o.Ref.Name], o, got)
		})
	}
	work.Wait()
}
