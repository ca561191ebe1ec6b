// Command casco-runtime is an OCI runtime that stands before another: it asks
// the gate of casco (host/gate) whether a container may be made and may start,
// and is the other runtime in all the rest. An engine is told of it in daemon.json:
//
//	{"runtimes": {"casco": {"path": "/usr/lib/casco/casco-runtime"}}, "default-runtime": "casco"}
//
// "create" is held, before which nothing is there but the bundle, and "start": by
// then the container has its namespaces, mounts, addresses and cgroup, and its
// program has not begun. So are "run" and "restore", which make a container and
// start it in one: the gate is asked before anything is there. Docker calls
// neither for a container (restore only for "docker start --checkpoint"). Every
// other verb is an exec of the real runtime with the arguments untouched.
//
// What is refused ends here: the container's init, which waits in the runtime's
// own code, is killed with the runtime's "kill", for else it and the shim would
// be left ("task must be stopped before deletion"); the reason goes to --log,
// which the shim reads it from for the engine's client, and to stderr; the exit
// code is 1. When the gate is not there, does not answer in time or could not
// judge, "without_guard" decides: "closed", the default, refuses.
//
// "docker run --runtime runc" goes past it: admission must refuse that, and
// gate.Watch beside it sees it.
//
// The configuration is /etc/casco/runtime.json; see config. Another file can be
// named by "runtimeArgs": ["--casco-config", "FILE"], which dockerd puts before
// all other arguments; but it does so by a shell script, which costs a shell at
// each call and splits words at blanks (seen with Docker 20.10). There is no
// environment variable for it: the shim's environment is the engine's.
//
// It speaks English only, as runtimes do: what it says is read by the shim, and
// stands in the engine's log. (Package lang would cost 0.15 ms at each call.)
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"casco/internal/ocicall"
)

// configPath is where the configuration is; tests build a wrapper with another.
var configPath = "/etc/casco/runtime.json"

func main() {
	path, args, err := ownArgs(os.Args[1:])
	call := ocicall.Parse(args)
	cfg := config{}
	if err == nil {
		cfg, err = readConfig(path)
	}
	switch {
	case err != nil:
		cfg.Runtime = fallback()
		if !ends(call.Verb) || cfg.Runtime == "" {
			refuse(cfg, call, args, err)
		}
	case call.Held():
		if err := hold(cfg, call); err != nil {
			refuse(cfg, call, args, err)
		}
	}
	err = syscall.Exec(cfg.Runtime, append([]string{cfg.Runtime}, args...), os.Environ())
	refuse(cfg, call, args, &os.PathError{Op: "exec", Path: cfg.Runtime, Err: err})
}

// ownArgs takes "--casco-config FILE" from the front of the arguments.
func ownArgs(args []string) (path string, rest []string, err error) {
	const name = "--casco-config"
	if len(args) == 0 || !strings.HasPrefix(args[0], name) {
		return configPath, args, nil
	}
	if value, ok := strings.CutPrefix(args[0], name+"="); ok {
		return value, args[1:], nil
	}
	if args[0] == name && len(args) > 1 {
		return args[1], args[2:], nil
	}
	return "", args[1:], errors.New(name + " takes a FILE")
}

// ends reports whether a verb only ends or describes a container. It must work
// when the configuration cannot be used: what runs must still be stopped and
// removed.
func ends(verb string) bool {
	switch verb {
	case "kill", "delete", "state", "ps", "list", "pause", "resume", "events":
		return true
	}
	return false
}

// fallback is the runtime where no configuration names one; "" if there is none.
func fallback() string {
	for _, path := range []string{"/usr/bin/runc", "/usr/sbin/runc", "/usr/local/bin/runc", "/usr/local/sbin/runc"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// hold asks the gate; nil lets the container be made or start.
func hold(cfg config, call ocicall.Call) error {
	if call.ID == "" && (call.Verb == "start" || call.Verb == "create") {
		return nil // the runtime says itself what is wrong
	}
	if !ocicall.ValidID(call.ID) {
		return fmt.Errorf("casco: %q is no container ID", call.ID)
	}
	dir := call.Bundle
	if dir == "" {
		dir, _ = os.Getwd() // the shim calls in the bundle's directory
	}
	answer, err := ask(cfg, ocicall.Question{
		Verb: call.Verb, ID: call.ID, Root: call.Root, Bundle: dir, Runtime: cfg.Runtime, TimeoutMS: cfg.TimeoutMS,
	})
	switch {
	case err == nil && answer.Verdict == ocicall.May:
		return nil
	case err == nil && answer.Verdict == ocicall.Refused:
		return errors.New("casco: not started: " + answer.Reason)
	case err == nil:
		err = errors.New(answer.Reason)
	}
	if cfg.WithoutGuard == open {
		fmt.Fprintf(os.Stderr, "casco: started without the guard (without_guard is open): %v\n", err)
		return nil
	}
	return fmt.Errorf("casco: not started without the guard (without_guard is closed): %w", err)
}

// refuse ends the container's init, says why where the shim looks for it, and
// ends with 1.
func refuse(cfg config, call ocicall.Call, args []string, err error) {
	stopInit(cfg, call, args)
	if logErr := call.AppendLog(time.Now(), err.Error()); logErr != nil {
		fmt.Fprintln(os.Stderr, logErr)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
