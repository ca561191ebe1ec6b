// Package docker reads a Docker engine and changes its containers.
//
// It speaks the Docker Engine API over the engine's socket, as raw JSON: what
// the engine sends is what the rest of the program sees, and what a re-created
// container is made of, field by field (docs/decisions/0002-raw-engine-api.md).
// Four things live here: the Client, the Source that reads an engine into a
// snapshot, and two hands. Update changes limits of a container while it runs.
// Recreate replaces a container by a new one that differs in the wanted fields
// and nothing else, and puts the old one back if the new one does not come up.
//
// Known engines: API 1.41 (Docker 20.10) to 1.51 (Docker 28). A newer engine is
// asked in the words of 1.51.
package docker
