package main

import (
	"bytes"
	"errors"

	"github.com/spf13/cobra"

	"casco/internal/atomicfile"
)

func snapshotCmd(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write what was read to a file that every reading verb takes in place of a host",
		Long: "Write what was read to a file that every reading verb takes in place of a host. Nothing is changed.\n\n" +
			"Exit codes: 0 written, 1 trouble: an engine that could not be read is a gap in what was written.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := l.read.Write(&b); err != nil {
				return err
			}
			if out == "" || out == "-" {
				_, err = b.WriteTo(a.out)
			} else {
				err = atomicfile.Write(out, b.Bytes(), 0o600)
			}
			return errors.Join(err, l.trouble)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write (default: standard output)")
	a.deepFlag(cmd)
	return cmd
}
