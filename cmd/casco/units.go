package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/lang"
)

func unitsCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "units",
		RunE: func(*cobra.Command, []string) error {
			p, err := a.policy()
			if err != nil {
				return err
			}
			line, err := a.unitLine()
			if err != nil {
				return err
			}
			every := time.Duration(p.Operations.Every)
			fmt.Fprintf(a.out, unitScript, unitWords(append(line, "run")), int(every.Seconds()), int(every.Seconds())/20)
			a.tell(lang.Text{En: "to install: casco run units | sh", Es: "para instalar: casco run units | sh"})
			return nil
		},
	}, lang.Text{
		En: "Print the systemd service and timer that turn the loop",
		Es: "Imprime el servicio y el temporizador de systemd que dan vuelta al ciclo",
	}, lang.Text{
		En: "Print the systemd service and timer that turn the loop, as one shell script that installs them: casco run units | sh. The timer " +
			"makes up for a run that was missed while the machine was off.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime el servicio y el temporizador de systemd que dan vuelta al ciclo, como un script que los instala: casco run units | sh. El " +
			"temporizador recupera la ejecución perdida mientras la máquina estaba apagada.\n\n" +
			"Códigos de salida: 0 impresos, 1 problema.",
	})
}

// unitLine is how a unit begins to call this program, as it was called here.
func (a *app) unitLine() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	state, err := filepath.Abs(a.statePath)
	if err != nil {
		return nil, err
	}
	line := []string{self, "--state", state}
	if a.host != "" {
		line = append(line, "--host", a.host)
	}
	return line, nil
}

// unitWords is a command line as a unit file has it: a word in quotes, "%" and
// "$" doubled (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS).
func unitWords(words []string) string {
	special := strings.NewReplacer("%", "%%", "$", "$$")
	var out []string
	for _, w := range words {
		out = append(out, special.Replace(strconv.Quote(w)))
	}
	return strings.Join(out, " ")
}

// unitScript installs the units. The service may write where casco keeps its
// record and what its hands change; it takes back unconfirmed changes, so it
// needs the same rights as a person who applies one. A timer with OnUnitActiveSec
// keeps the interval, Persistent= would want calendar times.
const unitScript = `# Files of casco: "casco run units" wrote them.
cat >/etc/systemd/system/casco.service <<'END'
[Unit]
Description=casco: read, judge and record this Docker host
After=docker.service
[Service]
Type=oneshot
ExecStart=%s
Nice=10
TimeoutStartSec=15min
NoNewPrivileges=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
MemoryDenyWriteExecute=yes
END
cat >/etc/systemd/system/casco.timer <<'END'
[Unit]
Description=casco turns its loop
[Timer]
OnBootSec=5min
OnUnitActiveSec=%ds
RandomizedDelaySec=%ds
[Install]
WantedBy=timers.target
END
systemctl daemon-reload && systemctl enable --now casco.timer
`
