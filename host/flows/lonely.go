package flows

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lonely are those of the namespaces in which no process is and which nothing
// is mounted for: only we keep them. It is asked twice before it is believed,
// for a process may pass a namespace on between two looks.
func lonely(ids []uint64) []uint64 {
	if len(ids) == 0 {
		return nil
	}
	ids = empty(ids)
	if len(ids) > 0 {
		time.Sleep(10 * time.Millisecond)
		ids = empty(ids)
	}
	return ids
}

// empty looks once. What it cannot see counts as there.
func empty(ids []uint64) []uint64 {
	left := map[string]uint64{}
	for _, id := range ids {
		left["net:["+strconv.FormatUint(id, 10)+"]"] = id
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 3 { // the root of an nsfs mount is its namespace
			delete(left, fields[3])
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil || len(links) == 0 {
		return nil
	}
	for _, link := range links {
		if len(left) == 0 {
			return nil
		}
		if name, err := os.Readlink(link); err == nil {
			delete(left, name)
		}
	}
	var out []uint64
	for _, id := range left {
		out = append(out, id)
	}
	return out
}
