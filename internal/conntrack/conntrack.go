// Package conntrack says of the kernel's connection tracking what is cheap to
// know before it is read.
package conntrack

import (
	"os"
	"strings"
)

// Open opens the directory of the settings of connection tracking of the calling
// thread's network namespace. It is to be opened once where more than one is
// needed: the kernel finds it in a list of those of all namespaces, which takes
// 0.1 ms with 1,000 of them (kernel 6.18).
func Open() (*os.Root, error) { return os.OpenRoot("/proc/sys/net/netfilter") }

// None reports whether the namespace of the settings has no entry at all. To list
// entries, the kernel walks through the table of all namespaces, however few this
// one has: 9 ms for 262,144 buckets (kernel 6.18).
func None(settings *os.Root) bool {
	b, err := settings.ReadFile("nf_conntrack_count")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}

// NoneHere is None for the calling thread's namespace.
func NoneHere() bool {
	settings, err := Open()
	if err != nil {
		return false
	}
	defer settings.Close()
	return None(settings)
}
