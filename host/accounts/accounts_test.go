package accounts

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"casco/internal/handtest"
	"casco/loop/inventory"
)

const passwd = `root:x:0:0:root:/root:/bin/bash
toor:x:0:0::/root:/bin/sh
dev:x:1000:1000::/home/dev:/bin/bash
ci:x:1001:998::/home/ci:/usr/sbin/nologin
op:x:1002:1002::/home/op:/bin/bash
web:x:33:33::/var/www:/usr/sbin/nologin
+nis::::::
broken line
`

const groups = `root:x:0:
docker:x:998:dev,ghost
wheel:x:10:op
engine:x:997:web
`

// host makes a root with these files beside passwd and group.
func host(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"etc/passwd": passwd, "etc/group": groups}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// reaches reads a host and says who reaches what.
func reaches(t *testing.T, root string, daemons ...*inventory.Object) (map[string]string, *inventory.Snapshot) {
	t.Helper()
	s := &inventory.Snapshot{Host: "h1.example.org"}
	for _, d := range daemons {
		s.Add(d)
	}
	if err := New(root).Read(t.Context(), s); err != nil {
		s.Gaps = append(s.Gaps, inventory.Gap{Reason: err.Error()})
	}
	got := map[string]string{}
	for _, o := range s.Of(inventory.Account) {
		ways, _, ok := inventory.AccountReaches.Of(o)
		if !ok {
			t.Errorf("%s has no Reaches", o.Ref)
		}
		got[o.Ref.Name] = strings.Join(ways, ", ")
	}
	return got, s
}

func TestGroupsAndRoots(t *testing.T) {
	got, s := reaches(t, host(t, nil))
	want := map[string]string{"root": "uid 0", "toor": "uid 0", "dev": "group docker", "ci": "primary group docker", "ghost": "group docker"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	ci := s.Find(inventory.Ref{Kind: inventory.Account, Name: "ci"})
	if uid, _, _ := inventory.AccountUID.Of(ci); uid != 1001 || ci.Fields["Shell"] != "/usr/sbin/nologin" {
		t.Errorf("ci is %v", ci.Fields)
	}
	ghost := s.Find(inventory.Ref{Kind: inventory.Account, Name: "ghost"})
	if _, fact, ok := inventory.AccountUID.Of(ghost); ok || fact.Err != "is not in /etc/passwd" {
		t.Errorf("an account of the group that is not in passwd: %v", fact)
	}
	if len(s.Gaps) > 0 {
		t.Error(s.Gaps)
	}
}

func TestSocket(t *testing.T) {
	handtest.NeedRoot(t)
	const docker, engine, www = 998, 997, 33
	acl := func(userPerm, mask byte) []byte { // user::rw- user:1002:userPerm group::--- group:997:rw- mask other::---
		return []byte{
			2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, userPerm, 0, 0xea, 3, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255,
			8, 0, 6, 0, 0xe5, 3, 0, 0, 16, 0, mask, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
		}
	}
	for name, tc := range map[string]struct {
		uid, gid int
		mode     os.FileMode
		acl      []byte
		fields   map[string]any
		want     map[string]string
	}{
		"root's own":                 {0, 0, 0o600, nil, nil, nil},
		"a group of another name":    {0, engine, 0o660, nil, nil, map[string]string{"web": "group engine"}},
		"a group that may not write": {0, engine, 0o640, nil, nil, nil},
		"owned by somebody":          {www, 0, 0o600, nil, nil, map[string]string{"web": "socket owner"}},
		"an ACL":                     {0, 0, 0o660, acl(6, 6), nil, map[string]string{"op": "socket acl", "web": "socket acl", "root": "primary group root, uid 0", "toor": "primary group root, uid 0"}},
		"an ACL, masked":             {0, 0, 0o640, acl(6, 4), nil, nil},
		"an ACL to look":             {0, 0, 0o660, acl(4, 6), nil, map[string]string{"web": "socket acl", "root": "primary group root, uid 0", "toor": "primary group root, uid 0"}},
		"a rootless engine":          {www, engine, 0o660, nil, map[string]any{"Process": map[string]any{"Rootless": true}}, nil},
		"elsewhere":                  {www, engine, 0o660, nil, map[string]any{"OwnNamespaces": []any{"mnt"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := host(t, map[string]string{"etc/group": strings.Replace(groups, "docker", "other", 1)})
			path := filepath.Join(root, "run.sock")
			l, err := net.Listen("unix", path)
			must(t, err)
			t.Cleanup(func() { l.Close() })
			must(t, os.Chown(path, tc.uid, tc.gid))
			must(t, os.Chmod(path, tc.mode))
			if tc.acl != nil {
				must(t, unix.Setxattr(path, aclName, tc.acl, 0))
			}
			want := map[string]string{"root": "uid 0", "toor": "uid 0"}
			for who, ways := range tc.want {
				want[who] = ways
			}
			got, s := reaches(t, root, &inventory.Object{Ref: inventory.Ref{Kind: inventory.Daemon, Name: "/run.sock"}, Fields: tc.fields})
			if d := cmp.Diff(want, got); d != "" || len(s.Gaps) > 0 {
				t.Error(d, s.Gaps)
			}
		})
	}
}

// TestSudoers gives lines and who reaches what by them, beside what the groups
// give: "op: docker; web: ALL".
func TestSudoers(t *testing.T) {
	for _, tc := range []struct{ name, lines, want string }{
		{"nothing", "root ALL=(ALL:ALL) ALL\n%wheel ALL=(ALL) ALL", ""},
		{"everything", "op ALL=(ALL:ALL) NOPASSWD: ALL", "op: ALL"},
		{"no blanks", "op\tALL=(ALL:ALL)NOPASSWD:ALL", "op: ALL"},
		{"docker", "op ALL = NOPASSWD: /usr/bin/docker", "op: docker"},
		{"docker elsewhere", "op ALL=NOPASSWD: /opt/d/docker", "op: docker"},
		{"with any arguments", "op ALL=NOPASSWD: /usr/bin/docker *", "op: docker"},
		{"with these arguments", "op ALL=NOPASSWD: /usr/bin/docker ps -a, /usr/bin/docker \"\"", ""},
		{"a longer name", "op ALL=NOPASSWD: /usr/bin/docker-clean, /usr/bin/mydocker", ""},
		{"a pattern", "op ALL=NOPASSWD: /usr/bin/dock*", "op: docker"},
		{"a directory", "op ALL=NOPASSWD: /usr/sbin/", "op: docker"},
		{"another directory", "op ALL=NOPASSWD: /opt/tools/", ""},
		{"a regular expression", "op ALL=NOPASSWD: ^/usr/bin/(docker|ls)$", "op: docker"},
		{"a digest", "op ALL=NOPASSWD: sha256:abcd /usr/bin/docker", "op: docker"},
		{"a group", "%wheel ALL=NOPASSWD: ALL", "op: ALL"},
		{"a group by number", "%#10 ALL=NOPASSWD: ALL", "op: ALL"},
		{"a user by number", "#1002 ALL=NOPASSWD: ALL # why", "op: ALL"},
		{"a comment", "# op ALL=NOPASSWD: ALL\n#op ALL=NOPASSWD: ALL", ""},
		{"a continued line", "op ALL=NOPASSWD: \\\n  /usr/bin/docker", "op: docker"},
		{"two users", "op , web ALL=NOPASSWD: ALL", "op: ALL; web: ALL"},
		{"all but one", "%wheel, web, !web ALL=NOPASSWD: ALL", "op: ALL"},
		{"a tag lasts", "op ALL=NOPASSWD: /bin/ls, /usr/bin/docker", "op: docker"},
		{"a tag is taken back", "op ALL=NOPASSWD: /bin/ls, PASSWD: /usr/bin/docker", ""},
		{"more tags, options", "op ALL=(root) CWD=/tmp NOEXEC: NOPASSWD: SETENV: /usr/bin/docker", "op: docker"},
		{"as another user", "op ALL=(web) NOPASSWD: ALL", ""},
		{"as root among others", "op ALL=(web, root) NOPASSWD: ALL", "op: ALL"},
		{"as all but root", "op ALL=(ALL, !root) NOPASSWD: ALL", ""},
		{"runas lasts", "op ALL=(web) NOPASSWD: /bin/ls, /usr/bin/docker", ""},
		{"this host", "op h1=NOPASSWD: ALL", "op: ALL"},
		{"another host", "op h2=NOPASSWD: ALL", ""},
		{"not this host", "op ALL, !h1=NOPASSWD: ALL", ""},
		{"a network", "op 10.0.0.0/8=NOPASSWD: ALL", "op: ALL"},
		{"two hosts", "op h2 = NOPASSWD: /bin/ls : h1 = NOPASSWD: /usr/bin/docker", "op: docker"},
		{"aliases", "User_Alias OPS = op, dev : WEB = web\nHost_Alias HERE = h1\nRunas_Alias R = root\nCmnd_Alias D = /usr/bin/docker, /bin/ls\n" +
			"OPS, !dev HERE = (R) NOPASSWD: D", "op: docker"},
		{"an alias of itself", "Cmnd_Alias A = A\nUser_Alias U = U, op\nU ALL=NOPASSWD: A, /usr/bin/docker", "op: docker"},
		{"nobody is asked", "Defaults env_reset, !authenticate\nop ALL=/usr/bin/docker", "op: docker"},
		{"forbidden", "op ALL=NOPASSWD: !/usr/bin/docker", ""},
		{"all but docker is all", "op ALL=NOPASSWD: ALL, !/usr/bin/docker", "op: ALL"},
		{"included", "@include sudoers.more\n#includedir /etc/sudoers.d\n", "op: docker; web: ALL"},
		{"no rule", "op\nop ALL\n= NOPASSWD: ALL", ""},
	} {
		root := host(t, map[string]string{
			"etc/sudoers": tc.lines + "\n", "etc/sudoers.more": "op ALL=NOPASSWD: /usr/bin/docker\n", "etc/sudoers.d/web": "web ALL=NOPASSWD: ALL\n",
			"etc/sudoers.d/old.bak": "dev ALL=NOPASSWD: ALL\n", "etc/sudoers.d/old~": "dev ALL=NOPASSWD: ALL\n",
		})
		var got []string
		all, s := reaches(t, root)
		for _, who := range []string{"ci", "dev", "op", "root", "web"} {
			for _, way := range strings.Split(all[who], ", ") {
				if way, ok := strings.CutPrefix(way, "sudo NOPASSWD "); ok {
					got = append(got, who+": "+way)
				}
			}
		}
		if g := strings.Join(got, "; "); g != tc.want || len(s.Gaps) > 0 {
			t.Errorf("%s: got %q, want %q; gaps %v", tc.name, g, tc.want, s.Gaps)
		}
	}
}

func TestSudoersOfEverybody(t *testing.T) {
	got, _ := reaches(t, host(t, map[string]string{"etc/sudoers": "ALL ALL=NOPASSWD: /usr/bin/docker\n"}))
	if got["web"] != "sudo NOPASSWD docker" || got["dev"] != "group docker, sudo NOPASSWD docker" {
		t.Errorf("got %v", got)
	}
}

func TestGaps(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		why   string
	}{
		"accounts of a directory service": {map[string]string{"etc/nsswitch.conf": "passwd: files sss [NOTFOUND=return]\ngroup: files systemd # ldap\nhosts: dns\n"}, `passwd entries of "sss" are not read`},
		"an include that is not there":    {map[string]string{"etc/sudoers": "@include /etc/none\nop ALL=NOPASSWD: ALL\n"}, "/etc/none"},
		"includes in a circle":            {map[string]string{"etc/sudoers": "@include sudoers\nop ALL=NOPASSWD: ALL\n"}, "too deep"},
	} {
		_, s := reaches(t, host(t, tc.files))
		if len(s.Gaps) != 1 || !strings.Contains(s.Gaps[0].Reason, tc.why) || len(s.Of(inventory.Account)) < 5 {
			t.Errorf("%s: %v, %d accounts", name, s.Gaps, len(s.Of(inventory.Account)))
		}
		if name == "accounts of a directory service" && strings.Contains(s.Gaps[0].Reason, "group") {
			t.Errorf("a comment counts: %v", s.Gaps)
		}
	}
}

func TestCredentials(t *testing.T) {
	const secret = "aHVudGVyMjpzZWNyZXQ="
	root := host(t, map[string]string{
		"root/.docker/config.json": `{"auths": {"https://index.docker.io/v1/": {"auth": "` + secret + `"}, "reg:5000": {"identitytoken": "` + secret + `"},
			"stored": {}, "empty": {"auth": "", "password": null}, "https://u:` + secret + `@x.org": {"password": "` + secret + `"}}, "credsStore": "pass",
			"credHelpers": {"gcr.io": "gcloud"}, "HttpHeaders": {"X": "` + secret + `"}}`,
		"home/dev/.docker/config.json": `{"auths": {}}`,
		"home/ci/.docker/config.json":  `not json ` + secret,
	})
	must(t, os.MkdirAll(filepath.Join(root, "home/op/.docker"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(root, "home/op/.docker/config.json"), 0o644)) // must not hold the reader up
	s := inventory.Take(t.Context(), "h1", time.Now(), New(root))
	b, err := json.Marshal(s.Of(inventory.Credential))
	must(t, err)
	if strings.Contains(string(b), secret) {
		t.Fatalf("a secret was read: %s", b)
	}
	find := func(path string) *inventory.Object {
		o := s.Find(inventory.Ref{Kind: inventory.Credential, Name: path})
		if o == nil {
			t.Fatalf("no credential %s in %s", path, b)
		}
		return o
	}
	o := find("/root/.docker/config.json")
	inline, _, _ := inventory.CredentialRegistries.Of(o)
	if len(inline) != 3 || inline[0] != "https://index.docker.io/v1/" || inline[2] != "reg:5000" ||
		o.Fields["CredsStore"] != "pass" || o.Fields["User"] != "root" || cmp.Diff([]string{"gcr.io: gcloud"}, o.Fields["CredHelpers"]) != "" {
		t.Errorf("got %v", o.Fields)
	}
	if inline, _, ok := inventory.CredentialRegistries.Of(find("/home/dev/.docker/config.json")); !ok || len(inline) > 0 {
		t.Errorf("a file without logins: %v, %v", inline, ok)
	}
	for path, why := range map[string]string{"/home/ci/.docker/config.json": "is not the JSON", "/home/op/.docker/config.json": "no regular file"} {
		if _, fact, ok := inventory.CredentialRegistries.Of(find(path)); ok || !strings.Contains(fact.Err, why) {
			t.Errorf("%s: %v", path, fact)
		}
	}
	if n := len(s.Of(inventory.Credential)); n != 4 {
		t.Errorf("%d credentials", n)
	}
}

func FuzzSudoers(f *testing.F) {
	f.Add("User_Alias A = op, !dev : B = A\nA ALL = (ALL : ALL) NOPASSWD: /usr/bin/docker \\* , PASSWD: ALL : h2 = ALL # x")
	f.Add("op ALL=(\"a b\", #0) CWD=/ NOEXEC:ALL,!sha224:x /bin/")
	f.Fuzz(func(t *testing.T, text string) {
		db := &database{users: []user{{name: "op", uid: 1}}, byName: map[string]user{}}
		p := &sudoers{host: "h1", aliases: map[string][]string{}}
		for line := range strings.Lines(text) {
			p.line(uncomment(strings.TrimSpace(line)))
		}
		for _, r := range p.rules {
			if len(p.aliases) < 6 { // that many that all name all are 720 ways
				p.free(r)
				p.who(db, r.users)
			}
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
