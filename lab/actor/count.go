package actor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Counts is what reached a counter: the datagrams, connections and echo
// requests that its process was given. What a rule stopped is in none of them.
type Counts struct {
	// From counts by protocol, port of ours and source address: "udp 7000
	// 10.1.0.2", "icmp 0 fd00::2".
	From map[string]int
	// Tags counts by protocol and the tag in the payload, whoever the packet
	// says that it is from: "udp tag17x".
	Tags map[string]int
}

// tagged is a tag in a payload, in a name that is asked for too.
var tagged = regexp.MustCompile(`tag[0-9a-z]+x`)

// A counter listens and counts.
type counter struct {
	mu     sync.Mutex // guards what follows
	counts Counts
	held   map[string]net.Conn
}

// count listens on each address, TCP and UDP, answers what it is told with the
// same, and takes orders at a unix socket until ctx ends. Echo requests are
// counted where the process may see them (CAP_NET_RAW).
func count(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("count", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	at := flags.String("at", "", "")
	if flags.Parse(args) != nil || *at == "" {
		return errUsage
	}
	c := &counter{counts: Counts{map[string]int{}, map[string]int{}}, held: map[string]net.Conn{}}
	var ends []io.Closer
	defer func() {
		for _, e := range ends {
			e.Close()
		}
	}()
	for _, addr := range flags.Args() {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		p, err := net.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		ends = append(ends, l, p)
		go c.accept(l)
		go c.receive(p, "udp", portOf(l.Addr()))
	}
	for _, way := range []string{"ip4:icmp", "ip6:ipv6-icmp"} {
		if p, err := net.ListenPacket(way, ""); err == nil {
			ends = append(ends, p)
			go c.receive(p, "icmp", 0)
		}
	}
	return c.obey(ctx, *at)
}

func portOf(a net.Addr) int {
	_, port, _ := net.SplitHostPort(a.String())
	n, _ := strconv.Atoi(port)
	return n
}

func (c *counter) note(proto string, port int, from net.Addr, payload []byte) {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		host = from.String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.From[proto+" "+strconv.Itoa(port)+" "+host]++
	if tag := tagged.Find(payload); tag != nil {
		c.counts.Tags[proto+" "+string(tag)]++
	}
}

// accept counts connections when they are made, and their tag when it comes.
func (c *counter) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		c.note("tcp", portOf(l.Addr()), conn.RemoteAddr(), nil)
		go c.converse(conn)
	}
}

// converse counts the tags that come over a connection, and says them again.
func (c *counter) converse(conn net.Conn) {
	defer conn.Close()
	for buf := make([]byte, 512); ; {
		n, err := conn.Read(buf)
		if tag := tagged.Find(buf[:n]); tag != nil {
			c.mu.Lock()
			c.counts.Tags["tcp "+string(tag)]++
			c.mu.Unlock()
		}
		if err != nil {
			return
		}
		conn.Write(buf[:n])
	}
}

// receive counts datagrams, and echo requests of ICMP (type 8, RFC 792) and
// ICMPv6 (128, RFC 4443), which the kernel answers.
func (c *counter) receive(p net.PacketConn, proto string, port int) {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || proto == "icmp" && (n == 0 || buf[0] != 8 && buf[0] != 128) {
			continue
		}
		c.note(proto, port, from, buf[:n])
		if proto == "udp" {
			p.WriteTo(buf[:n], from)
		}
	}
}

// Orders are what a counter is told at its socket, as JSON, one by connection.
type Orders struct {
	Tries []Try // all at once
	Clear bool  // the counts begin anew
}

// A Reply is what a counter did and has.
type Reply struct {
	Tried  []Tried // in the order of Tries
	Counts Counts
}

// obey takes orders until ctx ends.
func (c *counter) obey(ctx context.Context, path string) error {
	os.Remove(path) // of a process that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			var o Orders
			if json.NewDecoder(conn).Decode(&o) == nil {
				json.NewEncoder(conn).Encode(c.do(o))
			}
		}()
	}
}

func (c *counter) do(o Orders) Reply {
	r := Reply{Tried: make([]Tried, len(o.Tries))}
	var all sync.WaitGroup
	for i, t := range o.Tries {
		all.Go(func() {
			if t.Kind == "hold" || t.Kind == "again" {
				r.Tried[i] = c.keep(t)
				return
			}
			r.Tried[i] = t.Do()
		})
	}
	all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Clear {
		clear(c.counts.From)
		clear(c.counts.Tags)
	}
	r.Counts = Counts{maps.Clone(c.counts.From), maps.Clone(c.counts.Tags)}
	return r
}

// keep makes a connection that stays, or sends over it.
func (c *counter) keep(t Try) Tried {
	c.mu.Lock()
	conn := c.held[t.Tag]
	c.mu.Unlock()
	if t.Kind == "hold" {
		var err error
		if conn, err = net.DialTimeout("tcp", t.Addr, patience); err != nil {
			return Tried{Err: err.Error()}
		}
		c.mu.Lock()
		c.held[t.Tag] = conn
		c.mu.Unlock()
	}
	if conn == nil {
		return Tried{Err: "there is none"}
	}
	conn.SetDeadline(time.Now().Add(2 * time.Second))
	_, err := io.WriteString(conn, t.Tag)
	if err == nil {
		_, err = conn.Read(make([]byte, 512))
	}
	if err != nil {
		return Tried{Err: err.Error()}
	}
	return Tried{Reached: true}
}

// Order tells a counter what to do, at its socket.
func Order(path string, o Orders) (r Reply, err error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if err := json.NewEncoder(conn).Encode(o); err != nil {
		return r, err
	}
	return r, json.NewDecoder(conn).Decode(&r)
}
