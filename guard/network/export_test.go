package network

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"casco/internal/handtest"
)

const exportPolicy = `
tiers:
  - {id: public, impact: 0.2}
  - {id: restricted, impact: 1}
assign:
  - {match: {name: "db"}, tier: restricted}
  - default: public
flows:
  - {id: in, from: any-internet, to: public/web, port: 80/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: f1, from: public/web, to: restricted/db, port: 5432/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: f2, from: public/web, to: restricted/db, port: 9999/sctp, why: x, owner: ana, review: 2027-01-31}
  - {id: out, from: public/web, to: "egress:203.0.113.0/24", port: 443/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: out1, from: public/web, to: "egress:203.0.113.9", port: 443/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: wide, from: public/web, to: "egress:172.16.0.0/12", port: 53/udp, why: x, owner: ana, review: 2027-01-31}
  - {id: out6, from: public/web, to: "egress:2001:db8:1::/48", port: 443/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: upd, from: public/web, to: "egress:updates.example", port: 443/tcp, why: x, owner: ana, review: 2027-01-31}
  - {id: dns, from: public/web, to: host, port: 53/udp, why: x, owner: ana, review: 2027-01-31}
`

const exportWorld = `
host 192.0.2.10 2001:db8::10 172.20.0.1
net n bridge 172.20.0.0/16 172.20.0.1 fd00:20::/64 fd00:20::1
net within bridge 172.20.128.0/17
ns 1 n=172.20.0.2,fd00:20::2
  web project=shop publish=0.0.0.0:8080:80/tcp publish=[::]:8080:80/tcp
ns 2 n=172.20.0.3,fd00:20::3
  db publish=0.0.0.0:15432:5432/tcp publish=127.0.0.1:1:1/tcp
ns 3 n=172.20.0.4
  web2 project=shop
`

func exported(t testing.TB, w World) Export {
	t.Helper()
	j, err := NewJudge(policyOf(t, exportPolicy))
	if err != nil {
		t.Fatal(err)
	}
	x, err := ExportOf(w, j)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// formats are the writers, by the names of their golden files.
var formats = []struct {
	name  string
	write func(Export, io.Writer) error
	check []string // a program that reads it and changes nothing
}{
	{"nft", Export.WriteNft, []string{"nft", "-c", "-f", "FILE"}},
	{"iptables", func(x Export, w io.Writer) error { return x.WriteIPTables(w, false) }, []string{"iptables-restore", "--noflush", "--test", "FILE"}},
	{"ip6tables", func(x Export, w io.Writer) error { return x.WriteIPTables(w, true) }, []string{"ip6tables-restore", "--noflush", "--test", "FILE"}},
	{"cisco", Export.WriteCisco, nil},
	{"csv", Export.WriteCSV, nil},
}

func TestExport(t *testing.T) {
	x := exported(t, worldOf(t, exportWorld))
	for _, f := range formats {
		var b bytes.Buffer
		if err := f.write(x, &b); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/export."+f.name, b.String())
	}
	again := exported(t, worldOf(t, exportWorld))
	if !slices.Equal(x.Rows, again.Rows) {
		t.Error("two exports of one world differ")
	}
}

// TestExportIsRead: the programs that these files are for take them.
func TestExportIsRead(t *testing.T) {
	worlds := map[string]World{"shop": worldOf(t, exportWorld), "empty": {}, "hostile": hostile(t)}
	for _, f := range formats {
		if f.check == nil {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			handtest.NeedRoot(t)
			_, err := exec.LookPath(f.check[0])
			handtest.Need(t, err == nil, f.check[0])
			for name, w := range worlds {
				var b bytes.Buffer
				if err := f.write(exported(t, w), &b); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				args := slices.Clone(f.check[1:])
				args[len(args)-1] = file
				if out, err := exec.Command(f.check[0], args...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s\n%s", name, err, out, b.String())
				}
			}
		})
	}
}

// hostile is a world whose names want to be rules.
func hostile(t testing.TB) World {
	w := worldOf(t, exportWorld)
	names := []string{"\"; flush ruleset; #", "drop }\n\tchain x { type filter hook forward priority 0; policy drop; }", "`reboot` $(reboot) -j ACCEPT\nCOMMIT"}
	for i := range w.Namespaces {
		m := &w.Namespaces[i].Members[0]
		w.Namespaces[i].Members = append(w.Namespaces[i].Members, Workload{Workload: m.Workload})
		m.Workload.Labels = map[string]string{composeService: m.Workload.Name, composeProject: names[i]}
		m.Workload.Name = names[i]
	}
	return w
}

// TestExportOpensNothing: what is exported is what the rules let pass, and
// nothing of a namespace that has no rules.
func TestExportOpensNothing(t *testing.T) {
	w := worldOf(t, exportWorld)
	x := exported(t, w)
	r, err := Rules(w, policyOf(t, exportPolicy))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range x.Rows {
		switch row.Kind {
		case RowPair:
			if !r.Outside.Forwards(row.Src.Addr(), row.Dst.Addr(), row.Port) {
				t.Errorf("%+v is no rule", row)
			}
		case RowShut:
			if row.Port.Number != 15432 || row.Dst.Addr().String() != "192.0.2.10" {
				t.Errorf("%+v", row)
			}
		}
	}
	if len(x.Managed) != 2 {
		t.Errorf("networks within others are there: %v", x.Managed)
	}
}

// FuzzExport: no name of a container or of a flow breaks out of a file of rules.
func FuzzExport(f *testing.F) {
	f.Add("web", "f1")
	f.Add("\"; flush ruleset; #", "drop }\nadd table x")
	f.Add("=cmd|' /C calc'!A0", "-j ACCEPT\nCOMMIT")
	f.Fuzz(func(t *testing.T, name, id string) {
		p := policyOf(t, exportPolicy)
		for i := range p.Flows {
			p.Flows[i].ID, p.Flows[i].Owner = fmt.Sprint(id, i), name
		}
		j, err := NewJudge(p)
		if err != nil {
			t.Fatal(err)
		}
		lines := map[string]int{}
		for _, other := range []bool{false, true} {
			w := worldOf(t, exportWorld)
			if other {
				for i := range w.Namespaces {
					m := &w.Namespaces[i].Members[0].Workload
					m.Labels[composeService] = m.Name // so that the flows still find it
				}
				w.Namespaces[0].Members[0].Workload.Name = name
			}
			x, err := ExportOf(w, j)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range formats {
				var b bytes.Buffer
				if err := f.write(x, &b); err != nil {
					t.Fatal(err)
				}
				n := strings.Count(b.String(), "\n")
				if f.name == "csv" {
					rows, err := csv.NewReader(&b).ReadAll()
					if err != nil {
						t.Fatal(err)
					}
					n = len(rows)
					for _, cell := range slices.Concat(rows...) {
						if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
							t.Errorf("%q is a formula", cell)
						}
					}
				} else if strings.Contains(b.String(), "\r") || strings.Count(b.String(), `"`)%2 != 0 {
					t.Errorf("%s:\n%s", f.name, b.String())
				}
				if other && n != lines[f.name] {
					t.Errorf("%s has %d lines with the name %q, and %d without", f.name, n, name, lines[f.name])
				}
				lines[f.name] = n
			}
		}
	})
}
