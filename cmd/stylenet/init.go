package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"stylenet/configs"
)

type initOptions struct {
	output string
}

func newInitCmd() *cobra.Command {
	o := &initOptions{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented configuration to begin with",
		Long: `Write a configuration in which every key is explained. Set data.dir to a
folder of photos and style.image to a painting, and train. A file that exists
is never overwritten.`,
		Example: `  stylenet init
  stylenet init -o styles/starry.yaml`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "stylenet.yaml", "the file to write")
	completeFiles(cmd, "output", "yaml", "yml")
	return cmd
}

func (o *initOptions) run(cmd *cobra.Command) error {
	if o.output == "" {
		return usagef(cmd, "no output: name a file with -o")
	}
	if err := inFolder(o.output, o.write); err != nil {
		return err
	}
	say(cmd, "wrote %s\nnext: set data.dir and style.image in it, then: stylenet train %s --out runs/first", o.output, o.output)
	return nil
}

func (o *initOptions) write() error {
	// O_EXCL, and not a look beforehand: nothing may come between.
	f, err := os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return &hinted{fmt.Errorf("%s exists and is not overwritten", o.output), "name another file with -o"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(configs.Starter())
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(o.output))
	}
	return nil
}
