package lang

import (
	"errors"
	"fmt"
	"strings"
)

// An Error is an error that a person reads, in both languages. What it wraps
// may be another one, or what the kernel or an engine said, which stays as it
// is. Error speaks English, for records and logs; Say speaks either.
type Error struct {
	format Text
	args   []any
	en     error // made of format.En
}

// Errorf is fmt.Errorf for an error that a person reads: the halves of format
// take the same arguments in the same order. A %w or %v may be another Error,
// an argument may be a Text, and each is said in the language of the whole.
func Errorf(format Text, args ...any) error {
	e := &Error{format: format, args: args}
	e.en = fmt.Errorf(format.En, e.argsIn(English)...)
	return e
}

func (e *Error) Error() string { return e.en.Error() }

// Unwrap returns what was put in with %w, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	switch x := e.en.(type) {
	case interface{ Unwrap() error }:
		return []error{x.Unwrap()}
	case interface{ Unwrap() []error }:
		return x.Unwrap()
	}
	return nil
}

// argsIn are the arguments in language l. In English an error stays what it is,
// to be unwrapped.
func (e *Error) argsIn(l Lang) []any {
	out := make([]any, len(e.args))
	for i, a := range e.args {
		switch a := a.(type) {
		case Text:
			out[i] = a.In(l)
		case error:
			if out[i] = any(a); l != English {
				out[i] = errors.New(Say(a, l))
			}
		default:
			out[i] = a
		}
	}
	return out
}

// Say is err in language l. Of an error that only wraps one of ours ("FILE: …")
// what it wraps is said in l and the rest as it is.
func Say(err error, l Lang) string {
	if err == nil || l == English {
		return fmt.Sprint(err)
	}
	var inner []error
	switch e := err.(type) {
	case *Error:
		return fmt.Errorf(e.format.In(l), e.argsIn(l)...).Error()
	case interface{ Unwrap() error }:
		inner = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		inner = e.Unwrap()
	}
	out, rest := "", err.Error()
	for _, e := range inner {
		if e == nil {
			continue
		}
		if before, after, ok := strings.Cut(rest, e.Error()); ok {
			out, rest = out+before+Say(e, l), after
		}
	}
	return out + rest
}
