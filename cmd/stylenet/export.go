package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/checkpoint"
)

// exportFormat is a kind of model file.
type exportFormat struct {
	name  string // also the extension, without its dot
	write func(path string, m *export.Model) error
}

func exportFormats() []exportFormat {
	return []exportFormat{{"safetensors", export.Safetensors}, {"onnx", export.ONNX}}
}

func exportFormatNames() []string {
	var names []string
	for _, f := range exportFormats() {
		names = append(names, f.name)
	}
	return names
}

type exportOptions struct {
	output string
	format string
	json   bool
}

// exportReport is what --json prints.
type exportReport struct {
	Source       string `json:"source"`
	Output       string `json:"output"`
	Format       string `json:"format"`
	Architecture string `json:"architecture"`
	Parameters   int    `json:"parameters"`
	Bytes        int64  `json:"bytes"`
}

func newExportCmd() *cobra.Command {
	o := &exportOptions{}
	cmd := &cobra.Command{
		Use:   "export RUN|CHECKPOINT|MODEL -o FILE",
		Short: "Write a trained network as a model file",
		Long: `Write the network of a run (its newest checkpoint that is whole), of one
checkpoint or of a model file (.safetensors or PyTorch's .pth) as a model file:

  safetensors   stylenet's own, with PyTorch's names of the tensors
  onnx          opset 17, for ONNX Runtime and others; batch, height and width
                are free, input and output are RGB from 0 to 255

The format follows from the extension of FILE. FILE is written whole or not at
all.`,
		Example: `  stylenet export runs/starry -o starry.safetensors
  stylenet export runs/starry/checkpoints/step-00001000 -o early.onnx
  stylenet export downloaded.pth -o model.bin --format onnx`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "the file to write (required)")
	cmd.Flags().StringVar(&o.format, "format", "", strings.Join(exportFormatNames(), " or ")+" (default: the extension of FILE)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print what was written as JSON")
	completeFiles(cmd, "output", exportFormatNames()...)
	complete(cmd, "format", exportFormatNames()...)
	return cmd
}

func (o *exportOptions) run(cmd *cobra.Command, source string) error {
	if o.output == "" {
		return usagef(cmd, "no output: name a file with -o")
	}
	format, err := o.chooseFormat(cmd)
	if err != nil {
		return err
	}
	if sameFile(source, o.output) {
		return fmt.Errorf("%s is the input, which is never overwritten", o.output)
	}
	m, err := loadModel(cmd, source)
	if err != nil {
		return err
	}
	if err := format.write(o.output, m); err != nil {
		return err
	}
	info, err := os.Stat(o.output)
	if err != nil {
		return err
	}
	r := exportReport{source, o.output, format.name, m.Network.String(), m.Weights.Elements(), info.Size()}
	if o.json {
		return printJSON(cmd, r)
	}
	say(cmd, "wrote %s: %s, %d parameters, %.1f MiB", r.Output, r.Architecture, r.Parameters, float64(r.Bytes)/(1<<20))
	return nil
}

func (o *exportOptions) chooseFormat(cmd *cobra.Command) (exportFormat, error) {
	name := strings.ToLower(o.format)
	if o.format == "" {
		name = strings.ToLower(strings.TrimPrefix(filepath.Ext(o.output), "."))
	}
	for _, f := range exportFormats() {
		if f.name == name {
			return f, nil
		}
	}
	known := strings.Join(exportFormatNames(), ", ")
	if o.format != "" {
		return exportFormat{}, usagef(cmd, "--format %q is none of %s", o.format, known)
	}
	return exportFormat{}, &usageError{fmt.Errorf("the extension of %s tells none of the formats %s", o.output, known), "name the format with --format"}
}

// loadModel reads a model file, or the model of a run or checkpoint.
func loadModel(cmd *cobra.Command, path string) (*export.Model, error) {
	if export.IsModel(path) {
		return export.Load(path)
	}
	m, warnings, err := export.LoadRun(path)
	for _, w := range warnings {
		warn(cmd, "%s", w)
	}
	if errors.Is(err, checkpoint.ErrNone) {
		return nil, &hinted{fmt.Errorf("%s holds no checkpoint", path), "name the run directory of stylenet train --out, which has checkpoints/ in it"}
	}
	return m, err
}

// sameFile tells whether two paths lead to one file that exists.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
