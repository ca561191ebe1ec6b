// Package archtest holds the direction of imports and the form of packages.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// may says which packages of this module each package may import. A name that
// ends in / stands for all under it. Everybody may import lang. A package that
// is not named here fails the test: say where it belongs.
var may = map[string]string{
	"lang":                  "",
	"loop/inventory":        "",
	"loop/audit":            "loop/inventory",
	"loop/audit/frameworks": "",
	"loop/audit/own":        "loop/inventory loop/audit loop/audit/frameworks policy",
	"loop/audit/checks":     "loop/inventory loop/audit internal/shell",
	"loop/risk":             "loop/inventory loop/audit loop/declared policy",
	"loop/declared":         "loop/inventory loop/audit loop/audit/frameworks policy",
	"loop/plan":             "loop/inventory loop/audit",
	"loop/change":           "loop/plan policy signed",
	"loop/apply":            "loop/inventory loop/plan",
	"loop/verify":           "loop/inventory loop/audit loop/plan",
	"loop/rollback":         "loop/inventory loop/apply",
	"policy":                "signed signed/image",
	"policy/folder":         "policy signed internal/atomicfile",
	"guard/admission":       "loop/inventory loop/audit loop/audit/checks loop/declared loop/risk guard/network policy signed/image",
	"guard/network":         "loop/inventory loop/declared policy",
	"signed":                "",
	"signed/image":          "signed",
	"advisories":            "signed vuln",
	"vuln":                  "loop/inventory loop/risk",
	"state":                 "loop/apply loop/change signed internal/atomicfile",
	"ledger":                "",
	"store":                 "ledger",
	"supervision":           "store",
	"sbom":                  "vuln",
	"report":                "advisories lint loop/ policy vuln store supervision internal/columns internal/handtest",
	"report/netmap":         "guard/network policy internal/columns",
	"api":                   "guard/network keeper policy internal/atomicfile internal/unixsock",
	"keeper":                "guard/network host/docker host/flows host/gate host/nft host/resolver host/spaces policy internal/handtest internal/realdocker internal/nsenter internal/procs internal/sockdiag",
	"lint":                  "loop/inventory loop/audit",
	"lab":                   "host/docker internal/handtest",
	"lab/actor":             "",
	"lab/probe":             "lab/actor",
	"cmd/casco":             "advisories sbom vuln api guard/ keeper lint loop/ host/ policy policy/folder signed ledger store supervision lab lab/actor report report/netmap state internal/apicall internal/atomicfile internal/doorway internal/unixsock internal/shelf internal/room",
	"cmd/casco-verify":      "",
	"cmd/casco-runtime":     "internal/ocicall", // little, for it is started at each call of the runtime
	"bench":                 "api guard/network host/doorbench host/flows host/gate host/netbench host/nft host/spaces keeper policy internal/realdocker",
	"acceptance":            "",
	"acceptance/guard":      "",
	"acceptance/ordinary":   "",
	"internal/outside":      "internal/handtest internal/nsenter internal/realdocker",
	"internal/apicall":      "",
	"internal/archtest":     "",
	"internal/battery":      "",
	"internal/doorway":      "",
	"internal/atomicfile":   "",
	"internal/columns":      "",
	"internal/handtest":     "loop/",
	"internal/realdocker":   "internal/nsenter",
	"internal/nsenter":      "internal/handtest",
	"internal/conntrack":    "internal/handtest",
	"internal/ocicall":      "",
	"internal/procs":        "internal/handtest",
	"internal/pulse":        "",
	"internal/shelf":        "internal/unixsock",
	"internal/room":         "",
	"internal/unixsock":     "",
	"internal/shell":        "",
	"internal/sockdiag":     "internal/handtest internal/nsenter",
}

// hostMay is what any package under host/ may import: never another one. What they
// write into a kernel and read from it are values of guard/network.
const hostMay = "guard/network vuln policy signed loop/inventory loop/plan loop/apply internal/apicall internal/atomicfile internal/conntrack internal/doorway internal/nsenter internal/ocicall internal/pulse internal/shell internal/sockdiag internal/unixsock internal/room internal/procs"

// pure packages decide and never act: no process, no network, no database.
var pure = []string{"loop/", "profile", "vuln", "guard/", "probe", "casefile"}

var impure = []string{"os/exec", "net/http", "database/sql"}

// TestImports reads the files itself, and does not run "go list": the test
// cache then knows that it depends on them.
func TestImports(t *testing.T) {
	eachFile(t, parser.ImportsOnly, func(dir, path string, f *ast.File) {
		rule, ok := may[dir]
		if strings.HasPrefix(dir, "host/") {
			rule, ok = hostMay, true
		}
		if !ok {
			t.Errorf("%s: say in this test what it may import", dir)
		}
		for _, im := range f.Imports {
			name := strings.Trim(im.Path.Value, `"`)
			if imp, ours := strings.CutPrefix(name, "casco/"); ours {
				if imp != "lang" && !allowed(imp, rule) {
					t.Errorf("%s must not import %s", path, imp)
				}
			} else if isPure(dir) && slices.Contains(impure, name) {
				t.Errorf("%s decides and must not act: it imports %s", path, name)
			}
		}
	})
}

// TestPackageComments wants each package to say in its first words what it is.
func TestPackageComments(t *testing.T) {
	said := map[string]bool{}
	eachFile(t, parser.ParseComments|parser.PackageClauseOnly, func(dir, _ string, f *ast.File) {
		text := f.Doc.Text()
		ok := strings.HasPrefix(text, "Package "+f.Name.Name+" ") || f.Name.Name == "main" && strings.HasPrefix(text, "Command ")
		said[dir] = said[dir] || ok
	})
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s: no file has a package comment that begins %q", dir, "Package "+filepath.Base(dir)+" ")
		}
	}
}

// TestMachineModules keeps each third-party module that touches the machine
// within one package, so that it can be replaced there.
func TestMachineModules(t *testing.T) {
	one := []string{"github.com/tailscale/hujson", "github.com/compose-spec/compose-go", "github.com/mdlayher/netlink", "github.com/moby/moby", "github.com/moby/sys", "golang.org/x/net/dns", "github.com/google/osv-scalibr/extractor"}
	users := map[string]map[string]bool{}
	eachFile(t, parser.ImportsOnly, func(dir, _ string, f *ast.File) {
		for _, im := range f.Imports {
			for _, m := range one {
				if strings.HasPrefix(strings.Trim(im.Path.Value, `"`), m) {
					if users[m] == nil {
						users[m] = map[string]bool{}
					}
					users[m][dir] = true
				}
			}
		}
	})
	for m, dirs := range users {
		if len(dirs) > 1 {
			t.Errorf("%s is imported by %d packages: %v", m, len(dirs), dirs)
		}
	}
}

// TestSecondOpinion keeps casco-verify apart from what it checks: it may share
// formats with the ledger and no code, or one error would hide in both.
func TestSecondOpinion(t *testing.T) {
	files := 0
	eachFile(t, parser.ImportsOnly, func(dir, path string, f *ast.File) {
		if dir != "cmd/casco-verify" {
			return
		}
		files++
		for _, im := range f.Imports {
			name := strings.Trim(im.Path.Value, `"`)
			if head, _, _ := strings.Cut(name, "/"); strings.Contains(head, ".") && !strings.HasPrefix(name, "golang.org/x/mod/sumdb/") || head == "casco" {
				t.Errorf("%s must not import %s", path, name)
			}
		}
	})
	if files == 0 {
		t.Error("casco-verify is not where this test looks for it")
	}
}

func eachFile(t *testing.T, mode parser.Mode, do func(dir, path string, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == "bin" || d.Name() == "testdata" || d.Name() == "tools" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, mode)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		do(filepath.ToSlash(rel), path, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func allowed(imp, rule string) bool {
	for r := range strings.FieldsSeq(rule) {
		if imp == r || strings.HasSuffix(r, "/") && strings.HasPrefix(imp, r) {
			return true
		}
	}
	return false
}

func isPure(dir string) bool {
	for _, p := range pure {
		if dir == p || strings.HasSuffix(p, "/") && strings.HasPrefix(dir, p) {
			return true
		}
	}
	return false
}
