package daemonjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"casco/internal/doorway"
	"casco/lang"
	"casco/loop/inventory"
)

// judge finds what the start of an engine does not show: values that dockerd
// takes and that fail later, when a container is made or started, and those
// that would lock us out. conf is the file as it would be.
func judge(conf map[string]any, socket string) error {
	return errors.Join(judgeLogOpts(conf), judgeUlimits(conf), judgeSeccomp(conf), judgeHosts(conf, socket))
}

// size is what github.com/docker/go-units RAMInBytes takes.
var size = regexp.MustCompile(`^(?i)\d+(\.\d+)? ?([kmgtp]i?b?|b)?$`)

// judgeLogOpts judges the options of the two drivers that write files:
// https://docs.docker.com/engine/logging/drivers/json-file/.
func judgeLogOpts(conf map[string]any) error {
	opts, _ := conf["log-opts"].(map[string]any)
	for name, v := range opts {
		s, ok := v.(string)
		if !ok {
			return lang.Errorf(lang.Text{
				En: "log-opts: %s is %v; dockerd wants a string, \"%v\"",
				Es: "log-opts: %s es %v; dockerd quiere una cadena, \"%v\"",
			}, name, v, v)
		}
		switch driver, _ := conf["log-driver"].(string); {
		case driver != "" && driver != "json-file" && driver != "local":
		case name == "max-size" && s != "-1" && !size.MatchString(s):
			return lang.Errorf(lang.Text{
				En: "log-opts: max-size %q is no size, for example 10m",
				Es: "log-opts: max-size %q no es un tamaño, por ejemplo 10m",
			}, s)
		case name == "max-file":
			if n, err := strconv.Atoi(s); err != nil || n < 1 {
				return lang.Errorf(lang.Text{En: "log-opts: max-file %q is no number from 1 on", Es: "log-opts: max-file %q no es un número desde 1"}, s)
			}
		}
	}
	if n, _ := opts["max-file"].(string); n != "" && n != "1" && opts["max-size"] == nil && conf["log-driver"] != "local" {
		return lang.Errorf(lang.Text{
			En: "log-opts: max-file needs max-size beside it, or no container starts",
			Es: "log-opts: max-file necesita max-size a su lado, o no arranca ningún contenedor",
		})
	}
	return nil
}

// limits are those of setrlimit(2) that Docker knows: github.com/docker/go-units.
var limits = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
	"rtprio", "rttime", "sigpending", "stack",
}

func judgeUlimits(conf map[string]any) error {
	all, _ := conf["default-ulimits"].(map[string]any)
	for name, v := range all {
		u, ok := v.(map[string]any)
		if !ok || !slices.Contains(limits, name) || u["Name"] != name {
			return lang.Errorf(lang.Text{
				En: "default-ulimits: %s: want {\"Name\": \"%s\", \"Soft\": N, \"Hard\": N} of a limit that setrlimit(2) knows",
				Es: "default-ulimits: %s: se quiere {\"Name\": \"%s\", \"Soft\": N, \"Hard\": N} de un límite que setrlimit(2) conozca",
			}, name, name)
		}
		soft, err1 := whole(u["Soft"])
		hard, err2 := whole(u["Hard"])
		switch {
		case err1 != nil || err2 != nil:
			return lang.Errorf(lang.Text{
				En: "default-ulimits: %s: Soft and Hard must be whole numbers",
				Es: "default-ulimits: %s: Soft y Hard deben ser números enteros",
			}, name)
		case hard != -1 && (soft == -1 || soft > hard):
			return lang.Errorf(lang.Text{
				En: "default-ulimits: %s: the soft limit %d is above the hard one, %d: no container would start",
				Es: "default-ulimits: %s: el límite blando %d supera al duro, %d: no arrancaría ningún contenedor",
			}, name, soft, hard)
		}
	}
	return nil
}

func whole(v any) (int64, error) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, lang.Errorf(lang.Text{En: "%v is no number", Es: "%v no es un número"}, v)
	}
	return n.Int64()
}

// judgeSeccomp: dockerd starts with a profile that is not there, and then no
// container does.
func judgeSeccomp(conf map[string]any) error {
	path, _ := conf["seccomp-profile"].(string)
	if path == "" || path == "builtin" || path == "unconfined" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return lang.Errorf(lang.Text{En: "seccomp-profile: %w", Es: "seccomp-profile: %w"}, err)
	}
	if !json.Valid(b) {
		return lang.Errorf(lang.Text{En: "seccomp-profile: %s is not JSON", Es: "seccomp-profile: %s no es JSON"}, path)
	}
	return nil
}

// judgeHosts: we talk to the engine over this socket, and so does its admin.
// Over fd:// it comes from systemd; behind a door it goes on under another path.
func judgeHosts(conf map[string]any, socket string) error {
	hosts, ok := conf["hosts"].([]any)
	if !ok {
		return nil
	}
	for _, h := range hosts {
		path, ok := strings.CutPrefix(fmt.Sprint(h), "unix://")
		if h == "fd://" || ok && (sameSocket(path, socket) || path == doorway.Behind(socket)) {
			return nil
		}
	}
	return lang.Errorf(lang.Text{
		En: "hosts: the engine would no longer listen on %s, over which it is managed",
		Es: "hosts: el motor dejaría de escuchar en %s, por donde se administra",
	}, socket)
}

// sameSocket: /var/run is /run on most hosts.
func sameSocket(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return a == b || err1 == nil && err2 == nil && os.SameFile(x, y)
}

// judgeMasks refuses a value that holds the mask of a secret: the plan was made
// from facts that never had the secret itself, and would write the mask.
func judgeMasks(name string, v any) error {
	switch v := v.(type) {
	case string:
		if inventory.Masked(v) {
			return lang.Errorf(lang.Text{
				En: "%s: the new value holds the mask of a secret, not the secret; set single entries of it instead",
				Es: "%s: el valor nuevo contiene la máscara de un secreto, no el secreto; ajuste entradas sueltas en su lugar",
			}, name)
		}
	case map[string]any:
		for k, e := range v {
			if err := judgeMasks(k, e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := judgeMasks(name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode reads the file as values. An empty one is an empty object.
func decode(b []byte) (map[string]any, error) {
	out := map[string]any{}
	if len(bytes.TrimSpace(b)) == 0 {
		return out, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err := d.Decode(&out)
	return out, err
}
