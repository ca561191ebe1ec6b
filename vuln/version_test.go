package vuln

import (
	"os"
	"strings"
	"testing"
)

// TestOrder holds the comparison to what the ecosystems themselves publish.
func TestOrder(t *testing.T) {
	b, err := os.ReadFile("testdata/versions.txt")
	if err != nil {
		t.Fatal(err)
	}
	ecosystem, n := "", map[string]int{}
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			ecosystem = strings.TrimSuffix(name, "]")
			continue
		}
		f := strings.Fields(line)
		want, ok := map[string]int{"<": -1, "=": 0}[f[1]]
		if len(f) != 3 || !ok {
			t.Fatalf("line %d: %q", i+1, line)
		}
		n[ecosystem]++
		for _, release := range []string{"", ":1"} {
			if got, err := order(ecosystem+release, f[0], f[2]); err != nil || got != want {
				t.Errorf("%s: %s: got %d, %v", ecosystem, line, got, err)
			}
			if got, err := order(ecosystem+release, f[2], f[0]); err != nil || got != -want {
				t.Errorf("%s: %s, the other way round: got %d, %v", ecosystem, line, got, err)
			}
		}
	}
	if len(n) != 12 || n["Debian"] < 10 {
		t.Errorf("read %v", n)
	}
}

// TestNoVersion: what has no place on the line is said to have none, and is not
// taken for the lowest or the highest.
func TestNoVersion(t *testing.T) {
	for _, c := range []struct{ ecosystem, version, reason string }{
		{"Go", "(devel)", BadVersion},
		{"Go", "", BadVersion},
		{"npm", "latest", BadVersion},
		{"npm", "file:../x1", BadVersion},
		{"Debian:12", "unknown", BadVersion},
		{"Debian:12", "a:1.0", BadVersion},
		{"Maven", "${project.version}", BadVersion},
		{"PyPI", "unknown", BadVersion},
		{"Debian:12", strings.Repeat("1.", 400), BadVersion},
		{"VSCode", "1.0", NoOrder},
		{"", "1.0", NoOrder},
	} {
		if v, err := parse(c.ecosystem, c.version); err == nil || err.Error() != c.reason {
			t.Errorf("%s %q: got %v, %v", c.ecosystem, c.version, v, err)
		}
	}
}

func TestNameIn(t *testing.T) {
	for _, c := range []struct{ ecosystem, name, want string }{
		{"PyPI", "Django_REST.framework", "django-rest-framework"}, // PEP 503
		{"NuGet", "Newtonsoft.Json", "newtonsoft.json"},
		{"npm", "JSONStream", "JSONStream"}, // npm's old names have capitals
		{"Maven", "org.apache:Log4j", "org.apache:Log4j"},
	} {
		if got := NameIn(c.ecosystem, c.name); got != c.want {
			t.Errorf("%s %s: got %s", c.ecosystem, c.name, got)
		}
	}
}
