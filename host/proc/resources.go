package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// unlimited is casco's word for no limit, in every resource.
const unlimited = -1

// v1NoLimit is the least memory.limit_in_bytes that means none: v1 rounds
// LONG_MAX down to a page (mm/page_counter.c, PAGE_COUNTER_MAX), of up to 64 KiB.
const v1NoLimit = 1<<63 - 1<<16

// resources reads what the container's own cgroup holds it to, and what it has
// used: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. A limit of a
// cgroup above it is not counted: the engine's inspect does not know it.
func (g *cgroup) resources(r *reading) {
	g.memory(r)
	g.tasks(r)
	g.cpu(r)
}

func (g *cgroup) memory(r *reading) {
	c := g.control("memory")
	r.integer("MemoryMax")(c.limit("memory", "memory.limit_in_bytes", "memory.max"))
	r.integer("MemoryPeak")(c.number("memory.max_usage_in_bytes", "memory.peak"))
}

func (g *cgroup) tasks(r *reading) {
	c := g.control("pids")
	r.integer("PidsMax")(c.limit("pids", "pids.max", "pids.max"))
	peak, err := c.number("pids.peak", "pids.peak") // since kernel 6.1
	if err != nil {
		peak, err = c.number("pids.current", "pids.current")
	}
	r.integer("PidsPeak")(peak, err)
}

func (g *cgroup) cpu(r *reading) {
	c := g.control("cpu")
	r.integer("CpuMax")(c.quota())
	r.integer("CpuWeight")(c.number("cpu.shares", "cpu.weight"))
	if c.unified {
		r.integer("CpuUsage")(c.cpuStat())
		return
	}
	ns, err := g.control("cpuacct").number("cpuacct.usage", "")
	r.integer("CpuUsage")(ns/1000, err)
}

// read returns the value of a file of c, by its name in v1 and in v2.
func (c control) read(v1, v2 string) (string, error) {
	if c.err != nil {
		return "", c.err
	}
	name := v1
	if c.unified {
		name = v2
	}
	b, err := readFile(path.Join(c.dir, name))
	return strings.TrimSpace(string(b)), err
}

func (c control) number(v1, v2 string) (int64, error) {
	s, err := c.read(v1, v2)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", c.dir, s)
	}
	return n, nil
}

// limit reads a limit of a controller. One that rules nobody here limits
// nobody: a kernel without it, or a unified cgroup that was not given it, as
// with a rootless engine to which systemd delegates nothing.
func (c control) limit(controller, v1, v2 string) (int64, error) {
	s, err := c.read(v1, v2)
	switch {
	case errors.Is(err, errNoController), errors.Is(err, os.ErrNotExist) && c.lacks(controller):
		return unlimited, nil
	case err != nil:
		return 0, err
	case s == "max":
		return unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: limit %q is not a number", c.dir, s)
	}
	if n >= v1NoLimit {
		return unlimited, nil
	}
	return int64(n), nil
}

// lacks reports whether the unified cgroup is there and has no such controller.
func (c control) lacks(controller string) bool {
	if !c.unified {
		return false
	}
	b, err := readFile(path.Join(c.dir, "cgroup.controllers"))
	return err == nil && !slices.Contains(strings.Fields(string(b)), controller)
}

// quota is the CPU time that the container may have, in thousandths of a CPU.
func (c control) quota() (int64, error) {
	if errors.Is(c.err, errNoController) {
		return unlimited, nil
	}
	if c.unified {
		s, err := c.read("", "cpu.max") // "max 100000"
		if errors.Is(err, os.ErrNotExist) && c.lacks("cpu") {
			return unlimited, nil
		}
		if err != nil {
			return 0, err
		}
		quota, period, _ := strings.Cut(s, " ")
		return thousandths(quota, period)
	}
	quota, err1 := c.read("cpu.cfs_quota_us", "")
	period, err2 := c.read("cpu.cfs_period_us", "")
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	return thousandths(quota, period)
}

func thousandths(quota, period string) (int64, error) {
	if quota == "max" || quota == "-1" {
		return unlimited, nil
	}
	q, err1 := strconv.ParseUint(quota, 10, 53)
	p, err2 := strconv.ParseUint(period, 10, 53)
	if err1 != nil || err2 != nil || p == 0 {
		return 0, fmt.Errorf("cpu quota %q of period %q is not two numbers", quota, period)
	}
	return int64(q * 1000 / p), nil
}

// cpuStat is the CPU time used so far, in µs. Every unified cgroup has it,
// with the controller or without.
func (c control) cpuStat() (int64, error) {
	s, err := c.read("", "cpu.stat")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines([]byte(s)) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if key == "usage_usec" {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s/cpu.stat has no usage_usec", c.dir)
}
