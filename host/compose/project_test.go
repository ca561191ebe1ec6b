package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"casco/loop/inventory"
)

// laid writes files and goes to where they are.
func laid(t testing.TB, archive string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for _, f := range txtar.Parse([]byte(archive)).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const manyFiles = `
-- .env --
TAG=1.2
-- compose.yaml --
include:
  - path: parts/cache.yaml
x-hard: &hard
  read_only: true
  cap_drop:
    - ALL
services:
  web:
    <<: *hard
    image: web:${TAG}
    user: "${NOBODY}"
    ports:
      - 127.0.0.1:8080:80
      - target: 443
        published: "443"
    environment:
      A: b
      DB_PASSWORD: s3cretpw
    volumes:
      - ./data:/data:ro
      - named:/named
  db:
    extends:
      file: base.yaml
      service: base
    network_mode: service:web
    build:
      context: db
      target: last
      args: {V: "1"}
volumes:
  named: {}
networks:
  default:
    internal: true
-- compose.override.yaml --
services:
  web:
    privileged: true
    environment: {A: c}
-- base.yaml --
services:
  base:
    extends: root
    image: base:1
    cap_add: [NET_ADMIN]
  root:
    pid: host
-- parts/cache.yaml --
services:
  cache:
    image: redis:${TAG:-7}
    restart: on-failure:3
    profiles: [extra]
`

func serviceOfProject(t testing.TB, p *Project, service string) Asked {
	t.Helper()
	i := slices.IndexFunc(p.Services, func(a Asked) bool { return a.Service == service })
	if i < 0 {
		t.Fatalf("no service %s", service)
	}
	return p.Services[i]
}

// TestLoad: files joined, extended and included, and for each field the line of
// the key that set it, in whichever file.
func TestLoad(t *testing.T) {
	laid(t, manyFiles)
	p, err := Load(t.Context(), []string{"compose.yaml", "compose.override.yaml"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	here, _ := os.Getwd()
	web, db, cache := serviceOfProject(t, p, "web"), serviceOfProject(t, p, "db"), serviceOfProject(t, p, "cache")
	for _, c := range []struct {
		of   Asked
		path string
		want any
		at   string // FILE:LINE of where it is set
	}{
		{web, "Image", "web:1.2", "compose.yaml:10"},
		{web, "User", "", "compose.yaml:11"},
		{web, "Env", []any{"A=c", "DB_PASSWORD=s3cretpw"}, "compose.override.yaml:4"},
		{web, "HostConfig.Privileged", true, "compose.override.yaml:3"},
		{web, "HostConfig.ReadonlyRootfs", true, "compose.yaml:4"},
		{web, "HostConfig.CapDrop", []any{"ALL"}, "compose.yaml:5"},
		{web, "HostConfig.NetworkMode", "shop_default", ""},
		{web, "HostConfig.Binds", []any{here + "/data:/data:ro", "shop_named:/named:rw"}, "compose.yaml:19"},
		{web, "HostConfig.PortBindings", map[string]any{
			"80/tcp": []any{map[string]any{"HostIp": "127.0.0.1", "HostPort": "8080"}}, "443/tcp": []any{map[string]any{"HostIp": "", "HostPort": "443"}},
		}, "compose.yaml:12"},
		{db, "Image", "base:1", "base.yaml:4"},
		{db, "HostConfig.PidMode", "host", "base.yaml:7"},
		{db, "HostConfig.CapAdd", []any{"NET_ADMIN"}, "base.yaml:5"},
		{db, "HostConfig.NetworkMode", "container:shop-web-1", "compose.yaml:26"},
		{cache, "Image", "redis:1.2", "parts/cache.yaml:3"},
		{cache, "HostConfig.RestartPolicy.Name", "on-failure", "parts/cache.yaml:4"},
	} {
		got, _, _ := inventory.Lookup(&inventory.Object{Fields: c.of.Body}, c.path)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s %s: %s", c.of.Service, c.path, d)
		}
		field := strings.TrimSuffix(c.path, ".Name")
		if !strings.HasPrefix(field, "HostConfig") {
			field = "Config." + field
		}
		at, _ := inventory.ParsePosition(c.of.Sources[field])
		if is := fmt.Sprintf("%s:%d", at.File, at.Line); c.at == "" && at.Line != 0 || c.at != "" && is != c.at {
			t.Errorf("%s %s is at %s, want %s", c.of.Service, field, is, c.at)
		}
	}
	if web.Unset["Config.User"] != "NOBODY" || len(web.Unset) != 1 || len(cache.Unset) != 0 {
		t.Errorf("without a value: %v %v", web.Unset, cache.Unset)
	}
	if b := db.Build; b == nil || b.Dockerfile != here+"/db/Dockerfile" || b.Target != "last" || b.Args["V"] != "1" {
		t.Errorf("%+v", b)
	}
	if n := p.Networks[0]; len(p.Networks) != 1 || n.Ref.Name != "shop_default" || n.Fields["Internal"] != true || !strings.HasPrefix(n.Source, "compose.yaml:34:") {
		t.Errorf("%+v", n)
	}
	if len(p.Files) != 4 {
		t.Errorf("files: %v", p.Files)
	}
}

// TestItems: each element of a list or map has its place.
func TestItems(t *testing.T) {
	laid(t, manyFiles)
	p, err := Load(t.Context(), []string{"compose.yaml"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	web := serviceOfProject(t, p, "web")
	want := []Item{{"127.0.0.1:8080:80", "compose.yaml:13:9-13:26"}, {"target:443:published:443", "compose.yaml:14:9-15:25"}}
	if d := cmp.Diff(want, web.Items["HostConfig.PortBindings"]); d != "" {
		t.Error(d)
	}
	want = []Item{{"A=b", "compose.yaml:17:7-17:11"}, {"DB_PASSWORD=s3cretpw", "compose.yaml:18:7-18:28"}}
	if d := cmp.Diff(want, web.Items["Config.Env"]); d != "" {
		t.Error(d)
	}
}

// TestSelf: what stands in the files and in no container.
func TestSelf(t *testing.T) {
	laid(t, `
-- compose.yaml --
services:
  web:
    build:
      context: .
      network: host
      privileged: true
      args:
        API_TOKEN: s3cretpw
        FROM_ENV: ${API_TOKEN}
    command: mysql --password s3cretpw
    environment:
      DB_PASSWORD: s3cretpw
    labels:
      - token=s3cretpw
    secrets: [a]
secrets:
  a:
    file: a.txt
configs:
  b:
    content: |
      url=postgres://u:s3cretpw@h/d
`)
	p, err := Load(t.Context(), []string{"compose.yaml"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := func(key string) (out []int) {
		for _, e := range p.Self.Fields[key].([]any) {
			m := e.(map[string]any)
			at, _ := inventory.ParsePosition(m["At"].(string))
			out = append(out, at.Line)
			if strings.Contains(m["Text"].(string), "s3cretpw") {
				t.Errorf("not masked: %v", m)
			}
		}
		return out
	}
	if d := cmp.Diff([]int{8, 10, 14, 21}, lines("Secrets")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int{5, 6}, lines("BuildRights")); d != "" {
		t.Error(d)
	}
}

// FuzzLoad: any file gives an error, or services whose places are in it.
func FuzzLoad(f *testing.F) {
	for _, file := range txtar.Parse([]byte(manyFiles)).Files {
		f.Add(file.Data)
	}
	f.Add([]byte("services:\n  a: &a\n    image: b\n    <<: [*a]\n    ports: [1-2:1-2/udp, {target: 1}]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if strings.Contains(string(src), "include") || strings.Contains(string(src), "file") {
			return // of the machine that runs this
		}
		path := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Load(t.Context(), []string{path}, nil, nil)
		if err != nil {
			return
		}
		lines := strings.Split(string(src), "\n")
		for _, s := range p.Services {
			for field, source := range s.Sources {
				at, ok := inventory.ParsePosition(source)
				if !ok || at.Line < 1 || at.EndLine > len(lines) || at.Column > len(lines[at.Line-1])+1 || at.EndColumn > len(lines[at.EndLine-1])+1 {
					t.Errorf("%q: %s is at %s", src, field, source)
				}
			}
		}
	})
}
