package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"casco/lang"
	"casco/state"
)

// newRoot builds the command line. The verbs stand in the order of the loop.
func newRoot(a *app) *cobra.Command {
	a.lang = lang.Parse(firstSet(os.Getenv("CASCO_LANG"), os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")))
	root := &cobra.Command{
		Use:           "casco",
		Short:         "Harden this Docker host: read, judge, plan, approve, apply, prove, take back",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.checkFlags()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	f := root.PersistentFlags()
	f.StringVarP(&a.host, "host", "H", "", "engine to use: unix:///path or tcp://host:port (default: DOCKER_HOST, the docker context, the system's socket)")
	f.StringVar(&a.statePath, "state", firstSet(os.Getenv("CASCO_STATE"), state.Default), "where casco keeps its record of changes")
	f.StringVar(&a.langFlag, "lang", "", "language: en or es (default: from the locale)")
	f.StringVar(&a.format, "format", "text", "text or json")
	f.BoolVar(&a.yes, "yes", false, "do not ask")
	f.StringVar(&a.snapshot, "snapshot", "", "judge this snapshot file in place of a host")
	f.StringVar(&a.policyPath, "policy", "", "judge by this policy, a file or a folder, in place of the one in force (nothing is changed by it)")
	root.AddCommand(
		auditCmd(a), snapshotCmd(a), riskCmd(a), exceptionCmd(a), planCmd(a), submitCmd(a), approveCmd(a), applyCmd(a), confirmCmd(a), ratifyCmd(a), rollbackCmd(a), awaitCmd(a),
		driftCmd(a), policyCmd(a), changesCmd(a), runCmd(a), reportCmd(a), sampleCmd(a), logCmd(a), labCmd(a), doctorCmd(a),
	)
	for _, c := range root.Commands() {
		wrongArgs(c)
	}
	return root
}

// wrongArgs makes a wrong number of words a usage error, of c and below.
func wrongArgs(c *cobra.Command) {
	for _, sub := range c.Commands() {
		wrongArgs(sub)
	}
	args := c.Args
	if args == nil {
		return
	}
	c.Args = func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return usage(fmt.Errorf("%s: %w", cmd.Name(), err))
		}
		return nil
	}
}

func (a *app) checkFlags() error {
	switch a.langFlag {
	case "":
	case "en", "es":
		a.lang = lang.Lang(a.langFlag)
	default:
		return usage(lang.Errorf(lang.Text{En: "--lang is en or es, not %q", Es: "--lang es en o es, no %q"}, a.langFlag))
	}
	if !slices.Contains([]string{"text", "json"}, a.format) {
		return usage(lang.Errorf(lang.Text{En: "--format is text or json, not %q", Es: "--format es text o json, no %q"}, a.format))
	}
	return nil
}

func firstSet(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}
