package compose

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// request is the body with which Compose makes the container of a service, in
// the fields of the Engine API (docker/compose 2.29, pkg/compose/create.go,
// getCreateConfigs). What has no part in how a container is kept apart is left
// to the engine: sizes of shm, blkio weights.
func request(p *types.Project, s types.ServiceConfig) map[string]any {
	body := map[string]any{
		"Image": imageOf(p, s), "Hostname": s.Hostname, "Domainname": s.DomainName, "User": s.User, "Tty": s.Tty, "OpenStdin": s.StdinOpen,
		"WorkingDir": s.WorkingDir, "StopSignal": s.StopSignal, "Labels": labelsOf(p, s), "Env": environment(s), "ExposedPorts": exposed(s),
	}
	if s.Entrypoint != nil {
		body["Entrypoint"] = []string(s.Entrypoint)
	}
	if s.Command != nil {
		body["Cmd"] = []string(s.Command)
	}
	if h := s.HealthCheck; h != nil {
		body["Healthcheck"] = health(h)
	}
	host := hostConfig(s)
	binds, mounts := volumes(p, s)
	host["Binds"], host["Mounts"] = binds, mounts
	host["VolumesFrom"] = volumesFrom(p, s)
	host["PidMode"], host["IpcMode"] = joinedTo(p, s.Pid), joinedTo(p, s.Ipc)
	mode, endpoints := networks(p, s)
	host["NetworkMode"] = mode
	body["HostConfig"] = host
	if endpoints != nil {
		body["NetworkingConfig"] = map[string]any{"EndpointsConfig": endpoints}
	}
	return body
}

// imageOf is docker/compose, pkg/api, GetImageNameOrDefault.
func imageOf(p *types.Project, s types.ServiceConfig) string {
	if s.Image != "" {
		return s.Image
	}
	return p.Name + "-" + s.Name
}

func labelsOf(p *types.Project, s types.ServiceConfig) map[string]string {
	out := map[string]string{}
	maps.Copy(out, s.Labels)
	out[label+"project"], out[label+"service"], out[label+"oneoff"], out[label+"container-number"] = p.Name, s.Name, "False", "1"
	out[label+"project.working_dir"], out[label+"project.config_files"] = p.WorkingDir, strings.Join(p.ComposeFiles, ",")
	return out
}

func environment(s types.ServiceConfig) []string {
	out := []string{}
	for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
		if v := s.Environment[k]; v != nil {
			out = append(out, k+"="+*v)
		} else {
			out = append(out, k)
		}
	}
	return out
}

func exposed(s types.ServiceConfig) map[string]any {
	out := map[string]any{}
	for _, e := range s.Expose {
		number, proto, ok := strings.Cut(e, "/")
		if !ok {
			proto = "tcp"
		}
		first, last, isRange := strings.Cut(number, "-")
		from, err := strconv.Atoi(first)
		to := from
		if isRange && err == nil {
			to, err = strconv.Atoi(last)
		}
		for n := from; err == nil && n <= min(to, 65535); n++ {
			out[fmt.Sprintf("%d/%s", n, proto)] = map[string]any{}
		}
	}
	for _, port := range s.Ports {
		out[portKey(port)] = map[string]any{}
	}
	return out
}

func portKey(p types.ServicePortConfig) string {
	proto := p.Protocol
	if proto == "" {
		proto = "tcp"
	}
	return fmt.Sprintf("%d/%s", p.Target, proto)
}

func health(h *types.HealthCheckConfig) map[string]any {
	test := []string(h.Test)
	if h.Disable {
		test = []string{"NONE"}
	}
	out := map[string]any{"Test": test}
	for name, d := range map[string]*types.Duration{"Interval": h.Interval, "Timeout": h.Timeout, "StartPeriod": h.StartPeriod} {
		if d != nil {
			out[name] = int64(*d)
		}
	}
	if h.Retries != nil {
		out["Retries"] = *h.Retries
	}
	return out
}

func hostConfig(s types.ServiceConfig) map[string]any {
	h := map[string]any{
		"CapAdd": s.CapAdd, "CapDrop": s.CapDrop, "Privileged": s.Privileged, "ReadonlyRootfs": s.ReadOnly, "SecurityOpt": securityOpts(s),
		"UTSMode": s.Uts, "UsernsMode": s.UserNSMode, "CgroupParent": s.CgroupParent, "CgroupnsMode": s.Cgroup, "Runtime": s.Runtime, "Isolation": s.Isolation,
		"Sysctls": s.Sysctls, "Annotations": s.Annotations, "GroupAdd": s.GroupAdd, "OomKillDisable": s.OomKillDisable, "OomScoreAdj": s.OomScoreAdj,
		"Tmpfs": tmpfsOf(s), "Ulimits": ulimitsOf(s), "Devices": devicesOf(s), "DeviceCgroupRules": s.DeviceCgroupRules, "DeviceRequests": deviceRequests(s),
		"PortBindings": portBindings(s), "RestartPolicy": restartPolicyOf(s), "Dns": s.DNS, "DnsSearch": s.DNSSearch, "DnsOptions": s.DNSOpts,
		"CpuPeriod": s.CPUPeriod, "CpuQuota": s.CPUQuota, "CpuShares": s.CPUShares, "CpusetCpus": s.CPUSet, "Memory": int64(s.MemLimit), "MemorySwap": int64(s.MemSwapLimit),
		"MemoryReservation": int64(s.MemReservation), "NanoCpus": int64(float64(s.CPUS) * 1e9), "ShmSize": int64(s.ShmSize),
	}
	if s.PidsLimit != 0 {
		h["PidsLimit"] = s.PidsLimit
	}
	if s.Init != nil {
		h["Init"] = *s.Init
	}
	if l := s.Logging; l != nil {
		h["LogConfig"] = map[string]any{"Type": l.Driver, "Config": l.Options}
	}
	if s.Deploy == nil || s.Deploy.Resources.Limits == nil {
		return h
	}
	limits := s.Deploy.Resources.Limits
	if limits.MemoryBytes != 0 {
		h["Memory"] = int64(limits.MemoryBytes)
	}
	if limits.NanoCPUs != 0 {
		h["NanoCpus"] = int64(float64(limits.NanoCPUs) * 1e9)
	}
	if limits.Pids != 0 {
		h["PidsLimit"] = limits.Pids
	}
	return h
}

// securityOpts reads a seccomp profile that is named by its file, as the client
// does; one that cannot be read stays a name.
func securityOpts(s types.ServiceConfig) []string {
	var out []string
	for _, o := range s.SecurityOpt {
		name, value, ok := strings.Cut(o, "=")
		if !ok {
			name, value, ok = strings.Cut(o, ":")
		}
		if ok && name == "seccomp" && value != "unconfined" && value != "builtin" {
			if b, err := os.ReadFile(value); err == nil {
				o = "seccomp=" + string(b)
			}
		}
		out = append(out, o)
	}
	return out
}

func tmpfsOf(s types.ServiceConfig) map[string]string {
	out := map[string]string{}
	for _, t := range s.Tmpfs {
		path, opts, _ := strings.Cut(t, ":")
		out[path] = opts
	}
	return out
}

func ulimitsOf(s types.ServiceConfig) []any {
	out := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		u := s.Ulimits[name]
		soft, hard := u.Soft, u.Hard
		if u.Single != 0 {
			soft, hard = u.Single, u.Single
		}
		out = append(out, map[string]any{"Name": name, "Soft": soft, "Hard": hard})
	}
	return out
}

func devicesOf(s types.ServiceConfig) []any {
	out := []any{}
	for _, d := range s.Devices {
		inside, may := d.Target, d.Permissions
		if inside == "" {
			inside = d.Source
		}
		if may == "" {
			may = "rwm"
		}
		out = append(out, map[string]any{"PathOnHost": d.Source, "PathInContainer": inside, "CgroupPermissions": may})
	}
	return out
}

func deviceRequests(s types.ServiceConfig) []any {
	all := slices.Clone(s.Gpus)
	if s.Deploy != nil && s.Deploy.Resources.Reservations != nil {
		all = append(all, s.Deploy.Resources.Reservations.Devices...)
	}
	out := []any{}
	for _, d := range all {
		out = append(out, map[string]any{"Driver": d.Driver, "Count": int64(d.Count), "DeviceIDs": d.IDs, "Capabilities": [][]string{d.Capabilities}})
	}
	return out
}

func portBindings(s types.ServiceConfig) map[string]any {
	out := map[string]any{}
	for _, p := range s.Ports {
		key := portKey(p)
		list, _ := out[key].([]any)
		out[key] = append(list, map[string]any{"HostIp": p.HostIP, "HostPort": p.Published})
	}
	return out
}

// restartPolicyOf is docker/compose, pkg/compose/create.go, getRestartPolicy.
func restartPolicyOf(s types.ServiceConfig) map[string]any {
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil { // it stands over restart
		r := s.Deploy.RestartPolicy
		name := map[string]string{"none": "no", "any": "always", "": "always"}[r.Condition]
		out := map[string]any{"Name": cmp.Or(name, r.Condition), "MaximumRetryCount": 0}
		if r.MaxAttempts != nil && r.Condition == "on-failure" {
			out["MaximumRetryCount"] = *r.MaxAttempts
		}
		return out
	}
	name, times, _ := strings.Cut(s.Restart, ":")
	n, _ := strconv.Atoi(times) // compose-go has checked it
	return map[string]any{"Name": cmp.Or(name, "no"), "MaximumRetryCount": n}
}

// volumes are the mounts of a service: binds and named volumes in the form
// SOURCE:TARGET:MODE, the others as mounts. Files of secrets and configs are
// mounts of theirs.
func volumes(p *types.Project, s types.ServiceConfig) (binds []string, mounts []any) {
	mounts = []any{}
	for _, v := range s.Volumes {
		mode := "rw"
		if v.ReadOnly {
			mode = "ro"
		}
		source := v.Source
		switch v.Type {
		case types.VolumeTypeBind:
			if v.Bind != nil {
				for _, more := range []string{v.Bind.SELinux, v.Bind.Propagation} {
					if more != "" {
						mode += "," + more
					}
				}
			}
			binds = append(binds, source+":"+v.Target+":"+mode)
		case types.VolumeTypeVolume:
			if source == "" {
				mounts = append(mounts, map[string]any{"Type": "volume", "Target": v.Target, "ReadOnly": v.ReadOnly})
				continue
			}
			if named, ok := p.Volumes[source]; ok {
				source = named.Name
			}
			binds = append(binds, source+":"+v.Target+":"+mode)
		default:
			mounts = append(mounts, map[string]any{"Type": v.Type, "Source": source, "Target": v.Target, "ReadOnly": v.ReadOnly})
		}
	}
	file := func(source, target, dir, name string) {
		if target == "" {
			target = name
		}
		if !strings.HasPrefix(target, "/") {
			target = filepath.Join(dir, target)
		}
		mounts = append(mounts, map[string]any{"Type": "bind", "Source": source, "Target": target, "ReadOnly": true})
	}
	for _, r := range s.Secrets {
		if f := p.Secrets[r.Source].File; f != "" {
			file(f, r.Target, "/run/secrets", r.Source)
		}
	}
	for _, r := range s.Configs {
		if f := p.Configs[r.Source].File; f != "" {
			file(f, r.Target, "/", r.Source)
		}
	}
	if s.UseAPISocket {
		mounts = append(mounts, map[string]any{"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/var/run/docker.sock"})
	}
	return binds, mounts
}

func volumesFrom(p *types.Project, s types.ServiceConfig) []string {
	var out []string
	for _, from := range s.VolumesFrom {
		name, mode, has := strings.Cut(from, ":")
		if name == "container" {
			out = append(out, mode)
			continue
		}
		if other, ok := p.Services[name]; ok {
			name = containerName(p, other)
		}
		if has {
			name += ":" + mode
		}
		out = append(out, name)
	}
	return out
}

// joinedTo is a mode that may name another service.
func joinedTo(p *types.Project, mode string) string {
	if name, ok := strings.CutPrefix(mode, types.ServicePrefix); ok {
		if other, ok := p.Services[name]; ok {
			return "container:" + containerName(p, other)
		}
	}
	return mode
}

func networks(p *types.Project, s types.ServiceConfig) (mode string, endpoints map[string]any) {
	if s.NetworkMode != "" {
		return joinedTo(p, s.NetworkMode), nil
	}
	for _, key := range s.NetworksByPriority() {
		name := p.Networks[key].Name
		if endpoints == nil {
			endpoints, mode = map[string]any{}, name
		}
		e := map[string]any{}
		if n := s.Networks[key]; n != nil {
			e["Aliases"] = n.Aliases
			if n.Ipv4Address != "" || n.Ipv6Address != "" {
				e["IPAMConfig"] = map[string]any{"IPv4Address": n.Ipv4Address, "IPv6Address": n.Ipv6Address}
			}
		}
		endpoints[name] = e
	}
	if endpoints == nil {
		return "none", nil
	}
	return mode, endpoints
}

// sourceKeys are the keys of a service that set a field of its container (with
// dots: within another), the first that is there counts. Those that this package changes are in keys.
var sourceKeys = func() map[string][]string {
	out := map[string][]string{
		"Config.Image": {"image", "build"}, "Config.Env": {"environment", "env_file"}, "Config.Labels": {"labels"}, "Config.ExposedPorts": {"expose", "ports"},
		"HostConfig.PortBindings": {"ports"}, "HostConfig.Binds": {"volumes"}, "HostConfig.Mounts": {"volumes", "secrets", "configs"}, "BindSources": {"volumes"},
		"HostConfig.Devices": {"devices"}, "HostConfig.DeviceCgroupRules": {"device_cgroup_rules"}, "HostConfig.DeviceRequests": {"gpus", "deploy.resources.reservations.devices"},
		"HostConfig.VolumesFrom": {"volumes_from"}, "NetworkSettings.Networks": {"networks", "network_mode"}, "HostConfig.Runtime": {"runtime"},
		"HostConfig.CpuQuota": {"cpu_quota"}, "HostConfig.OomKillDisable": {"oom_kill_disable"}, "HostConfig.Sysctls": {"sysctls"}, "HostConfig.Annotations": {"annotations"},
		"HostConfig.PublishAllPorts": {"ports"},
	}
	for field, k := range keys {
		out[field] = []string{k.name}
	}
	for field, strong := range map[string]string{
		"HostConfig.Memory": "deploy.resources.limits.memory", "HostConfig.NanoCpus": "deploy.resources.limits.cpus", "HostConfig.PidsLimit": "deploy.resources.limits.pids",
		"HostConfig.RestartPolicy": "deploy.restart_policy",
	} {
		out[field] = append([]string{strong}, out[field]...)
	}
	out["HostConfig.NetworkMode"] = []string{"network_mode", "networks"}
	return out
}()
