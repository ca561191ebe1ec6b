package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"casco/api"
	"casco/lang"
	"casco/state"
)

// newRoot builds the command line. The verbs stand in the order of the loop.
func newRoot(a *app) *cobra.Command {
	a.lang = lang.Parse(firstSet(os.Getenv("CASCO_LANG"), os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")))
	cobra.EnableCommandSorting = false
	root := a.manual.verb(
		&cobra.Command{
			Use:           "casco",
			Version:       version,
			SilenceErrors: true,
			SilenceUsage:  true,
			PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
				return a.checkFlags(cmd)
			},
			RunE: a.noVerb,
		},
		lang.Text{
			En: "Harden this Docker host: read, judge, plan, approve, apply, prove, take back",
			Es: "Refuerza este anfitrión Docker: leer, juzgar, planificar, aprobar, aplicar, probar, revertir",
		},
		lang.Text{
			En: "Harden this Docker host: read, judge, plan, approve, apply, prove, take back.\n" +
				"To begin: casco doctor says what works here, casco audit what is wrong. Neither changes anything.\n\n" +
				"Exit codes: 0 clean or done, 1 trouble, 2 wrong words, 3 findings or drift, 4 refused, 5 changes pending.",
			Es: "Refuerza este anfitrión Docker: leer, juzgar, planificar, aprobar, aplicar, probar, revertir.\n" +
				"Para empezar: casco doctor dice qué funciona aquí, casco audit qué está mal. Ninguno cambia nada.\n\n" +
				"Códigos de salida: 0 limpio o hecho, 1 problema, 2 palabras equivocadas, 3 hallazgos o deriva, 4 rechazado, 5 cambios pendientes.",
		},
	)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetVersionTemplate("casco " + version + "\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	a.globalFlags(root.PersistentFlags())
	root.AddCommand(
		auditCmd(a), lintCmd(a), snapshotCmd(a), riskCmd(a), exceptionCmd(a), planCmd(a), submitCmd(a), approveCmd(a), applyCmd(a), confirmCmd(a), ratifyCmd(a), rollbackCmd(a), awaitCmd(a),
		driftCmd(a), policyCmd(a), changesCmd(a), runCmd(a), guardCmd(a), netCmd(a), imageCmd(a), whoCmd(a), reportCmd(a), sampleCmd(a), logCmd(a), dbCmd(a), labCmd(a), benchCmd(a), doctorCmd(a),
	)
	root.SetHelpCommand(a.helpCmd(root))
	return root
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVarP(&a.host, "host", "H", "", "")
	f.StringVar(&a.statePath, "state", firstSet(os.Getenv("CASCO_STATE"), state.Default), "")
	f.StringVar(&a.runPath, "run", firstSet(os.Getenv("CASCO_RUN"), api.DefaultRun), "")
	f.StringVar(&a.langFlag, "lang", "", "")
	f.StringVar(&a.format, "format", "text", "")
	f.BoolVar(&a.yes, "yes", false, "")
	f.StringVar(&a.snapshot, "snapshot", "", "")
	f.StringVar(&a.policyPath, "policy", "", "")
	a.manual.flag(f, "policy", lang.Text{
		En: "judge by this policy, a `FILE` or a folder, in place of the one in force (nothing is changed by it)",
		Es: "juzga por esta política, un `ARCHIVO` o una carpeta, en lugar de la que está en vigor (no cambia nada)",
	})
	a.manual.flag(f, "host", lang.Text{
		En: "`ADDRESS` of the engine: unix:///path, /path or tcp://host:port; else DOCKER_HOST, the docker context, the system's socket",
		Es: "`DIRECCIÓN` del motor: unix:///ruta, /ruta o tcp://anfitrión:puerto; si no, DOCKER_HOST, el contexto de docker, el socket del sistema",
	})
	a.manual.flag(f, "state", lang.Text{En: "`DIR` in which casco keeps its record of changes", Es: "`DIR` donde casco guarda su registro de cambios"})
	a.manual.flag(f, "run", lang.Text{En: "`DIR` of the guard's sockets", Es: "`DIR` de los sockets de la guardia"})
	a.manual.flag(f, "lang", lang.Text{En: "`LANGUAGE`: en or es; else that of the locale", Es: "`IDIOMA`: en o es; si no, el de la configuración regional"})
	a.manual.flag(f, "format", lang.Text{En: "`FORMAT`: text or json", Es: "`FORMATO`: text o json"})
	a.manual.flag(f, "yes", lang.Text{En: "do not ask", Es: "no preguntar"})
	a.manual.flag(f, "snapshot", lang.Text{En: "judge this `FILE`, which casco snapshot wrote, in place of a host", Es: "juzga este `ARCHIVO`, escrito por casco snapshot, en lugar de un anfitrión"})
}

// noVerb is casco without a verb: the help, unless there are flags that wanted
// one. "casco -H audit" takes audit for an address.
func (a *app) noVerb(cmd *cobra.Command, _ []string) error {
	given := ""
	cmd.Flags().Visit(func(f *pflag.Flag) { given = f.Name })
	if given == "" || given == "lang" {
		return cmd.Help()
	}
	hint := command("--help")
	if c, _, err := cmd.Find([]string{a.host}); err == nil && c != cmd {
		hint = command("-H", "unix:///var/run/docker.sock", a.host)
	}
	return coded{exitUsage, lang.Errorf(lang.Text{En: "--%s is given, and no verb", Es: "se dio --%s, y ningún verbo"}, given), hint}
}

func (a *app) helpCmd(root *cobra.Command) *cobra.Command {
	cmd := a.manual.verb(&cobra.Command{
		Use: "help",
		RunE: func(_ *cobra.Command, args []string) error {
			of, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return a.manual.wants(root, nil, args)
			}
			a.help(of)
			return nil
		},
	}, lang.Text{En: "What a verb does", Es: "Qué hace un verbo"}, lang.Text{})
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// formats are those of every verb.
var formats = []string{"text", "json"}

func (a *app) checkFlags(cmd *cobra.Command) error {
	switch a.langFlag {
	case "":
	case "en", "es":
		a.lang = lang.Lang(a.langFlag)
	default:
		return usage(lang.Errorf(lang.Text{En: "--lang is en or es, not %q", Es: "--lang es en o es, no %q"}, a.langFlag))
	}
	all := slices.Concat(formats, a.formats[cmd])
	if !slices.Contains(all, a.format) {
		others, last := strings.Join(all[:len(all)-1], ", "), all[len(all)-1]
		return usage(lang.Errorf(lang.Text{En: "--format is %s or %s, not %q", Es: "--format es %s o %s, no %q"}, others, last, a.format))
	}
	return nil
}

// langOf is the language that args ask for, before anything has read them: what
// is wrong with them is said in it too.
func langOf(args []string, otherwise lang.Lang) lang.Lang {
	for i, arg := range args {
		value, joined := strings.CutPrefix(arg, "--lang=")
		if arg == "--lang" && i+1 < len(args) {
			value, joined = args[i+1], true
		}
		if joined && (value == "en" || value == "es") {
			otherwise = lang.Lang(value)
		}
	}
	return otherwise
}

func firstSet(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}
