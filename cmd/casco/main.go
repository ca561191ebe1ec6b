// Command casco hardens Docker hosts as a process: it reads a host, says what
// is wrong, plans the cure, has it approved, applies it, proves that it held,
// and can take it back.
//
// This directory is the one place where everything is wired: host.go has what
// reads and changes a host, app.go looks at it, and there is one file per verb.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"casco/lang"
	"casco/report"
)

// Exit codes, the same for every verb.
const (
	exitClean    = 0
	exitTrouble  = 1
	exitUsage    = 2
	exitFindings = 3 // findings at or above the threshold
	exitRefused  = 4 // not approved, stale, conflict, policy
	exitPending  = 5 // plan: there is something to do
)

// A coded error ends the program with its code. Hint is a command that helps,
// ready to be pasted; it may be empty.
type coded struct {
	code int
	err  error
	hint string
}

func (c coded) Error() string { return c.err.Error() }
func (c coded) Unwrap() error { return c.err }

func refused(err error, hint string) error { return coded{exitRefused, err, hint} }

// command is a command of casco to paste: its words may come from a plan file,
// a record or a person.
func command(words ...string) string {
	line := "casco"
	for _, w := range words {
		line += " " + report.Word(report.Clean(w))
	}
	return line
}
func usage(err error) error { return coded{exitUsage, err, ""} }

// An outlet remembers that something could not be written: a disk may be full
// behind it, and a report that is cut short must not look like a whole one.
type outlet struct {
	w   io.Writer
	err error
}

func (o *outlet) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// quiet ends a verb with a code and nothing more to say.
func quiet(code int) error { return coded{code, nil, ""} }

// quietMemory is how much the program may use before it collects garbage at
// all, in bytes. It lives for a second and a thousand containers need less:
// collecting while they are read cost a tenth of its time (measured).
const quietMemory = 128 << 20

// collectLate puts the collector off until quietMemory is used. From then on
// it works as always, so that a larger host costs no more than it must.
func collectLate() {
	usual := debug.SetGCPercent(-1)
	limit := debug.SetMemoryLimit(quietMemory)
	runtime.AddCleanup(new(*int), func(int) { // called after the first collection
		debug.SetGCPercent(usual)
		debug.SetMemoryLimit(limit)
	}, 0)
}

func main() {
	collectLate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything handed in.
func run(ctx context.Context, argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	args, plugin := pluginArgs(argv)
	if plugin && len(args) == 1 && args[0] == pluginMetadata {
		fmt.Fprintln(stdout, metadata)
		return exitClean
	}
	out := &outlet{w: stdout}
	a := &app{in: stdin, out: out, err: stderr, args: args}
	root := newRoot(a)
	a.lang = langOf(args, a.lang)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	err := errors.Join(root.ExecuteContext(ctx), a.close())
	if out.err != nil { // whatever was found, nobody was told
		err = lang.Errorf(lang.Text{En: "not all was printed: %w", Es: "no se imprimió todo: %w"}, out.err)
	}
	if err == nil {
		return exitClean
	}
	var c coded
	if !errors.As(err, &c) {
		c = coded{code: exitTrouble, err: err}
	}
	if c.err != nil {
		// What a container or an engine said may have lines of its own.
		fmt.Fprintln(stderr, "casco:", strings.ReplaceAll(clean(lang.Say(c.err, a.lang)), "\n", "\n  "))
	}
	if c.hint != "" {
		fmt.Fprintln(stderr, lang.Text{En: "hint:", Es: "pista:"}.In(a.lang), c.hint)
	}
	return c.code
}
