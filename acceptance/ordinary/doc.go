// Package ordinary holds casco's door to its first duty: that ordinary work does
// not notice it.
//
// The same work is done twice on one real engine, by the programs that people
// use as they are: at the engine's own socket, and at the door of a casco guard
// before it. What the programs say, how they end and what the engine has
// afterwards must be the same, but for identifiers, times and addresses.
//
// TestCompose does it with Compose files: two hundred, made of the tables in
// testdata, of which twenty are tried unless CASCO_COMPOSE=all. TestWork does it
// with a working day: docker, docker-compose, a Go and a Python client.
package ordinary
