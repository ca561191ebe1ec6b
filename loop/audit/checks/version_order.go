package checks

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compareVersions orders versions of the engine, containerd and runc: numbers
// by their value, a release candidate before its release, whatever a packager
// adds ("+dfsg1") as nothing.
func compareVersions(a, b string) int {
	x, restA := splitVersion(a)
	y, restB := splitVersion(b)
	if c := slices.Compare(x, y); c != 0 {
		return c
	}
	preA, isA := preRelease(restA)
	preB, isB := preRelease(restB)
	switch {
	case isA && isB:
		return cmp.Or(strings.Compare(preA[0], preB[0]), cmp.Compare(number(preA[1]), number(preB[1])))
	case isA:
		return -1
	case isB:
		return 1
	}
	return 0
}

// splitVersion splits "1.0.0~rc93+ds1" into its three numbers and the rest.
func splitVersion(v string) (numbers []int, rest string) {
	end := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(v)
	}
	for n := range strings.SplitSeq(strings.Trim(v[:end], "."), ".") {
		numbers = append(numbers, number(n))
	}
	for len(numbers) < 3 {
		numbers = append(numbers, 0)
	}
	return numbers, v[end:]
}

var preForm = regexp.MustCompile(`^[-~](alpha|beta|rc)\.?(\d*)`)

// preRelease finds the word and the number of "-rc.2", "~rc93", "-beta.0".
func preRelease(rest string) (word [2]string, ok bool) {
	m := preForm.FindStringSubmatch(rest)
	if m == nil {
		return word, false
	}
	return [2]string{m[1], m[2]}, true
}

// majorMinor is "25.0." of "25.0.0".
func majorMinor(v string) string {
	if i := strings.LastIndexByte(v, '.'); i >= 0 {
		return v[:i+1]
	}
	return v
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
