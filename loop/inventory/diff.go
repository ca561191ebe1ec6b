package inventory

import (
	"maps"
	"slices"
	"strings"
)

// A Difference is one field that two snapshots of a host tell differently. An
// object that came or went is one Difference with Field "" and the values
// Present and Absent.
type Difference struct {
	Ref   Ref    `json:"ref"`
	Field string `json:"field,omitempty"`
	Was   any    `json:"was"`
	Now   any    `json:"now"`
}

// volatile are the fields that change without anybody changing the host:
// counters, clocks, and names that an engine makes up at each start.
var volatile = map[Kind][]string{
	Container: {
		"Id", "Created", "State", "RestartCount", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "ExecIDs", "Pid",
		"GraphDriver", "NetworkSettings.SandboxID", "NetworkSettings.SandboxKey", "NetworkSettings.EndpointID",
		"Config.Hostname", "Listeners", "Changes", "ImageManifestDescriptor",
		"Effective.MemoryPeak", "Effective.PidsPeak", "Effective.CpuUsage", "Effective.Cgroup",
	},
	Image:   {"UsedBy", "Metadata", "GraphDriver", "Setuid", "Access", "Packages", "Unseen", "Release", "UserID", "SSH", "Caches", "Sheets", "Vulnerabilities", "Unjudged", "Threats", "Advisories"}, // a layer's content is its digest
	Network: {"Containers"},
	Daemon: {
		"Info.SystemTime", "Info.NFd", "Info.NGoroutines", "Info.NEventsListener", "Info.Containers", "Info.ContainersRunning",
		"Info.ContainersPaused", "Info.ContainersStopped", "Info.Images", "Info.MemTotal", "Process.Pid", "Unused", "Proxies",
	},
	Swarm:    {"Version", "UpdatedAt"},
	Service:  {"Version", "UpdatedAt"},
	Host:     {"Uptime"},
	Listener: {"Pid"},
}

// volatileNames are keys that an engine makes up wherever they stand.
var volatileNames = []string{"EndpointID", "SandboxID", "SandboxKey", "DNSNames"}

// Diff says what differs between two snapshots of one host, in order, leaving
// out what changes by itself.
func Diff(was, now *Snapshot) []Difference {
	var out []Difference
	refs := map[Ref]bool{}
	for _, s := range []*Snapshot{was, now} {
		for _, o := range s.Objects {
			refs[o.Ref] = true
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(refs), Ref.compare) {
		a, b := was.Find(r), now.Find(r)
		switch {
		case a == nil:
			out = append(out, Difference{Ref: r, Was: Absent, Now: Present})
		case b == nil:
			out = append(out, Difference{Ref: r, Was: Present, Now: Absent})
		default:
			diffFields(&out, r, "", a.Fields, b.Fields)
		}
	}
	return out
}

func diffFields(out *[]Difference, r Ref, prefix string, a, b map[string]any) {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		path := prefix + k
		if slices.Contains(volatile[r.Kind], path) || slices.Contains(volatileNames, k) {
			continue
		}
		x, y := a[k], b[k]
		if r.Kind == Container && path == "Effective" && (x == nil) != (y == nil) {
			continue // a container that does not run has none, and its State is no difference either
		}
		mx, okx := x.(map[string]any)
		my, oky := y.(map[string]any)
		if okx && oky && strings.Count(path, ".") < 8 {
			diffFields(out, r, path+".", mx, my)
		} else if !Equal(x, y) {
			*out = append(*out, Difference{r, path, x, y})
		}
	}
}
