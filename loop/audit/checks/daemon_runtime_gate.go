package checks

import (
	"casco/lang"
	"casco/loop/audit"
	"casco/loop/inventory"
)

// RuntimeName is what daemon.json calls the wrapper of the OCI runtime, and
// runtimePath where "casco guard units" puts it.
const (
	RuntimeName = "casco"
	runtimePath = "/usr/lib/casco/casco-runtime"
)

var daemonRuntimeGate = &audit.Check{
	ID:    "daemon-runtime-gate",
	Title: lang.Text{En: "Containers start past the guard", Es: "Los contenedores arrancan sin pasar por la guardia"},
	Why: lang.Text{
		En: "The policy wants starts to be held by a wrapper of the OCI runtime, which lets nothing start when the guard is away. The engine runs another runtime, or the wrapper's file is not there and nothing starts at all.",
		Es: "La política quiere que los arranques los retenga un envoltorio del runtime OCI, que no deja arrancar nada cuando falta la guardia. El motor usa otro runtime, o falta el fichero del envoltorio y no arranca nada.",
	},
	Remedy: lang.Text{
		En: `Install the wrapper (casco guard units | sh), and name it in daemon.json: "runtimes": {"casco": {"path": "/usr/lib/casco/casco-runtime"}}, "default-runtime": "casco". The engine takes both without a restart.`,
		Es: `Instale el envoltorio (casco guard units | sh) y nómbrelo en daemon.json: "runtimes": {"casco": {"path": "/usr/lib/casco/casco-runtime"}}, "default-runtime": "casco". El motor toma ambos sin reiniciarse.`,
	},
	Severity: audit.Medium,
	Domains:  []audit.Domain{audit.Security, audit.Operations},
	Controls: rowTiers,
	Kind:     inventory.Daemon,
	Policy:   []string{"network.start"},
	About: func(s *inventory.Snapshot, _ *inventory.Object) bool {
		for _, p := range s.Of(inventory.Policy) {
			if start, _, ok := inventory.PolicyStart.Of(p); ok && start == "runtime" {
				return true
			}
		}
		return false
	},
	Eval: func(_ *inventory.Snapshot, o *inventory.Object) audit.Answer {
		runtime, fact, ok := inventory.DaemonDefaultRuntime.Of(o)
		if !ok {
			return audit.Untold(fact)
		}
		all, known, ok := inventory.DaemonRuntimes.Of(o)
		path, _ := asMap(all[RuntimeName])["path"].(string)
		if runtime == RuntimeName && ok && path != "" {
			return evalWrapperFile(o, fact, known)
		}
		breaks := lang.Text{
			En: "Without the guard no container starts any more, unless /etc/casco/runtime.json says otherwise.",
			Es: "Sin la guardia ya no arranca ningún contenedor, salvo que /etc/casco/runtime.json diga otra cosa.",
		}
		a := audit.Bad(fact)
		if path == "" {
			a = a.Wanting(audit.Want{Ref: o.Ref, Field: inventory.DaemonRuntimes.Path + "." + RuntimeName, Value: map[string]any{"path": runtimePath}, Breaks: breaks})
		}
		return a.Wanting(audit.Want{Ref: o.Ref, Field: inventory.DaemonDefaultRuntime.Path, Value: RuntimeName, Breaks: breaks})
	},
}

// evalWrapperFile answers for an engine that is told to run the wrapper.
func evalWrapperFile(o *inventory.Object, told ...inventory.Fact) audit.Answer {
	files, there, ok := inventory.DaemonRuntimeFiles.Of(o)
	if !ok {
		return audit.Untold(there)
	}
	file := asMap(files[RuntimeName])
	path, _ := file["Path"].(string)
	evidence := append(told, there)
	switch {
	case file["Exists"] != true:
		return audit.Bad(evidence...).Because(lang.Text{
			En: "%s is not there: no container starts", Es: "%s no está: no arranca ningún contenedor",
		}.F(path))
	case file["Executable"] != true:
		return audit.Bad(evidence...).Because(lang.Text{
			En: "%s cannot be executed: no container starts", Es: "%s no se puede ejecutar: no arranca ningún contenedor",
		}.F(path))
	}
	return audit.Good(evidence...)
}
