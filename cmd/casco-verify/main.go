// Command casco-verify checks a ledger of casco, or an export of one, offline.
//
//	casco-verify [--key KEY]… [--witness-key KEY]… [--witness FILE]… [--evidence DIR]
//	             [--lang en|es] [--format text|json] DIR
//
// It is a second opinion: it shares no code with the package that writes the
// ledger, only the published formats (c2sp.org/tlog-tiles, tlog-checkpoint,
// tlog-cosignature, signed-note; RFC 6962) and the arithmetic of
// golang.org/x/mod/sumdb. It changes nothing and asks no network.
//
// A KEY is a verifier key, name+id+base64, or a file with such keys, one a line.
// Without --key the keys that lie in an export are taken; that proves only that
// the export is whole, and is said.
//
// Exit status: 0 all that was checked holds, 1 something does not, 2 it could
// not be checked (usage, no such directory, no key, an unknown format).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	exitHolds = 0
	exitWrong = 1
	exitUsage = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// A text is one text for people in both languages.
type text struct {
	En string `json:"en"`
	Es string `json:"es"`
}

func (t text) in(lang string) string {
	if lang == "es" {
		return t.Es
	}
	return t.En
}

// Error makes a text an error, too: one that can be told in both languages.
func (t text) Error() string { return t.En }

// f formats both halves with the same arguments; those that are texts
// themselves, each in its language.
func (t text) f(args ...any) text {
	en, es := make([]any, len(args)), make([]any, len(args))
	for i, a := range args {
		en[i], es[i] = a, a
		if a, ok := a.(text); ok {
			en[i], es[i] = a.En, a.Es
		}
	}
	return text{fmt.Sprintf(t.En, en...), fmt.Sprintf(t.Es, es...)}
}

type options struct {
	dir         string
	keys        []string
	witnessKeys []string
	witnesses   []string // files
	evidence    string
	lang        string
	format      string
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{lang: "en"}
	if l := firstOf(os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")); l == "es" || strings.HasPrefix(l, "es_") {
		o.lang = "es"
	}
	fs := flag.NewFlagSet("casco-verify", flag.ContinueOnError)
	fs.SetOutput(stderr)
	more := func(into *[]string) func(string) error {
		return func(s string) error { *into = append(*into, s); return nil }
	}
	fs.Func("key", "verifier `KEY` of the log, or a file with some; may be repeated", more(&o.keys))
	fs.Func("witness-key", "verifier `KEY` of a witness, or a file with some; may be repeated", more(&o.witnessKeys))
	fs.Func("witness", "`FILE` with an older checkpoint of this log; may be repeated", more(&o.witnesses))
	fs.StringVar(&o.evidence, "evidence", "", "`DIR` with the evidence, if it is not in an export")
	fs.StringVar(&o.lang, "lang", o.lang, "en or es")
	fs.StringVar(&o.format, "format", "text", "text or json")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: casco-verify [flags] DIR\nchecks a ledger or an export of one, offline; exit 0: holds, 1: does not, 2: could not check")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() != 1:
		fs.Usage()
		return o, fmt.Errorf("name one directory, not %d", fs.NArg())
	case o.lang != "en" && o.lang != "es":
		return o, fmt.Errorf("--lang is en or es, not %q", o.lang)
	case o.format != "text" && o.format != "json":
		return o, fmt.Errorf("--format is text or json, not %q", o.format)
	}
	o.dir = fs.Arg(0)
	return o, nil
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}

func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err == flag.ErrHelp {
		return exitHolds
	}
	if err != nil {
		fmt.Fprintln(stderr, "casco-verify:", err)
		return exitUsage
	}
	res, err := check(o)
	if err != nil {
		fmt.Fprintln(stderr, "casco-verify:", plain(err.Error()))
		return exitUsage
	}
	if o.format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "\t")
		err = enc.Encode(res)
	} else {
		err = res.print(stdout, o.lang)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "casco-verify:", err)
		return exitUsage
	case len(res.Wrong) > 0:
		return exitWrong
	}
	return exitHolds
}

// A result is what was found: the lines to print, in order.
type result struct {
	Holds  bool   `json:"holds"`
	Wrong  []text `json:"wrong"`  // what does not hold
	Proved []text `json:"proved"` // what does
	Notes  []text `json:"notes"`  // what to know about it
	more   int
}

// maxWrong bounds the list: who exchanges a log altogether makes millions.
const maxWrong = 50

func (r *result) wrong(t text) {
	if len(r.Wrong) == maxWrong {
		r.more++
		return
	}
	r.Wrong = append(r.Wrong, t)
}

func (r *result) proved(t text) { r.Proved = append(r.Proved, t) }
func (r *result) note(t text)   { r.Notes = append(r.Notes, t) }

func (r *result) print(w io.Writer, lang string) error {
	var b strings.Builder
	list := func(mark text, lines []text) {
		for _, t := range lines {
			fmt.Fprintf(&b, "%-8s%s\n", mark.in(lang), plain(t.in(lang)))
		}
	}
	list(text{"WRONG", "MAL"}, r.Wrong)
	if r.more > 0 {
		list(text{"WRONG", "MAL"}, []text{text{En: "and %d more", Es: "y %d más"}.f(r.more)})
	}
	list(text{"proved", "probado"}, r.Proved)
	list(text{"note", "nota"}, r.Notes)
	verdict := text{En: "it holds", Es: "se sostiene"}
	if len(r.Wrong) > 0 {
		verdict = text{En: "it does NOT hold", Es: "NO se sostiene"}
	}
	fmt.Fprintln(&b, verdict.in(lang))
	_, err := io.WriteString(w, b.String())
	return err
}

// plain takes away what could steer a terminal: file names and origins come
// from who made the folder.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}
