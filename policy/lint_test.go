package policy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"casco/lang"
	"casco/signed"
)

var catalogue = Catalogue{
	Checks:     append(Builtin().Exceptions.MayNeverExcept, "container-privileged", "image-packages", "network-icc"),
	Rules:      []string{"exec-root", "daemon-tls", "caller-owner", "request-body", "request-uri"},
	Frameworks: []string{"cis-docker-1.8.0"},
	Kinds:      []string{"container", "image"},
	Hands:      []string{"file", "sysctl"},
}

const header = "apiVersion: casco/v1\nkind: Policy\nmetadata: {name: x, version: 1}\n"

// persons are those of the head of testdata/lint.txt.
func persons(t *testing.T) string {
	t.Helper()
	s := "people:\n"
	for i, p := range []string{"op1, roles: [operator]", "op2, roles: [operator, approver]", "ro1, roles: [risk-owner, approver, steward]", "aud, roles: [auditor]"} {
		s += fmt.Sprintf("  - {id: %s, keys: [%s]}\n", p, key(t, byte(i+1)).Key())
	}
	return s
}

func lint(t *testing.T, files map[string][]byte) string {
	t.Helper()
	p, ps := ParseFolder(files)
	if p == nil || len(ps) > 0 {
		t.Fatalf("%s%s", files["p.yaml"], printed(ps))
	}
	var b strings.Builder
	for _, x := range Lint(p, catalogue, at(t, "2026-11-24T12:00:00Z")) {
		if x.Pos.Line == 0 || x.Text.Empty() {
			t.Errorf("%+v has no place, or one language", x)
		}
		fmt.Fprintf(&b, "%s %s %s\n", strings.ToUpper(string(x.Severity)[:1]), x.Pos, x.Text.In(lang.English))
	}
	return b.String()
}

var said = regexp.MustCompile(`(?m)^# ([EW]) (.*)$`)

// TestLint wants of each example all that is said of it and nothing else.
func TestLint(t *testing.T) {
	for _, f := range examples(t, "lint.txt") {
		got := lint(t, map[string][]byte{"p.yaml": []byte(header + persons(t) + string(f.Data))})
		want := said.FindAllStringSubmatch(string(f.Data), -1)
		if strings.Count(got, "\n") != len(want) {
			t.Errorf("%s: got\n%s", f.Name, got)
			continue
		}
		for _, w := range want {
			if !regexp.MustCompile(`(?m)^` + w[1] + ` p.yaml:\d+:\d+ .*` + regexp.QuoteMeta(w[2])).MatchString(got) {
				t.Errorf("%s: nobody says %q:\n%s", f.Name, w[2], got)
			}
		}
	}
}

func TestLintPeople(t *testing.T) {
	k := func(n byte) string { return key(t, n).Key().String() }
	for _, tc := range []struct{ people, want string }{
		{"{id: a, roles: [operator, approver], keys: []}", "E p.yaml:5:4 a has a role and no key"},
		{"{id: a, roles: [auditor, operator], keys: []}", "W p.yaml:5:12 a is an auditor"},
		{fmt.Sprintf("{id: a, roles: [operator], keys: [%s, %s x]}", k(1), k(1)), "W p.yaml:5:120 a has this key twice"},
		{fmt.Sprintf("{id: a, roles: [operator], keys: [%s]}\n - {id: b, roles: [approver], keys: [%s]}", k(1), k(1)), "E p.yaml:6:38 this key is a's too (p.yaml:5:38)"},
		{fmt.Sprintf("{id: a, roles: [operator], keys: [%s]}\n - {id: a, roles: [], keys: []}", k(1)), "E p.yaml:6:4 a is there already, in p.yaml:5:4"},
		{fmt.Sprintf("{id: a, roles: [approver, risk-owner], keys: [%s]}", k(1)), "E p.yaml:4:1 nobody is an operator"},
		{fmt.Sprintf("{id: a, roles: [operator, approver], keys: [%s]}", k(1)), "W p.yaml:4:1 nobody is a steward"},
		{fmt.Sprintf("{id: a, roles: [operator, approver], keys: [%s]}", k(1)), "nobody may grant an exception: no person is risk-owner"},
	} {
		if got := lint(t, map[string][]byte{"p.yaml": []byte(header + "people:\n - " + tc.people + "\n")}); !strings.Contains(got, tc.want) {
			t.Errorf("want %q, got\n%s", tc.want, got)
		}
	}
	if got := lint(t, map[string][]byte{"p.yaml": []byte(header)}); got != "" {
		t.Errorf("a policy without persons has one operator: %s", got)
	}
}

// TestLintExceptions judges the documents beside the policy.
func TestLintExceptions(t *testing.T) {
	const good = `apiVersion: casco/v1
kind: Exception
id: E1
requester: op1
check: container-privileged
asset: container/x
reason: x
starts: 2026-11-01
expires: 2026-12-31
`
	rules := "exceptions: {max_duration: 90d, may_never_except: [daemon-tls]}\n"
	for _, tc := range []struct {
		doc    string
		signer byte
		want   string
	}{
		{good, 3, ""},
		{good, 0, "W e.yaml:1:1 exception E1 is not granted"},
		{good, 1, "W e.yaml:1:1 op1 signed it, and is not risk-owner"},
		{good, 9, "nobody's key"},
		{strings.Replace(good, "op1", "ro1", 1), 3, "W e.yaml:1:1 ro1 asked for it and cannot grant it"},
		{strings.Replace(good, "op1", "op9", 1), 3, "E e.yaml:4:1 there is no person op9; did you mean op1?"},
		{strings.Replace(good, "container-privileged", "daemon-tls", 1), 3, "E e.yaml:5:1 daemon-tls may never be excepted"},
		{strings.Replace(good, "container-privileged", "nosuch-check", 1), 3, "E e.yaml:5:1 there is no check nosuch-check"},
		{strings.Replace(good, "2026-12-31", "2027-01-30", 1), 3, ""}, // 90 days, its last one whole
		{strings.Replace(good, "2026-12-31", "2027-01-31", 1), 3, "E e.yaml:9:1 it lasts longer than the 90d"},
		{strings.Replace(good, "2026-12-31", "2026-10-31", 1), 3, "E e.yaml:9:1 it ends before it starts"},
		{strings.Replace(good, "2026-12-31", "2026-11-23", 1), 3, "W e.yaml:9:1 it ended on 2026-11-23"},
		{good + "renews: E0\n", 3, "W e.yaml:10:1 E0 is not among"},
		{good + "compensating: [{check: nosuch-check}]\n", 3, "E e.yaml:10:17 there is no check"},
	} {
		files := map[string][]byte{"p.yaml": []byte(header + persons(t) + rules), "e.yaml": []byte(tc.doc)}
		if tc.signer > 0 {
			sig, err := key(t, tc.signer).Sign(signed.Exception, files["e.yaml"])
			if err != nil {
				t.Fatal(err)
			}
			files["e.yaml.sig"] = sig
		}
		got := lint(t, files)
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s\nsigned by %d: want %q, got\n%s", tc.doc, tc.signer, tc.want, got)
		}
	}
}

func TestLintDocuments(t *testing.T) {
	answer := func(from, to string) string {
		return strings.NewReplacer(from, to).Replace("apiVersion: casco/v1\nkind: Answer\ncheck: image-packages\nasset: image/x\nverdict: pass\nby: op1\ndate: 2026-11-01\nvalid_for: 30d\nevidence: x\n")
	}
	own := func(from, to string) string {
		return strings.NewReplacer(from, to).Replace("apiVersion: casco/v1\nkind: Check\nid: org-x\nobject: container\ntitle: {en: x, es: x}\nwhy: {en: x, es: x}\nremedy: {en: x, es: x}\nseverity: low\npass: a\nexamples: [{verdict: pass, fields: {}}, {verdict: fail, fields: {}}]\n")
	}
	for _, tc := range []struct{ doc, want string }{
		{answer("", ""), ""},
		{answer("op1", "op8"), "E d.yaml:6:1 there is no person op8"},
		{answer("image-packages", "image-package"), "E d.yaml:3:1 there is no check image-package; did you mean image-packages?"},
		{answer("2026-11-01", "2026-11-25"), "E d.yaml:7:1 it was given in the future"},
		{answer("30d", "10d"), "W d.yaml:8:1 the answer no longer counts: 10d after 2026-11-01"},
		{own("", ""), ""},
		{own("org-x", "daemon-tls"), "E d.yaml:3:1 casco has a check daemon-tls of its own"},
		{own("object: container", "object: contaner"), "E d.yaml:4:1 there is no kind of object contaner; did you mean container?"},
		{own("", "") + "---\n" + own("", ""), "E d.yaml:12:1 org-x is there already, in d.yaml:1:1"},
	} {
		got := lint(t, map[string][]byte{"p.yaml": []byte(header + persons(t)), "d.yaml": []byte(tc.doc)})
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s\nwant %q, got\n%s", tc.doc, tc.want, got)
		}
	}
}

// TestBuiltin: what holds without a policy is in order itself.
func TestBuiltin(t *testing.T) {
	if ps := Lint(Builtin(), catalogue, at(t, "2026-11-24T12:00:00Z")); len(ps) > 0 {
		t.Error(printed(ps))
	}
}
