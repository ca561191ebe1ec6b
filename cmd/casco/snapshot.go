package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
)

func snapshotCmd(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write what was read to a file that every reading verb takes in place of a host",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if out == "" || out == "-" {
				return l.snapshot.Write(a.out)
			}
			var b bytes.Buffer
			if err := l.snapshot.Write(&b); err != nil {
				return err
			}
			return atomicfile.Write(out, b.Bytes(), 0o600)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	return cmd
}
