package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"casco/lang"
)

func guardUnitsCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "units",
		RunE: func(*cobra.Command, []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			state, err := filepath.Abs(a.statePath)
			if err != nil {
				return err
			}
			line := []string{self, "--state", state}
			if a.host != "" {
				line = append(line, "--host", a.host)
			}
			fmt.Fprintf(a.out, guardScript, unitWords(append(line, "guard", "--run", a.runPath)))
			a.tell(lang.Text{En: "to install: casco guard units | sh", Es: "para instalar: casco guard units | sh"})
			return nil
		},
	}, lang.Text{
		En: "Print the systemd service of the guard",
		Es: "Imprime el servicio de systemd de la guardia",
	}, lang.Text{
		En: "Print the systemd service of the guard, as one shell script that installs it: casco guard units | sh. It starts before the " +
			"engine, so that what the engine starts by itself is held too.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime el servicio de systemd de la guardia, como un script que lo instala: casco guard units | sh. Arranca antes que el motor, " +
			"para que también se retenga lo que el motor arranca por sí mismo.\n\n" +
			"Códigos de salida: 0 impreso, 1 problema.",
	})
}

// guardScript installs the service. The guard enters the namespaces of
// containers, asks the kernel about each exec of the runtime and reads dockerd's
// files: it is root with few limits, and those that it has cost it nothing.
// KillMode=process leaves the process that answers for a stopped guard to end
// by itself. Memory and CPU are bounds against a fault, ten times what was
// measured.
const guardScript = `# Files of casco: "casco guard units" wrote them.
cat >/etc/systemd/system/casco-guard.service <<'END'
[Unit]
Description=casco: keep the networks of containers apart
Documentation=man:casco(1)
Before=docker.service
[Service]
Type=notify
NotifyAccess=main
ExecStart=%s
Restart=always
RestartSec=1s
WatchdogSec=30s
KillMode=process
RuntimeDirectory=casco
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
MemoryMax=600M
CPUQuota=100%%%%
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
systemctl daemon-reload && systemctl enable --now casco-guard.service
`
