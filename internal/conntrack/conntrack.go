// Package conntrack says of the kernel's connection tracking what is cheap to
// know before it is read.
package conntrack

import (
	"os"
	"strings"
)

// None reports whether the network namespace of the calling thread has no entry
// at all. To list entries, the kernel walks through the table of all namespaces,
// however few this one has: 9 ms for 262,144 buckets (kernel 6.18).
func None() bool {
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}
