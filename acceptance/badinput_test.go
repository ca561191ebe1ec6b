package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"casco/internal/outside"
	"casco/internal/realdocker"
)

// A badInput is a daemon.json as somebody may have left it.
type badInput struct {
	content string
	// make puts what no content can say in place of the file; it may be nil.
	make func(t *testing.T, e *realdocker.Engine)
	// en and es are what the plan says instead of planning; @ is the file.
	// Empty: it is planned.
	en, es string
	// apply is what apply says, if it is planned and refused then.
	apply string
	// audit is what the audit says of the file.
	audit string
	// cured is the file with live-restore, if not empty.
	cured string
}

var badInputs = map[string]badInput{
	"malformed": {
		content: "{\n  \"debug\": true,\n}\n",
		en:      "@:2:16: a comma after the last key", es: "@:2:16: una coma tras la última clave", audit: "@: 3:1: ",
	},
	"cut off": {content: `{"debug": tr`, en: "@:1:11: is no JSON: ", es: "@:1:11: no es JSON: ", audit: "@: "},
	"no object": {
		content: "[]\n", en: "@:1:1: is no object", es: "@:1:1: no es un objeto", audit: "@: ",
	},
	"comment": {content: "{\n // why\n \"debug\": false}\n", en: "@:3:2: a comment near here", es: "@:3:2: un comentario cerca de aquí", audit: "@: 2:2"},
	"byte order mark": {
		content: "\xef\xbb\xbf{\"debug\": false}\n", en: "@:1:1: a byte order mark", es: "@:1:1: una marca de orden de bytes",
	},
	"key twice": {
		content: "{\"debug\": false,\n \"debug\": false}\n",
		en:      `@:2:2: the key "debug" comes a second time`, es: `@:2:2: la clave "debug" aparece por segunda vez`,
	},
	"key twice, other case": {
		content: "{\"live-restore\": false,\n \"Live-Restore\": false}\n",
		en:      `@:2:2: the key "Live-Restore" is written "live-restore"`, es: `@:2:2: la clave "Live-Restore" se escribe "live-restore"`,
	},
	"flag and file": {
		content: "{\n \"cgroup-parent\": \"/x\"\n}\n",
		en:      `@:2:2: the key "cgroup-parent" is on the command line of dockerd too`, es: `@:2:2: la clave "cgroup-parent" está también en la línea de órdenes`,
	},
	// Here the trial ends with it, or from 23.0 on the engine's own check.
	"unknown key": {content: "{\n \"nonesuch\": 1\n}\n", apply: "@:2:2: the engine would "},
	"wrong type":  {content: "{\n \"debug\": 5\n}\n", apply: "@:2:2: the engine would "},
	"empty":       {content: ""},
	"line ends":   {content: "{\r\n\t\"debug\": false\r\n}\r\n", cured: "{\r\n\t\"debug\": false,\r\n\t\"live-restore\": true\r\n}\r\n"},
	"a megabyte":  {content: "{\"labels\": [" + strings.Repeat("\"a=b\",\n", 150_000) + "\"a=b\"]}"},
	"directory": {
		make: func(t *testing.T, e *realdocker.Engine) { replace(t, e, os.Mkdir(e.Config+".x", 0o750)) },
		en:   "@ is a directory", es: "@ es un directorio", audit: "@: is no regular file",
	},
	"named pipe": {
		make: func(t *testing.T, e *realdocker.Engine) { replace(t, e, unix.Mkfifo(e.Config+".x", 0o600)) },
		en:   "@ is no regular file", es: "@ no es un archivo regular", audit: "@: is no regular file",
	},
	"not there": {
		make: func(t *testing.T, e *realdocker.Engine) { replace(t, e, nil) },
		en:   "@ is named on the command line of dockerd and is not there", es: "@ figura en la línea de órdenes de dockerd y no existe",
	},
	"hard link": {
		content: "{}\n",
		make: func(t *testing.T, e *realdocker.Engine) {
			if err := os.Link(e.Config, filepath.Join(t.TempDir(), "other")); err != nil {
				t.Fatal(err)
			}
		},
		en: "@ has 2 hard links", es: "@ tiene 2 enlaces duros",
	},
	"link": {
		make: func(t *testing.T, e *realdocker.Engine) {
			elsewhere := filepath.Join(t.TempDir(), "real.json")
			outside.Put(t, elsewhere, "{\n    \"debug\": false\n}")
			replace(t, e, os.Symlink(elsewhere, e.Config+".x"))
		},
	},
	"dangling link": {
		make: func(t *testing.T, e *realdocker.Engine) {
			replace(t, e, os.Symlink("/nonexistent/d.json", e.Config+".x"))
		},
		en: "@ is named on the command line of dockerd and is not there", es: "@ figura en la línea de órdenes de dockerd y no existe",
	},
	"link to itself": {
		make: func(t *testing.T, e *realdocker.Engine) { replace(t, e, os.Symlink(e.Config, e.Config+".x")) },
		en:   "@ is a symbolic link that leads to itself", es: "@ es un enlace simbólico que lleva a sí mismo", audit: "@: ",
	},
	"nobody may read it": {
		content: "{\"debug\": false}",
		make: func(t *testing.T, e *realdocker.Engine) {
			if err := os.Chmod(e.Config, 0); err != nil {
				t.Fatal(err)
			}
		},
	},
	"immutable": {
		content: "{}\n",
		make:    func(t *testing.T, e *realdocker.Engine) { immutable(t, e.Config) },
		en:      "@ is immutable or append-only", es: "@ es inmutable o de solo anexar",
	},
}

// replace puts what was made beside daemon.json in its place, or nothing.
func replace(t *testing.T, e *realdocker.Engine, err error) {
	t.Helper()
	if err == nil {
		err = os.RemoveAll(e.Config)
	}
	if _, gone := os.Lstat(e.Config + ".x"); err == nil && gone == nil {
		err = os.Rename(e.Config+".x", e.Config)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// immutable protects a file with chattr(1) until the test ends, where the file
// system can.
func immutable(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("chattr", "+i", path).CombinedOutput(); err != nil {
		t.Skipf("chattr +i %s: %v: %s", path, err, out)
	}
	t.Cleanup(func() { outside.Tool(t, "chattr", "-i", path) })
}

// kept is all of a file that must not be lost: what it is, where it leads,
// mode, owner, content. With touched, also when it was last written to.
func kept(t *testing.T, path string, times bool) string {
	t.Helper()
	format := "%N %F %04a %u:%g"
	if times {
		format += " %y %i"
	}
	out, err := exec.Command("stat", "-c", format, path).CombinedOutput()
	if err != nil {
		return "none"
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		out = fmt.Appendf(out, "%s%s", outside.Tool(t, "stat", "-L", "-c", format, path), outside.Tool(t, "sha256sum", path))
	}
	return string(out)
}

// TestBadInput takes each through audit, plan, apply and rollback: what casco
// will not edit it names, with its place, in both languages, and does not
// touch; what it edits comes back to the byte, and nothing is lost but the time
// of the last change.
func TestBadInput(t *testing.T) {
	e := realdocker.Start(t)
	for name, in := range badInputs {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(e.Config); err != nil {
				t.Fatal(err)
			}
			outside.Put(t, e.Config, in.content)
			if in.make != nil {
				in.make(t, e)
			}
			in.check(t, e)
			alive(t, e)
			for _, left := range tempFiles(t, filepath.Dir(e.Config)) {
				t.Errorf("%s was left behind", left)
			}
		})
	}
	os.RemoveAll(e.Config)
	outside.Put(t, e.Config, "{}\n")
	e.Restart()
}

func (in badInput) check(t *testing.T, e *realdocker.Engine) {
	t.Helper()
	place := func(s string) string { return strings.ReplaceAll(s, "@", e.Config) }
	before, untouched := kept(t, e.Config, false), kept(t, e.Config, true)
	intact := func() {
		t.Helper()
		if got := kept(t, e.Config, true); got != untouched {
			t.Errorf("daemon.json was touched:\n%s\nwas\n%s", got, untouched)
		}
	}
	// The engine is open, and that can be told whatever is in its file.
	out, errs, code := outside.Casco(t, e, "audit", "--why", "daemon-icc", "--ref", "daemon/"+e.Socket)
	wants(t, out+errs, code, 3, place(in.audit))
	file := filepath.Join(t.TempDir(), "plan.json")
	args := []string{"plan", "--check", "daemon-live-restore", "--ref", "daemon/" + e.Socket, "-o", file}
	out, errs, code = outside.Casco(t, e, args...)
	if in.en != "" {
		wants(t, out+errs, code, 0, place(in.en))
		out, errs, code = outside.Casco(t, e, append(args, "--lang", "es")...)
		wants(t, out+errs, code, 0, place(in.es))
		outside.Casco(t, e, "approve", file, "--yes")
		out, errs, code = outside.Casco(t, e, "apply", file, "--yes")
		wants(t, out+errs, code, 4, "the plan has no steps")
		intact()
		return
	}
	wants(t, out+errs, code, 5)
	outside.Casco(t, e, "approve", file, "--yes")
	out, errs, code = outside.Casco(t, e, "apply", file, "--yes")
	if in.apply != "" {
		wants(t, out+errs, code, 1, "nothing was begun", place(in.apply))
		intact()
		return
	}
	wants(t, out+errs, code, 0)
	if got := e.Docker("info", "-f", "{{.LiveRestoreEnabled}}"); got != "true" {
		t.Errorf("live-restore: %s", got)
	}
	if got := outside.MustRead(t, e.Config); in.cured != "" && got != in.cured {
		t.Errorf("daemon.json is now %q, want %q", got, in.cured)
	}
	outside.Rollback(t, e, outside.LastChange(t, e).ID)
	if got := kept(t, e.Config, false); got != before {
		t.Errorf("after the rollback:\n%s\nwas\n%s", got, before)
	}
}

// tempFiles are what a writer leaves that did not end well.
func tempFiles(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, ".*.casco-new"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// TestBrokenAfter breaks daemon.json after a change: a rollback does not write
// over it, says what is in the way, and works once that is mended.
func TestBrokenAfter(t *testing.T) {
	e := realdocker.Start(t)
	outside.Put(t, e.Config, "{\"debug\": false}\n")
	id := outside.PlanApplyVerify(t, e, "--check", "daemon-live-restore", "--ref", "daemon/"+e.Socket)
	good := outside.MustRead(t, e.Config)
	outside.Put(t, e.Config, "{\"debug\": true,}\n")
	out, errs, code := outside.Casco(t, e, "rollback", id, "--yes")
	wants(t, out+errs, code, 4, "file/"+e.Config, "somebody changed this since")
	if got := outside.MustRead(t, e.Config); got != "{\"debug\": true,}\n" {
		t.Errorf("daemon.json is now %q", got)
	}
	outside.Put(t, e.Config, good)
	t.Run("immutable", func(t *testing.T) {
		immutable(t, e.Config)
		out, errs, code := outside.Casco(t, e, "rollback", id, "--yes")
		wants(t, out+errs, code, 1, "could NOT be undone", "operation not permitted", e.Config)
		if got := outside.MustRead(t, e.Config); got != good {
			t.Errorf("daemon.json is now %q", got)
		}
	})
	// The change is failed now. Still nobody's work is written over, unless
	// somebody who has seen it says so.
	theirs := strings.Replace(good, "false", "true", 1)
	outside.Put(t, e.Config, theirs)
	out, errs, code = outside.Casco(t, e, "rollback", id, "--yes")
	wants(t, out+errs, code, 4, "file/"+e.Config, "neither as it was nor as the change wanted it", "casco rollback "+id+" --anyway")
	if got := outside.MustRead(t, e.Config); got != theirs {
		t.Errorf("daemon.json is now %q", got)
	}
	out, errs, code = outside.Casco(t, e, "rollback", id, "--yes", "--anyway")
	wants(t, out+errs, code, 0)
	if got := outside.MustRead(t, e.Config); got != "{\"debug\": false}\n" {
		t.Errorf("daemon.json is now %q", got)
	}
	if got := e.Docker("info", "-f", "{{.LiveRestoreEnabled}}"); got != "false" {
		t.Errorf("live-restore after the rollback: %s", got)
	}
}
