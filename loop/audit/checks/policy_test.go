package checks

import (
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"casco/loop/audit"
	said "casco/loop/declared"
	"casco/loop/inventory"
	"casco/policy"
)

// ruledBy is a policy of which every line that checks read is marked: what it is
// changed to, and which checks must then answer otherwise, on some object of
// their testdata. That is row P-55 of what casco must do.
const ruledBy = `apiVersion: casco/v1
kind: Policy
metadata: {name: x, version: 1}
tiers:
  - {id: public, impact: 0.1}
  - {id: restricted, impact: 1, networks: [
      back]} #> nowhere]} container-mixed-tiers
assign:
  - match:
      name: x #> nobody container-mixed-tiers container-tier-default container-runtime-policy
    tier: public
  - default: restricted
flows:
  - id: f1
    from: public/web
    to: restricted/db
    port: 5432/tcp
    why: x
    owner: x
    review: 2025-01-01 #> 2027-01-01 policy-crossing-review
network:
  enforce: true #> false guard-network daemon-dns
  start: runtime #> fanotify daemon-runtime-gate
admission:
  mode: enforce #> observe guard-door
host:
  packages:
    allow:
      - telnetd #> nothing package-unneeded
    forbid:
      - gcc* #> nothing package-unneeded
  services:
    allow:
      - nginx #> nothing unit-unneeded
    forbid:
      - jenkins.service #> nothing unit-unneeded
  accounts:
    allow:
      - deploy #> nobody docker-accounts
    forbid:
      - alice #> nobody docker-accounts
  ports:
    allow:
      - 22/tcp #> 1/tcp listener-all-addresses listener-forbidden
    forbid:
      - 19999/tcp #> 1/tcp listener-all-addresses listener-forbidden
      - "*" #> 1/tcp listener-all-addresses listener-forbidden
ports:
  privileged_publish: deny #> allow container-privileged-port
  random_publish: deny #> allow container-random-port
  publish_on_all_interfaces: deny #> allow container-published-everywhere
  hairpin_between_tiers: deny #> allow
  allow:
    - 443/tcp #> 1/tcp container-privileged-port
    - 8080/tcp #> 1/tcp container-published-everywhere
ssh:
  in_containers: deny #> allow container-ssh dockerfile-ssh
registries:
  allow:
    - registry.example #> other.example image-source dockerfile-base-registry
  require:
    - digest #> tls dockerfile-base-digest
images:
  max_age: 30d #> 40d image-age
  advisories_age: 20d #> 2d image-vulnerable image-vulnerable-less
runtime:
  default:
    pids: 60 #> 300 container-runtime-policy
    memory: 512k #> 2m container-runtime-policy
  tiers:
    public:
      cpus: 1.5 #> 2 container-runtime-policy
sla:
  immediate: 3d #> 4d
`

// hosts returns what the testdata of a check is judged on, one snapshot each.
func hosts(t *testing.T, c *audit.Check) []*inventory.Snapshot {
	t.Helper()
	ar, err := txtar.ParseFile(filepath.Join("testdata", c.ID+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []*inventory.Snapshot
	for _, f := range ar.Files {
		s, _ := host(t, c, f)
		out = append(out, s)
	}
	return out
}

// answers runs c over hosts under a policy.
func answers(c *audit.Check, hosts []*inventory.Snapshot, p *said.Declared) (out [][]audit.Finding) {
	for _, s := range hosts {
		fs := audit.Run([]*audit.Check{c}, p.With(s))
		for i := range fs {
			fs[i].Check = nil // functions do not compare
			fs[i].Evidence = slices.Clone(fs[i].Evidence)
			for j, f := range fs[i].Evidence {
				// The whole list is evidence where an entry of it is missed.
				if list, ok := f.Value.([]any); ok && f.Ref == inventory.PolicyRef {
					fs[i].Evidence[j].Value = len(list)
				}
			}
		}
		out = append(out, fs)
	}
	return out
}

func parsePolicy(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, ps := policy.ParseFile("policy.yaml", []byte(text))
	if p == nil {
		t.Fatal(text, ps)
	}
	return p
}

// TestPolicyLines changes one line of a policy at a time: exactly the checks
// that read it answer otherwise, over the whole catalogue, and exactly those say
// that they read it.
func TestPolicyLines(t *testing.T) {
	mark := regexp.MustCompile(`([^ ]+) #> ([^ ]+)(.*)$`)
	lines := strings.Split(ruledBy, "\n")
	plain := strings.Split(regexp.MustCompile(`(?m) #>.*$`).ReplaceAllString(ruledBy, ""), "\n")
	base := parsePolicy(t, strings.Join(plain, "\n"))
	on, before := map[string][]*inventory.Snapshot{}, map[string][][]audit.Finding{}
	for _, c := range All() {
		on[c.ID] = hosts(t, c)
		before[c.ID] = answers(c, on[c.ID], said.By(base))
	}
	changes := 0
	for i, line := range lines {
		m := mark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		changed := slices.Clone(plain)
		changed[i] = strings.TrimSuffix(plain[i], m[1]) + m[2]
		p := said.By(parsePolicy(t, strings.Join(changed, "\n")))
		path := pathOf(t, base, i+1)
		want := strings.Fields(m[3])
		for _, c := range All() {
			moved := !reflect.DeepEqual(before[c.ID], answers(c, on[c.ID], p))
			if moved != slices.Contains(want, c.ID) {
				t.Errorf("line %d, %s: %s changed: %v", i+1, strings.TrimSpace(plain[i]), c.ID, moved)
			}
			if reads := slices.ContainsFunc(c.Policy, func(r string) bool { return path == r || strings.HasPrefix(path, r+".") }); moved && !reads {
				t.Errorf("%s goes by %s and does not say so: %v", c.ID, path, c.Policy)
			}
		}
		changes++
	}
	if changes < 20 {
		t.Errorf("only %d lines were changed", changes)
	}
	for _, c := range All() {
		if len(c.Policy) > 0 && !strings.Contains(ruledBy, " "+c.ID) {
			t.Errorf("%s reads the policy and no line of this test moves it", c.ID)
		}
	}
}

// pathOf is the longest path that stands in a line.
func pathOf(t *testing.T, p *policy.Policy, line int) (path string) {
	t.Helper()
	for at, pos := range p.Lines {
		if pos.Line == line && len(at) > len(path) {
			path = at
		}
	}
	if path == "" {
		t.Fatalf("nothing is in line %d", line)
	}
	return path
}

// TestSilentPolicy: a policy that says nothing, and none at all, change no
// answer of any check.
func TestSilentPolicy(t *testing.T) {
	silent := parsePolicy(t, "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n")
	for _, c := range All() {
		if c.Kind == inventory.Policy {
			continue // its testdata is a policy
		}
		for i, s := range hosts(t, c) {
			if s.Find(inventory.PolicyRef) != nil {
				continue // so is this one's
			}
			s.Sort()
			want := audit.Run([]*audit.Check{c}, s)
			for name, p := range map[string]*said.Declared{"built in": said.By(policy.Builtin()), "silent": said.By(silent)} {
				got := audit.Run([]*audit.Check{c}, p.With(s))
				if len(got) != len(want) {
					t.Errorf("%s, %d, %s: %d findings, without a policy %d", c.ID, i, name, len(got), len(want))
					continue
				}
				for j := range got {
					if diff := cmp.Diff(want[j].Answer, got[j].Answer); diff != "" {
						t.Errorf("%s, %d, %s: %s", c.ID, i, name, diff)
					}
				}
			}
		}
	}
}
