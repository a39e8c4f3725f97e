package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stylenet/export"
	"stylenet/internal/formats"
	"stylenet/internal/model"
)

type importOptions struct {
	output string
	json   bool
}

// importReport is what --json prints.
type importReport struct {
	Source       string `json:"source"`
	Output       string `json:"output"`
	Kind         string `json:"kind"`
	Convention   string `json:"convention"`
	Why          string `json:"why"`
	Architecture string `json:"architecture"`
	Parameters   int    `json:"parameters"`
	Bytes        int64  `json:"bytes"`
}

func newImportCmd() *cobra.Command {
	o := &importOptions{}
	cmd := &cobra.Command{
		Use:   "import FILE -o MODEL.safetensors",
		Short: "Take over a style network that another system trained",
		Long: `Read the style network of another system and write it as a model file of
stylenet's own, which takes and gives RGB 0 to 255 and says so:

  PyTorch examples, gordicaleksa's variant   .pth, .model (state_dict, also old)
  ONNX                                       of the operators of style networks
  lengstrom                                  a checkpoint of TensorFlow: its .index,
                                             its .ckpt or its folder; or a folder
                                             of variables with a manifest.json

stylize, export and inspect read these files too: importing saves the flag
--convention, the time to read them, and the files beside a checkpoint.

` + conventionHelp,
		Example: `  stylenet import candy.onnx -o candy.safetensors
  stylenet import checkpoints/wave -o wave.safetensors
  stylenet import mine.pth --convention torchvision:rgb-1 -o mine.safetensors`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "the file to write (required)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print what was read and written as JSON")
	addConvention(cmd)
	completeFiles(cmd, "output", "safetensors")
	return cmd
}

func (o *importOptions) run(cmd *cobra.Command, source string) error {
	if o.output == "" {
		return usagef(cmd, "no output: name a file with -o")
	}
	if extension := strings.ToLower(filepath.Ext(o.output)); extension != ".safetensors" {
		return &usageError{fmt.Errorf("%s is no .safetensors file, which is what import writes", o.output), "stylenet export writes other formats, of the files that import reads, too"}
	}
	asked, err := convention(cmd)
	if err != nil {
		return err
	}
	if err := keepSource(source, o.output); err != nil {
		return err
	}
	if !export.IsModel(source) {
		return &hinted{fmt.Errorf("%s is a folder without a network of another system", source), "stylenet export writes the model of a run"}
	}
	opened, err := model.ReadAs(source, asked)
	if err != nil {
		return conventionFault(cmd, err)
	}
	m := opened.Model
	if opened.Kind != model.KindStylenet {
		m.Origin = origin(source, opened)
	}
	if err := inFolder(o.output, func() error { return export.Safetensors(o.output, m) }); err != nil {
		return err
	}
	info, err := os.Stat(o.output)
	if err != nil {
		return err
	}
	r := importReport{source, o.output, opened.Kind, opened.Convention.String(), opened.Why, m.Network.String(), m.Weights.Elements(), info.Size()}
	if o.json {
		return printJSON(cmd, r)
	}
	say(cmd, "wrote %s: %s, %d parameters; its network took and gave %s: %s", r.Output, r.Architecture, r.Parameters, r.Convention, r.Why)
	return nil
}

// origin says in one line where a network comes from. Authors and licences are
// among what the file said.
func origin(source string, o *model.Opened) string {
	text := fmt.Sprintf("%s (%s", filepath.Base(source), o.File.Format)
	if o.Kind != o.File.Format {
		text += ", " + o.Kind
	}
	if o.File.Format == formats.ONNX && o.File.ONNX.Producer != "" {
		text += ", " + o.File.ONNX.Producer
	}
	text += "), " + o.Convention.String()
	for _, key := range slices.Sorted(maps.Keys(o.File.Metadata)) {
		if !strings.HasPrefix(key, "stylenet.") {
			text += fmt.Sprintf("; %s: %s", key, o.File.Metadata[key])
		}
	}
	const most = 1 << 12
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
