package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"casco/internal/atomicfile"
	"casco/lang"
	"casco/ledger"
)

func logCheckpointCmd(a *app) *cobra.Command {
	var out string
	cmd := a.manual.verb(&cobra.Command{
		Use: "checkpoint",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			cp, err := b.log.Publish()
			if err != nil {
				return err
			}
			if out != "" {
				return atomicfile.Write(out, cp.Note, 0o644)
			}
			_, err = a.out.Write(cp.Note)
			return err
		},
	}, lang.Text{
		En: "Publish the signed root of the log, to be kept by somebody else",
		Es: "Publica la raíz firmada del registro, para que la guarde otra persona",
	}, lang.Text{
		En: "Publish the signed root of the log, to be kept by somebody else: an older one is the only thing that shows a log that was cut " +
			"short.\n\n" +
			"Exit codes: 0 published, 1 trouble.",
		Es: "Publica la raíz firmada del registro, para que la guarde otra persona: una más antigua es lo único que muestra un registro cortado.\n\n" +
			"Códigos de salida: 0 publicada, 1 problema.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write it to; else standard output", Es: "`ARCHIVO` donde escribirlo; si no, la salida estándar"})
	return cmd
}

func logKeyCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "key",
		RunE: func(*cobra.Command, []string) error {
			key, err := a.logKey()
			if err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"key": key.Public()})
			}
			_, err = fmt.Fprintln(a.out, key.Public())
			return err
		},
	}, lang.Text{
		En: "Print the host's public key, which casco-verify is given", Es: "Imprime la clave pública del anfitrión, que se da a casco-verify",
	}, lang.Text{
		En: "Print the public key of the key with which this host signs its ledger. Note it down when the host is set up, and keep it elsewhere: " +
			"casco log key >host.pub, then casco-verify --key host.pub.\n\n" +
			"Exit codes: 0 printed, 1 trouble.",
		Es: "Imprime la clave pública de la clave con que este anfitrión firma su registro. Anótela al instalar el anfitrión, y guárdela en otro sitio: " +
			"casco log key >host.pub, y luego casco-verify --key host.pub.\n\n" +
			"Códigos de salida: 0 impresa, 1 problema.",
	})
}

func logWitnessCmd(a *app) *cobra.Command {
	var of, key, out, name string
	cmd := a.manual.verb(&cobra.Command{
		Use: "witness",
		RunE: func(cmd *cobra.Command, args []string) error {
			wkey, err := witnessKey(args[0], name)
			if err != nil {
				return err
			}
			if of == "" {
				return a.witnessOwn(cmd.Context(), args[0], wkey)
			}
			log, err := ledger.ParseVerifier(key)
			if err != nil {
				return usage(fmt.Errorf("%s: %w", "--log", err))
			}
			view, err := ledger.Read(of, log)
			if err != nil {
				return err
			}
			line, cp, err := cosign(args[0], wkey, view, log)
			if err != nil {
				return err
			}
			cosigned := append(append([]byte(nil), cp.Note...), line...)
			if out != "" {
				return atomicfile.Write(out, cosigned, 0o644)
			}
			_, err = a.out.Write(cosigned)
			return err
		},
	}, lang.Text{
		En: "Be a witness: cosign the log if it has merely grown since you last saw it",
		Es: "Sea testigo: cofirma el registro si solo ha crecido desde la última vez",
	}, lang.Text{
		En: "Be a witness: cosign the log if it has merely grown since you last saw it, and remember that you did. DIR is the witness's own, " +
			"with its key, which is made the first time: keep it on another machine, or with the auditor.\n\n" +
			"Without --of it is the log of this host, which takes the cosignature over. With --of DIR --log KEY it is a copy of another host's " +
			"log, or its export; the cosigned checkpoint is printed, for casco log witnessed on that host.\n\n" +
			"Exit codes: 0 cosigned, 1 trouble.",
		Es: "Sea testigo: cofirma el registro si solo ha crecido desde la última vez, y recuerda que lo hizo. DIR es del testigo, con su clave, " +
			"que se crea la primera vez: guárdela en otra máquina, o con el auditor.\n\n" +
			"Sin --of es el registro de este anfitrión, que toma la cofirma. Con --of DIR --log CLAVE es una copia del registro de otro " +
			"anfitrión, o su exportación; el punto de control cofirmado se imprime, para casco log witnessed en aquel anfitrión.\n\n" +
			"Códigos de salida: 0 cofirmado, 1 problema.",
	}, aDir)
	f := cmd.Flags()
	f.StringVar(&of, "of", "", "")
	a.manual.flag(f, "of", lang.Text{En: "`DIR` with a copy or an export of another host's log", Es: "`DIR` con una copia o una exportación del registro de otro anfitrión"})
	f.StringVar(&key, "log", "", "")
	a.manual.flag(f, "log", lang.Text{
		En: "public `KEY` of that log, name+id+base64: its host prints it with casco log verify --format json",
		Es: "`CLAVE` pública de ese registro, name+id+base64: su anfitrión la imprime con casco log verify --format json",
	})
	f.StringVar(&name, "name", "", "")
	a.manual.flag(f, "name", lang.Text{
		En: "`NAME` of the witness, when its key is made; else this host's",
		Es: "`NOMBRE` del testigo, al crear su clave; si no, el de este anfitrión",
	})
	f.StringVarP(&out, "output", "o", "", "")
	a.manual.flag(f, "output", lang.Text{
		En: "`FILE` to write the cosigned checkpoint to; else standard output",
		Es: "`ARCHIVO` donde escribir el punto de control cofirmado; si no, la salida estándar",
	})
	return cmd
}

func witnessKey(dir, name string) (*ledger.Key, error) {
	path := filepath.Join(dir, "witness.key")
	if b, err := os.ReadFile(path); err == nil {
		if k, err := ledger.ParseKey(string(trimNewline(b))); err == nil {
			name = k.Name()
		}
	}
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		name = host + "/witness"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return ledger.WitnessKeyFile(path, name)
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

// cosign asks the witness in dir to cosign the newest checkpoint of view.
func cosign(dir string, key *ledger.Key, view *ledger.View, log note.Verifier) ([]byte, ledger.Checkpoint, error) {
	cp := view.Checkpoint()
	w, err := ledger.NewWitness(filepath.Join(dir, "seen"), key, time.Now, log)
	if err != nil {
		return nil, cp, err
	}
	seen, err := w.Seen(cp.Origin)
	if err != nil {
		return nil, cp, err
	}
	if seen.Size > cp.Size {
		return nil, cp, coded{exitFindings, lang.Errorf(lang.Text{
			En: "this witness has cosigned %d entries of %s, and it has only %d: its tail was cut off",
			Es: "este testigo cofirmó %d entradas de %s, y sólo tiene %d: se le cortó el final",
		}, seen.Size, cp.Origin, cp.Size), ""}
	}
	r, err := view.Request(seen.Size)
	if err != nil {
		return nil, cp, err
	}
	line, err := w.Add(r)
	if errors.Is(err, ledger.ErrInconsistent) {
		return nil, cp, coded{exitFindings, lang.Errorf(lang.Text{
			En: "%s is not the log that this witness has seen: %w", Es: "%s no es el registro que este testigo vio: %w",
		}, cp.Origin, err), ""}
	}
	return line, cp, err
}

func (a *app) witnessOwn(ctx context.Context, dir string, key *ledger.Key) error {
	b, err := a.book(ctx)
	if err != nil {
		return err
	}
	own, err := a.logKey()
	if err != nil {
		return err
	}
	view, err := b.log.View()
	if err != nil {
		return err
	}
	line, cp, err := cosign(dir, key, view, own.Verifier())
	if err != nil {
		return err
	}
	if _, err := b.log.Witnessed(cp.Note, line, key.Verifier()); err != nil {
		return err
	}
	fmt.Fprintln(a.out, lang.Text{En: "%d entries cosigned by %s", Es: "%d entradas cofirmadas por %s"}.F(cp.Size, key.Public()).In(a.lang))
	return nil
}

func logWitnessedCmd(a *app) *cobra.Command {
	var key string
	cmd := a.manual.verb(&cobra.Command{
		Use: "witnessed",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := ledger.ParseVerifier(key)
			if err != nil {
				return usage(fmt.Errorf("%s: %w", "--key", err))
			}
			cosigned, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			b, err := a.book(cmd.Context())
			if err != nil {
				return err
			}
			cp, err := b.log.Witnessed(cosigned, nil, v)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, lang.Text{En: "%d entries are witnessed by %s", Es: "%d entradas tienen el testimonio de %s"}.F(cp.Size, v.Name()).In(a.lang))
			return nil
		},
	}, lang.Text{En: "Take over a checkpoint that a witness elsewhere cosigned", Es: "Toma un punto de control que cofirmó un testigo en otra parte"}, lang.Text{
		En: "Take over a checkpoint that a witness elsewhere cosigned.\n\n" +
			"Exit codes: 0 taken over, 1 trouble.",
		Es: "Toma un punto de control que cofirmó un testigo en otra parte.\n\n" +
			"Códigos de salida: 0 tomado, 1 problema.",
	}, aFile)
	cmd.Flags().StringVar(&key, "key", "", "")
	a.manual.flag(cmd.Flags(), "key", lang.Text{En: "public `KEY` of the witness, name+id+base64", Es: "`CLAVE` pública del testigo, name+id+base64"})
	return cmd
}
