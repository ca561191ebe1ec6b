package supervision

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Sample draws n of the population by seed: each item's key is hashed with the
// seed, and those with the lowest hashes are drawn. Who has the same population
// and seed draws the same, on any machine, with any program; a larger n holds a
// smaller one. The result is in the order of the population. Keys must differ.
//
// The hash is SHA-256 over the seed, a zero byte and the key. The lowest hash
// is compared as bytes.
func Sample[T any](population []T, key func(T) string, seed string, n int) []T {
	type ticket struct {
		hash [sha256.Size]byte
		i    int
	}
	tickets := make([]ticket, len(population))
	for i, item := range population {
		tickets[i] = ticket{sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", seed, key(item))), i}
	}
	slices.SortFunc(tickets, func(a, b ticket) int {
		return cmp.Or(bytes.Compare(a.hash[:], b.hash[:]), cmp.Compare(a.i, b.i))
	})
	drawn := tickets[:min(max(n, 0), len(tickets))]
	slices.SortFunc(drawn, func(a, b ticket) int { return cmp.Compare(a.i, b.i) })
	out := make([]T, 0, len(drawn))
	for _, t := range drawn {
		out = append(out, population[t.i])
	}
	return out
}
