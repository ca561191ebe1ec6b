// Package actor plays the programs that run in the containers of the lab and
// of the tests: a web server, an SSH server, a program that ignores SIGTERM.
//
// One static program plays them all, so that an image needs nothing else in
// it: no shell, no library, no ps. It is process 1 of its container, where the
// kernel drops each signal that has no handler: whether it ends on SIGTERM is
// a choice, not a default.
package actor

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what Main says to wrong arguments.
const Usage = `usage: [-term exit|ignore] [-keep FILE]... VERB
  serve ADDR TEXT   say TEXT to each TCP connection and close it
  http ADDR TEXT    answer each HTTP request with TEXT
  ssh ADDR          greet each TCP connection as an SSH server does
  get ADDR          print what a TCP server says
  get http://ADDR   print what an HTTP server answers; fails unless it is 200
  count -at SOCKET ADDR...
                    count what comes in by TCP, UDP and ping, answer it, and take
                    orders at a unix socket: see Orders
  try KIND ADDR [TAG [FROM [MAC]]]
                    try once to get something there: see Try; fails if it did not
  storm [-ms N] [-kinds udp,tcp,icmp,frame] [-tag T] [-spoof FROM] [-stay] ADDR...
                    send to each address every millisecond, from the start on
  wait              do nothing
  exit CODE         end at once with CODE
-term says what SIGTERM does to serve, http, ssh, count and wait (default: end with 0).
-keep creates FILE with a line in it, unless it is there: data of a volume.
`

// Banner is the first line of the SSH server; RFC 4253, section 4.2.
const Banner = "SSH-2.0-casco_lab\r\n"

// patience is how long a client waits for a server, and a server for a client
// that says nothing.
const patience = 10 * time.Second

// errUsage is a wrong verb, or a wrong number of arguments.
var errUsage = errors.New("usage")

// Main plays the verb in args, without the program's name, and returns the
// exit status: 0 done, 1 trouble, 2 usage, or what "exit" was told.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("actor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, Usage) }
	term := flags.String("term", "exit", "")
	keep := []string{}
	flags.Func("keep", "", func(path string) error { keep = append(keep, path); return nil })
	if flags.Parse(args) != nil {
		return 2
	}
	if *term != "exit" && *term != "ignore" {
		flags.Usage()
		return 2
	}
	ctx, stop := terminated(*term == "ignore")
	defer stop()
	err := keepFiles(keep)
	if err == nil && flags.NArg() == 2 && flags.Arg(0) == "exit" {
		return exitCode(flags.Arg(1))
	}
	if err == nil {
		err = play(ctx, flags.Args(), stdout)
	}
	switch {
	case errors.Is(err, errUsage):
		flags.Usage()
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "actor:", err)
		return 1
	}
	return 0
}

// exitCode is 0 to 255; anything else is wrong usage.
func exitCode(s string) int {
	code, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 2
	}
	return int(code)
}

// terminated returns a context that ends with SIGTERM or SIGINT, or never if
// they are ignored.
func terminated(ignored bool) (context.Context, context.CancelFunc) {
	if ignored {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// keepFiles creates each file with its own name in it; one that is there stays
// as it is, also over a re-creation of the container.
func keepFiles(paths []string) error {
	for _, path := range paths {
		if err := keepFile(path); err != nil {
			return err
		}
	}
	return nil
}

func keepFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "data of %s\n", path)
	return errors.Join(err, f.Close())
}

func play(ctx context.Context, args []string, stdout io.Writer) error {
	verb := func(name string, n int) bool { return len(args) == n+1 && args[0] == name }
	switch {
	case verb("serve", 2):
		return serve(ctx, args[1], args[2])
	case verb("http", 2):
		return serveHTTP(ctx, args[1], args[2])
	case verb("ssh", 1):
		return serve(ctx, args[1], Banner)
	case verb("get", 1):
		return get(ctx, args[1], stdout)
	case len(args) > 0 && args[0] == "count":
		return count(ctx, args[1:])
	case len(args) > 0 && args[0] == "try":
		return try(args[1:], stdout)
	case len(args) > 0 && args[0] == "storm":
		return storm(ctx, args[1:], stdout)
	case verb("wait", 0):
		wait(ctx)
		return nil
	}
	return errUsage
}

// wait returns when ctx ends. It keeps a timer beside it: where SIGTERM is
// ignored nothing else is waited for, and Go's runtime would call that a
// deadlock and end the program.
func wait(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Hour):
		}
	}
}

// serve says text to each connection of a TCP listener until ctx ends.
func serve(ctx context.Context, addr, text string) error {
	l, err := net.Listen("tcp", addr)
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
		// One connection after the other: a client takes the text at once.
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, text)
		conn.Close()
	}
}

// serveHTTP answers each request with text until ctx ends.
func serveHTTP(ctx context.Context, addr, text string) error {
	s := &http.Server{
		Addr:              addr,
		ReadHeaderTimeout: patience,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, text)
		}),
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// get prints what a server says, up to its end or its first line feed: an SSH
// server keeps the connection.
func get(ctx context.Context, addr string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if strings.HasPrefix(addr, "http://") {
		return getHTTP(ctx, addr, stdout)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(io.LimitReader(conn, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", addr, err)
	}
	_, err = io.WriteString(stdout, line)
	return err
}

func getHTTP(ctx context.Context, url string, stdout io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	_, err = io.Copy(stdout, res.Body)
	return err
}
