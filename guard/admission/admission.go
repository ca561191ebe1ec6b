// Package admission judges what is asked of a Docker engine before the engine
// does it, with the same checks that judge what runs.
//
// A request goes three steps. ParseURI reads where it goes, in the one way in
// which the engine's router reads it. Decode reads its body as the engine's own
// types would be filled from it, and writes it again in one canonical form. A
// Judge weighs the result. What was judged is what is passed on: a path or a
// body that a second reader could take otherwise is refused, and neither the
// path nor the body that came is ever sent.
//
// The package is pure: whoever owns the socket reads the request, says who
// asks, and answers the questions about the host that World puts.
package admission
