package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"casco/host/gate"
	"casco/lang"
	"casco/policy"
	"casco/report"
)

func guardUnitsCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "units",
		RunE: func(*cobra.Command, []string) error {
			line, err := a.unitLine()
			if err != nil {
				return err
			}
			p, err := a.policy()
			if err != nil {
				return err
			}
			if p.Network.Start == runtimeStart {
				if err := a.printWrapper(p, line[0]); err != nil {
					return err
				}
			}
			line = append(line, "--run", a.runPath, "guard")
			fmt.Fprintf(a.out, guardScript, unitWords(line), unitWords(append(slices.Clone(line), "upgrade")))
			a.tell(lang.Text{En: "to install: casco guard units | sh", Es: "para instalar: casco guard units | sh"})
			return nil
		},
	}, lang.Text{
		En: "Print the systemd service of the guard",
		Es: "Imprime el servicio de systemd de la guardia",
	}, lang.Text{
		En: "Print the systemd service of the guard, as one shell script that installs it: casco guard units | sh. It starts before the " +
			"engine, so that what the engine starts by itself is held too. Where the policy wants starts held by the wrapper of the runtime, that is installed too.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime el servicio de systemd de la guardia, como un script que lo instala: casco guard units | sh. Arranca antes que el motor, " +
			"para que también se retenga lo que el motor arranca por sí mismo. Donde la política quiere que los retenga el envoltorio del runtime, se instala también.\n\n" +
			"Códigos de salida: 0 impreso, 1 problema.",
	})
}

// runtimeStart is the word of the policy for starts that the wrapper of the
// runtime holds.
const runtimeStart = "runtime"

// wrapperScript installs the wrapper and says to it what stands behind.
const wrapperScript = `# The wrapper of the OCI runtime. The engine is told of it by a change: casco plan --check daemon-runtime-gate.
# Each file takes the place of the old one whole: the engine may call it now.
install -D -m 755 %[1]s /usr/lib/casco/casco-runtime.new && mv -f /usr/lib/casco/casco-runtime.new /usr/lib/casco/casco-runtime
install -d -m 755 /etc/casco
cat >/etc/casco/runtime.json.new <<'END' && mv -f /etc/casco/runtime.json.new /etc/casco/runtime.json
%[2]s
END
`

var errNoRuntime = lang.Errorf(lang.Text{En: "there is no OCI runtime here: runc or crun", Es: "aquí no hay runtime OCI: runc o crun"})

// printWrapper prints what installs the wrapper, which is beside this program.
// Without the guard it lets containers start only if every tier says so, for it
// cannot tell of which tier one is.
func (a *app) printWrapper(p *policy.Policy, self string) error {
	found := gate.Find()
	if len(found) == 0 {
		return errNoRuntime
	}
	wrapper := filepath.Join(filepath.Dir(self), "casco-runtime")
	if _, err := os.Stat(wrapper); err != nil {
		return err
	}
	without := "open"
	for _, t := range p.Tiers {
		if t.WithoutGuard != "open" {
			without = "closed"
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"runtime": found[0], "gate": filepath.Join(a.runPath, "gate.sock"), "without_guard": without,
	}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, wrapperScript, report.Word(wrapper), b)
	return nil
}

// guardScript installs the service. The guard enters the namespaces of
// containers, asks the kernel about each exec of the runtime and reads dockerd's
// files: it is root with few limits, and those that it has cost it nothing.
// KillMode=process leaves the process that answers for a stopped guard to end
// by itself, and one whose place was taken to finish its streams. The store of descriptors has the sockets while the guard is
// restarted. A guard that hangs is told to say where (SIGABRT), and killed 5 s later. Memory and CPU are bounds against a fault:
// the most that callers can have it take, by the room that doors give, was measured at a third of it (make bench-door).
// GOMEMLIMIT has Go clean up before.
const guardScript = `# Files of casco: "casco guard units" wrote them.
cat >/etc/systemd/system/casco-guard.service <<'END'
[Unit]
Description=casco guard: judge requests to the engine, starts and networks of containers (casco help guard)
Before=docker.service
After=docker.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=%[1]s
ExecReload=%[2]s
Restart=always
RestartSec=1s
WatchdogSec=30s
TimeoutAbortSec=5s
KillMode=process
Environment=CASCO_UNIT=%%n
FileDescriptorStoreMax=16
RuntimeDirectory=casco
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
MemoryMax=600M
Environment=GOMEMLIMIT=450MiB
CPUQuota=100%%
OOMScoreAdjust=-900
NoNewPrivileges=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
MemoryDenyWriteExecute=yes
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload && systemctl enable casco-guard.service && systemctl restart casco-guard.service
`
