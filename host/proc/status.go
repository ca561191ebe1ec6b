package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"
)

// A status is what casco wants of /proc/PID/status, proc_pid_status(5): some of
// its lines, by their key.
type status map[string]string

func parseStatus(text []byte) status {
	st := status{}
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "CapEff", "CapBnd", "Uid", "Seccomp", "NoNewPrivs":
			st[string(key)] = string(bytes.TrimSpace(value))
		}
	}
	return st
}

// caps returns a set of capabilities by their names without CAP_, sorted. A
// bit that is newer than this program is its number.
func (st status) caps(key string) ([]string, error) {
	word, ok := st[key]
	if !ok {
		return nil, fmt.Errorf("status has no %s", key)
	}
	set, err := strconv.ParseUint(word, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("status: %s: %q is not a hexadecimal number", key, word)
	}
	names := []string{}
	for bit := range 64 {
		if set&(1<<bit) != 0 {
			names = append(names, capName(bit))
		}
	}
	slices.Sort(names)
	return names, nil
}

func capName(bit int) string {
	if name := capability.Cap(bit).String(); name != "unknown" {
		return strings.ToUpper(name)
	}
	return strconv.Itoa(bit)
}

// number returns the i-th word of a line of numbers. "Uid" has four: real,
// effective, saved, file system.
func (st status) number(key string, i int) (int64, error) {
	line, ok := st[key]
	if !ok {
		return 0, fmt.Errorf("status has no %s: the kernel is too old for it", key)
	}
	words := strings.Fields(line)
	if i >= len(words) {
		return 0, fmt.Errorf("status: %s has %d words", key, len(words))
	}
	n, err := strconv.ParseInt(words[i], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("status: %s: %q is not a number", key, words[i])
	}
	return n, nil
}

// rootUID finds the host's uid that is 0 inside, in a /proc/PID/uid_map: lines
// of first-inside, first-outside, count; user_namespaces(7). ok is false if
// nobody outside is 0 inside.
func rootUID(uidMap []byte) (uid int64, ok bool, err error) {
	for line := range bytes.Lines(uidMap) {
		var inside, outside, count int64
		if n, _ := fmt.Sscan(string(line), &inside, &outside, &count); n != 3 {
			return 0, false, fmt.Errorf("uid_map: %q is not three numbers", bytes.TrimSpace(line))
		}
		if inside == 0 && count > 0 {
			return outside, true, nil
		}
	}
	return 0, false, nil
}

// limitNames gives to the words of /proc/PID/limits the names that
// docker run --ulimit and getrlimit(2) have for them.
var limitNames = map[string]string{
	"Max cpu time":          "cpu",
	"Max file size":         "fsize",
	"Max data size":         "data",
	"Max stack size":        "stack",
	"Max core file size":    "core",
	"Max resident set":      "rss",
	"Max processes":         "nproc",
	"Max open files":        "nofile",
	"Max locked memory":     "memlock",
	"Max address space":     "as",
	"Max file locks":        "locks",
	"Max pending signals":   "sigpending",
	"Max msgqueue size":     "msgqueue",
	"Max nice priority":     "nice",
	"Max realtime priority": "rtprio",
	"Max realtime timeout":  "rttime",
}

// parseLimits reads /proc/PID/limits into name: {Soft, Hard}, in the units of
// getrlimit(2); -1 is unlimited. The name takes the first 25 columns.
func parseLimits(text []byte) (map[string]any, error) {
	const nameWidth = 25 // fs/proc/base.c, proc_pid_limits: "%-25s %-20s %-20s"
	limits := map[string]any{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if len(line) < nameWidth {
			return nil, fmt.Errorf("limits: %q is too short", line)
		}
		name, known := limitNames[strings.TrimSpace(line[:nameWidth])]
		if !known {
			continue // the heading, or a limit newer than this program
		}
		words := strings.Fields(line[nameWidth:])
		if len(words) < 2 {
			return nil, fmt.Errorf("limits: %s has no two values", name)
		}
		soft, err1 := limitValue(words[0])
		hard, err2 := limitValue(words[1])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("limits: %s: %q is not two numbers", name, words)
		}
		limits[name] = map[string]any{"Soft": soft, "Hard": hard}
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf("limits: none found")
	}
	return limits, lines.Err()
}

func limitValue(word string) (int64, error) {
	if word == "unlimited" {
		return -1, nil
	}
	return strconv.ParseInt(word, 10, 64)
}
