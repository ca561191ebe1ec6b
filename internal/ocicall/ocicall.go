// Package ocicall reads how an engine calls an OCI runtime, and holds the line
// in which the runtime wrapper asks the gate, and the gate answers.
//
// containerd's shim calls "RUNTIME --root DIR --log FILE --log-format json
// VERB … ID" in the container's bundle directory (seen with containerd 1.6 and
// Docker 20.10). It imports little, for the wrapper is started at every call.
package ocicall

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Call is what the arguments of one call of a runtime say.
type Call struct {
	Verb    string // "start"; "" where there is none, as in "--version"
	ID      string // of the container; only read for the verbs that are held
	Root    string // --root, where the runtime keeps its states; "" if it is not said
	Log     string // --log, the file that the engine reads the reason of a failure from
	LogJSON bool   // --log-format json
	Bundle  string // --bundle of create, run and restore
	Globals int    // how many arguments stand before the verb
}

// valued are the global flags that take a value, of runc 1.1, crun 1.8, runsc
// and sysbox-runc. Other flags may stand there too: see Parse.
var valued = []string{"root", "log", "log-format", "log-level", "criu", "rootless", "cgroup-manager", "debug-log", "debug-log-format", "platform", "network"}

// verbs are what a runtime can be told to do: runc 1.1, crun 1.8, runsc.
var verbs = []string{
	"checkpoint", "create", "delete", "do", "events", "exec", "features", "gofer", "boot", "init", "kill", "list", "pause", "ps",
	"restore", "resume", "run", "spec", "start", "state", "update", "wait", "help", "mounts",
}

// Parse reads the arguments that follow the program's name. A flag is written
// -name or --name, its value after "=" or as the next argument. A flag that is
// not known takes the next argument unless that is a verb: so no flag hides a
// start.
func Parse(args []string) Call {
	var c Call
	for i := 0; i < len(args); i++ {
		name, value, flag, with := cut(args[i])
		if !flag {
			c.Verb, c.Globals = args[i], i
			c.rest(args[i+1:])
			return c
		}
		if !with && i+1 < len(args) && takesNext(name, args[i+1]) {
			i++
			value = args[i]
		}
		switch name {
		case "root":
			c.Root = value
		case "log":
			c.Log = value
		case "log-format":
			c.LogJSON = value == "json"
		}
	}
	c.Globals = len(args)
	return c
}

func takesNext(name, next string) bool {
	return slices.Contains(valued, name) ||
		!slices.Contains(boolean, name) && !strings.HasPrefix(next, "-") && !slices.Contains(verbs, next)
}

// boolean are the global flags without a value.
var boolean = []string{"debug", "systemd-cgroup", "help", "h", "version", "v"}

// rest reads what follows the verb. Of "start" the ID is the first argument
// that is no flag, of the others, whose flags have values, the last.
func (c *Call) rest(args []string) {
	if !c.Held() {
		return
	}
	for i := 0; i < len(args); i++ {
		name, value, flag, with := cut(args[i])
		switch {
		case !flag && (c.Verb != "start" || c.ID == ""):
			c.ID = args[i]
		case flag && (name == "bundle" || name == "b") && with:
			c.Bundle = value
		case flag && (name == "bundle" || name == "b") && i+1 < len(args):
			i++
			c.Bundle = args[i]
		}
	}
}

// cut takes a flag apart.
func cut(arg string) (name, value string, flag, with bool) {
	name, flag = strings.CutPrefix(arg, "-")
	if !flag || name == "" {
		return arg, "", false, false
	}
	name = strings.TrimPrefix(name, "-")
	name, value, with = strings.Cut(name, "=")
	return name, value, true, with
}

// Held reports whether the call makes a container or lets its program run, and
// so is to be asked about. After "create" a start follows; "run" and "restore"
// make and start in one.
func (c Call) Held() bool {
	return c.Verb == "create" || c.Verb == "start" || c.Verb == "run" || c.Verb == "restore"
}

// ValidID reports whether id may be a container's ID and part of a path: runc
// 1.1 allows letters, digits and _ + - . (libcontainer, validateID), crun 1.8
// the same (libcrun, validate_id).
func ValidID(id string) bool {
	if id == "" || id[0] == '.' || len(id) > 1024 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '_', b == '+', b == '-', b == '.':
		default:
			return false
		}
	}
	return true
}

// A Question is the one line of JSON that the wrapper writes to the gate.
type Question struct {
	Verb      string `json:"verb"`
	ID        string `json:"id"`
	Root      string `json:"root,omitempty"`
	Bundle    string `json:"bundle,omitempty"` // the directory of the call, if --bundle does not say
	Runtime   string `json:"runtime"`          // path of the real runtime
	TimeoutMS int    `json:"timeout_ms"`       // milliseconds that the wrapper waits for the answer
}

// An Answer is the one line of JSON that the gate writes back.
type Answer struct {
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"` // why not
}

// A Verdict is what a start gets.
type Verdict string

// The verdicts. Of Unjudged, whoever asked decides: nobody could tell in time.
const (
	May      Verdict = "start"
	Refused  Verdict = "refuse"
	Unjudged Verdict = "unjudged"
)

// MaxLine is how many bytes a question or an answer may have.
const MaxLine = 64 << 10

// LogLine is an error as a runtime writes it to --log: of the JSON ones, the
// last with the level "error" is what the engine's client is told (containerd
// 1.6, pkg/process, getLastRuntimeError).
func (c Call) LogLine(now time.Time, msg string) []byte {
	at := now.UTC().Format(time.RFC3339)
	if !c.LogJSON {
		return []byte("time=" + strconv.Quote(at) + " level=error msg=" + strconv.Quote(msg) + "\n")
	}
	b, _ := json.Marshal(struct {
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Time  string `json:"time"`
	}{"error", msg, at})
	return append(b, '\n')
}

// AppendLog writes LogLine to the call's --log; a call without one has no
// place for it.
func (c Call) AppendLog(now time.Time, msg string) error {
	if c.Log == "" {
		return nil
	}
	f, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(c.LogLine(now, msg))
	return errors.Join(err, f.Close())
}
