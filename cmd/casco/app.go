package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
	"casco/report"
	"casco/state"
)

// An app is one run of the program: its streams and its global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	args     []string // as they were given
	lang     lang.Lang

	manual manual

	host, statePath, runPath, langFlag, format, snapshot, policyPath string
	yes, deep, registries                                            bool

	formats map[*cobra.Command][]string // beside text and json

	opened *book // the ledger, once it was needed
}

func (a *app) state() state.Dir { return state.Open(a.statePath) }

func (a *app) printer() report.Printer    { return a.printerTo(a.out) }
func (a *app) printerErr() report.Printer { return a.printerTo(a.err) }

func (a *app) printerTo(w io.Writer) report.Printer {
	p := report.Printer{W: w, Lang: a.lang}
	if o, ok := w.(*outlet); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.Colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.Width = w
		}
	}
	return p
}

func (a *app) json(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func (a *app) tell(t lang.Text, args ...any) { fmt.Fprintln(a.err, clean(t.F(args...).In(a.lang))) }

// clean is report.Clean for what may have several lines.
func clean(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = report.Clean(l)
	}
	return strings.Join(lines, "\n")
}

// ask puts a yes-or-no question on the terminal. Without one it refuses.
func (a *app) ask(question lang.Text) (bool, error) {
	if a.yes {
		return true, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, refused(lang.Errorf(lang.Text{En: "there is no terminal to ask on", Es: "no hay terminal en la que preguntar"}), command(append(slices.Clone(a.args), "--yes")...))
	}
	fmt.Fprintf(a.err, "%s [%s] ", question.In(a.lang), lang.Text{En: "y/N", Es: "s/N"}.In(a.lang))
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "s", "si", "sí":
		return true, nil
	}
	return false, nil
}

// A look is one reading of the host with its judgement.
type look struct {
	read     *inventory.Snapshot // what the host is: this goes into files
	snapshot *inventory.Snapshot // the same, with what the policy says beside it
	judge    *judge
	findings []audit.Finding
	took     time.Duration
	engine   string // its address; "" if a file stands for the host
	trouble  error  // the engine could not be read: what was found is not the whole
}

// look reads the host, or the snapshot file that stands for it, and judges it.
// More adds sources that only some verbs need.
func (a *app) look(ctx context.Context, more ...func(*host) []inventory.Source) (*look, error) {
	begun := time.Now()
	if a.snapshot != "" {
		f, err := os.Open(a.snapshot)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s, err := inventory.ReadSnapshot(bufio.NewReaderSize(f, 1<<16))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.snapshot, err)
		}
		j, err := a.judgeNow()
		if err != nil {
			return nil, err
		}
		l := &look{read: s, judge: j, trouble: unread(s)}
		l.snapshot, l.findings = j.look(s)
		l.took = time.Since(begun)
		return l, nil
	}
	stop := a.progress(lang.Text{En: "reading the host", Es: "leyendo el anfitrión"})
	defer stop()
	h, err := a.openHost()
	if err != nil {
		return nil, err
	}
	for _, sources := range more {
		if h.engine != nil {
			h.sources = append(h.sources, sources(h)...)
		}
	}
	return h.look(ctx), nil
}

// progress says on a terminal what takes longer than a second. The caller
// calls stop when it is over.
func (a *app) progress(what lang.Text) (stop func()) {
	f, ok := a.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		begun := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(a.err, "\r%s … %.0f s ", what.In(a.lang), time.Since(begun).Seconds())
			case <-done:
				if time.Since(begun) > time.Second {
					fmt.Fprint(a.err, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}
