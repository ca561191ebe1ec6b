package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"casco/lang"
)

// A command is the compose program of this machine: the plugin ("docker
// compose", version 2 and later) or the older docker-compose.
type command struct {
	argv []string
	env  []string
}

// findCompose returns the program, talking to the engine at host.
func findCompose(ctx context.Context, host string) (command, error) {
	env := append(os.Environ(), "DOCKER_HOST="+host, "DOCKER_CONTEXT=")
	for _, argv := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		c := command{argv, env}
		if _, err := c.run(ctx, nil, "version"); err == nil {
			return c, nil
		}
	}
	return command{}, lang.Errorf(lang.Text{
		En: "neither docker compose nor docker-compose is installed: the owner of this container is missing",
		Es: "no está instalado docker compose ni docker-compose: falta el dueño de este contenedor",
	})
}

// run returns what the program printed. Its own words are the error.
func (c command) run(ctx context.Context, stdin []byte, args ...string) (string, error) {
	argv := append(c.argv[1:len(c.argv):len(c.argv)], args...)
	cmd := exec.CommandContext(ctx, c.argv[0], argv...)
	cmd.Env, cmd.Stdin = c.env, bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", strings.Join(c.argv, " "), args[len(args)-1], err, lastLines(errs.String(), 3))
	}
	return out.String(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

func (p project) args(files []string) []string {
	args := []string{"--project-name", p.Name, "--project-directory", p.Dir}
	for _, f := range files {
		args = append(args, "--file", f)
	}
	if p.Env != "" {
		args = append(args, "--env-file", p.Env)
	}
	return args
}

// hashes are the digests that Compose computes of the services of a project; it
// writes them on the containers that it makes.
func (c command) hashes(ctx context.Context, p project) (map[string]string, error) {
	out, err := c.run(ctx, nil, append(p.args(p.Files), "config", "--hash", "*")...)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 {
			all[f[0]] = f[1]
		}
	}
	return all, nil
}

// reads has Compose read the project with the content now in place of file.
// The copy stands beside the file, so that what it names by a relative path is
// found, and is gone when reads returns.
func (c command) reads(ctx context.Context, p project, file string, now []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".casco-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(now)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	var files []string
	for _, name := range p.Files {
		if name == file {
			name = f.Name()
		}
		files = append(files, name)
	}
	if _, err := c.run(ctx, nil, append(p.args(files), "config", "--quiet")...); err != nil {
		return lang.Errorf(lang.Text{En: "compose does not take the changed file: %w", Es: "compose no acepta el archivo cambiado: %w"}, err)
	}
	return nil
}

// up brings the service to what its file says. Other services are left alone,
// and nothing is built or pulled that is there.
func (c command) up(ctx context.Context, p project, running bool) error {
	how := []string{"up", "--detach", "--no-deps", "--no-build", p.Service}
	if !running {
		how = []string{"up", "--no-start", "--no-deps", "--no-build", p.Service}
	}
	_, err := c.run(ctx, nil, append(p.args(p.Files), how...)...)
	return err
}
