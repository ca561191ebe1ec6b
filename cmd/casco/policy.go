package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"casco/api"
	"casco/internal/atomicfile"
	"casco/lang"
	"casco/policy"
	"casco/policy/folder"
	"casco/report"
	"casco/signed"
	"casco/store"
)

func policyCmd(a *app) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use:  "policy",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}, lang.Text{
		En: "What the organisation wants: check, sign, take into force, explain",
		Es: "Lo que la organización quiere: comprobar, firmar, poner en vigor, explicar",
	}, lang.Text{
		En: "What the organisation wants of its hosts, in a file or a folder of its own version control: persons and roles, tiers and crossings, " +
			"what has its place on a host, tailoring of checks, due dates, rules of changes and exceptions. Without one a built-in policy holds: " +
			"casco policy show.",
		Es: "Lo que la organización quiere de sus anfitriones, en un archivo o una carpeta de su propio control de versiones: personas y " +
			"papeles, niveles y cruces, qué tiene su lugar en un anfitrión, ajuste de comprobaciones, plazos, reglas de cambios y excepciones. " +
			"Sin ella rige una incorporada: casco policy show.",
	})
	cmd.AddCommand(policyInitCmd(a), policyLintCmd(a), policySignCmd(a), policyLoadCmd(a), policyShowCmd(a), policyExplainCmd(a), policySchemaCmd(a))
	return cmd
}

func policyLintCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "lint",
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := folder.Read(args[0])
			if err != nil {
				return err
			}
			p, problems := lintPolicy(s)
			if a.format == "json" {
				err = a.json(map[string]any{"problems": append([]policy.Problem{}, problems...)})
			} else {
				a.printProblems(a.out, problems)
			}
			if err == nil && policy.Refused(problems) {
				return quiet(exitFindings)
			}
			if err == nil && a.format != "json" {
				fmt.Fprintln(a.out, lang.Text{En: "%s is in order", Es: "%s está en orden"}.F(p.Metadata).In(a.lang))
			}
			return err
		},
	}, lang.Text{En: "Say all that is wrong with a policy, with line and column", Es: "Dice todo lo que está mal en una política, con línea y columna"}, lang.Text{
		En: "Say all that is wrong with a policy, with line and column. The examples of own checks are run.\n\n" +
			"Exit codes: 0 in order (there may be warnings), 1 trouble, 3 it would be refused.",
		Es: "Dice todo lo que está mal en una política, con línea y columna. Se corren los ejemplos de las comprobaciones propias.\n\n" +
			"Códigos de salida: 0 en orden (puede haber advertencias), 1 problema, 3 sería rechazada.",
	}, aPath)
}

// printProblems prints what is wrong, a line each, as compilers do.
func (a *app) printProblems(w io.Writer, problems []policy.Problem) {
	for _, p := range problems {
		fmt.Fprintln(w, report.Clean(p.In(a.lang)))
	}
}

func policySignCmd(a *app) *cobra.Command {
	var key string
	cmd := a.manual.verb(&cobra.Command{
		Use: "sign",
		RunE: func(_ *cobra.Command, args []string) error {
			if key == "" {
				return usage(lang.Errorf(lang.Text{En: "--key PATH: with which key?", Es: "--key RUTA: ¿con qué clave?"}))
			}
			s, p, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			signer, err := a.keyFrom(key)
			if err != nil {
				return err
			}
			who := p.Owner(signer.Key())
			if who == nil || !who.Has(policy.Steward) {
				return refused(lang.Errorf(lang.Text{
					En: "%s is no steward's key in this policy", Es: "%s no es la clave de un steward en esta política",
				}, signer.Key().Fingerprint()), command("policy", "lint", args[0]))
			}
			sig, err := signer.Sign(signed.Policy, p.Message)
			if err != nil {
				return err
			}
			if err := atomicfile.Write(s.SignedIn, sig, 0o644); err != nil {
				return err
			}
			if a.format == "json" {
				return a.json(map[string]any{"signature": s.SignedIn, "digest": p.Digest, "signed_by": who.ID, "key": signer.Key().Fingerprint()})
			}
			fmt.Fprintln(a.out, lang.Text{En: "%s signed by %s: %s", Es: "%s firmada por %s: %s"}.F(p.Metadata, who.ID, s.SignedIn).In(a.lang))
			return nil
		},
	}, lang.Text{En: "Sign a policy as a steward", Es: "Firma una política como steward"}, lang.Text{
		En: "Sign a policy as a steward, with an SSH key. The signature is kept beside the file (PATH.sig), or in the folder (policy.sig). It is " +
			"what ssh-keygen -Y sign -n casco-policy makes; of a folder, of its manifest.\n\n" +
			"Exit codes: 0 signed, 1 trouble, 4 refused: it is not in order, or the key is no steward's.",
		Es: "Firma una política como steward, con una clave SSH. La firma queda junto al archivo (RUTA.sig), o en la carpeta (policy.sig). Es la " +
			"que hace ssh-keygen -Y sign -n casco-policy; de una carpeta, la de su manifiesto.\n\n" +
			"Códigos de salida: 0 firmada, 1 problema, 4 rechazada: no está en orden, o la clave no es de un steward.",
	}, aPath)
	cmd.Flags().StringVar(&key, "key", "", "")
	a.manual.flag(cmd.Flags(), "key", lang.Text{
		En: "`FILE` of a private SSH key, or of a public one whose private half an SSH agent holds",
		Es: "`ARCHIVO` de una clave SSH privada, o de una pública cuya mitad privada guarda un agente SSH",
	})
	return cmd
}

func policyLoadCmd(a *app) *cobra.Command {
	var trust string
	cmd := a.manual.verb(&cobra.Command{
		Use: "load",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.loadPolicy(cmd.Context(), args[0], trust)
		},
	}, lang.Text{En: "Take a policy into force on this host, or refuse it", Es: "Pone una política en vigor en este anfitrión, o la rechaza"}, lang.Text{
		En: "Take a policy into force on this host. It is copied: what happens to PATH later changes nothing. One that is refused leaves the one " +
			"in force as it is. A host takes no lower version, no other policy of the same version, and once one was signed none that a steward " +
			"of the policy in force did not sign. The first signed one needs --trust. Loading the same policy again takes in exceptions that " +
			"were added or taken away.\n\n" +
			"Exit codes: 0 taken, 1 trouble, 4 refused.",
		Es: "Pone una política en vigor en este anfitrión. Se copia: lo que pase después con RUTA no cambia nada. Una rechazada deja la que está " +
			"en vigor como está. Un anfitrión no toma una versión menor, ni otra política de la misma versión, ni, una vez que hubo una firmada, " +
			"ninguna que no firme un steward de la que está en vigor. La primera firmada necesita --trust. Cargar otra vez la misma política " +
			"incorpora excepciones añadidas o quitadas.\n\n" +
			"Códigos de salida: 0 puesta en vigor, 1 problema, 4 rechazada.",
	}, aPath)
	cmd.Flags().StringVar(&trust, "trust", "", "")
	a.manual.flag(cmd.Flags(), "trust", lang.Text{
		En: "`KEY` that you vouch for, of the first signed policy: SHA256:…, or a file with the public key",
		Es: "`CLAVE` por la que usted responde, de la primera política firmada: SHA256:…, o un archivo con la clave pública",
	})
	return cmd
}

func (a *app) loadPolicy(ctx context.Context, path, trust string) error {
	unlock, err := a.state().Lock()
	if err != nil {
		return err
	}
	defer unlock()
	now, err := a.takenPolicy()
	if o, _ := a.orderedPolicy(); o.lost() {
		now, err = o.InForce, nil // that is what the next one must follow
	}
	if err != nil {
		return err
	}
	s, p, err := a.readPolicy(path)
	if err != nil {
		return err
	}
	c := policy.Candidate{Policy: p, Signature: s.Signature}
	if trust != "" {
		if c.Trust, err = trustedKey(p, trust); err != nil {
			return err
		}
	}
	at := time.Now().UTC()
	f, err := policy.Accept(now, c, at)
	if err != nil {
		a.tried(a.note(ctx, policyEvent(p, policy.Signature{}, "refused", err.Error())))
		return refused(lang.Errorf(lang.Text{En: "%s: %w", Es: "%s: %w"}, path, err), a.loadHint(path, s, now, at))
	}
	if err := a.keeper().Keep(f, s); err != nil {
		return err
	}
	a.tried(a.notePolicy(ctx, now.At(at), f, at))
	return errors.Join(a.printLoaded(p, f), a.reloadGuard(ctx))
}

// reloadGuard makes a guard that is at work go by the policy in force now.
func (a *app) reloadGuard(ctx context.Context) error {
	client := api.NewClient(a.runPath)
	err := client.Reload(ctx)
	if errors.Is(err, api.ErrNoGuard) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := client.Status(ctx)
	if err == nil && st.PolicyTrouble != nil {
		err = lang.Errorf(lang.Text{
			En: "the guard does not go by it (%s): %s", Es: "la guardia no se rige por ella (%s): %s",
		}, st.PolicyTrouble.What, st.PolicyTrouble.Why)
	}
	return err
}

// loadHint is what to do about a refusal, where that is one command.
func (a *app) loadHint(path string, s *folder.Source, now *policy.InForce, at time.Time) string {
	switch {
	case s.Signature == nil:
		return command("policy", "sign", path, "--key", "~/.ssh/id_ed25519")
	case !now.At(at).Signed():
		return command("policy", "load", path) + " --trust SHA256:…"
	}
	return command("policy", "show")
}

// trustedKey is the key that somebody vouches for: by its fingerprint, which
// must be that of a person of p, or in a file.
func trustedKey(p *policy.Policy, trust string) (signed.Key, error) {
	if strings.HasPrefix(trust, "SHA256:") {
		for _, person := range p.People {
			for _, line := range person.Keys {
				if k, _, err := signed.ParseKey(line); err == nil && k.Fingerprint() == trust {
					return k, nil
				}
			}
		}
		return signed.Key{}, refused(lang.Errorf(lang.Text{En: "%s is nobody's key in this policy", Es: "%s no es la clave de nadie en esta política"}, trust), "")
	}
	b, err := os.ReadFile(trust)
	if err != nil {
		return signed.Key{}, err
	}
	k, _, err := signed.ParseKey(string(b))
	if err != nil {
		return k, fmt.Errorf("%s: %w", trust, err)
	}
	return k, nil
}

func policyEvent(p *policy.Policy, by policy.Signature, state, why string) store.Policy {
	return store.Policy{Name: p.Metadata.Name, Version: p.Metadata.Version, Digest: p.Digest, Signer: by.Person, Key: by.Key, State: state, Why: why}
}

// notePolicy writes down what came into force, or will, and what it takes the
// place of.
func (a *app) notePolicy(ctx context.Context, was, f *policy.InForce, at time.Time) error {
	taken, state, why := f, "in-force", ""
	if f.Next != nil {
		taken, state, why = f.Next, "taken", "in force from "+f.Next.Policy.Metadata.Effective.String()
	}
	events := []store.Event{policyEvent(taken.Policy, taken.Signature, state, why)}
	if f.Next == nil && was.Policy.Digest != f.Policy.Digest {
		events = append(events, policyEvent(was.Policy, was.Signature, "superseded", "by "+f.Policy.Metadata.String()+" at "+at.Format(time.RFC3339)))
	}
	return a.note(ctx, events...)
}

func (a *app) printLoaded(p *policy.Policy, f *policy.InForce) error {
	if a.format == "json" {
		return a.json(rulingOf(f, time.Now()))
	}
	signedBy := lang.Text{En: "not signed", Es: "sin firma"}
	taken := f
	if f.Next != nil && f.Next.Policy.Digest == p.Digest {
		taken = f.Next
	}
	if taken.Signed() {
		signedBy = lang.Text{En: "signed by %s", Es: "firmada por %s"}.F(taken.Signature.Person)
	}
	text := lang.Text{En: "%s is in force, %s", Es: "%s está en vigor, %s"}
	if taken != f {
		text = lang.Text{En: "%s is taken, %s, and comes into force on " + p.Metadata.Effective.String(), Es: "%s está tomada, %s, y entra en vigor el " + p.Metadata.Effective.String()}
	}
	fmt.Fprintln(a.out, report.Clean(text.F(p.Metadata, signedBy.In(a.lang)).In(a.lang)))
	return nil
}

func policyInitCmd(a *app) *cobra.Command {
	var out string
	cmd := a.manual.verb(&cobra.Command{
		Use: "init",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if l.trouble != nil {
				a.tell(lang.Text{En: "the host was not wholly read: %v", Es: "el anfitrión no se leyó entero: %v"}, l.trouble)
			}
			b := policy.Init(foundOn(l), a.lang)
			if out == "" || out == "-" {
				_, err := a.out.Write(b)
				return err
			}
			if _, err := os.Lstat(out); err == nil {
				return refused(lang.Errorf(lang.Text{En: "%s is there already", Es: "%s ya existe"}, out), "")
			}
			return atomicfile.Write(out, b, 0o644)
		},
	}, lang.Text{En: "Write a first policy from what this host runs", Es: "Escribe una primera política a partir de lo que corre este anfitrión"}, lang.Text{
		En: "Write a first policy from what this host runs, with comments. It changes no verdict: what was found stands in lines that count once " +
			"somebody takes their mark away.\n\n" +
			"Exit codes: 0 written, 1 trouble, 4 the file is there already.",
		Es: "Escribe una primera política a partir de lo que corre este anfitrión, con comentarios. No cambia ningún veredicto: lo hallado está " +
			"en líneas que cuentan cuando alguien les quita la marca.\n\n" +
			"Códigos de salida: 0 escrita, 1 problema, 4 el archivo ya existe.",
	})
	cmd.Flags().StringVarP(&out, "output", "o", "", "")
	a.manual.flag(cmd.Flags(), "output", lang.Text{En: "`FILE` to write; else standard output", Es: "`ARCHIVO` que escribir; si no, la salida estándar"})
	return cmd
}

func policySchemaCmd(a *app) *cobra.Command {
	return a.manual.verb(&cobra.Command{
		Use: "schema",
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(policy.Schema())
			return err
		},
	}, lang.Text{En: "Print the JSON Schema of a policy, for editors", Es: "Imprime el JSON Schema de una política, para editores"}, lang.Text{
		En: "Print the JSON Schema of a policy, for editors.\n\n" +
			"Exit codes: 0 printed.",
		Es: "Imprime el JSON Schema de una política, para editores.\n\n" +
			"Códigos de salida: 0 impreso.",
	})
}
