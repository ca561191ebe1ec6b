package dockerfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"casco/loop/inventory"
)

// instruction carries out one instruction in s and notes it. At is where it
// stands if not in this file, and then it is the base's own; later: it is what
// ONBUILD leaves for others.
func (b *build) instruction(s *stage, c instructions.Command, at string, later bool) error {
	node := (*parser.Node)(nil)
	if at == "" {
		loc := c.Location()
		node = b.file.nodes[loc[0].Start.Line]
		begin, end := b.file.span(loc[0].Start.Line, loc[len(loc)-1].End.Line)
		at = b.file.position(begin, end).String()
	}
	in := map[string]any{"Word": strings.ToUpper(c.Name()), "Text": inventory.MaskText(fmt.Sprint(c)), "Stage": json(s.index), "At": at, "OnBuild": later}
	s.said = append(s.said, in)
	n := &note{build: b, stage: s, in: in}
	if err := n.take(c, node, later); err != nil {
		return fmt.Errorf("%s:%s: %w", b.file.name, in["Word"], err)
	}
	if len(n.missing) > 0 {
		slices.Sort(n.missing)
		in["Unresolved"] = listed(slices.Compact(n.missing))
	}
	return nil
}

// A note is one instruction while it is carried out.
type note struct {
	*build
	stage   *stage
	in      map[string]any
	missing []string // variables that have no value here
}

// word resolves a word. A variable without a value is nothing to a build; it is
// missing here if somebody else may give it one, and the word says nothing for
// that it has none (${NAME:-otherwise}).
func (n *note) word(w string) (string, error) {
	out, unmatched, err := n.expand(w, n.stage.vars)
	for _, v := range unmatched {
		bare := strings.Contains(w, "${"+v+"}") || strings.Contains(w, "$"+v)
		if bare && (n.stage.blank[v] || n.stage.blind != "" || slices.Contains(open, v)) {
			n.missing = append(n.missing, v)
		}
	}
	return out, err
}

func (n *note) set(key string, v any) {
	n.stage.config[key] = v
	n.stage.places[key], _ = n.in["At"].(string)
	delete(n.stage.unread, key)
}

// put adds to a map of the configuration, which keeps what the base has.
func (n *note) put(key, name string, v any) {
	m, _ := n.stage.config[key].(map[string]any)
	if m == nil {
		m = map[string]any{}
		n.stage.config[key] = m
	}
	m[name] = v
	n.stage.places[key], _ = n.in["At"].(string)
}

func (n *note) take(c instructions.Command, node *parser.Node, later bool) (err error) {
	s := n.stage
	switch c := c.(type) {
	case *instructions.EnvCommand:
		if later {
			return nil
		}
		return n.env(c)
	case *instructions.ArgCommand:
		return n.args(c)
	case *instructions.LabelCommand:
		for _, kv := range c.Labels {
			v, err := n.word(kv.Value)
			if err != nil {
				return err
			}
			if !later {
				n.put("Labels", kv.Key, inventory.MaskValue(kv.Key, v))
			}
		}
	case *instructions.UserCommand:
		user, err := n.word(c.User)
		if err != nil || later {
			return err
		}
		if len(n.missing) > 0 {
			delete(s.config, "User")
			s.unread["User"] = "USER " + c.User + ": no value is known here for " + strings.Join(n.missing, ", ")
			s.places["User"], _ = n.in["At"].(string)
			return nil
		}
		n.set("User", user)
	case *instructions.HealthCheckCommand:
		if !later {
			n.set("Healthcheck", map[string]any{"Test": listed(c.Health.Test)})
		}
	case *instructions.ExposeCommand:
		return n.expose(c, later)
	case *instructions.ShellCommand:
		s.shell = c.Shell
	case *instructions.RunCommand:
		return n.run(c, node)
	case *instructions.CmdCommand:
		n.starts("Cmd", c.ShellDependantCmdLine, later)
	case *instructions.EntrypointCommand:
		if !later {
			n.set("Cmd", nil) // moby, builder: an entrypoint takes the base's command away
		}
		n.starts("Entrypoint", c.ShellDependantCmdLine, later)
	case *instructions.AddCommand:
		n.in["Checksum"], n.in["Chmod"] = c.Checksum, c.Chmod
		return n.files(c.SourcesAndDest, c.ExcludePatterns, "")
	case *instructions.CopyCommand:
		n.in["Chmod"], n.in["From"] = c.Chmod, c.From
		n.need(c.From)
		return n.files(c.SourcesAndDest, c.ExcludePatterns, c.From)
	case *instructions.VolumeCommand:
		var paths []string
		for _, v := range c.Volumes {
			if v, err = n.word(v); err != nil {
				return err
			}
			paths = append(paths, v)
		}
		n.in["Paths"] = listed(paths)
	case *instructions.OnbuildCommand:
		return n.onbuild(c)
	}
	return nil
}

func (n *note) env(c *instructions.EnvCommand) error {
	var pairs []string
	for _, kv := range c.Env {
		v, err := n.word(kv.Value)
		if err != nil {
			return err
		}
		pairs = append(pairs, kv.Key+"="+v)
	}
	for _, p := range pairs { // all of one instruction see what was before it
		n.stage.setenv(p)
		name, _, _ := strings.Cut(p, "=")
		delete(n.stage.blank, name)
	}
	n.in["Pairs"] = listed(inventory.MaskEnv(pairs))
	n.stage.places["Env"], _ = n.in["At"].(string)
	return nil
}

func (n *note) args(c *instructions.ArgCommand) error {
	var pairs []string
	for _, kv := range c.Args {
		if slices.ContainsFunc(n.stage.env, func(e string) bool { return strings.HasPrefix(e, kv.Key+"=") }) {
			continue // ENV stands over ARG
		}
		v, given := n.opts.Args[kv.Key]
		switch meta, has := n.meta[kv.Key]; {
		case given:
		case kv.Value != nil:
			var err error
			if v, err = n.word(*kv.Value); err != nil {
				return err
			}
			pairs = append(pairs, kv.Key+"="+v)
			given = true
		case has:
			v, given = meta, true
		}
		if given {
			n.stage.vars[kv.Key] = v
			delete(n.stage.blank, kv.Key)
		} else {
			n.stage.blank[kv.Key] = true
		}
	}
	n.in["Pairs"] = listed(inventory.MaskEnv(pairs))
	return nil
}

func (n *note) expose(c *instructions.ExposeCommand, later bool) error {
	var ports []string
	for _, p := range c.Ports {
		p, err := n.word(p)
		if err != nil {
			return err
		}
		for word := range strings.FieldsSeq(p) {
			ports = append(ports, word)
			if !later {
				n.put("ExposedPorts", word, map[string]any{})
			}
		}
	}
	n.in["Ports"] = listed(ports)
	return nil
}

// starts notes a CMD or ENTRYPOINT with its commands.
func (n *note) starts(key string, line instructions.ShellDependantCmdLine, later bool) {
	n.in["Commands"] = n.commandsOf(line, nil)
	if !later {
		argv := line.CmdLine
		if line.PrependShell {
			argv = slices.Concat(n.stage.shell, line.CmdLine)
		}
		var masked []string
		for _, w := range argv {
			masked = append(masked, inventory.MaskText(w))
		}
		n.set(key, listed(masked))
	}
}

func (n *note) run(c *instructions.RunCommand, node *parser.Node) error {
	if user, ok := n.stage.config["User"]; ok {
		n.in["User"] = user
	} else if why := n.stage.unread["User"]; why == "" {
		n.in["User"] = ""
	}
	if commands := n.commandsOf(c.ShellDependantCmdLine, node); commands != nil {
		n.in["Commands"] = commands
	}
	if err := c.Expand(n.word); err != nil {
		return err
	}
	for _, m := range instructions.GetMounts(c) {
		if m.From != "" {
			n.need(m.From)
		}
	}
	n.in["Network"], n.in["Security"] = string(instructions.GetNetwork(c)), string(instructions.GetSecurity(c))
	return nil
}

// need notes a stage, or an image, that files are taken from.
func (n *note) need(from string) {
	if from == "" {
		return
	}
	ref, missing, err := n.expand(from, n.meta)
	if err != nil {
		return // the build refuses it when it gets there
	}
	if i, isNumber := number(ref); isNumber && i < len(n.stages) {
		n.stage.needs = append(n.stage.needs, n.stages[i])
		return
	}
	for _, s := range n.stages {
		if s.of.Name != "" && strings.EqualFold(s.of.Name, ref) {
			n.stage.needs = append(n.stage.needs, s)
			return
		}
	}
	if ref != "scratch" && ref != "context" {
		n.bases = append(n.bases, map[string]any{"Image": ref, "At": n.in["At"], "Text": n.in["Text"], "Unresolved": listed(missing)})
	}
}

func number(s string) (int, bool) {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 1e6 {
			return 0, false
		}
		n = n*10 + int(r-'0')
	}
	return n, s != ""
}

// files notes what a COPY or ADD brings.
func (n *note) files(f instructions.SourcesAndDest, except []string, from string) error {
	var sources []string
	for _, src := range f.SourcePaths {
		src, err := n.word(src)
		if err != nil {
			return err
		}
		sources = append(sources, inventory.MaskText(src))
	}
	dest, err := n.word(f.DestPath)
	if err != nil {
		return err
	}
	n.in["Sources"], n.in["Dest"] = listed(sources), dest
	if from == "" {
		brings, err := brought(n.private, sources, except)
		if err != nil {
			return err
		}
		n.in["Brings"] = listed(brings)
	}
	return nil
}

// onbuild notes what is left for images that are made from this one.
func (n *note) onbuild(c *instructions.OnbuildCommand) error {
	n.stage.onbuild = append(n.stage.onbuild, c.Expression)
	res, err := parser.Parse(strings.NewReader(c.Expression))
	if err != nil {
		return err
	}
	if len(res.AST.Children) != 1 {
		return errors.New("ONBUILD takes one instruction")
	}
	cmd, err := instructions.ParseCommand(res.AST.Children[0])
	if err != nil {
		return err
	}
	vars, blank := n.stage.vars, n.stage.blank
	at, _ := n.in["At"].(string)
	err = n.instruction(n.stage, cmd, at, true)
	n.stage.vars, n.stage.blank = vars, blank
	return err
}
