package guard

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"casco/internal/nsenter"
	"casco/internal/outside"
)

// A way leads a request to the engine. It says who asks, or that nobody can be
// that caller there.
type way struct {
	name string
	dial func(caller string) (net.Conn, error)
	door bool // the request is read by the door first
}

var errNobody = fmt.Errorf("nobody can be that caller here")

// ways are the three along which everything is sent.
func (w *wire) ways() []way {
	return []way{
		{"door", w.atDoor, true},
		{"tls", w.overTLS, false},
		{"engine", func(caller string) (net.Conn, error) {
			if caller != "" {
				return nil, errNobody
			}
			return net.Dial("unix", w.e.Socket)
		}, false},
	}
}

// atDoor connects as a user, whom the kernel names to the door.
func (w *wire) atDoor(caller string) (net.Conn, error) {
	uid := 0
	if caller != "" {
		if _, err := fmt.Sscanf(caller, "uid:%d", &uid); err != nil {
			return nil, errNobody
		}
	}
	// The thread is given back as it was: if it ended, the guard that it started
	// would end with it (PR_SET_PDEATHSIG, prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(id uintptr) error {
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, 0, id, 0); errno != 0 {
				return errno
			}
		}
		return nil
	}
	if err := become(uintptr(uid)); err != nil {
		return nil, err
	}
	c, err := net.Dial("unix", w.door())
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); errno != 0 {
		w.t.Fatal(errno)
	}
	if err := become(0); err != nil {
		w.t.Fatal(err)
	}
	return c, err
}

// overTLS connects to the engine's port; who may only look is known there by
// the name monitor.
func (w *wire) overTLS(caller string) (net.Conn, error) {
	name := "admin"
	switch caller {
	case "":
	case "uid:1001", "tls:monitor":
		name = "monitor"
	default:
		return nil, errNobody
	}
	c, err := w.dialIn("127.0.0.1:2376")
	if err != nil {
		return nil, err
	}
	return tls.Client(c, &tls.Config{RootCAs: w.ca.pool, Certificates: []tls.Certificate{w.ca.of[name]}, ServerName: "127.0.0.1"}), nil
}

// dialIn connects from the network namespace of the engine.
func (w *wire) dialIn(addr string) (c net.Conn, err error) {
	there, err := netns.GetFromName(w.e.NetNS)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	err = nsenter.Net(there, func() error {
		c, err = net.Dial("tcp", addr)
		return err
	})
	return c, err
}

// An answer is what came back.
type answer struct {
	status int
	text   string
}

// rulePattern finds the rules that a refusal names.
var rulePattern = regexp.MustCompile(`\(([a-z]+(?:-[a-z]+)+|oom|runtime|sysctl|annotation|label|plugin|swarm|prune|checkpoint)\)`)

// rules are those that the answer names, sorted and by comma; "" if it is not
// casco's.
func (a answer) rules() string {
	if !strings.Contains(a.text, "casco") {
		return ""
	}
	var out []string
	for _, m := range rulePattern.FindAllStringSubmatch(a.text, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// patience is how long an answer's head may take to come, on a busy machine.
const patience = 30 * time.Second

// ask sends bytes along a way and reads the first answer.
func (w *wire) ask(to way, caller, method string, request []byte) (answer, error) {
	c, err := to.dial(caller)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	as, err := answers(c, request, method)
	if len(as) == 0 {
		return answer{}, err
	}
	return as[0], nil
}

// answers sends a request and reads an answer for each of the methods.
func answers(c net.Conn, request []byte, methods ...string) ([]answer, error) {
	c.SetDeadline(time.Now().Add(patience))
	go func() { // who is refused need not take it all
		c.Write(bytes.TrimSuffix(request, cut))
		if bytes.HasSuffix(request, cut) {
			c.(interface{ CloseWrite() error }).CloseWrite()
		}
	}()
	r := bufio.NewReader(c)
	var as []answer
	for _, method := range methods {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err == nil && res.StatusCode == http.StatusContinue {
			res, err = http.ReadResponse(r, &http.Request{Method: method})
		}
		if err != nil {
			return as, err
		}
		if res.StatusCode < 300 { // it may go on for ever
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		c.SetReadDeadline(time.Now().Add(patience))
		as = append(as, answer{res.StatusCode, string(text)})
	}
	return as, nil
}

// cut ends a request whose sender then says that it sends no more.
var cut = []byte("\x00CUT")

// An authority signs certificates, which last as long as a test.
type authority struct {
	file string
	pool *x509.CertPool
	of   map[string]tls.Certificate
}

// stranger is a client of TLS that has no certificate.
func (a *authority) stranger(c net.Conn) net.Conn {
	return tls.Client(c, &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1"})
}

// newAuthority writes ca.pem, engine.pem and engine.key into dir, and has
// certificates of two clients.
func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool(), of: map[string]tls.Certificate{}}
	var caKey *ecdsa.PrivateKey
	var caCert *x509.Certificate
	for i, name := range []string{"ca", "engine", "admin", "monitor"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: name == "ca", BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if name == "ca" {
			caKey, caCert = key, c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, caCert, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		keyText := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
		outside.Put(t, filepath.Join(dir, name+".pem"), string(text))
		outside.Put(t, filepath.Join(dir, name+".key"), string(keyText))
		if name == "ca" {
			a.pool.AppendCertsFromPEM(text)
		}
		if a.of[name], err = tls.X509KeyPair(text, keyText); err != nil {
			t.Fatal(err)
		}
	}
	return a
}
